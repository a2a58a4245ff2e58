"""Bench: it still runs, and it fails when an answer is wrong. Nothing is said here about speed.

Everything runs as it does for a person, as `python -m bench…` from the repository's root.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60


def bench(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )


def load(port: int, kind: str, dialect: str = "signed") -> tuple[int, dict[str, object]]:
    """Send 50 requests; the exit status and what was found."""
    arguments = ["--port", str(port), "--dialect", dialect, "--kind", kind, "--requests", "50"]
    ran = bench("bench.load", *arguments, "--connections", "4")
    assert ran.stdout, ran.stderr
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return ran.returncode, found


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.upstream", "--writes", "8"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate(timeout=SECONDS_MAX)  # its input ends, and so does it
    assert process.returncode == 0


@pytest.mark.parametrize(("kind", "events"), [("plain", 1), ("stream", 64)])
def test_every_answer_comes_and_is_whole(upstream: int, kind: str, events: int) -> None:
    status, found = load(upstream, kind)
    assert (status, found["errors"]) == (0, [])
    assert (found["answers"], found["events"]) == (50, 50 * events)


@pytest.mark.parametrize("kind", ["plain", "stream"])
def test_an_unsigned_request_fails_the_run(upstream: int, kind: str) -> None:
    status, found = load(upstream, kind, dialect="converse")
    assert status == 1
    assert "403" in str(found["errors"])


class Thief:
    """A gateway that keeps back one chunk of every stream but the first, which it passes on untouched."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connections: list[socket.socket] = []
        try:
            while True:
                client, _ = self._listener.accept()
                connections.append(client)
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()
        except OSError:
            for client in connections:
                client.close()

    def _relay(self, client: socket.socket) -> None:
        # Either side may be gone at any moment, when the run has seen enough.
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._upstream)) as upstream,
        ):
            stolen = False
            while request := client.recv(65_536):
                upstream.sendall(request)
                answer = b""
                while not answer.endswith(b"\r\n0\r\n\r\n"):
                    more = upstream.recv(65_536)
                    if not more:
                        return
                    answer += more
                head, _, body = answer.partition(b"\r\n\r\n")
                size = int(body.partition(b"\r\n")[0], 16) + len(body.partition(b"\r\n")[0]) + 4
                client.sendall(head + b"\r\n\r\n" + (body[size:] if stolen else body))
                stolen = True

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(SECONDS_MAX)


def test_a_stolen_chunk_fails_the_run(upstream: int) -> None:
    thief = Thief(upstream)
    try:
        status, found = load(thief.port, "stream")
    finally:
        thief.close()
    assert status == 1
    assert "not the" in str(found["errors"])
    assert isinstance(found["answers"], int)
    assert found["answers"] >= 1, "the first stream of each connection was whole"


def test_the_gateway_is_measured(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    arguments = [
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--connections",
        "4",
        "--only",
        "stargate,upstream itself",
    ]
    ran = bench("bench", *arguments, "--output", str(output))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = json.loads(output.read_text())["figures"]
    assert {(one["target"], one["kind"]) for one in figures} == {
        (target, kind) for target in ("stargate", "upstream itself") for kind in ("plain", "stream")
    }
    assert all(one["per_second"] > 0 for one in figures)


def test_the_core_is_measured() -> None:
    ran = bench("bench", "core")
    assert ran.returncode == 0, ran.stderr
    rows = {row[:46].strip(): float(row[46:]) for row in ran.stdout.splitlines()[1:]}
    assert rows["plain request"] > rows["of which a signature"] > 0
