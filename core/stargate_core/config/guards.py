"""The configs of the plugins that read what is said: pii-redactor and prompt-guard.

Their patterns are regular expressions of the language in `patterns/syntax.py`: what would make a text slow to
read is refused here, with its place. What they cannot read (pictures, files, bodies of unknown vendors) is
rejected unless the file says otherwise: a guard that lets through what it has not seen, and says nothing, is
believed all the same.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.problems import Misfit, Path, refuse
from stargate_core.patterns.finder import pattern_of
from stargate_core.patterns.named import NAMES, Name
from stargate_core.patterns.syntax import BadPattern, Parsed, parse, states_in, width_of

STATES_MAX: Final = 4096
"""Of all patterns of one list together: what a character may cost at most grows with them."""

Expression: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
Unreadable: TypeAlias = Literal["reject", "allow"]


class CustomPattern(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern of the operator's own."""

    name: Annotated[
        str,
        Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z", description="a name in lower-case letters, digits and _"),
    ]
    """What its placeholders are called: `staff_id` gives `[STAFF_ID_1]`."""
    pattern: Expression


class PiiRedactor(msgspec.Struct, frozen=True, kw_only=True):
    """Take personal data and secrets out of what is asked and answered."""

    patterns: list[Name] = field(default_factory=lambda: list(NAMES))
    """Which of the built-in patterns."""
    custom: Annotated[list[CustomPattern], Meta(max_length=64)] = field(default_factory=list[CustomPattern])
    """Patterns beside those."""
    on: Annotated[list[Literal["request", "response"]], Meta(min_length=1)] = field(
        default_factory=lambda: ["request", "response"]
    )
    """Whether what is asked, or what is answered, or both."""
    replacement: Literal["placeholder", "mask", "reject"] = "placeholder"
    """`[EMAIL_1]`, the same for the same value within a request and its answer; `[EMAIL]`; or an error."""
    restore: bool = False
    """Whether placeholders in an answer become the caller's own values again."""
    look_back_chars: Annotated[int, Meta(ge=32, le=1024)] | None = None
    """How much of a stream is held back at most, and how long a match may be; 256, or as long as the longest
    pattern, where nothing is said.
    """
    unreadable: Unreadable = "reject"
    """What becomes of requests and answers with parts that cannot be read."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if not self.patterns and not self.custom:
            yield Misfit("patterns", "expected at least one pattern, here or in custom")
        if self.restore and (self.replacement != "placeholder" or "request" not in self.on):
            yield Misfit(
                "restore",
                "expected false: only placeholders that were put into a request can be restored",
                beside=("replacement", "on"),
            )
        names: set[str] = set(NAMES)
        for index, custom in enumerate(self.custom):
            if custom.name in names:
                yield Misfit(
                    ("custom", index, "name"), "expected a name that no other pattern has", custom.name
                )
            names.add(custom.name)
        sources = [custom.pattern for custom in self.custom]
        yield from _misfit_patterns(sources, ("custom",), ("pattern",), edges=True)
        most = self.look_back_chars or 256
        for index, source in enumerate(sources):
            parsed = _parsed(source)
            if parsed is not None and width_of(parsed.node)[0] > most:
                yield Misfit(
                    ("custom", index, "pattern"),
                    f"expected matches of at most {most} characters, as look_back_chars has it",
                    beside=("look_back_chars",),
                )


class PromptGuard(msgspec.Struct, frozen=True, kw_only=True):
    """Refuse what may not be asked, or not be answered: Kong's ai-prompt-guard."""

    deny_patterns: Annotated[list[Expression], Meta(max_length=256)] = field(default_factory=list[str])
    """What matches one of these is refused."""
    allow_patterns: Annotated[list[Expression], Meta(max_length=256)] = field(default_factory=list[str])
    """Where there are any, what matches none of them is refused."""
    allow_all_conversation_history: bool = False
    """Whether only the last message is looked at, and not the conversation before it."""
    match_all_roles: bool = False
    """Whether the words of the assistant, of tools and of the instructions count, and not the user's only."""
    max_prompt_chars: Annotated[int, Meta(ge=1, le=16_777_216)] | None = None
    """How long what is looked at may be, in characters."""
    response_deny_patterns: Annotated[list[Expression], Meta(max_length=256)] = field(
        default_factory=list[str]
    )
    """An answer that matches one of these ends in an error."""
    unreadable: Unreadable = "reject"
    """What becomes of requests and answers with parts that cannot be read."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        lists = {
            "deny_patterns": self.deny_patterns,
            "allow_patterns": self.allow_patterns,
            "response_deny_patterns": self.response_deny_patterns,
        }
        if not any(lists.values()) and self.max_prompt_chars is None:
            yield Misfit(
                "deny_patterns", "expected something to guard against: patterns, or max_prompt_chars"
            )
        for name, sources in lists.items():
            yield from _misfit_patterns(sources, (name,), (), edges=False)


def _parsed(source: str) -> Parsed | None:
    try:
        return parse(source)
    except BadPattern:
        return None


def _misfit_patterns(sources: Sequence[str], before: Path, behind: Path, *, edges: bool) -> Iterator[Misfit]:
    r"""What is wrong with patterns.

    before, behind: the way to each, but for its number. edges: whether `\b` must have a word beside it.
    """
    states = 0
    for index, source in enumerate(sources):
        try:
            parsed = parse(source)
            if edges:
                pattern_of("", parsed)
        except BadPattern as bad:
            yield Misfit((*before, index, *behind), f"expected a regular expression that can be read: {bad}")
            continue
        states += states_in(parsed.node)
    if states > STATES_MAX:
        yield Misfit(before, f"expected patterns of at most {STATES_MAX} states together, not {states}")
