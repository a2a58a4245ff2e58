"""Variables in a configuration: `${NAME}`, `${NAME:-default}`, and `$${` for a plain `${`.

As in a shell's parameter expansion (POSIX 2.6.2), `:-` gives its default when the variable is unset *or
empty*. Unlike there, an unset variable without a default is an error and names itself.

Variables stand in scalars that the YAML parser has already cut out, so no value can add a key, a list or
a comment; and what comes out is never looked at again, so a value may hold `${` and stays as it is. A
default reaches to the first `}` and holds no further variable: nesting would need quoting rules that
nobody remembers.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

_REFERENCE: Final = re.compile(
    r"\$(?P<escaped>\$\{)"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<colon>:-(?P<default>[^}]*))?\}"
    r"|(?P<malformed>\$\{)"
)


class Expanded(msgspec.Struct, frozen=True, gc=False):
    """What a scalar's text became."""

    text: str
    names: tuple[str, ...] = ()
    """The variables that took part, in order; one that fell back to its default counts too."""


class ExpansionError(ValueError):
    """A text whose variables can't be expanded; the message says which, and never holds a value."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message: str = message
        self.hint: str = hint
        super().__init__(message)


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """`text` with its variables replaced, once. Raises ExpansionError at the first that can't be."""
    if "${" not in text:
        return Expanded(text)
    names: list[str] = []
    pieces: list[str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        pieces.append(text[end : match.start()])
        end = match.end()
        if match["escaped"]:
            pieces.append("${")
            continue
        if match["malformed"]:
            raise ExpansionError("expected ${NAME} or ${NAME:-default} after ${", "write $${ for a plain ${")
        names.append(match["name"])
        pieces.append(_value(match["name"], match["default"], environ))
    pieces.append(text[end:])
    return Expanded("".join(pieces), tuple(names))


def escape(text: str) -> str:
    """The text that expands to `text`, whatever stands in it."""
    return text.replace("${", "$${")


def variables(text: str) -> set[str]:
    """The names of all variables that stand in a text, with a default or without."""
    return {match["name"] for match in _REFERENCE.finditer(text) if match["name"]}


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if default is not None:
        if "${" in default:
            raise ExpansionError(
                f"expected a plain text as the default of ${{{name}:-…}}, not another variable"
            )
        return value or default
    if value is None:
        raise ExpansionError(
            f"the environment variable {name} is not set", f"set it, or write ${{{name}:-default}}"
        )
    return value
