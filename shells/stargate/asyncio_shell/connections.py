"""The two kinds of connections, what is heard on them, and who may lease one.

A `Client` is a client's connection with its session, a `Link` an upstream connection with whoever has leased
it. Both own a channel, and turn what happens on it into facts for the machines. A `Caller` is whoever calls
Bedrock: a client, or a flight, which has no connection of its own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from stargate.asyncio_shell.channel import Channel
from stargate.asyncio_shell.ticker import Look
from stargate.shell_common.channels import ClientChannel
from stargate_core.messages import (
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientSent,
    ClientStalled,
    ConnectionClosed,
    FlightCommand,
    Ticked,
    UpstreamEnded,
    UpstreamLost,
    UpstreamSent,
)

if TYPE_CHECKING:
    from stargate.asyncio_shell.gateway import Gateway

_TICKED: Final = Ticked()


class Machine(Protocol):
    """What calls Bedrock by commands: a session or a flight."""

    @property
    def deadline(self) -> int | None:
        """When to call with Ticked at the latest."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        ...

    @property
    def busy(self) -> bool:
        """Whether it is answering a request."""
        ...

    def handle(self, now: int, event: Any) -> Sequence[FlightCommand]:
        """Take in a fact (of a session, or of a flight); what is to be done about it."""
        ...


class Caller:
    """Whoever calls Bedrock: its machine, and what it holds."""

    __slots__ = ("armed", "broken", "gateway", "link", "session", "tickets")

    def __init__(self, gateway: "Gateway", session: Machine) -> None:
        self.gateway = gateway
        self.session = session
        self.armed: Look | None = None
        self.broken = False
        """The machine has failed by a bug of ours: it is not to be asked anything any more."""
        self.link: Link | None = None
        """The upstream connection it has leased."""
        self.tickets: dict[int, int] = {}
        """The machine's tickets to the process's."""

    @property
    def deadline(self) -> int | None:
        """The machine's; a broken one has none."""
        return None if self.broken else self.session.deadline

    @property
    def held_up(self) -> bool:
        """Whether it can take nothing at the moment."""
        return False

    def tick(self) -> None:
        """Tell the machine its time has come."""
        self.gateway.tell(self, _TICKED)

    def abort(self) -> None:
        """End it at once: its machine has failed by a bug of ours."""


class Flyer(Caller):
    """A flight. `held`: nobody takes anything of its answer, so its upstream is not read."""

    __slots__ = ("held",)

    def __init__(self, gateway: "Gateway", session: Machine) -> None:
        super().__init__(gateway, session)
        self.held = False

    @property
    def held_up(self) -> bool:
        """Whether its followers can take nothing at the moment."""
        return self.held

    def hold(self, held: bool) -> None:
        """Do not read its upstream, or read it again; and tell it."""
        self.held = held
        if self.link is not None and self.link.channel is not None:
            if held:
                self.link.channel.pause()
            else:
                self.link.channel.resume()
        self.gateway.tell(self, ClientStalled() if held else ClientDrained())


class Client(Caller):
    """A client connection: its channel and its session."""

    __slots__ = ("channel",)

    def __init__(self, gateway: "Gateway", channel: ClientChannel, session: Machine) -> None:
        super().__init__(gateway, session)
        self.channel = channel

    @property
    def busy(self) -> bool:
        """Whether a request of it is being answered."""
        return self.session.busy

    @property
    def held_up(self) -> bool:
        """Whether it has yet to take its last answer."""
        return self.channel.pending

    def abort(self) -> None:
        """Cut its connection."""
        self.channel.abort()

    def heard(self, data: bytes) -> None:
        """The client sent, or ended."""
        if not self.session.closed:
            self.gateway.tell(self, ClientSent(data) if data else ClientEnded())
        if not data and self.session.closed and not self.channel.pending:
            self.channel.dispose()

    def lost(self) -> None:
        """The client's connection broke."""
        self.gateway.tell(self, ClientLost())

    def stalled(self) -> None:
        """The client takes nothing: neither it nor its upstream is read meanwhile.

        It could send requests ahead, and never take their answers. That it breaks off shows when it is
        written to.
        """
        self.channel.pause()
        if self.link is not None and self.link.channel is not None:
            self.link.channel.pause()
        self.gateway.tell(self, ClientStalled())

    def drained(self) -> None:
        """The client has taken everything."""
        self.channel.resume()
        if self.link is not None and self.link.channel is not None:
            self.link.channel.resume()
        self.gateway.tell(self, ClientDrained())


class Link:
    """An upstream connection: its channel, once it stands, and who has leased it."""

    __slots__ = ("channel", "client", "connection", "ended", "gateway", "scope")

    def __init__(self, gateway: "Gateway", connection: int) -> None:
        self.gateway = gateway
        self.connection = connection
        self.scope = anyio.CancelScope()
        self.channel: Channel | None = None
        self.client: Caller | None = None
        self.ended = False
        """Upstream has closed it: nobody may lease it again."""

    def heard(self, data: bytes) -> None:
        """Upstream sent, or ended; to nobody, if nobody has leased it."""
        client = self.client
        if client is not None and data:
            self.gateway.tell(client, UpstreamSent(self.connection, data))
            return
        self.ended = True
        if client is not None:
            self.gateway.tell(client, UpstreamEnded(self.connection))
        self.gateway.tell_pool(ConnectionClosed(self.connection))

    def lost(self) -> None:
        """The upstream connection broke."""
        self.ended = True
        if self.client is not None:
            self.gateway.tell(self.client, UpstreamLost(self.connection))
        self.gateway.tell_pool(ConnectionClosed(self.connection))

    def stalled(self) -> None:
        """Nothing needs to be stopped: a call is written in one piece, and its size is bounded."""

    def drained(self) -> None:
        """Likewise."""
