"""The admin listener's sockets, with clients that mean no good: slow ones, many, ones that never read."""

import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import anyio
import pytest

from stargate.admin.listener import Bounds, Door
from stargate.admin.messages import Answer, Awaited, Reply, Request, json_reply, problem, streamed
from stargate_core.wire.http1 import Limits, RequestHead

pytestmark = pytest.mark.anyio

ASK: Final = b"GET /%b HTTP/1.1\r\nhost: localhost\r\n\r\n"
LARGE_BYTES: Final = 8 << 20
"""More than the kernel keeps for anybody."""
PATIENCE_SECONDS: Final = 10


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Site:
    """Answers `/N` with N; `/large` with much; `/stream` without end, and notes when that is left."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.told: list[str] = []
        """What it is to tell."""
        self.begun = anyio.Event()
        self.left = anyio.Event()
        self.asked: list[str] = []
        self.connections: Callable[[], int] = lambda: 0

    def judge(self, head: RequestHead) -> Reply | None:
        return problem(403, "no") if head.target == b"/forbidden" else None

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request.path)
        match request.path:
            case "/large":
                return Reply(200, [], b"x" * LARGE_BYTES)
            case "/stream" | "/flood":
                return streamed(b"text/plain", self._pieces(request.path))
            case "/never":
                return Awaited(self._never)
            case "/broken":
                return streamed(b"text/plain", self._breaks())
            case path:
                return json_reply(path)

    async def _pieces(self, path: str) -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 65_536 if path == "/flood" else b"piece"
                if path == "/stream":
                    await anyio.sleep_forever()
        finally:
            self.left.set()

    async def _never(self) -> Reply:
        try:
            self.begun.set()
            await anyio.sleep_forever()
        finally:
            self.left.set()
        raise AssertionError

    async def _breaks(self) -> AsyncGenerator[bytes]:
        yield b"piece"
        raise LookupError("a bug")


class Client:
    """A client of its own making."""

    def __init__(self, address: Any, receive_bytes: int = 0) -> None:
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.connect(address)
        self.sock.setblocking(False)
        self.heard = b""

    async def hear(self, until: Callable[[bytes], bool] = lambda heard: False) -> bytes:
        """What comes until this holds, or the connection ends."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not until(self.heard):
                await anyio.wait_readable(self.sock)
                try:
                    data = self.sock.recv(65_536)
                except ConnectionResetError:
                    break
                if not data:
                    break
                self.heard += data
        return self.heard

    async def ask(self, name: bytes) -> None:
        """Ask, and wait for the answer."""
        before = self.heard.count(b"HTTP/1.1 ")
        self.sock.sendall(ASK % name)
        await self.hear(lambda heard: heard.count(b"HTTP/1.1 ") > before and heard.endswith(b'"'))


@contextlib.asynccontextmanager
async def listening(**bounds: Any) -> AsyncGenerator[tuple[Site, Callable[..., Client]]]:
    """A door at a free port, and what makes clients of it."""
    site = Site()
    clients: list[Client] = []
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)

        def client(**options: Any) -> Client:
            clients.append(Client(sock.getsockname(), **options))
            return clients[-1]

        door = Door(
            site.judge, site.answer, Limits(), lambda _, text: site.notes.append(text), Bounds(**bounds)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(door.serve, [sock])
            yield site, client
            group.cancel_scope.cancel()
        for one in clients:
            one.sock.close()
    assert site.notes == site.told


class TestTime:
    async def test_a_request_that_dawdles_is_told_so(self) -> None:
        async with listening(request_seconds=0.05) as (_, client):
            slow = client()
            slow.sock.sendall(b"GET / HTTP/1.1\r\nhost: ")
            assert (await slow.hear()).startswith(b"HTTP/1.1 408 ")

    async def test_so_is_a_body_that_never_comes(self) -> None:
        async with listening(request_seconds=0.05) as (_, client):
            slow = client()
            slow.sock.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nx")
            assert (await slow.hear()).startswith(b"HTTP/1.1 408 ")

    async def test_one_that_asks_nothing_is_closed(self) -> None:
        async with listening(idle_seconds=0.05) as (_, client):
            silent = client()
            assert await silent.hear() == b""
            served = client()
            await served.ask(b"1")
            assert (await served.hear()).endswith(b'"/1"')

    async def test_one_that_never_reads_is_cut_and_holds_nothing(self) -> None:
        async with listening(stall_seconds=0.05) as (site, client):
            deaf = client(receive_bytes=4096)
            deaf.sock.sendall(ASK % b"large")
            await deaf.hear(bool)
            with anyio.fail_after(PATIENCE_SECONDS):
                while site.connections():  # noqa: ASYNC110  (nothing here can tell)
                    await anyio.sleep(0.01)  # It is the door's own time that passes.
            assert len(await deaf.hear()) < LARGE_BYTES

    async def test_a_stream_that_nobody_reads_is_left(self) -> None:
        async with listening(stall_seconds=0.05) as (site, client):
            deaf = client(receive_bytes=4096)
            deaf.sock.sendall(ASK % b"flood")
            with anyio.fail_after(PATIENCE_SECONDS):
                await site.left.wait()


class TestRoom:
    async def test_who_has_waited_longest_makes_room(self) -> None:
        async with listening(connections_max=2) as (_, client):
            first, second = client(), client()
            await first.ask(b"1")
            await second.ask(b"2")
            await first.ask(b"3")
            third = client()
            await third.ask(b"4")
            assert (await second.hear()).count(b"HTTP/1.1 ") == 1
            await first.ask(b"5")

    async def test_where_all_are_busy_the_next_is_told_so(self) -> None:
        async with listening(connections_max=1) as (site, client):
            busy = client()
            busy.sock.sendall(ASK % b"stream")
            await busy.hear(lambda heard: heard.endswith(b"piece\r\n"))
            late = client()
            assert (await late.hear()).startswith(b"HTTP/1.1 503 ")
            busy.sock.close()
            with anyio.fail_after(PATIENCE_SECONDS):
                await site.left.wait()

    async def test_a_request_that_is_half_here_is_not_pushed_out(self) -> None:
        async with listening(connections_max=1) as (_, client):
            half = client()
            half.sock.sendall(b"GET /1 HTTP/1.1\r\n")
            with anyio.fail_after(PATIENCE_SECONDS):
                while True:
                    late = client()
                    if (await late.hear(bool)).startswith(b"HTTP/1.1 503 "):
                        break
            half.sock.sendall(b"host: a\r\n\r\n")
            assert (await half.hear(lambda heard: heard.endswith(b'"/1"'))).startswith(b"HTTP/1.1 200 ")


class TestStreams:
    async def test_a_client_that_leaves_ends_what_was_made_for_it(self) -> None:
        async with listening() as (site, client):
            leaving = client()
            leaving.sock.sendall(ASK % b"stream")
            await leaving.hear(lambda heard: heard.endswith(b"piece\r\n"))
            leaving.sock.shutdown(socket.SHUT_WR)
            with anyio.fail_after(PATIENCE_SECONDS):
                await site.left.wait()

    async def test_one_that_breaks_is_cut_where_it_broke_and_the_others_go_on(self) -> None:
        async with listening() as (site, client):
            one = client()
            one.sock.sendall(ASK % b"broken")
            assert (await one.hear()).endswith(b"5\r\npiece\r\n")
            site.told = [
                note for note in site.notes if note.startswith("admin listener: bug: LookupError at ")
            ]
            assert len(site.told) == 1
            await client().ask(b"1")

    async def test_nor_is_an_answer_waited_for_that_has_not_begun(self) -> None:
        async with listening() as (site, client):
            leaving = client()
            leaving.sock.sendall(ASK % b"never")
            with anyio.fail_after(PATIENCE_SECONDS):
                await site.begun.wait()
                leaving.sock.close()
                await site.left.wait()

    async def test_what_comes_meanwhile_is_bounded(self) -> None:
        async with listening() as (site, client):
            eager = client()
            eager.sock.sendall(ASK % b"stream")
            await eager.hear(lambda heard: heard.endswith(b"piece\r\n"))
            for _ in range(64):
                with contextlib.suppress(BlockingIOError):
                    eager.sock.send(ASK % b"1" * 1000)
                await anyio.lowlevel.checkpoint()
            eager.sock.close()
            with anyio.fail_after(PATIENCE_SECONDS):
                await site.left.wait()
            assert site.asked == ["/stream"]


class TestConversation:
    async def test_requests_that_come_together_are_answered_in_order(self) -> None:
        async with listening() as (_, client):
            one = client()
            one.sock.sendall(b"".join(ASK % b"%d" % number for number in range(20)))
            heard = await one.hear(lambda heard: heard.endswith(b'"/19"'))
            assert [f'"/{number}"'.encode() in heard for number in range(20)] == [True] * 20

    async def test_who_is_refused_reads_why_whatever_he_goes_on_to_send(self) -> None:
        async with listening() as (site, client):
            refused = client()
            refused.sock.sendall(b"POST /forbidden HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n")
            with contextlib.suppress(BlockingIOError):
                refused.sock.send(b"x" * 200_000)
            assert (await refused.hear()).startswith(b"HTTP/1.1 403 ")
            assert site.asked == []
