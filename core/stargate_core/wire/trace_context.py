"""W3C Trace Context: which trace a request belongs to, and who in it has called.

`traceparent` is strict: lower-case digits, a fixed length, no zeros for ids, not more than one. What breaks a
rule is ignored, and with it `tracestate`: the request begins a trace of its own. A later version than ours is
read as ours, as far as ours goes. A `tracestate` that cannot be read takes nothing with it; one that is
longer than everybody must pass on loses its longest entries first, then the last ones.

Source: https://www.w3.org/TR/trace-context-2/ (3.2, 3.3, 4.2).
"""

import re
from typing import Final, TypeAlias

import msgspec

from stargate_core.secret import Private

Headers: TypeAlias = list[tuple[bytes, bytes]]

STATE_BYTES_MAX: Final = 512
"""What everybody should pass on at least, and what we do at most."""
_ENTRY_BYTES_MAX: Final = 128
"""Entries above this are the first to go."""
_ENTRIES_MAX: Final = 32
_RAW_BYTES_MAX: Final = 8192
"""Of what is looked at."""
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_ENTRY: Final = re.compile(rb"[a-z0-9][a-z0-9_\-*/@]{0,255}=[ !-+\--<>-~]{0,255}[!-+\--<>-~]")
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_SAMPLED: Final = 1
_RANDOM: Final = 2


class TraceContext(Private, msgspec.Struct, frozen=True):
    """Where somebody stands in a trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16: of whoever speaks."""
    sampled: bool
    """It is recorded by whoever speaks, and should be by whoever is called."""
    random: bool = False
    """The trace's id was drawn by chance, all of it."""
    state: bytes = b""
    """What others have to tell of the trace (`tracestate`)."""

    def headers(self) -> Headers:
        """As a request bears it."""
        flags = self.sampled * _SAMPLED | self.random * _RANDOM
        told = [(b"traceparent", f"00-{self.trace_id}-{self.span_id}-{flags:02x}".encode())]
        if self.state:
            told.append((b"tracestate", self.state))
        return told


def read(headers: Headers) -> TraceContext | None:
    """Who has called, as far as a request's headers (names in lower case) tell; None: nobody who traces."""
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1:
        return None
    match = _PARENT.fullmatch(parents[0].strip(b" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    bits = int(flags, 16)
    state = _state([value for name, value in headers if name == b"tracestate"])
    sampled, random = bool(bits & _SAMPLED), bool(bits & _RANDOM)
    return TraceContext(trace_id.decode(), span_id.decode(), sampled, random, state)


def _state(values: list[bytes]) -> bytes:
    """All lines as one list, cut to its bound; nothing, where it is none."""
    whole = b",".join(values)
    if not whole or len(whole) > _RAW_BYTES_MAX:
        return b""
    entries = [entry for entry in (part.strip(b" \t") for part in whole.split(b",")) if entry]
    keys = {entry.partition(b"=")[0] for entry in entries}
    if len(entries) > _ENTRIES_MAX or len(keys) < len(entries):
        return b""
    if not all(_ENTRY.fullmatch(entry) for entry in entries):
        return b""
    if len(b",".join(entries)) > STATE_BYTES_MAX:
        entries = [entry for entry in entries if len(entry) <= _ENTRY_BYTES_MAX]
    while len(b",".join(entries)) > STATE_BYTES_MAX:
        entries.pop()
    return b",".join(entries)
