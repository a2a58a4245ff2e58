"""Words: what a machine was told and what it orders, as one would tell it to a colleague.

Each is a line, and further lines where bytes went along. Bytes are read as their reader would read them, so
the connections' codecs are kept here: a head may come in two pieces, and a frame in three.

What only the shared machines are told (the pool, the breaker, the cache, the store) is shown as its `repr`,
which shows no bytes.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, assert_never

import msgspec

from stargate_core.direction import Order
from stargate_core.faults import Fault
from stargate_core.journal.readable import (
    BodyReader,
    Requests,
    Responses,
    content_type_of,
    head_lines,
    plain,
    shown,
)
from stargate_core.limits.buckets import Verdict
from stargate_core.messages import (
    AbortClient,
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    Ask,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientSent,
    ClientStalled,
    CloseClient,
    CredentialsChanged,
    Draining,
    DropUpstream,
    Emit,
    FlightBegan,
    FlightEnded,
    FlightSent,
    Follow,
    Grounded,
    HealthChanged,
    KeysChanged,
    Note,
    OpenUpstream,
    PauseAnswer,
    Publish,
    Reconfigured,
    ReleaseUpstream,
    ResumeAnswer,
    Tell,
    Ticked,
    Unanswered,
    Unfollow,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    Withdraw,
    WithdrawUpstream,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import (
    CallEnded,
    Entry,
    FetchUrl,
    Keys,
    ListModels,
    Models,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Settle,
    Statement,
    Take,
    Turn,
    VerifyToken,
    WriteEntry,
)

Told: TypeAlias = tuple[str, Sequence[str]]
"""A line, and what belongs to it."""


class Words:
    """One machine's, from its beginning on."""

    def __init__(self) -> None:
        self._heard = Requests()
        self._said = Responses()
        self._answers: dict[int, Responses] = {}
        """By lease: what Bedrock answers."""
        self._shared: dict[int, BodyReader] = {}
        """By ticket, or by flight: bodies of shared answers."""
        self._asked: dict[int, Any] = {}
        """By ticket: questions whose answers are not there yet."""

    # ------------------------------------------------------------------------------------------------- events

    def event(self, event: msgspec.Struct) -> Told:
        """What the machine was told."""
        return _plain(self._event(event))

    def _event(self, event: msgspec.Struct) -> Told:
        match event:
            case ClientSent(data):
                return f"the client sends {len(data):,} bytes", list(self._heard.feed(data))
            case UpstreamSent(lease, data):
                return f"Bedrock sends {len(data):,} bytes on lease {lease}", self._answered(lease, data)
            case AnswerSent(ticket, data):
                return f"the shared answer #{ticket} goes on, {len(data):,} bytes", self._more(ticket, data)
            case AnswerBegan(ticket):
                self._shared[ticket] = BodyReader(content_type_of(event.headers))
                told = f"the shared answer #{ticket} begins ({event.source.value}): {event.target}"
                return told, [*head_lines(b"200", event.headers), *_tried(event.attempts)]
            case AnswerFailed(ticket, fault):
                return f"the shared answer #{ticket} fails: {fault_words(fault)}", _tried(event.attempts)
            case Answered(ticket, answer):
                question = self._asked.pop(ticket, None)
                return f"#{ticket} is answered: {_answer(question, answer)}", ()
            case _:
                return _event(event) or repr(event), ()

    def _answered(self, lease: int, data: bytes) -> list[str]:
        return list(self._answers.setdefault(lease, Responses()).feed(data))

    def _more(self, number: int, data: bytes) -> list[str]:
        return list(self._shared.setdefault(number, BodyReader("")).feed(data))

    # ----------------------------------------------------------------------------------------------- commands

    def command(self, command: msgspec.Struct) -> Told:
        """What the machine orders."""
        return _plain(self._command(command))

    def _command(self, command: msgspec.Struct) -> Told:
        match command:
            case WriteClient(data):
                return f"to the client, {len(data):,} bytes", list(self._said.feed(data))
            case WriteUpstream(lease, data):
                self._answers[lease] = Responses()
                return f"to Bedrock on lease {lease}, {len(data):,} bytes", list(Requests().feed(data))
            case FlightBegan(flight):
                self._shared[flight] = BodyReader(content_type_of(command.headers))
                return f"to all who follow: it begins, from {command.target}", [
                    *head_lines(b"200", command.headers),
                    *_tried(command.attempts),
                ]
            case FlightSent(flight, data):
                return f"to all who follow, {len(data):,} bytes", self._more(flight, data)
            case FlightEnded(_, fault):
                end = "it is whole" if fault is None else f"it fails: {fault_words(fault)}"
                return f"to all who follow: {end}", _tried(command.attempts)
            case Ask(ticket, question):
                self._asked[ticket] = question
                return f"question #{ticket}: {_question(question)}", ()
            case Emit(sink, line):
                return f"a record for {sink}", [shown(line.rstrip(b"\n"), 4000)]
            case Publish(record, spans):
                traced = [f"span: {plain(span.name)}" for span in spans]
                return "the same record for whoever watches", [
                    f"{record.outcome.value} {record.status}",
                    *traced,
                ]
            case Follow(ticket, order):
                return f"order #{ticket}: {_order(order)}", ()
            case _:
                return _command(command) or repr(command), ()


def fault_words(fault: Fault) -> str:
    """A fault in one line: its cause and code, whose mistake, and in whose words."""
    row = fault.row
    named = f", {fault.aws_name} at AWS" if fault.aws_name else ""
    detail = f" ({fault.detail})" if fault.detail else ""
    blame = f"{fault.cause.name}: {row.code} {row.status}, the {row.blame.value}'s mistake{named}"
    return plain(f"{blame}: {fault.text}{detail}")


def _plain(told: Told) -> Told:
    """What is told, without what could steer a terminal."""
    line, details = told
    return plain(line), [plain(detail) for detail in details]


def _tried(attempts: Sequence[str]) -> list[str]:
    return [f"tried: {attempt}" for attempt in attempts]


def _event(event: msgspec.Struct) -> str:
    match event:
        case ClientEnded():
            return "the client closes its side: it has left"
        case ClientLost():
            return "the client's connection breaks"
        case ClientStalled():
            return "the client takes nothing"
        case ClientDrained():
            return "the client has taken everything"
        case UpstreamOpened(ticket, lease, reused):
            return f"#{ticket} is lease {lease}, {'a kept' if reused else 'a new'} connection"
        case UpstreamFailed(ticket, trouble, detail):
            return f"no lease for #{ticket}: {trouble.value}{f' ({detail})' if detail else ''}"
        case UpstreamEnded(lease):
            return f"Bedrock closes the connection of lease {lease}"
        case UpstreamLost(lease):
            return f"the connection of lease {lease} breaks"
        case CredentialsChanged(account, credentials):
            kind = "none any more" if credentials is None else type(credentials).__name__
            return f"the credentials of {_account(account)}: {kind}"
        case Unanswered(ticket, why):
            return f"#{ticket} is not answered: {why}"
        case HealthChanged(target, health):
            return f"the breaker of {target} is {health.value}"
        case KeysChanged(entries):
            return f"the keys of the store: {len(entries)}"
        case Reconfigured(generation):
            return f"configuration {generation} counts from the next request on"
        case _:
            return _event_of_ends(event)


def _event_of_ends(event: msgspec.Struct) -> str:
    match event:
        case AnswerEnded(ticket):
            return f"the shared answer #{ticket} is whole"
        case Draining(grace_ns):
            return f"the gateway is to end, within {grace_ns / 1e9:g} s"
        case Grounded():
            return "nobody follows any more"
        case Ticked():
            return "time has passed"
        case _:
            return ""


def _command(command: msgspec.Struct) -> str:
    match command:
        case CloseClient():
            return "close the client's connection"
        case AbortClient():
            return "break the client's connection"
        case OpenUpstream(ticket, endpoint, fresh):
            where = f"{endpoint.scheme}://{endpoint.authority.decode()}{endpoint.prefix}"
            return f"lease #{ticket} wanted: {where}{', on a new connection' if fresh else ''}"
        case WithdrawUpstream(ticket):
            return f"lease #{ticket} is not wanted any more"
        case ReleaseUpstream(lease):
            return f"lease {lease} goes back, clean"
        case DropUpstream(lease):
            return f"lease {lease} goes back, to be closed"
        case Withdraw(ticket):
            return f"question #{ticket} is not asked any more"
        case Unfollow(ticket):
            return f"order #{ticket} is not wanted any more"
        case PauseAnswer(ticket):
            return f"order #{ticket} is to wait"
        case ResumeAnswer(ticket):
            return f"order #{ticket} is to go on"
        case Tell(statement):
            return _statement(statement)
        case Note(level, text):
            return f"a note ({level}): {text}"
        case _:
            return ""


def _question(question: Question) -> str:
    match question:
        case Take(claims):
            wanted = ", ".join(f"{claim.cost} of {claim.bucket.key}" for claim in claims)
            return f"may this be taken: {wanted}?"
        case ReadEntry(key) | ReadKeys(key):
            return f"what is kept under {key}?"
        case Turn(target, _, repeats):
            return f"may {target} be called{' again' if repeats else ', which is on trial'}?"
        case VerifyToken():
            return f"is this signed by the {question.algorithm} key {question.key_id!r} of its issuer?"
        case RefreshCredentials(account):
            return f"are there newer credentials of {_account(account)}?"
        case FetchUrl(url):
            return f"what is at {url}?"
        case ListModels(endpoint):
            return f"which models are there at {endpoint.authority.decode()}?"
        case _:
            assert_never(question)


def _answer(question: object, answer: object) -> str:
    match answer:
        case Verdict():
            return _verdict(question, answer)
        case Entry(value, age_us):
            return f"{len(value):,} bytes, {age_us / 1e6:g} s old"
        case Keys(version, entries):
            return f"{len(entries)} keys, version {version}"
        case Models(ids):
            return f"{len(ids)} models"
        case True:
            return "yes"
        case False:
            return "no"
        case None:
            return "nothing"
        case str():
            return answer or "yes"
        case _:
            return repr(answer)


def _verdict(question: object, verdict: Verdict) -> str:
    if verdict.allowed:
        return "yes"
    which = ""
    if isinstance(question, Take) and 0 <= verdict.refused < len(question.claims):
        which = f", {question.claims[verdict.refused].bucket.key} has not so much"
    when = "never" if verdict.retry_after_us < 0 else f"in {verdict.retry_after_us / 1e6:g} s"
    return f"no{which}; {when}"


def _statement(statement: Statement) -> str:
    match statement:
        case CallEnded(target, _, ok):
            verdict = "does not speak" if ok else "speaks"
            return f"the breaker hears of a call that {verdict} against {target}"
        case Settle(charges):
            used = ", ".join(f"{charge.used} of {charge.bucket.key}" for charge in charges)
            return f"the store hears: used {used}"
        case WriteEntry(key, value):
            return f"the store is to keep {len(value):,} bytes under {key}"
        case _:
            assert_never(statement)


def _order(order: Order) -> str:
    call = order.call
    names = ", ".join(direction.name or direction.region for direction in order.directions)
    return (
        f"the answer to {call.operation.value} ({len(call.body):,} bytes) at {names}, key {order.key[:12]}…"
    )


def _account(account: str) -> str:
    return f"account {account!r}" if account else "the usual AWS chain"
