"""An application with the gateway mounted below /llm, as frameworks mount: no lifespan reaches it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import stargate.asgi


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Everything else is somebody else's."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"].startswith("/llm/"):
        await stargate.asgi.app({**scope, "root_path": "/llm"}, receive, send)
    else:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})
