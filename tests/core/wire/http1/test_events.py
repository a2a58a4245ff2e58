"""The values: every reason is one that some message gives, so the list holds nothing dead."""

from stargate_core.wire.http1 import ProtocolError, Reason
from support.http1_refusals import REQUESTS, RESPONSES

BOUNDS_AND_ENDS = {
    # Those with tests of their own in the contracts.
    "HEAD_TOO_LARGE",
    "TARGET_TOO_LONG",
    "TOO_MANY_HEADERS",
    "BODY_TOO_LARGE",
    "TOO_MANY_INTERIM",
    "INCOMPLETE_MESSAGE",
    "PARSERS_DISAGREE",  # No message is known that gives it, which test_choice.py goes on checking.
}


def test_every_reason_has_a_message_that_gives_it() -> None:
    given = {reason for _, reason, _ in REQUESTS.values()} | {reason for _, reason in RESPONSES.values()}
    assert given | BOUNDS_AND_ENDS == set(Reason)
    assert not given & BOUNDS_AND_ENDS


def test_an_error_is_its_message_and_shows_its_reason() -> None:
    error = ProtocolError("OF_ANOTHER", "the words", status=502)
    assert str(error) == error.message == "the words"
    assert repr(error) == "ProtocolError(OF_ANOTHER, 'the words', 502)"
    assert ProtocolError(Reason.BAD_HOST, "").status == 400
