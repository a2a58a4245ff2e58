"""The ticker in virtual time: every machine is called at its deadline, and none is kept by it."""

import gc
import weakref

import anyio
import anyio.lowlevel
import pytest

from stargate.asyncio_shell.ticker import Alarm, Look, Ticker, now_ns
from support.asyncio_channels import settle
from support.virtual_loop import MockClock

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000


class Machine:
    """Something with a deadline, which notes when it is ticked."""

    def __init__(self, deadline: int | None = None, *, every: int | None = None) -> None:
        self.armed: Look | None = None
        self.deadline = deadline
        self.ticks: list[int] = []
        self._every = every

    def tick(self) -> None:
        self.ticks.append(now_ns())
        self.deadline = None if self._every is None else now_ns() + self._every


def rounded(ticks: list[int], begun: int) -> list[float]:
    """When ticks came, in tenths of a second from the begin."""
    return [round((tick - begun) / SECOND, 1) for tick in ticks]


async def test_a_machine_is_ticked_at_its_deadline(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    machine = Machine(begun + 5 * SECOND)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        ticker.arm(machine)
        await anyio.sleep(4.9)
        assert machine.ticks == []
        await anyio.sleep(10)
        nursery.cancel_scope.cancel()
    assert rounded(machine.ticks, begun) == [5.0]
    assert machine.ticks[0] >= begun + 5 * SECOND


async def test_one_that_is_armed_before_the_ticker_runs_is_not_forgotten(
    autojump_clock: MockClock,
) -> None:
    ticker, begun = Ticker(), now_ns()
    machine = Machine(begun + SECOND)
    ticker.arm(machine)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        await anyio.sleep(2)
        nursery.cancel_scope.cancel()
    assert rounded(machine.ticks, begun) == [1.0]


async def test_a_deadline_may_move(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    later, sooner, never = Machine(begun + 2 * SECOND), Machine(begun + 60 * SECOND), Machine(begun + SECOND)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        for machine in (later, sooner, never):
            ticker.arm(machine)
        await anyio.sleep(0.5)
        # A deadline that moves away, or goes, need not be told.
        later.deadline = begun + 7 * SECOND
        never.deadline = None
        sooner.deadline = begun + 3 * SECOND
        ticker.arm(sooner)
        await anyio.sleep(100)
        nursery.cancel_scope.cancel()
    assert rounded(later.ticks, begun) == [7.0]
    assert rounded(sooner.ticks, begun) == [3.0]
    assert never.ticks == []


async def test_a_deadline_that_is_past_is_ticked_at_once(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    machine = Machine(begun - SECOND)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        await settle()
        ticker.arm(machine)
        await anyio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert rounded(machine.ticks, begun) == [0.0]


async def test_whoever_has_a_new_deadline_is_ticked_again(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    machine = Machine(begun + SECOND, every=2 * SECOND)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        ticker.arm(machine)
        await anyio.sleep(6)
        nursery.cancel_scope.cancel()
    assert rounded(machine.ticks, begun) == [1.0, 3.0, 5.0]


async def test_many_are_ticked_each_in_its_time(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    machines = [Machine(begun + (number * 7_919 % 1_000) * SECOND // 10) for number in range(1_000)]
    wanted = [machine.deadline for machine in machines]
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        for machine in machines:
            ticker.arm(machine)
        await anyio.sleep(101)
        nursery.cancel_scope.cancel()
    for machine, deadline in zip(machines, wanted, strict=True):
        assert deadline is not None
        (tick,) = machine.ticks
        assert deadline <= tick < deadline + SECOND // 10


async def test_one_that_is_forgotten_is_neither_ticked_nor_kept(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    machine = Machine(begun + 600 * SECOND)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        ticker.arm(machine)
        machine.deadline = begun + 300 * SECOND
        ticker.arm(machine)
        ticker.forget(machine)
        ticks, gone = machine.ticks, weakref.ref(machine)
        del machine
        gc.collect()
        assert gone() is None
        await anyio.sleep(700)
        nursery.cancel_scope.cancel()
    assert ticks == []


async def test_one_that_always_wants_to_be_ticked_does_not_stop_the_others(
    autojump_clock: MockClock,
) -> None:
    """A machine with a bug may spin; it may not take the loop with it."""

    class Spinning(Machine):
        def tick(self) -> None:
            self.ticks.append(now_ns())

    ticker, begun = Ticker(), now_ns()
    spinning = Spinning(begun)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        ticker.arm(spinning)
        with anyio.fail_after(10):
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert spinning.ticks


class Clockwork:
    """A machine as the core has them: a deadline, and nothing of the shell's."""

    def __init__(self, deadline: int | None = None) -> None:
        self.deadline = deadline


async def test_an_alarm_ticks_a_machine_that_is_nobodys_connection(autojump_clock: MockClock) -> None:
    ticker, begun = Ticker(), now_ns()
    machine, ticks = Clockwork(begun + 2 * SECOND), list[int]()

    def tick() -> None:
        ticks.append(now_ns())
        # Once more, and then nothing: whoever ticks a machine need not arm its alarm.
        machine.deadline = begun + 5 * SECOND if len(ticks) == 1 else None

    alarm = Alarm(ticker, machine, tick)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        await anyio.sleep(1)
        assert ticks == []
        alarm.arm()
        await anyio.sleep(20)
        nursery.cancel_scope.cancel()
    assert rounded(ticks, begun) == [2.0, 5.0]
    assert alarm.deadline is None


async def test_an_alarm_that_is_not_armed_is_silent(autojump_clock: MockClock) -> None:
    ticker = Ticker()
    machine, ticks = Clockwork(now_ns() + SECOND), list[int]()
    Alarm(ticker, machine, lambda: ticks.append(1))
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        await anyio.sleep(10)
        nursery.cancel_scope.cancel()
    assert ticks == []


async def test_an_alarm_that_is_armed_anew_goes_by_the_machines_deadline(
    autojump_clock: MockClock,
) -> None:
    ticker, begun = Ticker(), now_ns()
    machine, ticks = Clockwork(begun + 9 * SECOND), list[int]()

    def tick() -> None:
        ticks.append(now_ns())
        machine.deadline = None

    alarm = Alarm(ticker, machine, tick)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        alarm.arm()
        await anyio.sleep(1)
        # It is told something, and wants to be ticked sooner.
        machine.deadline = begun + 3 * SECOND
        alarm.arm()
        alarm.arm()
        await anyio.sleep(20)
        nursery.cancel_scope.cancel()
    assert rounded(ticks, begun) == [3.0]
