"""Types, as msgspec describes them, and what they are called in a message.

`expected` says a type in words ("an integer from 0 to 10"), from the same constraints that the loader
enforces, so the two can't disagree. `hides` tells which types have a secret somewhere inside: whatever
was written in such a place is never shown, since a key in the wrong place is still a key (`credentials:
sk-live-1`).
"""

import functools
from typing import Any, Final

import msgspec
import msgspec.inspect as inspect

from stargate_core.config.problems import quoted
from stargate_core.secret import Secret

SECRET_CHARS_MAX: Final = 65_536
"""Room for a private key; far more than any token."""


@functools.lru_cache(maxsize=256)
def described(struct: type[msgspec.Struct]) -> inspect.StructType:
    """What msgspec knows of a Struct: its fields, their types and constraints."""
    description = inspect.type_info(struct)
    assert isinstance(description, inspect.StructType)
    return description


def inner(kind: inspect.Type) -> inspect.Type:
    """A type without what is only said about it."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def members(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    """The alternatives of a union, or the type alone."""
    kind = inner(kind)
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def text_field(kind: inspect.Type) -> inspect.Field | None:
    """The field that a Struct's text is for, if it may be written as one string."""
    if not isinstance(kind, inspect.StructType):
        return None
    name = getattr(kind.cls, "TEXT_FIELD", None)
    return next((field for field in kind.fields if field.name == name), None)


def hides(kind: inspect.Type) -> bool:
    """Whether nothing written in its place may be shown."""
    match kind:
        case inspect.Metadata():
            return _said(kind, "hidden") is not None or hides(kind.type)
        case inspect.UnionType():
            return any(hides(member) for member in kind.types)
        case inspect.CustomType(cls=cls):
            return cls is Secret
        case inspect.ListType() | inspect.VarTupleType():
            return hides(kind.item_type)
        case inspect.DictType():
            return hides(kind.value_type)
        case inspect.StructType(cls=cls):
            return _struct_hides(cls)
        case _:
            return False


@functools.lru_cache(maxsize=256)
def _struct_hides(struct: type[msgspec.Struct]) -> bool:
    return any(hides(field.type) for field in described(struct).fields)


def expected(kind: inspect.Type) -> str:
    """What should stand there, in words. Null is not mentioned: leaving the key out is the better advice."""
    match kind:
        case inspect.Metadata():
            return str(_said(kind, "description") or expected(kind.type))
        case inspect.UnionType():
            words = [expected(member) for member in kind.types if not isinstance(member, inspect.NoneType)]
            return " or ".join(dict.fromkeys(words))
        case inspect.StrType():
            return "a string" + _string_bounds(kind)
        case inspect.CustomType(cls=cls) if cls is Secret:
            return f"a string that isn't empty and of at most {SECRET_CHARS_MAX} characters"
        case inspect.IntType():
            return "an integer" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.BoolType():
            return "true or false"
        case inspect.DateTimeType():
            return "a time such as 2027-01-01T00:00:00Z"
        case inspect.LiteralType(values=values):
            return _choice(tuple(str(value) for value in values))
        case inspect.EnumType(cls=cls):
            return _choice(tuple(str(member.value) for member in cls))
        case inspect.ListType() | inspect.VarTupleType():
            return "a list" + _list_bounds(kind)
        case inspect.StructType() if (field := text_field(kind)) is not None:
            return f"{expected(field.type)}, or a mapping"
        case inspect.DictType() | inspect.StructType():
            return "a mapping"
        case inspect.NoneType():
            return "null"
        case inspect.AnyType():
            return "a value"
        case _:
            raise TypeError(f"a configuration can't have a {type(kind).__name__}")


def choices(kind: inspect.Type) -> tuple[str, ...]:
    """The texts a choice is among; () if it is none."""
    match inner(kind):
        case inspect.LiteralType(values=values):
            return tuple(value for value in values if isinstance(value, str))
        case inspect.EnumType(cls=cls):
            return tuple(member.value for member in cls if isinstance(member.value, str))
        case _:
            return ()


def _said(metadata: Any, name: str) -> object:
    """What a Meta says beside its constraints: its description, or something of our own; None if nothing."""
    said = metadata.extra_json_schema if name == "description" else metadata.extra
    return said.get(name) if said else None


def _choice(values: tuple[str, ...]) -> str:
    shown = [quoted(value) for value in values]
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown[:-1])} and {shown[-1]}"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    words = [
        f"{word} {bound}"
        for word, bound in (
            ("more than", kind.gt),
            ("at least", kind.ge),
            ("less than", kind.lt),
            ("at most", kind.le),
        )
        if bound is not None
    ]
    return " " + " and ".join(words) if words else ""


def _string_bounds(kind: inspect.StrType) -> str:
    low, high = kind.min_length or 0, kind.max_length
    words = "" if low == 0 else " that isn't empty" if low == 1 else f" of at least {low} characters"
    if high is not None:
        words += f"{' and' if words else ''} of at most {high} characters"
    if kind.pattern is not None:
        words += f" that matches {kind.pattern}"
    return words


def _list_bounds(kind: inspect.ListType | inspect.VarTupleType) -> str:
    low, high = kind.min_length or 0, kind.max_length
    words = f" of at least {low}" if low else ""
    if high is not None:
        words += f"{' and' if words else ' of'} at most {high}"
    return words
