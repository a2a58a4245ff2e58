"""The errors of AWS: read from an answer, or from inside a stream, into one value. Reading never fails.

An error's name comes from the header `x-amzn-errortype`, else from the body's `code` or `Code`, else from
its `__type`; it is cut at the first `:`, and then what follows the last `#` counts. In that order: the rest
may be a URL with a `#` of its own. The message is `message` or `Message`. Neither need be there: a proxy
answers in HTML, a load balancer with nothing at all. Then the name is made up from nothing, and the status
is what remains.

AWS serves the vendors' APIs too, and these say what went wrong in the vendors' own envelopes: `{"error":
{"message", "type", "code"}}`, and Anthropic's with `"type": "error"` beside it. Their words are read as the
exception that AWS has for the same, so that all that follows (who is to blame, whether trying again helps,
what a breaker counts) holds for them alike. `code` is the finer word, and comes first. OpenAI's
`invalid_request_error` goes with many statuses, and then the status says more.

Two answers are special. Bedrock may answer 200 with a body that says UnknownOperationException:
`is_error_in_200`. And inside a stream the names are camelCase members (`throttlingException`), under HTTP
status 200; they are given the exception's own name and the status the service model has for it. (botocore
reports 400 for all of them, which is how a throttled stream becomes "bad request" in gateways built on it.)

Which Fault an error is, and what of its text a caller may see, is decided elsewhere: here it is only read.

Sources: botocore/parsers.py (RestJSONParser); smithy restJson1 protocol tests, errors.smithy; the errors of
botocore/data/bedrock-runtime/2023-09-30 and bedrock/2023-04-20; openai-python src/openai/_exceptions.py and
OpenAI's list of error codes; Anthropic's published error types.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

import msgspec

from stargate_core.wire.frames import Frame, FrameKind

EXCEPTION_STATUSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "AccessDeniedException": 403,
        "ConflictException": 400,
        "InternalServerException": 500,
        "ModelErrorException": 424,
        "ModelNotReadyException": 429,
        "ModelStreamErrorException": 424,
        "ModelTimeoutException": 408,
        "ResourceInUseException": 400,
        "ResourceNotFoundException": 404,
        "ServiceQuotaExceededException": 400,
        "ServiceUnavailableException": 503,
        "ThrottlingException": 429,
        "TooManyTagsException": 400,
        "ValidationException": 400,
    }
)
"""The modelled exceptions of bedrock-runtime and bedrock, and their HTTP statuses."""

STREAM_EXCEPTIONS: Final = (
    "InternalServerException",
    "ModelStreamErrorException",
    "ModelTimeoutException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationException",
)
"""Those that may come inside a stream; ModelTimeoutException only from an InvokeModel operation."""

VENDOR_ERRORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "access_denied": "AccessDeniedException",
        "api_error": "InternalServerException",
        "authentication_error": "UnrecognizedClientException",
        "billing_error": "ServiceQuotaExceededException",
        "conflict_error": "ConflictException",
        "context_length_exceeded": "context_length_exceeded",
        "insufficient_quota": "ServiceQuotaExceededException",
        "internal_error": "InternalServerException",
        "internal_server_error": "InternalServerException",
        "invalid_api_key": "UnrecognizedClientException",
        "invalid_request_error": "ValidationException",
        "model_not_found": "ResourceNotFoundException",
        "not_found_error": "ResourceNotFoundException",
        "overloaded_error": "ServiceUnavailableException",
        "permission_denied_error": "AccessDeniedException",
        "permission_error": "AccessDeniedException",
        "rate_limit_error": "ThrottlingException",
        "rate_limit_exceeded": "ThrottlingException",
        "request_too_large": "RequestEntityTooLargeException",
        "server_error": "InternalServerException",
        "service_unavailable": "ServiceUnavailableException",
        "timeout_error": "ModelTimeoutException",
        "validation_error": "ValidationException",
    }
)
"""The vendors' words for what AWS has exceptions for: OpenAI's types and codes, and Anthropic's types. For a
prompt that is too long AWS has no exception of its own, only words: OpenAI's code stays what it is.
"""

_GENERAL: Final = frozenset({"invalid_request_error"})
"""What says nothing beyond a status that is no 400."""
_STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {409: "ConflictException", 413: "RequestEntityTooLargeException"}
)
"""What a vendor's answer without a telling word means, where the status itself would mean nothing."""

MESSAGE_CHARACTERS_MAX: Final = 4096
"""A longer message is cut; the longest that AWS sends repeat our own request."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
"""What a name may look like: it goes into logs and headers of our own."""


class AwsError(msgspec.Struct, frozen=True, gc=False):
    """What AWS said went wrong."""

    name: str
    """`ThrottlingException`; empty when the answer does not say."""
    message: str
    status: int
    """The answer's HTTP status; inside a stream the modelled one, 500 for an exception outside the model."""
    original_status: int | None = None
    """What the model itself answered to Bedrock (ModelErrorException, ModelStreamErrorException)."""


def read_error(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> AwsError:
    """The error in an answer."""
    members = _members(body)
    named = next((value for name, value in headers if name.lower() == b"x-amzn-errortype"), None)
    name = _name(named.decode("latin-1")) if named is not None else ""
    if "error" in members and not _message(members):
        told = vendor_error(members["error"], status)
        return told if not name else AwsError(name, told.message, status)
    return AwsError(name or _body_name(members), _message(members), status, _original_status(members))


def vendor_error(error: object, status: int) -> AwsError:
    """What a vendor's API has put into its `error`, as the AWS exception that says the same.

    status: the answer's own, 0 inside a stream. The name is empty where no word of it is known.
    """
    if isinstance(error, str):
        return AwsError(_STATUSES.get(status, ""), _shortened(error), status)
    members: Mapping[str, object] = {}
    if isinstance(error, Mapping):
        members = cast("Mapping[str, object]", error)
    return AwsError(_vendor_name(members, status), _message(members), status)


def _vendor_name(members: Mapping[str, object], status: int) -> str:
    for key in ("code", "type"):
        word = members.get(key)
        if not isinstance(word, str):
            continue
        if word in _GENERAL and status not in {0, 200, 400, 422}:
            continue
        name = VENDOR_ERRORS.get(word) or _name(word)
        if name in EXCEPTION_STATUSES or word in VENDOR_ERRORS:
            return name
    return _STATUSES.get(status, "")


def is_error_in_200(body: bytes) -> bool:
    """Whether a body that came with status 200 is an error after all: `{"Output":{"__type":...}}`."""
    if b"__type" not in body:
        return False
    members = _members(body)
    return "output" not in members and "Exception" in _body_name(members)


def read_exception(frame: Frame) -> AwsError:
    """The error in a frame: an exception, an error outside the model, or a frame nobody may accept."""
    members = _members(frame.payload)
    name = _name(frame.name)
    message = _message(members)
    if frame.kind is FrameKind.ERROR:
        text = frame.headers.get(":error-message")
        message = _shortened(text) if isinstance(text, str) else message
    else:
        name = name[:1].upper() + name[1:]
    return AwsError(name, message, EXCEPTION_STATUSES.get(name, 500), _original_status(members))


def _members(body: bytes) -> Mapping[str, object]:
    """The body's members, or those of `Output` in Coral's envelope; none when it is no JSON object."""
    if not body.lstrip().startswith(b"{"):
        return {}
    try:
        members = msgspec.json.decode(body, type=dict[str, object])
        output = members.get("Output")
        return msgspec.convert(output, dict[str, object]) if "__type" not in members and output else members
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _body_name(members: Mapping[str, object]) -> str:
    for key in ("code", "Code", "__type"):
        value = members.get(key)
        if isinstance(value, str) and (name := _name(value)):
            return name
    return ""


def _name(text: str) -> str:
    """The error's own name, out of any of the forms it is written in; empty when that can be no name."""
    name = text.partition(":")[0].rpartition("#")[2].strip()
    return name if _NAME.fullmatch(name) else ""


def _message(members: Mapping[str, object]) -> str:
    for key in ("message", "Message", "originalMessage"):
        value = members.get(key)
        if isinstance(value, str):
            return _shortened(value)
    return ""


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARACTERS_MAX else text[:MESSAGE_CHARACTERS_MAX] + " ..."


def _original_status(members: Mapping[str, object]) -> int | None:
    value = members.get("originalStatusCode")
    return value if isinstance(value, int) and not isinstance(value, bool) else None
