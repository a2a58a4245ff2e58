"""Causes: everything that can go wrong with a request, in one table.

`TABLE` is the only place where a cause meets a status: who is to blame, what the caller is told in each
dialect, whether trying again helps and where, whether the target is to be trusted less. Dialects only dress a
row in their own envelope. Where the field has no settled answer, the choice and its reason stand beside the
row. One failure of one request is a Fault (faults.py).

Sources: the official SDKs' retry rules (openai-python and anthropic-sdk-python retry 408, 409, 429 and
>= 500, and obey `x-should-retry`), botocore's bedrock-runtime model for the exception names, Anthropic's
published error types.
"""

import enum
from typing import Final

import msgspec


class Blame(enum.Enum):
    """Whose mistake a fault is."""

    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


class Row(msgspec.Struct, frozen=True):
    """What one cause means to everybody concerned."""

    blame: Blame
    status: int
    code: str
    """The gateway's own code, SCREAMING_SNAKE; also the OpenAI `code` where OpenAI has none of its own."""
    openai_type: str
    openai_code: str | None
    """OpenAI's own code for this case; None: the gateway's code stands there."""
    anthropic_type: str
    aws_name: str
    """The exception a native Bedrock caller sees, in the PascalCase of HTTP answers."""
    message: str
    """What the caller reads when nothing better is known."""
    retry_here: bool = False
    """May the gateway itself try again, here or at another target, before anything has reached the client?"""
    retry_elsewhere: bool = False
    """May it try again at another target, though not at the same one?"""
    ails: bool = False
    """Does it speak against the target's health, so that its breaker counts it?"""
    should_retry: bool = True
    """`x-should-retry` for the caller's SDK: every error bears it."""
    anthropic_status: int | None = None
    """Where Anthropic uses a status of its own (529 overloaded)."""
    retry_after_seconds: int | None = None
    """Retry-After when the cause itself carries none."""
    aws_status: int | None = None
    """The status AWS gives this exception, where ours differs; native callers see AWS's."""


class Cause(enum.Enum):
    """Why a request failed. Each member has one row in `TABLE`.

    Its value is its name: journals keep it, and a number would be another cause's as soon as one is added.
    """

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[object]) -> str:
        return name

    # The caller's doing.
    KEY_MISSING = enum.auto()
    KEYS_DISAGREE = enum.auto()
    KEY_INVALID = enum.auto()
    SIGNATURE_INVALID = enum.auto()
    TOKEN_INVALID = enum.auto()
    MODEL_FORBIDDEN = enum.auto()
    ADDRESS_FORBIDDEN = enum.auto()
    HTTP_MALFORMED = enum.auto()
    HTTP_UNSUPPORTED = enum.auto()
    HTTP_VERSION = enum.auto()
    HEAD_TOO_LARGE = enum.auto()
    TARGET_TOO_LONG = enum.auto()
    BODY_TOO_LARGE = enum.auto()
    BODY_MALFORMED = enum.auto()
    BODY_INVALID = enum.auto()
    PROMPT_REFUSED = enum.auto()
    ANSWER_REFUSED = enum.auto()
    CLIENT_TOO_SLOW = enum.auto()
    ROUTE_UNKNOWN = enum.auto()
    METHOD_NOT_ALLOWED = enum.auto()
    MODEL_UNKNOWN = enum.auto()
    CONTEXT_OVERFLOW = enum.auto()
    RATE_LIMITED = enum.auto()
    LIMIT_TOO_SMALL = enum.auto()
    # The gateway's own.
    INTERNAL = enum.auto()
    PLUGIN_FAILED = enum.auto()
    CREDENTIALS_MISSING = enum.auto()
    DRAINING = enum.auto()
    POOL_TIMEOUT = enum.auto()
    STORE_UNAVAILABLE = enum.auto()
    GUARDRAIL_UNAVAILABLE = enum.auto()
    TOKEN_UNVERIFIED = enum.auto()
    # The path to Bedrock.
    CIRCUIT_OPEN = enum.auto()
    CONNECT_FAILED = enum.auto()
    TLS_FAILED = enum.auto()
    CONNECT_TIMEOUT = enum.auto()
    FIRST_TOKEN_TIMEOUT = enum.auto()
    IDLE_TIMEOUT = enum.auto()
    TOTAL_TIMEOUT = enum.auto()
    UPSTREAM_GARBLED = enum.auto()
    UPSTREAM_LOST = enum.auto()
    STREAM_CUT = enum.auto()
    STREAM_CORRUPT = enum.auto()
    MODEL_OUTPUT_MALFORMED = enum.auto()
    # Bedrock's own words.
    UPSTREAM_VALIDATION = enum.auto()
    UPSTREAM_ACCESS_DENIED = enum.auto()
    UPSTREAM_CREDENTIALS = enum.auto()
    UPSTREAM_NOT_FOUND = enum.auto()
    UPSTREAM_CONFLICT = enum.auto()
    UPSTREAM_THROTTLED = enum.auto()
    UPSTREAM_QUOTA = enum.auto()
    UPSTREAM_NOT_READY = enum.auto()
    UPSTREAM_MODEL_TIMEOUT = enum.auto()
    UPSTREAM_MODEL_ERROR = enum.auto()
    UPSTREAM_INTERNAL = enum.auto()
    UPSTREAM_UNAVAILABLE = enum.auto()
    UPSTREAM_UNKNOWN = enum.auto()


_C, _G, _U = Blame.CLIENT, Blame.GATEWAY, Blame.UPSTREAM
_INVALID, _SERVER = "invalid_request_error", "server_error"

# What `retry_elsewhere` says yes to is what judges the target, or the gateway's authority there, and not the
# request: another region has other quotas, another account other rights, another endpoint other connections.
# TOTAL_TIMEOUT is tried nowhere: the time is up.
#
# What `ails` says yes to could befall any request at this target. Throttling and quotas are no illness: the
# target does what it should, and leaving it alone would make the throttle worse elsewhere. Nor is a model's
# own error or timeout, which some prompts bring about every time: one caller's prompt must not close a model
# to all others.
TABLE: Final[dict[Cause, Row]] = {
    Cause.KEY_MISSING: Row(
        _C, 401, "UNAUTHORIZED", _INVALID, "invalid_api_key", "authentication_error",
        "MissingAuthenticationTokenException", "Missing or invalid API key", should_retry=False,
    ),
    # Two credentials that disagree prove nothing, so the caller is as good as unknown.
    Cause.KEYS_DISAGREE: Row(
        _C, 401, "UNAUTHORIZED", _INVALID, "invalid_api_key", "authentication_error",
        "MissingAuthenticationTokenException", "Missing or invalid API key: the headers bear different keys",
        should_retry=False,
    ),
    Cause.KEY_INVALID: Row(
        _C, 403, "FORBIDDEN", _INVALID, "invalid_api_key", "permission_error", "UnrecognizedClientException",
        "Invalid API key", should_retry=False,
    ),
    Cause.SIGNATURE_INVALID: Row(
        _C, 403, "FORBIDDEN", _INVALID, "invalid_api_key", "permission_error", "InvalidSignatureException",
        "The request signature does not match", should_retry=False,
    ),
    # 401 and not 403, as RFC 6750 has it: a fresh token is what helps, and OAuth clients fetch one on 401.
    Cause.TOKEN_INVALID: Row(
        _C, 401, "UNAUTHORIZED", _INVALID, "invalid_api_key", "authentication_error",
        "UnrecognizedClientException", "The token is not accepted", should_retry=False,
    ),
    Cause.MODEL_FORBIDDEN: Row(
        _C, 403, "FORBIDDEN", "permission_error", None, "permission_error", "AccessDeniedException",
        "This key may not use this model", should_retry=False,
    ),
    Cause.ADDRESS_FORBIDDEN: Row(
        _C, 403, "FORBIDDEN", "permission_error", None, "permission_error", "AccessDeniedException",
        "The gateway may not be used from this address", should_retry=False,
    ),
    Cause.HTTP_MALFORMED: Row(
        _C, 400, "BAD_REQUEST", _INVALID, None, _INVALID, "ValidationException",
        "The request is not well-formed HTTP", should_retry=False,
    ),
    Cause.HTTP_UNSUPPORTED: Row(
        _C, 501, "NOT_IMPLEMENTED", _INVALID, None, _INVALID, "ValidationException",
        "The request uses a feature of HTTP that is not supported", should_retry=False,
    ),
    Cause.HTTP_VERSION: Row(
        _C, 505, "HTTP_VERSION_NOT_SUPPORTED", _INVALID, None, _INVALID, "ValidationException",
        "This listener speaks HTTP/1.1", should_retry=False,
    ),
    Cause.HEAD_TOO_LARGE: Row(
        _C, 431, "HEADERS_TOO_LARGE", _INVALID, None, "request_too_large", "ValidationException",
        "The request's headers are too large", should_retry=False,
    ),
    Cause.TARGET_TOO_LONG: Row(
        _C, 414, "URI_TOO_LONG", _INVALID, None, "request_too_large", "ValidationException",
        "The request's target is too long", should_retry=False,
    ),
    Cause.BODY_TOO_LARGE: Row(
        _C, 413, "PAYLOAD_TOO_LARGE", _INVALID, None, "request_too_large", "ValidationException",
        "The request's body is too large", should_retry=False,
    ),
    Cause.BODY_MALFORMED: Row(
        _C, 400, "BAD_REQUEST", _INVALID, None, _INVALID, "ValidationException",
        "The request's body is not valid JSON", should_retry=False,
    ),
    Cause.BODY_INVALID: Row(
        _C, 400, "INVALID_REQUEST", _INVALID, None, _INVALID, "ValidationException",
        "The request's body is not what this API takes", should_retry=False,
    ),
    # An operator's rule over what may be said. `content_filter` is what Azure's OpenAI and LiteLLM call it.
    Cause.PROMPT_REFUSED: Row(
        _C, 400, "CONTENT_REFUSED", _INVALID, "content_filter", _INVALID, "ValidationException",
        "What was asked may not be asked here", should_retry=False,
    ),
    # The answer to this request is not to be told: asking again would only bring it again, and be paid for.
    Cause.ANSWER_REFUSED: Row(
        _C, 400, "CONTENT_REFUSED", _INVALID, "content_filter", _INVALID, "ValidationException",
        "What was answered may not be told here", should_retry=False,
    ),
    Cause.CLIENT_TOO_SLOW: Row(
        _C, 408, "REQUEST_TIMEOUT", _INVALID, None, "timeout_error", "RequestTimeoutException",
        "The request did not arrive in time", should_retry=True,
    ),
    Cause.ROUTE_UNKNOWN: Row(
        _C, 404, "NOT_FOUND", _INVALID, None, "not_found_error", "UnknownOperationException",
        "There is nothing at this path", should_retry=False,
    ),
    Cause.METHOD_NOT_ALLOWED: Row(
        _C, 405, "METHOD_NOT_ALLOWED", _INVALID, None, _INVALID, "UnknownOperationException",
        "This path does not take this method", should_retry=False,
    ),
    Cause.MODEL_UNKNOWN: Row(
        _C, 404, "MODEL_NOT_FOUND", _INVALID, "model_not_found", "not_found_error",
        "ResourceNotFoundException",
        "There is no such model", should_retry=False,
    ),
    Cause.CONTEXT_OVERFLOW: Row(
        _C, 400, "INVALID_REQUEST", _INVALID, "context_length_exceeded", _INVALID, "ValidationException",
        "The input is too long for the model", should_retry=False,
    ),
    Cause.RATE_LIMITED: Row(
        _C, 429, "RATE_LIMITED", "rate_limit_error", "rate_limit_exceeded", "rate_limit_error",
        "ThrottlingException", "The rate limit is exceeded", should_retry=True, retry_after_seconds=1,
    ),
    # OpenAI says 429 and rate_limit_exceeded here too, though waiting never helps. Native callers' SDKs obey
    # no header and retry every throttle, so they are told of a quota, which they don't.
    Cause.LIMIT_TOO_SMALL: Row(
        _C, 429, "RATE_LIMITED", "rate_limit_error", "rate_limit_exceeded", "rate_limit_error",
        "ServiceQuotaExceededException", "The request alone is more than the rate limit holds",
        should_retry=False, aws_status=400,
    ),
    Cause.INTERNAL: Row(
        _G, 500, "INTERNAL_ERROR", _SERVER, None, "api_error", "InternalServerException",
        "The gateway failed", should_retry=False,
    ),
    Cause.PLUGIN_FAILED: Row(
        _G, 500, "INTERNAL_ERROR", _SERVER, None, "api_error", "InternalServerException",
        "A plugin of the gateway failed", should_retry=False,
    ),
    Cause.CREDENTIALS_MISSING: Row(
        _G, 503, "SERVICE_UNAVAILABLE", _SERVER, None, "api_error", "ServiceUnavailableException",
        "The gateway has no AWS credentials", retry_elsewhere=True, should_retry=False,
        retry_after_seconds=60,
    ),
    Cause.DRAINING: Row(
        _G, 503, "SERVICE_UNAVAILABLE", _SERVER, None, "overloaded_error", "ServiceUnavailableException",
        "The gateway is shutting down", should_retry=True, anthropic_status=529, retry_after_seconds=1,
    ),
    Cause.POOL_TIMEOUT: Row(
        _G, 504, "POOL_TIMEOUT", _SERVER, None, "timeout_error", "ServiceUnavailableException",
        "No connection to Bedrock became free in time", retry_elsewhere=True, should_retry=True,
    ),
    # What is to happen where the limits can't be checked is the limiter's to say; this is its "deny".
    Cause.STORE_UNAVAILABLE: Row(
        _G, 503, "SERVICE_UNAVAILABLE", _SERVER, None, "api_error", "ServiceUnavailableException",
        "The limits could not be checked", should_retry=True, retry_after_seconds=1,
    ),
    # Why it can't be applied is the operator's business; the caller's request is not at fault.
    Cause.GUARDRAIL_UNAVAILABLE: Row(
        _G, 503, "SERVICE_UNAVAILABLE", _SERVER, None, "api_error", "ServiceUnavailableException",
        "The request could not be checked by the guardrail", should_retry=True, retry_after_seconds=5,
    ),
    # The issuer's keys can't be had: the token may well be good.
    Cause.TOKEN_UNVERIFIED: Row(
        _G, 503, "SERVICE_UNAVAILABLE", _SERVER, None, "api_error", "ServiceUnavailableException",
        "The token could not be checked", should_retry=True, retry_after_seconds=5,
    ),
    # All targets are left alone. Overloaded is what Bedrock would most likely have said, and what Claude Code
    # and the SDKs back off from.
    Cause.CIRCUIT_OPEN: Row(
        _U, 503, "SERVICE_UNAVAILABLE", _SERVER, "overloaded", "overloaded_error",
        "ServiceUnavailableException",
        "Bedrock has been failing and is left alone for a while", retry_elsewhere=True, should_retry=True,
        anthropic_status=529, retry_after_seconds=5,
    ),
    Cause.CONNECT_FAILED: Row(
        _U, 502, "UPSTREAM_ERROR", _SERVER, "upstream_connect_failed", "api_error",
        "ServiceUnavailableException",
        "Bedrock could not be reached", retry_here=True, ails=True, should_retry=True,
    ),
    # A certificate that is not trusted will not be so in a second either.
    Cause.TLS_FAILED: Row(
        _U, 502, "UPSTREAM_ERROR", _SERVER, "upstream_tls_failed", "api_error", "ServiceUnavailableException",
        "The secure connection to Bedrock failed", retry_elsewhere=True, ails=True, should_retry=False,
    ),
    Cause.CONNECT_TIMEOUT: Row(
        _U, 504, "CONNECT_TIMEOUT", _SERVER, None, "timeout_error", "ServiceUnavailableException",
        "Bedrock did not accept the connection in time", retry_here=True, ails=True, should_retry=True,
    ),
    Cause.FIRST_TOKEN_TIMEOUT: Row(
        _U, 504, "FIRST_TOKEN_TIMEOUT", _SERVER, None, "timeout_error", "ModelTimeoutException",
        "The model did not begin to answer in time", retry_here=True, ails=True, should_retry=True,
    ),
    Cause.IDLE_TIMEOUT: Row(
        _U, 504, "IDLE_TIMEOUT", _SERVER, None, "timeout_error", "ModelTimeoutException",
        "The model fell silent for too long", retry_here=True, ails=True, should_retry=True,
    ),
    Cause.TOTAL_TIMEOUT: Row(
        _U, 504, "TOTAL_TIMEOUT", _SERVER, None, "timeout_error", "ModelTimeoutException",
        "The request took longer than it may", should_retry=True,
    ),
    Cause.UPSTREAM_GARBLED: Row(
        _U, 502, "UPSTREAM_ERROR", _SERVER, "upstream_protocol_error", "api_error", "InternalServerException",
        "Bedrock's answer could not be understood", retry_here=True, ails=True, should_retry=True,
    ),
    Cause.UPSTREAM_LOST: Row(
        _U, 502, "UPSTREAM_ERROR", _SERVER, "upstream_connection_lost", "api_error",
        "InternalServerException",
        "The connection to Bedrock was lost", retry_here=True, ails=True, should_retry=True,
    ),
    Cause.STREAM_CUT: Row(
        _U, 502, "UPSTREAM_STREAM_BROKEN", _SERVER, "upstream_stream_broken", "api_error",
        "ModelStreamErrorException", "The answer was cut off before its end", retry_here=True, ails=True,
        should_retry=True,
    ),
    Cause.STREAM_CORRUPT: Row(
        _U, 502, "UPSTREAM_STREAM_BROKEN", _SERVER, "upstream_stream_broken", "api_error",
        "ModelStreamErrorException", "The answer was damaged on its way", retry_here=True, ails=True,
        should_retry=True,
    ),
    # No peer's choice of `stop` is honest for a model that garbled its own output.
    Cause.MODEL_OUTPUT_MALFORMED: Row(
        _U, 502, "MODEL_ERROR", _SERVER, "model_error", "api_error", "ModelErrorException",
        "The model produced malformed output", retry_here=True, should_retry=True,
    ),
    Cause.UPSTREAM_VALIDATION: Row(
        _C, 400, "INVALID_REQUEST", _INVALID, None, _INVALID, "ValidationException",
        "Bedrock refused the request as invalid", should_retry=False,
    ),
    # The gateway's own credentials are at fault. AWS's text names roles and accounts: it goes to the log
    # only.
    Cause.UPSTREAM_ACCESS_DENIED: Row(
        _G, 503, "SERVICE_UNAVAILABLE", _SERVER, None, "api_error", "ServiceUnavailableException",
        "The gateway may not use this model", retry_elsewhere=True, should_retry=False,
        retry_after_seconds=60,
    ),
    Cause.UPSTREAM_CREDENTIALS: Row(
        _G, 502, "UPSTREAM_ERROR", _SERVER, "upstream_auth", "api_error", "ServiceUnavailableException",
        "Bedrock did not accept the gateway's credentials", retry_elsewhere=True, should_retry=False,
    ),
    # A mistyped name is commoner than a model that lives in one region only, and it would be looked for
    # everywhere; of a foundation model that a region lacks, Bedrock says ValidationException anyway.
    Cause.UPSTREAM_NOT_FOUND: Row(
        _C, 404, "MODEL_NOT_FOUND", _INVALID, "model_not_found", "not_found_error",
        "ResourceNotFoundException",
        "Bedrock knows no such model", should_retry=False,
    ),
    Cause.UPSTREAM_CONFLICT: Row(
        _C, 409, "CONFLICT", _INVALID, None, _INVALID, "ConflictException",
        "The request conflicts with one made before", should_retry=False, aws_status=400,
    ),
    Cause.UPSTREAM_THROTTLED: Row(
        _U, 429, "RATE_LIMITED", "rate_limit_error", "rate_limit_exceeded", "rate_limit_error",
        "ThrottlingException", "Bedrock is throttling this model", retry_here=True, should_retry=True,
        retry_after_seconds=1,
    ),
    Cause.UPSTREAM_QUOTA: Row(
        _U, 503, "QUOTA_EXCEEDED", "insufficient_quota", "insufficient_quota", "rate_limit_error",
        "ServiceQuotaExceededException", "The gateway's quota at Bedrock is used up", retry_elsewhere=True,
        should_retry=False, retry_after_seconds=60, aws_status=400,
    ),
    Cause.UPSTREAM_NOT_READY: Row(
        _U, 503, "MODEL_UNAVAILABLE", _SERVER, "model_not_ready", "overloaded_error",
        "ModelNotReadyException",
        "The model is not ready yet", retry_here=True, ails=True, should_retry=True, anthropic_status=529,
        retry_after_seconds=5, aws_status=429,
    ),
    Cause.UPSTREAM_MODEL_TIMEOUT: Row(
        _U, 504, "MODEL_TIMEOUT", _SERVER, "timeout", "timeout_error", "ModelTimeoutException",
        "The model took too long", retry_elsewhere=True, should_retry=True, aws_status=408,
    ),
    Cause.UPSTREAM_MODEL_ERROR: Row(
        _U, 502, "MODEL_ERROR", _SERVER, "model_error", "api_error", "ModelErrorException",
        "The model failed", retry_here=True, should_retry=True, aws_status=424,
    ),
    Cause.UPSTREAM_INTERNAL: Row(
        _U, 500, "UPSTREAM_ERROR", _SERVER, None, "api_error", "InternalServerException",
        "Bedrock failed", retry_here=True, ails=True, should_retry=True,
    ),
    Cause.UPSTREAM_UNAVAILABLE: Row(
        _U, 503, "SERVICE_UNAVAILABLE", _SERVER, "overloaded", "overloaded_error",
        "ServiceUnavailableException",
        "Bedrock is overloaded", retry_here=True, ails=True, should_retry=True, anthropic_status=529,
        retry_after_seconds=1,
    ),
    Cause.UPSTREAM_UNKNOWN: Row(
        _U, 502, "UPSTREAM_ERROR", _SERVER, None, "api_error", "InternalServerException",
        "Bedrock failed in an unknown way", retry_elsewhere=True, should_retry=True,
    ),
}  # fmt: skip
