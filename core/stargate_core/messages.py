"""Everything that crosses between the core and a shell.

Events are facts, in the past tense: a shell tells a machine what has happened. Commands are orders, in the
imperative: a machine tells its shell what to do. Both are closed unions; a shell that matches every command
(`assert_never`) is complete, and one that sends anything but these events does not type-check.

Words: a *session* is one client connection. A *lease* is the use of one upstream connection by one session,
for one call at a time. A *ticket* is a question that waits for its answer: "give me a lease", or one of
questions.py. An *answer* in capital letters is Bedrock's, shared by all who ordered it (`Follow`).

EOF, loss and stall are different facts. `…Ended`: the peer closed its side in good order. `…Lost`: the
connection broke. `ClientStalled`: bytes written to the client are not leaving; the shell has stopped reading
upstream until `ClientDrained`.

A journal is made of them: each can be written down, and read again from its union. All but secrets: there is
no encoding of a `Secret`, so whoever writes a journal must say what stands in its place.
"""

import enum
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import msgspec

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.dialects.face import Headers
from stargate_core.direction import BreakerPolicy, Order
from stargate_core.faults import Fault
from stargate_core.questions import (
    Answer,
    Keys,
    Question,
    Statement,
    StoreAnswer,
    StoreQuestion,
    StoreStatement,
)
from stargate_core.record import LogRecord
from stargate_core.secret import Private
from stargate_core.spans import Span


class Trouble(enum.Enum):
    """Why no lease could be had, or a connection broke before its first byte."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NAME_UNKNOWN = "name unknown"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect timeout"
    POOL_TIMEOUT = "pool timeout"


# -------------------------------------------------------------------------------------------- session: events


class ClientSent(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Bytes came from the client."""

    data: bytes


class ClientEnded(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The client closed its sending side."""


class ClientLost(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The client's connection broke, or a write to it failed."""


class ClientStalled(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The client takes no bytes; upstream is not read meanwhile."""


class ClientDrained(msgspec.Struct, frozen=True, tag=True, gc=False):
    """All bytes written to the client have left."""


class UpstreamOpened(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A lease for `ticket`."""

    ticket: int
    lease: int
    reused: bool
    """The connection was kept, after a call or idle: the peer may be closing it at this very moment."""


class UpstreamFailed(msgspec.Struct, frozen=True, tag=True, gc=False):
    """No lease for `ticket`."""

    ticket: int
    trouble: Trouble
    detail: str = ""


class UpstreamSent(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Bytes came from upstream."""

    lease: int
    data: bytes


class UpstreamEnded(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Upstream closed its sending side."""

    lease: int


class UpstreamLost(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The upstream connection broke."""

    lease: int


class CredentialsChanged(msgspec.Struct, frozen=True, tag=True):
    """The AWS credentials of `account` are now these; None: there are none."""

    account: str
    credentials: Credentials | BearerToken | None


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The answer to the question of `ticket`."""

    ticket: int
    answer: Answer


class Unanswered(msgspec.Struct, frozen=True, tag=True, gc=False):
    """There will be no answer to the question of `ticket`; why, for the log."""

    ticket: int
    why: str


class Health(enum.Enum):
    """What a breaker says of its target."""

    CLOSED = "closed"
    """Healthy: call it."""
    OPEN = "open"
    """Leave it alone."""
    HALF_OPEN = "half-open"
    """On trial: ask for a turn before each call."""


class HealthChanged(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The breaker of `target` is now this; one of which nothing was ever told is closed."""

    target: str
    health: Health
    until_ns: int = 0
    """OPEN: until when, at the earliest (monotonic)."""

    def keep_in(self, known: dict[str, "HealthChanged"]) -> None:
        """Keep it among what was last told of targets that are not healthy."""
        if self.health is Health.CLOSED:
            known.pop(self.target, None)
        else:
            known[self.target] = self


class KeysChanged(msgspec.Struct, frozen=True, tag=True):
    """The keys that live in the store are now these: SHA-256 in hexadecimal digits to its JSON."""

    entries: Mapping[str, bytes]


class Reconfigured(msgspec.Struct, frozen=True, tag=True, gc=False):
    """From the next request on the configuration of this generation counts.

    A plan is made of functions and cannot be written down: whoever drives the machine gives it the plans by
    their generations, and a journal says which one came when.
    """

    generation: int


class Source(enum.Enum):
    """Where a shared answer came from."""

    KEPT = "kept"
    MADE = "made"
    """The call was made for this order."""
    JOINED = "joined"
    """It was being made already, for somebody else's."""


class AnswerBegan(Private, msgspec.Struct, frozen=True, tag=True):
    """A shared answer begins; what of it has come already follows at once. Always a success (200)."""

    SHOWN: ClassVar[tuple[str, ...]] = ("target", "attempts")

    ticket: int
    source: Source
    headers: Headers
    age_seconds: int = 0
    target: str = ""
    """The name of the direction that gave it."""
    attempts: tuple[str, ...] = ()
    """What was tried, in the words of the log; of a kept answer nothing."""


class AnswerSent(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """More of a shared answer's body."""

    ticket: int
    data: bytes


class AnswerEnded(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A shared answer is whole."""

    ticket: int


class AnswerFailed(msgspec.Struct, frozen=True, tag=True):
    """A shared answer will not come, or no further."""

    ticket: int
    fault: Fault
    attempts: tuple[str, ...] = ()


class Draining(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The process is to end: no new request; what runs may finish until `grace_ns` from now."""

    grace_ns: int


class Ticked(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The machine's deadline has come."""


SessionEvent: TypeAlias = (
    ClientSent
    | ClientEnded
    | ClientLost
    | ClientStalled
    | ClientDrained
    | UpstreamOpened
    | UpstreamFailed
    | UpstreamSent
    | UpstreamEnded
    | UpstreamLost
    | CredentialsChanged
    | HealthChanged
    | KeysChanged
    | Reconfigured
    | Answered
    | Unanswered
    | AnswerBegan
    | AnswerSent
    | AnswerEnded
    | AnswerFailed
    | Draining
    | Ticked
)


# ------------------------------------------------------------------------------------------ session: commands


class WriteClient(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write to the client."""

    data: bytes


class CloseClient(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Close the client's connection once what was written has left, within the shell's linger bound."""


class AbortClient(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Break the client's connection now: nothing more can or may be said to it in good order."""


class OpenUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Get a lease for `endpoint`."""

    ticket: int
    endpoint: Endpoint
    fresh: bool = False
    """On a new connection, not a kept one: a kept one has just failed."""


class WithdrawUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The lease asked for with `ticket` is no longer wanted."""

    ticket: int


class WriteUpstream(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write to the upstream connection."""

    lease: int
    data: bytes


class ReleaseUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Give the lease back, clean: its connection may carry the next call."""

    lease: int


class DropUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Give the lease back and close its connection: a call is unfinished on it."""

    lease: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Answer this question, with `Answered` or `Unanswered`."""

    ticket: int
    question: Question


class Withdraw(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The answer to the question of `ticket` is no longer wanted."""

    ticket: int


class Tell(msgspec.Struct, frozen=True, tag=True):
    """Pass this on; no answer is wanted."""

    statement: Statement


class Follow(msgspec.Struct, frozen=True, tag=True):
    """Get the answer to this order: a kept one, one that is being given, or a new one."""

    ticket: int
    order: Order


class PauseAnswer(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Send no more of the shared answer of `ticket` until `ResumeAnswer`: the client takes nothing."""

    ticket: int


class ResumeAnswer(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Send what has come of it meanwhile, and go on."""

    ticket: int


class Unfollow(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The shared answer of `ticket` is no longer wanted."""

    ticket: int


class Emit(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write one line to a sink, in its own time; a sink that blocks must never block a request."""

    sink: str
    """A path, or /dev/stdout, /dev/stderr."""
    line: bytes


class Publish(msgspec.Struct, frozen=True, tag=True):
    """An exchange is settled, and somebody watches (`Plan.observed`): metrics, traces, the status page.
    Whoever takes it must never make a request wait.
    """

    record: LogRecord
    spans: tuple[Span, ...] = ()
    """Those of an exchange that is traced and sampled."""


class Note(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Something an operator should read; never a secret, a prompt or a completion."""

    level: str
    """debug | info | warning | error"""
    text: str


SessionCommand: TypeAlias = (
    WriteClient
    | CloseClient
    | AbortClient
    | OpenUpstream
    | WithdrawUpstream
    | WriteUpstream
    | ReleaseUpstream
    | DropUpstream
    | Ask
    | Withdraw
    | Tell
    | Follow
    | PauseAnswer
    | ResumeAnswer
    | Unfollow
    | Emit
    | Publish
    | Note
)


# ----------------------------------------------------------------------------------------------- pool: events


class LeaseAsked(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A session wants a lease; `ticket` is unique in the process."""

    ticket: int
    endpoint: Endpoint
    fresh: bool


class AskWithdrawn(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The lease is no longer wanted."""

    ticket: int


class LeaseReturned(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The lease came back; `clean`: its connection may carry another call."""

    lease: int
    clean: bool


class ConnectionOpened(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The connection ordered by `Connect` stands."""

    connection: int


class ConnectionFailed(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The connection ordered by `Connect` could not be made."""

    connection: int
    trouble: Trouble
    detail: str = ""


class ConnectionClosed(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A connection that stood is gone, or its peer has spoken out of turn."""

    connection: int


class BoundsChanged(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Connections are bounded anew: how many there may be, and how long things may take, in nanoseconds."""

    connections_max: int
    idle_max: int
    idle_ns: int
    connect_ns: int
    wait_ns: int


PoolEvent: TypeAlias = (
    LeaseAsked
    | AskWithdrawn
    | LeaseReturned
    | ConnectionOpened
    | ConnectionFailed
    | ConnectionClosed
    | BoundsChanged
    | Draining
    | Ticked
)


# --------------------------------------------------------------------------------------------- pool: commands


class Connect(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Open a connection; answer with `ConnectionOpened` or `ConnectionFailed`."""

    connection: int
    endpoint: Endpoint


class Disconnect(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Close a connection, or give up opening it; no answer is wanted."""

    connection: int


class Lend(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The lease for `ticket` is this connection (a lease and its connection bear the same number)."""

    ticket: int
    connection: int
    reused: bool


class Refuse(msgspec.Struct, frozen=True, tag=True, gc=False):
    """There is no lease for `ticket`."""

    ticket: int
    trouble: Trouble
    detail: str = ""


PoolCommand: TypeAlias = Connect | Disconnect | Lend | Refuse


# ---------------------------------------------------------------------------------------------- store: events


class StoreAsked(msgspec.Struct, frozen=True, tag=True):
    """Somebody asks the store; `ticket` is unique in the process."""

    ticket: int
    question: StoreQuestion


class StoreUnasked(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The answer is no longer wanted; what was taken for it must be given back."""

    ticket: int


class StoreTold(msgspec.Struct, frozen=True, tag=True):
    """Somebody tells the store."""

    statement: StoreStatement


class StoreOpened(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The connection ordered by `OpenStore` stands, TLS included."""


class StoreSent(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Bytes came from the store's server."""

    data: bytes


class StoreLost(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The connection could not be made, has ended, or broke; not told after a `CloseStore`."""

    detail: str


StoreEvent: TypeAlias = (
    StoreAsked | StoreUnasked | StoreTold | StoreOpened | StoreSent | StoreLost | Draining | Ticked
)


# -------------------------------------------------------------------------------------------- store: commands


class AnswerStore(msgspec.Struct, frozen=True, tag=True):
    """The answer to `ticket`."""

    ticket: int
    answer: StoreAnswer


class FailStore(msgspec.Struct, frozen=True, tag=True, gc=False):
    """There is no answer to `ticket`."""

    ticket: int
    why: str


class OpenStore(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Connect to the store's server; answer with `StoreOpened` or `StoreLost`."""


class WriteStore(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write to it."""

    data: bytes


class CloseStore(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Close the connection, or give up opening it."""


StoreCommand: TypeAlias = AnswerStore | FailStore | OpenStore | WriteStore | CloseStore | Note


# --------------------------------------------------------------------------------- keyring: events, commands


class KeysRead(msgspec.Struct, frozen=True, tag=True):
    """The store's answer to `AskKeys`; None: they are still those of that version."""

    keys: Keys | None


class KeysUnread(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The store gave no answer to `AskKeys`."""


KeyringEvent: TypeAlias = KeysRead | KeysUnread | Ticked


class AskKeys(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Ask the shared store `ReadKeys(version)`; answer with `KeysRead` or `KeysUnread`."""

    version: str


class TellKeys(msgspec.Struct, frozen=True, tag=True):
    """Tell every session, present and future."""

    keys: KeysChanged


KeyringCommand: TypeAlias = AskKeys | TellKeys | Note


# --------------------------------------------------------------------------------- breaker: events, commands


class TurnAsked(msgspec.Struct, frozen=True, tag=True):
    """A session asks for a `Turn`; `ticket` is unique in the process."""

    ticket: int
    target: str
    policy: BreakerPolicy
    repeats: bool


class CallReported(msgspec.Struct, frozen=True, tag=True):
    """A session tells a `CallEnded`."""

    target: str
    policy: BreakerPolicy
    ok: bool
    first: bool


BreakerEvent: TypeAlias = TurnAsked | CallReported | Ticked


class AnswerTurn(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The answer to `ticket`."""

    ticket: int
    granted: bool


class TellHealth(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Tell every session, present and future."""

    health: HealthChanged


BreakerCommand: TypeAlias = AnswerTurn | TellHealth | Note


# ------------------------------------------------------------------------------------ cache: events, commands


class AnswerOrdered(msgspec.Struct, frozen=True, tag=True):
    """A session orders an answer (`Follow`); `ticket` is unique in the process."""

    ticket: int
    order: Order


class AnswerUnwanted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A session has gone (`Unfollow`)."""

    ticket: int


class AnswerPaused(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A session takes no more for the moment."""

    ticket: int


class AnswerResumed(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A session takes again."""

    ticket: int


class FlightBegan(Private, msgspec.Struct, frozen=True, tag=True):
    """The call that a flight makes is being answered, with success."""

    SHOWN: ClassVar[tuple[str, ...]] = ("target", "attempts")

    flight: int
    headers: Headers
    target: str
    attempts: tuple[str, ...]


class FlightSent(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """More of the answer's body."""

    flight: int
    data: bytes


class FlightEnded(msgspec.Struct, frozen=True, tag=True):
    """The flight is over."""

    flight: int
    fault: Fault | None
    """None: the answer is whole."""
    worth_keeping: bool
    """Whole, and neither a refusal nor what a guardrail has put in its place."""
    attempts: tuple[str, ...] = ()


class Grounded(msgspec.Struct, frozen=True, tag=True, gc=False):
    """For a flight, which has no client that could leave: nobody waits for it any more (`Ground`)."""


class EntryFound(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """The store's answer to `SeekEntry`: nothing, also where the store could not be asked."""

    SHOWN: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    value: bytes | None
    age_us: int = 0


CacheEvent: TypeAlias = (
    AnswerOrdered
    | AnswerUnwanted
    | AnswerPaused
    | AnswerResumed
    | FlightBegan
    | FlightSent
    | FlightEnded
    | EntryFound
    | Ticked
)


class TellAnswer(msgspec.Struct, frozen=True, tag=True):
    """Tell the session of `ticket`; the event bears the process's ticket, to be replaced by the session's."""

    ticket: int
    event: AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed


class Launch(msgspec.Struct, frozen=True, tag=True):
    """Begin a flight: a machine of its own that makes the call of this order."""

    flight: int
    order: Order


class Ground(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Nobody waits for this flight any more: cancel it."""

    flight: int


class HoldFlight(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Read no more of this flight's upstream, and tell it `ClientStalled`: all its followers have paused."""

    flight: int


class FreeFlight(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Read on, and tell it `ClientDrained`."""

    flight: int


class SeekEntry(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Look into the shared store."""

    key: str


class KeepEntry(Private, msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write into the shared store."""

    SHOWN: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    value: bytes
    ttl_us: int


CacheCommand: TypeAlias = (
    TellAnswer | Launch | Ground | HoldFlight | FreeFlight | SeekEntry | KeepEntry | Note
)

FlightEvent: TypeAlias = SessionEvent | Grounded
FlightCommand: TypeAlias = SessionCommand | FlightBegan | FlightSent | FlightEnded
