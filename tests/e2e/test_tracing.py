"""Traces of a real gateway, as a collector receives them: one trace, from the caller's span on.

The caller is OpenAI's SDK with the header that any tracer adds; the collector decodes with OpenTelemetry's
own messages. A gateway that drains exports what is left, so nothing here waits for a batch.
"""

import contextlib
import socket
from typing import Any, Final

import openai
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from support.collector import Collector, running_collector, told
from support.gateway import eventually, running_gateway
from support.metrics import scraped
from support.simulator import RunningSimulator

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
CALLER: Final = "b7ad6b7169203331"
GOOD: Final = "anthropic.claude-3-haiku-20240307-v1:0"
FAILING: Final = "simulator.throw-ServiceUnavailableException"


def user(text: str) -> Any:
    """What somebody says."""
    return {"role": "user", "content": text}


def parent(number: int = 0, *, sampled: bool = True) -> dict[str, str]:
    """A caller's header, of a trace for each number."""
    return {"traceparent": f"00-{trace(number)}-{CALLER}-{sampled:02x}"}


def trace(number: int) -> str:
    """The trace's id."""
    return f"{int(TRACE, 16) + number:032x}"


def tracing(collector: Collector, **members: Any) -> dict[str, Any]:
    """The gateway's block."""
    return {"tracing": {"endpoint": collector.endpoint, **members}}


@pytest.mark.parametrize(("shell", "workers"), [("trio", 1), ("asyncio", 2)])
def test_one_trace_from_the_caller_to_each_attempt(
    simulator: RunningSimulator, shell: str, workers: int
) -> None:
    targets = [
        {"name": "bad", "target": FAILING, "endpoint_url": simulator.url},
        {"name": "good", "target": GOOD, "endpoint_url": simulator.url},
    ]
    with running_collector() as collector:
        block = tracing(collector, headers={"x-key": "hunter2"}, service_name="llm", propagate=True)
        block |= {"workers": workers, "per_worker_limits": True}
        proxy = {"retry": {"count": 2}, "models": {"claude": {"targets": targets, "target": GOOD}}}
        with running_gateway(
            simulator.url, gateway=block, proxy=proxy, options=("--shell", shell), tells="each of 2 workers"
        ) as gateway:
            with gateway.openai() as client:
                client.chat.completions.create(model="claude", messages=[user("hi")], extra_headers=parent(0))
                broken = "[[simulator: stream-error after=2]]"
                with contextlib.suppress(openai.APIError):
                    for _ in client.chat.completions.create(
                        model=GOOD, messages=[user(broken)], stream=True, extra_headers=parent(1)
                    ):
                        pass
                client.chat.completions.create(
                    model="claude", messages=[user("hi")], extra_headers=parent(2, sampled=False)
                )
            record = gateway.record(trace_id=trace(0))
    own, bad, *between, good = collector.trace(trace(0))
    assert [span.name for span in between] == ["turn"]
    assert (own.kind, own.parent_span_id.hex()) == (Span.SPAN_KIND_SERVER, CALLER)
    assert own.span_id.hex() == record["span_id"]
    assert told(own)["stargate.request_id"] == record["request_id"]
    for attempt in (bad, good):
        assert (attempt.kind, attempt.parent_span_id) == (Span.SPAN_KIND_CLIENT, own.span_id)
        assert own.start_time_unix_nano <= attempt.start_time_unix_nano
        assert attempt.end_time_unix_nano <= own.end_time_unix_nano
    assert (bad.status.code, good.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert told(good)["gen_ai.usage.output_tokens"] == record["output_tokens"]
    own, cut = collector.trace(trace(1))
    assert (own.status.code, cut.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_ERROR)
    assert told(own)["http.response.status_code"] == 200
    assert [event.name for event in cut.events] == ["first token"]
    assert collector.trace(trace(2)) == []
    assert collector.headers[0]["x-key"] == "hunter2"
    assert collector.resources[0]["service.name"] == "llm"


def test_a_dead_collector_costs_spans_that_are_counted_and_no_request(simulator: RunningSimulator) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}/v1/traces"
        block = {
            "admin_listen": "127.0.0.1:0",
            "tracing": {"endpoint": endpoint, "timeout_seconds": 0.2},
        }
        with (
            running_gateway(simulator.url, gateway=block, tells="traces: spans are lost") as gateway,
            gateway.openai() as client,
        ):
            client.chat.completions.create(model="claude", messages=[user("hi")])
            eventually(lambda: scraped(gateway).total("stargate_spans_total", result="failed") == 2)
            assert scraped(gateway).sums("stargate_spans_total", "result") == {("failed",): 2}
