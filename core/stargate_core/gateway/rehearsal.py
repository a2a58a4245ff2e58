"""A rehearsal: one request taken through the real machines, with nothing sent to anybody.

What a gateway would do with a request is not worked out a second time here. A real `Session` with the real
plan is given the request's bytes, and whatever it orders is answered as a neutral surrounding would, until it
has written its call to Bedrock, or has answered the caller itself. An answer that may be shared is ordered
and not called for; then a real `Flight` is given the order, as the cache would give it.

What is assumed, and kept in `asked`, question by question:

    Take                 of a fresh store: nothing has been used yet; a request too large for ever is refused
    ReadEntry            there is no such entry
    Turn                 granted: every target is healthy
    RefreshCredentials   looked for
    VerifyToken          signed as it says
    FetchUrl             it is there: a placeholder of the kind that the URL's ending promises
    ListModels           AWS names no model

A hook that sleeps is woken at once, at the time that it wanted. Everything else is as it would be: the
connection stands, the credentials are those given.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Protocol

import msgspec

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.dialects.face import Fetched
from stargate_core.entropy import Entropy
from stargate_core.faults import Fault
from stargate_core.gateway.exchange import Exchange
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session, State
from stargate_core.gateway.states import SETTLED, Admitting
from stargate_core.limits.buckets import Verdict
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    AnswerStore,
    Ask,
    ClientSent,
    CredentialsChanged,
    FlightCommand,
    FlightEnded,
    Follow,
    KeysChanged,
    Note,
    OpenUpstream,
    SessionCommand,
    SessionEvent,
    Source,
    StoreAsked,
    Ticked,
    Unanswered,
    UpstreamOpened,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import (
    Answer,
    FetchUrl,
    ListModels,
    Models,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Take,
    Turn,
    VerifyToken,
)
from stargate_core.secret import Private
from stargate_core.wire.http1 import RequestHead

_PIECE_BYTES: Final = 64 * 1024
"""What the network is taken to deliver at a time."""
_KINDS: Final[Mapping[str, tuple[str, bytes]]] = {
    "gif": ("image/gif", b"GIF89a"),
    "jpeg": ("image/jpeg", b"\xff\xd8\xff"),
    "jpg": ("image/jpeg", b"\xff\xd8\xff"),
    "webp": ("image/webp", b"RIFF\x04\x00\x00\x00WEBP"),
    "pdf": ("application/pdf", b"%PDF-1.7\n"),
    "csv": ("text/csv", b"placeholder\n"),
    "html": ("text/html", b"<p>placeholder</p>\n"),
    "md": ("text/markdown", b"placeholder\n"),
    "txt": ("text/plain", b"placeholder\n"),
    "mp4": ("video/mp4", b"\x00\x00\x00\x18ftypmp42"),
}
_IMAGE: Final = ("image/png", b"\x89PNG\r\n\x1a\n")
"""What stands for a URL whose ending promises nothing."""


class Asked(Private, msgspec.Struct, frozen=True):
    """A question of the request's, and what was assumed to be its answer."""

    SHOWN: ClassVar[tuple[str, ...]] = ("question", "assumed")

    question: str
    """The question's type."""
    about: str
    """What it was about: the store's buckets, a URL, a target."""
    assumed: str


class Rehearsal:
    """One request, and all that came of it.

    plan: the compiled configuration. wall_ns: what time it is. credentials: of every account; None: there are
    none. keys: those that live in the store. client: the peer's address. seed: of the session's chance.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        wall_ns: int,
        credentials: Credentials | BearerToken | None,
        keys: Mapping[str, bytes],
        client: str,
        seed: int,
    ) -> None:
        self.session = WatchedSession(plan, wall_epoch_ns=wall_ns, seed=seed, now=0, client=client)
        self.told = b""
        """What the caller is told."""
        self.endpoint: Endpoint | None = None
        self.written = b""
        """What goes to Bedrock."""
        self.follows: list[Follow] = []
        """Shared answers that were ordered."""
        self.asked: list[Asked] = []
        self.takes: list[tuple[Take, Verdict | None]] = []
        """None: the store would not answer."""
        self.notes: list[Note] = []
        """What an operator would be told."""
        self._plan = plan
        self._seed = seed
        self._now = 0
        self._wall_ns = wall_ns
        self._credentials = credentials
        self._store = MemoryStore(wall_epoch_ns=wall_ns)
        self._tell(self.session, KeysChanged(keys))
        self._tell_credentials(self.session)

    def run(self, request: bytes) -> None:
        """Take the request as far as it goes."""
        for start in range(0, len(request), _PIECE_BYTES):
            if self.session.exchange is not None or self.session.closed:
                break
            self._tell(self.session, ClientSent(request[start : start + _PIECE_BYTES]))
        while self._waits:  # Scripts may wait only so often.
            if self._passes_judgement():
                continue
            deadline = self.session.deadline
            assert deadline is not None
            slept_ms = (deadline - self._now) // 1_000_000
            self._now = max(self._now, deadline)
            self.asked.append(Asked("Sleep", f"{slept_ms} ms", "passed at once"))
            self._tell(self.session, Ticked())
        for follow in self.follows[:1]:
            self._fly(follow)

    @property
    def is_whole(self) -> bool:
        """Whether the request was whole, or refused before it could be."""
        return self.session.exchange is not None or self.session.fault is not None

    @property
    def is_settled(self) -> bool:
        """Whether the caller has been answered without Bedrock."""
        exchange = self.session.exchange
        return exchange is None or exchange.state is SETTLED

    @property
    def _waits(self) -> bool:
        """Whether a hook waits for time, or for a call of its own."""
        exchange = self.session.exchange
        return exchange is not None and isinstance(exchange.state, Admitting)

    # ------------------------------------------------------------------------------------- the surroundings

    def _fly(self, follow: Follow) -> None:
        """Make the call that has been ordered, as the cache would; tell the session where that fails."""
        flight = Flight(
            self._plan, follow.order, flight=1, wall_epoch_ns=self._wall_ns, seed=self._seed, now=self._now
        )
        self._tell_credentials(flight)
        ended = self._tell(flight, Ticked())
        if ended is not None and ended.fault is not None:
            self._tell(self.session, AnswerFailed(follow.ticket, ended.fault, ended.attempts))

    def _passes_judgement(self) -> bool:
        """Answer a plugin's own call, if one is waited for, as a guardrail that has found nothing."""
        if not self.follows:
            return False
        follow = self.follows.pop()
        call, ticket = follow.order.call, follow.ticket
        self.asked.append(Asked(call.operation.value, call.target.decode("latin-1"), "nothing is found"))
        self._tell(self.session, AnswerBegan(ticket, Source.MADE, []))
        self._tell(self.session, AnswerSent(ticket, b'{"action": "NONE"}'))
        self._tell(self.session, AnswerEnded(ticket))
        return True

    def _tell_credentials(self, machine: "_Machine") -> None:
        for account in {"": None, **dict.fromkeys(one.name for one in self._plan.accounts)}:
            self._tell(machine, CredentialsChanged(account, self._credentials))

    def _tell(self, machine: "_Machine", event: SessionEvent) -> FlightEnded | None:
        """Hand a machine a fact, and do what it orders, until it orders nothing; a flight's end, if any."""
        commands = deque(machine.handle(self._now, event))
        ended = None
        while commands:
            command = commands.popleft()
            if isinstance(command, FlightEnded):
                ended = command
            fact = self._fact_of(command)
            if fact is not None:
                commands.extend(machine.handle(self._now, fact))
        return ended

    def _fact_of(self, command: FlightCommand) -> SessionEvent | None:
        """What comes of an order at once."""
        match command:
            case WriteClient(data):
                self.told += data
            case OpenUpstream(ticket, endpoint):
                self.endpoint = endpoint
                return UpstreamOpened(ticket, 1, reused=False)
            case WriteUpstream(_, data):
                self.written = data
            case Follow():
                self.follows.append(command)
            case Ask(ticket, question):
                return self._answer(ticket, question)
            case Note():
                self.notes.append(command)
            case _:
                pass
        return None

    def _answer(self, ticket: int, question: Question) -> Answered | Unanswered:
        if isinstance(question, Take | ReadEntry | ReadKeys):
            [command] = self._store.handle(self._now, StoreAsked(ticket, question))
            found = command.answer if isinstance(command, AnswerStore) else None
            if isinstance(question, Take):
                self.takes.append((question, found if isinstance(found, Verdict) else None))
            self._note(question, _about(question), "a fresh store: nothing is used up, nothing is kept")
            if isinstance(command, AnswerStore):
                return Answered(ticket, command.answer)
            return Unanswered(ticket, "the store would not answer")
        answer, assumed = _assumed(question)
        self._note(question, _about(question), assumed)
        return Answered(ticket, answer)

    def _note(self, question: Question, about: str, assumed: str) -> None:
        self.asked.append(Asked(type(question).__name__, about, assumed))


class WatchedSession(Session):
    """A session that takes one request, and remembers the exchange that others forget when it is settled."""

    __slots__ = ("admitting", "exchange", "fault")

    def __init__(self, plan: Plan, *, wall_epoch_ns: int, seed: int, now: int, client: str) -> None:
        super().__init__(plan, wall_epoch_ns=wall_epoch_ns, seed=seed, now=now, client=client)
        self.chance = _CountedChance(seed)
        self.exchange: Exchange | None = None
        self.admitting: Admitting | None = None
        """How far its hooks have come: it is changed in place as they run."""
        self.fault: Fault | None = None
        """Why the first request never became one."""

    @property
    def draws(self) -> int:
        """How often something was left to chance, ids aside."""
        chance = self.chance
        assert isinstance(chance, _CountedChance)
        return chance.draws

    def refuse(self, fault: Fault, target: bytes, out: list[SessionCommand]) -> State:
        """As any session, which ends with it; the fault is kept."""
        self.fault = fault
        return super().refuse(fault, target, out)

    def _exchange(self, now: int, head: RequestHead, body: bytes, out: list[SessionCommand]) -> Exchange:
        self.exchange = exchange = super()._exchange(now, head, body, out)
        assert isinstance(exchange.state, Admitting)
        self.admitting = exchange.state
        return exchange

    def _next_cycle(self, now: int) -> bool:
        return False


class _CountedChance(Entropy):
    __slots__ = ("draws",)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.draws = 0

    def fraction(self) -> float:
        self.draws += 1
        return super().fraction()


class _Machine(Protocol):
    def handle(self, now: int, event: SessionEvent) -> Sequence[FlightCommand]: ...


def _about(question: Question) -> str:
    """What a question is about, in a few words; of a token nothing but how it is signed."""
    match question:
        case Take(claims):
            return ", ".join(claim.bucket.key for claim in claims)
        case ReadEntry(key):
            return key
        case ReadKeys(version):
            return version
        case Turn(target):
            return target
        case VerifyToken():
            return f"{question.algorithm} key {question.key_id!r} of {question.jwks_url}"
        case RefreshCredentials(account):
            return f"account {account or 'default'}"
        case FetchUrl(url):
            return url
        case ListModels():
            return question.endpoint.authority.decode()


def _assumed(
    question: Turn | VerifyToken | RefreshCredentials | FetchUrl | ListModels,
) -> tuple[Answer, str]:
    """A neutral answer, and how to say it."""
    match question:
        case Turn():
            return True, "granted"
        case VerifyToken():
            return "", "signed as it says; the key was not looked at"
        case RefreshCredentials():
            return True, "looked for, and none newer found"
        case FetchUrl(url):
            ending = url.partition("?")[0].partition("#")[0].rpartition(".")[2].lower()
            content_type, data = _KINDS.get(ending, _IMAGE)
            return Fetched(content_type, data), f"would be fetched; {content_type} of nothing stands for it"
        case ListModels():
            return Models(()), "none beside the configuration's"
