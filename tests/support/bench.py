"""For the benchmark's tests: its programs, as a person runs them, and gateways that are none.

Everything runs as `python -m bench…` from the repository's root.
"""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]
SECONDS_MAX: Final = 60
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


def bench(module: str, *arguments: str, seconds_max: float = SECONDS_MAX) -> subprocess.CompletedProcess[str]:
    """Run one of the benchmark's programs to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds_max,
    )


@contextlib.contextmanager
def running_upstream() -> Generator[int]:
    """The benchmark's stand-in for Bedrock, and its port."""
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


class Relay:
    """A gateway that passes on, after `change` has had each answer: the how-manieth of its connection, and
    the bytes.
    """

    def __init__(self, upstream: int, change: Callable[[int, bytes], bytes]) -> None:
        self._upstream = upstream
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(SECONDS_MAX)

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
            number = 0
            while request := client.recv(65_536):
                upstream.sendall(request)
                answer = b""
                while not _is_whole(answer):
                    more = upstream.recv(65_536)
                    if not more:
                        return
                    answer += more
                client.sendall(self._change(number, answer))
                number += 1


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    _, found, length = head.partition(b"Content-Length: ")
    if not end or not found:
        return answer.endswith(_LAST_CHUNK)
    return len(body) == int(length.partition(b"\r\n")[0])
