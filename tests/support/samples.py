"""Samples of any message: values of a type's every shape, made from the type itself; and how they are written
down and read again.

So a new field is tried without anybody's remembering it. A journal is made of messages, and holds no secret:
whoever writes one must say what stands in its place. Here it is a text, of which a Secret is made again.
"""

import enum
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from stargate_core.secret import Secret

IN_ITS_PLACE: Final = "[redacted]"
PLAIN: Final[dict[Any, tuple[Any, ...]]] = {
    int: (7, -1),
    float: (0.5,),
    bool: (True, False),
    str: ("text “ \x00\n",),
    bytes: (b"\x00\xff", b""),
    type(None): (None,),
}


def samples(kind: Any, secret: str = IN_ITS_PLACE) -> Iterator[Any]:
    """Values of this type. A Struct's fields take all their shapes, one field at a time. secret: what Secrets
    hold.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        yield from PLAIN[kind]
    elif kind is Secret:
        yield Secret(secret)
    elif origin in (Union, types.UnionType):
        for part in parts:
            yield from samples(part, secret)
    elif origin is Literal:
        yield from parts
    elif origin is tuple and parts[-1] is ...:
        yield ()
        yield tuple(samples(parts[0], secret))
    elif origin is tuple:
        yield tuple(next(samples(part, secret)) for part in parts)
    elif origin is list:
        yield list(samples(parts[0], secret))
    elif origin in (dict, Mapping):
        yield {next(samples(parts[0], secret)): next(samples(parts[1], secret))}
    elif issubclass(kind, enum.Enum):
        yield from kind
    else:
        assert issubclass(kind, msgspec.Struct), kind
        yield from _structs(kind, secret)


def _structs(kind: type[msgspec.Struct], secret: str) -> Iterator[Any]:
    shapes = {field.name: list(samples(field.type, secret)) for field in msgspec.structs.fields(kind)}
    first = kind(**{name: shape[0] for name, shape in shapes.items()})
    yield first
    for name, shape in shapes.items():
        for value in shape[1:]:
            yield msgspec.structs.replace(first, **{name: value})


def _redact(value: Any) -> Any:
    if isinstance(value, Secret):
        return IN_ITS_PLACE
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(type(value))


def _restore(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(kind)


ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_redact)


def written_down(value: Any) -> bytes:
    """The value, without its secrets."""
    return ENCODER.encode(value)


def read_again(data: bytes, kind: Any) -> Any:
    """The value of one of a union's types."""
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_restore)
