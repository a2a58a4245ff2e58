"""Replays: the same for what is the same, and the first difference for what is not."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.format import Entry, Journal, Unreadable, read
from stargate_core.journal.replay import replay
from stargate_core.journal.write import encoded
from stargate_core.messages import Ticked, UpstreamSent
from stargate_core.plugins.registry import BUILT_IN
from support.journals import SCENARIOS, journal

WHOLE: Final = journal(SCENARIOS["exception-in-stream"]()[0])
DATA: Final = encoded(WHOLE)


def changed(number: int, **changes: Any) -> Journal:
    """The journal, with one entry changed."""
    entries = list(WHOLE.entries)
    entries[number] = msgspec.structs.replace(entries[number], **changes)
    return Journal(WHOLE.header, entries, WHOLE.trailer)


class TestReplay:
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_a_journal_of_now_is_the_same(self, scenario: str) -> None:
        for life in SCENARIOS[scenario]():
            whole = journal(life)
            verdict = replay(whole, BUILT_IN)
            assert verdict.divergence is None
            assert verdict.entries == len(whole.entries)
            assert (verdict.fingerprint, verdict.commands) == (
                whole.trailer.fingerprint,
                whole.trailer.commands,
            )

    @pytest.mark.parametrize("number", range(len(WHOLE.entries)))
    def test_it_stops_at_the_first_difference(self, number: int) -> None:
        divergence = replay(changed(number, fold=b"otherwise"), BUILT_IN).divergence
        assert divergence is not None
        assert divergence.number == number

    def test_another_event_makes_another_life(self) -> None:
        (number,) = [
            at
            for at, entry in enumerate(WHOLE.entries)
            if isinstance(entry.event, UpstreamSent) and b"exception" in entry.event.data
        ]
        verdict = replay(changed(number, event=Ticked()), BUILT_IN)
        assert verdict.divergence is not None
        assert verdict.divergence.number == number
        assert verdict.entries == number + 1
        assert verdict.fingerprint != WHOLE.trailer.fingerprint
        assert verdict.divergence.why.startswith(
            "then it ordered DropUpstream #1; Tell CallEnded; WriteClient"
        )
        assert verdict.divergence.why.endswith("; now nothing")

    def test_other_contents_of_the_same_shape_are_told_apart(self) -> None:
        seed = msgspec.structs.replace(WHOLE.header.beginning.checkpoint, seed="abc")  # type: ignore[union-attr]
        header = msgspec.structs.replace(
            WHOLE.header, beginning=msgspec.structs.replace(WHOLE.header.beginning, checkpoint=seed)
        )
        divergence = replay(Journal(header, WHOLE.entries, WHOLE.trailer), BUILT_IN).divergence
        assert divergence is not None
        assert divergence.why.startswith("it orders the same (WriteClient ")
        assert divergence.why.endswith("with other contents")

    def test_a_bug_that_is_new_is_a_difference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from stargate_core.gateway.session import Session

        def buggy(_session: Session, _now: int, _event: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(Session, "handle", buggy)
        divergence = replay(WHOLE, BUILT_IN).divergence
        assert divergence is not None
        assert divergence.why == "then the machine raised nothing, and now ZeroDivisionError"

    @given(st.integers(len(DATA) // 2, len(DATA) - 1), st.integers(0, 255))
    def test_a_damaged_journal_is_the_same_differs_or_is_unreadable(self, at: int, byte: int) -> None:
        """Whatever it says, living it raises nothing else."""
        try:
            replay(read(DATA[:at] + bytes([byte]) + DATA[at + 1 :]), BUILT_IN)
        except Unreadable:
            pass

    def test_what_no_session_is_told_is_unreadable(self) -> None:
        from stargate_core.messages import LeaseReturned

        entries = [Entry(WHOLE.header.began_ns, LeaseReturned(1, clean=True))]
        with pytest.raises(Unreadable, match="entry 0 is a LeaseReturned, of which no session is told"):
            replay(Journal(WHOLE.header, entries, WHOLE.trailer), BUILT_IN)
