"""The gateway as an ASGI application: on hypercorn (asyncio or trio) or uvicorn, or mounted into another one.

    hypercorn stargate.asgi:app                          # configured by the file that STARGATE_CONFIG names
    app.mount("/llm", stargate.asgi.Gateway("stargate.yaml"))

The server has the sockets, the TLS and HTTP; a request becomes bytes again and takes the way of a caller in
this process (in_memory/call.py), so the same sessions serve it, with the same limits, log and errors. What
ASGI brings is kept as it came: the path undecoded (`%2F` is not `/`), the headers as they are. Below a mount
the path begins behind the mount's own.

The body is collected first, up to `max_body_bytes`. What is longer is thrown away as it comes, for two
seconds at most (on HTTP/2 to its end); only its length is told, and the gateway refuses it in the words of
the API it was meant for. The answer goes out as it comes, each piece when the server has taken the last one;
meanwhile the gateway is not read beyond its bound. A client that leaves has left: `http.disconnect` cancels
its call at Bedrock, wherever that is. Servers send the same once they have the last of an answer, even while
they take it: so nobody listens for it then, or hypercorn would be broken off before it has closed the
connection. An answer that breaks in the middle is raised, so that the server cuts the connection too.

A server that has lifespans starts and drains the gateway by them. Others, and most frameworks for what they
mount, do not: then it starts with the first request and ends with the loop, without draining. A program
that wants to drain enters it in its own lifespan (`async with gateway`). Either way a gateway lives on one
loop; on another one it starts again.

Source: https://asgi.readthedocs.io/en/latest/specs/ (www, lifespan; version 3).
"""

import contextlib
import enum
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import quote, unquote

import anyio
import anyio.lowlevel
import sniffio

from stargate.embedding.configuration import Configuration, compiled
from stargate.embedding.gateway import Embedded, Level
from stargate.embedding.lazy import Lazy
from stargate.in_memory.call import OF_CONNECTIONS, Answer, Cut, NotRunning, announce, call, compose, garbled
from stargate_core.causes import Cause
from stargate_core.dialects.face import Request
from stargate_core.faults import Fault
from stargate_core.gateway.framing import origin
from stargate_core.gateway.settlement import answer_headers, fault_headers
from stargate_core.views import Plugin

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

LINGER_SECONDS: Final = 2.0
_DROPPED: Final = OF_CONNECTIONS - {b"content-length"}


class Sent(enum.Enum):
    """How much of an answer a server has been given."""

    NOTHING = enum.auto()
    A_PART = enum.auto()
    """And it wants no more."""
    ALL = enum.auto()
    """But that it has ended."""


class Gateway:
    """An ASGI 3 application. Constructed as `Embedded` is, but it never listens. Raises what that raises."""

    def __init__(
        self,
        config: Configuration = None,
        *,
        plugins: Iterable[type[Plugin]] = (),
        log_level: Level = "warning",
    ) -> None:
        self._plugins = tuple(plugins)
        self._log_level: Level = log_level
        self._config = self._examined(config)
        self._entered: Embedded | None = None
        """The gateway, where somebody sees to its end; `_lazy` has the one that began by itself."""
        self._token: object = None
        """The loop it lives on."""
        self._lazy: Lazy | None = None
        self._stack = AsyncExitStack()

    def _examined(self, config: Configuration) -> Configuration:
        """What is wrong with it is better told now than with the first request."""
        return compiled(config, self._plugins).plan.config

    def _made(self) -> Embedded:
        """A gateway for the loop that runs; each shell is imported where it is wanted alone."""
        if sniffio.current_async_library() == "trio":
            from stargate.trio import Gateway as OnTrio

            return OnTrio(self._config, plugins=self._plugins, log_level=self._log_level)
        from stargate.asyncio import Gateway as OnAsyncio

        return OnAsyncio(self._config, plugins=self._plugins, log_level=self._log_level)

    # ------------------------------------------------------------------------------------------ its beginning

    async def __aenter__(self) -> Self:
        self._entered = await self._stack.enter_async_context(self._made())
        self._token = anyio.lowlevel.current_token()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._stack.__aexit__(kind, error, traceback)
        finally:
            self._entered = self._token = None

    async def _running(self) -> Embedded:
        """The gateway of this loop, started if it must be."""
        token = anyio.lowlevel.current_token()
        if self._entered is not None and self._token == token:
            return self._entered
        lazy = self._lazy
        if lazy is None or lazy.over or lazy.token != token:
            lazy = self._lazy = Lazy(self._made(), token)
            lazy.start()
        await lazy.ready.wait()
        if lazy.error is not None:
            raise lazy.error
        return lazy.gateway

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self)
            except Exception as error:  # noqa: BLE001  (the server tells it, and ends)
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    # --------------------------------------------------------------------------------------------- a request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what a scope is for."""
        match scope["type"]:
            case "http":
                await self._serve(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1000, "reason": "there is no websocket here"})
            case kind:
                raise ValueError(f"stargate serves no {kind}")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = await self._running()
        data = await _request(scope, receive, gateway.plan.config.gateway.max_body_bytes)
        if data is None:
            return
        address = (scope.get("client") or ("asgi",))[0]
        bodiless = scope["method"] == "HEAD"
        outcome: Sent | Cut | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, receive, group.cancel_scope)
            try:
                answer = await call(gateway, data, address=address, bodiless=bodiless)
            except (Cut, NotRunning):
                outcome = Sent.NOTHING
            else:
                outcome = await _pass_on(answer, send)
            group.cancel_scope.cancel()
        # From here on the server is left alone with what it is told.
        if isinstance(outcome, Cut):
            raise outcome
        if outcome is Sent.NOTHING:
            await _refuse(send, gateway, _target(scope))
        elif outcome is Sent.ALL:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    """End all of it when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass  # The rest of a body that was too long.
    scope.cancel()


async def _request(scope: Scope, receive: Receive, bytes_max: int) -> bytes | None:
    """The request as bytes; None if the client left before it was whole."""
    method = scope["method"].encode("latin-1")
    target = _target(scope)
    headers = [(bytes(name), bytes(value)) for name, value in scope["headers"] if not name.startswith(b":")]
    length = dict(headers).get(b"content-length", b"")
    size = int(length) if length.isdigit() else 0
    body = bytearray()
    more = size <= bytes_max
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        size = max(size, len(body))
        more = message.get("more_body", False) and size <= bytes_max
    if size > bytes_max:
        # Few clients read an answer before all of their body has left. And bytes behind an answer, on HTTP/2,
        # are more than hypercorn bears: on trio its worker ends, and everybody's calls with it.
        with anyio.move_on_after(None if scope["http_version"].startswith("2") else LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    try:
        if size > bytes_max:
            return announce(method, target, headers, size)
        return compose(method, target, headers, bytes(body))
    except ValueError:
        return garbled(method, target, headers)


async def _pass_on(answer: Answer, send: Send) -> Sent | Cut:
    """Send an answer as it comes, all but its end; what broke it, if it broke in the middle."""
    headers = [field for field in answer.headers if field[0] not in _DROPPED]
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while piece := await answer.receive():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except OSError:
        return Sent.A_PART  # So some servers say that the client has left.
    except Cut as cut:
        return cut
    finally:
        answer.leave()
    return Sent.ALL


async def _refuse(send: Send, gateway: Embedded, target: bytes) -> None:
    """Answer for a gateway that gives no answer: it ends, or a bug of ours has struck."""
    path, _ = origin(target)
    fault = Fault(Cause.DRAINING if gateway.leaving else Cause.INTERNAL)
    dialect = gateway.plan.routes.guess(path)
    request = Request(b"", path, path, b"", [], b"", os.urandom(16).hex(), 0)
    reply = dialect.failure(fault, request.request_id)
    headers = [*answer_headers(dialect, request, reply.headers), *fault_headers(fault)]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _target(scope: Mapping[str, Any]) -> bytes:
    """The request's target, below the mount."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    path = _below(raw.partition(b"?")[0], scope.get("root_path") or "")
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _below(path: bytes, root: str) -> bytes:
    """A path without its mount's, however that is percent-encoded; as it is, if it is not below it."""
    root = root.rstrip("/")
    parts = path.split(b"/")
    depth = root.count("/") + 1
    if not root or unquote(b"/".join(parts[:depth])) != root:
        return path
    return b"/" + b"/".join(parts[depth:])


class _FromEnvironment(Gateway):
    """Configured when it starts, by the environment: a module must not fail to be imported for it."""

    def _examined(self, config: Configuration) -> Configuration:
        return None

    def _made(self) -> Embedded:
        path = os.environ.get("STARGATE_CONFIG")
        self._config = Path(path) if path else None
        return super()._made()


app: Final = _FromEnvironment()
"""What `hypercorn stargate.asgi:app` runs: the configuration is the file that STARGATE_CONFIG names, or what
`stargate serve` has without one.
"""
