"""The connector: connections to upstream, or why there is none."""

import contextlib
import socket
import ssl
from collections.abc import Generator

import anyio
import anyio.to_thread
import pytest

from stargate.asyncio_shell.channel import Channel
from stargate.asyncio_shell.connector import connect
from stargate.shell_common.troubles import detail_of, trouble_of
from stargate_core.aws.endpoints import Endpoint, endpoint, parse_endpoint_url
from stargate_core.messages import Trouble
from support.asyncio_channels import Owner, running_reactor
from support.tls import Authority


def at(url: str) -> Endpoint:
    return parse_endpoint_url(url).signed_for("bedrock", "us-east-1")


def no_tls(_: Endpoint) -> ssl.SSLContext:
    raise AssertionError("a plain endpoint needs no context")


@contextlib.contextmanager
def silent_server() -> Generator[tuple[str, int]]:
    """An address where a connection is neither taken nor refused: its backlog is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        host, port = server.getsockname()
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((host, port))
        yield host, port


@pytest.mark.anyio
class TestConnecting:
    async def test_a_plain_endpoint(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            async with running_reactor() as reactor:
                url = f"http://127.0.0.1:{server.getsockname()[1]}"
                channel = await connect(at(url), reactor, no_tls)
                accepted, _ = server.accept()
                with accepted:
                    owner = Owner()
                    channel.start(owner)
                    channel.write(b"hello")
                    assert accepted.recv(100) == b"hello"
                    accepted.sendall(b"good bye")
                    await owner.until(lambda: owner.data == b"good bye")
                kept_alive = channel.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert kept_alive, "a NAT forgets a flow that is silent for long"
                channel.dispose()

    async def test_an_endpoint_behind_tls_is_known_by_its_name(self) -> None:
        authority = Authority()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.configure(context, "localhost")
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"https://localhost:{server.getsockname()[1]}"

            def serve() -> None:
                accepted, _ = server.accept()
                with context.wrap_socket(accepted, server_side=True) as tls:
                    tls.sendall(tls.recv(100).upper())

            async with running_reactor() as reactor, anyio.create_task_group() as nursery:
                nursery.start_soon(anyio.to_thread.run_sync, serve)
                channel = await connect(at(url), reactor, lambda _: authority.client_context())
                owner = Owner()
                channel.start(owner)
                channel.write(b"hello")
                await owner.until(lambda: owner.data == b"HELLO")
                channel.dispose()

    async def test_a_failed_handshake_leaves_no_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[Channel] = []

        class Noted(Channel):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments)  # type: ignore[arg-type]
                made.append(self)

        monkeypatch.setattr("stargate.asyncio_shell.connector.Channel", Noted)
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                accepted, _ = server.accept()
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                accepted.close()

            async with running_reactor() as reactor, anyio.create_task_group() as nursery:
                nursery.start_soon(anyio.to_thread.run_sync, serve)
                url = f"https://localhost:{server.getsockname()[1]}"
                with pytest.raises((ssl.SSLError, OSError)) as caught:
                    await connect(at(url), reactor, lambda _: Authority().client_context())
                assert trouble_of(caught.value) is Trouble.TLS
        assert [channel.closed for channel in made] == [True]

    async def test_an_address_that_keeps_silent_does_not_hold_up_the_next(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with silent_server() as silent, socket.create_server(("127.0.0.1", 0)) as server:
            found = [
                socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
                for host, port in (silent, server.getsockname())
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            async with running_reactor() as reactor:
                with anyio.fail_after(5):
                    channel = await connect(at("http://bedrock.test:80"), reactor, no_tls)
                assert channel.sock.getpeername() == server.getsockname()
                channel.dispose()

    async def test_whoever_gives_up_leaves_no_socket(self) -> None:
        """Python warns of one that is left, and here that is an error."""
        with silent_server() as (host, port):
            async with running_reactor() as reactor:
                with anyio.move_on_after(0.1) as scope:
                    await connect(at(f"http://{host}:{port}"), reactor, no_tls)
        assert scope.cancelled_caught

    async def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with running_reactor() as reactor:
            with pytest.raises(OSError) as caught:
                await connect(at(url), reactor, no_tls)
        assert trouble_of(caught.value) is Trouble.REFUSED
        assert "ConnectionRefusedError" in detail_of(caught.value)

    async def test_there_is_no_such_host(self) -> None:
        async with running_reactor() as reactor:
            with pytest.raises(OSError) as caught:
                await connect(at("http://bedrock.invalid:80"), reactor, no_tls)
        assert trouble_of(caught.value) is Trouble.NAME_UNKNOWN

    async def test_bedrocks_own_name_is_what_tls_checks(self) -> None:
        """Nothing is called here: the name only must be one that `ssl` takes."""
        context = ssl.create_default_context()
        for region in ("us-east-1", "eu-central-1", "us-gov-west-1"):
            host = endpoint("bedrock-runtime", region).host
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=host)
