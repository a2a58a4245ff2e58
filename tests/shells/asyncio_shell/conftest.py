"""Every test of the asyncio shell runs twice: on asyncio's own loop, and on uvloop's. One that moves the
clock runs on a loop of the tests' own.
"""

import importlib.util
from types import SimpleNamespace
from typing import Any, Final

import pytest

from support.virtual_loop import MockClock, VirtualLoop

_WITHOUT_UVLOOP: Final = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)
LOOPS: Final = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=_WITHOUT_UVLOOP),
]
VIRTUAL: Final = [pytest.param(("asyncio", {"loop_factory": VirtualLoop}), id="virtual")]
_CLOCKS: Final = {"mock_clock", "autojump_clock"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The loops that a test runs on."""
    if "anyio_backend" in metafunc.fixturenames:
        virtual = _CLOCKS.intersection(metafunc.fixturenames)
        metafunc.parametrize("anyio_backend", VIRTUAL if virtual else LOOPS, indirect=True)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loop."""
    return request.param


@pytest.fixture
def mock_clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """A clock that stands still until it is told to jump."""
    return _clock(monkeypatch, MockClock())


@pytest.fixture
def autojump_clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """A clock that jumps to what is due next whenever nothing else happens."""
    return _clock(monkeypatch, MockClock(autojump=True))


def _clock(monkeypatch: pytest.MonkeyPatch, clock: MockClock) -> MockClock:
    monkeypatch.setattr(VirtualLoop, "clock", clock)
    monkeypatch.setattr("stargate.asyncio_shell.ticker.time", SimpleNamespace(monotonic_ns=clock.now_ns))
    return clock
