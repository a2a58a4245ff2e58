"""Who calls in a world's shell: the twins of the shells' `connections.py`, over ends instead of sockets."""

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sim.agenda import Item
from sim.wires import End
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.session import Session
from stargate_core.messages import (
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientSent,
    ClientStalled,
    ConnectionClosed,
    Ticked,
    UpstreamEnded,
    UpstreamLost,
    UpstreamSent,
)

if TYPE_CHECKING:
    from sim.shell import Shell

_TICKED: Final = Ticked()
Machine: TypeAlias = Session | Flight


class Caller:
    """Whoever calls Bedrock: its machine, and what it holds."""

    __slots__ = ("armed", "link", "number", "session", "shell", "tickets")

    def __init__(self, shell: "Shell", session: Any, number: int) -> None:
        self.shell = shell
        self.session = session
        self.number = number
        self.armed: Item | None = None
        self.link: Link | None = None
        self.tickets: dict[int, int] = {}

    @property
    def deadline(self) -> int | None:
        """The machine's."""
        deadline: int | None = self.session.deadline
        return deadline

    @property
    def held_up(self) -> bool:
        """Whether it can take nothing at the moment."""
        return False

    @property
    def name(self) -> str:
        """For the narration."""
        return f"session {self.number}"

    def tick(self) -> None:
        """Tell the machine its time has come."""
        self.shell.tell(self, _TICKED)


class Flyer(Caller):
    """A flight."""

    __slots__ = ("held",)

    def __init__(self, shell: "Shell", flight: Flight, number: int) -> None:
        super().__init__(shell, flight, number)
        self.held = False

    @property
    def held_up(self) -> bool:
        """Whether its followers can take nothing."""
        return self.held

    @property
    def name(self) -> str:
        """For the narration."""
        return f"flight {self.number}"

    def hold(self, held: bool) -> None:
        """Do not read its upstream, or read it again; and tell it."""
        self.held = held
        if self.link is not None and self.link.channel is not None:
            if held:
                self.link.channel.pause()
            else:
                self.link.channel.resume()
        self.shell.tell(self, ClientStalled() if held else ClientDrained())


class Client(Caller):
    """A client connection: its end and its session."""

    __slots__ = ("channel",)

    def __init__(self, shell: "Shell", channel: End, session: Session, number: int) -> None:
        super().__init__(shell, session, number)
        self.channel = channel

    @property
    def held_up(self) -> bool:
        """Whether it has yet to take its last answer."""
        return self.channel.pending

    def heard(self, data: bytes) -> None:
        """The client sent, or ended."""
        if not self.session.closed:
            self.shell.tell(self, ClientSent(data) if data else ClientEnded())
        if not data and self.session.closed and not self.channel.pending:
            self.channel.dispose()

    def lost(self) -> None:
        """The client's connection broke."""
        self.shell.tell(self, ClientLost())

    def stalled(self) -> None:
        """The client takes nothing: neither it nor its upstream is read."""
        self.channel.pause()
        if self.link is not None and self.link.channel is not None:
            self.link.channel.pause()
        self.shell.tell(self, ClientStalled())

    def drained(self) -> None:
        """The client has taken everything."""
        self.channel.resume()
        if self.link is not None and self.link.channel is not None:
            self.link.channel.resume()
        self.shell.tell(self, ClientDrained())


class Link:
    """An upstream connection: its end, once it stands, and who has leased it."""

    __slots__ = ("channel", "client", "connection", "ended", "opening", "shell")

    def __init__(self, shell: "Shell", connection: int) -> None:
        self.shell = shell
        self.connection = connection
        self.channel: End | None = None
        self.opening: Item | None = None
        self.client: Caller | None = None
        self.ended = False

    def heard(self, data: bytes) -> None:
        """Upstream sent, or ended; to nobody, if nobody has leased it."""
        client = self.client
        if client is not None and data:
            self.shell.tell(client, UpstreamSent(self.connection, data))
            return
        self.ended = True
        if client is not None:
            self.shell.tell(client, UpstreamEnded(self.connection))
        self.shell.tell_pool(ConnectionClosed(self.connection))

    def lost(self) -> None:
        """The upstream connection broke."""
        self.ended = True
        if self.client is not None:
            self.shell.tell(self.client, UpstreamLost(self.connection))
        self.shell.tell_pool(ConnectionClosed(self.connection))

    def stalled(self) -> None:
        """Nothing needs to be stopped."""

    def drained(self) -> None:
        """Likewise."""
