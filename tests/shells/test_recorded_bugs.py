"""A bug of ours in a running gateway, on both loops: it costs one call, and a journal ends with it."""

from pathlib import Path
from typing import Any, Final

import pytest

from stargate import journals
from stargate.in_memory.call import Cut
from stargate_core.gateway.session import Session
from stargate_core.journal.format import read
from stargate_core.messages import ClientSent, SessionCommand, SessionEvent
from support.embedded import LOOPS, embedded

pytestmark = pytest.mark.anyio

WORDS: Final = "strike purple otter"


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Faulty(Session):
    """A session with a bug, which strikes when the client says so."""

    __slots__ = ()

    def handle(self, now: int, event: SessionEvent) -> list[SessionCommand]:
        if isinstance(event, ClientSent) and b"strike" in event.data:
            raise AssertionError("a bug")
        return super().handle(now, event)


async def test_a_bug_leaves_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "Session", Faulty)
    config: dict[str, Any] = {
        "gateway": {"journal": {"directory": str(tmp_path)}, "drain_seconds": 1},
        "plugins": [{"name": "bedrock-proxy", "config": {"endpoint_url": "http://127.0.0.1:1"}}],
    }
    async with embedded(config) as gateway:
        with pytest.raises(Cut):
            await gateway.ask("POST", "/v1/chat/completions", WORDS.encode())
        assert (await gateway.ask("GET", "/healthz")).status == 200
    ends_with_the_bug(tmp_path)


def ends_with_the_bug(folder: Path) -> None:
    """There is one journal, which does, and has none of the words."""
    (file,) = folder.iterdir()
    data = file.read_bytes()
    whole = read(data)
    assert whole.header.cause == "AssertionError"
    assert [entry.raised for entry in whole.entries] == ["AssertionError"]
    assert whole.header.redacted
    assert [word for word in WORDS.split() if word.encode() in data] == []
