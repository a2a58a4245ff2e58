"""The fast server codec: the contract, and that its buffer stays small however requests overlap."""

import pytest

from stargate_core.wire.http1 import ProtocolError, Reason, RequestBody, RequestHead
from stargate_core.wire.http1.events import DEFAULT_LIMITS
from stargate_core.wire.http1.fast_server import FastServerCodec
from stargate_core.wire.http1.head import REQUEST_HEAD
from support.http1_server_contract import GET, POST, ServerContract


class TestContract(ServerContract):
    """What every server codec does."""

    kind = "fast"


def test_requests_that_always_overlap_leave_nothing_behind() -> None:
    codec = FastServerCodec(DEFAULT_LIMITS)
    codec.receive_data(POST)
    for _ in range(10_000):
        assert isinstance(codec.next_event(), RequestHead)
        assert isinstance(codec.next_event(), RequestBody)
        codec.receive_data(GET)  # Before the present request is answered: the buffer is never empty.
        codec.receive_data(b"")
        codec.response(200, [])
        codec.start_next_cycle()
        assert len(codec._buffer) <= 2 * len(POST)


def test_a_body_that_is_the_whole_buffer_is_not_copied() -> None:
    codec = FastServerCodec(DEFAULT_LIMITS)
    body = b"b" * 100
    codec.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
    assert isinstance(codec.next_event(), RequestHead)
    codec.receive_data(body)
    event = codec.next_event()
    assert isinstance(event, RequestBody)
    assert event.data is body


def test_a_head_that_llhttp_refuses_is_refused_for_our_reason_if_we_have_one() -> None:
    for field, reason in (
        (b"A: b", Reason.PARSERS_DISAGREE),
        (b"Content-Length: x", Reason.BAD_CONTENT_LENGTH),
    ):
        codec = FastServerCodec(DEFAULT_LIMITS)
        codec._head = b"GET / HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n\r\n"
        match = REQUEST_HEAD.fullmatch(codec._head)
        assert match is not None
        with pytest.raises(ProtocolError) as caught:
            codec._accept(match, None, len(codec._head))  # None is llhttp's refusal.
        assert caught.value.reason == reason
