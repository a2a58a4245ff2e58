"""A run against servers that are paced by hand, in virtual time: what it must measure is known beforehand.

The server is a task at the other end of a pair of in-memory streams. Time passes only when everybody waits.
"""

import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from stargate.benching.answer import Answered, Failed
from stargate.benching.arrivals import arrivals
from stargate.benching.asking import endpoint
from stargate.benching.run import CannotConnect, Plan, Run, dialling
from stargate.benching.tally import Tally

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"choices":[]}'
MS = 1_000_000
PATIENCE_SECONDS = 5.0

pytestmark = pytest.mark.trio

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


def chunk(payload: object) -> bytes:
    data = b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(text: str) -> bytes:
    return chunk({"choices": [{"delta": {"content": text}}]})


async def asked(stream: trio.abc.Stream) -> bool:
    """Wait for a request; whether one came."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        try:
            piece = await stream.receive_some()
        except trio.BrokenResourceError:
            return False
        if not piece:
            return False
        data += piece
    assert data == REQUEST
    return True


class Server:
    """Serves each connection with a task."""

    def __init__(self, nursery: trio.Nursery, serve: Serve) -> None:
        self._nursery = nursery
        self._serve = serve
        self.connections = 0

    async def dial(self) -> trio.abc.Stream:
        self.connections += 1
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours


async def perform(
    serve: Serve,
    moments: Callable[[], Iterator[int]],
    seconds: float,
    *,
    streamed: bool = True,
    places: int = 99,
) -> tuple[Tally, Server]:
    """A run against such a server; everything has ended when it returns."""
    plan = Plan(
        compose=lambda _: REQUEST,
        arrivals=moments,
        is_streamed=streamed,
        concurrency_max=places,
        timeout_seconds=PATIENCE_SECONDS,
    )
    tally = Tally(int(seconds * 1000) * MS)
    async with trio.open_nursery() as nursery:
        server = Server(nursery, serve)
        await Run(plan, tally, server.dial).perform()
        nursery.cancel_scope.cancel()
    return tally, server


def every(milliseconds: int, seconds: float) -> Callable[[], Iterator[int]]:
    return lambda: arrivals("constant", 1000 / milliseconds, seconds, seed=0)


async def paced(stream: trio.abc.Stream) -> None:
    """The first token after 30 ms, two more after 5 and 20 ms, the end 45 ms later: 100 ms in all."""
    while await asked(stream):
        await stream.send_all(HEAD)
        for pause, part in ((0.030, "a"), (0.005, "b"), (0.020, "c")):
            await trio.sleep(pause)
            await stream.send_all(token(part))
        await trio.sleep(0.045)
        await stream.send_all(chunk(b"[DONE]") + b"0\r\n\r\n")


def answering_after(seconds: float) -> Serve:
    async def serve(stream: trio.abc.Stream) -> None:
        while await asked(stream):
            await trio.sleep(seconds)
            await stream.send_all(PLAIN)

    return serve


def ms(nanoseconds: int | None) -> float:
    assert nanoseconds is not None
    return round(nanoseconds / MS, 3)


class TestMoments:
    async def test_are_those_of_the_server(self, autojump_clock: MockClock) -> None:
        tally, server = await perform(paced, every(250, 2.0), 2.0)
        assert (tally.due, tally.answered, tally.failed, tally.under_way) == (8, 8, 0, 0)
        assert (ms(tally.first.least), ms(tally.first.greatest)) == (30, 30)
        assert (ms(tally.between.least), ms(tally.between.greatest), tally.between.count) == (5, 20, 16)
        assert (ms(tally.whole.least), ms(tally.whole.greatest)) == (100, 100)
        assert (tally.tokens, tally.are_tokens_told) == (24, False)
        assert server.connections == 1, "one after the other, on one connection"

    async def test_requests_do_not_wait_for_each_other(self, autojump_clock: MockClock) -> None:
        tally, server = await perform(paced, every(20, 1.0), 1.0)
        assert (tally.due, tally.answered, tally.crowded) == (50, 50, 0)
        assert ms(tally.whole.greatest) == 100
        assert server.connections in {5, 6}, "as many as are under way at a time, and kept"

    async def test_progress_is_told_from_beginning_to_end(self, autojump_clock: MockClock) -> None:
        told: list[int] = []
        plan = Plan(
            compose=lambda _: REQUEST,
            arrivals=every(500, 1.0),
            is_streamed=True,
            concurrency_max=9,
            timeout_seconds=PATIENCE_SECONDS,
        )
        async with trio.open_nursery() as nursery:
            run = Run(plan, Tally(1000 * MS), Server(nursery, paced).dial)
            await run.perform(told.append)
            nursery.cancel_scope.cancel()
        assert [round(at / MS) for at in told] == [0, 100, 200, 300, 400, 500, 600]


class TestCoordinatedOmission:
    """A server that answers in 1 ms, but for one second in which it answers nobody."""

    @staticmethod
    def stalling() -> Serve:
        stalls_from: list[float] = []

        async def serve(stream: trio.abc.Stream) -> None:
            stalls_from[:] = stalls_from or [trio.current_time() + 1]
            while await asked(stream):
                stalled = trio.current_time() - stalls_from[0]
                await trio.sleep(0.001 if not 0 <= stalled < 1 else 1 - stalled + 0.001)
                await stream.send_all(PLAIN)

        return serve

    async def test_everybody_who_would_have_waited_is_counted(self, autojump_clock: MockClock) -> None:
        """300 of them in 3 s: a third was due in that second, and waited half of it on the average."""
        tally, _ = await perform(self.stalling(), every(10, 3.0), 3.0, streamed=False)
        assert (tally.due, tally.answered) == (300, 300)
        assert ms(tally.whole.quantile(0.5)) == pytest.approx(1, rel=0.01)
        assert ms(tally.whole.quantile(0.9)) == pytest.approx(700, rel=0.03)
        assert ms(tally.whole.greatest) == pytest.approx(1_000, rel=0.01)

    async def test_also_if_one_connection_is_all_there_is(self, autojump_clock: MockClock) -> None:
        """A caller who waits for each answer would have seen one slow answer among two hundred."""
        tally, server = await perform(self.stalling(), every(10, 3.0), 3.0, streamed=False, places=1)
        assert (tally.due, tally.answered, server.connections) == (300, 300, 1)
        assert ms(tally.whole.quantile(0.9)) == pytest.approx(730, rel=0.1)
        assert tally.crowded >= 100
        assert ms(tally.late.greatest) == 0, "it is the server that was late"


class TestLimits:
    async def test_no_more_than_so_many_are_under_way(self, autojump_clock: MockClock) -> None:
        most = now = 0

        async def serve(stream: trio.abc.Stream) -> None:
            nonlocal most, now
            while await asked(stream):
                now += 1
                most = max(most, now)
                await trio.sleep(0.1)
                now -= 1
                await stream.send_all(PLAIN)

        tally, server = await perform(serve, every(10, 1.0), 1.0, streamed=False, places=3)
        assert (most, server.connections) == (3, 3)
        assert (tally.due, tally.answered) == (100, 100)
        # 30 a second are served, so the hundredth is done after 3.4 s, and was due after 0.99.
        assert ms(tally.whole.greatest) == pytest.approx(2_410, rel=0.01)

    async def test_an_answer_has_its_time(self, autojump_clock: MockClock) -> None:
        began = trio.current_time()
        tally, _ = await perform(answering_after(3_600), every(250, 1.0), 1.0, streamed=False)
        assert {kind: one.count for kind, one in tally.failures.items()} == {"timeout": 4}
        assert trio.current_time() - began == pytest.approx(0.75 + PATIENCE_SECONDS)

    async def test_what_cannot_be_sent_in_time_is_counted(self, autojump_clock: MockClock) -> None:
        """One place, which every request keeps until its time is over."""
        began = trio.current_time()
        tally, _ = await perform(answering_after(3_600), every(100, 1.0), 1.0, streamed=False, places=1)
        assert (tally.due, tally.answered) == (10, 0)
        assert tally.failed + tally.unsent == 10
        assert tally.unsent == 8
        assert trio.current_time() - began <= 1 + 2 * PATIENCE_SECONDS


class TestConnections:
    async def test_one_that_was_closed_meanwhile_is_replaced(self, autojump_clock: MockClock) -> None:
        async def once(stream: trio.abc.Stream) -> None:
            await asked(stream)
            await stream.send_all(PLAIN)
            await stream.aclose()

        tally, server = await perform(once, every(100, 1.0), 1.0, streamed=False)
        assert (tally.answered, tally.failed, server.connections) == (10, 0, 10)

    async def test_a_new_one_that_is_closed_at_once_is_a_failure(self, autojump_clock: MockClock) -> None:
        async def never(stream: trio.abc.Stream) -> None:
            await asked(stream)
            await stream.aclose()

        tally, _ = await perform(never, every(100, 1.0), 1.0)
        assert {kind: one.count for kind, one in tally.failures.items()} == {"cut off": 10}

    async def test_none_at_all(self, autojump_clock: MockClock) -> None:
        async def dial() -> trio.abc.Stream:
            raise CannotConnect("x:1: refused")

        plan = Plan(
            compose=lambda _: REQUEST,
            arrivals=every(100, 1.0),
            is_streamed=True,
            concurrency_max=9,
            timeout_seconds=PATIENCE_SECONDS,
        )
        run = Run(plan, Tally(1000 * MS), dial)
        assert await run.probe() == Failed("cannot connect", "x:1: refused")
        await run.perform()
        assert run.tally.failures["cannot connect"].count == 10

    async def test_a_stream_that_is_cut_is_no_answer(self, autojump_clock: MockClock) -> None:
        async def cut(stream: trio.abc.Stream) -> None:
            await asked(stream)
            await stream.send_all(HEAD + token("a"))
            await stream.aclose()

        tally, _ = await perform(cut, every(500, 1.0), 1.0)
        assert (tally.answered, tally.failures["cut off"].count, tally.first.count) == (0, 2, 0)

    async def test_probing_is_not_measured(self, autojump_clock: MockClock) -> None:
        plan = Plan(
            compose=lambda _: REQUEST,
            arrivals=every(100, 1.0),
            is_streamed=True,
            concurrency_max=9,
            timeout_seconds=PATIENCE_SECONDS,
        )
        async with trio.open_nursery() as nursery:
            run = Run(plan, Tally(1000 * MS), Server(nursery, paced).dial)
            assert isinstance(await run.probe(), Answered)
            assert (run.tally.due, run.tally.answered) == (0, 0)
            nursery.cancel_scope.cancel()


class TestDialling:
    async def test_a_handshake_that_is_given_up_closes_its_connection(self) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            where = endpoint(f"https://127.0.0.1:{listener.socket.getsockname()[1]}")
            nursery.start_soon(dialling(where))
            async with await listener.accept() as peer:
                assert await peer.receive_some(), "a client's hello"
                nursery.cancel_scope.cancel()
                with trio.fail_after(PATIENCE_SECONDS) as scope:
                    scope.shield = True
                    assert await peer.receive_some() == b"", "the end"
