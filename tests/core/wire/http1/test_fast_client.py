"""The fast client codec: the contract, and that a body piece which came alone is handed on uncopied."""

import pytest

from stargate_core.wire.http1 import DEFAULT_LIMITS, NEED_DATA, Body, ProtocolError, Reason
from stargate_core.wire.http1.fast_client import FastClientCodec
from stargate_core.wire.http1.head import RESPONSE_HEAD
from support.http1_client_contract import ClientContract


class TestContract(ClientContract):
    """What every client codec does."""

    kind = "fast"


def test_a_piece_that_came_alone_is_not_copied() -> None:
    for framing in (b"Content-Length: 1000", b"A: b"):
        codec = FastClientCodec(DEFAULT_LIMITS)
        codec.receive_data(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        codec.next_event()
        piece = b"b" * 100
        codec.receive_data(piece)
        event = codec.next_event()
        assert isinstance(event, Body)
        assert event.data is piece


def test_one_whole_chunk_in_full_flow_takes_the_short_way() -> None:
    codec = FastClientCodec(DEFAULT_LIMITS)
    chunk = b"3\r\nabc\r\n"
    assert codec.receive_body(chunk) is None  # No head has come.
    codec.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert codec.next_event() != NEED_DATA
    assert codec.receive_body(chunk) == b"abc"
    codec.receive_data(chunk)
    assert codec.receive_body(chunk) is None  # Something is still to be read.
    assert codec.next_event() == Body(b"abc")
    assert codec.receive_body(chunk) == b"abc"


def test_a_head_that_llhttp_refuses_is_refused_for_our_reason_if_we_have_one() -> None:
    for field, reason in (
        (b"A: b", Reason.PARSERS_DISAGREE),
        (b"Content-Length: x", Reason.BAD_CONTENT_LENGTH),
    ):
        head = b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n"
        match = RESPONSE_HEAD.fullmatch(head)
        assert match is not None
        with pytest.raises(ProtocolError) as caught:
            FastClientCodec(DEFAULT_LIMITS)._accept(match, head, None, len(head))  # None is llhttp's refusal.
        assert caught.value.reason == reason
