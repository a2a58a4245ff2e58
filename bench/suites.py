"""The suites: in which order what is measured, and what is looked at meanwhile.

- `rates`, `open_loop` and `curve` keep all targets running, and take them in alternation: every other round
  backwards, so that nobody always comes first after a pause.
- `paced`, `idle` and `soak` look at memory, and so start each target anew.

Before memory is looked at each target answers a few requests: what is made once is not a crowd's. So do peers
before all else, since some compile what they are asked for; others have the load's own warm-up.

An answer of Stargate's or Envoy's that is wrong, or does not come, ends a run of `rates` or `open_loop`:
nobody should read on. In the others, and of peers, it is a result: how many a gateway loses in a crowd. A
target that could not bear a load is not asked to bear a greater one.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import gateways, peers, processes
from bench.calls import Address
from bench.figures import BASE, IdleSample, OpenSample, PacedSample, Sample, SoakSample
from bench.gateways import ENVOY, IN_PROCESS, UPSTREAM, Missing
from bench.idle import IdleTask
from bench.load import Result, Task
from bench.open_loop import OpenResult, OpenTask
from bench.paced import PacedResult, PacedTask
from bench.processes import NoResult, NotServing, Process
from bench.targets import TARGETS, Target

_WARM_UP_SECONDS_MAX: Final = 0.4
_SPARE_FILES: Final = 200
"""What a process has open beside connections, and some room."""
_POOLED: Final = 4_096
"""Stargate and Envoy have at most so many connections to upstream."""
_SOAK_STEPS: Final = 20
_SOAK_STEP_MIN: Final = 100
_STEP_SECONDS_MAX: Final = 1_200.0
_FEW: Final = 40
_WORDS_MAX: Final = 200
_WAKE_SECONDS_MAX: Final = 60.0
_SAMPLES_MIN: Final = 100
"""At a low rate it is measured for longer, so that a percentile means something."""

Say = Callable[[str], None]


class Running(msgspec.Struct):
    """A target that has been started."""

    target: Target
    process: Process


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How everything is measured."""

    rounds: int
    seconds: float
    connections: int
    writes: int
    folder: Path
    """Where the peers are."""
    files: int
    """How many a process may have open."""
    say: Say


@contextlib.contextmanager
def started(
    target: Target, upstream: Process, folder: Path, wrapper: tuple[str, ...] = ()
) -> Generator[Running]:
    """One target. Raises Missing."""
    gateway_core, load_core = processes.cores()
    if target.server == UPSTREAM:
        yield Running(target, upstream)
        return
    if target.server == ENVOY:
        starting = gateways.envoy(gateway_core, upstream.port)
    elif target.server in peers.STARTERS:
        starting = peers.STARTERS[target.server](folder, gateway_core, upstream.port)
    else:
        starting = gateways.stargate(
            target.server,
            target.settings,
            core=gateway_core,
            store_core=load_core,
            upstream_port=upstream.port,
            wrapper=wrapper,
        )
    with starting as process:
        yield Running(target, process)


def _address(running: Running) -> Address:
    process = running.process
    return Address(port=process.port, dialect=running.target.dialect, headers=process.headers)


def closed(running: Running, task: Task) -> tuple[Result, float]:
    """One run of the closed loop, and the processor time that it took the target."""
    process = running.process
    before = process.cpu_seconds()
    if running.target.server == IN_PROCESS:
        result = processes.have_done(process, task)
    else:
        result = processes.load(processes.cores()[1], "closed", task, Result)
    return result, process.cpu_seconds() - before


def measure(running: Running, kind: str, number: int, options: Options) -> Sample:
    """One sample of the closed loop."""
    task = Task(
        to=_address(running),
        load=kind,
        connections=options.connections,
        warm_up_seconds=min(_WARM_UP_SECONDS_MAX, options.seconds),
        seconds=options.seconds,
    )
    return _sample(running, kind, number, task)


def _sample(running: Running, kind: str, number: int, task: Task) -> Sample:
    result, cpu_seconds = closed(running, task)
    name, is_gateway = running.target.name, running.target.server != UPSTREAM
    if result.errors:
        errors = "\n".join(result.errors)
        raise Wrong(f"{name}, {kind}: an answer is wrong or did not come\n{errors}")
    return Sample(
        target=name,
        kind=kind,
        round=number,
        connections=task.connections,
        result=result,
        cpu_seconds=cpu_seconds if is_gateway else None,
        resident_mib=running.process.resident_mib() if is_gateway else None,
    )


class Wrong(Exception):
    """An answer is wrong, or did not come."""


FAILURES: Final = (Wrong, NotServing, NoResult)
"""What a target does not do."""


def _wake(running: Running) -> None:
    """Have a target answer some requests: what it makes once, or compiles when it is asked. Raises Wrong."""
    task = Task(to=_address(running), load="mixed", connections=4, requests=_FEW, seconds=_WAKE_SECONDS_MAX)
    result, _ = closed(running, task)
    if result.errors:
        raise Wrong(f"{running.target.name}: {result.errors[0]}")


class Suites:
    """All targets, and what has been found of them."""

    def __init__(self, targets: Sequence[Target], options: Options) -> None:
        self._targets = targets
        self._options = options
        self._load_core = processes.cores()[1]
        self.skipped: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.samples: list[Sample] = []
        self.curve_samples: list[Sample] = []
        self.open_samples: list[OpenSample] = []
        self.paced_samples: list[PacedSample] = []
        self.idle_samples: list[IdleSample] = []
        self.soak_samples: list[SoakSample] = []

    @contextlib.contextmanager
    def upstream(self) -> Generator[Process]:
        """The stand-in."""
        with gateways.upstream(self._load_core, self._options.writes) as process:
            yield process

    @contextlib.contextmanager
    def all_started(self, upstream: Process, targets: Sequence[Target]) -> Generator[list[Running]]:
        """Those that are here."""
        with contextlib.ExitStack() as stack:
            started_: list[Running] = []
            for target in targets:
                with self._or_skip(target), self._excused(target, "at the start"):
                    one = stack.enter_context(started(target, upstream, self._options.folder))
                    if target.server in peers.STARTERS:
                        _wake(one)
                    started_.append(one)
            yield started_

    @contextlib.contextmanager
    def _or_skip(self, target: Target) -> Generator[None]:
        try:
            yield
        except Missing as missing:
            if target.name not in self.skipped:
                self._options.say(f"{target.name}: skipped, {missing}")
            self.skipped[target.name] = str(missing)

    @contextlib.contextmanager
    def _excused(self, target: Target, what: str, *, everybody: bool = False) -> Generator[None]:
        """What a peer cannot do, or anybody, ends nothing: it is told."""
        try:
            yield
        except FAILURES as failure:
            if not everybody and target.server not in peers.STARTERS:
                raise
            self._failed(f"{target.name}, {what}", str(failure))

    def with_base(self, *, usual: bool) -> list[Target]:
        """The targets that have sockets, and upstream itself, whose latency is taken off.

        usual: without the other ways to run Stargate.
        """
        return [
            target
            for target in TARGETS
            if target.name == BASE
            or (target in self._targets and target.has_socket and (target.usual or not usual))
        ]

    # ------------------------------------------------------------------------------ all at the same time

    def rates(self, running: Sequence[Running], kinds: Sequence[str]) -> None:
        """Every target's rate with each load."""
        for number in range(self._options.rounds if kinds else 0):
            for kind in kinds:
                for one in _order(running, number):
                    if one.target in self._targets:
                        with self._excused(one.target, kind):
                            self.samples.append(measure(one, kind, number, self._options))
            self._say_round(number, "rates")
        self.samples.sort(key=lambda one: (kinds.index(one.kind), _place(one.target), one.round))

    def open_loop(
        self, running: Sequence[Running], kinds: Sequence[str], rates: Sequence[float], rounds: int
    ) -> None:
        """What every target adds to latency, at each rate that it bears."""
        for number in range(rounds):
            for kind in kinds:
                full: set[str] = set()
                for rate in rates:
                    for one in _order(running, number):
                        if one.target.has_socket and one.target.name not in full:
                            full.add(one.target.name)
                            with self._excused(one.target, f"{kind} at {rate:g}/s"):
                                sample = self._at_rate(one, kind, number, rate)
                                self.open_samples.append(sample)
                                if not sample.result.saturated:
                                    full.remove(one.target.name)
            self._say_round(number, "fixed rates", rounds)
        self.open_samples.sort(key=lambda one: (kinds.index(one.kind), _place(one.target), one.per_second))

    def _at_rate(self, running: Running, kind: str, number: int, rate: float) -> OpenSample:
        seconds = self._options.seconds
        task = OpenTask(
            to=_address(running),
            load=kind,
            per_second=rate,
            seconds=min(max(seconds, _SAMPLES_MIN / rate), 4 * seconds),
            warm_up_seconds=min(_WARM_UP_SECONDS_MAX, seconds),
        )
        result = processes.load(self._load_core, "open", task, OpenResult)
        if result.errors and not result.saturated:
            raise Wrong(f"{running.target.name}, {kind} at {rate:g}/s: {result.errors[0]}")
        return OpenSample(target=running.target.name, kind=kind, round=number, per_second=rate, result=result)

    def curve(self, running: Sequence[Running], sizes: Sequence[int]) -> None:
        """Every target's rate with each number of connections."""
        options = self._options
        for number in range(options.rounds):
            failed: set[str] = set()
            for connections in sizes:
                for one in _order(running, number):
                    name = one.target.name
                    if not one.target.has_socket or name in failed or not self._may(one.target, connections):
                        continue
                    failed.add(name)
                    with self._excused(one.target, f"{connections:,} connections", everybody=True):
                        self.curve_samples.append(self._with_so_many(one, connections, number))
                        failed.remove(name)
            self._say_round(number, "numbers of connections")

    def _with_so_many(self, running: Running, connections: int, number: int) -> Sample:
        # So long that a good part of the connections has another turn.
        seconds = max(self._options.seconds, self._options.seconds * connections / 2_500)
        task = Task(
            to=_address(running),
            connections=connections,
            warm_up_seconds=min(_WARM_UP_SECONDS_MAX, seconds),
            warm_up_all=True,
            seconds=seconds,
        )
        return _sample(running, "plain", number, task)

    def _failed(self, what: str, why: str) -> None:
        why = " ".join(why.split())[:_WORDS_MAX]
        self.failures[what] = why
        self._options.say(f"{what}: {why}")

    def _may(self, target: Target, connections: int) -> bool:
        """Whether the limit on open files allows so many."""
        name = target.name
        pooled = name.startswith("stargate") or target.server == ENVOY
        upstreams = min(connections, _POOLED) if pooled else connections
        needed = connections + (0 if target.server == UPSTREAM else upstreams) + _SPARE_FILES
        if needed > self._options.files:
            what = f"{name}, {connections:,} connections"
            if what not in self.failures:
                self._failed_for_files(what, needed)
            return False
        return True

    def _failed_for_files(self, what: str, needed: int) -> None:
        self._failed(what, f"they need {needed:,} open files, and there are {self._options.files:,}")

    def _say_round(self, number: int, what: str, rounds: int | None = None) -> None:
        self._options.say(f"{what}: round {number + 1} of {rounds or self._options.rounds} done")

    # ------------------------------------------------------------------------------ each by itself

    def _alone(self, target: Target, what: str, use: Callable[[Running], None]) -> None:
        """Use a target that was started anew and has answered some requests. What it cannot do is told."""
        with (
            self._or_skip(target),
            self._excused(target, what, everybody=True),
            self.upstream() as upstream,
            started(target, upstream, self._options.folder) as running,
        ):
            if target.server != UPSTREAM:
                _wake(running)
            use(running)

    def paced(self, sizes: Sequence[int], *, events: int, per_second: float, usual: bool) -> None:
        """Crowds of streams at the pace of a model."""

        def use(one: Running) -> None:
            sample = self._crowd(one, streams, events, per_second)
            self.paced_samples.append(sample)
            if sample.result.lost:
                raise Wrong(f"{sample.result.lost:,} lost: {sample.result.errors[0]}")
            borne.add(one.target.name)

        targets = self.with_base(usual=usual)
        borne = {target.name for target in targets}
        for streams in sizes:
            for target in targets:
                name = target.name
                if name in borne and name not in self.skipped and self._may(target, streams):
                    borne.remove(name)
                    self._alone(target, f"{streams:,} paced streams", use)
            self._options.say(f"{streams:,} paced streams: done")
        self.paced_samples.sort(key=lambda one: (_place(one.target), one.streams))

    def _crowd(self, one: Running, streams: int, events: int, per_second: float) -> PacedSample:
        process, is_gateway = one.process, one.target.server != UPSTREAM
        task = PacedTask(to=_address(one), streams=streams, events=events, per_second=per_second)
        most = before = process.resident_mib()

        def look() -> None:
            nonlocal most
            most = max(most, process.resident_mib())

        cpu_before = process.cpu_seconds()
        result = processes.load(self._load_core, "paced", task, PacedResult, look)
        return PacedSample(
            target=one.target.name,
            streams=streams,
            per_second=per_second,
            result=result,
            cpu_seconds=process.cpu_seconds() - cpu_before if is_gateway else None,
            kib_per_stream=(most - before) * 1024 / streams if is_gateway else None,
        )

    def idle(self, connections: int, *, usual: bool) -> None:
        """Crowds of connections that say nothing."""
        what = f"{connections:,} idle connections"

        def use(one: Running) -> None:
            sample = self._silent(one, connections)
            self.idle_samples.append(sample)
            if sample.errors:
                raise Wrong(sample.errors[0])

        for target in self.with_base(usual=usual):
            if target.server == UPSTREAM or target.name in self.skipped:
                continue
            # Upstream sees 64 of them at a time.
            if (needed := connections + _SPARE_FILES) > self._options.files:
                self._failed_for_files(f"{target.name}, {what}", needed)
                continue
            self._alone(target, what, use)
            self._options.say(f"{target.name}: {what} done")

    def _silent(self, one: Running, connections: int) -> IdleSample:
        process = one.process
        before = process.resident_mib()
        seen: dict[str, float] = {}

        def look(word: str) -> None:
            if word == "open":
                process.wait_until_open(connections)
            seen[word] = process.resident_mib()

        task = IdleTask(to=_address(one), connections=connections)
        result = processes.hold(self._load_core, task, look)
        return IdleSample(
            target=one.target.name,
            connections=connections,
            answers=result.answers,
            errors=result.errors,
            kib_silent=(seen["open"] - before) * 1024 / connections,
            kib_asked=(seen["asked"] - before) * 1024 / connections,
        )

    def soak(self, requests: int) -> None:
        """Memory over many requests."""
        steps = max(1, min(_SOAK_STEPS, requests // _SOAK_STEP_MIN))

        def use(one: Running) -> None:
            counts: list[int] = []
            memory: list[float] = []
            for number in range(1, steps + 1):
                task = Task(
                    to=_address(one),
                    connections=self._options.connections,
                    requests=requests // steps,
                    seconds=_STEP_SECONDS_MAX,
                )
                result, _ = closed(one, task)
                if result.errors:
                    raise Wrong(f"after {counts[-1] if counts else 0:,} requests: {result.errors[0]}")
                counts.append(requests // steps * number)
                memory.append(one.process.resident_mib())
            self.soak_samples.append(SoakSample(target=one.target.name, requests=counts, resident_mib=memory))
            self._options.say(f"{one.target.name}: {counts[-1]:,} requests done")

        for target in filter(is_soaked, self._targets):
            self._alone(target, "soak", use)


def is_soaked(target: Target) -> bool:
    """Stargate on each of its loops, as it is: not its variants, and nobody else."""
    return target.name.startswith("stargate") and target.usual and not target.settings.redis


def _order(running: Sequence[Running], number: int) -> Sequence[Running]:
    return running if number % 2 == 0 else running[::-1]


def _place(name: str) -> int:
    return [target.name for target in TARGETS].index(name)
