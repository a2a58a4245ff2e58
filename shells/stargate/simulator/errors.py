"""The errors Bedrock answers with: status, name, wording, and where the name and the message stand.

Three forms exist on the wire, and a client must read all of them:

- An exception of the service model: `x-amzn-ErrorType:
  Name:http://internal.amazon.com/coral/com.amazon.bedrock/` and `{"message": "..."}`. Statuses are the
  model's (botocore, bedrock-runtime/2023-09-30/service-2.json).
- An exception of the layer before the service (signatures, tokens, IAM): the same header with
  `com.amazon.coral.service/`; IAM and API-key refusals spell the member `Message`.
- `UnknownOperationException`, which has no header at all and, when an ARN's slash was left unencoded,
  status 200.

The texts are those AWS sends, as far as they are known from recordings and public issues; clients should
match the name and never the text, and the simulator's texts may drift as AWS's do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

SERVICE: Final = "com.amazon.bedrock"
COMMON: Final = "com.amazon.coral.service"


class AwsError(msgspec.Struct, frozen=True, kw_only=True):
    """One error answer of AWS's, before it is written."""

    name: str
    status: int
    message: str
    layer: str = SERVICE
    """The Java package in the header's URL: of the service, or of the layer before it."""
    message_member: str = "message"
    members: Mapping[str, object] = MappingProxyType({})
    """Further members of the body."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that name the error and the body's type."""
        kind = f"{self.name}:http://internal.amazon.com/coral/{self.layer}/"
        return [(b"x-amzn-ErrorType", kind.encode()), (b"Content-Type", b"application/json")]

    def body(self) -> bytes:
        """The body: one JSON object."""
        return msgspec.json.encode({self.message_member: self.message, **self.members})


class Refusal(Exception):
    """A request that is answered with an error of AWS's."""

    def __init__(self, error: AwsError) -> None:
        super().__init__(f"{error.name}: {error.message}")
        self.error = error


def refuse(name: str, message: str | None = None) -> Refusal:
    """The refusal of that name, with AWS's usual text or this one."""
    error = ERRORS[name]
    return Refusal(error if message is None else msgspec.structs.replace(error, message=message))


def invalid(message: str) -> Refusal:
    """A `ValidationException`."""
    return refuse("ValidationException", message)


def malformed(detail: str) -> Refusal:
    """A `ValidationException` in the words of AWS's own JSON-schema check."""
    return invalid(f"Malformed input request: {detail}, please reformat your input and try again.")


_UNEXPECTED: Final = "The system encountered an unexpected error during processing. Try your request again."
_TABLE: Final = (
    # name, status, message: the service model's twelve
    ("ValidationException", 400, "The provided request is not valid."),
    ("ServiceQuotaExceededException", 400, "Your request exceeds the service quota for your account."),
    ("ConflictException", 400, "Error occurred because of a conflict while performing an operation."),
    ("AccessDeniedException", 403, "You don't have access to the model with the specified model ID."),
    ("ResourceNotFoundException", 404, "Could not resolve the foundation model from the model identifier."),
    ("ModelTimeoutException", 408, "Model has timed out in processing the request. Try your request again."),
    ("ModelErrorException", 424, _UNEXPECTED),
    ("ModelStreamErrorException", 424, _UNEXPECTED),
    ("ModelNotReadyException", 429, "Model is not ready for inference. Wait and try your request again."),
    ("ThrottlingException", 429, "Too many requests, please wait before trying again."),
    ("InternalServerException", 500, _UNEXPECTED),
    ("ServiceUnavailableException", 503, "Bedrock is unable to process your request."),
)  # fmt: skip

_COMMON_TABLE: Final = (
    ("ExpiredTokenException", 403, "The security token included in the request is expired"),
    ("UnrecognizedClientException", 403, "The security token included in the request is invalid."),
    ("InvalidSignatureException", 403, "The request signature we calculated does not match."),
    ("MissingAuthenticationTokenException", 403, "Missing Authentication Token"),
    ("IncompleteSignatureException", 400, "The request signature does not conform to AWS standards."),
    ("SerializationException", 400, "The request body could not be read."),
    ("UnsupportedMediaTypeException", 415, "The operation does not take this media type."),
    ("RequestEntityTooLargeException", 413, "The request body is too large."),
    ("UnknownOperationException", 404, ""),
)  # fmt: skip

_FURTHER_MEMBERS: Final[dict[str, Mapping[str, object]]] = {
    "ModelErrorException": {"originalStatusCode": 500, "resourceName": "simulated-model"},
    "ModelStreamErrorException": {"originalStatusCode": 500, "originalMessage": "The model's stream broke."},
}

ERRORS: Final[Mapping[str, AwsError]] = MappingProxyType(
    {
        name: AwsError(name=name, status=status, message=text, members=_FURTHER_MEMBERS.get(name, {}))
        for name, status, text in _TABLE
    }
    | {
        name: AwsError(name=name, status=status, message=text, layer=COMMON)
        for name, status, text in _COMMON_TABLE
    }
)
"""Every error the simulator can answer with, by name."""

IAM_DENIED: Final = AwsError(
    name="AccessDeniedException",
    status=403,
    message=(
        "User: arn:aws:sts::123456789012:assumed-role/gateway/simulated is not authorized to perform: "
        "bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/simulated because "
        "no identity-based policy allows the bedrock:InvokeModel action"
    ),
    layer=COMMON,
    message_member="Message",
)
"""IAM's refusal: capital `Message`, and it names roles and accounts."""

API_KEY_DENIED: Final = msgspec.structs.replace(
    IAM_DENIED, message="Authentication failed: Please make sure your API Key is valid."
)
"""The refusal of a Bedrock API key: 403, never 401."""

UNKNOWN_OPERATION_BODY: Final = (
    b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}'
)
"""The whole body of an `UnknownOperationException`; its header names no type."""
