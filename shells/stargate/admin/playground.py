"""The gateway itself, at the admin listener: what is asked for at its own paths is passed on in memory.

So the page can talk to models on the origin it came from, through everything that a caller meets: keys,
limits, cache, log. The consumer's key comes in `x-api-key`; where `authorization` was the admin's token, it
goes no further. A client that leaves cancels its call.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Final

from stargate.admin.messages import Reply, Request, Streamed, problem
from stargate.in_memory.call import OF_CONNECTIONS, Cut, NotRunning, call, compose
from stargate.in_memory.channel import MemoryChannel
from stargate.shell_common.beside import Served
from stargate_core.dialects import face
from stargate_core.faults import Cause, Refused
from stargate_core.gateway.framing import origin
from stargate_core.wire.http1 import Headers, RequestHead

READY: Final = b"/readyz"
_GUARDS: Final[Headers] = [
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
]


class Playground:
    """Passes requests on. hides_token: `authorization` is the admin's own, and not for the gateway."""

    def __init__(self, gateway: Served, *, hides_token: bool) -> None:
        self._gateway = gateway
        self._hides_token = hides_token

    def takes(self, head: RequestHead) -> bool:
        """Whether the running configuration has something at this path."""
        path, query = origin(head.target)
        if path == READY:
            return True
        request = face.Request(head.method, head.target, path, query, head.headers, b"", "", 0)
        try:
            self._gateway.plan.routes.match(request)
        except Refused as refused:
            return refused.fault.cause is not Cause.ROUTE_UNKNOWN
        return True

    async def answer(self, request: Request) -> Reply | Streamed:
        """What the gateway answers, as it comes."""
        headers = [
            (name, value)
            for name, value in request.head.headers
            if not (self._hides_token and name == b"authorization")
        ]
        head = request.head
        try:
            data = compose(head.method, head.target, headers, request.body)
        except ValueError:
            return problem(400, "this method or this target cannot be passed on to the gateway")
        bodiless = head.method == b"HEAD"
        callee = _Callee(self._gateway.attend)
        try:
            answer = await call(callee, data, address=request.peer, bodiless=bodiless)
        except NotRunning:
            return problem(503, "the gateway is ending and takes no more calls", closes=True)
        except Cut:
            return problem(502, "the gateway broke the connection off before it had answered", closes=True)
        kept = [(name, value) for name, value in answer.headers if name not in OF_CONNECTIONS]
        if bodiless or answer.status in (204, 304):
            answer.leave()
            return Reply(answer.status, [*kept, *_GUARDS])

        async def pieces() -> AsyncGenerator[bytes]:
            while piece := await answer.receive():
                yield piece

        if any(name == b"content-length" for name, _ in answer.headers):
            # It is whole already, as far as the gateway is concerned: so it is here.
            try:
                return Reply(answer.status, [*kept, *_GUARDS], await answer.read())
            except Cut:
                return problem(502, "the gateway broke its answer off", closes=True)
            finally:
                answer.leave()
        return Streamed(answer.status, [*kept, *_GUARDS], pieces(), answer.leave)


class _Callee:
    """The gateway, for a call in memory."""

    def __init__(self, attend: Callable[[MemoryChannel, str], None]) -> None:
        self._attend = attend

    def connect(self, address: str = "admin") -> MemoryChannel:
        """See `stargate.in_memory.call.Callee`."""
        channel = MemoryChannel()
        try:
            self._attend(channel, address)
        except RuntimeError as error:
            raise NotRunning("the gateway has ended") from error
        return channel
