"""Export: spans wait in a queue with a bound, and one thread takes them to the collector, batch by batch.

A collector that is slow, or away, costs spans and never a request: what does not fit into the queue is
dropped, and counted. OpenTelemetry's exporter tries a batch again within its time limit; what it then gives
up is counted too, and the operator is told once, until a batch has gone well again.

The thread belongs to its worker: it is begun when the gateway runs, behind the fork, for no thread survives
one. When the gateway has drained, what is left has `timeout_seconds` to go.

Where the configuration leaves `endpoint` out, OpenTelemetry's own variables of the environment count
(OTEL_EXPORTER_OTLP_ENDPOINT, ..._HEADERS, ..._CERTIFICATE); OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
always do, the former where there is no `service_name`.

The libraries are optional: pip install 'stargate-gateway[otel]'.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import anyio

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from stargate.tracing.sdk_spans import sdk_span
except ImportError as error:
    raise ImportError(
        f"gateway.tracing needs OpenTelemetry: pip install 'stargate-gateway[otel]' ({error})"
    ) from error

from stargate.shell_common.beside import Running
from stargate_core.config.tracing import Tracing
from stargate_core.record import LogRecord
from stargate_core.spans import Span

BATCH_SPANS_MAX: Final = 512
"""As OpenTelemetry's own processor has it; so is the delay."""
_DELAY_SECONDS: Final = 1.0
"""How long spans may wait for others to go with."""
_LOOK_AGAIN_SECONDS: Final = 0.02


class Spans:
    """The queue and its thread."""

    def __init__(self, exporter: SpanExporter, resource: Resource, queue_spans_max: int) -> None:
        self._exporter = exporter
        self._resource = resource
        self._scope = InstrumentationScope("stargate", _version())
        self._queue: deque[Span] = deque()
        self._queue_spans_max = queue_spans_max
        self._notes: deque[tuple[str, str]] = deque(maxlen=8)
        """What the operator should hear, until somebody on the loop tells it."""
        self._ending = False
        self._failing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stargate-traces", daemon=True)
        self.exported = 0
        self.failed = 0
        """Spans that the collector did not take in time."""
        self.dropped = 0
        """Spans for which there was no room."""

    def begin(self) -> None:
        """From here on spans are exported."""
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> None:
        """Take an exchange's spans: all of them, or none. Returns at once."""
        if self._ending or len(self._queue) + len(spans) > self._queue_spans_max:
            self.dropped += len(spans)
            return
        self._queue.extend(spans)
        if len(self._queue) >= BATCH_SPANS_MAX:
            self._wake.set()

    def statistics(self) -> dict[str, int]:
        """Spans by what has become of them, since the process began."""
        return {
            "exported": self.exported,
            "failed": self.failed,
            "dropped": self.dropped,
            "queued": len(self._queue),
        }

    def tell(self, note: Callable[[str, str], None]) -> None:
        """What has happened in the thread is told from here."""
        while self._notes:
            note(*self._notes.popleft())

    def end(self) -> None:
        """Nothing more comes: export what is left."""
        self._ending = True
        self._wake.set()

    @property
    def ended(self) -> bool:
        """Whether all has gone."""
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Stop trying: what has not gone by now is lost. Counts it."""
        self._exporter.shutdown()
        self.dropped += len(self._queue)
        self._queue.clear()

    def _run(self) -> None:
        while not self._ending:
            self._wake.wait(_DELAY_SECONDS)
            self._wake.clear()
            self._send_all()
        self._send_all()
        self._exporter.shutdown()

    def _send_all(self) -> None:
        queue = self._queue
        while queue:
            batch: list[Span] = []
            while queue and len(batch) < BATCH_SPANS_MAX:
                try:
                    batch.append(queue.popleft())
                except IndexError:  # Given up meanwhile.
                    break
            self._send(batch)

    def _send(self, batch: list[Span]) -> None:
        """One batch. Whatever happens in a library: the thread goes on."""
        why = "the collector does not take them"
        try:
            spans = [sdk_span(span, self._resource, self._scope) for span in batch]
            sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001
            sent, why = False, f"{type(error).__name__} in the exporter"
        if sent:
            self.exported += len(batch)
            if self._failing:
                self._notes.append(("info", "traces: spans are exported again"))
        else:
            self.failed += len(batch)
            if not self._failing:
                self._notes.append(("warning", f"traces: spans are lost: {why}"))
        self._failing = not sent


class Traces:
    """What runs beside a worker's gateway where exchanges are traced."""

    def __init__(self, config: Tracing) -> None:
        self._config = config
        self._spans: Spans | None = None

    def observe(self, record: LogRecord) -> None:
        """Records are for others."""

    def trace(self, spans: Sequence[Span]) -> None:
        """Spans of a sampled exchange."""
        if self._spans is not None:
            self._spans.put(spans)

    def statistics(self) -> dict[str, int]:
        """Spans by what has become of them; nothing before the gateway runs."""
        return {} if self._spans is None else self._spans.statistics()

    async def run(self, running: Running) -> None:
        """Export until cancelled; then what is left, for so long as it may take."""
        config = self._config
        spans = Spans(exporter_of(config), resource_of(config), config.queue_spans_max)
        self._spans = spans
        spans.begin()
        try:
            while True:
                await anyio.sleep(_DELAY_SECONDS)
                spans.tell(running.note)
        finally:
            with anyio.CancelScope(shield=True):
                await _finish(spans, config.timeout_seconds)
                spans.tell(running.note)


async def _finish(spans: Spans, timeout_seconds: float) -> None:
    """Wait for the last spans. The thread is a daemon: one that hangs holds up nothing else."""
    spans.end()
    with anyio.move_on_after(timeout_seconds):
        while not spans.ended:  # noqa: ASYNC110  (a thread of its own has no event of this loop)
            await anyio.sleep(_LOOK_AGAIN_SECONDS)
    if not spans.ended:
        spans.give_up()


def exporter_of(config: Tracing) -> SpanExporter:
    """OpenTelemetry's exporter, as configured. It speaks of its troubles to nobody but us."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return OTLPSpanExporter(
        endpoint=config.endpoint,
        headers={name: value.reveal() for name, value in config.headers.items()} or None,
        timeout=config.timeout_seconds,
    )


def resource_of(config: Tracing) -> Resource:
    """Whose spans they are."""
    name = config.service_name or os.environ.get("OTEL_SERVICE_NAME") or "stargate"
    instance = f"{os.uname().nodename}:{os.getpid()}"
    told = {SERVICE_NAME: name, "service.version": _version(), "service.instance.id": instance}
    return Resource.create(told)


def _version() -> str:
    try:
        return version("stargate-gateway")
    except PackageNotFoundError:
        return "unknown"
