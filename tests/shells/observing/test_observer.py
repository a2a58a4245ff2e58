"""The observer on both shells: what a worker says of itself, and what it counts by the way."""

from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from stargate.credentials import Keeper
from stargate.observing.board import Boards
from stargate.observing.observer import Observer, sums_of
from stargate.observing.state import LIMITS_MAX, TARGETS_MAX, state_of
from stargate.shell_common.beside import Running, Served
from stargate_core.config.gateway_block import Gateway as GatewayBlock
from stargate_core.config.schema import Config
from stargate_core.direction import BreakerPolicy
from stargate_core.limits.buckets import Algorithm, Bucket, Claim
from stargate_core.messages import Draining
from stargate_core.questions import CallEnded, Take
from support import asyncio_scripted, scripted
from support.machines import a_config
from support.observing import record

WATCHED = a_config(gateway=GatewayBlock(admin_listen="127.0.0.1:0"))
TAKE = Take((Claim(Bucket("limit:{c=team-a}:*:requests:60f:*", Algorithm.FIXED, 10, 60_000_000), 1),), "l", 1)
SHELLS: dict[str, Any] = {"trio": scripted.bare_gateway, "asyncio": asyncio_scripted.bare_gateway}


def running(gateway: Any, notes: list[tuple[str, str]]) -> Running:
    keeper = Keeper([], wall_ns=lambda: 0, changed=lambda _: None, note=lambda *_: None)
    return Running(gateway, keeper, None, lambda level, text: notes.append((level, text)))


def on(shell: str, look: Any, config: Config = WATCHED) -> None:
    """Have this look at a gateway of the shell."""

    async def main() -> None:
        async with SHELLS[shell](config) as bare:
            await look(bare.gateway)

    anyio.run(main, backend=shell)


@pytest.fixture(name="shell", params=list(SHELLS))
def _shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_gateway_that_has_done_nothing(shell: str) -> None:
    async def look(gateway: Served) -> None:
        state = state_of(running(gateway, []))
        assert msgspec.json.decode(msgspec.json.encode(state)) == state
        assert state["generation"] == 1
        assert not state["draining"]
        assert state["statistics"]["exchanges"] == state["statistics"]["lent"] == 0
        assert (state["targets"], state["limits"], state["credentials"]) == ([], [], {})
        assert (state["store"]["kind"], state["store"]["state"]) == ("memory", "up")
        assert state["journals"] == {"directory": None, "written": 0, "skipped": 0, "reasons": {}}

    on(shell, look)


def test_limits_and_targets_are_seen(shell: str) -> None:
    policy = BreakerPolicy(failures=1, open_ns=60 * 1_000_000_000, open_max_ns=60 * 1_000_000_000)

    async def look(gateway: Any) -> None:
        gateway.enquiries.ask(1, TAKE)
        for target, ok in (("good", True), ("bad", False)):
            gateway.enquiries.tell(CallEnded(target, policy, ok, True))
        gateway.broadcast(Draining(5))
        state = state_of(running(gateway, []))
        (limit,) = state["limits"]
        assert (limit["name"], limit["scope"], limit["used"]) == ("requests_per_minute", "team-a", 1.0)
        good, bad = state["targets"]
        assert (good["name"], good["state"], good["until"]) == ("good", "closed", None)
        assert (bad["name"], bad["state"]) == ("bad", "open")
        assert bad["until"] > state["limits"][0]["seen_at"]
        assert state["draining"]

    on(shell, look)


def test_where_nobody_watches_limits_are_not_looked_at(shell: str) -> None:
    async def look(gateway: Any) -> None:
        gateway.enquiries.ask(1, TAKE)
        assert gateway.enquiries.levels is None
        assert state_of(running(gateway, []))["limits"] == []

    on(shell, look, a_config())


def test_it_fits_into_its_place_however_much_there_is(shell: str) -> None:
    policy = BreakerPolicy()

    async def look(gateway: Any) -> None:
        for number in range(2 * TARGETS_MAX):
            gateway.enquiries.tell(CallEnded(f"{number:0200}", policy, True, True))
        for number in range(2 * LIMITS_MAX):
            key = f"limit:{{c={number:080}}}:*:requests:60f:m={number:080}"
            gateway.enquiries.ask(
                number, Take((Claim(Bucket(key, Algorithm.FIXED, 9, 60_000_000), 1),), "", 1)
            )
        boards = Boards(1)
        notes: list[tuple[str, str]] = []
        Observer(boards.at(0)).look(running(gateway, notes))
        assert notes == []
        (status,) = boards.statuses()
        assert len(status.status["targets"]) == TARGETS_MAX
        assert status.status["targets"][-1]["name"].endswith(str(2 * TARGETS_MAX - 1))
        assert len(status.status["limits"]) == LIMITS_MAX

    on(shell, look)


def test_it_tells_counts_and_leaves(shell: str) -> None:
    async def look(gateway: Any) -> None:
        boards, notes = Boards(1), list[tuple[str, str]]()
        observer = Observer(boards.at(0))
        async with anyio.create_task_group() as group:
            group.start_soon(observer.run, running(gateway, notes))
            with anyio.fail_after(5):
                while not boards.statuses()[0].status:
                    await anyio.lowlevel.checkpoint()
            observer.observe(record())
            gateway.enquiries.ask(1, TAKE)
            group.cancel_scope.cancel()
        assert boards.statuses() == []
        assert boards.table("counts") == {("verdicts", "allowed"): (1,)}
        assert boards.totals().usage.requests == 1
        assert notes == []

    on(shell, look)


def test_what_it_cannot_tell_is_noted_once(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, int]:
        raise ZeroDivisionError

    async def look(gateway: Any) -> None:
        notes: list[tuple[str, str]] = []
        monkeypatch.setattr(gateway, "statistics", broken)
        observer = Observer(Boards(1).at(0))
        observer.look(running(gateway, notes))
        observer.look(running(gateway, notes))
        ((level, text),) = notes
        assert level == "error"
        assert "ZeroDivisionError" in text

    on(shell, look)


def test_sums_grow_on_the_board_by_what_they_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process's sums begin at nothing again, and are added."""

    async def look(gateway: Any) -> None:
        boards = Boards(1)
        board = boards.at(0)
        for process in (Observer(board), Observer(board)):
            for written in (2, 2, 5):
                counts = {"written": written, "beyond max_per_minute": 1}
                monkeypatch.setattr(gateway.journals, "statistics", lambda counts=counts: dict(counts))
                process.look(running(gateway, []))
        assert boards.table("counts") == {
            ("journals", "written"): (10,),
            ("journals", "beyond max_per_minute"): (2,),
        }

    on("trio", look)


def test_every_sum_has_its_name() -> None:
    state = {
        "journals": {"written": 1, "reasons": {"too large to be kept": 2}},
        "sinks": [{"path": "/dev/stdout", "written": 3, "dropped": 4}],
        "spans": {"exported": 5, "failed": 6, "dropped": 7, "queued": 8},
    }
    assert list(sums_of(state)) == [
        ("journals", "written", 1),
        ("journals", "too large to be kept", 2),
        ("lines_written", "/dev/stdout", 3),
        ("lines_dropped", "/dev/stdout", 4),
        ("spans", "exported", 5),
        ("spans", "failed", 6),
        ("spans", "dropped", 7),
    ]
    assert {("spans", result, 0) for result in ("exported", "failed", "dropped")} <= set(
        sums_of({**state, "spans": {}})
    )
