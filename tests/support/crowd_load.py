"""A load on a gateway that something happens to: all kinds of callers, and what became of each request.

Plain answers and streams, on connections that are kept and on fresh ones. Nothing is repeated and nothing
is passed over: a request is whole, or it has failed, with the reason and the connection's own port. So a test
can say which requests may have failed, and not only how many.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator
from typing import Final

import h11
import msgspec

from support.gateway import eventually
from support.raw import Raw, chat, connected, request

STREAM: Final = "simulator.slow:ms.40:words.10"
"""Some half a second: whatever happens, happens within streams too."""
KEPT: Final = 1000
"""Requests on a connection that is kept, if nothing ends it before."""
PAUSE_SECONDS: Final = 0.02
"""Between two requests of a caller: the machine has other things to do."""


class Asked(msgspec.Struct, frozen=True):
    """A request, and what became of it."""

    kind: str
    port: int
    """Our end of the connection; 0: there was none."""
    request_id: str
    """As the answer names it; "": there was no answer."""
    failure: str
    """"": it was answered, wholly."""

    @property
    def whole(self) -> bool:
        """Whether it was answered as if nothing had happened."""
        return not self.failure


class Caller:
    """One thread, and its requests, in their order."""

    def __init__(self, url: str, *, stream: bool, kept: bool) -> None:
        self.kind = (
            f"{'a stream' if stream else 'a plain answer'} on a {'kept' if kept else 'fresh'} connection"
        )
        self.asked: list[Asked] = []
        self._url = url
        self._stream = stream
        self._kept = kept
        more = {"stream": True, "model": STREAM} if stream else {}
        self._request = request(body=chat("Hello", **more))

    def run(self, over: threading.Event) -> None:
        """Ask until it is over, one connection after the other."""
        while not over.is_set():
            port = 0
            try:
                with connected(self._url) as raw:
                    port = raw.sock.getsockname()[1]
                    for _ in range(KEPT if self._kept else 1):
                        request_id, failure = self._ask(raw)
                        self.asked.append(Asked(self.kind, port, request_id, failure))
                        if failure or over.wait(PAUSE_SECONDS):
                            break
            except OSError as error:
                self.asked.append(Asked(self.kind, port, "", repr(error)))

    def _ask(self, raw: Raw) -> tuple[str, str]:
        """The id of a request, and why it has failed."""
        raw.send(self._request)
        try:
            answer = raw.answer()
        except h11.RemoteProtocolError as error:
            return "", repr(error)
        request_id = answer.headers.get("x-request-id", "")
        if answer.status != 200:
            return request_id, f"status {answer.status}: {answer.body!r}"
        ended = not self._stream or answer.body.endswith(b"data: [DONE]\n\n")
        return request_id, "" if answer.whole and ended else f"cut: {answer.body[-200:]!r}"


class Load:
    """Callers of every kind."""

    def __init__(self, url: str, *, each: int = 1) -> None:
        self._callers = [
            Caller(url, stream=stream, kept=kept)
            for _ in range(each)
            for stream in (False, True)
            for kept in (False, True)
        ]

    @property
    def asked(self) -> list[Asked]:
        """All requests that are over, caller by caller."""
        return [asked for caller in self._callers for asked in tuple(caller.asked)]

    @property
    def failed(self) -> list[Asked]:
        """Those that were not answered wholly."""
        return [asked for asked in self.asked if not asked.whole]

    def orders(self) -> Iterator[list[Asked]]:
        """Requests that followed one another: those of each caller."""
        return iter([list(caller.asked) for caller in self._callers])

    def go_on(self, count: int = 3) -> None:
        """Wait until each caller has had so many answers more."""
        before = [len(caller.asked) for caller in self._callers]
        eventually(
            lambda: all(
                len(caller.asked) >= had + count for caller, had in zip(self._callers, before, strict=True)
            ),
            seconds=60,
        )

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """Within, they ask; afterwards, all have ended what they had begun."""
        over = threading.Event()
        threads = [threading.Thread(target=caller.run, args=(over,)) for caller in self._callers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
