"""Whatever a flight is told, in any order, and whatever bytes Bedrock sends it: it reports one beginning at
most and one end, holds nothing after it, and never waits without a limit.
"""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_flight import a_flight, direction
from core.gateway.test_session import ANSWERS, GOOD
from fuzz.choices import Choices
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.operations import Operation
from stargate_core.clock import SECOND
from stargate_core.messages import (
    Answered,
    ClientDrained,
    ClientStalled,
    CredentialsChanged,
    Draining,
    FlightEvent,
    Health,
    HealthChanged,
    Reconfigured,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamSent,
)
from stargate_core.secret import Secret
from support.flights import FlightBench
from support.machines import MODEL

_OPERATIONS: Final = (
    Operation.CONVERSE_STREAM,
    Operation.CONVERSE,
    Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM,
)
_NAMES: Final = ("converse-stream", "converse", "invoke-with-response-stream")
_STEPS_MAX: Final = 60


def target(data: bytes) -> None:
    """Decide by the bytes what a flight is told, and let its life end."""
    choices = Choices(data)
    kind = choices.number(len(_OPERATIONS))
    directions = (direction("one"), direction("two"))[: 1 + choices.number(2)]
    bench = a_flight(
        _OPERATIONS[kind], *directions, count=choices.number(3), started=choices.flag(), total_ns=60 * SECOND
    )
    told = 0
    for _ in range(_STEPS_MAX):
        if not choices.more or bench.flight.closed:
            break
        step = choices.number(10)
        if step == 0 and bench.held:
            bench.answer(*GOOD[_NAMES[kind]][told : told + 1])
            told += 1
        elif step == 1 and bench.asked:
            told = 0
            bench.open(reused=choices.flag())
        else:
            _tell(bench, choices, step)
    bench.advance(3600 * SECOND)
    assert bench.flight.closed, "it never ends"
    assert [each for each in bench.reports if each == bench.ended] == [bench.ended]


def _tell(bench: FlightBench, choices: Choices, step: int) -> None:
    match step:
        case 2 if bench.held:
            bench.answer(choices.of(ANSWERS) if choices.flag() else choices.some() or b"\n")
        case 3 if bench.asked:
            bench.refuse(choices.of(tuple(Trouble)))
        case 4 if bench.held:
            (bench.upstream_breaks if choices.flag() else bench.upstream_ends)()
        case 5 if bench.questions:
            bench.reply(choices.flag())
        case 6:
            bench.advance(choices.of((0, 1, 5, 20, 70)) * SECOND)
        case 7:
            bench.ground()
        case _:
            bench.tell(_fact(bench, choices))


def _fact(bench: FlightBench, choices: Choices) -> FlightEvent:
    number = 5000 + choices.number(4)
    facts: tuple[FlightEvent, ...] = (
        Ticked(),
        ClientStalled(),
        ClientDrained(),
        Reconfigured(1),
        CredentialsChanged("", None),
        CredentialsChanged("", Credentials("AKID", Secret("s"))),
        Draining(choices.number(100) * SECOND),
        HealthChanged(f"{choices.of(('one', 'two'))}/{MODEL}", choices.of(tuple(Health)), bench.now + SECOND),
        UpstreamSent(number, b"x"),
        UpstreamEnded(number),
        UpstreamLost(number),
        UpstreamFailed(number, choices.of(tuple(Trouble))),
        Answered(number, choices.flag()),
        Unanswered(number, "why"),
    )
    return choices.of(facts)


def seeds() -> Iterator[bytes]:
    """For each operation: it is answered, and something happens on the way."""
    for kind in range(len(_OPERATIONS)):
        for step in range(10):
            yield bytes((kind, 1, 2, 1, 1, 0, 5, 1, 1, 0, 0, 0, step, 1, 1, 1, 1, 0, 0, 0, 0, 0))
