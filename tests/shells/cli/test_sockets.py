"""Sockets that somebody else has opened, and what the command line says in the place of the file."""

import os
import socket
from collections.abc import Generator
from pathlib import Path

import click
import pytest

from stargate.cli.sockets import changed_by, handed_in
from stargate_core.config.gateway_block import Gateway, Store, Tls
from stargate_core.config.problems import Misfit
from stargate_core.config.schema import Config, Listener
from stargate_core.secret import Secret

TLS = Tls(cert="c", key=Secret("k"))


@pytest.fixture(name="sock")
def _sock() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def address(sock: socket.socket) -> str:
    """Where it listens."""
    return f"127.0.0.1:{sock.getsockname()[1]}"


class TestHandedIn:
    def test_a_descriptor_is_a_socket(self, sock: socket.socket) -> None:
        (found,) = handed_in([os.dup(sock.fileno())], [], {})
        with found:
            assert found.getsockname() == sock.getsockname()
            assert not found.getblocking()

    def test_one_that_does_not_listen_yet_does_then(self) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            (found,) = handed_in([os.dup(sock.fileno())], [], {})
            with found, socket.create_connection(sock.getsockname()):
                pass

    @pytest.mark.parametrize(
        ("kind", "told"),
        [("file", "not a socket|non-socket"), ("datagram", "wrong type"), ("none", "Bad file")],
    )
    def test_what_is_none_is_refused(self, kind: str, told: str, tmp_path: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, (tmp_path / "f").open("w") as file:
            descriptor = {"file": os.dup(file.fileno()), "datagram": os.dup(datagram.fileno()), "none": 999}[
                kind
            ]
            with pytest.raises(click.ClickException, match=told):
                handed_in([descriptor], [], {})

    def test_with_addresses_it_is_a_mistake(self) -> None:
        with pytest.raises(click.BadParameter, match="open already"):
            handed_in([7], ["127.0.0.1:1"], {})

    def test_what_systemd_says_to_another_process_is_not_for_this_one(self) -> None:
        environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x", "PATH": "p"}
        assert handed_in([], [], environ) == []
        assert environ == {"PATH": "p"}


class TestChangedBy:
    def test_addresses_stand_in_the_place_of_the_files(self) -> None:
        config = changed_by(["127.0.0.1:9"], [], None)(Config())
        assert [one.address for one in config.gateway.listen] == ["127.0.0.1:9"]

    def test_so_do_open_sockets(self, sock: socket.socket) -> None:
        config = changed_by([], [sock], None)(Config())
        assert [one.address for one in config.gateway.listen] == [address(sock)]

    def test_unix_sockets_too(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"{tmp_path}/s")
            config = changed_by([], [sock], None)(Config())
        assert [one.address for one in config.gateway.listen] == [f"unix:{tmp_path}/s"]

    def test_their_tls_is_the_listeners_in_order(self, sock: socket.socket) -> None:
        written = Config(gateway=Gateway(listen=[Listener("h:1", TLS)]))
        (one,) = changed_by([], [sock], None)(written).gateway.listen
        assert (one.address, one.tls) == (address(sock), TLS)
        with pytest.raises(Misfit, match="2 open sockets for 1 listeners"):
            changed_by([], [sock, sock], None)(written)

    def test_workers_need_what_the_files_would_need(self) -> None:
        with pytest.raises(Misfit, match="2 workers need a store"):
            changed_by([], [], 2)(Config())
        apart = Config(gateway=Gateway(per_worker_limits=True))
        shared = Config(gateway=Gateway(store=Store(Secret("redis://h"))))
        assert [changed_by([], [], 2)(config).gateway.workers for config in (apart, shared)] == [2, 2]
