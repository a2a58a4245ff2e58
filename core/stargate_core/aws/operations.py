"""The operations of Bedrock: methods, paths, bodies, headers, errors; and from path to model id and back.

A path label (`{modelId}`) is percent-encoded, every byte but `A-Z a-z 0-9 - . _ ~`. SDKs differ in what they
leave as it is (a raw `:` is common), so `match` takes both; `path` writes the one form that botocore writes.
A model id may be an ARN, whose `/` travels as `%2F`: so a path is split at its *raw* slashes, and only then
is a label decoded, once. A server that decodes first cannot tell the two apart, and an id decoded twice is
another id.

`.` and `..` are no labels: no encoding hides them from software that removes dot segments, and the request
would reach another operation than the one that was signed.

The table is botocore's service model, written out; a test reads that model and proves the two equal.

Sources: botocore/data/bedrock-runtime/2023-09-30 and bedrock/2023-04-20 (service-2.json); Smithy 2.0, HTTP
bindings, httpLabel.
"""

import enum
import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec


class BodyKind(enum.Enum):
    """What a request or an answer carries."""

    NONE = "none"
    JSON = "json"
    """The operation's own members, as one JSON object."""
    BLOB = "blob"
    """The model's own body, passed on as it is."""
    EVENT_STREAM = "event stream"
    JSON_OR_SSE = "JSON or server-sent events"
    """As the request's own `stream` member says."""


class OperationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the service model says of one operation. Names within a tuple are sorted."""

    service: str = "bedrock-runtime"
    """The endpoint it lives on: `bedrock-runtime` or `bedrock`."""
    method: bytes = b"POST"
    uri: str
    """The path with its labels: `/model/{modelId}/converse`."""
    request: BodyKind = BodyKind.JSON
    response: BodyKind = BodyKind.JSON
    errors: tuple[str, ...]
    """The exceptions that the model lists."""
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    status: int = 200
    """The status of success."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the path's labels, in order."""
        return tuple(_LABEL.findall(self.uri))

    @property
    def streams(self) -> bool:
        """Whether the answer is an event stream."""
        return self.response is BodyKind.EVENT_STREAM


_LABEL: Final = re.compile(r"\{(\w+)\}")


class Operation(enum.Enum):
    """The operations, by the names AWS gives them."""

    CONVERSE = "Converse"
    CONVERSE_STREAM = "ConverseStream"
    INVOKE_MODEL = "InvokeModel"
    INVOKE_MODEL_WITH_RESPONSE_STREAM = "InvokeModelWithResponseStream"
    INVOKE_MODEL_WITH_BIDIRECTIONAL_STREAM = "InvokeModelWithBidirectionalStream"
    COUNT_TOKENS = "CountTokens"
    APPLY_GUARDRAIL = "ApplyGuardrail"
    INVOKE_GUARDRAIL_CHECKS = "InvokeGuardrailChecks"
    START_ASYNC_INVOKE = "StartAsyncInvoke"
    GET_ASYNC_INVOKE = "GetAsyncInvoke"
    LIST_ASYNC_INVOKES = "ListAsyncInvokes"
    LIST_FOUNDATION_MODELS = "ListFoundationModels"
    GET_FOUNDATION_MODEL = "GetFoundationModel"
    GET_FOUNDATION_MODEL_AVAILABILITY = "GetFoundationModelAvailability"
    LIST_INFERENCE_PROFILES = "ListInferenceProfiles"
    GET_INFERENCE_PROFILE = "GetInferenceProfile"
    CREATE_INFERENCE_PROFILE = "CreateInferenceProfile"
    CHAT_COMPLETIONS = "ChatCompletions"
    RESPONSES = "Responses"
    MESSAGES = "Messages"
    MESSAGES_COUNT_TOKENS = "MessagesCountTokens"

    @property
    def spec(self) -> OperationSpec:
        """What the service model says of it, or the vendor whose API it is."""
        return OPERATIONS.get(self) or VENDORS[self]


ASK_MODELS: Final = frozenset(
    {
        Operation.CONVERSE,
        Operation.CONVERSE_STREAM,
        Operation.INVOKE_MODEL,
        Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM,
        Operation.CHAT_COMPLETIONS,
        Operation.RESPONSES,
        Operation.MESSAGES,
    }
)
"""Those by which a model is asked to say something."""


_LIST_ERRORS: Final = (
    "AccessDeniedException",
    "InternalServerException",
    "ThrottlingException",
    "ValidationException",
)
_READ_ERRORS: Final = tuple(sorted((*_LIST_ERRORS, "ResourceNotFoundException")))
_TOKEN_ERRORS: Final = tuple(sorted((*_READ_ERRORS, "ServiceUnavailableException")))
_MODEL_ERRORS: Final = tuple(
    sorted((*_TOKEN_ERRORS, "ModelErrorException", "ModelNotReadyException", "ModelTimeoutException"))
)
_INVOKE_ERRORS: Final = tuple(sorted((*_MODEL_ERRORS, "ServiceQuotaExceededException")))
_INVOKE_STREAM_ERRORS: Final = tuple(sorted((*_INVOKE_ERRORS, "ModelStreamErrorException")))

_INVOKE_HEADERS: Final = (
    "Content-Type",
    "X-Amzn-Bedrock-GuardrailIdentifier",
    "X-Amzn-Bedrock-GuardrailVersion",
    "X-Amzn-Bedrock-PerformanceConfig-Latency",
    "X-Amzn-Bedrock-Request-Metadata",
    "X-Amzn-Bedrock-Service-Tier",
    "X-Amzn-Bedrock-Trace",
)
_ANSWER_HEADERS: Final = ("X-Amzn-Bedrock-PerformanceConfig-Latency", "X-Amzn-Bedrock-Service-Tier")

OPERATIONS: Final[Mapping[Operation, OperationSpec]] = MappingProxyType(
    {
        Operation.CONVERSE: OperationSpec(uri="/model/{modelId}/converse", errors=_MODEL_ERRORS),
        Operation.CONVERSE_STREAM: OperationSpec(
            uri="/model/{modelId}/converse-stream", response=BodyKind.EVENT_STREAM, errors=_MODEL_ERRORS
        ),
        Operation.INVOKE_MODEL: OperationSpec(
            uri="/model/{modelId}/invoke",
            request=BodyKind.BLOB,
            response=BodyKind.BLOB,
            errors=_INVOKE_ERRORS,
            request_headers=("Accept", *_INVOKE_HEADERS),
            response_headers=("Content-Type", *_ANSWER_HEADERS),
        ),
        Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM: OperationSpec(
            uri="/model/{modelId}/invoke-with-response-stream",
            request=BodyKind.BLOB,
            response=BodyKind.EVENT_STREAM,
            errors=_INVOKE_STREAM_ERRORS,
            request_headers=tuple(sorted((*_INVOKE_HEADERS, "X-Amzn-Bedrock-Accept"))),
            response_headers=("X-Amzn-Bedrock-Content-Type", *_ANSWER_HEADERS),
        ),
        Operation.INVOKE_MODEL_WITH_BIDIRECTIONAL_STREAM: OperationSpec(
            uri="/model/{modelId}/invoke-with-bidirectional-stream",
            request=BodyKind.EVENT_STREAM,
            response=BodyKind.EVENT_STREAM,
            errors=_INVOKE_STREAM_ERRORS,
        ),
        Operation.COUNT_TOKENS: OperationSpec(uri="/model/{modelId}/count-tokens", errors=_TOKEN_ERRORS),
        Operation.APPLY_GUARDRAIL: OperationSpec(
            uri="/guardrail/{guardrailIdentifier}/version/{guardrailVersion}/apply",
            errors=tuple(sorted((*_TOKEN_ERRORS, "ServiceQuotaExceededException"))),
        ),
        Operation.INVOKE_GUARDRAIL_CHECKS: OperationSpec(
            uri="/guardrail-checks/invoke",
            errors=tuple(sorted((*_LIST_ERRORS, "ServiceUnavailableException"))),
        ),
        Operation.START_ASYNC_INVOKE: OperationSpec(
            uri="/async-invoke",
            errors=tuple(sorted((*_TOKEN_ERRORS, "ConflictException", "ServiceQuotaExceededException"))),
        ),
        Operation.GET_ASYNC_INVOKE: OperationSpec(
            method=b"GET", uri="/async-invoke/{invocationArn}", request=BodyKind.NONE, errors=_LIST_ERRORS
        ),
        Operation.LIST_ASYNC_INVOKES: OperationSpec(
            method=b"GET",
            uri="/async-invoke",
            request=BodyKind.NONE,
            errors=_LIST_ERRORS,
            query=(
                "maxResults",
                "nextToken",
                "sortBy",
                "sortOrder",
                "statusEquals",
                "submitTimeAfter",
                "submitTimeBefore",
            ),
        ),
        Operation.LIST_FOUNDATION_MODELS: OperationSpec(
            service="bedrock",
            method=b"GET",
            uri="/foundation-models",
            request=BodyKind.NONE,
            errors=_LIST_ERRORS,
            query=("byCustomizationType", "byInferenceType", "byOutputModality", "byProvider"),
        ),
        Operation.GET_FOUNDATION_MODEL: OperationSpec(
            service="bedrock",
            method=b"GET",
            uri="/foundation-models/{modelIdentifier}",
            request=BodyKind.NONE,
            errors=_READ_ERRORS,
        ),
        Operation.GET_FOUNDATION_MODEL_AVAILABILITY: OperationSpec(
            service="bedrock",
            method=b"GET",
            uri="/foundation-model-availability/{modelId}",
            request=BodyKind.NONE,
            errors=_READ_ERRORS,
        ),
        Operation.LIST_INFERENCE_PROFILES: OperationSpec(
            service="bedrock",
            method=b"GET",
            uri="/inference-profiles",
            request=BodyKind.NONE,
            errors=_LIST_ERRORS,
            query=("maxResults", "nextToken", "type"),
        ),
        Operation.GET_INFERENCE_PROFILE: OperationSpec(
            service="bedrock",
            method=b"GET",
            uri="/inference-profiles/{inferenceProfileIdentifier}",
            request=BodyKind.NONE,
            errors=_READ_ERRORS,
        ),
        Operation.CREATE_INFERENCE_PROFILE: OperationSpec(
            service="bedrock",
            uri="/inference-profiles",
            errors=tuple(
                sorted(
                    (
                        *_READ_ERRORS,
                        "ConflictException",
                        "ServiceQuotaExceededException",
                        "TooManyTagsException",
                    )
                )
            ),
            status=201,
        ),
    }
)


VENDORS: Final[Mapping[Operation, OperationSpec]] = MappingProxyType(
    {
        Operation.CHAT_COMPLETIONS: OperationSpec(
            uri="/chat/completions", response=BodyKind.JSON_OR_SSE, errors=_INVOKE_ERRORS
        ),
        Operation.RESPONSES: OperationSpec(
            uri="/responses", response=BodyKind.JSON_OR_SSE, errors=_INVOKE_ERRORS
        ),
        Operation.MESSAGES: OperationSpec(
            uri="/messages", response=BodyKind.JSON_OR_SSE, errors=_INVOKE_ERRORS
        ),
        Operation.MESSAGES_COUNT_TOKENS: OperationSpec(uri="/messages/count_tokens", errors=_TOKEN_ERRORS),
    }
)
"""Operations of the vendors' APIs as AWS serves them. They are in no service model; their paths follow what
their surface says stands before them (`surfaces.py`).
"""


class Match(msgspec.Struct, frozen=True):
    """The operation that a request asks for."""

    operation: Operation
    labels: Mapping[str, str]
    """The path's labels, decoded: a model id as people write it."""


@functools.lru_cache(maxsize=1024)
def encode_label(text: str) -> bytes:
    """`text` as one path segment: every byte but the unreserved ones percent-encoded."""
    return quote_from_bytes(text.encode(), safe="").encode()


_ENCODED: Final = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})+", re.DOTALL)


@functools.lru_cache(maxsize=1024)
def decode_label(segment: bytes) -> str | None:
    """The text of one path segment, decoded once; None when it is malformed, empty, not UTF-8, or dots."""
    if not _ENCODED.fullmatch(segment):
        return None
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return None if text in _DOTS else text


_DOTS: Final = (".", "..")


def path(operation: Operation, **labels: str) -> bytes:
    """The path on the wire. Raises ValueError when `labels` are not the operation's, or cannot be encoded."""
    spec = operation.spec
    if set(labels) != set(spec.labels):
        raise ValueError(f"{operation.value} has the labels {spec.labels}, not {tuple(labels)}")
    for name, text in labels.items():
        if not text or text in _DOTS:
            raise ValueError(f"{text!r} cannot stand in a path as {name}")
    return _LABEL.sub(lambda label: encode_label(labels[label[1]]).decode(), spec.uri).encode()


def match(method: bytes, raw_path: bytes) -> Match | None:
    """The operation that a method and a path ask for; None if there is none. The path is as received,
    without query.

    None also when a label is malformed: `%` without two hexadecimal digits, bytes that are not UTF-8, or
    dots.
    """
    segments = raw_path.split(b"/")
    for places in _PLACES.get(len(segments), ()):
        literal = tuple([b"" if at in places else segment for at, segment in enumerate(segments)])
        route = _ROUTES.get((method, places, literal))
        if route is None:
            continue
        operation, names = route
        labels: dict[str, str] = {}
        for name, at in zip(names, places, strict=True):
            text = decode_label(segments[at])
            if text is None:
                return None
            labels[name] = text
        return Match(operation, labels)
    return None


_Key: TypeAlias = tuple[bytes, tuple[int, ...], tuple[bytes, ...]]
_Routes: TypeAlias = Mapping[_Key, tuple[Operation, tuple[str, ...]]]
_Places: TypeAlias = Mapping[int, tuple[tuple[int, ...], ...]]


def _routes() -> tuple[_Routes, _Places]:
    """Operations and labels by method, places of the labels and path without them; such places, by length."""
    routes: dict[_Key, tuple[Operation, tuple[str, ...]]] = {}
    places: dict[int, set[tuple[int, ...]]] = {}
    for operation, spec in OPERATIONS.items():
        segments = spec.uri.split("/")
        literal = tuple(b"" if _LABEL.fullmatch(segment) else segment.encode() for segment in segments)
        at = tuple(at for at, segment in enumerate(segments) if _LABEL.fullmatch(segment))
        routes[spec.method, at, literal] = (operation, spec.labels)
        places.setdefault(len(segments), set()).add(at)
    return MappingProxyType(routes), MappingProxyType({n: tuple(sorted(at)) for n, at in places.items()})


_ROUTES, _PLACES = _routes()
