"""Two codecs, one opinion: fast and reference against each other and against plain h11 and plain llhttp, on
messages from impeccable to mutilated.

1. Fast and reference agree exactly: events, reasons, words, where each message ends, whether the connection
lives on. 2. How the bytes are cut makes no difference. 3. What both accept, plain h11 and plain llhttp accept
too, with the same fields and the same end.

One deliberate exception to the third: a proposed Upgrade. We go on with HTTP/1.1, as RFC 9110 section 7.8
allows; h11 waits behind such a request for what we decide, and httptools hides from llhttp that it has a
body.
"""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from stargate_core.wire.http1 import Body, EndOfMessage, RequestHead, ResponseHead, client_codec, server_codec
from stargate_core.wire.http1.fast_client import FastClientCodec
from stargate_core.wire.http1.fast_server import FastServerCodec
from stargate_core.wire.http1.reference_client import ReferenceClientCodec
from stargate_core.wire.http1.reference_server import ReferenceServerCodec
from support.http1 import (
    KINDS,
    Message,
    cut,
    error_of,
    every_byte,
    h11_requests,
    h11_response,
    llhttp_messages,
    messages,
    read_requests,
    read_response,
)
from support.http1_messages import cuts, requests, responses


def test_the_names_name_the_codecs() -> None:
    assert type(server_codec()) is type(server_codec(codec="fast")) is FastServerCodec
    assert type(client_codec()) is type(client_codec(codec="fast")) is FastClientCodec
    assert type(server_codec(codec="reference")) is ReferenceServerCodec
    assert type(client_codec(codec="reference")) is ReferenceClientCodec


def as_h11_shows_it(message: Message) -> Message:
    """h11 writes transfer codings in lower case."""
    start, target, headers, body = message
    return start, target, [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in headers], body


@settings(max_examples=300)
@given(requests(), cuts(), st.booleans())
def test_requests(data: bytes, places: list[int], eof: bool) -> None:
    said = read_requests("fast", [data], eof=eof)
    assert read_requests("reference", [data], eof=eof) == said
    for kind in KINDS:
        assert read_requests(kind, cut(data, places), eof=eof) == said
    assert read_requests("fast", every_byte(data), eof=eof) == said
    error = error_of(said)
    event(error[0] if error else "accepted")
    assert error is None or (error[0] != "PARSERS_DISAGREE" and error[1].isascii() and error[1].isprintable())

    by_h11, by_llhttp = h11_requests(data), llhttp_messages(data, "requests")
    for number, message in enumerate(messages(said)):
        assert by_h11[number] == as_h11_shows_it(message)
        if any(name == b"upgrade" for name, _ in message[2]):
            break
        assert by_llhttp[number] == message


@settings(max_examples=300)
@given(responses(), cuts(), st.booleans())
def test_responses(data: bytes, places: list[int], eof: bool) -> None:
    said, reusable = read_response("fast", [data], eof=eof)
    assert read_response("reference", [data], eof=eof) == (said, reusable)
    for kind in KINDS:
        assert read_response(kind, cut(data, places), eof=eof) == (said, reusable)
    assert read_response("fast", every_byte(data), eof=eof) == (said, reusable)
    error = error_of(said)
    event(error[0] if error else "accepted")
    assert error is None or (error[0] != "PARSERS_DISAGREE" and error[1].isascii() and error[1].isprintable())

    for message in messages(said):
        assert h11_response(data, eof=eof) == [as_h11_shows_it(message)]
        head = next(step for step in said if isinstance(step, ResponseHead))
        if head.chunked or head.content_length is not None:  # httptools can't be told of the end.
            assert llhttp_messages(data, "response")[:1] == [message]


@given(requests(), responses())
def test_whatever_comes_only_events_and_one_exception_come_out(request: bytes, response: bytes) -> None:
    # The drivers let any other exception pass, and fail on an endless codec.
    for kind in KINDS:
        for step in read_requests(kind, [response], eof=True):
            assert not isinstance(step, RequestHead)
        for end in read_response(kind, [request], eof=True)[0]:
            assert not isinstance(end, EndOfMessage | Body)
