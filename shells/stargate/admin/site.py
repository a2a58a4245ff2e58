"""What there is at the admin listener, and who answers for it.

A path of the listener's own is in one table, with its methods. Anything else is asked of the running
configuration: where it has something at that path, the request is the gateway's (playground.py).

A handler may take its time only by waiting. What it computes is bounded by what it is given: bodies are at
most `BODY_BYTES_MAX`, except those for the gateway, whose own limit counts.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from stargate.admin.entry import Entry
from stargate.admin.files import INDEX, File, serve_file
from stargate.admin.messages import (
    Answer,
    Awaited,
    Refused,
    Reply,
    Request,
    Streamed,
    json_reply,
    problem,
    split_target,
)
from stargate.admin.playground import Playground
from stargate.shell_common.facts import bug
from stargate_core.wire.http1 import RequestHead

BODY_BYTES_MAX: Final = 1 << 20
"""Of what is not for the gateway: a request to be explained is the only one."""
PAGE: Final = "/page/"
_NOWHERE: Final = "nothing is at this path; the paths are in docs/admin.md"

Handler: TypeAlias = Callable[[Request, str], Awaitable[Reply | Streamed]]
"""Gets the request, and the rest of a path that ends in a name."""


class Resource(msgspec.Struct, frozen=True):
    """What is at a path, or below one that ends in a slash."""

    method: str
    handler: Handler
    streams: bool = False


class Site:
    """Answers. resources: by path. note: tells the operator of bugs."""

    def __init__(
        self,
        entry: Entry,
        files: Mapping[str, File],
        resources: Mapping[str, Resource],
        playground: Playground,
        note: Callable[[str, str], None],
    ) -> None:
        self._entry = entry
        self._files = files
        self._resources = resources
        self._playground = playground
        self._note = note

    def judge(self, head: RequestHead) -> Reply | None:
        """Whether a request may come, by its head; None: it may."""
        path, _ = split_target(head.target)
        if self._is_open(path):
            return _unbounded(head)
        refusal = self._entry.refusal(head)
        if refusal is not None:
            return refusal
        if _found(self._resources, path) is None and self._playground.takes(head):
            return None
        return _unbounded(head)

    async def answer(self, request: Request) -> Answer:
        """The answer to a request that was let in."""
        try:
            return await self._answer(request)
        except Refused as refused:
            return refused.reply
        except Exception as error:  # noqa: BLE001  (a bug of ours costs one answer)
            self._note("error", f"admin listener: {bug(error)}")
            return problem(500, "a bug in the gateway; its log on standard error says where", closes=True)

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if self._is_open(path):
            return self._open(request)
        found = _found(self._resources, path)
        if found is None:
            if self._playground.takes(request.head):
                return Awaited(lambda: self._playground.answer(request))
            return problem(404, _NOWHERE)
        resource, name = found
        _need(request, resource.method, head_too=not resource.streams)
        return await resource.handler(request, name)

    def _is_open(self, path: str) -> bool:
        return path in ("/", "/healthz") or path.startswith(PAGE)

    def _open(self, request: Request) -> Reply:
        """What everybody may have."""
        _need(request, "GET")
        if request.path == "/healthz":
            return json_reply({"status": "ok"})
        file = self._files.get(INDEX if request.path == "/" else request.path.removeprefix(PAGE))
        return problem(404, _NOWHERE) if file is None else serve_file(file, request)


def _found(resources: Mapping[str, Resource], path: str) -> tuple[Resource, str] | None:
    """What is at a path, and the name that it ends in where that is a part of it."""
    exact = resources.get(path)
    if exact is not None:
        return exact, ""
    above, slash, name = path.rpartition("/")
    below = resources.get(above + slash)
    return None if below is None or not name else (below, name)


def _need(request: Request, method: str, *, head_too: bool = True) -> None:
    """Raises Refused where it is asked with another method."""
    allowed = ["GET", "HEAD"] if method == "GET" and head_too else [method]
    if request.method not in allowed:
        said = ", ".join(allowed)
        raise Refused(problem(405, f"expected {said}", headers=[(b"allow", said.encode())]))


def _unbounded(head: RequestHead) -> Reply | None:
    """What a request is refused with whose body is too large, or may be."""
    if head.chunked:
        return problem(411, "expected a body with a content-length")
    if (head.content_length or 0) > BODY_BYTES_MAX:
        return problem(413, f"expected a body of at most {BODY_BYTES_MAX} bytes")
    return None
