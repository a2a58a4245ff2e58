"""Living again: the same events at the same times; what a machine could not have been told is refused."""

from typing import Final

import msgspec
import pytest

from stargate_core.direction import BreakerPolicy
from stargate_core.gateway.breaker import Breaker
from stargate_core.journal.digests import Digest
from stargate_core.journal.format import BreakerBeginning, Entry, Header, Unreadable
from stargate_core.journal.living import Living, check
from stargate_core.messages import CallReported, ClientSent, Ticked, TurnAsked

POLICY: Final = BreakerPolicy(failures=1)
HEADER: Final = Header(package="0", beginning=BreakerBeginning(), began_ns=5)
ENTRIES: Final = [
    Entry(5, TurnAsked(1, "here", POLICY, repeats=True)),
    Entry(6, CallReported("here", POLICY, ok=False, first=True)),
    Entry(6, Ticked()),
]


class Broken(Breaker):
    """A breaker with a bug."""

    def handle(self, now: int, event: object) -> list[object]:  # type: ignore[override]
        """Fail the second time."""
        if isinstance(event, CallReported):
            raise ZeroDivisionError
        return super().handle(now, event)  # type: ignore[arg-type, return-value]


class TestLiving:
    def test_each_step_is_what_the_machine_orders(self) -> None:
        machine, living = Breaker(), Living(Breaker(), ENTRIES)
        digest = Digest()
        for number, step in enumerate(living):
            entry = ENTRIES[number]
            commands = machine.handle(entry.now, entry.event)  # type: ignore[arg-type]
            assert (step.number, step.entry, step.commands) == (number, entry, commands)
            assert step.fold == digest.add(commands)
            assert step.raised == ""
        assert living.digest.fingerprint == digest.fingerprint
        assert living.digest.commands > 0

    def test_a_machine_that_fails_is_not_asked_again(self) -> None:
        steps = list(Living(Broken(), ENTRIES))
        assert [step.raised for step in steps] == ["", "ZeroDivisionError"]
        assert steps[-1].commands == ()


class TestCheck:
    def test_what_it_may_be_told_passes(self) -> None:
        check(HEADER, ENTRIES)

    def test_what_it_may_not_be_told_is_named(self) -> None:
        with pytest.raises(Unreadable, match="entry 1 is a ClientSent, of which no breaker is told"):
            check(HEADER, [ENTRIES[0], Entry(6, ClientSent(b""))])

    @pytest.mark.parametrize("entries", [[Entry(4, Ticked())], [Entry(9, Ticked()), Entry(8, Ticked())]])
    def test_time_does_not_go_back(self, entries: list[Entry]) -> None:
        with pytest.raises(Unreadable, match="is earlier than the one before it"):
            check(msgspec.structs.replace(HEADER), entries)
