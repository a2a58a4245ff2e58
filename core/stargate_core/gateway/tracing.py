"""Tracing: which trace an exchange belongs to, and the spans that it leaves.

Where `gateway.tracing` is set each exchange has a place in a trace: the caller's, if its `traceparent` names
one, else one that begins here. Only where the trace is sampled is there a `Tracer`, which gathers:

- the exchange itself (SERVER), whose parent is the caller's span;
- each attempt at Bedrock (CLIENT, in the terms of gen_ai), whole when it is over. The time between two
  attempts is what lies between their spans;
- an answer that is shared (INTERNAL), for the call is made for all who want it and belongs to no trace;
- each time a plugin, or the gateway itself, has waited for an answer of the process: the store, newer
  credentials, a breaker's turn.

Hooks that do not wait take no time on the core's clock, which stands still within `handle`; so there are no
spans of filters, and what a machine computes is the difference of its neighbours.

All is drawn from the session's own chance, so a replay leaves the same spans. There is a bound on spans and
events: a request is retried and waits a few times, but a batch of thousands is one request too.

Sources: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and .../gen-ai/aws-bedrock/,
https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (a server's span fails with 5xx and not 4xx).
"""

from typing import TYPE_CHECKING, Final

import msgspec

from stargate_core.aws.operations import ASK_MODELS
from stargate_core.dialects.face import Headers
from stargate_core.direction import Direction
from stargate_core.entropy import Entropy
from stargate_core.faults import Fault
from stargate_core.gateway.upstream import SharedAnswer
from stargate_core.prices import base_model
from stargate_core.record import LogRecord, Outcome
from stargate_core.spans import Attributes, Span, SpanEvent, SpanKind, Value
from stargate_core.wire.trace_context import TraceContext, read

if TYPE_CHECKING:
    from stargate_core.config.tracing import Tracing
    from stargate_core.gateway.exchange import Exchange

SPANS_MAX: Final = 128
EVENTS_MAX: Final = 128
_RATIO_BITS: Final = 64
"""As OpenTelemetry's TraceIdRatioBased: of the lower half of the trace's id."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_CLIENT_LEFT: Final = "client_left"


class TracePlan(msgspec.Struct, frozen=True):
    """What the configuration wants, ready for use."""

    below: int
    """A trace that begins here is sampled, if the lower half of its id is less than this."""
    propagate: bool
    respond: bool


def trace_plan(tracing: "Tracing | None") -> TracePlan | None:
    """None: nothing is traced."""
    if tracing is None:
        return None
    return TracePlan(round(tracing.sample * (1 << _RATIO_BITS)), tracing.propagate, tracing.respond)


def place_in_trace(plan: TracePlan, headers: Headers, chance: Entropy) -> tuple[TraceContext, str]:
    """Where an exchange stands that has come with these headers, and its parent's span; '' if it has none."""
    parent = read(headers)
    span_id = _new_span_id(chance)
    if parent is None:
        trace_id = chance.request_id()
        sampled = int(trace_id[16:], 16) < plan.below
        return TraceContext(trace_id, span_id, sampled, random=True), ""
    return msgspec.structs.replace(parent, span_id=span_id), parent.span_id


def _new_span_id(chance: Entropy) -> str:
    return chance.request_id()[:16]


class Tracer:
    """Gathers the spans of one sampled exchange."""

    __slots__ = ("_chance", "_context", "_epoch_ns", "_events", "_parent_id", "_spans", "_wait", "attempt_id")

    def __init__(self, context: TraceContext, parent_id: str, chance: Entropy, wall_epoch_ns: int) -> None:
        self._context = context
        self._parent_id = parent_id
        self._chance = chance
        self._epoch_ns = wall_epoch_ns
        self._spans: list[Span] = []
        self._events: list[SpanEvent] = []
        self._wait: tuple[int, str, Attributes] | None = None
        """Since when something is waited for: the span's name and attributes."""
        self.attempt_id = ""
        """The span of the attempt at hand, where its call has named it already."""

    def call_context(self) -> TraceContext:
        """For the call that is made now: its span is whose the answer's are."""
        self.attempt_id = _new_span_id(self._chance)
        return msgspec.structs.replace(self._context, span_id=self.attempt_id)

    def note(self, now: int, name: str, *attributes: tuple[str, Value]) -> None:
        """Something has happened to the exchange."""
        if len(self._events) < EVENTS_MAX:
            self._events.append(SpanEvent(name, self._epoch_ns + now, attributes))

    def wait(self, now: int, name: str, *attributes: tuple[str, Value]) -> None:
        """Something is waited for from here on."""
        self._wait = (now, name, attributes)

    def waited(self, now: int, *, failed: bool = False) -> None:
        """It has come, or never will."""
        if self._wait is not None:
            begun_at, name, attributes = self._wait
            self._wait = None
            self._add(_new_span_id(self._chance), name, SpanKind.INTERNAL, begun_at, now, attributes, failed)

    def attempt(
        self, exchange: "Exchange", now: int, direction: Direction, fault: Fault | None, *, left: bool = False
    ) -> None:
        """An attempt at Bedrock is over. left: because the caller left."""
        span_id, self.attempt_id = self.attempt_id or _new_span_id(self._chance), ""
        operation, name = _operation(exchange, direction)
        error = _CLIENT_LEFT if left else "" if fault is None else fault.aws_name or fault.cause.name
        told: list[tuple[str, Value]] = [
            ("gen_ai.operation.name", operation),
            ("gen_ai.provider.name", "aws.bedrock"),
            ("gen_ai.request.model", direction.target.model),
            ("server.address", direction.endpoint.host),
            ("server.port", direction.endpoint.port),
            ("cloud.region", direction.region),
            ("stargate.target", direction.name or direction.region),
        ]
        if exchange.attempts > 1:
            told.append(("http.request.resend_count", exchange.attempts - 1))
        told += _of_answer(exchange, direction, ended=not error)
        if error:
            told.append(("error.type", error))
        first_at, begun_at = exchange.first_token_at, exchange.opened_at
        events = () if not first_at else (SpanEvent("first token", self._epoch_ns + first_at),)
        self._add(span_id, name, SpanKind.CLIENT, begun_at, now, tuple(told), bool(error), events)

    def finish(self, exchange: "Exchange", now: int, record: LogRecord) -> tuple[Span, ...]:
        """The exchange is settled: all its spans, its own at last."""
        self.waited(now, failed=True)
        left = record.outcome is Outcome.CLIENT_LEFT
        direction, upstream = exchange.direction, exchange.upstream
        if isinstance(upstream, SharedAnswer):
            self._shared(exchange, now, record)
        elif not exchange.reported and direction is not None:
            self.attempt(exchange, now, direction, exchange.fault, left=left)
        error = _CLIENT_LEFT if left else record.cause if _has_failed(record) else ""
        method = record.method if record.method in _METHODS else "_OTHER"
        told: list[tuple[str, Value]] = [
            ("http.request.method", method),
            ("url.path", exchange.request.path.decode("latin-1")[:1024]),
            ("client.address", record.client),
            ("stargate.request_id", record.request_id),
            ("stargate.route", record.route),
            ("stargate.dialect", record.dialect),
            ("stargate.outcome", record.outcome.value),
            ("stargate.attempts", record.attempts),
            ("stargate.upstream_ms", record.upstream_ms),
            ("stargate.overhead_ms", record.overhead_ms),
        ]
        told += [
            (name, value)
            for name, value in (
                ("http.response.status_code", record.status),
                ("stargate.consumer", record.consumer),
                ("stargate.code", record.code),
                ("stargate.limited_by", record.limited_by),
                ("stargate.cache", record.cache),
                ("stargate.cost_usd", record.cost_usd),
                ("error.type", error or (record.cause if record.status >= 400 else "")),
            )
            if value
        ]
        name = f"{method} {record.route}" if record.route else method
        own = Span(
            self._context.trace_id,
            self._context.span_id,
            self._parent_id,
            name,
            SpanKind.SERVER,
            self._epoch_ns + exchange.begun_at,
            self._epoch_ns + now,
            tuple(told),
            tuple(self._events),
            bool(error),
            self._context.state.decode("latin-1"),
            bool(self._parent_id),
        )
        return (*self._spans, own)

    def _shared(self, exchange: "Exchange", now: int, record: LogRecord) -> None:
        """An answer that came from the cache, or from a call made for all who want it."""
        told: tuple[tuple[str, Value], ...] = (("stargate.cache", record.cache or "unknown"),)
        if record.cause:
            told += (("error.type", record.cause),)
        self._add(
            _new_span_id(self._chance),
            "shared answer",
            SpanKind.INTERNAL,
            exchange.called_at,
            now,
            told,
            bool(record.cause),
        )

    def _add(
        self,
        span_id: str,
        name: str,
        kind: SpanKind,
        begun_at: int,
        ended_at: int,
        attributes: Attributes,
        failed: bool,
        events: tuple[SpanEvent, ...] = (),
    ) -> None:
        if len(self._spans) < SPANS_MAX:
            context, epoch_ns = self._context, self._epoch_ns
            self._spans.append(
                Span(
                    context.trace_id,
                    span_id,
                    context.span_id,
                    name,
                    kind,
                    epoch_ns + begun_at,
                    epoch_ns + ended_at,
                    attributes,
                    events,
                    failed,
                    context.state.decode("latin-1"),
                )
            )


def _has_failed(record: LogRecord) -> bool:
    """Whether it is the server's failure: a 5xx, or one within a stream. A refusal is the caller's."""
    return record.status >= 500 or (record.outcome is Outcome.FAILED and record.status < 400)


def _operation(exchange: "Exchange", direction: Direction) -> tuple[str, str]:
    """The operation as gen_ai names it, and the span's name."""
    call, model = exchange.call, direction.target.model
    if call is None or call.operation not in ASK_MODELS:
        operation = "bedrock" if call is None else call.operation.value
    elif exchange.dialect.NAME == "openai-embeddings" or "embed" in model:
        operation = "embeddings"
    else:
        operation = "chat"
    return operation, f"{operation} {model}"


def _of_answer(exchange: "Exchange", direction: Direction, *, ended: bool) -> list[tuple[str, Value]]:
    """What Bedrock's answer says: usage and reason where it has come to its end."""
    told: list[tuple[str, Value]] = []
    upstream, translator, ask = exchange.upstream, exchange.translator, exchange.ctx.known_ask
    if ask is not None and ask.output_tokens_max is not None:
        told.append(("gen_ai.request.max_tokens", ask.output_tokens_max))
    if exchange.call is not None and exchange.call.stream:
        told.append(("gen_ai.request.stream", True))
    if upstream is None or not upstream.status:
        return told
    told.append(("http.response.status_code", upstream.status))
    if upstream.request_id:
        told.append(("aws.request_id", upstream.request_id))
    if exchange.first_token_at:
        seconds = (exchange.first_token_at - exchange.opened_at) / 1_000_000_000
        told.append(("gen_ai.response.time_to_first_chunk", seconds))
    if translator is None or not ended:
        return told
    told.append(("gen_ai.response.model", base_model(direction.target.model)))
    if translator.stop_reason:
        told.append(("gen_ai.response.finish_reasons", (translator.stop_reason,)))
    usage = translator.usage
    if usage is not None:
        told += [
            ("gen_ai.usage.input_tokens", usage.input_tokens),
            ("gen_ai.usage.output_tokens", usage.output_tokens),
            ("gen_ai.usage.cache_read.input_tokens", usage.cache_read_tokens),
            ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ]
    return told
