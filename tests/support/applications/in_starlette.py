"""Starlette with the gateway two mounts deep, below /api/v2 and then /llm, and entered in its lifespan."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import stargate.asgi

gateway = stargate.asgi.Gateway(Path(os.environ["STARGATE_CONFIG"]))


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """The gateway begins and ends with the application."""
    async with gateway:
        yield


def own(_: Request) -> Response:
    """What the application has beside it."""
    return Response(status_code=418)


app = Starlette(
    routes=[Route("/own", own), Mount("/api/v2", routes=[Mount("/llm", gateway)])], lifespan=lifespan
)
