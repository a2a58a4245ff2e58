"""Channels over real TCP: nothing lost, nothing early, a slow peer bounded, every kind of end told as what it
is.
"""

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from typing import Final

import anyio
import anyio.to_thread
import pytest

from stargate.asyncio_shell.channel import Channel
from support.asyncio_channels import Owner, channel_of, read_all, running_reactor, settle, tcp_pair
from support.tls import Authority

pytestmark = pytest.mark.anyio
MUCH: Final = os.urandom(8 << 20)
"""More than the kernel's buffers on both sides take."""
STALL_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 5.0


class TestReadingAndWriting:
    async def test_bytes_come_as_they_were_sent(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                theirs.sendall(b"hello")
                await owner.until(lambda: owner.data == b"hello")
                channel.write(b"good")
                channel.write(b"bye")
                assert theirs.recv(100) in (b"good", b"goodbye")
                assert owner.told == ["heard"]
                channel.dispose()

    async def test_what_the_peer_does_not_take_is_kept_and_leaves_later(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                channel.write(MUCH)
                assert channel.pending
                assert owner.told == ["stalled"]
                channel.write(b"and more")
                assert owner.told == ["stalled"], "a stall is told once"
                channel.finish()
                assert await read_all(theirs) == MUCH + b"and more"
                await owner.until_told("drained")
                assert not channel.pending
                channel.dispose()

    async def test_a_paused_channel_is_not_read(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                channel.pause()
                theirs.sendall(b"hello")
                await settle(0.05)
                assert owner.told == []
                channel.resume()
                await owner.until(lambda: owner.data == b"hello")
                channel.dispose()

    async def test_pausing_slows_the_peer(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                channel.pause()
                theirs.setblocking(False)
                sent = 0
                with pytest.raises(BlockingIOError):
                    while sent < len(MUCH):
                        sent += theirs.send(MUCH[sent : sent + 65_536])
                channel.resume()
                await owner.until(lambda: len(owner.data) == sent)
                assert owner.data == MUCH[:sent]
                channel.dispose()

    async def test_a_channel_may_be_closed_by_what_it_brings(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                owner.on_heard = lambda _: channel.dispose()
                theirs.sendall(b"hello")
                await owner.until_told("heard")
                assert channel.closed
                assert await read_all(theirs) == b""

    async def test_many_at_once(self) -> None:
        async with running_reactor() as reactor, contextlib.AsyncExitStack() as stack:
            ends: list[tuple[socket.socket, Channel, Owner]] = []
            for _ in range(50):
                ours, theirs = tcp_pair()
                stack.callback(theirs.close)
                ends.append((theirs, *channel_of(ours, reactor)))
            for number, (theirs, _, _) in enumerate(ends):
                theirs.sendall(b"%d" % number)
            for number, (theirs, channel, owner) in enumerate(ends):
                await owner.until(lambda: owner.data == b"%d" % number)  # noqa: B023
                channel.write(b"re: %d" % number)
                assert theirs.recv(100) == b"re: %d" % number
                channel.dispose()


class TestEnds:
    async def test_the_peers_end_is_heard_once(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                theirs.sendall(b"last words")
                theirs.shutdown(socket.SHUT_WR)
                await owner.until_told("ended")
                await settle(0.05)
                assert (bytes(owner.data), owner.told) == (b"last words", ["heard", "ended"])
                channel.write(b"an answer all the same")
                channel.finish()
                assert await read_all(theirs) == b"an answer all the same"
                channel.dispose()

    async def test_a_reset_is_a_loss(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            channel, owner = channel_of(ours, reactor)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            theirs.close()
            await owner.until_told("lost")
            assert owner.told == ["lost"]
            assert channel.closed

    @pytest.mark.parametrize("paused", [False, True])
    async def test_what_came_before_a_reset_is_heard(self, paused: bool) -> None:
        """A loop may tell of both at once, and not again."""
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            channel, owner = channel_of(ours, reactor)
            if paused:
                owner.on_heard = lambda _: channel.pause()
            theirs.sendall(MUCH[:100_000])
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            theirs.close()
            if paused:
                await owner.until_told("heard")
                await settle(0.05)
                assert owner.told == ["heard"]
                owner.on_heard = None
                channel.resume()
            await owner.until_told("lost")
            assert (bytes(owner.data), owner.told) == (MUCH[:100_000], ["heard", "lost"])

    async def test_a_reset_is_noticed_by_a_paused_channel_that_has_something_to_say(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            channel, owner = channel_of(ours, reactor)
            channel.pause()
            channel.write(MUCH)
            theirs.close()  # With bytes unread, so it is a reset.
            await owner.until_told("lost")
            assert owner.told == ["stalled", "lost"]

    async def test_nothing_is_written_behind_the_end(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, _ = channel_of(ours, reactor)
                channel.dispose()
                channel.dispose()
                with pytest.raises(OSError):
                    channel.write(b"too late")

    async def test_an_abort_is_a_reset_to_the_peer(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                channel.abort()
                with pytest.raises(ConnectionResetError) as caught:
                    await read_all(theirs)
                assert caught.value.errno == errno.ECONNRESET
                assert owner.told == []


class TestFinishing:
    async def test_what_was_written_leaves_first(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                owner.leaves = channel
                channel.write(MUCH)
                channel.finish()
                async with anyio.create_task_group() as nursery:
                    nursery.start_soon(channel.wait_over, STALL_SECONDS, LINGER_SECONDS)
                    assert await read_all(theirs) == MUCH
                    theirs.close()
                assert channel.closed

    async def test_unread_bytes_do_not_destroy_the_answer(self) -> None:
        """A socket closed with unread bytes sends a reset, which overtakes what is still under way."""
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                owner.leaves = channel
                theirs.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        theirs.send(MUCH[:65_536])
                channel.write(b"an answer")
                channel.finish()
                async with anyio.create_task_group() as nursery:
                    nursery.start_soon(channel.wait_over, STALL_SECONDS, LINGER_SECONDS)
                    assert await read_all(theirs) == b"an answer"
                    theirs.close()
                assert channel.closed

    async def test_a_peer_that_takes_nothing_is_not_waited_for(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs, anyio.fail_after(10):
                channel, _ = channel_of(ours, reactor)
                channel.write(MUCH)
                channel.finish()
                await channel.wait_over(0.05, LINGER_SECONDS)
                assert channel.closed

    async def test_nor_is_one_that_does_not_end(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs, anyio.fail_after(10):
                channel, _ = channel_of(ours, reactor)
                channel.finish()
                await channel.wait_over(STALL_SECONDS, 0.05)
                assert channel.closed

    async def test_a_slow_peer_is_waited_for_as_long_as_it_takes_something(self) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            with theirs:
                channel, owner = channel_of(ours, reactor)
                owner.leaves = channel
                channel.write(MUCH)
                channel.finish()
                received = bytearray()

                async def read_slowly() -> None:
                    theirs.setblocking(False)
                    while len(received) < len(MUCH):
                        await anyio.sleep(0.02)
                        with contextlib.suppress(BlockingIOError):
                            received.extend(theirs.recv(1 << 20))
                    theirs.close()

                async with anyio.create_task_group() as nursery:
                    nursery.start_soon(read_slowly)
                    # Far less than the whole takes.
                    await channel.wait_over(0.3, LINGER_SECONDS)
                assert received == MUCH
                assert "drained" in owner.told


@contextlib.asynccontextmanager
async def secured(authority: Authority) -> AsyncGenerator[tuple[Channel, Owner, Channel, Owner]]:
    """A TLS client and its server, both channels, their handshake done."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure(server_context, "gateway.test")
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        server, client = Channel(ours, reactor), Channel(theirs, reactor)
        async with anyio.create_task_group() as nursery:

            async def shake_hands() -> None:
                context = authority.client_context()
                await client.handshake(context, server_side=False, server_name="gateway.test")

            nursery.start_soon(shake_hands)
            await server.handshake(server_context, server_side=True)
        owners = Owner(), Owner()
        server.start(owners[0])
        client.start(owners[1])
        yield server, owners[0], client, owners[1]
        server.dispose()
        client.dispose()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class TestTls:
    async def test_bytes_go_both_ways(self, authority: Authority) -> None:
        async with secured(authority) as (server, heard_there, client, heard_here):
            client.write(b"hello")
            await heard_there.until(lambda: heard_there.data == b"hello")
            server.write(b"good bye")
            await heard_here.until(lambda: heard_here.data == b"good bye")

    async def test_many_bytes_are_kept_and_come_whole(self, authority: Authority) -> None:
        async with secured(authority) as (server, there, client, here):
            client.pause()
            server.write(MUCH)
            assert there.told == ["stalled"]
            client.resume()
            await here.until(lambda: len(here.data) == len(MUCH))
            assert here.data == MUCH
            await there.until_told("drained")

    async def test_a_goodbye_is_an_end(self, authority: Authority) -> None:
        async with secured(authority) as (_, there, client, _here):
            client.write(b"last words")
            client.finish()
            await there.until_told("ended")
            assert (bytes(there.data), there.told) == (b"last words", ["heard", "ended"])

    async def test_an_end_without_a_goodbye_is_a_loss(self, authority: Authority) -> None:
        """Anybody on the way could have made it."""
        async with secured(authority) as (_, there, client, _here):
            client.write(b"half a word")
            client.sock.shutdown(socket.SHUT_WR)
            await there.until_told("lost")
            assert (bytes(there.data), there.told) == (b"half a word", ["heard", "lost"])

    async def test_noise_is_a_loss(self, authority: Authority) -> None:
        async with secured(authority) as (server, there, client, _here):
            client.sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
            await there.until_told("lost")
            assert there.data == b""
            assert server.closed

    async def test_what_came_with_the_handshake_is_heard(self, authority: Authority) -> None:
        server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.configure(server_context, "gateway.test")
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()

            def speak_at_once() -> None:
                theirs.settimeout(10)
                with authority.client_context().wrap_socket(theirs, server_hostname="gateway.test") as tls:
                    tls.sendall(b"hello")
                    assert tls.recv(100) == b"good bye"

            async with anyio.create_task_group() as nursery:
                nursery.start_soon(anyio.to_thread.run_sync, speak_at_once)
                channel, owner = Channel(ours, reactor), Owner()
                await channel.handshake(server_context, server_side=True)
                channel.start(owner)
                await owner.until(lambda: owner.data == b"hello")
                channel.write(b"good bye")
            channel.dispose()

    @pytest.mark.parametrize("why", ["an unknown CA", "another name"])
    async def test_a_failed_handshake_raises_and_the_peer_is_told(
        self, authority: Authority, why: str
    ) -> None:
        context = Authority().client_context() if why == "an unknown CA" else authority.client_context()
        server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.configure(server_context, "other.test" if why == "another name" else "gateway.test")
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            refusals: list[str] = []

            def serve() -> None:
                theirs.settimeout(10)
                with pytest.raises(ssl.SSLError) as caught:
                    with server_context.wrap_socket(theirs, server_side=True) as tls:
                        tls.recv(1)
                refusals.append(str(caught.value.reason))
                theirs.close()

            async with anyio.create_task_group() as nursery:
                nursery.start_soon(anyio.to_thread.run_sync, serve)
                channel = Channel(ours, reactor)
                with pytest.raises(ssl.SSLCertVerificationError):
                    await channel.handshake(context, server_side=False, server_name="gateway.test")
                channel.dispose()
        (reason,) = refusals
        assert "ALERT" in reason

    async def test_an_end_within_the_handshake_raises(self, authority: Authority) -> None:
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            theirs.close()
            channel = Channel(ours, reactor)
            with pytest.raises(OSError):
                await channel.handshake(
                    authority.client_context(), server_side=False, server_name="gateway.test"
                )
            channel.dispose()
