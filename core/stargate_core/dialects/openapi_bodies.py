"""What requests look like: the schemas of our own OpenAPI document, made of the types that decode them.

A schema that was written beside the decoder would soon say something else than it. So msgspec makes them of
the very Structs, one family of names a dialect (`chat.UserMessage`, `anthropic.TextBlock`). What is added by
hand is what a Struct cannot say: members that are read in a second step, or not at all, with the reason that
stands in the dialect's table of parameters; and the bodies of Bedrock's own API, which are AWS's to define
and pass through here as they come. Those name the members that there are and leave the rest open.

Everywhere a member of no name here may be sent: whether it is refused depends on the model it goes to.

Sources: msgspec.json.schema_components; botocore/data/bedrock-runtime/2023-09-30/service-2.json.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

from stargate_core.aws.operations import Operation
from stargate_core.dialects import anthropic_converse_types as anthropic
from stargate_core.dialects import openai_responses_request as responses
from stargate_core.dialects.bounds import INT32_MAX
from stargate_core.dialects.openai_chat_parameters import EXTENSIONS, PARAMETERS
from stargate_core.dialects.openai_chat_request import ChatRequest
from stargate_core.dialects.openai_embeddings_request import TEXTS_MAX, EmbeddingRequest
from stargate_core.dialects.openai_responses_parameters import PARAMETERS as RESPONSES_PARAMETERS
from stargate_core.dialects.parameters import Fate, Parameter

Schema: TypeAlias = dict[str, Any]

PLACE: Final = "#/components/schemas/"
_ANY_OBJECT: Final[Schema] = {"type": "object"}
_TEXT: Final[Schema] = {"type": "string"}
_OBJECTS: Final[Schema] = {"type": "array", "items": _ANY_OBJECT}
_FATES: Final = {Fate.MAPPED: "Becomes", Fate.IGNORED: "Ignored:", Fate.REFUSED: "Refused:"}


def ref(name: str) -> Schema:
    """A reference to one of the document's schemas."""
    return {"$ref": PLACE + name}


def anything(description: str, **members: Schema) -> Schema:
    """An object with these members, and any others."""
    return {"type": "object", "description": description, "properties": members}


def schemas() -> dict[str, Schema]:
    """All schemas of requests, by name."""
    return {**_chat(), **_responses(), **_embeddings(), **_anthropic(), **_native()}


def _of(family: str, *structs: type[msgspec.Struct]) -> dict[str, Schema]:
    """The schemas of Structs and all they are made of, as one family."""
    template = f"{PLACE}{family}.{{name}}"
    _, components = msgspec.json.schema_components(structs, ref_template=template)
    return {f"{family}.{name}": schema for name, schema in components.items()}


def _with_parameters(schema: Schema, table: Mapping[str, Parameter], words: Mapping[str, str]) -> None:
    """Say of each member what becomes of it, of those too that the type leaves out."""
    members: dict[str, Schema] = schema["properties"]
    for name, row in table.items():
        described = f"{_FATES[row.fate]} {row.reason}."
        members[name] = {**members.get(name, {}), "description": described}
    for name, text in words.items():
        members[name] = {**members[name], "description": f"Converse's own: {text}."}
    schema.pop("additionalProperties", None)


# ----------------------------------------------------------------------------------------------- OpenAI's own


def _chat() -> dict[str, Schema]:
    found = _of("chat", ChatRequest)
    _with_parameters(found["chat.ChatRequest"], PARAMETERS, EXTENSIONS)
    return found


_ITEMS: Final[Mapping[str, type[msgspec.Struct]]] = MappingProxyType(
    {
        "message": responses.Message,
        "function_call": responses.FunctionCall,
        "function_call_output": responses.FunctionCallOutput,
        "reasoning": responses.Reasoning,
    }
)
"""Input items by their type; a message may leave it out."""


def _responses() -> dict[str, Schema]:
    found = _of(
        "responses",
        responses.ResponsesRequest,
        responses.FunctionTool,
        responses.NamedFunction,
        responses.AllowedFunctions,
        *_ITEMS.values(),
    )
    for kind, struct in _ITEMS.items():
        _tag(found[f"responses.{struct.__name__}"], kind, required=struct is not responses.Message)
    for kind, name in (
        ("function", "FunctionTool"),
        ("function", "NamedFunction"),
        ("allowed_tools", "AllowedFunctions"),
    ):
        _tag(found[f"responses.{name}"], kind, required=True)
    request = found["responses.ResponsesRequest"]
    members = request["properties"]
    items = [ref(f"responses.{struct.__name__}") for struct in _ITEMS.values()]
    members["input"] = {"anyOf": [_TEXT, {"type": "array", "items": {"anyOf": items}}]}
    members["tools"] = {"type": ["array", "null"], "items": ref("responses.FunctionTool")}
    members["tool_choice"] = {
        "anyOf": [
            {"enum": ["none", "auto", "required", None]},
            ref("responses.NamedFunction"),
            ref("responses.AllowedFunctions"),
        ]
    }
    _with_parameters(request, RESPONSES_PARAMETERS, EXTENSIONS)
    request["required"] = ["input"]
    return found


def _tag(schema: Schema, kind: str, *, required: bool) -> None:
    """Give an object the `type` that it is told by."""
    schema["properties"] = {"type": {"const": kind}, **schema["properties"]}
    if required:
        schema["required"] = ["type", *schema.get("required", [])]


def _embeddings() -> dict[str, Schema]:
    found = _of("embeddings", EmbeddingRequest)
    text = {"type": "string", "minLength": 1}
    found["embeddings.EmbeddingRequest"]["properties"]["input"] = {
        "description": "One text, or several; tokens are refused, since Bedrock's models have others.",
        "anyOf": [text, {"type": "array", "items": text, "minItems": 1, "maxItems": TEXTS_MAX}],
    }
    return found


# -------------------------------------------------------------------------------------------- Anthropic's own


def _anthropic() -> dict[str, Schema]:
    found = _of("anthropic", anthropic.MessagesRequest)
    request = found["anthropic.MessagesRequest"]
    members = request["properties"]
    members["model"] = {**_TEXT, "description": "A name from the configuration, a model id or an ARN."}
    members["stream"] = {"type": ["boolean", "null"]}
    members["max_tokens"] = {"type": "integer", "minimum": 1, "maximum": INT32_MAX}
    members["anthropic_beta"] = {"type": "array", "items": _TEXT}
    counted = {**request, "title": "CountTokensRequest", "description": "What is to be counted."}
    request["required"] = ["messages", "max_tokens"]
    found["anthropic.CountTokensRequest"] = counted
    return found


# ---------------------------------------------------------------------------------------------- Bedrock's own

_CONVERSE: Final = MappingProxyType(
    {
        "messages": _OBJECTS,
        "system": _OBJECTS,
        "inferenceConfig": anything(
            "How the model is to write.",
            maxTokens={"type": "integer", "minimum": 1},
            temperature={"type": "number", "minimum": 0, "maximum": 1},
            topP={"type": "number", "minimum": 0, "maximum": 1},
            stopSequences={"type": "array", "items": _TEXT, "maxItems": 2500},
        ),
        "toolConfig": anything("Tools.", tools=_OBJECTS, toolChoice=_ANY_OBJECT),
        "guardrailConfig": anything(
            "A guardrail.", guardrailIdentifier=_TEXT, guardrailVersion=_TEXT, trace=_TEXT
        ),
        "additionalModelRequestFields": {"description": "For the model, as it is."},
        "additionalModelResponseFieldPaths": {"type": "array", "items": _TEXT, "maxItems": 10},
        "promptVariables": _ANY_OBJECT,
        "requestMetadata": {"type": "object", "additionalProperties": _TEXT, "maxProperties": 16},
        "performanceConfig": anything("How fast.", latency={"enum": ["standard", "optimized"]}),
        "serviceTier": anything("Which tier.", type={"enum": ["priority", "default", "flex", "reserved"]}),
        "outputConfig": _ANY_OBJECT,
    }
)
NATIVE: Final[Mapping[Operation, Schema]] = MappingProxyType(
    {
        Operation.CONVERSE: anything("Converse's own members, passed on as they are.", **_CONVERSE),
        Operation.COUNT_TOKENS: {
            **anything(
                "What is to be counted.",
                input=anything("Of one of these.", converse=_ANY_OBJECT, invokeModel=_ANY_OBJECT),
            ),
            "required": ["input"],
        },
        Operation.APPLY_GUARDRAIL: {
            **anything(
                "What a guardrail is to judge.",
                source={"enum": ["INPUT", "OUTPUT"]},
                content=_OBJECTS,
                outputScope={"enum": ["INTERVENTIONS", "FULL"]},
            ),
            "required": ["source", "content"],
        },
        Operation.INVOKE_GUARDRAIL_CHECKS: {
            **anything("What is to be checked, and how.", messages=_OBJECTS, checks=_ANY_OBJECT),
            "required": ["messages", "checks"],
        },
        Operation.START_ASYNC_INVOKE: {
            **anything(
                "A job for a model.",
                modelId={**_TEXT, "minLength": 1},
                modelInput={"description": "For the model, as it is."},
                outputDataConfig=_ANY_OBJECT,
                clientRequestToken=_TEXT,
                tags=_OBJECTS,
            ),
            "required": ["modelId", "modelInput", "outputDataConfig"],
        },
    }
)
"""Bodies of JSON, by operation; ConverseStream's is Converse's."""


def native_name(operation: Operation) -> str:
    """The name of the schema of an operation's body."""
    return f"bedrock.{'Converse' if operation is Operation.CONVERSE_STREAM else operation.value}Request"


def _native() -> dict[str, Schema]:
    return {native_name(operation): schema for operation, schema in NATIVE.items()}
