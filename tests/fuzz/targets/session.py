"""Whatever a session is told, true facts, late ones and ones about nothing, and whatever bytes client and
Bedrock send: each step keeps what the bench holds it to, and at the end nothing is held and every request has
its one record.
"""

from collections.abc import Callable, Iterator
from typing import Final

from core.gateway.test_session import ANSWERS, GOOD, LATER, PLANS, SAYINGS
from fuzz.choices import Choices
from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.session import Waiting
from stargate_core.limits.buckets import Level, Verdict
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientSent,
    ClientStalled,
    CredentialsChanged,
    Draining,
    Health,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    SessionEvent,
    Source,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
)
from stargate_core.questions import Take
from stargate_core.secret import Secret
from support.machines import MODEL, Bench

WORDS: Final = (
    b"POST /v1/chat/completions HTTP/1.1\r\n",
    b"host: h\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
)
_KINDS: Final = sorted(PLANS)
_TROUBLES: Final = tuple(Trouble)
_STEPS_MAX: Final = 80


def target(data: bytes) -> None:
    """Decide by the bytes what a session is told, and let its life end."""
    choices = Choices(data)
    bench = Bench(PLANS[choices.of(_KINDS)], later=LATER)
    told = [0]
    for _ in range(_STEPS_MAX):
        if not choices.more or bench.session.closed:
            break
        choices.of(_STEPS)(bench, choices, told)
        _check(bench)
    if not bench.session.closed:
        bench.leave(lost=choices.flag())
        bench.advance(3600 * SECOND)
    bench.settle()


def _check(bench: Bench) -> None:
    waits = len(bench.held) + len(bench.asked) + len(bench.questions) + len(bench.followed)
    assert waits <= 1, "an exchange waits for one thing at a time"
    if isinstance(bench.session.state, Waiting):
        bench.settle()


# ------------------------------------------------------------------------------------------------- the facts


def _client_asks(bench: Bench, choices: Choices, told: list[int]) -> None:
    bench.tell(ClientSent(choices.of(SAYINGS)))


def _client_sends(bench: Bench, choices: Choices, told: list[int]) -> None:
    bench.tell(ClientSent(choices.some() or b"\r"))


def _lease_opens(bench: Bench, choices: Choices, told: list[int]) -> None:
    if bench.asked:
        told[0] = 0
        bench.open(reused=choices.flag())


def _upstream_goes_on(bench: Bench, choices: Choices, told: list[int]) -> None:
    if bench.held:
        operation = bench.call.target.rpartition("/")[2]
        pieces = GOOD[operation][told[0] : told[0] + 1]
        bench.answer(*pieces)
        told[0] += 1


def _upstream_sends(bench: Bench, choices: Choices, told: list[int]) -> None:
    if bench.held:
        bench.answer(choices.of(ANSWERS) if choices.flag() else choices.some() or b"\n")


def _upstream_goes(bench: Bench, choices: Choices, told: list[int]) -> None:
    if bench.held:
        (bench.upstream_breaks if choices.flag() else bench.upstream_ends)()


def _lease_fails(bench: Bench, choices: Choices, told: list[int]) -> None:
    if bench.asked:
        bench.refuse(choices.of(_TROUBLES), "why")


def _question_is_answered(bench: Bench, choices: Choices, told: list[int]) -> None:
    if not bench.questions:
        return
    yes = choices.flag()
    if choices.flag():
        bench.fail_question()
    elif isinstance(next(iter(bench.questions.values())), Take):
        bench.reply(Verdict(yes, 1, (Level(3, 5),)))
    else:
        bench.reply(yes)


def _shared_answer(bench: Bench, choices: Choices, told: list[int]) -> None:
    if not bench.followed:
        return
    ticket = next(iter(bench.followed))
    match choices.number(4):
        case 0:
            headers = [
                (b"content-type", choices.of((b"application/vnd.amazon.eventstream", b"application/json")))
            ]
            bench.tell(AnswerBegan(ticket, choices.of(tuple(Source)), headers, age_seconds=3))
        case 1:
            bench.tell(AnswerSent(ticket, choices.of(ANSWERS) if choices.flag() else choices.some()))
        case end:
            del bench.followed[ticket]
            bench.paused.discard(ticket)
            bench.tell(
                AnswerEnded(ticket) if end == 2 else AnswerFailed(ticket, Fault(choices.of(tuple(Cause))))
            )


def _time_passes(bench: Bench, choices: Choices, told: list[int]) -> None:
    bench.advance(choices.of((0, 1, 5, 20, 70, 200)) * SECOND)


def _something_changes(bench: Bench, choices: Choices, told: list[int]) -> None:
    facts: tuple[SessionEvent, ...] = (
        Ticked(),
        ClientStalled(),
        ClientDrained(),
        KeysChanged({"a" * 64: b"{}"}),
        Reconfigured(2),
        Reconfigured(3),
        CredentialsChanged("", None),
        CredentialsChanged("", Credentials("AKID", Secret("s"))),
        Draining(choices.number(100) * SECOND),
        HealthChanged(
            f"{choices.of(('one', 'two', 'three'))}/{MODEL}", choices.of(tuple(Health)), bench.now + SECOND
        ),
    )
    bench.tell(choices.of(facts))


def _client_goes(bench: Bench, choices: Choices, told: list[int]) -> None:
    bench.leave(lost=choices.flag())


def _a_late_fact_comes(bench: Bench, choices: Choices, told: list[int]) -> None:
    number = 5000 + choices.number(4)
    facts: tuple[SessionEvent, ...] = (
        UpstreamSent(number, b"x"),
        UpstreamEnded(number),
        UpstreamLost(number),
        UpstreamFailed(number, choices.of(_TROUBLES)),
        Answered(number, choices.flag()),
        Unanswered(number, "why"),
        AnswerSent(number, b"x"),
        AnswerEnded(number),
        AnswerFailed(number, Fault(Cause.STREAM_CUT)),
    )
    bench.tell(choices.of(facts))


def _a_late_lease_comes(bench: Bench, choices: Choices, told: list[int]) -> None:
    lease, before = 10_000 + choices.number(256), len(bench.returned)
    if lease not in bench.held and bench.calls:
        bench.held[lease] = bench.calls[-1]
        bench.tell(UpstreamOpened(5000, lease, reused=False))
        assert len(bench.returned) == before + 1, "it has been ours for a moment, and goes back at once"


_Step = Callable[[Bench, Choices, list[int]], None]
_STEPS: Final[tuple[_Step, ...]] = (
    *(_client_asks, _lease_opens, _upstream_goes_on, _question_is_answered, _shared_answer, _upstream_sends),
    *(_client_sends, _upstream_goes, _lease_fails, _time_passes, _something_changes, _client_goes),
    *(_a_late_fact_comes, _a_late_lease_comes, _upstream_goes_on, _upstream_goes_on),
)


def seeds() -> Iterator[bytes]:
    """For each configuration and thing a client says: it is answered, or something happens on the way."""
    for kind in range(len(_KINDS)):
        for saying in range(len(SAYINGS)):
            for trouble in range(3, len(_STEPS)):
                yield bytes((kind, 0, saying, 3, 1, 0, 3, 1, 0, 1, 0, 2, 2, trouble, 1, 1, 2, 2, 2, 2))
