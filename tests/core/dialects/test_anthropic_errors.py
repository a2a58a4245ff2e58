"""Anthropic's error envelope: what its SDK makes of it, and that Bedrock's own words are inside."""

from typing import Any

import anthropic
import msgspec
import pytest

from stargate_core.aws.exceptions import EXCEPTION_STATUSES
from stargate_core.dialects.anthropic_errors import envelope, failure, in_band
from stargate_core.faults import TABLE, Cause, Fault, fault_of_aws
from stargate_core.wire.sse import SseDecoder
from support.dialects import REQUEST_ID
from support.sdks import anthropic_client

TYPES = {
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
}
"""All that Anthropic documents."""


def raised(fault: Fault) -> anthropic.APIStatusError:
    """What the SDK raises for a fault."""
    with anthropic_client(lambda _: failure(fault, REQUEST_ID)) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(model="claude", max_tokens=1, messages=[{"role": "user", "content": "hi"}])
    return caught.value


@pytest.mark.parametrize("cause", list(Cause))
def test_every_fault_has_a_type_that_anthropic_knows(cause: Cause) -> None:
    told = envelope(Fault(cause), REQUEST_ID)
    assert told["error"]["type"] in TYPES
    assert told["request_id"] == REQUEST_ID
    assert failure(Fault(cause), REQUEST_ID).status == (TABLE[cause].anthropic_status or TABLE[cause].status)


@pytest.mark.parametrize(
    ("cause", "error", "status"),
    [
        (Cause.BODY_INVALID, anthropic.BadRequestError, 400),
        (Cause.CONTEXT_OVERFLOW, anthropic.BadRequestError, 400),
        (Cause.KEY_MISSING, anthropic.AuthenticationError, 401),
        (Cause.MODEL_FORBIDDEN, anthropic.PermissionDeniedError, 403),
        (Cause.MODEL_UNKNOWN, anthropic.NotFoundError, 404),
        (Cause.BODY_TOO_LARGE, anthropic.RequestTooLargeError, 413),
        (Cause.RATE_LIMITED, anthropic.RateLimitError, 429),
        (Cause.UPSTREAM_THROTTLED, anthropic.RateLimitError, 429),
        (Cause.UPSTREAM_UNAVAILABLE, anthropic.OverloadedError, 529),
        (Cause.UPSTREAM_NOT_READY, anthropic.OverloadedError, 529),
        (Cause.INTERNAL, anthropic.InternalServerError, 500),
        (Cause.TOTAL_TIMEOUT, anthropic.DeadlineExceededError, 504),
    ],
)
def test_the_sdk_raises_its_own(cause: Cause, error: type[Exception], status: int) -> None:
    caught = raised(Fault(cause, "Words."))
    assert type(caught) is error
    assert caught.status_code == status
    body: Any = caught.body
    assert body["error"]["message"] == "Words."


@pytest.mark.parametrize("name", [name for name in EXCEPTION_STATUSES if name != "AccessDeniedException"])
def test_bedrocks_own_words_are_inside(name: str) -> None:
    fault = fault_of_aws(name, EXCEPTION_STATUSES[name], "tools.0.name: String should match pattern")
    assert envelope(fault, "")["error"]["message"] == "tools.0.name: String should match pattern"


@pytest.mark.parametrize(
    "words",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum",
    ],
)
def test_so_are_those_by_which_a_client_shortens_its_prompt(words: str) -> None:
    fault = fault_of_aws("ValidationException", 400, words)
    assert fault.cause is Cause.CONTEXT_OVERFLOW
    assert envelope(fault, "")["error"] == {"type": "invalid_request_error", "message": words}


def test_what_names_the_gateways_own_accounts_is_not() -> None:
    fault = fault_of_aws(
        "AccessDeniedException", 403, "User: arn:aws:sts::123456789012:role is not authorized"
    )
    assert "arn:" not in envelope(fault, "")["error"]["message"]


def test_inside_a_stream_it_is_an_event() -> None:
    (event,) = SseDecoder().feed(in_band(Fault(Cause.STREAM_CUT, "Cut.\n"), REQUEST_ID))
    assert event.name == "error"
    assert msgspec.json.decode(event.data) == {
        "type": "error",
        "error": {"type": "api_error", "message": "Cut.\n"},
        "request_id": REQUEST_ID,
    }
