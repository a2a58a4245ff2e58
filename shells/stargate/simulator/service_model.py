"""AWS's own service models as the judges of a request: which operation it is, and whether its members may
stand.

Two services are played at one address: the runtime, and of the control plane what lists models. Read from
botocore's copy of the model, so routes, shapes, ranges, enumerations and patterns are AWS's and not ours.
Three passes over a body:

1. From the wire: JSON `null` counts as absent (restJson1), blobs are base64, labels and headers become
   members.
2. `botocore.validate.ParamValidator`: types, required members, unknown members, unions, minima.
3. What botocore leaves to the server: maxima, enumerations, patterns.

AWS ignores unknown members below the first level in some operations and refuses them in others; here they are
refused everywhere, because a stand-in that is laxer than the real thing hides mistakes.
"""

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from botocore.loaders import Loader
from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    ServiceModel,
    Shape,
    StringShape,
    StructureShape,
)
from botocore.validate import ParamValidator

from stargate.simulator.errors import invalid, malformed, refuse
from stargate.simulator.json_tree import as_array, as_object

SIMULATED: Final = (
    "Converse",
    "ConverseStream",
    "InvokeModel",
    "InvokeModelWithResponseStream",
    "CountTokens",
    "ApplyGuardrail",
    "InvokeGuardrailChecks",
    "StartAsyncInvoke",
    "GetAsyncInvoke",
    "ListAsyncInvokes",
)
"""The runtime's operations that are simulated, as far as botocore's model knows them; not the one over HTTP/2
both ways.
"""
STREAMING: Final = ("ConverseStream", "InvokeModelWithResponseStream")
"""Those whose answer is an event stream."""
CONTROL_PLANE: Final = (
    "ListFoundationModels",
    "GetFoundationModel",
    "ListInferenceProfiles",
    "GetInferenceProfile",
)
"""And of the control plane."""

_CONTROL_PLANE_PATHS: Final = (b"/foundation-models", b"/inference-profiles")
"""Where its paths begin: its model is large, and is read only when one is asked for."""

_CACHED_VALUE_CHARACTERS_MAX: Final = 2048


class Call(msgspec.Struct, frozen=True):
    """A request that was routed: the operation and its path's labels, decoded once."""

    operation: str
    labels: Mapping[str, str]
    query: Mapping[str, str] = {}

    @property
    def model_id(self) -> str:
        """The model that is asked for in the path; empty for operations without one there."""
        return self.labels.get("modelId", "")

    @property
    def streaming(self) -> bool:
        """Whether the answer is an event stream."""
        return self.operation in STREAMING


@functools.cache
def service_model(service: str = "bedrock-runtime") -> ServiceModel:
    """Bedrock's runtime, or its control plane, as botocore knows it; read once."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@functools.cache
def operation_model(operation: str) -> OperationModel:
    """One operation of either."""
    service = "bedrock" if operation in CONTROL_PLANE else "bedrock-runtime"
    return service_model(service).operation_model(operation)


@functools.cache
def stream_exceptions(operation: str) -> tuple[str, ...]:
    """The exceptions that may stand inside the operation's event stream, in camelCase as on the wire."""
    output: Any = operation_model(operation).get_event_stream_output()
    members: Mapping[str, Shape] = output.members if output is not None else {}
    return tuple(name for name, shape in members.items() if shape.metadata.get("exception"))


@functools.cache
def _routes(service: str) -> dict[tuple[str, int], list[tuple[str, list[str]]]]:
    """(method, number of segments) -> operations and the segments of their paths."""
    routes: dict[tuple[str, int], list[tuple[str, list[str]]]] = {}
    known: set[str] = set(service_model(service).operation_names)
    for operation in CONTROL_PLANE if service == "bedrock" else SIMULATED:
        if operation not in known:
            continue  # an older botocore than the operation
        http: Mapping[str, Any] = operation_model(operation).http
        segments: list[str] = http["requestUri"].split("/")
        routes.setdefault((http["method"], len(segments)), []).append((operation, segments))
    return routes


def route(method: bytes, target: bytes) -> Call | None:
    """The operation a request is for; None if there is none.

    The raw path is split before its labels are decoded: an ARN's slash is `%2F`, and one that was left as it
    is makes another path. A raw `:` is as good as `%3A`.
    """
    path, _, query = target.partition(b"?")
    segments = path.split(b"/")
    service = "bedrock" if path.startswith(_CONTROL_PLANE_PATHS) else "bedrock-runtime"
    for operation, expected in _routes(service).get((method.decode("ascii"), len(segments)), ()):
        labels = _match(expected, segments)
        if labels is not None:
            members = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            return Call(operation, labels, dict(members))
    return None


def _match(expected: list[str], segments: list[bytes]) -> dict[str, str] | None:
    labels: dict[str, str] = {}
    for pattern, segment in zip(expected, segments, strict=True):
        if pattern.startswith("{"):
            if not segment:
                return None
            labels[pattern[1:-1]] = unquote_to_bytes(segment).decode("utf-8", "replace")
        elif segment != pattern.encode():
            return None
    return labels


def check(call: Call, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The request's members, checked against the model; headers by lower-case name.

    Blobs come back as bytes, an InvokeModel's own body as the member `body`. Raises Refusal.
    """
    shape = operation_model(call.operation).input_shape
    assert isinstance(shape, StructureShape)
    members: dict[str, Any] = dict(call.labels)
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        if where == "header":
            value = headers.get(member.serialization["name"].lower())
        elif where == "querystring":
            value = call.query.get(member.serialization["name"])
        else:
            continue
        if value is not None:
            members[name] = _from_text(value, member, name)
    payload = shape.serialization.get("payload")
    if payload is not None:
        members[payload] = body
    elif operation_model(call.operation).http["method"] != "GET":
        members.update(_body_members(shape, headers, body))
    try:
        report = ParamValidator().validate(members, shape)
    except RuntimeError:
        raise invalid("A timestamp cannot be read.") from None  # What dateutil makes of `INF`.
    if report.has_errors():
        raise malformed(report.generate_report().replace("\n", "#"))
    violations = list(_violations(members, shape, ""))
    if violations:
        count = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
        raise invalid(f"{count} detected: {'; '.join(violations)}")
    return members


def _from_text(value: str, shape: Shape, name: str) -> Any:
    """A member of a header or a query, of which HTTP knows only the text."""
    if shape.type_name in ("integer", "long"):
        if re.fullmatch(r"-?[0-9]{1,18}", value) is None:
            raise refuse("SerializationException", f"{name}: {value!r} is no number")
        return int(value)
    return value


def _body_members(shape: StructureShape, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    media_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise refuse("UnsupportedMediaTypeException")
    decoded = decode_object(body)
    for name in decoded:
        member = shape.members.get(name)
        if member is None or "location" in member.serialization:
            raise malformed(f"#: extraneous key [{name}] is not permitted")
    return dict(as_object(_from_wire(decoded, shape, "")))


def decode_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object. Raises Refusal."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise refuse("SerializationException", f"The request body is no JSON object: {error}") from None
    except RecursionError:
        raise refuse("SerializationException", "The request body is nested too deeply.") from None


def _from_wire(given: Any, shape: Shape, at: str) -> Any:
    """JSON as the model's members: nulls away, blobs decoded. Wrong types are left for the validator."""
    value: object = given
    match shape:
        case StructureShape() if isinstance(value, dict) and not shape.is_document_type:
            return {
                name: _from_wire(inner, shape.members[name], f"{at}.{name}")
                if name in shape.members
                else inner
                for name, inner in as_object(value).items()
                if inner is not None
            }
        case ListShape() if isinstance(value, list):
            items = enumerate(as_array(value))
            return [_from_wire(inner, shape.member, f"{at}.{index}") for index, inner in items]
        case MapShape() if isinstance(value, dict):
            entries = as_object(value).items()
            return {key: _from_wire(inner, shape.value, f"{at}.{key}") for key, inner in entries}
        case _ if shape.type_name == "blob":
            if not isinstance(value, str):
                raise malformed(f"#{at.replace('.', '/')}: expected type: String, found: {_json_type(value)}")
            try:
                return base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise malformed(f"#{at.replace('.', '/')}: the blob is not base64") from None
        case _:
            return given


def _json_type(value: Any) -> str:
    names: dict[type, str] = {
        bool: "Boolean",
        int: "Integer",
        float: "Number",
        dict: "JSONObject",
        list: "JSONArray",
    }
    return names.get(type(value), "String")  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _violations(value: Any, shape: Shape, at: str) -> Iterator[str]:
    """What the server checks beyond botocore: in the words of AWS's `N validation errors detected`."""
    match shape:
        case StructureShape():
            if not shape.is_document_type:
                for name, inner in value.items():
                    yield from _violations(inner, shape.members[name], f"{at}.{name}" if at else name)
        case ListShape():
            for index, inner in enumerate(value):
                yield from _violations(inner, shape.member, f"{at}.{index + 1}.member")
        case MapShape():
            for key, inner in value.items():
                yield from _violations(key, shape.key, at)
                yield from _violations(inner, shape.value, f"{at}.{key}")
        case _:
            pass
    constraint = _broken_constraint(value, shape)
    if constraint is not None:
        shown = f"Value '{value}'" if isinstance(value, str | int | float) else "Value"
        yield f"{shown} at '{at}' failed to satisfy constraint: Member must {constraint}"


def _broken_constraint(value: Any, shape: Shape) -> str | None:
    if isinstance(value, bool) and shape.type_name in ("integer", "long", "float", "double"):
        return "be a number"
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        return f"satisfy enum value set: [{', '.join(shape.enum)}]"
    limit = shape.metadata.get("max")
    if limit is not None:
        if isinstance(value, int | float):
            if value > limit:
                return f"have value less than or equal to {limit}"
        elif len(value) > limit:
            return f"have length less than or equal to {limit}"
    pattern = shape.metadata.get("pattern")
    if pattern is not None and isinstance(value, str) and not _fits(pattern, value):
        return f"satisfy regular expression pattern: {pattern}"
    return None


def _fits(pattern: str, value: str) -> bool:
    """Whether a text fits a pattern of the model, from end to end."""
    return (_fits_cached if len(value) <= _CACHED_VALUE_CHARACTERS_MAX else _matches)(pattern, value)


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern)(value) is not None


_fits_cached = functools.lru_cache(maxsize=1024)(_matches)


@functools.cache
def _compiled(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(pattern).fullmatch
