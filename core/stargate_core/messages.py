"""Everything that crosses between the core and a shell.

Events are facts, in the past tense: a shell tells a machine what has happened. Commands are orders, in the
imperative: a machine tells its shell what to do. Both are closed unions; a shell that matches every command
(`assert_never`) is complete, and one that sends anything but these events does not type-check.

Words: a *session* is one client connection. A *lease* is the use of one upstream connection by one session,
for one call at a time. A *ticket* is a question that waits for its answer (here: "give me a lease").

EOF, loss and stall are different facts. `…Ended`: the peer closed its side in good order. `…Lost`: the
connection broke. `ClientStalled`: bytes written to the client are not leaving; the shell has stopped reading
upstream until `ClientDrained`.
"""

import enum
from typing import TypeAlias

import msgspec

from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.sigv4 import Credentials


class Trouble(enum.Enum):
    """Why no lease could be had, or a connection broke before its first byte."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NAME_UNKNOWN = "name unknown"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect timeout"
    POOL_TIMEOUT = "pool timeout"


# -------------------------------------------------------------------------------------------- session: events


class ClientSent(msgspec.Struct, frozen=True, tag=True, gc=False):
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


class UpstreamSent(msgspec.Struct, frozen=True, tag=True, gc=False):
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
    credentials: Credentials | None


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
    | Draining
    | Ticked
)


# ------------------------------------------------------------------------------------------ session: commands


class WriteClient(msgspec.Struct, frozen=True, tag=True, gc=False):
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


class WriteUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write to the upstream connection."""

    lease: int
    data: bytes


class ReleaseUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Give the lease back, clean: its connection may carry the next call."""

    lease: int


class DropUpstream(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Give the lease back and close its connection: a call is unfinished on it."""

    lease: int


class Emit(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Write one line to a sink, in its own time; a sink that blocks must never block a request."""

    sink: str
    """A path, or /dev/stdout, /dev/stderr."""
    line: bytes


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
    | Emit
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


PoolEvent: TypeAlias = (
    LeaseAsked
    | AskWithdrawn
    | LeaseReturned
    | ConnectionOpened
    | ConnectionFailed
    | ConnectionClosed
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
