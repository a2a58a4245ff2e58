"""The table of causes: complete, as promised to callers, and in the words of the APIs it is told in."""

import re
from typing import Any, Final

import botocore.loaders
import botocore.retries.standard
import pytest

from stargate_core.causes import TABLE, Blame, Cause

MODEL: Final[dict[str, Any]] = botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
MODELLED: Final[dict[str, int]] = {
    name: shape["error"]["httpStatusCode"]
    for name, shape in MODEL["shapes"].items()
    if shape.get("exception") and "httpStatusCode" in shape.get("error", {})
}

PROMISED: Final[dict[str, tuple[int, str]]] = {
    # What callers and their dashboards rely on: a change here is a breaking change.
    "KEY_MISSING": (401, "UNAUTHORIZED"),
    "KEYS_DISAGREE": (401, "UNAUTHORIZED"),
    "KEY_INVALID": (403, "FORBIDDEN"),
    "SIGNATURE_INVALID": (403, "FORBIDDEN"),
    "TOKEN_INVALID": (401, "UNAUTHORIZED"),
    "MODEL_FORBIDDEN": (403, "FORBIDDEN"),
    "ADDRESS_FORBIDDEN": (403, "FORBIDDEN"),
    "HTTP_MALFORMED": (400, "BAD_REQUEST"),
    "HTTP_UNSUPPORTED": (501, "NOT_IMPLEMENTED"),
    "HTTP_VERSION": (505, "HTTP_VERSION_NOT_SUPPORTED"),
    "HEAD_TOO_LARGE": (431, "HEADERS_TOO_LARGE"),
    "TARGET_TOO_LONG": (414, "URI_TOO_LONG"),
    "BODY_TOO_LARGE": (413, "PAYLOAD_TOO_LARGE"),
    "BODY_MALFORMED": (400, "BAD_REQUEST"),
    "BODY_INVALID": (400, "INVALID_REQUEST"),
    "PROMPT_REFUSED": (400, "CONTENT_REFUSED"),
    "ANSWER_REFUSED": (400, "CONTENT_REFUSED"),
    "CLIENT_TOO_SLOW": (408, "REQUEST_TIMEOUT"),
    "ROUTE_UNKNOWN": (404, "NOT_FOUND"),
    "METHOD_NOT_ALLOWED": (405, "METHOD_NOT_ALLOWED"),
    "MODEL_UNKNOWN": (404, "MODEL_NOT_FOUND"),
    "CONTEXT_OVERFLOW": (400, "INVALID_REQUEST"),
    "RATE_LIMITED": (429, "RATE_LIMITED"),
    "LIMIT_TOO_SMALL": (429, "RATE_LIMITED"),
    "INTERNAL": (500, "INTERNAL_ERROR"),
    "PLUGIN_FAILED": (500, "INTERNAL_ERROR"),
    "CREDENTIALS_MISSING": (503, "SERVICE_UNAVAILABLE"),
    "DRAINING": (503, "SERVICE_UNAVAILABLE"),
    "POOL_TIMEOUT": (504, "POOL_TIMEOUT"),
    "STORE_UNAVAILABLE": (503, "SERVICE_UNAVAILABLE"),
    "GUARDRAIL_UNAVAILABLE": (503, "SERVICE_UNAVAILABLE"),
    "TOKEN_UNVERIFIED": (503, "SERVICE_UNAVAILABLE"),
    "CIRCUIT_OPEN": (503, "SERVICE_UNAVAILABLE"),
    "CONNECT_FAILED": (502, "UPSTREAM_ERROR"),
    "TLS_FAILED": (502, "UPSTREAM_ERROR"),
    "CONNECT_TIMEOUT": (504, "CONNECT_TIMEOUT"),
    "FIRST_TOKEN_TIMEOUT": (504, "FIRST_TOKEN_TIMEOUT"),
    "IDLE_TIMEOUT": (504, "IDLE_TIMEOUT"),
    "TOTAL_TIMEOUT": (504, "TOTAL_TIMEOUT"),
    "UPSTREAM_GARBLED": (502, "UPSTREAM_ERROR"),
    "UPSTREAM_LOST": (502, "UPSTREAM_ERROR"),
    "STREAM_CUT": (502, "UPSTREAM_STREAM_BROKEN"),
    "STREAM_CORRUPT": (502, "UPSTREAM_STREAM_BROKEN"),
    "MODEL_OUTPUT_MALFORMED": (502, "MODEL_ERROR"),
    "UPSTREAM_VALIDATION": (400, "INVALID_REQUEST"),
    "UPSTREAM_ACCESS_DENIED": (503, "SERVICE_UNAVAILABLE"),
    "UPSTREAM_CREDENTIALS": (502, "UPSTREAM_ERROR"),
    "UPSTREAM_NOT_FOUND": (404, "MODEL_NOT_FOUND"),
    "UPSTREAM_CONFLICT": (409, "CONFLICT"),
    "UPSTREAM_THROTTLED": (429, "RATE_LIMITED"),
    "UPSTREAM_QUOTA": (503, "QUOTA_EXCEEDED"),
    "UPSTREAM_NOT_READY": (503, "MODEL_UNAVAILABLE"),
    "UPSTREAM_MODEL_TIMEOUT": (504, "MODEL_TIMEOUT"),
    "UPSTREAM_MODEL_ERROR": (502, "MODEL_ERROR"),
    "UPSTREAM_INTERNAL": (500, "UPSTREAM_ERROR"),
    "UPSTREAM_UNAVAILABLE": (503, "SERVICE_UNAVAILABLE"),
    "UPSTREAM_UNKNOWN": (502, "UPSTREAM_ERROR"),
}

ELSEWHERE: Final = {
    # Not at the same target, but at another one. MODEL_TIMEOUT and QUOTA are common; the gateway's rights and
    # credentials differ from account to account; TLS_FAILED and POOL_TIMEOUT from endpoint to endpoint.
    "CIRCUIT_OPEN",
    "CREDENTIALS_MISSING",
    "POOL_TIMEOUT",
    "TLS_FAILED",
    "UPSTREAM_ACCESS_DENIED",
    "UPSTREAM_CREDENTIALS",
    "UPSTREAM_MODEL_TIMEOUT",
    "UPSTREAM_QUOTA",
    "UPSTREAM_UNKNOWN",
}

AILS: Final = {
    "CONNECT_FAILED",
    "TLS_FAILED",
    "CONNECT_TIMEOUT",
    "FIRST_TOKEN_TIMEOUT",
    "IDLE_TIMEOUT",
    "UPSTREAM_GARBLED",
    "UPSTREAM_LOST",
    "STREAM_CUT",
    "STREAM_CORRUPT",
    "UPSTREAM_NOT_READY",
    "UPSTREAM_INTERNAL",
    "UPSTREAM_UNAVAILABLE",
}

ANTHROPIC_STATUSES: Final[dict[str, set[int]]] = {
    # Anthropic's published error types. Where a type is published with one status, the answers that bear it
    # are of its class, so that an SDK that goes by the status comes to the same.
    "invalid_request_error": {400, 405, 409, 501, 505},
    "authentication_error": {401},
    "permission_error": {403},
    "not_found_error": {404},
    "request_too_large": {413, 414, 431},
    "rate_limit_error": {429, 503},
    "api_error": {500, 502, 503},
    "timeout_error": {408, 504},
    "overloaded_error": {529},
}

OPENAI_TYPES: Final = {
    "invalid_request_error",
    "permission_error",
    "rate_limit_error",
    "insufficient_quota",
    "server_error",
}


class TestTable:
    def test_has_a_row_for_every_cause(self) -> None:
        assert set(TABLE) == set(Cause)

    def test_keeps_the_promised_statuses_and_codes(self) -> None:
        assert {cause.name: (row.status, row.code) for cause, row in TABLE.items()} == PROMISED

    def test_nothing_the_caller_must_change_first_is_retried(self) -> None:
        # The SDKs would retry 408, 409 and 429 on their own: a conflict is not worth it, nor is a request
        # that is more than the limit ever holds.
        retried = {
            cause.name: row.should_retry
            for cause, row in TABLE.items()
            if row.blame is Blame.CLIENT and row.status in {408, 409, 429}
        }
        assert retried == {
            "CLIENT_TOO_SLOW": True,
            "UPSTREAM_CONFLICT": False,
            "RATE_LIMITED": True,
            "LIMIT_TOO_SMALL": False,
        }

    def test_nor_by_native_sdks_which_obey_no_header(self) -> None:
        throttles: Any = vars(botocore.retries.standard.ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"]
        assert TABLE[Cause.RATE_LIMITED].aws_name in throttles
        assert TABLE[Cause.LIMIT_TOO_SMALL].aws_name not in throttles

    def test_another_target_is_tried_where_this_one_is_judged_and_not_the_request(self) -> None:
        assert {cause.name for cause, row in TABLE.items() if row.retry_elsewhere} == ELSEWHERE

    def test_a_breaker_counts_what_could_befall_any_request(self) -> None:
        assert {cause.name for cause, row in TABLE.items() if row.ails} == AILS

    def test_when_the_time_is_up_nothing_is_tried_again(self) -> None:
        row = TABLE[Cause.TOTAL_TIMEOUT]
        assert not row.retry_here
        assert not row.retry_elsewhere


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
class TestEveryRow:
    def test_codes_are_screaming_snake(self, cause: Cause) -> None:
        assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", TABLE[cause].code)

    def test_speaks_openais_and_anthropics_words(self, cause: Cause) -> None:
        row = TABLE[cause]
        assert row.openai_type in OPENAI_TYPES
        assert (row.anthropic_status or row.status) in ANTHROPIC_STATUSES[row.anthropic_type]

    def test_an_exception_of_the_model_has_the_models_status(self, cause: Cause) -> None:
        # Native SDKs map by name, but log and count by status: a pair AWS never sends would mislead.
        row = TABLE[cause]
        if cause.name.startswith("UPSTREAM_") and row.aws_status is not None:
            assert row.aws_status == MODELLED[row.aws_name]

    def test_who_is_to_blame_agrees_with_the_status(self, cause: Cause) -> None:
        row = TABLE[cause]
        if row.blame is Blame.CLIENT:
            assert row.status < 500 or row.status in {501, 505}
        elif row.status != 429:
            assert row.status >= 500

    def test_the_gateway_retries_only_what_the_caller_may_retry(self, cause: Cause) -> None:
        row = TABLE[cause]
        assert row.should_retry or not row.retry_here
        assert row.blame is Blame.UPSTREAM or not row.retry_here

    def test_nothing_the_caller_has_to_change_is_tried_anywhere(self, cause: Cause) -> None:
        row = TABLE[cause]
        assert row.blame is not Blame.CLIENT or not (row.retry_elsewhere or row.ails)

    def test_another_target_includes_the_same_one_where_that_may_be_tried(self, cause: Cause) -> None:
        row = TABLE[cause]
        assert not (row.retry_here and row.retry_elsewhere)

    def test_what_ails_a_target_is_tried_again(self, cause: Cause) -> None:
        row = TABLE[cause]
        assert not row.ails or row.retry_here or row.retry_elsewhere
        assert not row.ails or row.blame is Blame.UPSTREAM

    def test_the_message_is_for_people_and_names_no_part_of_the_inside(self, cause: Cause) -> None:
        message = TABLE[cause].message
        assert message[0].isupper()
        assert not message.endswith(".")
        assert not re.search(r"Exception|arn:|https?:|plugin ['\"]|traceback", message, re.IGNORECASE)


def test_what_journals_keep_of_a_cause_is_its_name() -> None:
    """A number would be another cause's as soon as one is put before it."""
    assert all(cause.value == cause.name for cause in Cause)
