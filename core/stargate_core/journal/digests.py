"""Digests of what a machine has ordered: its commands to the letter, and their shape.

A *fold* is the first bytes of a running BLAKE2b over the encoded commands, taken after each event. Two lives
with the same folds have ordered the same; where two folds differ for the first time, they parted. The digest
after the last event is the *fingerprint*.

The *shape* of a command is its type, its ids and the lengths of its bytes, written so that a person can read
it: `WriteUpstream #3 1204`. It is what stays the same when words are redacted and keys replaced.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from stargate_core.direction import Order
from stargate_core.journal.format import FOLD_BYTES
from stargate_core.secret import Secret

_IDS: Final = ("ticket", "lease", "connection", "flight")


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return hashlib.sha256(value.reveal().encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise NotImplementedError(f"a command can't hold this: {type(value).__name__}")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_plain, order="deterministic")


class Digest:
    """Of everything ordered so far, to the letter."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.commands = 0

    def add(self, commands: Iterable[msgspec.Struct]) -> bytes:
        """What one event gave; the fold behind it."""
        for command in commands:
            self.commands += 1
            self._hash.update(_ENCODER.encode(command))
        self._hash.update(b"\xc1")  # An event's end; in msgpack this byte is never used.
        return self._hash.digest()[:FOLD_BYTES]

    @property
    def fingerprint(self) -> str:
        """In hexadecimal digits."""
        return self._hash.hexdigest()


def shape(commands: Iterable[msgspec.Struct]) -> tuple[str, ...]:
    """The shape of what one event gave."""
    return tuple(" ".join(_words(command)) for command in commands)


def shape_digest(shapes: Iterable[tuple[str, ...]]) -> str:
    """Of the shape of a whole life, in hexadecimal digits."""
    whole = hashlib.blake2b(digest_size=16)
    for each in shapes:
        whole.update("\n".join(each).encode() + b"\xc1")
    return whole.hexdigest()


def _words(command: msgspec.Struct) -> Iterable[str]:
    yield type(command).__name__
    for name in command.__struct_fields__:
        value: Any = getattr(command, name)
        if name in _IDS:
            yield f"#{value}"
        elif isinstance(value, bytes):
            yield str(len(value))
        elif isinstance(value, Order):
            yield str(len(value.call.body))
        elif isinstance(value, msgspec.Struct):
            yield type(value).__name__
