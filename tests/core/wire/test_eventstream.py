"""The event-stream codec, against botocore's decoder, the two vector sets that AWS's SDKs share, and real
streams that Bedrock sent.
"""

import base64
import itertools
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from stargate_core.wire.eventstream import (
    END,
    FRAME_BYTES_MAX,
    HEADERS_BYTES_MAX,
    NEED_DATA,
    EventStreamDecoder,
    encode,
    encode_error,
    encode_event,
    encode_exception,
)
from stargate_core.wire.frames import (
    Corruption,
    EventStreamError,
    Frame,
    FrameKind,
    HeaderValue,
    Int8,
    Int16,
    Int32,
    Int64,
    Timestamp,
    Uuid,
)
from support.vectors import VECTORS, Recording, recorded_streams

GO: Final = VECTORS / "eventstream-aws-sdk-go"
BOTOCORE: Final[dict[str, Any]] = msgspec.json.decode(
    (VECTORS / "eventstream-botocore" / "vectors.json").read_bytes()
)
STREAMS: Final = recorded_streams()
SMALL_STREAM: Final = min((recording.body for recording in STREAMS), key=len)

Outcome = tuple[list[tuple[dict[str, Any], bytes]], bool]
"""What was decoded, headers as plain values, and whether the end was an error."""


def plain(value: HeaderValue) -> Any:
    """A header's value as botocore gives it: without its wire type."""
    match value:
        case Int8(value=number) | Int16(value=number) | Int32(value=number) | Int64(value=number):
            return number
        case Timestamp(epoch_ms=number):
            return number
        case Uuid(octets=octets):
            return octets
        case _:
            return value


def ours(data: bytes) -> Outcome:
    """What our decoder makes of `data`, given whole."""
    decoder = EventStreamDecoder()
    frames: list[Frame] = []
    try:
        frames += decoder.feed(data)
        frames += decoder.feed(b"")
    except EventStreamError:
        return [summary(frame) for frame in frames], True
    return [summary(frame) for frame in frames], False


def summary(frame: Frame) -> tuple[dict[str, Any], bytes]:
    return {name: plain(value) for name, value in frame.headers.items()}, frame.payload


def botocores(data: bytes) -> Outcome:
    """What botocore's decoder makes of `data`, given whole."""
    buffer: Any = EventStreamBuffer()  # the stubs take the headers for a number
    buffer.add_data(data)
    messages: list[tuple[dict[str, Any], bytes]] = []
    try:
        messages.extend((message.headers, message.payload) for message in buffer)
    except (ParserError, KeyError, struct.error, UnicodeDecodeError):
        return messages, True
    return messages, False


def decode_pieces(pieces: Iterable[bytes]) -> list[Frame]:
    """All frames of a stream that arrives in pieces and then ends, by the codec's ordinary face."""
    decoder = EventStreamDecoder()
    frames: list[Frame] = []
    for piece in pieces:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not NEED_DATA:
            assert isinstance(event, Frame)
            frames.append(event)
    decoder.receive_eof()
    assert decoder.next_event() is END
    return frames


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def frame_of(block: bytes, payload: bytes = b"") -> bytes:
    """A frame with good checksums around any header block, built here and not by the code under test."""
    lengths = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = lengths + struct.pack(">I", zlib.crc32(lengths)) + block + payload
    return body + struct.pack(">I", zlib.crc32(body))


def prelude(total: int, headers_length: int) -> bytes:
    """A frame's first bytes, with a good checksum over whatever lengths."""
    lengths = struct.pack(">II", total, headers_length)
    return lengths + struct.pack(">I", zlib.crc32(lengths))


def reason_of(data: bytes, **limits: int) -> Corruption:
    with pytest.raises(EventStreamError) as caught:
        EventStreamDecoder(**limits).feed(data)
    return caught.value.reason


def announced(head: bytes) -> int:
    """How long the value after `head` should be: a UUID's 16 bytes, or what the last two bytes say."""
    return 16 if head[-1] == 9 else int.from_bytes(head[-2:])


NAMES: Final = st.text(min_size=1, max_size=60).filter(lambda name: len(name.encode()) <= 255)
VALUES: Final[SearchStrategy[HeaderValue]] = st.one_of(
    st.booleans(),
    st.integers(-(2**7), 2**7 - 1).map(Int8),
    st.integers(-(2**15), 2**15 - 1).map(Int16),
    st.integers(-(2**31), 2**31 - 1).map(Int32),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.binary(max_size=300),
    st.text(max_size=300),
    st.integers(-(2**63), 2**63 - 1).map(Timestamp),
    st.binary(min_size=16, max_size=16).map(Uuid),
)
HEADERS: Final = st.dictionaries(NAMES, VALUES, max_size=12)


class TestVectors:
    GO_TYPES: Final[Mapping[int, Any]] = {
        0: lambda value: value,
        1: lambda value: value,
        2: Int8,
        3: Int16,
        4: Int32,
        5: Int64,
        6: base64.b64decode,
        7: lambda value: base64.b64decode(value).decode(),
        8: Timestamp,
        9: lambda value: Uuid(base64.b64decode(value)),
    }

    @pytest.mark.parametrize(
        "path", sorted((GO / "encoded" / "positive").iterdir()), ids=lambda path: path.name
    )
    def test_valid_frames_of_the_go_sdk(self, path: Any) -> None:
        expected = msgspec.json.decode((GO / "decoded" / "positive" / path.name).read_bytes())
        (frame,) = decode_pieces([path.read_bytes()])
        headers = {item["name"]: self.GO_TYPES[item["type"]](item["value"]) for item in expected["headers"]}
        assert list(frame.headers.items()) == list(headers.items())
        assert frame.payload == base64.b64decode(expected["payload"])
        assert encode(headers, frame.payload) == path.read_bytes()

    @pytest.mark.parametrize(
        "path", sorted((GO / "encoded" / "negative").iterdir()), ids=lambda path: path.name
    )
    def test_invalid_frames_of_the_go_sdk(self, path: Any) -> None:
        expected = (GO / "decoded" / "negative" / path.name).read_text().strip()
        assert reason_of(path.read_bytes()).value.casefold() == expected.casefold()

    @pytest.mark.parametrize("case", BOTOCORE["positive"], ids=lambda case: case["name"])
    def test_valid_frames_of_botocore(self, case: dict[str, Any]) -> None:
        raw = bytes.fromhex(case["encoded_hex"])
        (frame,) = decode_pieces(in_pieces(raw, 1))
        headers = {
            name: base64.b64decode(value["b64"]) if isinstance(value, dict) else value
            for name, value in case["headers"].items()
        }
        assert summary(frame) == (headers, base64.b64decode(case["payload_b64"]))
        assert frame.raw == raw
        assert encode(frame.headers, frame.payload) == raw

    @pytest.mark.parametrize("case", BOTOCORE["negative"], ids=lambda case: case["name"])
    def test_invalid_frames_of_botocore(self, case: dict[str, Any]) -> None:
        reasons = {
            "ChecksumMismatch": {Corruption.BAD_PRELUDE_CRC, Corruption.BAD_MESSAGE_CRC},
            "InvalidHeadersLength": {Corruption.TOO_LARGE},
            "InvalidPayloadLength": {Corruption.TOO_LARGE},
            "DuplicateHeader": {Corruption.DUPLICATE_HEADER},
        }
        if case["encoded_hex"] is None:  # the largest is told as a recipe
            prelude, payload, crc = case["recipe"].split(" + ")
            assert payload == "b'0'*(24*1024**2+1)"
            raw = bytes.fromhex(prelude) + b"0" * (24 * 1024**2 + 1) + bytes.fromhex(crc)
        else:
            raw = bytes.fromhex(case["encoded_hex"])
        assert reason_of(raw) in reasons[case["expect"]]


class TestRecordedStreams:
    @pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
    def test_the_frames_are_botocores_however_they_are_cut(self, recording: Recording) -> None:
        data = recording.body
        frames = decode_pieces([data])
        assert ([summary(frame) for frame in frames], False) == botocores(data)
        assert Counter(frame.kind for frame in frames) == {FrameKind.EVENT: len(frames)}
        assert b"".join(frame.raw for frame in frames) == data
        assert decode_pieces(in_pieces(data, 1)) == frames
        assert decode_pieces(in_pieces(data, 97)) == frames

    @pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
    def test_we_write_events_as_bedrock_does(self, recording: Recording) -> None:
        frames = decode_pieces([recording.body])
        written = [encode_event(frame.name, frame.payload) for frame in frames]
        assert written == [frame.raw for frame in frames]

    @given(cuts=st.lists(st.integers(0, len(SMALL_STREAM)), max_size=20))
    def test_any_cut_gives_the_same_frames(self, cuts: list[int]) -> None:
        at = [0, *sorted(cuts), len(SMALL_STREAM)]
        pieces = [SMALL_STREAM[start:end] for start, end in itertools.pairwise(at)]
        assert decode_pieces(pieces) == decode_pieces([SMALL_STREAM])
        decoder = EventStreamDecoder()
        fed = [frame for piece in pieces for frame in decoder.feed(piece)]
        assert fed == decode_pieces([SMALL_STREAM])

    def test_many_frames_in_one_piece(self) -> None:
        frames = decode_pieces([SMALL_STREAM])
        repeats = math.ceil(16_000 / len(frames))
        assert decode_pieces([SMALL_STREAM * repeats]) == frames * repeats


class TestAgainstBotocore:
    @pytest.mark.parametrize(
        "raw",
        [decode_pieces([SMALL_STREAM])[0].raw, (GO / "encoded" / "positive" / "all_headers").read_bytes()],
        ids=["a real frame", "all header types"],
    )
    def test_every_single_byte_corruption_gets_the_same_verdict(self, raw: bytes) -> None:
        # A good frame behind it, so that a frame that has become longer is complete as well.
        follower = encode_event("chunk", bytes(300))
        for at in range(len(raw)):
            for value in range(256):
                corrupt = raw[:at] + bytes((value,)) + raw[at + 1 :] + follower
                decoded, failed = ours(corrupt)
                assert (decoded, failed) == botocores(corrupt)
                assert failed is (value != raw[at])

    @given(headers=HEADERS, payload=st.binary(max_size=500))
    def test_random_frames_survive_the_round_trip_and_botocore_agrees(
        self, headers: dict[str, HeaderValue], payload: bytes
    ) -> None:
        raw = encode(headers, payload)
        (frame,) = decode_pieces([raw])
        assert (dict(frame.headers), frame.payload, frame.raw) == (headers, payload, raw)
        assert ours(raw) == botocores(raw)

    @given(block=st.binary(max_size=40))
    @example(block=b"")
    @example(block=b"\x01a\x0a")
    @example(block=b"\x01a\x07\x00\x02b")
    @example(block=b"\x01\xff\x00")
    def test_a_header_block_is_refused_when_botocore_refuses_it_or_reads_past_its_end(
        self, block: bytes
    ) -> None:
        raw = frame_of(block)
        decoded, failed = ours(raw)
        theirs, theirs_failed = botocores(raw)
        if not failed:
            assert (decoded, failed) == (theirs, theirs_failed)
            (frame,) = decode_pieces([raw])
            assert encode(frame.headers, frame.payload) == raw
        elif not theirs_failed:
            # botocore slices, and so accepts a name of no bytes, and a last value shorter than announced.
            ((headers, _),) = theirs
            *_, last = headers.values()
            octets = last.encode() if isinstance(last, str) else last
            assert "" in headers or len(octets) < announced(block[: len(block) - len(octets)])

    @settings(max_examples=50)
    @given(st.lists(st.tuples(HEADERS, st.binary(max_size=40)), max_size=5), st.binary(max_size=30))
    def test_frames_followed_by_rubbish(
        self, parts: list[tuple[dict[str, HeaderValue], bytes]], rubbish: bytes
    ) -> None:
        stream = b"".join(encode(headers, payload) for headers, payload in parts) + rubbish
        assert ours(stream) == botocores(stream)


class TestFailure:
    GOOD: Final = encode_event("messageStart", b"{}")
    BAD: Final = GOOD[:-1] + bytes((GOOD[-1] ^ 1,))

    def test_good_frames_come_before_the_error_and_the_error_stays(self) -> None:
        decoder = EventStreamDecoder()
        assert len(decoder.feed(self.GOOD + self.GOOD + self.BAD + self.GOOD)) == 2
        for _ in range(3):
            with pytest.raises(EventStreamError) as caught:
                decoder.feed(self.GOOD)
            assert caught.value.reason is Corruption.BAD_MESSAGE_CRC

    def test_the_ordinary_face_fails_likewise(self) -> None:
        decoder = EventStreamDecoder()
        decoder.receive_data(self.GOOD + self.BAD)
        assert isinstance(decoder.next_event(), Frame)
        decoder.receive_data(self.GOOD)
        for _ in range(3):
            with pytest.raises(EventStreamError, match="message checksum mismatch"):
                decoder.next_event()

    def test_a_bad_frame_behind_good_ones_is_known_at_once(self) -> None:
        decoder = EventStreamDecoder()
        assert len(decoder.feed(self.GOOD)) == 1
        decoder.check()
        assert len(decoder.feed(self.GOOD + self.BAD)) == 1
        with pytest.raises(EventStreamError, match="message checksum mismatch"):
            decoder.check()

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_bytes_are_fed(self, kind: type[bytes | bytearray | memoryview]) -> None:
        decoder = EventStreamDecoder()
        half = len(self.GOOD) // 2
        assert decoder.feed(kind(self.GOOD[:half])) == []
        frames = decoder.feed(kind(self.GOOD[half:] + self.GOOD)) + decoder.feed(kind(self.GOOD))
        assert frames == decode_pieces([self.GOOD * 3])
        assert {type(frame.raw) for frame in frames} == {bytes}

    @pytest.mark.parametrize("left", range(1, len(GOOD)))
    def test_a_stream_cut_inside_a_frame(self, left: int) -> None:
        decoder = EventStreamDecoder()
        decoder.receive_data(self.GOOD + self.GOOD[:left])
        assert isinstance(decoder.next_event(), Frame)
        assert decoder.next_event() is NEED_DATA
        decoder.receive_eof()
        for _ in range(2):
            with pytest.raises(EventStreamError) as caught:
                decoder.next_event()
            assert caught.value.reason is Corruption.CUT

    def test_an_empty_stream_ends_well(self) -> None:
        assert decode_pieces([]) == []

    def test_a_wrong_length_is_not_waited_for(self) -> None:
        # A length of 3 GiB with the checksum of the true one: refused from the twelve bytes alone.
        assert reason_of(b"\xc0" + self.GOOD[1:12]) is Corruption.BAD_PRELUDE_CRC

    @pytest.mark.parametrize(
        ("total", "headers", "reason"),
        [
            (15, 0, Corruption.BAD_LENGTH),
            (0, 0, Corruption.BAD_LENGTH),
            (100, 85, Corruption.BAD_LENGTH),
            (FRAME_BYTES_MAX + 1, 0, Corruption.TOO_LARGE),
            (0xFFFFFFFF, 0xFFFFFFFF, Corruption.TOO_LARGE),
            (FRAME_BYTES_MAX, HEADERS_BYTES_MAX + 1, Corruption.TOO_LARGE),
        ],
    )
    def test_lengths_that_no_frame_has(self, total: int, headers: int, reason: Corruption) -> None:
        assert reason_of(prelude(total, headers)) is reason
        assert reason_of(prelude(total, headers) + bytes(200)) is reason

    def test_the_limits_are_the_last_allowed_values(self) -> None:
        largest = encode({}, bytes(FRAME_BYTES_MAX - 16))
        assert len(decode_pieces(in_pieces(largest, 65_536))) == 1
        assert reason_of(self.GOOD, frame_bytes_max=len(self.GOOD) - 1) is Corruption.TOO_LARGE
        assert len(EventStreamDecoder(frame_bytes_max=len(self.GOOD)).feed(self.GOOD)) == 1
        many = {f"{number:03}": bytes(1000) for number in range(130)}
        used = sum(1 + 3 + 1 + 2 + 1000 for _ in many)
        full = {**many, "x": bytes(HEADERS_BYTES_MAX - used - 5)}
        assert dict(decode_pieces([encode(full, b"")])[0].headers) == full
        with pytest.raises(ValueError, match="at most 131072"):
            encode({**many, "x": bytes(HEADERS_BYTES_MAX - used - 4)}, b"")
        with pytest.raises(ValueError, match="at most 25165824"):
            encode({}, bytes(FRAME_BYTES_MAX - 15))

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"\xc0" + GOOD[1:12], f"prelude checksum mismatch: expected 0x{GOOD[8:12].hex()}"),
            (BAD, f"message checksum mismatch: expected 0x{BAD[-4:].hex()}"),
            (
                prelude(FRAME_BYTES_MAX + 1, 0),
                "frame or header block too large: 25165825 bytes; at most 25165824",
            ),
            (
                prelude(FRAME_BYTES_MAX, HEADERS_BYTES_MAX + 1),
                "frame or header block too large: 131073 bytes of headers; at most 131072",
            ),
            (
                prelude(100, 85),
                "lengths contradict each other: 100 bytes in all with 85 bytes of headers",
            ),
            (frame_of(b"\x00\x00"), "malformed headers: a header without a name"),
            (frame_of(b"\x01a"), "malformed headers: a header runs past the end of its block"),
            (frame_of(b"\x01\xff\x00"), "malformed headers: a header name or text is not UTF-8"),
            (frame_of(b"\x01a\x0a"), "malformed headers: unknown header type 10"),
            (frame_of(b"\x01a\x00\x01a\x01"), "duplicate header: a"),
        ],
    )
    def test_the_detail_says_what_is_wrong_at_once_and_later(self, data: bytes, said: str) -> None:
        decoder = EventStreamDecoder()
        for _ in range(2):
            with pytest.raises(EventStreamError) as caught:
                decoder.feed(data)
            assert str(caught.value) == said
            assert said == f"{caught.value.reason.value}: {caught.value.detail}"

    def test_the_detail_of_a_cut_says_how_much_there_was(self) -> None:
        decoder = EventStreamDecoder()
        decoder.receive_data(self.GOOD[:20])
        assert decoder.next_event() is NEED_DATA
        decoder.receive_eof()
        for _ in range(2):
            with pytest.raises(EventStreamError) as caught:
                decoder.next_event()
            assert caught.value.detail == f"20 bytes of a frame of at least {len(self.GOOD)}"

    def test_data_after_the_end_is_a_mistake_of_the_programmers(self) -> None:
        decoder = EventStreamDecoder()
        decoder.receive_eof()
        with pytest.raises(AssertionError, match=r"^data after receive_eof"):
            decoder.receive_data(self.GOOD)

    @pytest.mark.parametrize(
        ("block", "reason"),
        [
            (b"\x01a\x0a", Corruption.BAD_HEADERS),
            (b"\x00\x00", Corruption.BAD_HEADERS),
            (b"\x01a", Corruption.BAD_HEADERS),
            (b"\x05a\x00", Corruption.BAD_HEADERS),
            (b"\x01a\x05\x00", Corruption.BAD_HEADERS),
            (b"\x01a\x09" + bytes(15), Corruption.BAD_HEADERS),
            (b"\x01a\x06\x00", Corruption.BAD_HEADERS),
            (b"\x01a\x07\x00\x02b", Corruption.BAD_HEADERS),
            (b"\x01a\x07\x00\x01\xff", Corruption.BAD_HEADERS),
            (b"\x01\xff\x00", Corruption.BAD_HEADERS),
            (b"\x01a\x00\x01a\x01", Corruption.DUPLICATE_HEADER),
        ],
    )
    def test_malformed_headers(self, block: bytes, reason: Corruption) -> None:
        assert reason_of(frame_of(block)) is reason
        # Not even once a cache could have an opinion, and not in a block too long for one.
        assert reason_of(frame_of(block)) is reason
        long = b"\x01z\x06" + struct.pack(">H", 1000) + bytes(1000)
        assert reason_of(frame_of(long + block)) is reason


class TestMeaning:
    @pytest.mark.parametrize(
        ("headers", "kind", "name"),
        [
            ({":message-type": "event", ":event-type": "chunk"}, FrameKind.EVENT, "chunk"),
            (
                {":message-type": "event", ":event-type": "initial-response"},
                FrameKind.EVENT,
                "initial-response",
            ),
            (
                {":message-type": "event", ":event-type": "throttlingException"},
                FrameKind.EXCEPTION,
                "throttlingException",
            ),
            (
                {":message-type": "exception", ":exception-type": "ThrottlingException"},
                FrameKind.EXCEPTION,
                "ThrottlingException",
            ),
            ({":message-type": "error", ":error-code": "500"}, FrameKind.ERROR, "500"),
            ({":message-type": "event"}, FrameKind.OTHER, ""),
            ({":message-type": "event", ":event-type": ""}, FrameKind.OTHER, ""),
            ({":message-type": "event", ":event-type": b"chunk"}, FrameKind.OTHER, ""),
            ({":message-type": "event", ":exception-type": "x"}, FrameKind.OTHER, ""),
            ({":message-type": "exception", ":event-type": "chunk"}, FrameKind.OTHER, ""),
            ({":message-type": "error", ":error-message": "x"}, FrameKind.OTHER, ""),
            ({":message-type": "Event", ":event-type": "chunk"}, FrameKind.OTHER, ""),
            ({":message-type": b"event", ":event-type": "chunk"}, FrameKind.OTHER, ""),
            ({":event-type": "chunk"}, FrameKind.OTHER, ""),
            ({}, FrameKind.OTHER, ""),
        ],
    )
    def test_what_a_frame_is(self, headers: dict[str, HeaderValue], kind: FrameKind, name: str) -> None:
        for order in (headers, dict(reversed(headers.items()))):
            (frame,) = decode_pieces([encode(order, b"{}")])
            assert (frame.kind, frame.name) == (kind, name)

    def test_what_we_write_is_what_it_says(self) -> None:
        frames = decode_pieces(
            [
                encode_exception("throttlingException", b'{"message":"x"}')
                + encode_error("InternalFailure", "why")
            ]
        )
        assert [(frame.kind, frame.name) for frame in frames] == [
            (FrameKind.EXCEPTION, "throttlingException"),
            (FrameKind.ERROR, "InternalFailure"),
        ]
        assert frames[0].headers[":content-type"] == "application/json"
        assert frames[1].headers[":error-message"] == "why"
        assert frames[1].payload == b""

    def test_headers_cannot_be_changed(self) -> None:
        # They are shared by all frames with the same block.
        (frame,) = decode_pieces([encode_event("chunk", b"{}")])
        with pytest.raises(TypeError):
            frame.headers["x"] = "y"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


class TestEncodeRefuses:
    @pytest.mark.parametrize(
        "headers",
        [
            {"": True},
            {"n" * 256: True},
            {"é" * 128: True},
            {"n": Int8(128)},
            {"n": Int16(-32_769)},
            {"n": Int32(2**31)},
            {"n": Int64(2**63)},
            {"n": Timestamp(2**63)},
            {"n": Uuid(bytes(15))},
            {"n": "x" * 65_536},
            {"n": bytes(65_536)},
        ],
        ids=repr,
    )
    def test_what_does_not_fit(self, headers: dict[str, HeaderValue]) -> None:
        with pytest.raises(ValueError):
            encode(headers, b"")
