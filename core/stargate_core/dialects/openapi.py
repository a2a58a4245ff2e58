"""Our own OpenAPI document: what the gateway answers at its built-in paths, for tools that read such things.

It is made from what the gateway works by: the table of routes, the service model's paths, the types that
decode requests (openapi_bodies.py), the table of causes (openapi_answers.py). A route without a description
here is a mistake, and a test says so. Routes of a configuration are not in it, for it knows none.

Two things OpenAPI cannot say. A path's label is one segment here, while a model id that is an ARN holds
slashes: they travel as `%2F`. And whether an answer is a stream is for the request's `stream` to say, where
the path does not: such operations have two media types.

Sources: https://spec.openapis.org/oas/v3.1.1.html.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from stargate_core.aws.operations import OPERATIONS, BodyKind, Operation, OperationSpec
from stargate_core.dialects import openapi_answers as answers
from stargate_core.dialects import openapi_bodies as bodies
from stargate_core.dialects.anthropic_models import LIMIT, LIMIT_MAX, VERSION_HEADER
from stargate_core.dialects.bedrock_native import SERVED
from stargate_core.dialects.openapi_answers import FRAMES, JSON, STREAM, error_refs, good
from stargate_core.dialects.openapi_bodies import Schema, ref
from stargate_core.dialects.registry import ROUTES, Route

_Json: TypeAlias = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string"}

SECURITY: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A gateway key, or a token."},
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
        "sigv4": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "AWS Signature Version 4, with a key pair of the gateway's own.",
        },
    }
)
"""How callers may say who they are. A gateway without a plugin that asks lets everybody in."""


def document(*, version: str, server: str) -> _Json:
    """The whole document. version: the gateway's. server: where it listens."""
    paths: dict[str, _Json] = {}
    for path, method, operation in _operations():
        assert method not in paths.get(path, {}), f"{method} {path} is described twice"
        paths.setdefault(path, {})[method] = operation
    requests = bodies.schemas()
    assert requests.keys().isdisjoint(answers.SCHEMAS), "two schemas of one name"
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Stargate",
            "version": version,
            "description": "A gateway for AWS Bedrock, in the dialects of OpenAI, Anthropic and Bedrock.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{name: []} for name in SECURITY],
        "paths": paths,
        "components": {
            "schemas": {**requests, **answers.SCHEMAS},
            "responses": answers.errors(),
            "headers": dict(answers.HEADERS),
            "securitySchemes": dict(SECURITY),
        },
    }


def _operations() -> Iterator[tuple[str, str, _Json]]:
    """Path, method in lower case, and description of everything."""
    for route in ROUTES:
        describe = _DESCRIBED.get(route.dialect.NAME)
        if describe is not None:
            path = route.path.decode() + ("{model}" if route.path.endswith(b"/") else "")
            yield path, route.method.decode().lower(), {"operationId": route.name, **describe(route)}
    for operation, spec in OPERATIONS.items():
        if operation in SERVED:
            yield spec.uri, spec.method.decode().lower(), _native(operation, spec)
    for path, summary in (
        ("/healthz", "Whether the gateway lives."),
        ("/readyz", "Whether it is to be sent requests: not while it shuts down."),
    ):
        yield path, "get", _health(path, summary)


# ------------------------------------------------------------------------------------------ the vendors' APIs


def _asked(name: str) -> _Json:
    return {"required": True, "content": {JSON: {"schema": ref(name)}}}


def _chat(_route: Route) -> _Json:
    answer = good("The completion, or its chunks.", json=ref("chat.Answer"), sse=STREAM)
    return {
        "summary": "OpenAI's chat completions.",
        "tags": ["OpenAI"],
        "requestBody": _asked("chat.ChatRequest"),
        "responses": {"200": answer, **error_refs("openai")},
    }


def _responses(_route: Route) -> _Json:
    answer = good("The response, or its events.", json=ref("responses.Answer"), sse=STREAM)
    return {
        "summary": "OpenAI's responses; nothing is kept between them.",
        "tags": ["OpenAI"],
        "requestBody": _asked("responses.ResponsesRequest"),
        "responses": {"200": answer, **error_refs("openai")},
    }


def _embeddings(_route: Route) -> _Json:
    return {
        "summary": "OpenAI's embeddings.",
        "tags": ["OpenAI"],
        "requestBody": _asked("embeddings.EmbeddingRequest"),
        "responses": {
            "200": good("The vectors, in the order of the texts.", json=ref("embeddings.Answer")),
            **error_refs("openai"),
        },
    }


def _models(route: Route) -> _Json:
    """OpenAI's list and Anthropic's, which share their paths."""
    version: _Json = {
        "name": VERSION_HEADER.decode(),
        "in": "header",
        "description": "Whoever sends it gets Anthropic's form.",
        "schema": _TEXT,
    }
    if route.path.endswith(b"/"):
        parameters = [_label("model", "The model's name; a slash in it travels as %2F."), version]
        answer = good("The model.", json=ref("models.Model"))
    else:
        limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT}
        parameters = [version, _query("limit", limit), _query("after_id", _TEXT), _query("before_id", _TEXT)]
        answer = good("What the caller may name.", json=ref("models.List"))
    return {
        "summary": "The models that the caller may name, in OpenAI's or Anthropic's form.",
        "tags": ["OpenAI", "Anthropic"],
        "parameters": parameters,
        "responses": {"200": answer, **_either()},
    }


def _either() -> _Json:
    """Errors in either form, by status."""
    schema = {"anyOf": [ref("openai.Error"), ref("anthropic.Error")]}
    statuses = sorted({*error_refs("openai"), *error_refs("anthropic")})
    return {
        status: {
            "description": "An error, in the form of the API that the caller speaks.",
            "content": {JSON: {"schema": schema}},
        }
        for status in statuses
    }


def _messages(_route: Route) -> _Json:
    answer = good("The message, or its events.", json=ref("anthropic.Answer"), sse=STREAM)
    return {
        "summary": "Anthropic's messages.",
        "tags": ["Anthropic"],
        "parameters": _OF_ANTHROPIC,
        "requestBody": _asked("anthropic.MessagesRequest"),
        "responses": {"200": answer, **error_refs("anthropic")},
    }


def _count_tokens(_route: Route) -> _Json:
    return {
        "summary": "Anthropic's counting of tokens.",
        "tags": ["Anthropic"],
        "parameters": _OF_ANTHROPIC,
        "requestBody": _asked("anthropic.CountTokensRequest"),
        "responses": {
            "200": good("How many tokens it is.", json=ref("anthropic.CountAnswer")),
            **error_refs("anthropic"),
        },
    }


def _query(name: str, schema: Schema) -> _Json:
    return {"name": name, "in": "query", "schema": schema}


def _label(name: str, description: str) -> _Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


_OF_ANTHROPIC: Final[list[_Json]] = [
    {"name": name, "in": "header", "schema": _TEXT} for name in ("anthropic-version", "anthropic-beta")
]
_DESCRIBED: Final[Mapping[str, Callable[[Route], _Json]]] = MappingProxyType(
    {
        "openai-chat": _chat,
        "openai-responses": _responses,
        "openai-embeddings": _embeddings,
        "openai-models": _models,
        "anthropic-messages": _messages,
        "anthropic-count-tokens": _count_tokens,
    }
)
"""By dialect; Bedrock's own is described by its operations."""


# ---------------------------------------------------------------------------------------------- Bedrock's own


def _native(operation: Operation, spec: OperationSpec) -> _Json:
    where = "control plane" if spec.service == "bedrock" else "runtime"
    described: _Json = {
        "operationId": operation.value,
        "summary": f"{operation.value}, as in Bedrock's {where}; its errors: {', '.join(spec.errors)}.",
        "tags": ["Bedrock"],
        "parameters": [
            *(_label(name, "As AWS has it; a slash in it travels as %2F.") for name in spec.labels),
            *(_query(name, _TEXT) for name in spec.query),
            *(
                {"name": name.lower(), "in": "header", "schema": _TEXT}
                for name in spec.request_headers
                # These are headers of every request, and OpenAPI's own to describe.
                if name not in ("Accept", "Content-Type")
            ),
        ],
    }
    match spec.request:
        case BodyKind.NONE:
            pass
        case BodyKind.BLOB:
            content = {JSON: {"schema": {"description": "For the model, as it is."}}}
            described["requestBody"] = {"content": content}
        case _:
            described["requestBody"] = _asked(bodies.native_name(operation))
    if spec.streams:
        answer = good("The events, in frames.", frames=FRAMES)
    elif spec.response is BodyKind.BLOB:
        answer = good("The model's own answer.", json=ref("bedrock.Answer"), any={})
    else:
        answer = good("Bedrock's own answer.", json=ref("bedrock.Answer"))
    described["responses"] = {str(spec.status): answer, **error_refs("bedrock")}
    return described


def _health(path: str, summary: str) -> _Json:
    answer = good("It is.", json=ref("health.Status"))
    answers: _Json = {"200": answer}
    if path == "/readyz":
        answers["503"] = good("It is shutting down.", json=ref("health.Status"))
    return {
        "operationId": path[1:],
        "summary": summary,
        "tags": ["Gateway"],
        "security": [],
        "responses": {**answers, "405": {"$ref": "#/components/responses/openai.405"}},
    }
