"""Lines as datagrams: one each and whole; what is too long is dropped and counted."""

import socket
from collections.abc import Generator

import pytest

from stargate.log_sinks import datagrams
from stargate.log_sinks.datagrams import UdpWriter
from stargate.shell_common.lines import Done
from support.collectors import dead_port


@pytest.fixture
def receiver() -> Generator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def path_of(receiver: socket.socket) -> str:
    return f"udp://127.0.0.1:{receiver.getsockname()[1]}"


def test_a_line_is_a_datagram(receiver: socket.socket) -> None:
    writer = UdpWriter(path_of(receiver))
    assert writer.write(b"one\ntwo\n") == Done(8)
    assert writer.write(b"three\n") == Done(6)
    assert [receiver.recv(100) for _ in range(3)] == [b"one", b"two", b"three"]


def test_what_is_too_long_is_dropped_and_counted(receiver: socket.socket) -> None:
    writer = UdpWriter(path_of(receiver))
    data = b"one\n" + b"x" * 70_000 + b"\ntwo\n"
    assert writer.write(data) == Done(len(data), 1)
    assert [receiver.recv(100) for _ in range(2)] == [b"one", b"two"]


def test_where_nobody_listens_is_told_and_lines_are_not_kept() -> None:
    writer = UdpWriter(f"udp://127.0.0.1:{dead_port()}")
    done = writer.write(b"one\n" * 10)
    assert done.bytes == 40
    assert done.trouble == "Connection refused"


def test_a_host_that_is_not_known_is_tried_again() -> None:
    done = UdpWriter("udp://nowhere.invalid:5140").write(b"one\n")
    assert (done.bytes, done.lost) == (0, 0)
    assert done.trouble


def test_a_host_is_looked_up_again_after_a_while(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "_LOOK_AGAIN_SECONDS", 0.0)
    writer = UdpWriter(path_of(receiver))
    writer.write(b"one\n")
    writer.write(b"two\n")
    received = [receiver.recvfrom(100) for _ in range(2)]
    assert [data for data, _ in received] == [b"one", b"two"]
    assert len({address for _, address in received}) == 2


def test_who_is_told_to_stop_sends_nothing_more(receiver: socket.socket) -> None:
    writer = UdpWriter(path_of(receiver))
    writer.stop()
    assert writer.write(b"one\n") == Done(0)
