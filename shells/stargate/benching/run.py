"""The part that waits: connections, the clock, and who asks when. It decides nothing that could be pure.

One task lets the moments of the arrivals pass and starts a task for each request. Where `concurrency_max`
requests are under way it waits for one of them to end; those that became due meanwhile are sent late, one
after the other, and their latency counts from when they were due. Nothing queues up here, for the line is
only the iterator of moments that is not drawn yet.

Limits: each request has `timeout_seconds` from when it is sent; what was due and could not be sent within as
much time after the end of the run is given up, counted and told. So a run ends after its duration and twice
that, whatever the server does.

A connection is kept for the next request, and the one used last is used first. If the server has closed it
meanwhile, which shows only when one writes to it, the request is sent once more, on a new one: every client
does so.
"""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

import msgspec
import trio

from stargate.benching.answer import AnswerReader, Failed, Outcome
from stargate.benching.asking import Endpoint
from stargate.benching.tally import Tally
from stargate_core.secret import Secret

Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
"""Makes a connection. Raises CannotConnect."""

_READ_BYTES: Final = 65_536
_TICK_SECONDS: Final = 0.1
_S: Final = 1_000_000_000


class CannotConnect(Exception):
    """There is no connection; the text says why."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    compose: Callable[[int], bytes]
    """The request of each number."""
    arrivals: Callable[[], Iterator[int]]
    is_streamed: bool
    concurrency_max: int
    timeout_seconds: float
    key: Secret | None = None
    """What is never shown, though a server may say it again in an error."""


def dialling(where: Endpoint) -> Dial:
    """Connections to an endpoint."""
    context: ssl.SSLContext | None = None
    if where.is_tls:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])

    async def dial() -> trio.abc.Stream:
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream(where.host, where.port)
        except OSError as error:
            raise CannotConnect(f"{where.host}:{where.port}: {_why(error)}") from None
        if context is None:
            return stream
        tls = trio.SSLStream(stream, context, server_hostname=where.host, https_compatible=True)
        try:
            await tls.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, trio.BrokenResourceError):
                raise CannotConnect(f"{where.host}:{where.port}: {_why_tls(error)}") from None
            raise
        return tls

    return dial


def _why(error: OSError) -> str:
    """The system's own words for it, where trio has tried several addresses too."""
    cause = error.__cause__
    match cause:
        case BaseExceptionGroup(exceptions=(OSError() as one, *_)) | (OSError() as one):
            found = one
        case _:
            found = error
    if isinstance(found, socket.gaierror) or not found.errno:
        return found.strerror or str(found)
    return os.strerror(found.errno)


def _why_tls(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"it speaks no TLS that can be used ({cause.reason or 'handshake failed'})"
    return "it closed the connection before TLS was set up"


class Run:
    """A run. `tally` can be read at any time."""

    def __init__(self, plan: Plan, tally: Tally, dial: Dial) -> None:
        self.tally: Final = tally
        self._plan = plan
        self._dial = dial
        self._idle: list[trio.abc.Stream] = []
        self._places = trio.Semaphore(plan.concurrency_max)
        self._began: float | None = None

    @property
    def elapsed_ns(self) -> int:
        """Since the first request was due; 0 before that."""
        return 0 if self._began is None else max(0, int((trio.current_time() - self._began) * _S))

    async def probe(self) -> Outcome:
        """One request beforehand, which is not measured: does it work at all?"""
        return await self._ask(self._plan.compose(0))

    async def perform(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Send everything, and wait for all answers. progress: is told the time so far, again and again."""
        self._began = began = trio.current_time()
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._tell, progress)
                async with trio.open_nursery() as requests:
                    await self._send(requests, began)
                tasks.cancel_scope.cancel()
        finally:
            for stream in self._idle:
                await trio.aclose_forcefully(stream)

    async def _tell(self, progress: Callable[[int], None]) -> None:
        while True:
            progress(self.elapsed_ns)
            await trio.sleep(_TICK_SECONDS)

    async def _send(self, requests: trio.Nursery, began: float) -> None:
        """Start each request when it is due, as long as that makes sense."""
        give_up_at = began + self.tally.duration_ns / _S + self._plan.timeout_seconds
        moments = enumerate(self._plan.arrivals(), 1)
        freed_at = 0
        with trio.move_on_at(give_up_at) as scope:
            for number, due_at in moments:
                await trio.sleep_until(began + due_at / _S)
                if self._places.value:
                    self._places.acquire_nowait()
                else:
                    await self._places.acquire()
                    freed_at = self.elapsed_ns
                if due_at < freed_at:
                    self.tally.crowded += 1
                self.tally.begin(due_at, max(0, self.elapsed_ns - max(due_at, freed_at)))
                requests.start_soon(self._request, number, due_at)
        if scope.cancelled_caught:
            self.tally.miss(1 + sum(1 for _ in moments))  # the one that waited, and those behind it

    async def _request(self, number: int, due_at: int) -> None:
        try:
            outcome = await self._ask(self._plan.compose(number))
            self.tally.end(due_at, self.elapsed_ns, outcome)
        finally:
            self._places.release()

    async def _ask(self, request: bytes) -> Outcome:
        """One request, within its time."""
        with trio.move_on_after(self._plan.timeout_seconds):
            return self._without_key(await self._exchange(request))
        return Failed("timeout", f"no whole answer within {self._plan.timeout_seconds:g} s")

    def _without_key(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Failed) and self._plan.key is not None:
            return Failed(outcome.kind, outcome.detail.replace(self._plan.key.reveal(), "…"))
        return outcome

    async def _exchange(self, request: bytes) -> Outcome:
        while True:
            is_used = bool(self._idle)
            try:
                stream = self._idle.pop() if is_used else await self._dial()
            except CannotConnect as error:
                return Failed("cannot connect", str(error))
            reader = AnswerReader(is_streamed=self._plan.is_streamed)
            try:
                outcome = await self._talk(stream, request, reader)
            finally:
                if reader.can_be_reused:
                    self._idle.append(stream)
                else:
                    await trio.aclose_forcefully(stream)
            if not (is_used and reader.was_left):
                return outcome

    async def _talk(self, stream: trio.abc.Stream, request: bytes, reader: AnswerReader) -> Outcome:
        """Send a request, and read its answer."""
        try:
            await stream.send_all(request)
            while reader.outcome is None:
                data = await stream.receive_some(_READ_BYTES)
                if data:
                    reader.receive_data(self.elapsed_ns, bytes(data))
                else:
                    reader.receive_eof(self.elapsed_ns)
        except trio.BrokenResourceError:
            reader.receive_reset()
        assert reader.outcome is not None
        return reader.outcome
