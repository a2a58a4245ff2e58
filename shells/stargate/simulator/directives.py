"""How a request says what should happen to it.

A gateway forwards none of its client's headers, so the wish travels in what it does forward:

- the model id: `simulator.stall-mid-stream`, with options as `simulator.stall-mid-stream:after.3` (model
  ids have no `=`);
- the last user text: `[[simulator: stall-mid-stream after=3 words=64]]`;
- failing both, the simulator's own `--scenario`, written like the latter.

Some options go with every scenario, and without any: `words` (the answer's length), `stop` (its stop
reason), `pace` (events a second), `first-token-ms`, `cache-read`, `cache-write` and `input-tokens` (the
usage), `job-ms` and `job` (how long an asynchronous invocation runs, and whether it has `failed` then), and
`times`: only to the first so many requests that wish for the very same does it happen.
"""

import functools
import re
import shlex
from collections.abc import Mapping
from typing import Final

import msgspec

from stargate.simulator.dialogue import DIRECTIVE
from stargate.simulator.errors import invalid
from stargate.simulator.speech import Wishes

_IN_MODEL_ID: Final = re.compile(r"(?:^|[./])simulator\.(.+)$")
COMMON_OPTIONS: Final = (
    "words",
    "stop",
    "pace",
    "first-token-ms",
    "cache-read",
    "cache-write",
    "input-tokens",
    "job-ms",
    "job",
    "times",
)
_WORDS_MAX: Final = 100_000
_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000


class Directive(msgspec.Struct, frozen=True):
    """A scenario's name, maybe none, and its options."""

    name: str = ""
    options: Mapping[str, str] = {}

    def text(self, option: str, default: str) -> str:
        """An option's value."""
        return self.options.get(option, default)

    def header(self, option: str, default: str) -> bytes:
        """An option's value as that of a header. Raises Refusal."""
        value = self.options.get(option, default)
        if not value.isprintable():
            raise invalid(f"simulator: {option} cannot be a header's value")
        return value.strip().encode()

    def number(self, option: str, default: int, most: int = 10**12) -> int:
        """An option's value, a whole number from 0. Raises Refusal."""
        value = self.options.get(option, str(default))
        if not value.isascii() or not value.isdecimal() or len(value) > 13 or int(value) > most:
            raise invalid(f"simulator: {option} must be a number of at most {most}, not {value}")
        return int(value)

    def interval_ns(self, events_per_second: float) -> int:
        """The time between two events; 0: none."""
        if "pace" in self.options:
            events_per_second = self.number("pace", 0)
        return int(_SECOND / events_per_second) if events_per_second > 0 else 0

    def first_token_ns(self, default_ns: int) -> int:
        """The time before the first event."""
        wanted = self.options.get("first-token-ms")
        return default_ns if wanted is None else self.number("first-token-ms", 0) * _MILLISECOND

    def _citing(self) -> str:
        if self.name != "citations":
            return ""
        kind = self.text("kind", _CITED[0])
        if kind not in _CITED:
            raise invalid(f"simulator: citations has the kinds {', '.join(_CITED)}")
        return kind

    def wishes(self) -> Wishes:
        """What the answer itself should be like."""
        return Wishes(
            words=self.number("words", 0, _WORDS_MAX) if "words" in self.options else None,
            stop_reason=self.options.get("stop", "").replace("-", "_"),
            reasoning=_REASONINGS.get(self.name, ""),
            silent=self.name == "empty-content",
            citing=self._citing(),
            cache_read_tokens=self.number("cache-read", 0),
            cache_write_tokens=self.number("cache-write", 0),
            input_tokens=self.number("input-tokens", 0) if "input-tokens" in self.options else None,
        )


_CITED: Final = ("documentChar", "documentPage", "documentChunk", "web", "searchResultLocation")
_REASONINGS: Final[Mapping[str, str]] = {
    "reasoning": "plain",
    "interleaved-reasoning": "interleaved",
    "redacted-reasoning": "redacted",
}


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Directive:
    """A directive as a text has it: a name and options `key=value`, in any order. Raises Refusal."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise invalid(f"simulator: {error}") from None
    return _directive(words, "=")


def find(model_id: str, text: str, default: Directive) -> Directive:
    """The directive of a request: in its model id, else in its text, else the default. Raises Refusal."""
    named = _IN_MODEL_ID.search(model_id)
    if named is not None:
        # A version suffix such as `:0` is no option.
        pieces = [piece for piece in named.group(1).split(":") if not piece.isdigit()]
        return _directive(pieces, ".")
    # A model must not find a directive in what it has said itself; the last one in the user's text counts.
    found = DIRECTIVE.findall(text)
    return parse(found[-1]) if found else default


def _directive(words: list[str], separator: str) -> Directive:
    name = ""
    options: dict[str, str] = {}
    for word in words:
        key, between, value = word.partition("=" if "=" in word else separator)
        if between and key == "status":
            name, options["code"] = key, value
        elif between:
            options[key] = value
        elif name:
            raise invalid(f"simulator: two scenarios at once: {name} and {word}")
        else:
            name = word
    return Directive(name, options)
