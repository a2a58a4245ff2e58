"""Bodies held against types: where the first thing stands that does not fit, and what is wrong with it.

msgspec knows; each vendor says it in words of its own.
"""

import re
from typing import Any, Final

import msgspec

Object = dict[str, Any]


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An object without members that nobody knows."""


class Typed(Strict, tag_field="type"):
    """One of several kinds of object, told by `type`."""


class Misfit(msgspec.Struct, frozen=True):
    """The first thing that does not fit."""

    what: str
    """unknown | missing | invalid"""
    path: tuple[str | int, ...]
    """Of the member at fault."""
    problem: str
    """What is wrong with its value, in msgspec's words."""

    @property
    def dotted(self) -> str:
        """The path as Anthropic writes it: `messages.0.content`."""
        return ".".join(map(str, self.path))

    @property
    def bracketed(self) -> str:
        """The path as OpenAI writes it: `messages[0].content`."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return "".join(steps).removeprefix(".")


_AT: Final = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$(.*)`)?")
_STEP: Final = re.compile(r"\[(\d+|\.\.\.)\]|\.?([^.\[\]]+)")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")


def misfit(value: object, kind: Any, *before: str | int) -> Misfit | None:
    """What does not fit the type; None: all does. `before`: the path at which the value stands."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = _AT.fullmatch(str(error))
        assert found is not None
        problem, path = found.group(1), (*before, *_steps(found.group(2) or ""))
        for what, pattern in (("unknown", _UNKNOWN), ("missing", _MISSING)):
            named = pattern.fullmatch(problem)
            if named is not None:
                return Misfit(what, (*path, named.group(1)), problem)
        return Misfit("invalid", path, problem)
    return None


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for index, name in _STEP.findall(path):
        steps.append(int(index) if index.isdigit() else index or name)
    return steps
