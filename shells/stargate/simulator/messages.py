"""Everything that crosses between a simulated connection and what carries its bytes.

The same grammar as the gateway's own machines: events are facts in the past tense, commands are orders. A
trio server carries them over sockets; a simulated world carries them in virtual time, without any.
"""

from typing import TypeAlias

import msgspec


class Received(msgspec.Struct, frozen=True, gc=False):
    """Bytes came from the client."""

    data: bytes


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The client closed its sending side."""


class Lost(msgspec.Struct, frozen=True, gc=False):
    """The connection broke, or a write to it failed."""


class Ticked(msgspec.Struct, frozen=True, gc=False):
    """The machine's deadline has come."""


Event: TypeAlias = Received | Ended | Lost | Ticked


class Write(msgspec.Struct, frozen=True, gc=False):
    """Write to the client. Each `Write` is a segment of its own, as far as the carrier can arrange it."""

    data: bytes


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the connection (FIN) once everything written has left."""

    abrupt: bool = False
    """Without TLS's own goodbye, as when a process dies: to a peer that looks, the bytes were cut off."""


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Break the connection (RST)."""


Command: TypeAlias = Write | Close | Abort
