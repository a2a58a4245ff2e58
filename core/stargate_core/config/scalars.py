"""One scalar of a file: its variables, its type, and whether it is what a setting wants.

Written without quotes a scalar has the type of its text (nodes.resolve) *after* its variables are
expanded, so `timeout: ${T:-60000}` is an integer; in quotes it is a string. Nothing is converted, with
one exception: where a string is wanted, whatever a variable gives is that string, since the author of
`key: ${KEY}` can't know that a key of digits reads as a number. A literal 12 in that place is an error,
which advises quotes.
"""

import datetime
import enum
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import msgspec.inspect as inspect

from stargate_core.config import kinds
from stargate_core.config.expand import ExpansionError, expand
from stargate_core.config.nodes import Scalar, resolve
from stargate_core.config.problems import nearest
from stargate_core.secret import Secret

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YES: Final = frozenset({"yes", "on", "y"})
_NO: Final = frozenset({"no", "off", "n"})


class Failed(enum.Enum):
    """The type of `FAILED`, which stands for a value that didn't come out."""

    FAILED = 0


FAILED: Final = Failed.FAILED


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """A scalar with its variables expanded."""

    text: str
    variables: tuple[str, ...]
    """The variables that took part; a text with any is never shown."""
    value: bool | int | float | str | None
    """What it means by itself."""


def leaf(node: Scalar, environ: Mapping[str, str]) -> Leaf:
    """`node` with its variables expanded. Raises ExpansionError."""
    expanded = expand(node.text, environ)
    if expanded.names and _SURROGATE.search(expanded.text):
        # What an environment that isn't UTF-8 looks like from Python.
        raise ExpansionError(f"what {source(expanded.names)} gives is not UTF-8")
    return Leaf(expanded.text, expanded.names, resolve(expanded.text) if node.plain else expanded.text)


def source(variables: tuple[str, ...]) -> str:
    """Variables as they are written in a file."""
    return ", ".join(f"${{{name}}}" for name in dict.fromkeys(variables))


def converted(kind: inspect.Type, leaf: Leaf) -> Any:
    """A scalar as one simple type, or FAILED. No conversion but the one that the essay above tells of."""
    value = leaf.value
    match kind:
        case inspect.StrType():
            is_text = isinstance(value, str) or (bool(leaf.variables) and value is not None)
            return leaf.text if is_text and _fits(kind, leaf.text) else FAILED
        case inspect.CustomType(cls=cls) if cls is Secret:
            is_text = isinstance(value, str) or (bool(leaf.variables) and value is not None)
            return Secret(leaf.text) if is_text and 0 < len(leaf.text) <= kinds.SECRET_CHARS_MAX else FAILED
        case inspect.BoolType():
            return value if isinstance(value, bool) else FAILED
        case inspect.IntType():
            if not isinstance(value, int) or isinstance(value, bool) or not _within(kind, value):
                return FAILED
            return value
        case inspect.FloatType():
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                return FAILED
            return float(value) if _within(kind, value) else FAILED
        case inspect.NoneType():
            return None if value is None else FAILED
        case inspect.LiteralType(values=values):
            return next((v for v in values if v == value and type(v) is type(value)), FAILED)
        case inspect.EnumType(cls=cls):
            return next((m for m in cls if m.value == value and type(m.value) is type(value)), FAILED)
        case inspect.DateTimeType():
            return _time(leaf.text)
        case inspect.StructType() | inspect.DictType() | inspect.ListType() | inspect.VarTupleType():
            return FAILED
        case _:
            raise TypeError(f"a configuration can't have a {type(kind).__name__}")


def _fits(kind: inspect.StrType, text: str) -> bool:
    if len(text) < (kind.min_length or 0) or (kind.max_length is not None and len(text) > kind.max_length):
        return False
    return kind.pattern is None or re.search(kind.pattern, text) is not None


def _within(kind: inspect.IntType | inspect.FloatType, value: float) -> bool:
    return (
        (kind.gt is None or value > kind.gt)
        and (kind.ge is None or value >= kind.ge)
        and (kind.lt is None or value < kind.lt)
        and (kind.le is None or value <= kind.le)
    )


def _time(text: str) -> datetime.datetime | Failed:
    try:
        moment = msgspec.convert(text, datetime.datetime)
    except msgspec.ValidationError:
        return FAILED
    return FAILED if moment.tzinfo is None else moment


def advice(kind: inspect.Type, leaf: Leaf) -> str:
    """What to write instead of `leaf`, which is no `kind`; "" if nobody knows. Shows right values only."""
    text, value = leaf.text, leaf.value
    match kind:
        case _ if value is None:
            return "leave the setting out for its default"
        case inspect.StrType() | inspect.CustomType() if not isinstance(value, str):
            return "write it in quotes"
        case inspect.BoolType() if text.lower() in _YES | _NO:
            return "write true" if text.lower() in _YES else "write false"
        case inspect.BoolType() | inspect.IntType() | inspect.FloatType() if isinstance(value, str):
            if converted(kind, Leaf(text, (), resolve(text))) is not FAILED:
                return "write it without quotes"
            is_number = not isinstance(kind, inspect.BoolType)
            return "write the bare number, without a unit" if is_number and text[:1].isdigit() else ""
        case inspect.LiteralType() | inspect.EnumType() if not isinstance(value, str):
            return "write it in quotes" if text in kinds.choices(kind) else ""
        case inspect.LiteralType() | inspect.EnumType():
            near = nearest(text, kinds.choices(kind))
            return f"did you mean {near}?" if near else ""
        case inspect.DateTimeType():
            return _advice_on_time(leaf)
        case _:
            return ""


def _advice_on_time(leaf: Leaf) -> str:
    if _DATE.fullmatch(leaf.text) and not leaf.variables:
        return f"write {leaf.text}T00:00:00Z"
    if _time(f"{leaf.text}Z") is not FAILED:
        return "end it with Z for UTC"
    return ""
