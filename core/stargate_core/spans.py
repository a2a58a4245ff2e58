"""Spans: what a traced exchange was, in the terms of OpenTelemetry and without its library.

Only types. Names of attributes are OpenTelemetry's semantic conventions where these have one (gen_ai.*,
http.*, aws.*, server.*, error.type), and stargate.* where not. As in the log record there is no place for a
prompt, a completion, a key, or a header of the caller's choice.
"""

import enum
from typing import TypeAlias

import msgspec

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
Attributes: TypeAlias = tuple[tuple[str, Value], ...]


class SpanKind(enum.Enum):
    """Which side of a call it is."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened within a span."""

    name: str
    at_ns: int
    """Wall time."""
    attributes: Attributes = ()


class Span(msgspec.Struct, frozen=True):
    """One step of a trace. Times are wall time in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty: it begins the trace."""
    name: str
    kind: SpanKind
    begun_ns: int
    ended_ns: int
    attributes: Attributes = ()
    events: tuple[SpanEvent, ...] = ()
    failed: bool = False
    state: str = ""
    """What others have to tell of the trace (`tracestate`)."""
    from_remote: bool = False
    """Its parent is another party's."""
