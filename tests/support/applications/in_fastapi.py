"""FastAPI with the gateway mounted below /llm, and entered in its lifespan."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

import stargate.asgi

gateway = stargate.asgi.Gateway(Path(os.environ["STARGATE_CONFIG"]))


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The gateway begins and ends with the application."""
    async with gateway:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/llm", gateway)


@app.get("/own", status_code=418)
async def own() -> None:
    """What the application has beside it."""
