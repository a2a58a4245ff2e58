"""Bodies: each as what it is, and whatever it is as long."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.words import Words
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event

TYPES = [
    "application/json",
    "application/vnd.amazon.eventstream",
    "text/event-stream; charset=utf-8",
    "text/html",
    "image/png",
    "",
]


def bodies() -> Bodies:
    return Bodies(Words(b"salt"))


@given(st.binary(max_size=200), st.sampled_from(TYPES))
def test_any_bytes_of_any_type_give_as_many(data: bytes, kind: str) -> None:
    assert len(bodies().redact(data, kind)) == len(data)


@pytest.mark.parametrize(("kind", "coding"), [("application/json", "gzip"), ("image/png", ""), ("", "br")])
def test_what_nobody_reads_is_blanked(kind: str, coding: str) -> None:
    assert bodies().redact(b"some bytes\n", kind, coding) == b"xxxxxxxxxx\n"


def test_what_has_zeros_is_no_text() -> None:
    assert bodies().redact("some text".encode("utf-16-le")) == b"x" * 18


def test_text_stays_text() -> None:
    assert bodies().redact("<p>naïve</p>".encode())[:1] == b"<"
    assert "naïve" not in bodies().text("naïve")
    assert msgspec.json.decode(bodies().document('{"role":"user"}')) == {"role": "user"}


def test_json_keeps_its_form_and_the_words_of_the_apis() -> None:
    body = b'{"role":"user","text":"secretly"}'
    made = bodies().redact(body, "application/json; charset=utf-8", "identity")
    assert len(made) == len(body)
    assert msgspec.json.decode(made)["role"] == "user"
    assert b"secretly" not in made


@pytest.mark.parametrize("kind", ["text/event-stream", "application/vnd.amazon.eventstream"])
def test_of_a_stream_each_event_is_redacted_as_what_it_is(kind: str) -> None:
    """A JSON text that came in pieces is put together first; what is no JSON is a word."""
    payloads = [
        b'{"delta":{"partial_json":"{\\"a\\": 1, \\"b\\":"}}',
        b'{"delta":{"partial_json":" \\"secretly\\"}"}}',
        b"said secretly",
    ]
    as_sse = kind == "text/event-stream"
    stream = b"".join(
        b"data: " + payload + b"\n\n" if as_sse else encode_event("chunk", payload) for payload in payloads
    )
    made = bodies().redact(stream, kind)
    assert len(made) == len(stream)
    assert b"secretly" not in made
    if as_sse:
        read = [line.removeprefix(b"data: ") for line in made.split(b"\n\n")[:-1]]
    else:
        read = [frame.payload for frame in EventStreamDecoder().feed(made)]
    first, second, word = read
    pieces = [msgspec.json.decode(payload)["delta"]["partial_json"] for payload in (first, second)]
    whole = msgspec.json.decode("".join(pieces))
    assert [type(value) for value in whole.values()] == [int, str]
    assert word.index(b" ") == len("said")
