"""Frames: checksums that were right are right, and those that were wrong are wrong."""

import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.frames import redact_frames
from stargate_core.journal.redact.words import Words
from stargate_core.wire.eventstream import EventStreamDecoder, encode
from stargate_core.wire.frames import EventStreamError
from support.bedrock import BAD_FRAMES, ERROR_FRAME, converse_story, exception
from support.vectors import recorded_streams

STORY = converse_story(["Hello ", "there."])


def made(data: bytes) -> bytes:
    words = Words(b"salt")
    after = redact_frames(data, words, words.word)
    assert len(after) == len(data)
    return after


def outcome(data: bytes) -> tuple[list[tuple[str, int]], str]:
    """The frames that can be read, and what is wrong then."""
    decoder = EventStreamDecoder()
    frames = []
    try:
        frames = decoder.feed(data)
        decoder.check()
    except EventStreamError as error:
        return [(frame.name, len(frame.raw)) for frame in frames], error.reason.name
    return [(frame.name, len(frame.raw)) for frame in frames], ""


def by_botocore(data: bytes) -> tuple[list[int], str]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    sizes: list[int] = []
    try:
        sizes += [len(event.payload) for event in buffer]
    except ParserError as error:
        return sizes, type(error).__name__
    return sizes, ""


def test_every_recorded_stream_is_read_as_before() -> None:
    for recording in recorded_streams():
        after = made(recording.body)
        assert outcome(after) == outcome(recording.body)
        assert by_botocore(after) == by_botocore(recording.body)


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_what_is_bad_is_bad_in_the_same_way(name: str) -> None:
    data = STORY.beginning + BAD_FRAMES[name] + STORY.end
    after = made(data)
    assert outcome(after) == outcome(data)
    assert by_botocore(after) == by_botocore(data)


@given(st.integers(0, len(STORY.whole)), st.integers(0, len(STORY.whole) - 1), st.integers(0, 7))
def test_flipped_and_cut_anywhere_it_is_read_as_before(end: int, at: int, bit: int) -> None:
    data = bytearray(STORY.whole)
    data[at] ^= 1 << bit
    cut = bytes(data[:end])
    assert outcome(made(cut)) == outcome(cut)


@given(st.binary(max_size=200))
def test_whatever_it_is_it_raises_nothing(data: bytes) -> None:
    made(data)
    made(STORY.beginning + data)


def test_names_stay_and_messages_go() -> None:
    data = exception("throttlingException", "secretly") + ERROR_FRAME + encode({"x-y": "secretly"}, b"{}")
    (first, second, _) = EventStreamDecoder().feed(made(data))
    assert (first.name, second.name) == ("throttlingException", "InternalFailure")
    assert b"secretly" not in made(data)
    assert b"It broke." not in made(data)


def test_an_empty_payload_and_other_kinds_of_headers_stay() -> None:
    data = encode({":message-type": "event", ":event-type": "a", "n": True}, b"")
    assert made(data) == data


@pytest.mark.parametrize(
    "block",
    [b"\x09:secretly", b"\x0fsecretly", b"\x01a\x0bsecretly"],
    ids=["no kind", "longer than it is", "of no known kind"],
)
def test_headers_that_cannot_be_read_are_blanked(block: bytes) -> None:
    """Nobody can say where a header ends; the frame around it is whole."""
    prelude = struct.pack(">II", 16 + len(block), len(block))
    frame = prelude + zlib.crc32(prelude).to_bytes(4, "big") + block
    frame += zlib.crc32(frame).to_bytes(4, "big")
    after = made(frame)
    assert after[12:-4] == b"x" * len(block)
    assert outcome(after) == outcome(frame)
    assert outcome(frame)[1], "the gateway refuses it"
