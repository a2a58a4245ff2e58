"""What answers look like: good ones by dialect, and every error, from the table of causes.

Good answers are described by the members that their APIs promise; what a model or AWS adds to them is left
open. Of a stream OpenAPI can say but the type of its media.

An error's status and envelope are the dialect's (`failure` in each): OpenAI's answers have the status of the
row, Anthropic's one of their own where there is one, Bedrock's AWS's. So the errors of each family are made
from the table that the gateway answers by, status by status, with the codes or names that may stand there.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from stargate_core.aws.exceptions import EXCEPTION_STATUSES
from stargate_core.causes import TABLE, Row
from stargate_core.dialects.openapi_bodies import Schema, ref

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer"}
_ANY: Final[Schema] = {}
_OBJECT: Final[Schema] = {"type": "object"}
_NULLABLE: Final[Schema] = {"type": ["string", "null"]}


def _object(**members: Schema) -> Schema:
    """An object that has all of these members, and may have others."""
    return {"type": "object", "properties": members, "required": list(members)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_OPENAI_MODEL: Final = _object(id=_TEXT, object={"const": "model"}, created=_NUMBER, owned_by=_TEXT)
_ANTHROPIC_MODEL: Final = _object(type={"const": "model"}, id=_TEXT, display_name=_TEXT, created_at=_TEXT)
SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "chat.Answer": _object(
            id=_TEXT,
            object={"const": "chat.completion"},
            created=_NUMBER,
            model=_TEXT,
            choices=_list(_object(index=_NUMBER, message=_OBJECT, finish_reason=_TEXT)),
        ),
        "responses.Answer": _object(
            id=_TEXT, object={"const": "response"}, status=_TEXT, model=_TEXT, output=_list(_OBJECT)
        ),
        "embeddings.Answer": _object(
            object={"const": "list"},
            model=_TEXT,
            data=_list(
                _object(
                    object={"const": "embedding"},
                    index=_NUMBER,
                    embedding={"anyOf": [_list({"type": "number"}), _TEXT]},
                )
            ),
            usage=_OBJECT,
        ),
        "models.Model": {"anyOf": [_OPENAI_MODEL, _ANTHROPIC_MODEL]},
        "models.List": {
            "anyOf": [
                _object(object={"const": "list"}, data=_list(_OPENAI_MODEL)),
                _object(
                    data=_list(_ANTHROPIC_MODEL),
                    has_more={"type": "boolean"},
                    first_id=_NULLABLE,
                    last_id=_NULLABLE,
                ),
            ]
        },
        "anthropic.Answer": _object(
            id=_TEXT,
            type={"const": "message"},
            role={"const": "assistant"},
            model=_TEXT,
            content=_list(_OBJECT),
            stop_reason=_NULLABLE,
            usage=_OBJECT,
        ),
        "anthropic.CountAnswer": _object(input_tokens=_NUMBER),
        "bedrock.Answer": {**_OBJECT, "description": "Bedrock's own answer, as it came."},
        "health.Status": _object(status={"enum": ["ok", "draining"]}),
        "openai.Error": _object(error=_object(message=_TEXT, type=_TEXT, param=_NULLABLE, code=_NULLABLE)),
        "anthropic.Error": _object(
            type={"const": "error"}, error=_object(type=_TEXT, message=_TEXT), request_id=_TEXT
        ),
        "bedrock.Error": _object(message=_TEXT),
    }
)
"""The schemas of answers."""

HEADERS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "RequestId": {
            "description": "The gateway's id of the request; also by the name that the dialect's SDKs read.",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        },
        "ShouldRetry": {
            "description": "Whether trying again can help.",
            "schema": {"enum": ["true", "false"]},
        },
        "RetryAfter": {
            "description": "On 429 and 503: after how many seconds.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 60},
        },
        "ErrorType": {"description": "The exception's name.", "schema": _TEXT},
    }
)
_REQUEST_ID: Final = MappingProxyType({"x-request-id": {"$ref": "#/components/headers/RequestId"}})
_OF_ERRORS: Final = MappingProxyType(
    {
        **_REQUEST_ID,
        "x-should-retry": {"$ref": "#/components/headers/ShouldRetry"},
        "retry-after": {"$ref": "#/components/headers/RetryAfter"},
    }
)


def good(description: str, **media: Schema) -> dict[str, Any]:
    """A successful answer; the media types' names are written with underscores by `MEDIA`."""
    content = {MEDIA[name]: {"schema": schema} for name, schema in media.items()}
    return {"description": description, "headers": dict(_REQUEST_ID), "content": content}


MEDIA: Final = MappingProxyType({"json": JSON, "sse": SSE, "frames": EVENT_STREAM, "any": "*/*"})
STREAM: Final[Schema] = {"type": "string", "description": "A stream of events."}
FRAMES: Final[Schema] = {"type": "string", "format": "binary", "description": "A stream of frames."}


# ----------------------------------------------------------------------------------------------------- errors


def _openai(row: Row) -> tuple[int, str]:
    return row.status, row.openai_code or row.code


def _anthropic(row: Row) -> tuple[int, str]:
    return row.anthropic_status or row.status, row.anthropic_type


def _bedrock(row: Row) -> tuple[int, str]:
    # A refusal of the gateway's own has its row's status, one of Bedrock's own its exception's.
    return row.aws_status or row.status, row.aws_name


_FAMILIES: Final[Mapping[str, Callable[[Row], tuple[int, str]]]] = MappingProxyType(
    {"openai": _openai, "anthropic": _anthropic, "bedrock": _bedrock}
)


def errors() -> dict[str, Any]:
    """Every error answer, by family and status: `openai.429`."""
    found: dict[str, Any] = {}
    for family, codes in _codes().items():
        headers: dict[str, Any] = dict(_OF_ERRORS)
        if family == "bedrock":
            headers["x-amzn-errortype"] = {"$ref": "#/components/headers/ErrorType"}
        for status, names in codes.items():
            found[f"{family}.{status}"] = {
                "description": ", ".join(names),
                "headers": headers,
                "content": {JSON: {"schema": ref(f"{family}.Error")}},
            }
    found["bedrock.default"] = {**found["bedrock.500"], "description": "An exception of a status of its own."}
    return found


def error_refs(family: str) -> dict[str, Any]:
    """The error answers of an operation, by status."""
    return {str(status): {"$ref": f"#/components/responses/{family}.{status}"} for status in _codes()[family]}


def _codes() -> dict[str, dict[int, list[str]]]:
    """By family and status: the codes that may stand there."""
    found: dict[str, dict[int, list[str]]] = {}
    for family, of in _FAMILIES.items():
        pairs = [of(row) for row in TABLE.values()]
        if family == "bedrock":
            pairs += [(status, name) for name, status in EXCEPTION_STATUSES.items()]
        codes: dict[int, list[str]] = {}
        for status, code in sorted(set(pairs)):
            codes.setdefault(status, []).append(code)
        found[family] = codes
    return found
