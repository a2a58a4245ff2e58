"""`gateway.tracing`: whether exchanges are traced, how many of them, and where their spans go.

The decision is the caller's, where a caller that traces has made one (`traceparent`); else it is drawn from
the trace's own id, so everybody who uses the same ratio comes to the same decision.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, field

from stargate_core.secret import Secret


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """Spans of exchanges, for an OpenTelemetry collector (OTLP over HTTP)."""

    endpoint: (
        Annotated[
            str,
            Meta(
                pattern=r"^https?://[^\s]+\Z",
                description="an http(s) URL, as a rule with the path /v1/traces",
            ),
        ]
        | None
    ) = None
    """None: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, else port 4318 of this
    machine.
    """
    headers: dict[Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")], Secret] = field(
        default_factory=dict[str, Secret]
    )
    """What the collector wants to see: an API key, say."""
    service_name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """None: OTEL_SERVICE_NAME, else stargate."""
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """The share of traces that are recorded, of those that begin here."""
    propagate: bool = False
    """Whether calls to Bedrock bear `traceparent`. Bedrock takes no notice; a proxy before it may."""
    respond: bool = False
    """Whether answers bear `traceresponse`: the trace's id, for whoever asks why."""
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 10.0
    """For one export; at the end, for all that is left."""
    queue_spans_max: Annotated[int, Meta(ge=512, le=1_000_000)] = 8192
    """What may wait for a slow collector, in each worker; of more the newest are dropped, and counted."""
