"""Bedrock's own API: for callers that speak it already, with nothing changed but who signs and, perhaps,
which model.

The path names the operation and the model; the body is the caller's and is passed on byte for byte. What
is looked at is what policy must know: which model, whether it streams, how many tokens may come, how
much is left to chance.
Converse's body must be a JSON object (Bedrock says the same, later); InvokeModel's is the model's own,
and none of our business.

StartAsyncInvoke names its model in the body. Where its name leads to another id, that one member is written
anew, and all others keep their own bytes. A body that names a model twice is refused: which one counts would
be AWS's choice, and policy would have looked at the other.

Of the control plane the readings are served: what models and inference profiles there are. A reading has no
body, whatever a caller sends with it; of its query the modelled parameters are passed on, and no others. AWS
checks a query's signature in one spelling of the many that mean the same, so that one is written. What would
change the account (CreateInferenceProfile) is refused: a gateway that lets its callers use models lets nobody
rearrange them.

Upstream headers are an allow list: the type of the body, and Bedrock's own `x-amzn-bedrock-…`. Everything
that could carry a caller's authority (`authorization`, `cookie`, `x-api-key`, `x-amz-…`) stays here.

An error has AWS's form, so that an SDK raises its own class: the exception's name in `x-amzn-ErrorType`,
its status, and `{"message": …}`. An exception that Bedrock has named keeps its name and its status,
except where the gateway's own credentials are at fault: that story names roles and accounts, and is told
as ServiceUnavailableException.

The bidirectional stream is refused: it needs HTTP/2 in both directions.

Sources: botocore/data/bedrock-runtime/2023-09-30; botocore/parsers.py (RestJSONParser).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stargate_core.aws import operations
from stargate_core.aws.exceptions import EXCEPTION_STATUSES
from stargate_core.aws.operations import BodyKind, Match, Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.bedrock_native_answer import NativeTranslator, public_name
from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.face import Ask, Call, Headers, ModelCard, Reply, Request, Target
from stargate_core.dialects.openai_chat_request import malformed
from stargate_core.dialects.paths import model_path
from stargate_core.faults import Cause, Fault, Refused, refuse

SERVED: Final = frozenset(
    {
        Operation.CONVERSE,
        Operation.CONVERSE_STREAM,
        Operation.INVOKE_MODEL,
        Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM,
        Operation.COUNT_TOKENS,
        Operation.APPLY_GUARDRAIL,
        Operation.INVOKE_GUARDRAIL_CHECKS,
        Operation.START_ASYNC_INVOKE,
        Operation.GET_ASYNC_INVOKE,
        Operation.LIST_ASYNC_INVOKES,
        Operation.LIST_FOUNDATION_MODELS,
        Operation.GET_FOUNDATION_MODEL,
        Operation.LIST_INFERENCE_PROFILES,
        Operation.GET_INFERENCE_PROFILE,
    }
)
"""The operations that callers may use."""

_MODEL_LABELS: Final = ("modelId", "modelIdentifier", "inferenceProfileIdentifier")
"""What the label of a path is called that names a model."""
_METHODS: Final = (b"GET", b"POST")
_HEADERS_PASSED: Final = frozenset({b"content-type", b"accept"})
_HEADER_PREFIX_PASSED: Final = b"x-amzn-bedrock-"
_encoded: Final = functools.partial(quote_from_bytes, safe="-._~")


class BedrockNative:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "bedrock-native"
    SURFACES: ClassVar[tuple[Surface, ...]] = (Surface.CONVERSE, Surface.INVOKE)
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-amzn-requestid"
    LIMIT_FAMILY: ClassVar[str] = ""

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        match = _match(request)
        operation, labels = match.operation, match.labels
        named = next((labels[name] for name in _MODEL_LABELS if name in labels), None)
        ask = Ask(model=named, stream=operation.spec.streams, body=labels, operation=operation)
        match operation.spec.request:
            case BodyKind.NONE:
                pass
            case BodyKind.JSON:
                ask.output_tokens_max, ask.temperature = _of_converse(request.body)
            case _:
                ask.output_tokens_max, ask.temperature = _of_invoke(request.body)
        if operation is Operation.START_ASYNC_INVOKE:
            ask.model = _model_of(_members(request.body))
        return ask

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The same call to the target's model, at Bedrock's own endpoint: the caller named the operation."""
        operation = ask.operation
        assert operation is not None
        if target.surface not in self.SURFACES:
            text = f"The model is reached by {target.surface.value} only, which has no {operation.value}"
            raise refuse(Cause.BODY_INVALID, text, param="model")
        spec = operation.spec
        body = b"" if spec.request is BodyKind.NONE else request.body
        if ask.model is None or not spec.labels:
            path = operations.path(operation, **_labels(ask))
        else:
            path = model_path(operation, target.model)
        if operation is Operation.START_ASYNC_INVOKE and target.model != ask.model:
            body = _renamed(body, target.model)
        headers: Headers = [
            (name, value)
            for name, value in request.headers
            if (name in _HEADERS_PASSED and (body or name != b"content-type"))
            or name.startswith(_HEADER_PREFIX_PASSED)
        ]
        target_path = path + _query(request.query, spec.query) if spec.query else path
        return Call(operation, spec.method, target_path, headers, body, ask.stream)

    def translator(self, request: Request, ask: Ask, call: Call) -> NativeTranslator:
        """A fresh translator for the answer to `call`."""
        return NativeTranslator(call.operation)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: no operation of Bedrock's is local."""
        raise AssertionError("a Bedrock operation is not answered locally")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in AWS's form."""
        row = fault.row
        status = row.aws_status or row.status
        name = public_name(fault)
        if name is None:
            name = row.aws_name
        elif fault.aws_status is not None and 400 <= fault.aws_status <= 599:
            status = fault.aws_status
        else:
            status = EXCEPTION_STATUSES.get(name, status)
        headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", name.encode())]
        return Reply(status, headers, msgspec.json.encode({"message": fault.text}))


def _match(request: Request) -> Match:
    """The operation, and the labels of its path. Raises Refused."""
    match = operations.match(request.method, request.path)
    if match is not None and match.operation in SERVED:
        return match
    if match is not None and match.operation is Operation.INVOKE_MODEL_WITH_BIDIRECTIONAL_STREAM:
        raise refuse(
            Cause.HTTP_UNSUPPORTED,
            "InvokeModelWithBidirectionalStream needs HTTP/2 both ways, which the gateway does not speak",
        )
    allowed = [method for method in _METHODS if _is_served(operations.match(method, request.path))]
    if allowed:
        raise Refused(Fault(Cause.METHOD_NOT_ALLOWED, headers=((b"allow", b", ".join(allowed)),)))
    raise refuse(Cause.ROUTE_UNKNOWN)


def _is_served(match: Match | None) -> bool:
    return match is not None and match.operation in SERVED


def _labels(ask: Ask) -> Mapping[str, str]:
    labels: Mapping[str, str] = ask.body
    return labels


def _query(query: bytes, modelled: Sequence[str]) -> bytes:
    """What of a query the operation has parameters for, encoded as botocore does it."""
    names = {name.encode() for name in modelled}
    pairs = [pair.partition(b"=")[::2] for pair in query.split(b"&")]
    kept = [
        name + b"=" + _encoded(unquote_to_bytes(value)).encode() for name, value in pairs if name in names
    ]
    return b"?" + b"&".join(kept) if kept else b""


# -------------------------------------------------------------------------------------- a model in the body


class _Name:
    """A member's name. Each is another one, so that of two with the same text both are seen."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_MEMBERS: Final = msgspec.json.Decoder(dict[_Name, Raw], dec_hook=lambda _, text: _Name(text))
_MODEL: Final = "modelId"


def _members(body: bytes) -> list[tuple[str, Raw]]:
    """The members of a body that is a JSON object, each as it is written. Raises Refused where it is none."""
    try:
        # Raw parts are not checked for UTF-8 by the decoder.
        if not body.isascii():
            body.decode()
        return [(name.text, value) for name, value in _MEMBERS.decode(body).items()]
    except NOT_JSON as error:
        raise malformed(error) from None


def _model_of(members: Sequence[tuple[str, Raw]]) -> str:
    """The one model that a body names. Raises Refused."""
    values = [value for name, value in members if name == _MODEL]
    if len(values) > 1:
        raise refuse(Cause.BODY_INVALID, "modelId stands more than once in the request's body", param=_MODEL)
    try:
        model = msgspec.json.decode(values[0], type=str) if values else ""
    except NOT_JSON:
        model = ""
    if not model:
        raise refuse(Cause.BODY_INVALID, "modelId must be the id or ARN of a model", param=_MODEL)
    return model


def _renamed(body: bytes, model: str) -> bytes:
    """The same body for another model."""
    encode = msgspec.json.encode
    members = [(name, encode(model) if name == _MODEL else bytes(value)) for name, value in _members(body)]
    return b"{" + b",".join([encode(name) + b":" + value for name, value in members]) + b"}"


# --------------------------------------------------------------------------- how many tokens, how much chance

_TOKENS_MAX: Final = 2**31 - 1
"""More than any model produces: a caller may write any number."""
_Policy: TypeAlias = tuple[int | None, float | None]
"""The most tokens, and the temperature: where they are said, in words we know."""


class _Limits(msgspec.Struct):
    """Where Converse and the families of models keep the most tokens they may produce."""

    max_tokens: int | None = None
    max_gen_len: int | None = None
    max_new_tokens: int | None = None
    maxTokens: int | None = None  # noqa: N815
    maxTokenCount: int | None = None  # noqa: N815
    temperature: Any = None

    @property
    def told(self) -> _Policy:
        temperature = _number(self.temperature)
        for limit in (
            self.max_tokens,
            self.max_gen_len,
            self.max_new_tokens,
            self.maxTokens,
            self.maxTokenCount,
        ):
            if limit is not None and limit > 0:
                return min(limit, _TOKENS_MAX), temperature
        return None, temperature


def _number(value: Any) -> float | None:
    """A JSON number, which may have any number of digits; None for what is none, or too large to be one."""
    if type(value) is not int and type(value) is not float:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


class _Nested(msgspec.Struct):
    inferenceConfig: Raw | UnsetType = UNSET  # noqa: N815
    textGenerationConfig: Raw | UnsetType = UNSET  # noqa: N815


_LIMITS: Final = msgspec.json.Decoder(_Limits)
_NESTED: Final = msgspec.json.Decoder(_Nested)


def _of_converse(body: bytes) -> _Policy:
    """What inferenceConfig says. Raises Refused where the body is no JSON object."""
    try:
        nested = _NESTED.decode(body)
    except msgspec.ValidationError:
        raise refuse(Cause.BODY_INVALID, "The request's body must be a JSON object") from None
    except NOT_JSON as error:
        raise malformed(error) from None
    return _told(nested.inferenceConfig)


def _of_invoke(body: bytes) -> _Policy:
    """What a model's own words say. A family that keeps its limit in an object has its temperature there."""
    tokens, temperature = _told(body)
    if tokens is not None:
        return tokens, temperature
    try:
        nested = _NESTED.decode(body)
    except NOT_JSON:
        return None, temperature
    for source in (nested.inferenceConfig, nested.textGenerationConfig):
        if not isinstance(source, UnsetType):
            inner_tokens, inner_temperature = _told(source)
            tokens = tokens if tokens is not None else inner_tokens
            temperature = temperature if temperature is not None else inner_temperature
    return tokens, temperature


def _told(source: Raw | UnsetType | bytes) -> _Policy:
    if isinstance(source, UnsetType):
        return None, None
    try:
        return _LIMITS.decode(source).told
    except NOT_JSON:
        return None, None
