"""The breaker: which targets are left alone for a while, and how much may be tried again.

One breaker serves all sessions of a process. A target is known by its direction's name, and of one that
nobody has spoken of everybody may assume the best. Sessions are told of each change and keep the last they
were told, so a call to a healthy target asks nothing; only a repetition, or a first call to a target on
trial, asks for a *turn*. How each call went is reported when it is over.

    closed ──── it fails ───▶ open ──── its time is over ───▶ half-open ──── probes go well ───▶ closed
                               ▲                                  │
                               └──── a probe fails: twice as long ─┘

The rules:

- A closed target opens after so many failures in a row, or where this share of the last calls failed, or
  where it fails much more often than those that can stand in for it. The last is Envoy's outlier detection
  (mean + 1.9 standard deviations) with two changes, since Envoy's needs five hosts before it can ever speak
  and a model has two or three regions: the target is compared with the others alone, and the distance is
  never less than `OUTLIER_MARGIN`, or two regions that fail now and then would take turns.
- Of a group only a share may be left alone at once (`ejected_max`), and one always may, as in Envoy. A target
  that would be one too many stays closed, and is judged again at its next failure.
- A half-open target gives out `probes` turns at a time. A report is taken for that of the oldest turn: calls
  bear no names here, and those from before the trial began are not believed unless somebody is on trial. A
  turn whose report never comes (its client has left, its session died) is free again after a window, and
  when it comes all the same it still counts.
- Reports on an open target say nothing new: they are of calls that began before.
- Repetitions are granted from a budget, for each target its own: a share of the first attempts of the last
  ten seconds and a fixed number beside, as in Finagle and linkerd. So an outage at Bedrock is met by a fifth
  more calls and not by four times as many. A turn that is refused costs nothing.

Calls are counted in slices of a window and not one by one, so memory is bounded whatever the traffic; a call
may be forgotten up to a slice early. Names can come from callers, so only `TARGETS_MAX` are known: closed
ones are forgotten first, in the order of their last use. A policy comes with each event, since it may change
with a reload; where the length of the window changes, counting starts anew.

Sources: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier,
https://linkerd.io/2/tasks/configuring-retries/, https://martinfowler.com/bliki/CircuitBreaker.html
"""

import heapq
import math
from typing import Final

from stargate_core.clock import SECOND
from stargate_core.direction import BreakerPolicy
from stargate_core.messages import (
    AnswerTurn,
    BreakerCommand,
    BreakerEvent,
    CallReported,
    Health,
    HealthChanged,
    Note,
    TellHealth,
    Ticked,
    TurnAsked,
)

TARGETS_MAX: Final = 10_000
"""Targets that are known at a time; of groups as many."""
SLICES: Final = 10
"""Of a window."""
BUDGET_WINDOW_NS: Final = 10 * SECOND
"""Over which repetitions are compared with first attempts: linkerd's default."""
OUTLIER_DEVIATIONS: Final = 1.9
OUTLIER_MARGIN: Final = 0.2
"""The least distance: with 20 calls, five failures where the others have none."""
_AS_GOOD_AS_WHOLE: Final = 1e-9
"""A share of a number, such as 0.7 of 10, may be this much below the whole number it is."""
_NAME_CHARS_SHOWN: Final = 200


class _Count:
    """How often something has happened in the last so many nanoseconds, to a slice."""

    __slots__ = ("_slices", "_total", "_width_ns")

    def __init__(self, window_ns: int) -> None:
        self._width_ns = max(1, window_ns // SLICES)
        self._slices: list[list[int]] = []
        """Number of the slice (by the clock) and how often; the oldest first."""
        self._total = 0

    def add(self, now: int) -> None:
        """It has happened."""
        self.at(now)
        number = now // self._width_ns
        if self._slices and self._slices[-1][0] == number:
            self._slices[-1][1] += 1
        else:
            self._slices.append([number, 1])
        self._total += 1

    def at(self, now: int) -> int:
        """How often by now."""
        forgotten = now // self._width_ns - SLICES
        while self._slices and self._slices[0][0] <= forgotten:
            self._total -= self._slices.pop(0)[1]
        return self._total


class _Target:
    """Everything about one target."""

    __slots__ = (
        "calls",
        "failures",
        "firsts",
        "grants",
        "health",
        "name",
        "open_ns",
        "passed",
        "repeats",
        "streak",
        "until",
        "window_ns",
    )

    def __init__(self, name: str, window_ns: int) -> None:
        self.name = name
        self.health = Health.CLOSED
        self.until = 0
        """OPEN: until when."""
        self.open_ns = 0
        """For how long it was opened last; 0: it has been healthy since."""
        self.grants: list[int] = []
        """HALF_OPEN: until when the turns that nobody has reported on are taken; the oldest first."""
        self.passed = 0
        """HALF_OPEN: probes that went well."""
        self.firsts = _Count(BUDGET_WINDOW_NS)
        self.repeats = _Count(BUDGET_WINDOW_NS)
        self.count_anew(window_ns)

    def count_anew(self, window_ns: int) -> None:
        """Forget how calls went."""
        self.window_ns = window_ns
        self.calls = _Count(window_ns)
        self.failures = _Count(window_ns)
        self.streak = 0
        """Failures in a row."""

    def has_budget(self, now: int, policy: BreakerPolicy) -> bool:
        """Whether one more repetition is within the budget."""
        fixed = policy.retry_min_per_second * (BUDGET_WINDOW_NS // SECOND)
        budget = policy.retry_ratio * self.firsts.at(now) + fixed
        return self.repeats.at(now) + 1 <= budget + _AS_GOOD_AS_WHOLE

    def has_turn(self, now: int, policy: BreakerPolicy) -> bool:
        """HALF_OPEN: whether one more may be on trial."""
        return sum(until > now for until in self.grants) < policy.probes

    def grant(self, now: int, policy: BreakerPolicy) -> None:
        """HALF_OPEN: one more is on trial."""
        self.grants.append(now + policy.window_ns)
        # Those that were never reported on must not pile up; what is on trial now is in the newer half.
        del self.grants[: -2 * policy.probes]


class Breaker:
    """Judges the targets of a process."""

    def __init__(self) -> None:
        self._closed: dict[str, _Target] = {}
        self._ailing: dict[str, _Target] = {}
        """Open or half-open. Both in the order of last use, so that the first is forgotten first."""
        self._due: list[tuple[int, str]] = []
        """A heap of the open ones, by when they are to be tried."""
        self._groups: dict[str, dict[str, None]] = {}
        """The names heard of in each group, in the order of last use."""

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: BreakerEvent) -> list[BreakerCommand]:
        """Take in a fact; what is to be done about it."""
        out: list[BreakerCommand] = []
        while self._due and self._due[0][0] <= now:
            self._try(self._ailing[heapq.heappop(self._due)[1]], out)
        match event:
            case TurnAsked(ticket, name, policy, repeats):
                target = self._target(name, policy, out)
                out.append(AnswerTurn(ticket, _grants(now, target, policy, repeats)))
            case CallReported(name, policy, ok, first):
                target = self._target(name, policy, out)
                if first:
                    target.firsts.add(now)
                self._judge(now, target, policy, ok, out)
            case Ticked():
                pass
        return out

    @property
    def deadline(self) -> int | None:
        """When the next target is to be tried; None: none is."""
        return self._due[0][0] if self._due else None

    def states(self) -> list[HealthChanged]:
        """What each target is that somebody has spoken of: first the healthy ones, the one used last behind
        the others.
        """
        healthy = [HealthChanged(name, Health.CLOSED) for name in self._closed]
        return healthy + [_told(target) for target in self._ailing.values()]

    # ------------------------------------------------------------------------------------------------ changes

    def _judge(
        self, now: int, target: _Target, policy: BreakerPolicy, ok: bool, out: list[BreakerCommand]
    ) -> None:
        match target.health:
            case Health.CLOSED:
                target.calls.add(now)
                if ok:
                    target.streak = 0
                    return
                target.failures.add(now)
                target.streak += 1
                why = self._why(now, target, policy)
                if why and self._may_open(policy):
                    self._open(now, target, policy, why, out)
            case Health.HALF_OPEN if target.grants:
                target.grants.pop(0)
                target.passed += ok
                if not ok:
                    self._open(now, target, policy, "failed its trial", out)
                elif target.passed >= policy.probes:
                    self._close(target, "healthy again", out)
            case Health.HALF_OPEN | Health.OPEN:
                pass  # A call that began before.

    def _open(
        self, now: int, target: _Target, policy: BreakerPolicy, why: str, out: list[BreakerCommand]
    ) -> None:
        target.open_ns = min(2 * target.open_ns or policy.open_ns, policy.open_max_ns)
        target.until = now + target.open_ns
        heapq.heappush(self._due, (target.until, target.name))
        self._closed.pop(target.name, None)
        self._ailing[target.name] = target
        why = f"{why}: it is left alone for {target.open_ns / SECOND:g} s"
        _tell(target, Health.OPEN, "warning", why, out)

    def _try(self, target: _Target, out: list[BreakerCommand]) -> None:
        target.grants.clear()
        target.passed = 0
        _tell(target, Health.HALF_OPEN, "info", "on trial", out)

    def _close(self, target: _Target, why: str, out: list[BreakerCommand]) -> None:
        target.open_ns = 0
        target.grants.clear()
        target.count_anew(target.window_ns)
        del self._ailing[target.name]
        self._closed[target.name] = target
        _tell(target, Health.CLOSED, "info", why, out)

    # ---------------------------------------------------------------------------------------------- judgement

    def _why(self, now: int, target: _Target, policy: BreakerPolicy) -> str:
        """Why a closed target that has just failed should open; '' if it shouldn't."""
        if 0 < policy.failures <= target.streak:
            return f"failed {target.streak} times in a row"
        calls, failures = target.calls.at(now), target.failures.at(now)
        if policy.ratio > 1 or calls < policy.calls_min:
            return ""
        if failures >= policy.ratio * calls - _AS_GOOD_AS_WHOLE:
            return f"failed at {failures} of {calls} calls"
        others = self._ratios_of_others(now, target, policy)
        if others and failures / calls > _outlying(others):
            return f"failed at {failures} of {calls} calls, much more often than its like"
        return ""

    def _ratios_of_others(self, now: int, target: _Target, policy: BreakerPolicy) -> list[float]:
        """How often the healthy others of its group fail, as far as they are called often enough to tell."""
        ratios: list[float] = []
        for name in self._groups.get(policy.group, ()):
            other = self._closed.get(name)
            if other is not None and other is not target:
                calls = other.calls.at(now)
                if calls >= policy.calls_min:
                    ratios.append(other.failures.at(now) / calls)
        return ratios

    def _may_open(self, policy: BreakerPolicy) -> bool:
        """Whether the group can do without one more of its closed ones."""
        names = self._groups.get(policy.group, ())
        ailing = sum(name in self._ailing for name in names)
        return ailing < max(1, math.floor(policy.ejected_max * policy.group_size))

    # ------------------------------------------------------------------------------------------ what is known

    def _target(self, name: str, policy: BreakerPolicy, out: list[BreakerCommand]) -> _Target:
        """The target of this name, now the one used last."""
        if policy.group:
            names = self._groups.pop(policy.group, None) or {}
            names.pop(name, None)
            names[name] = None
            if len(names) > policy.group_size:
                del names[next(iter(names))]
            self._groups[policy.group] = names
            if len(self._groups) > TARGETS_MAX:
                del self._groups[next(iter(self._groups))]
        for known in (self._closed, self._ailing):
            target = known.pop(name, None)
            if target is not None:
                known[name] = target
                if target.window_ns != policy.window_ns:
                    target.count_anew(policy.window_ns)
                return target
        if len(self._closed) + len(self._ailing) >= TARGETS_MAX:
            self._forget(out)
        target = self._closed[name] = _Target(name, policy.window_ns)
        return target

    def _forget(self, out: list[BreakerCommand]) -> None:
        if not self._closed:
            target = next(iter(self._ailing.values()))
            self._due = [due for due in self._due if due[1] != target.name]
            heapq.heapify(self._due)
            self._close(target, "forgotten: too many others are worse", out)
        del self._closed[next(iter(self._closed))]


def _grants(now: int, target: _Target, policy: BreakerPolicy, repeats: bool) -> bool:
    """Whether a call may be made; if so, it has been counted."""
    is_on_trial = target.health is Health.HALF_OPEN
    granted = (
        target.health is not Health.OPEN
        and (not repeats or target.has_budget(now, policy))
        and (not is_on_trial or target.has_turn(now, policy))
    )
    if granted and repeats:
        target.repeats.add(now)
    if granted and is_on_trial:
        target.grant(now, policy)
    return granted


def _outlying(ratios: list[float]) -> float:
    """More than this is an outlier beside these."""
    mean = sum(ratios) / len(ratios)
    deviation = math.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))
    return mean + max(OUTLIER_DEVIATIONS * deviation, OUTLIER_MARGIN)


def _told(target: _Target) -> HealthChanged:
    return HealthChanged(target.name, target.health, target.until if target.health is Health.OPEN else 0)


def _tell(target: _Target, health: Health, level: str, why: str, out: list[BreakerCommand]) -> None:
    target.health = health
    out.append(TellHealth(_told(target)))
    # Callers choose names: a line break in one must not begin a line of the log.
    name = target.name if target.name.isprintable() else ascii(target.name)
    shown = name if len(name) <= _NAME_CHARS_SHOWN else f"{name[:_NAME_CHARS_SHOWN]}…"
    out.append(Note(level, f"breaker: {shown}: {why}"))
