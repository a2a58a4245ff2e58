"""Streams: bytes that came in pieces, put together by where they came from, and cut again as they were."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import msgspec

from stargate_core.journal.format import Entry
from stargate_core.messages import (
    AnswerBegan,
    AnswerSent,
    ClientSent,
    FlightBegan,
    FlightSent,
    StoreOpened,
    StoreSent,
    UpstreamSent,
)

_PIECES: Final = (ClientSent, UpstreamSent, AnswerSent, FlightSent, StoreSent)
Source = tuple[str, Hashable]
"""client; upstream and a lease; answer and a ticket; flight and its number; store and a connection."""


class Stream:
    """All that one source has sent."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at: list[int] = []
        """The entries that bring it."""
        self.ends: list[int] = []
        """Where in the stream each of them ends."""
        self.pieces: list[bytes] = []
        self.content_type = ""
        """Of a shared answer."""

    def add(self, number: int, data: bytes) -> None:
        """One more piece."""
        self.at.append(number)
        self.pieces.append(data)
        self.ends.append(len(data) + (self.ends[-1] if self.ends else 0))


def streams_of(entries: Sequence[Entry]) -> list[Stream]:
    """The streams among entries, in the order of their beginnings."""
    found: dict[Source, Stream] = {}
    stores = 0
    source: Source
    for number, entry in enumerate(entries):
        event = entry.event
        if isinstance(event, StoreOpened):
            stores += 1
        elif isinstance(event, AnswerBegan | FlightBegan):
            source = ("answer", event.ticket) if isinstance(event, AnswerBegan) else ("flight", event.flight)
            stream = found.setdefault(source, Stream(source))
            told = (value for name, value in event.headers if name == b"content-type")
            stream.content_type = next(told, b"").decode("latin-1")
        elif isinstance(event, _PIECES):
            source = _source(event, stores)
            found.setdefault(source, Stream(source)).add(number, event.data)
    return list(found.values())


def _source(event: Any, stores: int) -> Source:
    match event:
        case UpstreamSent(lease):
            return "upstream", lease
        case AnswerSent(ticket):
            return "answer", ticket
        case FlightSent(flight):
            return "flight", flight
        case StoreSent():
            return "store", stores
        case _:
            return "client", 0


def redact_in_place(
    entries: list[Entry], stream: Stream, redact: Callable[[bytes], bytes], blank: Callable[[bytes], bytes]
) -> None:
    """Put the redacted stream where the stream is, cut as it is cut. blank: where it can't be redacted."""
    whole = b"".join(stream.pieces)
    made = redact(whole)
    if len(made) != len(whole):
        made = blank(whole)
    begin = 0
    for number, end in zip(stream.at, stream.ends, strict=True):
        entry = entries[number]
        event = msgspec.structs.replace(entry.event, data=made[begin:end])
        entries[number] = msgspec.structs.replace(entry, event=event)
        begin = end
