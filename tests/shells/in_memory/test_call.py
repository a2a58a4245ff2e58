"""Calls on a connection in memory: what of a request is passed on; how answers are read, left and cut."""

from collections.abc import Callable
from typing import Final

import anyio
import pytest

from stargate.in_memory.call import OF_CONNECTIONS, Cut, announce, call, compose, garbled
from stargate.in_memory.channel import MemoryChannel
from stargate_core.wire.http1 import ProtocolError, RequestBody, RequestHead, server_codec

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Script:
    """A gateway that has one thing to say, to whoever asks it anything."""

    def __init__(self, answer: Callable[[MemoryChannel], None]) -> None:
        self.answer = answer
        self.heard_bytes = b""
        self.left = False
        self.channel = MemoryChannel()

    def connect(self, address: str = "embedded") -> MemoryChannel:
        self.channel.start(self)
        return self.channel

    def heard(self, data: bytes) -> None:
        self.heard_bytes += data
        self.answer(self.channel)

    def lost(self) -> None:
        self.left = True

    def stalled(self) -> None: ...

    def drained(self) -> None: ...


def saying(*pieces: bytes, end: Callable[[MemoryChannel], None] | None = None) -> Script:
    def answer(channel: MemoryChannel) -> None:
        for piece in pieces:
            channel.write(piece)
        if end is not None:
            end(channel)

    return Script(answer)


def read(data: bytes) -> tuple[RequestHead, bytes]:
    """The request that a gateway sees."""
    codec = server_codec()
    codec.receive_data(data)
    head, body = codec.next_event(), codec.next_event()
    assert isinstance(head, RequestHead)
    assert isinstance(body, RequestBody)
    return head, body.data


GARBLED: Final = [
    (b"GET /", b"/", []),
    (b"", b"/", []),
    (b"GET", b"", []),
    (b"GET", b"/a b", []),
    (b"GET", b"/\r\nx: y", []),
    (b"GET", b"/ HTTP/1.1\nx: y", []),
    (b"GET", b"/", [(b"x", b"a\r\ny: b")]),
    (b"GET", b"/", [(b"x", b"a\rb")]),
    (b"GET", b"/", [(b"x y", b"a")]),
]
HEAD = b"HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n"


class TestRequests:
    def test_a_request_is_passed_on_as_it_is(self) -> None:
        head, body = read(compose(b"POST", b"/model/a%2Fb/converse?x=%20", [(b"X-Own", b"1")], b"{}"))
        assert (head.method, head.target, body) == (b"POST", b"/model/a%2Fb/converse?x=%20", b"{}")
        assert (b"x-own", b"1") in head.headers

    def test_what_belongs_to_a_connection_stays_there(self) -> None:
        mine = [(name.title(), b"0") for name in OF_CONNECTIONS]
        head, body = read(compose(b"POST", b"/", [*mine, (b"host", b"h")], b"body"))
        assert head.headers == [(b"host", b"h"), (b"content-length", b"4")]
        assert body == b"body"

    def test_a_host_is_named_where_there_is_none(self) -> None:
        head, _ = read(compose(b"GET", b"/", [], b""))
        assert head.headers == [(b"host", b"stargate")]

    def test_an_unknown_method_is_for_the_gateway_to_refuse(self) -> None:
        assert compose(b"BREW", b"/", [], b"").startswith(b"BREW / HTTP/1.1\r\n")

    @pytest.mark.parametrize(("method", "target", "headers"), GARBLED)
    def test_what_can_be_no_request_is_refused(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        with pytest.raises(ValueError, match="malformed"):
            compose(method, target, headers, b"")

    @pytest.mark.parametrize(("method", "target", "headers"), GARBLED)
    def test_nor_does_a_gateway_take_it(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        data = garbled(method, target, headers)
        assert len(data.split(b"\n")) == 4 + len(headers)
        codec = server_codec()
        codec.receive_data(data)
        with pytest.raises(ProtocolError):
            codec.next_event()

    @pytest.mark.parametrize("method", [b"POST", b"GET", b"BREW"])
    def test_a_body_can_be_announced_and_kept(self, method: bytes) -> None:
        announced = announce(method, b"/v1", [(b"x", b"y")], 12_345)
        assert announced.endswith(b"\r\nx: y\r\ncontent-length: 12345\r\n\r\n")


class TestAnswers:
    async def test_its_pieces_come_as_they_were_written(self) -> None:
        script = saying(HEAD, b"3\r\none\r\n")
        answer = await call(script, b"request")
        assert (answer.status, dict(answer.headers)[b"x-a"]) == (200, b"b")
        assert await answer.receive() == b"one"
        script.channel.write(b"3\r\ntwo\r\n0\r\n\r\n")
        assert await answer.receive() == b"two"
        assert not script.left
        assert [await answer.receive(), await answer.receive()] == [b"", b""]
        assert script.left

    async def test_all_of_it_can_be_read(self) -> None:
        answer = await call(saying(HEAD, b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"), b"request")
        assert await answer.read() == b"onetwo"

    async def test_one_without_a_body_ends_with_its_head(self) -> None:
        script = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        answer = await call(script, b"request", bodiless=True)
        assert await answer.read() == b""
        assert script.left

    async def test_an_answer_can_be_left(self) -> None:
        script = saying(HEAD, b"3\r\none\r\n")
        answer = await call(script, b"request")
        answer.leave()
        answer.leave()
        assert script.left
        assert await answer.receive() == b""

    @pytest.mark.parametrize("end", [MemoryChannel.finish, MemoryChannel.abort])
    @pytest.mark.parametrize("before", [b"", b"HTTP/1.1 2"])
    async def test_an_end_before_the_head_is_no_answer(
        self, end: Callable[[MemoryChannel], None], before: bytes
    ) -> None:
        script = saying(*([before] if before else []), end=end)
        with pytest.raises(Cut):
            await call(script, b"request")

    @pytest.mark.parametrize("end", [MemoryChannel.finish, MemoryChannel.abort])
    async def test_an_end_in_the_middle_is_never_taken_for_the_end(
        self, end: Callable[[MemoryChannel], None]
    ) -> None:
        script = saying(HEAD)
        answer = await call(script, b"request")
        script.channel.write(b"3\r\none\r\n")
        end(script.channel)
        with pytest.raises(Cut):
            await answer.read()

    async def test_a_call_that_is_cancelled_has_left(self) -> None:
        script = saying()
        async with anyio.create_task_group() as group:
            group.start_soon(call, script, b"request")
            await anyio.wait_all_tasks_blocked()
            assert script.heard_bytes == b"request"
            group.cancel_scope.cancel()
        assert script.left

    async def test_a_reader_that_is_cancelled_has_left(self) -> None:
        script = saying(HEAD)
        answer = await call(script, b"request")
        async with anyio.create_task_group() as group:
            group.start_soon(answer.receive)
            await anyio.wait_all_tasks_blocked()
            assert not script.left
            group.cancel_scope.cancel()
        assert script.left
