"""Sockets that listen: every kind of address, what their URLs are, and what becomes of a dead process's."""

import contextlib
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from stargate.shell_common.listening import (
    UNSENT_BYTES,
    CannotListen,
    names,
    open_for_workers,
    open_listener,
    open_listeners,
)
from stargate_core.config.schema import Listener


@contextlib.contextmanager
def opened(address: str) -> Generator[tuple[Listener, list[socket.socket]]]:
    listener = Listener(address)
    sockets = open_listener(listener)
    yield listener, sockets
    for sock in sockets:
        sock.close()


class TestOpening:
    def test_a_port(self) -> None:
        with opened("127.0.0.1:0") as (listener, [sock]):
            assert sock.gettimeout() == 0, "it is non-blocking"
            port = sock.getsockname()[1]
            assert names([sock], listener) == [f"http://127.0.0.1:{port}"]
            socket.create_connection(("127.0.0.1", port)).close()

    @pytest.mark.skipif(
        not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system can't bound what waits in the kernel"
    )
    def test_little_waits_in_the_kernel_for_a_client_that_does_not_read(self) -> None:
        """A megabyte that nobody takes stays with whoever writes it, but for what is on its way."""
        with opened("127.0.0.1:0") as (_, [sock]), socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(sock.getsockname())
            sock.settimeout(20)
            accepted, _ = sock.accept()
            with accepted:
                accepted.setblocking(False)
                sent = 0
                with contextlib.suppress(BlockingIOError):
                    while sent < 1 << 20:
                        sent += accepted.send(bytes(1024))
                assert UNSENT_BYTES <= sent < 2 * UNSENT_BYTES

    def test_a_name_may_have_several_addresses(self) -> None:
        with opened("localhost:0") as (listener, sockets):
            assert len(names(sockets, listener)) == len(sockets) >= 1
            for sock in sockets:
                socket.create_connection(sock.getsockname()[:2]).close()

    def test_ipv6_has_brackets(self) -> None:
        try:
            with opened("[::1]:0") as (listener, sockets):
                assert names(sockets, listener)[0].startswith("http://[::1]:")
        except CannotListen as cannot:
            pytest.skip(f"this machine has no IPv6: {cannot}")

    def test_a_path(self, tmp_path: Path) -> None:
        with opened(f"unix:{tmp_path}/s") as (listener, sockets):
            assert names(sockets, listener) == [f"unix:{tmp_path}/s"]

    def test_a_dead_processs_socket_is_replaced(self, tmp_path: Path) -> None:
        with opened(f"unix:{tmp_path}/s"):
            pass
        assert (tmp_path / "s").exists()
        with opened(f"unix:{tmp_path}/s"):
            pass

    def test_a_living_ones_is_not(self, tmp_path: Path) -> None:
        with opened(f"unix:{tmp_path}/s"), pytest.raises(CannotListen, match="Address already in use"):
            open_listener(Listener(f"unix:{tmp_path}/s"))

    def test_nor_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "s").write_text("precious")
        with pytest.raises(CannotListen, match="Address already in use"):
            open_listener(Listener(f"unix:{tmp_path}/s"))
        assert (tmp_path / "s").read_text() == "precious"

    def test_all_or_none(self, tmp_path: Path) -> None:
        with opened("127.0.0.1:0") as (_, [taken]):
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(CannotListen, match=f"cannot listen on {address}: Address already in use"):
                open_listeners([Listener(f"unix:{tmp_path}/s"), Listener(address)])
        # The first is closed again: nobody answers there.
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(f"{tmp_path}/s")

    def test_an_unknown_host_is_told_as_one(self) -> None:
        with pytest.raises(CannotListen, match=r"cannot listen on nowhere\.invalid:80: "):
            open_listener(Listener("nowhere.invalid:80"))


def close(shares: list[list[list[socket.socket]]]) -> None:
    for sock in {sock for share in shares for sockets in share for sock in sockets}:
        sock.close()


class TestWorkers:
    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they share")
    def test_each_has_a_socket_of_its_own_at_the_same_address(self) -> None:
        shares = open_for_workers([Listener("127.0.0.1:0"), Listener("127.0.0.1:0")], 3)
        try:
            places = [[sock.getsockname() for sockets in share for sock in sockets] for share in shares]
            assert all(each == places[0] for each in places)
            assert len(set(places[0])) == 2
            assert len({sock.fileno() for share in shares for sockets in share for sock in sockets}) == 6
        finally:
            close(shares)

    def test_unix_sockets_are_shared(self, tmp_path: Path) -> None:
        shares = open_for_workers([Listener(f"unix:{tmp_path}/s")], 2)
        try:
            assert shares[0] == shares[1]
        finally:
            close(shares)

    def test_an_address_that_is_taken_is_not_shared_with_a_stranger(self) -> None:
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            address = f"127.0.0.1:{stranger.getsockname()[1]}"
            with pytest.raises(CannotListen, match="Address already in use"):
                open_for_workers([Listener(address)], 2)
