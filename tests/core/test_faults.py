"""Faults: what becomes of AWS's errors, what a caller hears of them, and what is kept from it."""

from typing import Any, Final

import botocore.loaders
import botocore.retries.standard
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.faults import (
    AWS_CAUSES,
    RETRY_AFTER_SECONDS_MAX,
    TABLE,
    Cause,
    Fault,
    Refused,
    fault_of_aws,
    refuse,
)

MODEL: Final[dict[str, Any]] = botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
MODELLED: Final[dict[str, int]] = {
    name: shape["error"]["httpStatusCode"]
    for name, shape in MODEL["shapes"].items()
    if shape.get("exception") and "httpStatusCode" in shape.get("error", {})
}

AWS_PROMISED: Final[dict[str, tuple[int, str, bool]]] = {
    # What becomes of an exception of Bedrock's: status, code, and whether an SDK should try again.
    "ValidationException": (400, "INVALID_REQUEST", False),
    "AccessDeniedException": (503, "SERVICE_UNAVAILABLE", False),
    "ResourceNotFoundException": (404, "MODEL_NOT_FOUND", False),
    "ConflictException": (409, "CONFLICT", False),
    "ThrottlingException": (429, "RATE_LIMITED", True),
    "ServiceQuotaExceededException": (503, "QUOTA_EXCEEDED", False),
    "ModelNotReadyException": (503, "MODEL_UNAVAILABLE", True),
    "ModelTimeoutException": (504, "MODEL_TIMEOUT", True),
    "ModelErrorException": (502, "MODEL_ERROR", True),
    "ModelStreamErrorException": (502, "MODEL_ERROR", True),
    "InternalServerException": (500, "UPSTREAM_ERROR", True),
    "ServiceUnavailableException": (503, "SERVICE_UNAVAILABLE", True),
    "ExpiredTokenException": (502, "UPSTREAM_ERROR", False),
    "UnrecognizedClientException": (502, "UPSTREAM_ERROR", False),
    "InvalidSignatureException": (502, "UPSTREAM_ERROR", False),
    "SomethingNewException": (502, "UPSTREAM_ERROR", True),
}

ARN: Final = (
    "User: arn:aws:sts::123456789012:assumed-role/gateway-prod/i-0abc is not authorized to perform: "
    "bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/x"
)
OVERFLOWS: Final = (
    "Input is too long for requested model.",
    "The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum",
    "This model's maximum context length is 131072 tokens. Please reduce the length of the prompt",
    "Too many input tokens. Max input tokens: 8192, request input token count: 9000",
)
THROTTLES: Final = (
    "Too many tokens, please wait before trying again.",
    "Too many requests, please wait before trying again.",
    "Too many connections, please wait before trying again.",
)


class TestRetryAfter:
    @pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
    def test_retry_after_is_a_whole_second_to_a_minute_wherever_it_must_be(self, cause: Cause) -> None:
        seconds = Fault(cause).retry_after
        if TABLE[cause].status in {429, 503}:
            assert seconds is not None
        assert seconds is None or 1 <= seconds <= 60

    @given(st.sampled_from(list(Cause)), st.integers(-(10**12), 10**12))
    def test_is_bounded_whatever_upstream_says(self, cause: Cause, seconds: int) -> None:
        told = Fault(cause, retry_after_seconds=seconds).retry_after
        assert told is not None
        assert 1 <= told <= RETRY_AFTER_SECONDS_MAX == 60
        if 1 <= seconds <= 60:
            assert told == seconds

    def test_none_is_made_up_where_none_is_due(self) -> None:
        assert Fault(Cause.BODY_INVALID).retry_after is None
        assert Fault(Cause.UPSTREAM_INTERNAL).retry_after is None

    def test_upstreams_own_wins_over_the_rows(self) -> None:
        assert Fault(Cause.CREDENTIALS_MISSING).retry_after == 60
        fault = fault_of_aws("ThrottlingException", 429, "slow down", retry_after_seconds=17)
        assert fault.retry_after == 17


class TestOfAws:
    def test_every_modelled_exception_has_a_cause(self) -> None:
        assert len(MODELLED) >= 12
        assert sorted(name for name in MODELLED if name not in AWS_CAUSES) == []

    def test_every_exception_we_name_natively_is_known_when_it_comes_back(self) -> None:
        # A gateway in front of a gateway must not turn its own 429 into "unknown".
        named = {row.aws_name for row in TABLE.values() if row.aws_name in MODELLED}
        assert named <= set(AWS_CAUSES)

    @pytest.mark.parametrize("name", AWS_PROMISED)
    def test_what_becomes_of_it(self, name: str) -> None:
        row = fault_of_aws(name, MODELLED.get(name, 400), "m").row
        assert (row.status, row.code, row.should_retry) == AWS_PROMISED[name]

    @pytest.mark.parametrize("name", sorted(AWS_CAUSES))
    def test_the_name_counts_and_not_the_status(self, name: str) -> None:
        # In a stream there is none (0); botocore makes all of them 400; proxies change them.
        causes = {fault_of_aws(name, status, "m").cause for status in (0, 200, 400, 403, 429, 500, 503, 529)}
        assert len(causes) == 1

    @pytest.mark.parametrize(
        ("status", "cause"),
        [
            (400, Cause.UPSTREAM_VALIDATION),
            (403, Cause.UPSTREAM_ACCESS_DENIED),
            (404, Cause.UPSTREAM_NOT_FOUND),
            (408, Cause.UPSTREAM_MODEL_TIMEOUT),
            (422, Cause.UPSTREAM_VALIDATION),
            (429, Cause.UPSTREAM_THROTTLED),
            (500, Cause.UPSTREAM_INTERNAL),
            (503, Cause.UPSTREAM_UNAVAILABLE),
            (504, Cause.UPSTREAM_MODEL_TIMEOUT),
            (529, Cause.UPSTREAM_UNAVAILABLE),
            (0, Cause.UPSTREAM_UNKNOWN),
            (302, Cause.UPSTREAM_UNKNOWN),
            (418, Cause.UPSTREAM_UNKNOWN),
            (502, Cause.UPSTREAM_UNKNOWN),
        ],
    )
    def test_an_answer_that_names_nothing_goes_by_its_status(self, status: int, cause: Cause) -> None:
        fault = fault_of_aws("", status, "<html>")
        assert fault.cause is cause
        assert fault.aws_name is None

    def test_a_model_error_tells_the_models_own_status(self) -> None:
        for original, cause in [
            (400, Cause.UPSTREAM_VALIDATION),
            (429, Cause.UPSTREAM_THROTTLED),
            (500, Cause.UPSTREAM_MODEL_ERROR),
            (None, Cause.UPSTREAM_MODEL_ERROR),
        ]:
            fault = fault_of_aws("ModelStreamErrorException", 0, "m", original_status=original)
            assert fault.cause is cause

    def test_native_callers_keep_the_name_and_status_that_bedrock_gave(self) -> None:
        fault = fault_of_aws("ModelErrorException", 424, "m")
        assert (fault.aws_name, fault.aws_status) == ("ModelErrorException", 424)
        assert fault_of_aws("ThrottlingException", 0, "m").aws_status is None

    @given(st.text(max_size=40), st.integers(-1, 1000), st.text(max_size=60), st.none() | st.integers(0, 999))
    def test_never_fails_whatever_aws_says(
        self, name: str, status: int, message: str, original: int | None
    ) -> None:
        fault = fault_of_aws(name, status, message, original_status=original)
        assert fault.row is TABLE[fault.cause]
        assert fault.text


class TestPrivacy:
    @pytest.mark.parametrize(
        "name",
        [
            "AccessDeniedException",
            *(name for name, cause in AWS_CAUSES.items() if cause is Cause.UPSTREAM_CREDENTIALS),
        ],
    )
    @pytest.mark.parametrize("status", [0, 400, 403])
    def test_what_names_our_own_role_is_for_the_log_only(self, name: str, status: int) -> None:
        fault = fault_of_aws(name, status, ARN)
        assert "arn:" not in fault.text
        assert "123456789012" not in fault.text
        assert fault.detail == ARN

    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize(
        "name", ["", "AccessDenied", "SignatureDoesNotMatch", "NobodyKnowsThisException"]
    )
    def test_no_judgement_of_the_gateways_credentials_is_told(self, name: str, status: int) -> None:
        fault = fault_of_aws(name, status, ARN)
        assert "arn:" not in fault.text
        assert fault.detail == ARN

    def test_nor_does_a_nameless_403_tell_it(self) -> None:
        assert "arn:" not in fault_of_aws("", 403, ARN).text

    def test_nor_a_model_error_that_hides_a_403(self) -> None:
        assert "arn:" not in fault_of_aws("ModelErrorException", 424, ARN, original_status=403).text

    @pytest.mark.parametrize(
        ("name", "message", "kept"),
        [
            (
                "InvalidSignatureException",
                (
                    "The request signature we calculated does not match the signature you provided.\n\n"
                    "The Canonical String for this request should have been\n"
                    "'POST\n/model/m/converse\n\nx-amz-security-token:PLANTED\n'"
                ),
                "The request signature we calculated does not match the signature you provided.",
            ),
            (
                "IncompleteSignatureException",
                (
                    "'PLANTED' not a valid key=value pair (missing equal-sign) in Authorization header: "
                    "'Bearer PLANTED'."
                ),
                "'…' not a valid key=value pair (missing equal-sign) in Authorization header: '…'.",
            ),
            (
                "IncompleteSignatureException",
                "Authorization header requires 'Signature' parameter. Authorization=Bearer PLANTED words",
                "Authorization header requires '…' parameter. '…'",
            ),
            ("UnheardOfException", 'There is no "PLANTED', "There is no '…'"),
            (
                "AccessDeniedException",
                "You don't have access to the model with the specified model ID.",
                "You don't have access to the model with the specified model ID.",
            ),
        ],
    )
    def test_not_even_the_log_learns_what_aws_shows_back_of_a_request(
        self, name: str, message: str, kept: str
    ) -> None:
        assert fault_of_aws(name, 403, message).detail == kept

    def test_what_the_caller_can_act_on_is_passed_on_in_aws_own_words(self) -> None:
        words = "The text field in the ContentBlock object at messages.0.content.0 is blank."
        assert fault_of_aws("ValidationException", 400, words).text == words

    def test_details_are_never_the_text(self) -> None:
        for cause in Cause:
            assert "for the log" not in Fault(cause, detail="for the log").text


class TestOverflow:
    @pytest.mark.parametrize("message", OVERFLOWS)
    def test_is_told_as_the_code_that_clients_recover_from(self, message: str) -> None:
        fault = fault_of_aws("ValidationException", 400, message)
        assert fault.row.openai_code == "context_length_exceeded"
        assert fault.row.status == 400
        assert fault.text == message  # Claude Code and others match the wording.

    @pytest.mark.parametrize("message", [*THROTTLES, *OVERFLOWS])
    @pytest.mark.parametrize("name", ["ThrottlingException", "TooManyRequestsException", ""])
    def test_a_throttle_is_never_taken_for_it(self, name: str, message: str) -> None:
        # A client that takes a throttle for an overflow throws its conversation away.
        fault = fault_of_aws(name, 429, message)
        assert fault.row.openai_code == "rate_limit_exceeded"

    @pytest.mark.parametrize("message", THROTTLES)
    def test_nor_by_its_words_under_another_name(self, message: str) -> None:
        for name in MODELLED:
            assert fault_of_aws(name, 400, message).row.openai_code != "context_length_exceeded"


class TestText:
    def test_words_that_clients_match(self) -> None:
        assert Fault(Cause.KEY_MISSING).text == "Missing or invalid API key"


class TestRefused:
    def test_carries_its_fault(self) -> None:
        refused = refuse(Cause.BODY_INVALID, "`n` must be 1", param="n", detail="was 2")
        assert isinstance(refused, Refused)
        assert refused.fault == Fault(Cause.BODY_INVALID, "`n` must be 1", "was 2", "n")

    def test_shows_its_cause_and_none_of_its_words(self) -> None:
        assert str(refuse(Cause.KEY_INVALID, "sk-abc is bad", detail="sk-abc")) == "KEY_INVALID"
