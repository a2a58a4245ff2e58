"""The body of a Converse call, out of a chat request.

Two steps. What the request says is translated once (`prepare`); what depends on the target, which a retry
may change, is added for each call (`converse_body`). The body is encoded once, by msgspec, and raw JSON
in it is copied as it came.

Refused here is what no value of Bedrock's stands for: a temperature above 1 (OpenAI's range goes to 2;
clamping it would be a quiet change of what was asked for), more than one choice, and what the table of
parameters says. A target's operator may have the droppable among it dropped.

Source: botocore's bedrock-runtime model (ConverseRequest).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse_turns import nothing_beside_results, with_all_inside, without_thoughts
from stargate_core.dialects.face import Fetched, PromptCaching, Target
from stargate_core.dialects.guardrails import Guardrail, guardrail_config
from stargate_core.dialects.openai_chat_ask import ChatAsk, Prepared
from stargate_core.dialects.openai_chat_caching import marked_as_taken, marked_by_itself
from stargate_core.dialects.openai_chat_messages import converse
from stargate_core.dialects.openai_chat_parameters import PARAMETERS
from stargate_core.dialects.openai_chat_request import (
    ChatRequest,
    FunctionTool,
    JsonObjectFormat,
    JsonSchema,
    JsonSchemaFormat,
)
from stargate_core.dialects.openai_chat_tools import renamed, tool_config
from stargate_core.dialects.reasoning import is_claude, reasoning_fields, takes_thoughts
from stargate_core.faults import Cause, Refused, refuse

JSON_INSTRUCTION: Final = "Answer with one valid JSON object and nothing else: no prose, no code fence."
"""What `json_object` becomes: Converse has no such mode."""

NOTHING_SAID: Final[Mapping[str, Any]] = MappingProxyType({})
_METADATA_PAIRS_MAX: Final = 16
_METADATA_CHARACTERS_MAX: Final = 256
_NOT_IN_METADATA: Final = re.compile(r"[^a-zA-Z0-9\s:_@$#=/+,\-.]", re.ASCII)
_TIERS: Final = {"flex": "flex", "priority": "priority", "fast": "priority"}
_ENCODER: Final = msgspec.json.Encoder()


def prepared(ask: ChatAsk) -> Prepared:
    """What the request says, in Converse's words; made once. Raises Refused."""
    if ask.prepared is None:
        if ask.invalid is not None:
            raise Refused(ask.invalid)
        ask.prepared = _prepare(ask.request, ask.fetched)
    return ask.prepared


def converse_body(
    ask: ChatAsk,
    target: Target,
    guardrail: Guardrail | None,
    served: Mapping[str, Any] = NOTHING_SAID,
    *,
    stream: bool,
) -> bytes:
    """The body of the call to a target. served: what the caller's headers say of how it is to be served;
    stream: whether the call is ConverseStream. Raises Refused.
    """
    ready = prepared(ask)
    request, model = ask.request, target.model
    may_drop = target.options.drop_params
    body: dict[str, Any] = ready.body
    extras: dict[str, Any] = {}
    if ask.refused:
        _check_members(ask.refused, may_drop=may_drop)
    if not may_drop:
        _check_temperature(request.temperature)
    if request.reasoning_effort is not None:
        extras = reasoning_fields(
            model,
            request.reasoning_effort,
            request.output_tokens_max,
            mid_turn=ready.thoughts_lost,
            may_drop=may_drop,
        )
    if request.parallel_tool_calls is False and "toolConfig" in body and is_claude(model):
        body = {**body, "toolConfig": {"tools": body["toolConfig"]["tools"]}}
        extras["tool_choice"] = {
            **_claude_choice(ready.body["toolConfig"].get("toolChoice", {})),
            "disable_parallel_tool_use": True,
        }
    if ask.extras:
        # The caller's own words come last: whoever spells out `thinking` knows better than a table.
        extras.update(ask.extras)
    if ready.marked:
        body = marked_as_taken(body, model)
    elif target.options.prompt_caching is PromptCaching.AUTO:
        body = marked_by_itself(body, model)
    if ready.thoughtful and not takes_thoughts(model):
        body = {**body, "messages": without_thoughts(body["messages"])}
    if nothing_beside_results(model):
        body = {**body, "messages": with_all_inside(body["messages"])}
    if served:
        body = _served(body, served, tier_said=request.service_tier not in (None, "auto"))
    if guardrail is not None:
        body = {**body, "guardrailConfig": guardrail_config(guardrail, stream=stream)}
    if extras:
        body = {**body, "additionalModelRequestFields": extras}
    return _ENCODER.encode(body)


def _served(body: dict[str, Any], served: Mapping[str, Any], *, tier_said: bool) -> dict[str, Any]:
    """The body, and what headers say beside it; what the body says wins, a tier that has no name here too."""
    told = {**served, **body}
    if tier_said and "serviceTier" not in body:
        told.pop("serviceTier", None)
    pairs = {**served.get("requestMetadata", {}), **body.get("requestMetadata", {})}
    if pairs:
        told["requestMetadata"] = dict(list(pairs.items())[:_METADATA_PAIRS_MAX])
    return told


def _claude_choice(choice: dict[str, Any]) -> dict[str, str]:
    """Converse's toolChoice as Claude's own, which can forbid parallel calls. Only one may be sent."""
    if "tool" in choice:
        return {"type": "tool", "name": choice["tool"]["name"]}
    return {"type": "any" if "any" in choice else "auto"}


def _prepare(request: ChatRequest, fetched: Mapping[str, Fetched]) -> Prepared:
    if request.n is not None and request.n != 1:
        raise refuse(Cause.BODY_INVALID, f"n: Bedrock gives one choice, not {request.n}", param="n")
    conversation = converse(request.messages, fetched)
    body: dict[str, Any] = {"messages": conversation.messages}
    system = conversation.system
    match request.response_format:
        case JsonObjectFormat():
            system = [*system, {"text": JSON_INSTRUCTION}]
        case JsonSchemaFormat() as form:
            body["outputConfig"] = {"textFormat": _text_format(form.json_schema)}
        case _:
            pass
    if system:
        body["system"] = system
    inference = _inference(request)
    if inference:
        body["inferenceConfig"] = inference
    tools = tool_config(request, conversation.tools_used)
    if tools is not None:
        body["toolConfig"] = tools
    metadata = _metadata(request)
    if metadata:
        body["requestMetadata"] = metadata
    tier = _TIERS.get(request.service_tier or "")
    if tier is not None:
        body["serviceTier"] = {"type": tier}
    if request.performance is not None:
        body["performanceConfig"] = {"latency": request.performance.latency}
    if request.response_field_paths:
        body["additionalModelResponseFieldPaths"] = request.response_field_paths
    marked = any(isinstance(tool, FunctionTool) and tool.mark is not None for tool in request.tools or ())
    return Prepared(
        body,
        renamed(request),
        thoughts_lost=conversation.mid_turn and not conversation.has_thoughts,
        marked=marked or conversation.marked,
        thoughtful=conversation.thoughtful,
    )


def _check_members(names: tuple[str, ...], *, may_drop: bool) -> None:
    """Refuse a request for what Converse cannot give."""
    for name in names:
        parameter = PARAMETERS[name]
        if not (may_drop and parameter.droppable):
            raise refuse(Cause.BODY_INVALID, f"{name} is not supported: {parameter.reason}", param=name)


def _fits(temperature: float) -> bool:
    return 0 <= temperature <= 1


def _check_temperature(temperature: float | None) -> None:
    if temperature is not None and not _fits(temperature):
        raise refuse(
            Cause.BODY_INVALID,
            f"temperature: Bedrock takes 0 to 1, not {temperature:g}; OpenAI's range does not scale to it",
            param="temperature",
        )


def _inference(request: ChatRequest) -> dict[str, Any]:
    inference: dict[str, Any] = {}
    if request.output_tokens_max is not None:
        inference["maxTokens"] = request.output_tokens_max
    if request.temperature is not None and _fits(request.temperature):
        inference["temperature"] = request.temperature
    if request.top_p is not None:
        inference["topP"] = request.top_p
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or ()
    sequences = [sequence for sequence in stop if sequence]
    if sequences:
        inference["stopSequences"] = sequences
    return inference


def _text_format(schema: JsonSchema) -> dict[str, Any]:
    """A schema goes as a string of JSON."""
    place = "response_format.json_schema.schema"
    if not isinstance(schema.schema, Raw) or not bytes(schema.schema).startswith(b"{"):
        raise refuse(Cause.BODY_INVALID, f"{place} must be an object", param=place)
    described: dict[str, Any] = {"name": schema.name, "schema": bytes(schema.schema).decode()}
    if schema.description:
        described["description"] = schema.description
    return {"type": "json_schema", "structure": {"jsonSchema": described}}


def _metadata(request: ChatRequest) -> dict[str, str]:
    """What the caller says about the request, in Bedrock's characters and within its limits.

    What is said in Bedrock's own member comes first, and is not cut off for the rest.
    """
    said: dict[str, str] = {}
    if request.user:
        said["user"] = request.user
    if request.safety_identifier:
        said["safety_identifier"] = request.safety_identifier
    if request.metadata:
        said.update(request.metadata)
    if request.request_metadata:
        said = {**request.request_metadata, **said, **request.request_metadata}
    clean: dict[str, str] = {}
    for key, value in said.items():
        if len(clean) == _METADATA_PAIRS_MAX:
            break
        if key:
            clean[_clean(key)] = _clean(value)
    return clean


def _clean(text: str) -> str:
    return _NOT_IN_METADATA.sub("_", text[:_METADATA_CHARACTERS_MAX])
