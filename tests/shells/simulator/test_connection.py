"""The machine of one connection: HTTP as h11 reads it from the other side, time, and who leaves early."""

import json
from itertools import pairwise
from typing import Any, Final

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.simulator.ledger import Outcome
from stargate.simulator.messages import Abort, Close, Ended, Lost, Received, Ticked, Write
from support.simulator import CLAUDE, Wire, converse_request, read_reply, signed

HELLO: Final = converse_request("hello there")
STREAM: Final = converse_request("[[simulator: words=20]]", operation="converse-stream")
MILLISECOND: Final = 1_000_000


class TestRequests:
    @given(st.lists(st.integers(0, len(HELLO)), max_size=8))
    def test_any_cut_of_the_bytes_gives_the_same_answer(self, cuts: list[int]) -> None:
        whole = Wire()
        whole.ask(HELLO)
        torn = Wire()
        edges = [0, *sorted(cuts), len(HELLO)]
        for start, end in pairwise(edges):
            torn.tell(Received(HELLO[start:end]))
        assert torn.written() == whole.written()

    def test_byte_by_byte(self) -> None:
        whole = Wire()
        whole.ask(HELLO)
        torn = Wire()
        for octet in HELLO:
            torn.tell(Received(bytes((octet,))))
        assert torn.written() == whole.written()

    def test_a_connection_serves_many(self) -> None:
        wire = Wire()
        for _ in range(5):
            assert wire.ask(HELLO).status == 200
        assert not wire.closed

    def test_pipelined_requests_are_answered_in_turn(self) -> None:
        wire = Wire()
        wire.tell(Received(HELLO * 3 + STREAM))
        wire.run()
        client = h11.Connection(h11.CLIENT)
        client.receive_data(wire.written())
        statuses: list[int] = []
        for _ in range(4):
            client.send(h11.Request(method="POST", target="/", headers=[("Host", "x")]))
            client.send(h11.EndOfMessage())
            while not isinstance(event := client.next_event(), h11.EndOfMessage):
                assert event is not h11.NEED_DATA
                if isinstance(event, h11.Response):
                    statuses.append(event.status_code)
            client.start_next_cycle()
        assert statuses == [200] * 4

    def test_chunked_requests(self) -> None:
        head, _, body = HELLO.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        head = b"\r\n".join([*lines, b"Transfer-Encoding: chunked"])
        chunks = b"".join(b"1\r\n%c\r\n" % octet for octet in body)
        assert Wire().ask(head + b"\r\n\r\n" + chunks + b"0\r\n\r\n").status == 200

    def test_expect_100_continue(self) -> None:
        head, _, body = HELLO.partition(b"\r\n\r\n")
        wire = Wire()
        wire.tell(Received(head + b"\r\nExpect: 100-continue\r\n\r\n"))
        assert wire.written().startswith(b"HTTP/1.1 100 ")
        assert wire.ask(body).status == 200

    def test_connection_close_is_obeyed(self) -> None:
        wire = Wire()
        reply = wire.ask(HELLO.replace(b"Host:", b"Connection: close\r\nHost:", 1))
        assert (reply.status, reply.whole, wire.closed) == (200, True, True)

    @pytest.mark.parametrize(
        ("request_bytes", "status"),
        [
            (b"hello\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nHost: x\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000, 431),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ],
    )
    def test_what_is_no_request(self, request_bytes: bytes, status: int) -> None:
        wire = Wire()
        reply = wire.ask(request_bytes)
        assert reply.status == status
        assert wire.commands[-1] == Close()
        assert wire.ledger.requests() == []

    def test_a_body_beyond_the_limit(self) -> None:
        wire = Wire(body_bytes_max=1000)
        reply = wire.ask(converse_request("x" * 1000))
        assert reply.status == 413
        assert reply.headers["x-amzn-errortype"].startswith("RequestEntityTooLargeException:")
        assert wire.commands[-1] == Close()

    def test_a_flood_behind_a_request_is_cut_off(self) -> None:
        wire = Wire()
        wire.tell(Received(converse_request("x", model_id="simulator.stall-before-headers")))
        for _ in range(20):
            wire.tell(Received(b"x" * 100_000))
        assert wire.commands == [Abort()]

    @given(st.binary(max_size=200))
    def test_noise_never_raises(self, noise: bytes) -> None:
        wire = Wire()
        wire.tell(Received(noise))
        wire.tell(Ended())
        assert wire.tell(Received(b"more")) == []


class TestTime:
    def test_a_paced_stream_takes_its_time(self) -> None:
        wire = Wire(events_per_second=100.0, first_token_ns=300 * MILLISECOND)
        wire.tell(Received(STREAM))
        assert wire.machine.deadline == 300 * MILLISECOND
        wire.run()
        events = wire.ledger.requests()[0].events_planned
        # messageStart, 20 deltas, contentBlockStop, messageStop, metadata
        assert events == 24
        assert wire.now_ns == (300 + 10 * (events - 1)) * MILLISECOND

    def test_nothing_happens_before_its_time(self) -> None:
        wire = Wire(first_token_ns=5 * MILLISECOND)
        wire.tell(Received(HELLO))
        wire.now_ns = 5 * MILLISECOND - 1
        assert wire.tell(Ticked()) == []
        assert wire.machine.deadline == 5 * MILLISECOND
        wire.now_ns += 1
        assert len(wire.tell(Ticked())) == 1

    def test_lost_time_is_made_up_for(self) -> None:
        wire = Wire(events_per_second=100.0)
        wire.tell(Received(STREAM))
        wire.now_ns = 55 * MILLISECOND
        wire.tell(Ticked())
        # Six events are due by now, and the seventh keeps its place.
        assert wire.ledger.requests()[0].events_sent >= 5
        assert wire.machine.deadline == 60 * MILLISECOND

    def test_at_full_speed_a_stream_is_one_write(self) -> None:
        wire = Wire()
        assert [type(command) for command in wire.tell(Received(STREAM))] == [Write]

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        first, second, other = Wire(seed=7), Wire(seed=7), Wire(seed=8)
        for wire in (first, second, other):
            wire.ask(STREAM)
        assert first.written() == second.written() != other.written()


class TestLeaving:
    """Whoever leaves before the end is noticed, and where."""

    def left(self, request: bytes, advance: int, event: Any, **changes: Any) -> tuple[Outcome, str, int]:
        wire = Wire(**changes)
        wire.tell(Received(request))
        wire.now_ns = advance
        wire.tell(Ticked())
        commands = wire.tell(event)
        assert commands == ([Close()] if isinstance(event, Ended) else [])
        exchange = wire.ledger.requests()[0]
        assert wire.ledger.statistics()["open_connections"] == 0
        assert wire.machine.deadline is None
        return exchange.outcome, exchange.phase, exchange.events_sent

    @pytest.mark.parametrize("event", [Ended(), Lost()])
    def test_in_every_phase(self, event: Any) -> None:
        pace = {"events_per_second": 100.0}
        stalled = converse_request("x", model_id="simulator.stall-before-headers")
        slow = {"first_token_ns": 9 * MILLISECOND}
        cancelled = Outcome.CANCELLED
        assert self.left(stalled, 0, event) == (cancelled, "before-headers", 0)
        assert self.left(HELLO, 1, event, **slow) == (cancelled, "before-headers", 0)
        assert self.left(STREAM, 1, event, **slow) == (cancelled, "before-first-event", 0)
        outcome, phase, sent = self.left(STREAM, 100 * MILLISECOND, event, **pace)
        assert (outcome, phase) == (cancelled, "mid-stream")
        assert 10 <= sent <= 11

    def test_after_the_end_nobody_has_left_early(self) -> None:
        wire = Wire()
        wire.ask(STREAM)
        wire.tell(Ended())
        statistics = wire.ledger.statistics()
        assert statistics["outcomes"] == {"complete": 1}
        assert (statistics["cancelled"], statistics["unfinished_requests"]) == ([], 0)

    @pytest.mark.parametrize("length", [10, len(HELLO) - 1])
    def test_inside_a_request(self, length: int) -> None:
        wire = Wire()
        wire.tell(Received(HELLO[:length]))
        wire.tell(Lost())
        assert wire.ledger.statistics()["unfinished_requests"] == 1
        assert wire.ledger.requests() == []

    def test_a_closed_machine_is_silent(self) -> None:
        wire = Wire()
        wire.tell(Lost())
        assert wire.tell(Received(HELLO)) == []
        assert wire.tell(Lost()) == []
        assert wire.ledger.statistics()["open_connections"] == 0


class TestHeaders:
    def test_what_every_answer_of_aws_has(self) -> None:
        reply = Wire().ask(HELLO)
        assert reply.headers["date"] == "Fri, 02 Jan 2026 03:04:05 GMT"
        assert len(reply.headers["x-amzn-requestid"]) == 36

    def test_request_ids_differ(self) -> None:
        wire = Wire()
        assert wire.ask(HELLO).headers["x-amzn-requestid"] != wire.ask(HELLO).headers["x-amzn-requestid"]

    def test_a_stream_is_chunked_and_a_document_has_a_length(self) -> None:
        stream, document = Wire().ask(STREAM), Wire().ask(HELLO)
        assert stream.headers["transfer-encoding"] == "chunked"
        assert int(document.headers["content-length"]) == len(document.body)

    def test_invoke_says_its_tokens(self) -> None:
        message = b'{"role":"user","content":"hi"}'
        body = b'{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[%s]}' % message
        reply = Wire().ask(signed(f"/model/{CLAUDE}/invoke", body))
        usage = reply.json()["usage"]
        assert reply.headers["x-amzn-bedrock-input-token-count"] == str(usage["input_tokens"])
        assert reply.headers["x-amzn-bedrock-output-token-count"] == str(usage["output_tokens"]) == "5"
        stream = Wire().ask(signed(f"/model/{CLAUDE}/invoke-with-response-stream", body))
        assert stream.headers["x-amzn-bedrock-content-type"] == "application/json"
        assert "x-amzn-bedrock-input-token-count" not in stream.headers


class TestOwnPages:
    def get(self, wire: Wire, path: str, method: str = "GET") -> Any:
        reply = wire.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return reply.status, json.loads(reply.body)

    def test_health(self) -> None:
        assert self.get(Wire(), "/healthz") == (200, {"status": "ok"})

    def test_what_was_received(self) -> None:
        wire = Wire()
        wire.ask(HELLO)
        wire.ask(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        first, second = self.get(wire, "/_simulator/requests")[1]
        assert first["body"]["messages"][0]["content"] == [{"text": "hello there"}]
        assert (first["operation"], first["model_id"], first["status"]) == ("Converse", CLAUDE, 200)
        assert (first["outcome"], first["verified"], first["error"]) == ("complete", True, "")
        assert (second["target"], second["body"]) == ("/nowhere", "hello")
        assert (second["verified"], second["error"]) == (False, "UnknownOperationException")

    def test_own_pages_are_not_counted(self) -> None:
        wire = Wire()
        wire.ask(HELLO)
        self.get(wire, "/_simulator/statistics")
        statistics = self.get(wire, "/_simulator/statistics")[1]
        assert statistics["operations"] == {"Converse": 1}
        assert (statistics["outcomes"], statistics["running"]) == ({"complete": 1}, 0)

    def test_forgetting(self) -> None:
        wire = Wire()
        wire.ask(HELLO)
        assert self.get(wire, "/_simulator/requests", "DELETE")[0] == 200
        assert self.get(wire, "/_simulator/requests") == (200, [])
        assert self.get(wire, "/_simulator/statistics")[1]["operations"] == {}

    def test_the_manual(self) -> None:
        assert "stall-mid-stream" in self.get(Wire(), "/_simulator/scenarios")[1]

    def test_other_pages(self) -> None:
        assert self.get(Wire(), "/_simulator/else")[0] == 404


def test_http_1_0_ends_with_the_connection() -> None:
    wire = Wire()
    request = HELLO.replace(b" HTTP/1.1", b" HTTP/1.0", 1)
    wire.tell(Received(request))
    reply = read_reply(wire.written(), closed=wire.closed)
    assert (reply.status, reply.whole, wire.closed) == (200, True, True)
