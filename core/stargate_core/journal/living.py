"""Living again: a machine made from a journal is told what it was told, at the times it was told it."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from stargate_core.journal.digests import Digest, shape
from stargate_core.journal.format import Entry, Header, Unreadable
from stargate_core.journal.machines import EVENTS, Machine
from stargate_core.secret import Private


class Step(Private, msgspec.Struct, frozen=True):
    """One event, lived again."""

    number: int
    """Counted from 0."""
    entry: Entry
    """As the journal has it."""
    commands: Sequence[msgspec.Struct]
    fold: bytes
    shape: tuple[str, ...]
    raised: str
    """The name of the exception by which the machine failed; nothing can come after it."""


def check(header: Header, entries: Iterable[Entry]) -> None:
    """Raise Unreadable where a machine of this kind could not be told that, or not in this order."""
    allowed, before = EVENTS[header.kind], header.began_ns
    for number, entry in enumerate(entries):
        name = type(entry.event).__name__
        if type(entry.event) not in allowed:
            raise Unreadable(f"entry {number} is a {name}, of which no {header.kind} is told")
        if entry.now < before:
            raise Unreadable(f"entry {number} is earlier than the one before it")
        before = entry.now


class Living:
    """A machine that is told the entries, one a step. What it raises ends it, and is not raised from here."""

    def __init__(self, machine: Machine, entries: Iterable[Entry]) -> None:
        self.machine = machine
        self.digest = Digest()
        """Of all that was ordered so far."""
        self._entries = entries

    def __iter__(self) -> Iterator[Step]:
        for number, entry in enumerate(self._entries):
            commands: Sequence[msgspec.Struct] = ()
            raised = ""
            try:
                commands = self.machine.handle(entry.now, entry.event)
            except Exception as error:  # noqa: BLE001  (a bug of ours: in life too, or only here)
                raised = type(error).__name__
            yield Step(number, entry, commands, self.digest.add(commands), shape(commands), raised)
            if raised:
                return
