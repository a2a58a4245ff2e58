"""Clients that read slowly, late or never: memory stays flat, Bedrock is slowed, and no byte is lost."""

import json
import socket
from collections.abc import Iterator
from typing import Final

from support.gateway import RunningGateway, eventually, on_linux, running_gateway
from support.raw import READ_BYTES, Raw, chat, connected, deltas, request
from support.upstream import converse, converse_stream, running_upstream

pytestmark = on_linux
MEGABYTE: Final = 1 << 20
TEXT: Final = "x" * 200
DELTAS: Final = 120_000
"""Some 40 MB on their way from Bedrock, some 50 MB to a client of OpenAI's dialect."""
GROWTH_MAX: Final = 16 * MEGABYTE
"""What an unread stream may cost. A gateway that buffered it would need all of it."""
TICK_SECONDS: Final = 2.5


def a_long_stream() -> Iterator[bytes]:
    return converse_stream(TEXT, DELTAS)


def small_window(raw: Raw) -> None:
    """Let the kernel keep little for a client that does not read."""
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)


def wait_a_while(gateway: RunningGateway) -> None:
    """As long as the gateway lets a silent client be, by its own clock."""
    with connected(gateway.url) as raw:
        assert raw.rest() == b""


class _Level:
    """Whether a number has stopped rising."""

    def __init__(self) -> None:
        self.last = -1
        self.since = 0

    def settled(self, now: int) -> bool:
        self.since = self.since + 1 if now == self.last else 0
        self.last = now
        return self.since > 30


def test_a_stream_that_nobody_reads_is_not_read_from_bedrock_either() -> None:
    limits = {"client_stall": 60, "idle": 60}
    with running_upstream(a_long_stream) as upstream:
        with running_gateway(upstream.url, gateway={"time_limits": limits}) as gateway:
            before = gateway.resident_bytes()
            with connected(gateway.url) as raw:
                small_window(raw)
                raw.send(request(body=chat("Hello", stream=True)))
                level = _Level()
                eventually(lambda: upstream.sent_bytes and level.settled(upstream.sent_bytes))
                # All of it would be 40 MB; kernels keep some for both sides.
                assert upstream.sent_bytes < 20 * MEGABYTE
                assert gateway.resident_bytes() - before < GROWTH_MAX
                answer = raw.answer()
            assert answer.whole
            assert deltas(answer.body) == TEXT * DELTAS
            assert gateway.resident_bytes() - before < GROWTH_MAX
            assert gateway.record(model="claude")["outcome"] == "complete"


def test_a_client_that_never_reads_is_given_up() -> None:
    with running_upstream(a_long_stream) as upstream:
        with running_gateway(upstream.url, gateway={"time_limits": {"client_stall": 0.5}}) as gateway:
            with connected(gateway.url) as raw:
                small_window(raw)
                raw.send(request(body=chat("Hello", stream=True)))
                record = gateway.record(model="claude")
                assert record["outcome"] == "client_left"
                raw.rest()  # What was under way, and the end: no second try is needed to see it.
            assert upstream.sent_bytes < 20 * MEGABYTE


def test_a_client_that_does_not_read_and_leaves_is_noticed() -> None:
    """It is not read from either, so its leaving shows where it is written to."""
    with running_upstream(a_long_stream) as upstream:
        with running_gateway(upstream.url) as gateway:
            with connected(gateway.url) as raw:
                small_window(raw)
                raw.send(request(body=chat("Hello", stream=True)))
                level = _Level()
                eventually(lambda: upstream.sent_bytes and level.settled(upstream.sent_bytes))
            assert gateway.record(model="claude")["outcome"] == "client_left"
            assert upstream.sent_bytes < 20 * MEGABYTE


def test_a_client_that_is_slower_than_the_stall_limit_but_reads_gets_everything() -> None:
    """It is the standstill that counts, not how long the whole takes."""
    with running_upstream(lambda: converse_stream(TEXT, 30_000)) as upstream:
        limits = {"client_stall": 1.0, "client_idle": 0.3}
        with running_gateway(upstream.url, gateway={"time_limits": limits}) as gateway:
            with connected(gateway.url) as raw:
                small_window(raw)
                raw.send(request(body=chat("Hello", stream=True)))
                pieces: list[bytes] = []
                for _ in range(6):
                    wait_a_while(gateway)
                    pieces.extend(raw.sock.recv(READ_BYTES) for _ in range(40))
                while b"0\r\n\r\n" not in pieces[-1][-5:]:
                    pieces.append(raw.sock.recv(READ_BYTES))
            body = b"".join(pieces)
            assert body.count(TEXT.encode()) == 30_000
            assert b"data: [DONE]" in body
            assert gateway.record(model="claude")["outcome"] == "complete"


def test_a_large_answer_waits_for_its_reader_also_when_the_connection_ends_with_it() -> None:
    """The time that a closed connection lingers must not cut off what the client has yet to read."""
    text = "y" * (12 * MEGABYTE)
    with running_upstream(lambda: converse(text)) as upstream:
        with running_gateway(upstream.url, gateway={"time_limits": {"client_idle": TICK_SECONDS}}) as gateway:
            with connected(gateway.url) as raw:
                small_window(raw)
                raw.send(request(body=chat("Hello"), headers={"Connection": "close"}))
                assert gateway.record(model="claude")["outcome"] == "complete"
                wait_a_while(gateway)
                answer = raw.answer()
            assert answer.whole
            assert answer.json()["choices"][0]["message"]["content"] == text


def test_requests_sent_ahead_by_a_client_that_does_not_read_are_not_answered_without_end(
    gateway: RunningGateway,
) -> None:
    ahead = request("GET", "/v1/models") * 500
    before = gateway.resident_bytes()
    sent = 0
    with connected(gateway.url) as raw:
        small_window(raw)
        raw.sock.settimeout(0.5)
        try:
            while sent < 200 * MEGABYTE:
                sent += raw.sock.send(ahead)
        except TimeoutError:
            pass
        assert sent < 100 * MEGABYTE
        assert gateway.resident_bytes() - before < GROWTH_MAX


def test_a_slow_reader_holds_up_nobody_else() -> None:
    with running_upstream(a_long_stream) as upstream:
        pool = {"max_connections_per_endpoint": 4}
        with running_gateway(upstream.url, gateway={"pool": pool}) as gateway:
            with connected(gateway.url) as slow, connected(gateway.url) as raw:
                small_window(slow)
                slow.send(request(body=chat("Hello", stream=True)))
                level = _Level()
                eventually(lambda: upstream.sent_bytes and level.settled(upstream.sent_bytes))
                raw.send(request("GET", "/v1/models"))
                assert json.loads(raw.answer().body)["object"] == "list"
                raw.send(request(body=chat("Hello", stream=True)))
                assert raw.answer().whole


def test_nor_is_one_whose_answer_may_be_shared() -> None:
    """The call is a flight's then; but if nobody takes anything of it, nobody reads it."""
    limits = {"client_stall": 60, "idle": 60}
    cache = {"name": "response-cache"}
    with running_upstream(a_long_stream) as upstream:
        with running_gateway(upstream.url, gateway={"time_limits": limits}, plugins=[cache]) as gateway:
            before = gateway.resident_bytes()
            with connected(gateway.url) as raw:
                small_window(raw)
                raw.send(request(body=chat("Hello", stream=True)))
                level = _Level()
                eventually(lambda: upstream.sent_bytes and level.settled(upstream.sent_bytes))
                assert upstream.sent_bytes < 20 * MEGABYTE
                assert gateway.resident_bytes() - before < GROWTH_MAX
                assert deltas(raw.answer().body) == TEXT * DELTAS
