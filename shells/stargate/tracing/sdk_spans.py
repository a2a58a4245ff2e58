"""The core's spans as those of OpenTelemetry's SDK, which its exporters take.

Nothing is recorded here: ids, times and parents are given, and the SDK's own tracers and context are not
used. So a replay, and whoever reads the record of a request, knows the same ids as the collector.
"""

from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace import SpanKind as SdkKind
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from stargate_core.spans import Span, SpanKind

_KINDS: Final = {
    SpanKind.SERVER: SdkKind.SERVER,
    SpanKind.CLIENT: SdkKind.CLIENT,
    SpanKind.INTERNAL: SdkKind.INTERNAL,
}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


def sdk_span(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """The same span. Its trace is sampled: others are never gathered."""
    trace_id = int(span.trace_id, 16)
    state = TraceState.from_header([span.state]) if span.state else TraceState()
    parent = None
    if span.parent_id:
        parent = SpanContext(trace_id, int(span.parent_id, 16), span.from_remote, _SAMPLED, state)
    return ReadableSpan(
        name=span.name,
        context=SpanContext(
            trace_id, int(span.span_id, 16), is_remote=False, trace_flags=_SAMPLED, trace_state=state
        ),
        parent=parent,
        resource=resource,
        attributes=dict(span.attributes),
        events=[Event(event.name, dict(event.attributes), event.at_ns) for event in span.events],
        kind=_KINDS[span.kind],
        status=_ERROR if span.failed else _UNSET,
        start_time=span.begun_ns,
        end_time=span.ended_ns,
        instrumentation_scope=scope,
    )
