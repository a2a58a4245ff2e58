"""What the pure core may cost, by count: calls, bytecodes, bytes. The same on any machine, however busy.

Time is noise on a machine that others use; a count is not. The traffic is that of `bench.core`, in a session
that has had enough of it to have filled its caches. Counted are

- *calls*: what begins to run, a Python function or one in C that Python calls, as `sys.setprofile` sees it;
- *bytecodes*: the interpreter's instructions (`f_trace_opcodes`; `sys.monitoring` from Python 3.12 on);
- *bytes*, of whole exchanges: the most memory that is held meanwhile, beyond what was held before, as
  `tracemalloc` sees it;
- *blocks_kept*, of whole exchanges: how much more is allocated after each than before it, on the average of a
  hundred (`sys.getallocatedblocks`), and *cycles*: objects that only the garbage collector frees. Both are 0.

What happens inside C is one call, however long it takes. `--instructions` has valgrind count the processor's
instructions too; these have no budget, since compilers and libraries differ.

Budgets are kept for each minor version of Python, since each has bytecodes of its own. A count depends on
nothing else, not even on the seed of hashes; bytes vary by a hundred or so, and the least of several
exchanges is taken. Over a budget is what is more than 15 % above it: a release of a library may cost a call
or two. Whoever makes the core cheaper, or dearer for a reason, renews the budgets in the same commit.

    python -m bench budgets                   count, and compare; status 1 if something is over its budget
    python -m bench budgets --renew           count, and make that the budgets of this version of Python
    python -m bench budgets --instructions    with valgrind; it takes minutes
"""

import gc
import re
import subprocess
import sys
import tomllib
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

from bench import core
from bench.core import Driver, Exchange
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.messages import SessionCommand, SessionEvent

FILE: Final = Path(__file__).parents[1] / "tests" / "budgets.toml"
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
MARGIN_PERCENT: Final = 15

Counts: TypeAlias = dict[str, dict[str, int]]
"""Of each part: what was counted, and how much of it."""
Counter: TypeAlias = Callable[[Callable[[], object]], int]
"""Performs something, and counts."""

_EXCHANGES: Final = {
    "plain request": core.plain(),
    "stream of 64 events in 8 pieces": core.stream(8),
    "stream of 64 events in 64 pieces": core.stream(64),
}
_WARM_UP: Final = 20
_SEVERAL: Final = 10
_MANY: Final = 100
_TOOL: Final = 4
"""Of sys.monitoring's tools. Debuggers, coverage, profilers and optimizers have others, by agreement."""

_PREAMBLE: Final = """\
# What the pure core may cost, by count; bench/budgets.py tells of what. Written by
#
#     python -m bench budgets --renew
#
# for the version of Python it runs on; the others stay as they are.
"""


class NoBudgets(Exception):
    """None are kept for this version of Python."""


# --------------------------------------------------------------------------------------------------- counters


def _calls(perform: Callable[[], object]) -> int:
    """How many functions begin to run."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        perform()
    finally:
        sys.setprofile(before)
    return count


def _traced_bytecodes(perform: Callable[[], object]) -> int:
    """How many instructions are executed, on Python 3.11."""
    count = 0

    def instruction(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "opcode"
        return instruction

    def begin(frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return instruction

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        perform()
    finally:
        sys.settrace(before)
    return count


def _monitored_bytecodes(perform: Callable[[], object]) -> int:
    """How many instructions are executed, from Python 3.12 on."""
    monitoring: Any = vars(sys)["monitoring"]
    count = 0

    def instruction(_code: object, _offset: int) -> None:
        nonlocal count
        count += 1

    monitoring.use_tool_id(_TOOL, "bench")
    monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, instruction)
    monitoring.set_events(_TOOL, monitoring.events.INSTRUCTION)
    try:
        perform()
    finally:
        monitoring.set_events(_TOOL, monitoring.events.NO_EVENTS)
        monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, None)
        monitoring.free_tool_id(_TOOL)
    return count


COUNTERS: Final[Mapping[str, Counter]] = {
    "calls": _calls,
    "bytecodes": _monitored_bytecodes if hasattr(sys, "monitoring") else _traced_bytecodes,
}


def counted(counter: Counter, perform: Callable[[], object]) -> int:
    """What `perform` costs, without what counting it costs."""
    return counter(perform) - counter(_nothing)


def _nothing() -> None:
    """What counting itself costs."""


# --------------------------------------------------------------------------------------------------- counting


def count() -> Counts:
    """Everything that has a budget."""
    plan = core.chain()
    found: Counts = {}
    collects = gc.isenabled()
    gc.disable()
    try:
        for kind, counter in COUNTERS.items():
            for name, number in _parts(plan, counter):
                found.setdefault(name, {})[kind] = number
        for name, exchange in _EXCHANGES.items():
            found[name] |= _memory(plan, exchange)
    finally:
        if collects:
            gc.enable()
    return found


def _parts(plan: Plan, counter: Counter) -> list[tuple[str, int]]:
    """Each part, and what of this kind is counted in it."""
    whole, pieces, singles = (_steps(plan, exchange, counter) for exchange in _EXCHANGES.values())
    return [
        ("plain request", sum(whole)),
        ("request read, key checked, call composed", whole[0]),
        ("call signed and written", whole[1]),
        ("answer read, translated, logged", whole[2]),
        ("stream of 64 events in 8 pieces", sum(pieces)),
        ("first piece of 8, with the head", pieces[2]),
        ("a piece of 8 events in full flow", max(pieces[3:-1])),
        ("last piece of 8", pieces[-1]),
        ("stream of 64 events in 64 pieces", sum(singles)),
        ("an event in full flow, one to a piece", max(singles[4:-4])),
        ("a signature", counted(counter, core.sign())),
        ("decoding 64 frames", counted(counter, core.decode())),
    ]


def _steps(plan: Plan, exchange: Exchange, counter: Counter) -> list[int]:
    """The count of each step of an exchange."""
    is_warm = False

    def measure(session: Session, now: int, event: SessionEvent) -> tuple[int, list[SessionCommand]]:
        commands: list[SessionCommand] = []

        def perform() -> None:
            nonlocal commands
            commands = session.handle(now, event)
            _ = session.deadline  # a shell asks each time

        if is_warm:
            return counted(counter, perform), commands
        perform()
        return 0, commands

    driver = Driver(plan, measure)
    costs = [0] * (2 + len(exchange.answer))
    for _ in range(_WARM_UP):
        driver.live(exchange, costs)
    is_warm = True
    driver.live(exchange, costs)
    return costs


def _memory(plan: Plan, exchange: Exchange) -> dict[str, int]:
    """What an exchange holds, and what it leaves behind."""
    driver = Driver(plan, _uncounted)
    costs = [0] * (2 + len(exchange.answer))
    for _ in range(_WARM_UP):
        driver.live(exchange, costs)
    tracemalloc.start()
    try:
        most = min(_peak(lambda: driver.live(exchange, costs)) for _ in range(_SEVERAL))
    finally:
        tracemalloc.stop()
    gc.collect()
    blocks = sys.getallocatedblocks()
    for _ in range(_MANY):
        driver.live(exchange, costs)
    cycles = gc.collect()  # empties the interpreter's free lists too
    kept = max(0, sys.getallocatedblocks() - blocks)
    return {"bytes": most, "blocks_kept": kept // _MANY, "cycles": cycles // _MANY}


def _peak(perform: Callable[[], object]) -> int:
    """The most bytes that it holds beyond what was held before."""
    gc.collect()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    perform()
    _, most = tracemalloc.get_traced_memory()
    return most - before


def _uncounted(session: Session, now: int, event: SessionEvent) -> tuple[int, list[SessionCommand]]:
    commands = session.handle(now, event)
    _ = session.deadline
    return 0, commands


# -------------------------------------------------------------------------------------------------- comparing


def kept(path: Path) -> Counts:
    """The budgets of this version. Raises NoBudgets."""
    budgets: Counts | None = tomllib.loads(path.read_text()).get(VERSION) if path.exists() else None
    if budgets is None:
        raise NoBudgets(f"{path} has no budgets for Python {VERSION}")
    return budgets


def over(found: Counts, budgets: Counts) -> Iterator[str]:
    """What has gone over its budget, or has none, in words."""
    for name, kind, number, budget in _compared(found, budgets):
        if budget is None:
            yield f"{name}: {number} {kind}, and no budget"
        elif number * 100 > budget * (100 + MARGIN_PERCENT):
            yield f"{name}: {number} {kind}, and the budget is {budget}"


def _compared(found: Counts, budgets: Counts) -> Iterator[tuple[str, str, int, int | None]]:
    for name, numbers in found.items():
        for kind, number in numbers.items():
            yield name, kind, number, budgets.get(name, {}).get(kind)


def renew(path: Path, found: Counts) -> None:
    """Make this the budgets of this version."""
    versions: dict[str, Counts] = tomllib.loads(path.read_text()) if path.exists() else {}
    versions[VERSION] = found
    lines = [_PREAMBLE]
    for version in sorted(versions, key=lambda text: tuple(map(int, text.split(".")))):
        for name, numbers in versions[version].items():
            lines.append(f'["{version}"."{name}"]')
            lines += [f"{kind} = {number}" for kind, number in numbers.items()]
            lines.append("")
    path.write_text("\n".join(lines))


def _table(found: Counts, budgets: Counts) -> Iterator[str]:
    yield f"{'the core alone, Python ' + VERSION:<42}{'':<12}{'counted':>9}{'budget':>9}"
    before = ""
    for name, kind, number, budget in _compared(found, budgets):
        shown = "-" if budget is None else f"{budget:,}"
        change = f"{number / budget - 1:>+9.1%}" if budget else ""
        yield f"{name if name != before else '':<42}{kind:<12}{number:>9,}{shown:>9}{change}"
        before = name


# -------------------------------------------------------------------------------------------------- processor


def _instructions(name: str) -> int:
    """The processor's instructions for one exchange, as valgrind counts them."""
    fewer, more = (_valgrind(name, number) for number in (_MANY, 2 * _MANY))
    return (more - fewer) // _MANY


def _valgrind(name: str, number: int) -> int:
    """The instructions of a process that lives through so many exchanges."""
    script = f"from bench import budgets; budgets.live({name!r}, {number})"
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise SystemExit("--instructions needs valgrind") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"valgrind failed:\n{error.stderr}") from None
    told = re.search(r"Collected : (\d+)", done.stderr)
    assert told is not None, done.stderr
    return int(told[1])


def live(name: str, number: int) -> None:
    """So many exchanges of this name."""
    gc.disable()
    driver, exchange = Driver(core.chain(), _uncounted), _EXCHANGES[name]
    costs = [0] * (2 + len(exchange.answer))
    for _ in range(number):
        driver.live(exchange, costs)


# ---------------------------------------------------------------------------------------------------- command


def main(path: Path, *, renewed: bool, instructions: bool) -> None:
    """Count, and say what was found; status 1 if something is over its budget, 2 if there is no budget."""
    if instructions:
        for name in _EXCHANGES:
            print(f"{name:<42}{_instructions(name):>12,} instructions")
        return
    found = count()
    if renewed:
        renew(path, found)
    try:
        budgets = kept(path)
    except NoBudgets as none:
        print("\n".join(_table(found, {})))
        print(none, file=sys.stderr)
        sys.exit(2)
    print("\n".join(_table(found, budgets)))
    passed = list(over(found, budgets))
    for line in passed:
        print(f"over budget: {line}", file=sys.stderr)
    sys.exit(1 if passed else 0)
