"""What the shells know of a client's connection, whatever it runs over: a socket, or nothing but memory."""

from collections.abc import Callable
from typing import Protocol


class Owner(Protocol):
    """Whoever a channel belongs to, and is told what happens on it."""

    def heard(self, data: bytes) -> None:
        """Bytes have come; none at all: the peer has ended its side."""
        ...

    def lost(self) -> None:
        """The connection broke."""
        ...

    def stalled(self) -> None:
        """Bytes had to be kept: the peer does not take them."""
        ...

    def drained(self) -> None:
        """All bytes have left."""
        ...


class ClientChannel(Protocol):
    """A client's connection."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        ...

    @property
    def pending(self) -> bool:
        """Whether bytes are kept."""
        ...

    def start(self, owner: Owner) -> None:
        """From now on the owner hears what comes."""
        ...

    def pause(self) -> None:
        """Bring nothing more for the moment."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def write(self, data: bytes) -> None:
        """Send, without waiting. Raises OSError when the connection is broken."""
        ...

    def finish(self) -> None:
        """End our side in good order, once what was written has left."""
        ...

    def abort(self) -> None:
        """Break the connection at once."""
        ...

    def dispose(self) -> None:
        """Close it now."""
        ...


class SelfEnding(ClientChannel, Protocol):
    """One that nobody needs to wait for: it says itself when it is over."""

    def when_over(self, tell: Callable[[], None]) -> None:
        """Tell this once the connection has ended."""
        ...
