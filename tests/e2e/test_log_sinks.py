"""Logging to a full pipe, a dead collector, a full disk: no request fails or waits, every line is counted.

One real gateway logs to all of them at once while it is asked a hundred times. Each request is answered,
and in the end, for each sink, the lines that have arrived and the lines that are told lost are the requests:
exactly, on both shells.
"""

import contextlib
import fcntl
import gzip
import os
import re
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from support.collectors import BROKEN, dead_port, http_collector
from support.gateway import CONSUMERS, RunningGateway, eventually, on_linux, running_gateway
from support.raw import connected, request
from support.simulator import RunningSimulator

pytestmark = on_linux

SHELLS: Final = ("trio", "asyncio")
REQUESTS: Final = 100
"""Their lines are more than a pipe of `PIPE_BYTES` holds."""
PIPE_BYTES: Final = 4096
"""The least that Linux has (fcntl(2), F_SETPIPE_SZ)."""
TELLS: Final = r" (warning|error|info): (cannot write to|writing to|one line for|\d+ lines for)"
LOST: Final = re.compile(r" warning: (one|\d+) lines? for (.*) could not be written, and (?:is|are) lost$")
HASTY: Final = {"timeout_seconds": 0.1, "retries": 1}


class Datagrams:
    """A UDP collector."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.lines: list[bytes] = []
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while line := self._socket.recv(1 << 16):
            self.lines.append(line)

    def close(self) -> None:
        """Take what has come."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def full_pipe(folder: Path) -> Generator[tuple[Path, int]]:
    """A pipe that somebody has opened and nobody reads."""
    path = folder / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield path, reader
    finally:
        os.close(reader)


def load(gateway: RunningGateway, count: int) -> None:
    """So many requests, each of which must be answered."""
    with connected(gateway.url) as client:
        for _ in range(count):
            client.send(request("GET", "/v1/models"))
            assert client.answer(method="GET").status == 200


def lost(gateway: RunningGateway, path: str) -> int:
    """How many lines it has told to be lost of this sink."""
    found = [found for line in gateway.told if (found := LOST.search(line)) and found[2] == path]
    return sum(1 if one[1] == "one" else int(one[1]) for one in found)


def counted(lines: list[bytes]) -> tuple[int, int]:
    """How many records there are among these, each one once, and how many lines they say were dropped."""
    found: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
    ids = [record["request_id"] for record in found if "request_id" in record]
    assert len(set(ids)) == len(ids)
    return len(ids), sum(record.get("dropped_lines", 0) for record in found)


def read(path: Path) -> bytes:
    """A file, unpacked."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def a_logger(*sinks: dict[str, Any]) -> dict[str, Any]:
    return {"name": "request-logger", "config": {"sinks": list(sinks)}}


@pytest.mark.parametrize("shell", SHELLS)
def test_no_sink_holds_up_a_request_and_every_line_is_counted(
    simulator: RunningSimulator, tmp_path: Path, shell: str
) -> None:
    log, datagrams = tmp_path / "log", Datagrams()
    with (
        full_pipe(tmp_path) as (pipe, reader),
        http_collector() as good,
        http_collector() as sick,
        http_collector() as hanging,
        http_collector() as moody,
    ):
        sick.answer, hanging.answer = BROKEN, None
        moody.pause_seconds = 0.05
        moody.answers = [BROKEN, BROKEN[:20] + b" close"]
        dead = f"http://127.0.0.1:{dead_port()}/"
        collectors = {"http": HASTY}
        logger = a_logger(
            {"path": str(pipe)},
            {"path": "/dev/full"},
            {"path": datagrams.url},
            {"path": dead, **collectors},
            {"path": good.url},
            {"path": sick.url, **collectors},
            {"path": hanging.url, **collectors},
            {"path": moody.url, "http": {"retries": 10}},
        )
        # The consumer's logger takes the place of the one for all.
        consumers = [{**CONSUMERS[0], "plugins": [logger]}]
        with running_gateway(
            simulator.url, log=log, consumers=consumers, options=("--shell", shell), tells=TELLS
        ) as gateway:
            load(gateway, REQUESTS)
            # It has them all in the end; at the gateway's own end it would not be waited for so long.
            eventually(lambda: len(moody.taken) == REQUESTS)
        datagrams.close()
        piped = os.read(reader, 1 << 20).splitlines()
        arrived = {
            str(pipe): piped,
            "/dev/full": [],
            datagrams.url: datagrams.lines,
            dead: [],
            good.url: good.taken,
            sick.url: sick.taken,
            hanging.url: hanging.taken,
            moody.url: moody.taken,
        }
    found = {path: (*counted(lines), lost(gateway, path)) for path, lines in arrived.items()}
    assert {path: sum(counts) for path, counts in found.items()} == dict.fromkeys(arrived, REQUESTS), found
    assert 0 < found[str(pipe)][0] < REQUESTS
    for whole in (good.url, moody.url, datagrams.url):
        assert found[whole] == (REQUESTS, 0, 0)
    for nothing in ("/dev/full", dead, sick.url, hanging.url):
        assert found[nothing] == (0, 0, REQUESTS)


@pytest.mark.parametrize("shell", SHELLS)
def test_workers_that_share_a_rotated_file_lose_nothing(
    simulator: RunningSimulator, tmp_path: Path, shell: str
) -> None:
    log = tmp_path / "log"
    rotate = {"max_bytes": 4096, "keep": 1000, "compress": True}
    consumers = [{**CONSUMERS[0], "plugins": [a_logger({"path": str(log), "rotate": rotate})]}]
    with running_gateway(
        simulator.url,
        log=tmp_path / "others",
        consumers=consumers,
        gateway={"workers": 2, "per_worker_limits": True},
        options=("--shell", shell),
        tells=r"(info|warning): ",
    ) as gateway:
        for _ in range(16):
            load(gateway, 5)
        eventually(lambda: len(list(tmp_path.glob("log.*"))) > 2)
    lines = [
        line
        for path in tmp_path.glob("log*")
        if path.suffix not in (".lock", ".part")
        for line in read(path).splitlines()
        # Its unpacked twin counts, where the packing was cut short.
        if path.suffix != ".gz" or not path.with_suffix("").exists()
    ]
    assert counted(lines) == (80, 0)


def test_what_cannot_be_written_is_told_before_the_first_request(
    simulator: RunningSimulator, tmp_path: Path
) -> None:
    log = tmp_path / "no" / "log"
    tells = r"warning: the log's sink|cannot write to|one line for"
    with running_gateway(simulator.url, log=log, tells=tells) as gateway:
        assert gateway.told[0] == f"warning: the log's sink {log}: there is no folder {log.parent}"
        load(gateway, 1)
    assert lost(gateway, str(log)) == 1
