"""Tickets: whose question is whose, for all who ask in this process.

Each session numbers its questions by itself. Whoever answers knows one numbering for the whole process; here
the two meet. A ticket is issued once, and redeemed by its answer or withdrawn by its owner, whichever is
first: then it is gone, and whatever comes late finds nothing.
"""

from typing import Generic, Protocol, TypeVar


class Asking(Protocol):
    """Whoever asks."""

    tickets: dict[int, int]
    """Its own tickets to the process's. Kept by `Tickets`."""


A = TypeVar("A", bound=Asking)


class Tickets(Generic[A]):
    """All tickets that wait."""

    def __init__(self) -> None:
        self._last = 0
        self._owners: dict[int, tuple[A, int]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def issue(self, caller: A, ticket: int) -> int:
        """The process's number for a caller's ticket."""
        self._last = number = self._last + 1
        self._owners[number] = (caller, ticket)
        caller.tickets[ticket] = number
        return number

    def owner(self, number: int) -> tuple[A, int] | None:
        """Whose it is, and what they call it; None if it is gone."""
        return self._owners.get(number)

    def redeem(self, number: int) -> tuple[A, int] | None:
        """The same, and it is gone now."""
        owner = self._owners.pop(number, None)
        if owner is not None:
            del owner[0].tickets[owner[1]]
        return owner

    def withdraw(self, caller: A, ticket: int) -> int | None:
        """The process's number for it, which is gone now; None if it was gone before."""
        number = caller.tickets.pop(ticket, None)
        if number is not None:
            del self._owners[number]
        return number
