"""Streams: put together by where they came from, cut again as they were."""

from stargate_core.journal.format import Entry
from stargate_core.journal.redact.streams import redact_in_place, streams_of
from stargate_core.messages import (
    AnswerBegan,
    AnswerSent,
    ClientSent,
    FlightSent,
    Source,
    StoreOpened,
    StoreSent,
    Ticked,
    UpstreamSent,
)

ENTRIES = [
    Entry(0, ClientSent(b"ab")),
    Entry(1, UpstreamSent(1, b"cd")),
    Entry(2, ClientSent(b"")),
    Entry(3, Ticked()),
    Entry(4, UpstreamSent(2, b"ef")),
    Entry(5, ClientSent(b"ghi")),
    Entry(6, AnswerBegan(4, Source.KEPT, [(b"content-type", b"a/b")])),
    Entry(7, AnswerSent(4, b"jk")),
    Entry(8, FlightSent(4, b"lm")),
    Entry(9, StoreSent(b"no")),
    Entry(10, StoreOpened()),
    Entry(11, StoreSent(b"pq")),
]


def test_each_source_is_a_stream_of_its_own() -> None:
    found = {stream.source: stream for stream in streams_of(ENTRIES)}
    assert {source: b"".join(stream.pieces) for source, stream in found.items()} == {
        ("client", 0): b"abghi",
        ("upstream", 1): b"cd",
        ("upstream", 2): b"ef",
        ("answer", 4): b"jk",
        ("flight", 4): b"lm",
        ("store", 0): b"no",
        ("store", 1): b"pq",
    }
    assert found["client", 0].ends == [2, 2, 5]
    assert found["answer", 4].content_type == "a/b"


def test_it_is_cut_where_it_was_cut() -> None:
    entries = list(ENTRIES)
    redact_in_place(entries, streams_of(ENTRIES)[0], bytes.upper, bytes.lower)
    events = [entry.event for entry in entries]
    assert events[0] == ClientSent(b"AB")
    assert events[5] == ClientSent(b"GHI")
    assert events[1] == ENTRIES[1].event


def test_what_is_not_as_long_as_before_is_blanked() -> None:
    entries = list(ENTRIES)
    redact_in_place(entries, streams_of(ENTRIES)[0], lambda data: data + b"!", bytes.title)
    assert entries[0].event == ClientSent(b"Ab")
