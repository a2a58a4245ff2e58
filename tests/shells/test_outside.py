"""What a gateway is told: by signals, and on a worker's line; what a worker says on it."""

import signal
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest
import trio

from stargate.outside import Line, Orders, Outside
from stargate.reloading import Refusal, Reloader

NEVER: Final = 3600


class Wanted(Reloader):
    """Notes what is wanted of it, and does nothing."""

    def __init__(self) -> None:
        self.wanted = 0
        self.taken: list[tuple[str | None, int]] = []
        self.refused = None

    def want(self) -> None:
        self.wanted += 1

    def take(self, text: str | None, generation: int) -> None:
        self.taken.append((text, generation))

    async def run(self) -> None:
        await trio.sleep_forever()


async def come(numbers: Sequence[int]) -> AsyncIterator[int]:
    """These signals, and then none."""
    for number in numbers:
        yield number
    await trio.sleep_forever()


async def heeded(
    *numbers: int, ours: bytes | None = None, close: bool = False
) -> tuple[Orders, Wanted, bytes]:
    """The orders after these signals, or after these bytes on a worker's line; and what it has said there."""
    reloader = Wanted()
    here, there = socket.socketpair()
    with here, there:
        orders = Orders(Outside(line=None if ours is None else Line(there)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(orders.heed, come(numbers), reloader)
            here.sendall(ours or b"")
            if close:
                here.shutdown(socket.SHUT_WR)
            with trio.move_on_after(0.2):
                await trio.sleep(NEVER)
            nursery.cancel_scope.cancel()
        here.setblocking(False)
        try:
            said = here.recv(1000)
        except BlockingIOError:
            said = b""
    return orders, reloader, said


@pytest.mark.trio
class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_one_drains_and_a_second_ends(self, number: int) -> None:
        orders, _, _ = await heeded(number)
        assert (orders.draining.is_set(), orders.ending.is_set()) == (True, False)
        orders, _, _ = await heeded(number, signal.SIGTERM)
        assert orders.ending.is_set()

    async def test_a_hangup_reloads_but_not_while_draining(self) -> None:
        orders, reloader, _ = await heeded(signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP)
        assert reloader.wanted == 2
        assert not orders.ending.is_set()

    async def test_a_worker_does_not_hear_it(self) -> None:
        here, there = socket.socketpair()
        with here, there:
            assert signal.SIGHUP not in Outside(line=Line(there)).signals
            assert signal.SIGHUP in Outside().signals


@pytest.mark.trio
class TestLine:
    async def test_a_generation_comes_with_its_text(self) -> None:
        orders, reloader, said = await heeded(ours=b'{"reload": 2, "text": "a: 1"}\n{"reload": 3, "text": nu')
        assert reloader.taken == [("a: 1", 2)]
        assert (orders.draining.is_set(), said) == (False, b"")

    async def test_a_refused_one_comes_with_its_reasons(self) -> None:
        ours = b'{"refused": ["f.yaml:1:1: no", "and no"], "at_ns": 7}\n'
        orders, reloader, _ = await heeded(ours=ours)
        assert reloader.refused == Refusal(7, ("f.yaml:1:1: no", "and no"))
        assert not orders.draining.is_set()

    async def test_to_drain_twice_is_to_drain_once(self) -> None:
        orders, _, said = await heeded(signal.SIGTERM, ours=b'{"drain": true}\n{"drain": true}\n')
        assert orders.draining.is_set()
        assert not orders.ending.is_set()
        assert said == b'{"draining": true}\n'

    async def test_to_end_is_to_wait_for_nobody(self) -> None:
        orders, _, _ = await heeded(ours=b'{"end": true}\n')
        assert orders.ending.is_set()
        assert orders.draining.is_set()

    async def test_its_end_drains(self) -> None:
        orders, _, _ = await heeded(ours=b"", close=True)
        assert (orders.draining.is_set(), orders.ending.is_set()) == (True, False)

    async def test_a_supervisor_that_is_gone_is_told_nothing(self) -> None:
        here, there = socket.socketpair()
        with there:
            here.close()
            Line(there).tell(draining=True)
