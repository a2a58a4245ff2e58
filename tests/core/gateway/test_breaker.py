"""The breaker: a table of what opens and closes it, and a naive model that keeps every call it ever saw."""

import math
import statistics
from fractions import Fraction
from typing import Any, Final

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.direction import BreakerPolicy
from stargate_core.gateway import breaker
from stargate_core.gateway.breaker import Breaker
from stargate_core.messages import (
    AnswerTurn,
    BreakerCommand,
    CallReported,
    Health,
    HealthChanged,
    Note,
    TellHealth,
    Ticked,
    TurnAsked,
)

HERE: Final = "us-east-1/claude"
THERE: Final = "us-west-2/claude"
POLICY: Final = BreakerPolicy(
    failures=3,
    ratio=0.5,
    calls_min=10,
    window_ns=30 * SECOND,
    open_ns=10 * SECOND,
    open_max_ns=35 * SECOND,
    probes=1,
    retry_ratio=0.5,
    retry_min_per_second=1,
)


def policy(**changes: Any) -> BreakerPolicy:
    """POLICY, but for this."""
    return msgspec.structs.replace(POLICY, **changes)


class Bench:
    """A breaker, its time, and what it says of each target."""

    def __init__(self, **changes: Any) -> None:
        self.machine = Breaker()
        self.policy = policy(**changes)
        self.now = 0
        self.health: dict[str, Health] = {}
        self.notes: list[Note] = []

    def take(self, out: list[BreakerCommand]) -> list[BreakerCommand]:
        """Note what is told; a change and its note come together."""
        told = [one.health for one in out if isinstance(one, TellHealth)]
        notes = [one for one in out if isinstance(one, Note)]
        assert len(told) == len(notes)
        self.notes += notes
        for one in told:
            assert self.health.get(one.target, Health.CLOSED) is not one.health
            self.health[one.target] = one.health
        return out

    def report(self, *oks: bool, target: str = HERE, first: bool = True) -> Health:
        """Calls have ended so."""
        for ok in oks:
            self.take(self.machine.handle(self.now, CallReported(target, self.policy, ok, first)))
        return self.health.get(target, Health.CLOSED)

    def ask(self, *, repeats: bool = False, target: str = HERE) -> bool:
        """Ask for a turn."""
        out = self.take(self.machine.handle(self.now, TurnAsked(7, target, self.policy, repeats)))
        (answer,) = (one for one in out if isinstance(one, AnswerTurn))
        assert answer.ticket == 7
        return answer.granted

    def pass_time(self, seconds: float) -> Health:
        """Time passes, with a tick where one is due."""
        end = self.now + round(seconds * SECOND)
        while (due := self.machine.deadline) is not None and due <= end:
            self.now = due
            self.take(self.machine.handle(due, Ticked()))
        self.now = end
        return self.health.get(HERE, Health.CLOSED)

    def opened(self) -> "Bench":
        """Let HERE fail until it is left alone."""
        assert self.report(*[False] * self.policy.failures) is Health.OPEN
        return self


class TestOpening:
    def test_failures_in_a_row_open_it(self) -> None:
        bench = Bench()
        assert bench.report(False, False) is Health.CLOSED
        out = bench.machine.handle(5, CallReported(HERE, bench.policy, ok=False, first=True))
        assert out == [
            TellHealth(HealthChanged(HERE, Health.OPEN, 5 + 10 * SECOND)),
            Note(
                "warning",
                "breaker: us-east-1/claude: failed 3 times in a row: it is left alone for 10 s",
            ),
        ]
        assert bench.machine.deadline == 5 + 10 * SECOND

    def test_a_success_between_them_begins_a_new_row(self) -> None:
        assert Bench(calls_min=100).report(False, False, True, False, False) is Health.CLOSED

    def test_so_does_a_share_of_enough_calls(self) -> None:
        bench = Bench(failures=0)
        assert bench.report(*[True, False] * 4, True) is Health.CLOSED
        assert bench.report(False) is Health.OPEN
        assert "failed at 5 of 10 calls: " in bench.notes[0].text

    def test_what_is_older_than_the_window_does_not_count(self) -> None:
        bench = Bench(failures=0)
        bench.report(*[False] * 9)
        bench.pass_time(30)
        assert bench.report(*[True] * 9, False) is Health.CLOSED
        assert Bench(failures=0).report(*[False] * 9, *[True] * 9, False) is Health.OPEN

    @pytest.mark.parametrize("changes", [{"failures": 0, "ratio": 2.0}])
    def test_a_breaker_that_is_switched_off_never_opens(self, changes: dict[str, Any]) -> None:
        bench = Bench(**changes, group="g", group_size=2)
        bench.report(*[True] * 50, target=THERE)
        assert bench.report(*[False] * 50) is Health.CLOSED
        assert bench.machine.deadline is None

    def test_targets_do_not_share(self) -> None:
        bench = Bench().opened()
        assert bench.report(False, target=THERE) is Health.CLOSED
        assert bench.ask(target=THERE)
        assert not bench.ask()

    def test_another_length_of_the_window_counts_anew(self) -> None:
        """A reload has changed it: slices of one length can't be told as those of another."""
        bench = Bench()
        bench.report(False, False)
        bench.policy = policy(window_ns=SECOND)
        assert bench.report(False, False) is Health.CLOSED
        assert bench.report(False) is Health.OPEN

    def test_a_share_that_is_a_hair_below_counts_as_reached(self) -> None:
        """0.1 + 0.2 is more than 0.3, and 3 failures of 10 calls are 0.3 all the same."""
        assert Bench(failures=0, ratio=0.1 + 0.2).report(*[True] * 7, *[False] * 3) is Health.OPEN


class TestStates:
    def test_all_that_were_spoken_of_are_told_the_healthy_ones_first(self) -> None:
        bench = Bench()
        assert bench.machine.states() == []
        bench.report(False, False, False)
        bench.report(True, target=THERE)
        opened = HealthChanged(HERE, Health.OPEN, 10 * SECOND)
        assert bench.machine.states() == [HealthChanged(THERE, Health.CLOSED), opened]
        bench.machine.handle(10 * SECOND, Ticked())
        assert bench.machine.states()[1] == HealthChanged(HERE, Health.HALF_OPEN)


class TestTrial:
    def test_it_is_left_alone_for_so_long_and_then_on_trial(self) -> None:
        bench = Bench().opened()
        assert bench.pass_time(9.9) is Health.OPEN
        assert not bench.ask()
        assert bench.pass_time(0.1) is Health.HALF_OPEN
        assert bench.notes[-1] == Note("info", "breaker: us-east-1/claude: on trial")

    def test_no_tick_is_needed_for_it(self) -> None:
        bench = Bench().opened()
        bench.now += 10 * SECOND
        assert bench.ask()
        assert bench.health[HERE] is Health.HALF_OPEN

    def test_a_probe_that_goes_well_closes_it(self) -> None:
        bench = Bench().opened()
        bench.pass_time(10)
        assert bench.ask()
        assert not bench.ask()
        assert bench.report(True) is Health.CLOSED
        assert bench.notes[-1].text == "breaker: us-east-1/claude: healthy again"
        assert bench.machine.deadline is None
        # And what was before is forgotten.
        assert bench.report(False, False) is Health.CLOSED

    def test_one_that_fails_opens_it_for_twice_as_long_up_to_a_limit(self) -> None:
        bench = Bench().opened()
        for seconds in (20, 35, 35):
            bench.pass_time(40)
            assert bench.ask()
            assert bench.report(False) is Health.OPEN
            assert bench.machine.deadline == bench.now + seconds * SECOND

    def test_once_healthy_it_is_short_again(self) -> None:
        bench = Bench().opened()
        for ok in (False, True):
            bench.pass_time(20)
            assert bench.ask()
            bench.report(ok)
        bench.opened()
        assert bench.machine.deadline == bench.now + 10 * SECOND

    def test_as_many_must_go_well_as_are_on_trial_at_a_time(self) -> None:
        bench = Bench(probes=3).opened()
        bench.pass_time(10)
        assert [bench.ask() for _ in range(4)] == [True, True, True, False]
        assert bench.report(True, True) is Health.HALF_OPEN
        assert bench.ask()
        assert bench.report(True) is Health.CLOSED

    def test_a_call_that_began_before_is_not_believed(self) -> None:
        bench = Bench().opened()
        assert bench.report(True, True, False) is Health.OPEN
        bench.pass_time(10)
        assert bench.report(True, False) is Health.HALF_OPEN
        assert bench.ask()

    def test_each_trial_begins_anew(self) -> None:
        bench = Bench(probes=2).opened()
        bench.pass_time(10)
        assert [bench.ask() for _ in range(3)] == [True, True, False]
        assert bench.report(True, False) is Health.OPEN
        bench.pass_time(20)
        assert [bench.ask() for _ in range(3)] == [True, True, False]
        assert bench.report(True) is Health.HALF_OPEN
        assert bench.report(False) is Health.OPEN
        bench.pass_time(35)
        assert [bench.ask() for _ in range(3)] == [True, True, False]
        assert bench.report(False) is Health.OPEN  # the other one's turn goes with it
        bench.pass_time(35)
        assert [bench.ask() for _ in range(3)] == [True, True, False]

    def test_a_turn_that_nobody_reports_on_is_free_again_after_a_window(self) -> None:
        bench = Bench().opened()
        bench.pass_time(10)
        assert bench.ask()
        bench.pass_time(29)
        assert not bench.ask()
        bench.pass_time(1)
        assert bench.ask()

    def test_its_report_counts_when_it_comes_all_the_same(self) -> None:
        """A target all of whose answers take longer than a window must not stay on trial for ever."""
        bench = Bench().opened()
        bench.pass_time(10)
        assert bench.ask()
        bench.pass_time(300)
        assert bench.report(True) is Health.CLOSED

    def test_lost_turns_do_not_pile_up(self) -> None:
        bench = Bench(probes=2).opened()
        for _ in range(50):
            bench.pass_time(30)
            assert [bench.ask() for _ in range(3)] == [True, True, False]
        assert len(bench.machine._ailing[HERE].grants) == 4


class TestBudget:
    def test_a_quiet_target_may_be_tried_again_so_often(self) -> None:
        bench = Bench()
        assert [bench.ask(repeats=True) for _ in range(11)] == [True] * 10 + [False]
        assert bench.ask()

    def test_a_busy_one_in_proportion_to_its_first_attempts(self) -> None:
        bench = Bench(failures=0, ratio=2.0)
        bench.report(*[False] * 21)
        bench.report(*[False] * 100, first=False)
        assert [bench.ask(repeats=True) for _ in range(21)] == [True] * 20 + [False]

    def test_ten_seconds_later_all_is_forgotten(self) -> None:
        bench = Bench()
        assert all(bench.ask(repeats=True) for _ in range(10))
        bench.pass_time(8.9)
        assert not bench.ask(repeats=True)
        bench.pass_time(1.1)
        assert bench.ask(repeats=True)

    def test_none_at_all_is_a_budget_too(self) -> None:
        bench = Bench(retry_ratio=0.0, retry_min_per_second=0)
        bench.report(*[True] * 100)
        assert not bench.ask(repeats=True)

    def test_an_open_target_is_not_tried_again(self) -> None:
        assert not Bench().opened().ask(repeats=True)

    def test_at_one_on_trial_a_repetition_is_a_probe_too(self) -> None:
        bench = Bench().opened()
        bench.pass_time(10)
        assert bench.ask(repeats=True)
        assert not bench.ask()
        assert bench.report(True, first=False) is Health.CLOSED

    def test_what_is_refused_costs_nothing(self) -> None:
        bench = Bench().opened()
        bench.pass_time(10)
        assert bench.ask()
        assert not any(bench.ask(repeats=True) for _ in range(100))
        bench.report(True)
        assert all(bench.ask(repeats=True) for _ in range(10))


class TestGroups:
    NAMES: Final = ("a", "b", "c", "d")

    def bench(self, size: int = 4, **changes: Any) -> Bench:
        """Four targets that can stand in for each other, each called often enough to be compared."""
        bench = Bench(group="g", group_size=size, **changes)
        for name in self.NAMES[:size]:
            bench.report(*[True] * 20, target=name)
        return bench

    @pytest.mark.parametrize(("share", "count"), [(1.0, 4), (0.75, 3), (0.5, 2), (0.49, 1), (0.01, 1)])
    def test_only_a_share_is_left_alone_at_once(self, share: float, count: int) -> None:
        bench = self.bench(ejected_max=share, ratio=1.0)
        healths = [bench.report(False, False, False, target=name) for name in self.NAMES]
        assert healths == [Health.OPEN] * count + [Health.CLOSED] * (4 - count)

    def test_the_next_may_go_when_one_comes_back(self) -> None:
        bench = self.bench(ejected_max=0.25, ratio=1.0)
        assert bench.report(False, False, False, target="a") is Health.OPEN
        assert bench.report(False, False, False, target="b") is Health.CLOSED
        bench.pass_time(10)
        # On trial is not yet back.
        assert bench.report(False, target="b") is Health.CLOSED
        assert bench.ask(target="a")
        assert bench.report(True, target="a") is Health.CLOSED
        assert bench.report(False, target="b") is Health.OPEN

    def test_a_target_on_trial_may_always_go_back(self) -> None:
        bench = self.bench(ejected_max=0.25)
        bench.report(False, False, False, target="a")
        bench.pass_time(10)
        assert bench.ask(target="a")
        assert bench.report(False, target="a") is Health.OPEN

    @pytest.mark.parametrize("size", [2, 3, 4])
    def test_an_outlier_goes_long_before_the_ratio(self, size: int) -> None:
        bench = self.bench(size, failures=0)
        assert bench.report(*[False] * 5, target="a") is Health.CLOSED  # 5 of 25 are the margin
        assert bench.report(False, target="a") is Health.OPEN
        assert "6 of 26 calls, much more often than its like" in bench.notes[0].text

    def test_where_all_fail_alike_nobody_is_one(self) -> None:
        bench = self.bench(failures=0)
        for _ in range(8):
            for name in self.NAMES:
                assert bench.report(False, target=name) is Health.CLOSED

    def test_those_that_are_left_alone_are_nobodys_measure(self) -> None:
        bench = self.bench(3, failures=0)
        bench.report(*[False] * 6, target="c")
        assert bench.report(*[False] * 6, target="a") is Health.OPEN
        assert [bench.health.get(name) for name in "abc"] == [Health.OPEN, None, Health.OPEN]

    def test_where_they_differ_much_anyway_it_takes_more(self) -> None:
        bench = self.bench(3, failures=0, ratio=0.9)
        bench.policy = policy(failures=0, ratio=2.0, group="g", group_size=3)
        bench.report(*[True, False] * 20, target="b")  # 20 of 60; mean 1/6, deviation 1/6, limit 0.483
        bench.policy = policy(failures=0, ratio=0.9, group="g", group_size=3)
        bench.report(*[False] * 18, target="a")
        assert bench.health.get("a") is None
        assert bench.report(False, target="a") is Health.OPEN

    def test_those_that_are_hardly_called_are_nobodys_measure(self) -> None:
        bench = Bench(group="g", group_size=2, failures=0)
        bench.report(*[True] * 9, target="b")
        assert bench.report(*[True] * 20, *[False] * 9, target="a") is Health.CLOSED

    def test_nor_are_those_of_another_group(self) -> None:
        bench = self.bench(failures=0)
        bench.policy = policy(failures=0, group="h", group_size=4)
        assert bench.report(*[True] * 20, *[False] * 9, target="e") is Health.CLOSED

    def test_a_group_has_as_many_members_as_it_says(self) -> None:
        """Should somebody make one of names that callers choose, its memory is bounded too."""
        bench = Bench(group="g", group_size=3)
        for number in range(100):
            bench.report(True, target=f"t{number}")
        assert list(bench.machine._groups["g"]) == ["t97", "t98", "t99"]


class TestBounds:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Thousands of targets say no more than three."""
        monkeypatch.setattr(breaker, "TARGETS_MAX", 3)

    def known(self, bench: Bench) -> set[str]:
        """What the breaker remembers."""
        return {*bench.machine._closed, *bench.machine._ailing}

    def test_the_closed_one_used_longest_ago_is_forgotten_first(self) -> None:
        bench = Bench()
        bench.report(False, False, False, target="old and open")
        for name in ("a", "b"):
            bench.report(True, target=name)
        bench.ask(target="a")
        bench.report(True, target="c")
        assert self.known(bench) == {"old and open", "a", "c"}
        assert bench.health == {"old and open": Health.OPEN}

    def test_one_that_is_not_closed_is_told_of_when_it_is_forgotten(self) -> None:
        """Sessions keep the last they were told: of a target that nobody knows it must be "closed"."""
        bench = Bench()
        for name in ("a", "b", "c"):
            bench.now += 1
            bench.report(False, False, False, target=name)
        bench.report(True, target="d")
        assert bench.health == {"a": Health.CLOSED, "b": Health.OPEN, "c": Health.OPEN}
        assert self.known(bench) == {"b", "c", "d"}
        assert bench.machine.deadline == 2 + 10 * SECOND
        bench.pass_time(10)
        assert bench.health == {"a": Health.CLOSED, "b": Health.HALF_OPEN, "c": Health.HALF_OPEN}

    def test_the_others_are_tried_in_time_after_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(breaker, "TARGETS_MAX", 7)
        bench = Bench()
        for seconds in (1, 2, 5, 3, 4, 6, 7):
            bench.policy = policy(open_ns=seconds * SECOND)
            bench.report(False, False, False, target=f"open for {seconds}")
        bench.report(True)
        for seconds in range(2, 8):
            assert bench.machine.deadline == seconds * SECOND
            bench.pass_time(seconds - bench.now / SECOND)
            assert bench.health[f"open for {seconds}"] is Health.HALF_OPEN

    def test_groups_are_forgotten_too(self) -> None:
        bench = Bench()
        for number in range(5):
            bench.policy = policy(group=f"g{number}")
            bench.report(True)
        assert list(bench.machine._groups) == ["g2", "g3", "g4"]

    @pytest.mark.parametrize(
        ("name", "shown"),
        [("a\nERROR b", r"'a\nERROR b'"), ("x" * 3000, "x" * 200 + "…"), ("modèle", "modèle")],
    )
    def test_a_callers_name_is_one_line_of_the_log(self, name: str, shown: str) -> None:
        bench = Bench()
        bench.report(False, False, False, target=name)
        assert bench.notes[0].text == (
            f"breaker: {shown}: failed 3 times in a row: it is left alone for 10 s"
        )


# ------------------------------------------------------------------------------------------------- the model


class Seen:
    """Everything that ever happened to one target."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []
        """Reports since it was last closed, while it was: when and how."""
        self.health = Health.CLOSED
        self.until = 0
        self.opened_for = 0
        self.turns: list[int] = []
        """When turns of this trial were granted that have not been reported on."""
        self.well = 0
        self.firsts: list[int] = []
        self.repeats: list[int] = []


SMALL: Final = policy(
    failures=4, ratio=0.6, calls_min=5, window_ns=10 * SECOND, open_max_ns=25 * SECOND, probes=2
)
PAIRED: Final = msgspec.structs.replace(SMALL, group="pair", group_size=2, ejected_max=0.5)
POLICIES: Final = {"a": PAIRED, "b": PAIRED, "alone": SMALL}
NAMES: Final = st.sampled_from(sorted(POLICIES))


def recent(times: list[int], now: int, window_ns: int = 10 * SECOND) -> int:
    """How many of these lie in the last ten slices of the clock."""
    width = window_ns // breaker.SLICES
    return sum(now // width - time // width < breaker.SLICES for time in times)


class Model(RuleBasedStateMachine):
    """A breaker beside lists of everything, which are gone through at each question."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Breaker()
        self.now = 0
        self.seen = {name: Seen() for name in POLICIES}
        self.told = dict.fromkeys(POLICIES, Health.CLOSED)

    def take(self, out: list[BreakerCommand]) -> None:
        """What is told, besides the answer."""
        for one in out:
            if isinstance(one, TellHealth):
                assert self.told[one.health.target] is not one.health.health
                self.told[one.health.target] = one.health.health
                if one.health.health is Health.OPEN:
                    assert one.health.until_ns == self.seen[one.health.target].until

    def wake(self) -> None:
        """Whose time is over is on trial."""
        for seen in self.seen.values():
            if seen.health is Health.OPEN and seen.until <= self.now:
                seen.health, seen.turns, seen.well = Health.HALF_OPEN, [], 0

    @rule(passes=st.integers(0, 30_000), tick=st.booleans())
    def pass_time(self, passes: int, tick: bool) -> None:
        """Time passes, to the millisecond; the tick may be late."""
        self.now += passes * MILLISECOND
        if tick:
            self.wake()
            self.take(self.machine.handle(self.now, Ticked()))

    @rule(name=NAMES, repeats=st.booleans(), times=st.integers(1, 12))
    def ask(self, name: str, repeats: bool, times: int) -> None:
        """Somebody asks for turns."""
        self.wake()
        seen, rules = self.seen[name], POLICIES[name]
        for _ in range(times):
            out = self.machine.handle(self.now, TurnAsked(1, name, rules, repeats))
            self.take(out)
            budget = Fraction(rules.retry_ratio) * recent(seen.firsts, self.now)
            budget += rules.retry_min_per_second * 10
            granted = seen.health is not Health.OPEN
            if repeats and recent(seen.repeats, self.now) + 1 > budget:
                granted = False
            on_trial = sum(self.now - time < rules.window_ns for time in seen.turns)
            if seen.health is Health.HALF_OPEN and on_trial >= rules.probes:
                granted = False
            assert [one for one in out if isinstance(one, AnswerTurn)] == [AnswerTurn(1, granted)]
            if granted and repeats:
                seen.repeats.append(self.now)
            if granted and seen.health is Health.HALF_OPEN:
                seen.turns = [*seen.turns, self.now][-2 * rules.probes :]

    @rule(name=NAMES, oks=st.lists(st.booleans(), min_size=1, max_size=6), first=st.booleans())
    def report(self, name: str, oks: list[bool], first: bool) -> None:
        """Calls have ended."""
        self.wake()
        seen, rules = self.seen[name], POLICIES[name]
        for ok in oks:
            if first:
                seen.firsts.append(self.now)
            if seen.health is Health.CLOSED:
                seen.calls.append((self.now, ok))
                if not ok and self.should_open(name):
                    self.open(seen, rules)
            elif seen.health is Health.HALF_OPEN and seen.turns:
                seen.turns.pop(0)
                if ok:
                    seen.well += 1
                    if seen.well == rules.probes:
                        self.seen[name] = fresh = Seen()
                        fresh.firsts, fresh.repeats = seen.firsts, seen.repeats
                        seen = fresh
                else:
                    self.open(seen, rules)
            self.take(self.machine.handle(self.now, CallReported(name, rules, ok, first)))
            assert self.told[name] is seen.health

    def open(self, seen: Seen, rules: BreakerPolicy) -> None:
        """It is left alone, twice as long as the last time."""
        seen.opened_for = min(seen.opened_for * 2 or rules.open_ns, rules.open_max_ns)
        seen.health, seen.until = Health.OPEN, self.now + seen.opened_for

    def share(self, name: str) -> tuple[int, float]:
        """How many of its calls count, and which share of them failed."""
        counted = [(time, ok) for time, ok in self.seen[name].calls if recent([time], self.now)]
        return len(counted), sum(not ok for _, ok in counted) / max(1, len(counted))

    def should_open(self, name: str) -> bool:
        """Whether one that has just failed is to be left alone."""
        rules = POLICIES[name]
        others = [other for other, theirs in POLICIES.items() if theirs.group and other != name]
        others = others if rules.group else []
        if others and sum(self.seen[other].health is not Health.CLOSED for other in others) >= math.floor(
            rules.ejected_max * rules.group_size
        ):
            return False
        last = [ok for _, ok in self.seen[name].calls[-rules.failures :]]
        if len(last) == rules.failures and not any(last):
            return True
        count, share = self.share(name)
        if count < rules.calls_min:
            return False
        if share >= rules.ratio:
            return True
        shares = [self.share(other) for other in others if self.seen[other].health is Health.CLOSED]
        measures = [theirs for calls, theirs in shares if calls >= rules.calls_min]
        if not measures:
            return False
        distance = max(1.9 * statistics.pstdev(measures), 0.2)
        return share > statistics.fmean(measures) + distance

    @invariant()
    def its_deadline_is_the_first_trial(self) -> None:
        """Whether or not that is past already."""
        untils = [self.seen[name].until for name, told in self.told.items() if told is Health.OPEN]
        assert self.machine.deadline == min(untils, default=None)

    @invariant()
    def the_pair_is_never_left_alone_as_a_whole(self) -> None:
        assert Health.CLOSED in (self.told["a"], self.told["b"])


TestAgainstModel: Any = Model.TestCase
TestAgainstModel.settings = settings(max_examples=200, stateful_step_count=50)
