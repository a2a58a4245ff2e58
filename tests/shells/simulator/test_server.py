"""The simulator on trio: real sockets in this process, and what a peer sees of each command."""

import socket
import ssl
import struct

import httpx
import pytest
import trio
import trustme

from stargate.simulator.server import Simulator
from stargate.simulator.settings import ACCESS_KEY_ID
from support.simulator import (
    CLAUDE,
    bedrock_client,
    read_reply,
    start_simulator,
    texts_of,
    user,
)

PATIENCE: float = 10.0


def requested(wish: str, operation: str = "converse-stream") -> bytes:
    """A request that the SDK would send now: taken off its way, so that the test can send it as it likes."""
    captured: list[bytes] = []

    def capture(request: object, **_: object) -> None:
        lines = [f"POST {request.url.partition('://nowhere')[2]} HTTP/1.1", "Host: nowhere"]  # type: ignore[attr-defined]
        lines += [f"{name}: {_text(value)}" for name, value in request.headers.items()]  # type: ignore[attr-defined]
        captured.append("\r\n".join(lines).encode() + b"\r\n\r\n" + request.body)  # type: ignore[attr-defined]
        raise Captured

    client = bedrock_client("http://nowhere")
    client.meta.events.register("before-send.bedrock-runtime.*", capture)
    call = client.converse_stream if operation == "converse-stream" else client.converse
    with pytest.raises(Captured):
        call(modelId=CLAUDE, messages=[user(f"[[simulator: {wish}]]")])
    client.close()
    return captured[0]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Captured(Exception):
    """The request has been seen."""


async def connected(url: str) -> trio.SocketStream:
    """A connection to the simulator."""
    host, _, port = url.partition("://")[2].partition(":")
    return await trio.open_tcp_stream(host, int(port))


async def settled(simulator: Simulator, outcome: str) -> None:
    """Wait until an exchange has ended so."""
    with trio.fail_after(PATIENCE):
        while not simulator.ledger.statistics()["outcomes"] == {outcome: 1}:  # noqa: ASYNC110, SIM201
            await trio.sleep(0.001)


async def receive_until(stream: trio.SocketStream, marker: bytes) -> bytes:
    """Receive until the bytes hold a marker."""
    data = b""
    with trio.fail_after(PATIENCE):
        while marker not in data:
            data += await stream.receive_some(65_536)
    return data


@pytest.mark.trio
async def test_an_sdk_in_a_thread(nursery: trio.Nursery) -> None:
    simulator, url = await start_simulator(nursery)

    def call() -> str:
        client = bedrock_client(url)
        answer = client.converse_stream(modelId=CLAUDE, messages=[user("hello")])
        text = texts_of(list(answer["stream"]))
        client.close()
        return text

    assert "“hello”" in await trio.to_thread.run_sync(call)
    exchange = simulator.ledger.requests()[0]
    assert (exchange.access_key_id, exchange.outcome.value) == (ACCESS_KEY_ID, "complete")


@pytest.mark.trio
@pytest.mark.parametrize("reset", [False, True])
async def test_leaving_cancels_in_every_phase(nursery: trio.Nursery, *, reset: bool) -> None:
    for wish, marker, phase in (
        ("stall-before-headers", b"", "before-headers"),
        ("stall-before-first-token", b"\r\n\r\n", "before-first-event"),
        ("slow ms=1 words=9999", b"contentBlockDelta", "mid-stream"),
        ("stall-mid-stream", b"contentBlockDelta", "mid-stream"),
    ):
        simulator, url = await start_simulator(nursery)
        stream = await connected(url)
        await stream.send_all(requested(wish))
        await receive_until(stream, marker)
        if marker == b"":
            with trio.fail_after(PATIENCE):
                while simulator.ledger.statistics()["running"] == 0:  # noqa: ASYNC110
                    await trio.sleep(0.001)
        if reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
        await settled(simulator, "cancelled")
        assert [exchange.phase for exchange in simulator.ledger.requests()] == [phase]
        assert simulator.ledger.statistics()["open_connections"] == 0


@pytest.mark.trio
async def test_a_reset_is_a_reset(nursery: trio.Nursery) -> None:
    _, url = await start_simulator(nursery)
    stream = await connected(url)
    await stream.send_all(requested("reset-before-headers"))
    with pytest.raises(trio.BrokenResourceError), trio.fail_after(PATIENCE):
        await stream.receive_some()
    await stream.aclose()


@pytest.mark.trio
async def test_a_close_lets_the_last_words_arrive(nursery: trio.Nursery) -> None:
    _, url = await start_simulator(nursery, body_bytes_max=1000)
    stream = await connected(url)
    # Most of this body is never read: closing at once would answer it with a reset, and lose the 413.
    await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
    data = b""
    with trio.fail_after(PATIENCE):
        while more := await stream.receive_some():
            data += more
    assert read_reply(data, closed=True).status == 413
    await stream.aclose()


@pytest.mark.trio
async def test_a_slow_reader_slows_only_itself(nursery: trio.Nursery) -> None:
    simulator, url = await start_simulator(nursery)
    slow, quick = await connected(url), await connected(url)
    await slow.send_all(requested("words=20000"))
    await quick.send_all(requested("words=5", "converse"))
    assert b"stopReason" in await receive_until(quick, b"totalTokens")
    assert simulator.ledger.statistics()["connections"] == 2
    await receive_until(slow, b"metadata")
    await slow.aclose()
    await quick.aclose()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.trio
async def test_tls(nursery: trio.Nursery, server_side: ssl.SSLContext, client_side: ssl.SSLContext) -> None:
    _, url = await start_simulator(nursery, server_side)
    async with httpx.AsyncClient(verify=client_side) as http:
        port = url.rpartition(":")[2]
        answer = await http.get(f"https://localhost:{port}/healthz")
    assert (url.partition(":")[0], answer.json()) == ("https", {"status": "ok"})


@pytest.mark.trio
@pytest.mark.parametrize(("wish", "goodbye"), [("until-close", True), ("cut-between-frames", False)])
async def test_tls_tells_a_good_end_from_a_cut(
    nursery: trio.Nursery,
    server_side: ssl.SSLContext,
    client_side: ssl.SSLContext,
    wish: str,
    *,
    goodbye: bool,
) -> None:
    _, url = await start_simulator(nursery, server_side)
    plain = await connected(url)
    # Without https_compatible trio takes an end without TLS's close_notify for what it is.
    stream = trio.SSLStream(plain, client_side, server_hostname="localhost")
    await stream.send_all(requested(wish))
    polite = True
    with trio.fail_after(PATIENCE):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            polite = False
    await plain.aclose()
    assert polite is goodbye


@pytest.mark.trio
async def test_noise_on_a_tls_port_harms_nobody(nursery: trio.Nursery, server_side: ssl.SSLContext) -> None:
    simulator, url = await start_simulator(nursery, server_side)
    stream = await connected(url)
    await stream.send_all(b"GET / HTTP/1.1\r\n\r\n" * 10)
    with trio.fail_after(PATIENCE):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    assert simulator.ledger.requests() == []
