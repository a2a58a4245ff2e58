"""A transport for httpx: SDKs that are built on it call the gateway of this process, without a socket.

    http_client = httpx.AsyncClient(transport=gateway.transport())

httpx has two lines that live side by side: `httpx`, and `httpx2`, on which newer SDKs are built. Neither is a
dependency of Stargate. One class serves whichever are installed: it inherits from the base class of each, and
answers a request with the types of the library that made it.

The host in a URL means nothing here, only its path does. Of the timeouts `read` counts: the longest silence.
Nothing waits for a connection, and nothing for a write. Closing a response that is not read to its end, or
cancelling the request, cancels the call at Bedrock.
"""

import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from stargate.in_memory.call import Answer, Callee, Cut, NotRunning, call, compose

INSTALL: Final = "install stargate-gateway[httpx] or stargate-gateway[httpx2]"

T = TypeVar("T")


def _installed() -> list[ModuleType]:
    found: list[ModuleType] = []
    for name in ("httpx2", "httpx"):
        with contextlib.suppress(ImportError):
            found.append(importlib.import_module(name))
    return found


_LIBRARIES: Final = _installed()
if not _LIBRARIES:
    raise ImportError(f"there is nothing to make a transport for: {INSTALL}")

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(httpx2.AsyncBaseTransport, httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any: ...

    class _Stream(httpx2.AsyncByteStream, httpx.AsyncByteStream): ...

else:
    _Transport = type("_Transport", tuple(lib.AsyncBaseTransport for lib in _LIBRARIES), {})
    _Stream = type("_Stream", tuple(lib.AsyncByteStream for lib in _LIBRARIES), {})


class AsyncTransport(_Transport):
    """For an `AsyncClient` of either library. May be shared by several, and used as long as its gateway."""

    def __init__(self, callee: Callee) -> None:
        self._callee = callee

    async def handle_async_request(self, request: Any) -> Any:
        """Make the call; the answer is there when its head is. Raises the library's own errors."""
        library = _library_of(request)
        url = request.url
        method = request.method.encode("ascii", "replace")
        timing = _Timing(library, request)
        body = b"".join([piece async for piece in request.stream])
        try:
            data = compose(method, url.raw_path, request.headers.raw, body)
        except ValueError as error:
            raise library.LocalProtocolError(str(error), request=request) from error
        try:
            answer = await timing.within(lambda: call(self._callee, data, bodiless=method == b"HEAD"))
        except (Cut, NotRunning) as error:
            raise library.ConnectError(str(error), request=request) from error
        return library.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, timing),
            extensions={"http_version": b"HTTP/1.1"},
        )


class _Timing:
    """How long a request's client waits for anything, and how it says that this was too long."""

    def __init__(self, library: ModuleType, request: Any) -> None:
        self.library: Any = library
        self.request = request
        self._seconds: float | None = request.extensions.get("timeout", {}).get("read")

    async def within(self, wait: Callable[[], Awaitable[T]]) -> T:
        """What comes in time. Raises the library's ReadTimeout."""
        with self._bounded():
            return await wait()
        raise AssertionError  # The block above returns or raises.

    @contextlib.contextmanager
    def _bounded(self) -> Generator[None]:
        try:
            with anyio.fail_after(self._seconds):
                yield
        except TimeoutError as error:
            text = "the gateway kept silent for too long"
            raise self.library.ReadTimeout(text, request=self.request) from error


class _Body(_Stream):
    """The body of an answer, piece by piece."""

    def __init__(self, answer: Answer, timing: _Timing) -> None:
        self._answer = answer
        self._timing = timing

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self  # No generator: one that is dropped half-way is a warning on trio.

    async def __anext__(self) -> bytes:
        timing = self._timing
        try:
            piece = await timing.within(self._answer.receive)
        except Cut as error:
            raise timing.library.RemoteProtocolError(str(error), request=timing.request) from error
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Nothing more of it is wanted."""
        self._answer.leave()


def _library_of(request: Any) -> Any:
    """Whose request this is."""
    return next(library for library in _LIBRARIES if isinstance(request, library.Request))
