"""prompt-guard: what may not be asked is refused, and what may not be told is not.

Kong's ai-prompt-guard, with its names. What is looked at are the user's words, of the whole conversation or
of its last message; with `match_all_roles` everybody's, and instructions and tools on offer too. They are
looked at together, line by line: a pattern may run over two of them.

    deny_patterns    what matches one is refused
    allow_patterns   where there are any, what matches none is refused; denying comes first
    max_prompt_chars what is longer is refused

The caller is told which guard has refused, and not by which pattern: who knows the pattern knows the way
around it. The log is told which setting it was.

Of answers there is `response_deny_patterns`: a plain answer becomes an error, and a stream ends in one, never
as if it were whole. Words that came before the match have been told by then.

Sources: https://developer.konghq.com/plugins/ai-prompt-guard/.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from stargate_core.config.guards import PromptGuard
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Scope
from stargate_core.dialects.answer_texts import Strand, StreamTexts
from stargate_core.dialects.face import PartKind
from stargate_core.dialects.texts import Form, Place, Speaker, texts_in
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.patterns.search import Search, Searching
from stargate_core.patterns.syntax import parse
from stargate_core.plugins.guard_reading import (
    check_answer,
    is_readable,
    read_request,
    unreadable_answer,
    words_in,
)
from stargate_core.views import Access, BodyFilter


class PromptGuardPlugin:
    """Refuses."""

    NAME: ClassVar[str] = "prompt-guard"
    PRIORITY: ClassVar[int] = 771
    CONFIG: ClassVar[type[msgspec.Struct]] = PromptGuard
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["prompt-guard"].scopes

    def __init__(self, config: PromptGuard) -> None:
        self._deny = _search(config.deny_patterns)
        self._allow = _search(config.allow_patterns)
        self._answers = _search(config.response_deny_patterns)
        self._last_only = config.allow_all_conversation_history
        self._all_roles = config.match_all_roles
        self._chars_max = config.max_prompt_chars
        self._strict = config.unreadable == "reject"
        # A stream that nothing is looked for in is not taken apart.
        self.body_filter: Callable[[BodyFilter], None] | None = None if self._answers is None else self._read

    def access(self, ctx: Access) -> None:
        """Refuse what may not be asked."""
        if self._answers is not None:
            if self._strict:
                check_answer(ctx, self.NAME)
            ctx.kept = Watch(self._answers, strict=self._strict)
        if self._deny is None and self._allow is None and self._chars_max is None:
            return
        read = read_request(ctx, self.NAME, strict=self._strict)
        if read is None:
            return
        body, texts = read
        text = "\n".join([words_in(place) for place in self._asked(texts.places)])
        if self._chars_max is not None and len(text) > self._chars_max:
            ctx.reject(_refused(f"is longer than {self._chars_max} characters", "max_prompt_chars"))
        if self._deny is not None and self._deny.found(text):
            ctx.reject(_refused("is not allowed here", "deny_patterns"))
        if self._allow is not None and not self._allow.found(text):
            ctx.reject(_refused("is not allowed here", "allow_patterns"))
        if not body.plain:
            ctx.revise_request(body=body.encode())  # What was looked at is what is sent.

    def _read(self, ctx: BodyFilter) -> None:
        """Refuse what may not be told."""
        watch: Watch | None = ctx.kept
        if watch is None:
            return  # The request was refused before it got here.
        if not is_readable(ctx):
            if self._strict:
                ctx.reject(unreadable_answer(self.NAME, "what is no JSON, or no event of Claude's"))
            return
        part = ctx.part
        if part.kind is PartKind.EVENT:
            if watch.stream is None:
                watch.stream = StreamTexts(ctx.dialect, watch)
            watch.stream.read(part)
            return
        texts = texts_in(part.payload)
        for name in texts.unreadable:
            watch.unreadable(name)
        for place in texts.places:
            watch.whole(place)

    def _asked(self, places: Sequence[Place]) -> list[Place]:
        """Whose words count, and in which message."""
        counted = [one for one in places if self._all_roles or one.speaker is Speaker.USER]
        if self._last_only and counted:
            last = max(one.turn for one in counted)
            counted = [one for one in counted if one.turn == last]
        return counted


class Watch:
    """One answer's texts, searched as they come (`answer_texts.Listener`)."""

    def __init__(self, search: Search, *, strict: bool) -> None:
        self._search = search
        self._strict = strict
        self._searching: dict[Strand, Searching] = {}
        self.stream: StreamTexts | None = None

    def more(self, strand: Strand, text: str, form: Form) -> str:
        """The next of a strand. Raises Refused."""
        searching = self._searching.get(strand)
        if searching is None:
            searching = self._searching[strand] = self._search.begin()
        self._judge(searching.feed(text))
        return text

    def rest(self, strand: Strand) -> str:
        """A strand has ended. Raises Refused."""
        self._judge(self._searching.pop(strand).feed("", final=True))
        return ""

    def whole(self, place: Place) -> None:
        """A text in one piece. Raises Refused."""
        self._judge(self._search.found(words_in(place)))

    def unreadable(self, name: str) -> None:
        """What is no text. Raises Refused."""
        if self._strict:
            raise Refused(unreadable_answer("prompt-guard", f"{name!r} of the answer: it is no text"))

    def _judge(self, found: bool) -> None:
        if found:
            message = "prompt-guard: what was answered is not allowed here"
            raise Refused(Fault(Cause.ANSWER_REFUSED, message, detail="response_deny_patterns"))


def _search(sources: Sequence[str]) -> Search | None:
    return Search([parse(source) for source in sources]) if sources else None


def _refused(what: str, by: str) -> Fault:
    return Fault(Cause.PROMPT_REFUSED, f"prompt-guard: what was asked {what}", detail=by)
