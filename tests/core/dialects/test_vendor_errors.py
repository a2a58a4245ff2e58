"""Errors of the vendors' APIs, as the faults that everything else knows them by."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.exceptions import VENDOR_ERRORS
from stargate_core.dialects.vendor_errors import vendor_fault
from stargate_core.faults import TABLE, Cause

SECRET = "arn:aws:iam::123456789012:role/gateway"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        # OpenAI's: the code is the finer word.
        ({"type": "invalid_request_error", "code": None}, Cause.UPSTREAM_VALIDATION),
        ({"type": "invalid_request_error", "code": "context_length_exceeded"}, Cause.CONTEXT_OVERFLOW),
        ({"type": "invalid_request_error", "code": "model_not_found"}, Cause.UPSTREAM_NOT_FOUND),
        ({"type": "invalid_request_error", "code": "invalid_api_key"}, Cause.UPSTREAM_CREDENTIALS),
        ({"type": "invalid_request_error", "code": "unsupported_value"}, Cause.UPSTREAM_VALIDATION),
        ({"type": "tokens", "code": "rate_limit_exceeded"}, Cause.UPSTREAM_THROTTLED),
        ({"type": "insufficient_quota", "code": "insufficient_quota"}, Cause.UPSTREAM_QUOTA),
        ({"type": "server_error", "code": None}, Cause.UPSTREAM_INTERNAL),
        # Anthropic's.
        ({"type": "authentication_error"}, Cause.UPSTREAM_CREDENTIALS),
        ({"type": "permission_error"}, Cause.UPSTREAM_ACCESS_DENIED),
        ({"type": "not_found_error"}, Cause.UPSTREAM_NOT_FOUND),
        ({"type": "rate_limit_error"}, Cause.UPSTREAM_THROTTLED),
        ({"type": "overloaded_error"}, Cause.UPSTREAM_UNAVAILABLE),
        ({"type": "api_error"}, Cause.UPSTREAM_INTERNAL),
        ({"type": "timeout_error"}, Cause.UPSTREAM_MODEL_TIMEOUT),
        ({"type": "request_too_large"}, Cause.BODY_TOO_LARGE),
        ({"type": "billing_error"}, Cause.UPSTREAM_QUOTA),
        # AWS's own word inside a vendor's envelope.
        ({"type": "ThrottlingException"}, Cause.UPSTREAM_THROTTLED),
        # Nobody's.
        ({"type": "bad_mood"}, Cause.UPSTREAM_UNKNOWN),
        ({}, Cause.UPSTREAM_UNKNOWN),
        (True, Cause.UPSTREAM_UNKNOWN),
        ("something went wrong", Cause.UPSTREAM_UNKNOWN),
    ],
    ids=str,
)
def test_inside_a_stream_the_words_alone_tell(error: Any, cause: Cause) -> None:
    assert vendor_fault(error, 0).cause is cause


@pytest.mark.parametrize("word", sorted(VENDOR_ERRORS))
def test_no_word_of_the_table_is_unknown(word: str) -> None:
    assert vendor_fault({"type": word}, 0).cause is not Cause.UPSTREAM_UNKNOWN


def test_the_message_is_passed_on() -> None:
    assert vendor_fault({"type": "rate_limit_error", "message": "slow down"}, 0).text == "slow down"
    assert vendor_fault("slow down", 0).text == "slow down"


def test_what_is_said_of_the_gateways_own_credentials_stays_here() -> None:
    fault = vendor_fault({"type": "authentication_error", "message": SECRET}, 0)
    assert SECRET not in fault.text
    assert fault.detail == SECRET


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(sorted(VENDOR_ERRORS)),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["type", "code", "message"]) | st.text(), inner)
        ),
    ),
    st.integers(0, 600),
)
def test_nothing_makes_it_fail(error: Any, status: int) -> None:
    assert vendor_fault(error, status).row in TABLE.values()
