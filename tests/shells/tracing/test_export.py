"""The queue before a collector: what fits in is exported, what does not is counted, and nobody waits."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from stargate.tracing.export import BATCH_SPANS_MAX, Spans, Traces, exporter_of, resource_of
from stargate_core.config.tracing import Tracing
from stargate_core.secret import Secret
from stargate_core.spans import Span, SpanEvent, SpanKind
from support.collector import running_collector, told

TRACE = "0af7651916cd43dd8448eb211c80319c"


def a_span(number: int = 1) -> Span:
    """A span of nothing in particular."""
    return Span(TRACE, f"{number:016x}", "", "GET", SpanKind.SERVER, 1_000, 2_000)


class Faithless(SpanExporter):
    """A collector's stand-in that takes, refuses or fails, as it is told; and keeps the sizes of batches."""

    def __init__(self, *results: SpanExportResult | Exception) -> None:
        self.results = list(results)
        self.sizes: list[int] = []
        self.closed = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        result = self.results.pop(0) if self.results else SpanExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        return result

    def shutdown(self) -> None:
        self.closed.set()


def finished(spans: Spans, exporter: Faithless) -> list[tuple[str, str]]:
    """What the operator hears when all has gone."""
    spans.begin()
    spans.end()
    assert exporter.closed.wait(10)
    notes: list[tuple[str, str]] = []
    spans.tell(lambda level, text: notes.append((level, text)))
    return notes


class TestQueue:
    def test_what_is_left_goes_at_the_end_in_batches(self) -> None:
        exporter = Faithless()
        spans = Spans(exporter, Resource({}), 2048)
        spans.put([a_span(number) for number in range(1, BATCH_SPANS_MAX + 2)])
        assert spans.statistics()["queued"] == BATCH_SPANS_MAX + 1
        assert finished(spans, exporter) == []
        assert exporter.sizes == [BATCH_SPANS_MAX, 1]
        assert spans.statistics() == {"exported": 513, "failed": 0, "dropped": 0, "queued": 0}

    def test_an_exchange_that_does_not_fit_is_dropped_whole_and_counted(self) -> None:
        spans = Spans(Faithless(), Resource({}), 3)
        spans.put([a_span(1), a_span(2)])
        spans.put([a_span(3), a_span(4)])
        spans.put([a_span(5)])
        assert spans.statistics() == {"exported": 0, "failed": 0, "dropped": 2, "queued": 3}

    def test_nothing_is_taken_behind_the_end(self) -> None:
        spans = Spans(Faithless(), Resource({}), 3)
        spans.end()
        spans.put([a_span()])
        assert spans.statistics()["dropped"] == 1

    def test_what_has_not_gone_when_time_is_over_is_counted(self) -> None:
        exporter = Faithless()
        spans = Spans(exporter, Resource({}), 3)
        spans.put([a_span()])
        spans.give_up()
        assert exporter.closed.is_set()
        assert spans.statistics() == {"exported": 0, "failed": 0, "dropped": 1, "queued": 0}

    @pytest.mark.parametrize(
        ("result", "why"),
        [
            (SpanExportResult.FAILURE, "the collector does not take them"),
            (ValueError("secret"), "ValueError in the exporter"),
        ],
        ids=["refused", "raised"],
    )
    def test_trouble_is_told_once_and_its_end_too(
        self, result: SpanExportResult | Exception, why: str
    ) -> None:
        exporter = Faithless(result, result)
        spans = Spans(exporter, Resource({}), 5000)
        spans.put([a_span(number) for number in range(1, 2 * BATCH_SPANS_MAX + 2)])
        assert finished(spans, exporter) == [
            ("warning", f"traces: spans are lost: {why}"),
            ("info", "traces: spans are exported again"),
        ]
        assert spans.statistics() == {"exported": 1, "failed": 2 * BATCH_SPANS_MAX, "dropped": 0, "queued": 0}


def test_what_is_exported_is_what_the_core_has_gathered() -> None:
    with running_collector() as collector:
        config = Tracing(
            endpoint=collector.endpoint, headers={"x-key": Secret("hunter2")}, service_name="llm"
        )
        events = (SpanEvent("retry", 1_500, (("stargate.target", "east"),)),)
        child = Span(
            TRACE, "2" * 16, "1" * 16, "chat x", SpanKind.CLIENT, 1_000, 2_000,
            (("gen_ai.response.finish_reasons", ("end_turn",)), ("http.response.status_code", 200)),
            events, failed=True, state="a=1", from_remote=True,
        )  # fmt: skip
        spans = Spans(exporter_of(config), resource_of(config), 512)
        spans.put([child])
        spans.begin()
        spans.end()
        while not spans.ended:
            threading.Event().wait(0.01)
    (sent,) = collector.spans
    assert (sent.trace_id.hex(), sent.span_id.hex(), sent.parent_span_id.hex()) == (TRACE, "2" * 16, "1" * 16)
    assert (sent.start_time_unix_nano, sent.end_time_unix_nano, sent.trace_state) == (1_000, 2_000, "a=1")
    assert (sent.name, sent.kind, sent.status.code) == ("chat x", sent.SPAN_KIND_CLIENT, 2)
    assert told(sent)["http.response.status_code"] == 200
    assert [(event.name, event.time_unix_nano) for event in sent.events] == [("retry", 1_500)]
    assert collector.resources[0]["service.name"] == "llm"


def test_a_gateway_that_does_not_run_yet_gathers_nothing() -> None:
    traces = Traces(Tracing())
    traces.trace([a_span()])
    assert traces.statistics() == {}


def test_the_name_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-there")
    assert resource_of(Tracing()).attributes["service.name"] == "from-there"
    assert resource_of(Tracing(service_name="mine")).attributes["service.name"] == "mine"
