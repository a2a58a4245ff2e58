"""The link: a process's one connection to the Redis that several gateways share.

It promises those who ask an answer or a failure within the deadline (50 ms), whatever becomes of the server:
stopped, hanging, slow, restarted, full, or never there at all. Whether a request passes without an answer is
the asker's policy; that it does not wait is the link's.

The rules:

- Calls are pipelined: whatever is asked is written at once, and answers come in the order of the calls. So a
  call that was given up keeps its place in the queue until its answer comes, or the connection ends.
- The deadline counts from the ask, also while the link connects. What was asked while the link is known to
  be down fails at once: nobody waits for what can't come, and nothing piles up.
- Three deadlines missed in a row and the link is down: the connection is closed and made anew, after pauses
  that grow (full jitter, as in AWS's "Exponential Backoff And Jitter"). A miss counts only if its call was
  asked after the one before was missed, so that one hiccup, a fork of a large server for instance, counts
  once however many it hits. An answer in time ends the row.
- A lost connection, an answer that makes no sense, and an error that the next call would get too (`READONLY`
  and its like) are the same. Other errors are their call's alone.
- The link is up when its greeting has gone well, and within the deadline: a server that is too slow to be of
  use stays down, rather than up for three calls and down again.
- The operator is told once when it goes down, and once when it is up again. Of errors that are a call's alone
  too, but once a minute at the most: a server that is full refuses call after call.
- The pauses start anew only after a connection that has lasted: a server that greets and then fails is
  not asked ten times a second.

What is taken and given back:

- A Take that was given up, at its deadline or by its asker, may be allowed all the same. If the answer still
  comes, everything is given back at once. If the connection ends before, it stays taken until its
  windows pass and its lease expires: nobody can know.
- A Settle that was told while the link is down is kept, up to a bound (the oldest go), and sent once it is
  up: some at a time, so that nobody's call queues behind ten thousand of them. One whose answer was not there
  when the connection broke is *not* sent again. It may have been carried out, and what is charged twice hurts
  a caller for a month, where what is not charged was merely cheap. One that the server has refused, saying
  that it is not the one to be told now, goes back to the others.
- A script that the server has forgotten (`NOSCRIPT`) was not run, so the call is repeated, once.
- Entries are a cache's: while the link is down they are neither found nor kept.

The link has four phases and is bookkeeping apart from them, so it has methods for its events, and no table.
"""

import enum
from collections import deque
from typing import Final, TypeAlias

from stargate_core.clock import MILLISECOND, NEVER, SECOND
from stargate_core.entropy import Entropy
from stargate_core.gateway.redis_calls import (
    DOWN_CODES,
    Step,
    Words,
    answer_of,
    given_back,
    greeting,
    in_full,
    words_of,
)
from stargate_core.gateway.redis_calls import LinkSettings as LinkSettings
from stargate_core.limits.buckets import Verdict
from stargate_core.messages import (
    AnswerStore,
    CloseStore,
    Draining,
    FailStore,
    Note,
    OpenStore,
    StoreAsked,
    StoreCommand,
    StoreEvent,
    StoreLost,
    StoreOpened,
    StoreSent,
    StoreTold,
    StoreUnasked,
    Ticked,
    WriteStore,
)
from stargate_core.questions import ReadEntry, ReadKeys, Settle, StoreQuestion, StoreStatement, Take
from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import BadReply, ErrorReply, Push, Reply, ReplyReader, packed, pipeline

_SLICE: Final = 100
"""Kept settlements on their way at once: 2 ms of a server's time, or thereabouts."""
_DOUBLINGS_MAX: Final = 16
_COMPLAINT_NS: Final = 60 * SECOND
_TOO_NEW: Final = ("ERR", "NOPROTO")
"""What a server that has no HELLO, or no RESP3, answers to `HELLO 3`."""

_Asked: TypeAlias = StoreQuestion | StoreStatement
_QUESTIONS: Final = (Take, ReadEntry, ReadKeys)
_SCRIPTED: Final = (Take, ReadKeys, Settle)


class _Phase(enum.Enum):
    """How far the connection is."""

    CLOSED = 0
    OPENING = 1
    GREETING = 2
    READY = 3


class _Call:
    """Something said, or to be said, to the server."""

    __slots__ = ("asked", "give_up_at", "kept", "over", "repeated", "ticket")

    def __init__(self, asked: _Asked | None, ticket: int | None, give_up_at: int) -> None:
        self.asked = asked
        """None: whether it lives."""
        self.ticket = ticket
        """None: nobody waits, or nobody any more."""
        self.give_up_at = give_up_at
        self.over = False
        """Answered, or too late for that."""
        self.repeated = False
        self.kept = False
        """It comes from the backlog."""


class RedisLink:
    """One connection to a Redis server, for all who ask the store."""

    def __init__(self, *, settings: LinkSettings, seed: int, wall_epoch_ns: int) -> None:
        self._settings = settings
        self._entropy = Entropy(seed)
        self.wall_epoch_ns = wall_epoch_ns
        """Wall time when `now` is 0, in nanoseconds since 1970. May be written at any time."""
        self._prefix = settings.prefix.encode()
        self._phase = _Phase.CLOSED
        self._timer = 0
        """The phase's own: CLOSED: when to connect; OPENING, GREETING: when to give up; READY: when to ask
        whether it lives.
        """
        self._failures = 0
        """Connections that have failed one after the other."""
        self._ready_at = 0
        self._down_since: int | None = None
        self._why_down = ""
        self._complains_at = 0
        """When the operator may be told of another call that the server refuses."""
        self._misses = 0
        self._missed_at = 0

        self._reader = ReplyReader(settings.reply_bytes_max)
        self._steps: deque[Step] = deque()
        """Of the greeting, those that wait for their answer; what was wrong with the others, and whether the
        server knows no HELLO.
        """
        self._trouble = ""
        self._too_new = False

        self._flight: deque[_Call] = deque()
        """Calls that are written, in the order of their answers."""
        self._due: deque[_Call] = deque()
        """Calls whose deadline is to come, in that order; among them some that are over."""
        self._tickets: dict[int, _Call] = {}
        """Those somebody waits for; those of them that are not written yet."""
        self._waiting: dict[int, _Call] = {}

        self._backlog: deque[Settle] = deque()
        self._dropped = False
        self._kept_in_flight = 0
        self._slice = _SLICE
        self._writes: list[bytes] = []
        """What is to be written at the end of this step."""

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: StoreEvent) -> list[StoreCommand]:
        """Take in a fact; what is to be done about it."""
        out: list[StoreCommand] = []
        # The commonest first, and without patterns, which take three times as long.
        if isinstance(event, StoreSent):
            self._received(now, event.data, out)
        elif isinstance(event, StoreAsked):
            self._ask(now, event.ticket, event.question, out)
        elif isinstance(event, StoreTold):
            self._tell(now, event.statement, out)
        else:
            self._hear(now, event, out)
        writes = self._writes
        if writes:
            out.append(WriteStore(writes[0] if len(writes) == 1 else b"".join(writes)))
            writes.clear()
        due = self._due
        while due and due[0].over:
            due.popleft()
        return out

    def _hear(
        self,
        now: int,
        event: StoreUnasked | StoreOpened | StoreLost | Draining | Ticked,
        out: list[StoreCommand],
    ) -> None:
        """The other facts."""
        match event:
            case Ticked():
                self._tick(now, out)
            case StoreUnasked(ticket):
                self._forget(ticket)
            case StoreOpened():
                if self._phase is _Phase.OPENING:
                    self._greet(now, self._settings.protocol)
            case StoreLost(detail):
                if self._phase is not _Phase.CLOSED:
                    self._fail(now, detail, out, lost=True)
            case Draining():
                self._drain(now, out)

    @property
    def deadline(self) -> int | None:
        """When something is due: always, for a link that is down tries again and one that is up is asked."""
        due = self._due
        return min(due[0].give_up_at, self._timer) if due else self._timer

    @property
    def up(self) -> bool:
        """Whether it could be asked at this moment."""
        return self._phase is _Phase.READY

    def statistics(self) -> dict[str, int]:
        """How much is on its way, and how much is kept for later."""
        return {"up": int(self.up), "calls": len(self._flight), "backlog": len(self._backlog)}

    # ------------------------------------------------------------------------------------------------- asking

    def _ask(self, now: int, ticket: int, question: StoreQuestion, out: list[StoreCommand]) -> None:
        if self._down_since is not None:
            out.append(FailStore(ticket, self._why_down))
            return
        call = _Call(question, ticket, now + self._settings.deadline_ns)
        self._tickets[ticket] = call
        self._due.append(call)
        if self._phase is _Phase.READY:
            self._send(now, call, out)
        else:
            self._waiting[ticket] = call

    def _tell(self, now: int, statement: StoreStatement, out: list[StoreCommand]) -> None:
        if self._phase is _Phase.READY:
            if isinstance(statement, Settle) or len(statement.value) <= self._settings.entry_bytes_max:
                self._say(now, statement, out)
        elif isinstance(statement, Settle):
            self._keep(statement, out)

    def _say(self, now: int, asked: _Asked | None, out: list[StoreCommand], *, kept: bool = False) -> None:
        """Write a call for whose answer nobody waits."""
        call = _Call(asked, None, now + self._settings.deadline_ns)
        call.kept = kept
        self._due.append(call)
        self._send(now, call, out)

    def _send(self, now: int, call: _Call, out: list[StoreCommand]) -> None:
        """Write a call."""
        try:
            words = [b"PING"] if call.asked is None else self._words(now, call.asked)
        except ValueError:
            call.over = True
            self._fail_ticket(call, "the question can't be written: a name in it is no UTF-8", out)
            return
        self._writes.append(packed(words))
        self._flight.append(call)
        self._kept_in_flight += call.kept
        self._timer = now + self._settings.ping_ns

    def _words(self, now: int, asked: _Asked) -> Words:
        return words_of(asked, self._prefix, (self.wall_epoch_ns + now) // 1000)

    def _forget(self, ticket: int) -> None:
        """Nobody waits for it any more; if it is written, its answer still has to be seen."""
        call = self._tickets.pop(ticket, None)
        if call is not None:
            call.ticket = None
            if self._waiting.pop(ticket, None) is not None:
                call.over = True

    def _fail_ticket(self, call: _Call, why: str, out: list[StoreCommand]) -> None:
        """Whoever waits for this call waits no longer."""
        if call.ticket is not None:
            del self._tickets[call.ticket]
            self._waiting.pop(call.ticket, None)
            out.append(FailStore(call.ticket, why))
            call.ticket = None

    # ------------------------------------------------------------------------------------------------ answers

    def _received(self, now: int, data: bytes, out: list[StoreCommand]) -> None:
        if self._phase is _Phase.READY:
            self._timer = now + self._settings.ping_ns
        elif self._phase is not _Phase.GREETING:
            return
        reader = self._reader
        try:
            reader.receive_data(data)
            while (reply := reader.next_reply()) is not NEED_DATA:
                if isinstance(reply, Push):
                    continue
                if self._steps:
                    self._greeted(now, self._steps.popleft(), reply, out)
                elif self._flight:
                    self._answered(now, self._flight.popleft(), reply, out)
                else:
                    raise BadReply("it answers what was not asked")
                if self._reader is not reader:
                    return  # That was the end of the connection.
        except BadReply as error:
            self._fail(now, str(error), out)

    def _answered(self, now: int, call: _Call, reply: Reply, out: list[StoreCommand]) -> None:
        if isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT" and self._repeat(now, call):
            return
        if not call.over:
            # A late one is over: its deadline was told before.
            call.over = True
            self._misses = 0
        self._kept_in_flight -= call.kept
        if isinstance(reply, ErrorReply):
            self._refused(now, call, reply.code, out)
        else:
            asked = call.asked
            if isinstance(asked, _QUESTIONS):
                self._answer(now, call, asked, reply, out)
        if self._backlog and self._phase is _Phase.READY:
            self._catch_up(now, out)

    def _answer(
        self, now: int, call: _Call, question: StoreQuestion, reply: Reply, out: list[StoreCommand]
    ) -> None:
        """Pass an answer on, or undo what was done for nobody."""
        ticket = call.ticket
        if ticket is None and not isinstance(question, Take):
            return
        try:
            answer = answer_of(question, reply, (self.wall_epoch_ns + now) // 1000)
        except ValueError:
            self._fail(now, "an answer makes no sense", out)
            return
        if ticket is not None:
            del self._tickets[ticket]
            out.append(AnswerStore(ticket, answer))
            return
        if isinstance(question, Take) and isinstance(answer, Verdict) and answer.allowed:
            self._say(now, given_back(question, answer), out)

    def _refused(self, now: int, call: _Call, code: str, out: list[StoreCommand]) -> None:
        """The server has answered with an error."""
        self._fail_ticket(call, f"the store has answered -{code}", out)
        if code in DOWN_CODES:
            if isinstance(call.asked, Settle):
                self._keep(call.asked, out)
            self._fail(now, f"it answers -{code}", out)
        elif code != "NOSCRIPT" and now >= self._complains_at:
            self._complains_at = now + _COMPLAINT_NS
            out.append(Note("warning", f"the store refuses what it is asked: it answers -{code}"))

    def _repeat(self, now: int, call: _Call) -> bool:
        """A script is forgotten: say it in full, which the server will remember. Whether that was done."""
        asked = call.asked
        if call.repeated or not isinstance(asked, _SCRIPTED):
            return False
        if call.ticket is None and not isinstance(asked, Settle):
            return False  # It was not run, and nobody wants it any more.
        call.repeated = True
        self._writes.append(packed(in_full(self._words(now, asked))))
        self._flight.append(call)
        return True

    # ------------------------------------------------------------------------------------------ settled later

    def _keep(self, statement: Settle, out: list[StoreCommand]) -> None:
        """Keep a settlement until the link is up."""
        if len(self._backlog) >= self._settings.backlog_max:
            self._backlog.popleft()
            if not self._dropped:
                self._dropped = True
                most = self._settings.backlog_max
                text = f"more than {most} settlements wait for the store: the oldest are dropped"
                out.append(Note("warning", text))
        self._backlog.append(statement)

    def _catch_up(self, now: int, out: list[StoreCommand]) -> None:
        """Send what was kept, as much as may be on its way."""
        while self._backlog and self._kept_in_flight < self._slice:
            self._say(now, self._backlog.popleft(), out, kept=True)

    def _drain(self, now: int, out: list[StoreCommand]) -> None:
        """The process ends: send what was kept, all of it."""
        self._slice = NEVER
        if self._phase is _Phase.READY:
            self._catch_up(now, out)
        elif self._phase is _Phase.CLOSED:
            self._timer = now

    # ----------------------------------------------------------------------------------------- the connection

    def _greet(self, now: int, protocol: int) -> None:
        self._phase = _Phase.GREETING
        self._timer = now + self._settings.deadline_ns
        self._trouble = ""
        self._steps.extend(greeting(self._settings, protocol))
        self._writes.append(pipeline(step.words for step in self._steps))

    def _greeted(self, now: int, step: Step, reply: Reply, out: list[StoreCommand]) -> None:
        """One part of the greeting is answered."""
        code = reply.code if isinstance(reply, ErrorReply) else ""
        if step.name == "HELLO" and code in _TOO_NEW:
            self._too_new = True
        elif code and not step.forgives(code) and not self._trouble:
            self._trouble = f"it answers -{code} to {step.name}"
        if self._steps:
            return
        if self._too_new:
            self._too_new = False
            self._greet(now, 2)
        elif self._trouble:
            self._fail(now, self._trouble, out)
        else:
            self._begin(now, out)

    def _begin(self, now: int, out: list[StoreCommand]) -> None:
        """The link is up: say what waits."""
        self._phase = _Phase.READY
        self._timer = now + self._settings.ping_ns
        self._ready_at = now
        self._misses = 0
        self._dropped = False
        if self._down_since is not None:
            out.append(Note("info", f"the store is up again after {(now - self._down_since) / SECOND:.1f} s"))
            self._down_since = None
        waiting = tuple(self._waiting.values())
        self._waiting.clear()
        for call in waiting:
            self._send(now, call, out)
        self._catch_up(now, out)

    def _fail(self, now: int, why: str, out: list[StoreCommand], *, lost: bool = False) -> None:
        """The connection is over, or must be. lost: it is, and the shell knows."""
        settings = self._settings
        if not lost:
            out.append(CloseStore())
        if self._phase is _Phase.READY and now - self._ready_at >= settings.backoff_max_ns:
            self._failures = 0
        ceiling = min(settings.backoff_min_ns << min(self._failures, _DOUBLINGS_MAX), settings.backoff_max_ns)
        self._failures += 1
        self._phase = _Phase.CLOSED
        self._timer = now + int(self._entropy.fraction() * ceiling)
        self._reader = ReplyReader(settings.reply_bytes_max)
        self._steps.clear()
        self._too_new = False
        self._flight.clear()
        self._kept_in_flight = 0
        self._writes.clear()
        self._go_down(now, why, out)

    def _go_down(self, now: int, why: str, out: list[StoreCommand]) -> None:
        """Nobody shall wait until the link is up again."""
        if self._down_since is None:
            self._down_since = now
            self._why_down = f"the store is down: {why}"
            out.append(Note("warning", self._why_down))
        for call in tuple(self._tickets.values()):
            self._fail_ticket(call, self._why_down, out)
        self._due.clear()
        self._misses = 0

    # --------------------------------------------------------------------------------------------------- time

    def _tick(self, now: int, out: list[StoreCommand]) -> None:
        due = self._due
        while due and due[0].give_up_at <= now:
            call = due.popleft()
            if not call.over:
                self._miss(now, call, out)
        if self._timer <= now:
            self._time_is_up(now, out)

    def _miss(self, now: int, call: _Call, out: list[StoreCommand]) -> None:
        """A call had no answer within its deadline."""
        settings = self._settings
        call.over = True
        within = f"within {settings.deadline_ns // MILLISECOND} ms"
        self._fail_ticket(call, f"the store has not answered {within}", out)
        if call.give_up_at - settings.deadline_ns < self._missed_at:
            return
        self._misses += 1
        self._missed_at = now
        if self._misses < settings.misses_max:
            return
        if self._phase is _Phase.READY:
            self._fail(now, f"{self._misses} calls in a row were not answered {within}", out)
        else:
            self._go_down(now, f"no connection {within}", out)

    def _time_is_up(self, now: int, out: list[StoreCommand]) -> None:
        """The phase has lasted long enough."""
        settings = self._settings
        match self._phase:
            case _Phase.CLOSED:
                self._phase = _Phase.OPENING
                self._timer = now + settings.connect_ns
                out.append(OpenStore())
            case _Phase.OPENING:
                self._fail(now, f"no connection within {settings.connect_ns / SECOND:g} s", out)
            case _Phase.GREETING:
                why = f"its greeting was not answered within {settings.deadline_ns // MILLISECOND} ms"
                self._fail(now, why, out)
            case _Phase.READY:
                self._say(now, None, out)
