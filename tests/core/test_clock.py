"""The table of timers."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import MILLISECOND, NEVER, SECOND, TimerTable

ONE, TWO, THREE = range(3)
TIMERS: Final = (ONE, TWO, THREE)


class TestTimerTable:
    def test_at_first_nothing_is_due(self) -> None:
        timers = TimerTable(3)
        assert timers.deadline == NEVER
        assert not any(timers.due(timer, NEVER - 1) for timer in TIMERS)

    def test_a_timer_is_due_from_its_time_on(self) -> None:
        timers = TimerTable(3)
        timers.arm(TWO, 5)
        assert [timers.due(TWO, now) for now in (4, 5, 6)] == [False, True, True]
        assert timers.when(TWO) == 5
        assert not timers.due(ONE, 100)

    def test_arming_again_moves_it(self) -> None:
        timers = TimerTable(3)
        timers.arm(ONE, 5)
        timers.arm(ONE, 9)
        assert timers.deadline == 9

    def test_clearing_disarms_all(self) -> None:
        timers = TimerTable(3)
        for timer in TIMERS:
            timers.arm(timer, 1)
        timers.clear()
        assert timers.deadline == NEVER

    @given(st.lists(st.tuples(st.sampled_from(TIMERS), st.none() | st.integers(0, 100)), max_size=20))
    def test_the_deadline_is_the_earliest(self, steps: list[tuple[int, int | None]]) -> None:
        timers = TimerTable(3)
        model: dict[int, int] = {}
        for timer, at in steps:
            if at is None:
                timers.disarm(timer)
                model.pop(timer, None)
            else:
                timers.arm(timer, at)
                model[timer] = at
            assert timers.deadline == min(model.values(), default=NEVER)
            assert {each: timers.when(each) for each in TIMERS} == {
                each: model.get(each, NEVER) for each in TIMERS
            }

    def test_units_are_nanoseconds(self) -> None:
        assert SECOND == 1000 * MILLISECOND == 10**9
