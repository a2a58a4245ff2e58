"""Chunked bodies: whatever h11 writes is read back, whatever the cut; nothing is taken that h11 or llhttp
refuses.
"""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.wire.http1 import Limits
from stargate_core.wire.http1.chunked import ChunkedDecoder, body_too_large
from support.compiled import members
from support.http1 import cut, every_byte, h11_requests, llhttp_messages
from support.http1_messages import CHUNKS, LAST_CHUNKS

HEAD = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"


def decode(
    pieces: list[bytes], limits: Limits | None = None, data_max: int | None = None, *, quickly: bool = False
) -> tuple[bytes, str, bytes]:
    """The body, how it ended, and what came after it. quickly: whole chunks are taken by the short way."""
    decoder = ChunkedDecoder(limits or Limits(), data_max)
    body = b""
    rest = b""
    for piece in pieces:
        if decoder.error is not None:
            break
        if decoder.ended:
            rest += piece
            continue
        whole = decoder.whole_chunk(piece) if quickly else None
        body += decoder.decode(piece) if whole is None else whole
        if decoder.ended:
            rest = decoder.rest
    if decoder.error is not None:
        with pytest.raises(type(decoder.error)):
            decoder.check()
        return body, str(decoder.error.reason), b""
    decoder.check()
    return body, "ended" if decoder.ended else "unfinished", rest


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 300), max_size=8))
def test_reads_what_h11_writes_however_it_is_cut(chunks: list[bytes], places: list[int]) -> None:
    writer = h11.Connection(h11.CLIENT)
    writer.send(
        h11.Request(method="POST", target="/", headers=[("host", "h"), ("transfer-encoding", "chunked")])
    )
    wire = b"".join(writer.send(h11.Data(data=data)) for data in chunks)
    wire += writer.send(h11.EndOfMessage(headers=[("x-sum", "1")]))
    assert decode(cut(wire + b"after", places)) == (b"".join(chunks), "ended", b"after")


@given(st.lists(CHUNKS, max_size=4), LAST_CHUNKS, st.lists(st.integers(1, 100), max_size=8))
def test_takes_nothing_that_h11_or_llhttp_refuses(
    chunks: list[bytes], last: bytes, places: list[int]
) -> None:
    wire = b"".join(chunks) + last
    whole = decode([wire])
    assert decode(every_byte(wire)) == whole
    assert decode(cut(wire, places)) == whole
    body, end, rest = whole
    if end == "ended":
        message = HEAD + wire[: len(wire) - len(rest)]
        for found in (h11_requests(message), llhttp_messages(message, "requests")):
            assert [one[3] for one in found] == [body]


@given(
    st.lists(CHUNKS, max_size=6),
    LAST_CHUNKS,
    st.lists(st.integers(1, 100), max_size=4),
    st.none() | st.integers(0, 60),
)
def test_the_short_way_for_whole_chunks_says_the_same(
    chunks: list[bytes], last: bytes, places: list[int], data_max: int | None
) -> None:
    for pieces in ([*chunks, last], cut(b"".join(chunks) + last, places), [*chunks, *chunks, last]):
        assert decode(pieces, data_max=data_max, quickly=True) == decode(pieces, data_max=data_max)


@pytest.mark.parametrize(
    ("before", "data", "body"),
    [
        (b"", b"5\r\nhello\r\n", b"hello"),
        (b"", b"0A\r\n\r\n\r\n\r\n\r\n\r\n\r\n", b"\r\n" * 5),
        (b"2\r\nab\r\n", b"1\r\nc\r\n", b"c"),
        (b"2\r\na", b"b\r\n", None),  # a chunk that has begun
        (b"2\r\nab\r", b"\n", None),
        (b"1", b"\r\na\r\n", None),
        (b"0\r\n", b"a: b\r\n", None),  # trailers
        (b"zz", b"1\r\na\r\n", None),  # it is broken already
        (b"", b"5\r\nhello\r", None),
        (b"", b"5\r\nhello..", None),
        (b"", b"4\r\nhello\r\n", None),
        (b"", b"5\r\nhello\r\n0\r\n\r\n", None),
        (b"", b"0\r\n\r\n", None),
        (b"", b"\r\n\r\n", None),
        (b"", b"0x1\r\na\r\n", None),
        (b"", b"00000000000000001\r\na\r\n", None),  # 17 digits
        (b"", b"b\r\nhello world\r\n", None),  # more than there may be
    ],
)
def test_the_short_way_takes_one_whole_chunk_or_touches_nothing(
    before: bytes, data: bytes, body: bytes | None
) -> None:
    decoder, untouched = ChunkedDecoder(Limits(), 10), ChunkedDecoder(Limits(), 10)
    for one in (decoder, untouched):
        one.decode(before)
    assert decoder.whole_chunk(data) == body
    if body is None:
        # As texts: an error is equal to itself only.
        of_error = {name: str(value) for name, value in members(decoder).items()}
        assert of_error
        assert of_error == {name: str(value) for name, value in members(untouched).items()}


@pytest.mark.parametrize("wire", [b"0" * 100, b"1\r\nab", b"1\r\na\r\r", b"5\r\nhello\r\n\r"])
def test_what_is_held_of_a_size_stays_small(wire: bytes) -> None:
    decoder = ChunkedDecoder(Limits(), None)
    for byte in every_byte(wire):
        assert decoder.error is None
        decoder.decode(byte)
        assert len(decoder._held) <= len(b"0123456789abcdef\r")
        if decoder.error is not None:
            return
    raise AssertionError("bad framing was accepted")


def test_trailers_have_bounds() -> None:
    for size, end in ((20, "ended"), (21, "HEAD_TOO_LARGE")):
        wire = b"0\r\nA: " + b"a" * (size - 7) + b"\r\n\r\n"
        assert decode([wire], Limits(trailer_bytes_max=20))[1] == end
        assert decode(every_byte(wire), Limits(trailer_bytes_max=20))[1] == end
    unfinished = b"0\r\n" + b"A" * 21
    assert decode([unfinished], Limits(trailer_bytes_max=20))[1] == "HEAD_TOO_LARGE"
    for number, end in ((3, "ended"), (4, "TOO_MANY_HEADERS")):
        assert decode([b"0\r\n" + b"A: b\r\n" * number + b"\r\n"], Limits(headers_max=3))[1] == end


def test_a_body_has_the_bound_it_is_given() -> None:
    wire = b"4\r\nabcd\r\n6\r\nefghij\r\n"
    assert decode([wire + b"0\r\n\r\n"], data_max=10) == (b"abcdefghij", "ended", b"")
    assert decode([wire + b"1\r\n"], data_max=10) == (b"abcdefghij", "BODY_TOO_LARGE", b"")
    assert decode([b"ffffffffffffffff\r\n"], data_max=10)[1] == "BODY_TOO_LARGE"
    assert body_too_large(10).status == 413
