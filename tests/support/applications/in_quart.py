"""Quart beside the gateway, which a dispatcher has below /llm. It tells both when they begin and end."""

import os
from pathlib import Path
from typing import Any

from hypercorn.middleware.dispatcher import AsyncioDispatcherMiddleware
from quart import Quart

import stargate.asgi

quart = Quart(__name__)


@quart.get("/own")
async def own() -> tuple[str, int]:
    """What the application has beside it."""
    return "", 418


gateway: Any = stargate.asgi.Gateway(Path(os.environ["STARGATE_CONFIG"]))
app = AsyncioDispatcherMiddleware({"/llm": gateway, "/": quart})
