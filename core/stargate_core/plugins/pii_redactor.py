"""pii-redactor: personal data and secrets are taken out of what is asked, and of what is answered.

What is looked for are patterns whose form can be checked (`patterns/named.py`) and the operator's own. What
takes their place is one of

    placeholder   [EMAIL_1]; one value has one placeholder within a request and its answer
    mask          [EMAIL]
    reject        nothing: the request is refused, and an answer ends in an error

Rules that do not show in the code:

*No cut lets a pattern pass.* In a stream each text has a cursor of its own, which holds back what may be the
beginning of a match, at most `look_back_chars`; what it has held goes out before the event that ends the
text. A stream that breaks off takes with it what was held: half an address is still told to nobody. Tool
arguments stay JSON.

*Placeholders restored.* With `restore` a placeholder in the answer becomes the caller's value again. The
table lives as long as the exchange, in memory, and is nobody else's. What a caller has itself written like a
placeholder is kept apart: the number is not given again. A request that goes on with an earlier answer
(`previous_response_id`) gives its placeholders another name, since the numbers of that one are not known.

*A cache never has a restored value.* Whoever shares an answer is given Bedrock's own, and redacts and
restores it for its own caller. What is kept is what Bedrock said to a question with placeholders in it.

*Signed thoughts* (Claude's) are not changed in a request: their vendor has seen them, and would refuse them.
In an answer they are; so a caller that gives such a thought back may be refused.

Of log probabilities, which say the text again token by token, nothing is passed on.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, cast

import msgspec

from stargate_core.config.guards import PiiRedactor
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Scope
from stargate_core.dialects.answer_texts import Strand, StreamTexts, drop_logprobs
from stargate_core.dialects.face import PartKind
from stargate_core.dialects.texts import Form, Place, texts_in
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.patterns.finder import CHARS_MAX, Cursor, Finder, Pattern, joined, pattern_of
from stargate_core.patterns.json_cursor import JsonCursor
from stargate_core.patterns.named import named
from stargate_core.patterns.syntax import parse
from stargate_core.plugins.guard_reading import check_answer, is_readable, read_request, unreadable_answer
from stargate_core.views import Access, BodyFilter

_PLACEHOLDER: Final = r"\[[A-Z][A-Z0-9_]{0,40}_(?:[0-9a-f]{6}_)?[0-9]{1,6}\]"
_LIKE_ONE: Final = re.compile(_PLACEHOLDER)


class PiiRedactorPlugin:
    """Redacts."""

    NAME: ClassVar[str] = "pii-redactor"
    PRIORITY: ClassVar[int] = 776
    CONFIG: ClassVar[type[msgspec.Struct]] = PiiRedactor
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["pii-redactor"].scopes

    def __init__(self, config: PiiRedactor) -> None:
        patterns = [pattern for name in dict.fromkeys(config.patterns) for pattern in named()[name]]
        patterns += [pattern_of(custom.name, parse(custom.pattern)) for custom in config.custom]
        most = config.look_back_chars or CHARS_MAX
        self._on_request = "request" in config.on
        self._on_response = "response" in config.on
        self._asked = Finder(patterns, most)
        self._strict = config.unreadable == "reject"
        self._replacement = config.replacement
        answered = list(patterns) if self._on_response else []
        if config.restore:
            answered.insert(0, Pattern("placeholder", parse(_PLACEHOLDER)))
        self._answered = Finder(answered, max(most, _PLACEHOLDER_CHARS_MAX)) if answered else None
        # A stream that nothing is looked for in is not taken apart.
        self.body_filter: Callable[[BodyFilter], None] | None = self._read if answered else None

    def access(self, ctx: Access) -> None:
        """Take out of the request what is found in it."""
        ctx.kept = redaction = Redaction(self._replacement, self._answered)
        if self._on_response and self._strict:
            check_answer(ctx, self.NAME)
        if not self._on_request:
            return
        read = read_request(ctx, self.NAME, strict=self._strict)
        if read is None:
            return
        body, texts = read
        places = [place for place in texts.places if place.form is not Form.SIGNED]
        redaction.begin(places, body.value)
        for place in places:
            redaction.change(place, self._asked, redaction.of_request)
        if redaction.count or not body.plain:
            ctx.revise_request(body=body.encode())
        ctx.count_redacted(redaction.count)

    def _read(self, ctx: BodyFilter) -> None:
        """Take out of a part of the answer what is found in it, and restore what was put there."""
        redaction: Redaction | None = ctx.kept
        if redaction is None:
            return  # The request was refused before it got here; there is no answer but the gateway's own.
        part = ctx.part
        if not is_readable(ctx):
            if self._on_response and self._strict:
                ctx.reject(unreadable_answer(self.NAME, "what is no JSON, or no event of Claude's"))
            return
        redaction.strict = self._on_response and self._strict
        redaction.count = 0
        if self._on_response:
            drop_logprobs(part.payload)
        if part.kind is PartKind.EVENT:
            if redaction.stream is None:
                redaction.stream = StreamTexts(ctx.dialect, redaction)
            for before in redaction.stream.read(part):
                ctx.put_before(before)
        else:
            texts = texts_in(part.payload)
            for name in texts.unreadable:
                redaction.unreadable(name)
            for place in texts.places:
                redaction.whole(place)
        ctx.count_redacted(redaction.count)


_PLACEHOLDER_CHARS_MAX: Final = 64


class Redaction:
    """One exchange's: what was put for what, and the texts of its answer that are under way. It listens to
    them (`answer_texts.Listener`).
    """

    def __init__(self, replacement: str, answered: Finder | None) -> None:
        self._replacement = replacement
        self._answered = answered
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        """What placeholders were put for in the request: only that is restored."""
        self._numbers: dict[str, int] = {}
        self._taken: frozenset[str] = frozenset()
        self._mark = ""
        self._cursors: dict[Strand, Cursor | JsonCursor] = {}
        self.stream: StreamTexts | None = None
        self.strict = False
        self.count = 0
        """Places with something else in them, of what is at hand."""

    def begin(self, places: Sequence[Place], value: Any) -> None:
        """A request with these places is about to be changed."""
        self._taken = frozenset(
            found for place in places if "[" in place.text for found in _LIKE_ONE.findall(place.text)
        )
        referred = _referred(value)
        if referred:
            digest = hashlib.sha256("\n".join(referred).encode(errors="surrogatepass"))
            self._mark = f"{digest.hexdigest()[:6]}_"

    # --------------------------------------------------------------------------------- what takes whose place

    def of_request(self, pattern: Pattern, text: str) -> str:
        """What stands for a match in a request from now on. Raises Refused."""
        if self._replacement == "reject":
            message = f"The request holds what may not be sent: {pattern.name}"
            raise Refused(Fault(Cause.PROMPT_REFUSED, message, detail=f"pii-redactor found {pattern.name}"))
        placeholder = self._put(pattern, text)
        self._values[placeholder] = text
        return placeholder

    def _of_answer(self, pattern: Pattern, text: str) -> str | None:
        """The same in an answer. Raises Refused."""
        if pattern.name == "placeholder":
            return self._values.get(text)
        if self._replacement == "reject":
            message = f"The answer holds what may not be told: {pattern.name}"
            raise Refused(Fault(Cause.ANSWER_REFUSED, message, detail=f"pii-redactor found {pattern.name}"))
        # Of a long token a stream knows the beginning only, so a whole answer goes by that too.
        assert self._answered is not None
        return self._put(pattern, text[: self._answered.chars_max])

    def _put(self, pattern: Pattern, text: str) -> str:
        self.count += 1
        label = pattern.name.upper()
        if self._replacement == "mask":
            return f"[{label}]"
        key = (label, text)
        placeholder = self._placeholders.get(key)
        while placeholder is None:
            number = self._numbers[label] = self._numbers.get(label, 0) + 1
            made = f"[{label}_{self._mark}{number}]"
            if made not in self._taken:
                placeholder = self._placeholders[key] = made
        return placeholder

    def change(self, place: Place, finder: Finder, put: Any) -> None:
        """Put something else for what is found in one place."""
        text = place.text
        if place.form is Form.JSON:
            changed = JsonCursor(finder).feed(text, put, final=True)
        else:
            strict = place.form is Form.NUMBER
            changed = joined(finder.cursor(strict=strict).feed(text, put, final=True))
        if changed != text:
            if place.form is Form.SIGNED:
                place = msgspec.structs.replace(place, form=Form.TEXT)
            place.replace(changed)

    # ------------------------------------------------------------------------------------- the answer's texts

    def more(self, strand: Strand, text: str, form: Form) -> str:
        """The next of a strand: what is decided of it."""
        assert self._answered is not None
        cursor = self._cursors.get(strand)
        if cursor is None:
            made = JsonCursor(self._answered) if form is Form.JSON else self._answered.cursor()
            cursor = self._cursors[strand] = made
        return _fed(cursor, text, self._of_answer, final=False)

    def rest(self, strand: Strand) -> str:
        """What was held back of a strand."""
        cursor = self._cursors.pop(strand, None)
        return "" if cursor is None else _fed(cursor, "", self._of_answer, final=True)

    def whole(self, place: Place) -> None:
        """A text in one piece."""
        assert self._answered is not None
        self.change(place, self._answered, self._of_answer)

    def unreadable(self, name: str) -> None:
        """What is no text. Raises Refused."""
        if self.strict:
            raise Refused(unreadable_answer("pii-redactor", f"{name!r} of the answer: it is no text"))


def _fed(cursor: Cursor | JsonCursor, text: str, put: Any, *, final: bool) -> str:
    if isinstance(cursor, JsonCursor):
        return cursor.feed(text, put, final=final)
    return joined(cursor.feed(text, put, final=final))


def _referred(value: Any) -> list[str]:
    """The ids of earlier answers that a request goes on with."""
    if not isinstance(value, dict):
        return []
    members = cast("dict[str, Any]", value)
    found = [members.get("previous_response_id"), members.get("conversation")]
    items = members.get("input")
    listed = cast("Sequence[Any]", items) if isinstance(items, list) else ()
    objects = [cast("dict[str, Any]", item) for item in listed if isinstance(item, dict)]
    found += [item.get("id") for item in objects if item.get("type") == "item_reference"]
    return [one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in found if one]
