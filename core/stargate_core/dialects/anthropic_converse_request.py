"""Anthropic's Messages request as the body of a Converse call, for models that are not reached otherwise.

Claude is mostly reached by InvokeModel, which speaks Anthropic's own language. All other models speak
Converse, and so does Claude where the configuration says so. The request's shape is told in
`anthropic_converse_types`, every parameter's fate in `anthropic_converse_parameters`, the conversation in
`anthropic_converse_messages`; here it becomes one body.

What Converse has no word for, but the model has, goes into `additionalModelRequestFields`:

    top_k                 Claude, Mistral 7B and 8x7B: top_k; Nova: inferenceConfig.topK; Command: k
    thinking, effort      Claude: as they came; others: `reasoning`, a budget as a word for it
    one call at a time    Claude: in its own tool_choice; others call as they like
    betas                 Claude: anthropic_beta, those of the header too

A family that is not listed has no such thing: the parameter is refused, or left out where the operator lets
it be. The caller's own words, which Anthropic does not define, come last and win.

Sources: botocore's bedrock-runtime model (ConverseRequest, ConverseTokensRequest); AWS's user guide,
inference parameters of Nova, Mistral and Command.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.aws.surfaces import GuardrailWay
from stargate_core.dialects.anthropic_betas import MEMBER as BETAS
from stargate_core.dialects.anthropic_betas import betas_of, betas_told
from stargate_core.dialects.anthropic_converse_caching import Marks
from stargate_core.dialects.anthropic_converse_headers import members_of_headers
from stargate_core.dialects.anthropic_converse_messages import Conversation
from stargate_core.dialects.anthropic_converse_parameters import PARAMETERS
from stargate_core.dialects.anthropic_converse_tools import tool_config
from stargate_core.dialects.anthropic_converse_tools import tool_names as tool_names
from stargate_core.dialects.anthropic_converse_types import (
    JsonFormat,
    MessagesRequest,
    decode,
    lacking,
    value_of,
)
from stargate_core.dialects.converse_headers import TIERS
from stargate_core.dialects.face import Fetched, Request, Target
from stargate_core.dialects.guardrails import Guardrail, guardrail_config, guardrail_headers
from stargate_core.dialects.parameters import Fate
from stargate_core.dialects.reasoning import is_claude, reasoning_fields
from stargate_core.faults import Cause, Refused, refuse

_METADATA_CHARACTERS_MAX: Final = 256
_NOT_IN_METADATA: Final = re.compile(r"[^a-zA-Z0-9\s:_@$#=/+,\-.]", re.ASCII)
_STOP_SEQUENCE: Final = "/stop_sequence"
_LOW_TOKENS_MAX: Final = 2048
_MEDIUM_TOKENS_MAX: Final = 8192
_DEFAULT_EFFORT: Final = "high"
"""Anthropic's, where a model is to think and nobody says how hard."""
_ENCODER: Final = msgspec.json.Encoder()
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])

_TOP_K: Final[tuple[tuple[str, Callable[[int], dict[str, Any]]], ...]] = (
    ("anthropic.claude", lambda k: {"top_k": k}),
    ("amazon.nova", lambda k: {"inferenceConfig": {"topK": k}}),
    ("mistral.mistral-7b", lambda k: {"top_k": k}),
    ("mistral.mixtral-8x7b", lambda k: {"top_k": k}),
    ("cohere.command-r", lambda k: {"k": k}),
)


def converse_call_body(
    http: Request,
    target: Target,
    guardrail: Guardrail | None,
    fetched: Mapping[str, Fetched],
    *,
    stream: bool,
) -> bytes:
    """The body of the call to `target`. fetched: what was at the URLs of the request. Raises Refused."""
    request, members = decode(http.body)
    if request.max_tokens is None:
        raise refuse(Cause.BODY_INVALID, "max_tokens: Field required", param="max_tokens")
    made = _conversation(http, request, members, target, fetched)
    made |= members_of_headers(http)
    made["inferenceConfig"] = _inference(request)
    form = request.output_config.format if request.output_config is not None else None
    if form is not None:
        made["outputConfig"] = {"textFormat": _text_format(form, "output_config.format.schema")}
    elif request.output_format is not None:
        made["outputConfig"] = {"textFormat": _text_format(request.output_format, "output_format.schema")}
    metadata = made.get("requestMetadata", {}) | _metadata(request)
    if metadata:
        made["requestMetadata"] = metadata
    if request.service_tier in TIERS:
        made["serviceTier"] = {"type": request.service_tier}
    if request.performance is not None:
        made["performanceConfig"] = {"latency": request.performance.latency}
    paths = list(request.response_field_paths or ())
    if len(made["inferenceConfig"].get("stopSequences", ())) > 1 and is_claude(target.model):
        # Of several sequences only Claude says which one it was, and only when asked.
        paths.append(_STOP_SEQUENCE)
    if paths:
        made["additionalModelResponseFieldPaths"] = list(dict.fromkeys(paths))
    if guardrail is not None:
        if target.options.guardrail is not GuardrailWay.BODY:
            guardrail_headers(guardrail, GuardrailWay.NONE)
        made["guardrailConfig"] = guardrail_config(guardrail, stream=stream)
    return _ENCODER.encode(made)


def count_body(http: Request, target: Target, fetched: Mapping[str, Fetched]) -> dict[str, Any]:
    """What CountTokens takes as `input.converse`. Raises Refused."""
    request, members = decode(http.body)
    return _conversation(http, request, members, target, fetched)


def _conversation(
    http: Request,
    request: MessagesRequest,
    members: Mapping[str, Raw],
    target: Target,
    fetched: Mapping[str, Fetched],
) -> dict[str, Any]:
    """What the model is to read, and what it is told in its own words: all that tokens are counted by."""
    drop = target.options.drop_params
    marks = Marks(target)
    conversation = Conversation(target, fetched, marks)
    if request.system is not None:
        conversation.instruct(request.system, "system")
    for at, message in enumerate(request.messages):
        conversation.take(at, message)
    conversation.finish()
    conversation.messages[-1]["content"] += marks.points(request.cache_control)
    tools = tool_config(request, conversation.tools_used, marks, drop=drop)
    made: dict[str, Any] = {"messages": conversation.messages}
    if conversation.system:
        made["system"] = [*conversation.system, *marks.unasked()]
    fields = _passed_on(members, target) | _own_words(request, members, target)
    if is_claude(target.model):
        betas = betas_told(betas_of(http, members.get(BETAS)), target.options)
        fields |= {BETAS: betas} if betas else {}
    if tools:
        made["toolConfig"] = tools
        choice = request.tool_choice
        if choice is not None and choice.disable_parallel_tool_use and is_claude(target.model):
            # Only one of the two may be sent, and only Claude's own can say it.
            fields["tool_choice"] = _claude_choice(tools.pop("toolChoice", {}))
    fields |= {name: raw for name, raw in members.items() if name not in PARAMETERS}
    if fields:
        made["additionalModelRequestFields"] = fields
    return made


def _claude_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """Converse's toolChoice as Claude's own, which can forbid parallel calls."""
    kind: dict[str, Any] = {"type": "any" if "any" in choice else "auto"}
    if "tool" in choice:
        kind = {"type": "tool", "name": choice["tool"]["name"]}
    return {**kind, "disable_parallel_tool_use": True}


# ----------------------------------------------------------------------------------- in the model's own words


def _passed_on(members: Mapping[str, Raw], target: Target) -> dict[str, Any]:
    """What goes to Claude as it came. Raises Refused for what asks for more than can be given."""
    passed: dict[str, Any] = {}
    for name, raw in members.items():
        row = PARAMETERS.get(name)
        if row is None or row.fate is Fate.MAPPED or bytes(raw) == b"null":
            continue
        if row.claude and is_claude(target.model):
            passed[name] = raw
        elif row.fate is Fate.REFUSED and value_of(raw) not in row.harmless:
            lacking(name, row.reason, drop=target.options.drop_params)
    return passed


def _own_words(request: MessagesRequest, members: Mapping[str, Raw], target: Target) -> dict[str, Any]:
    """Thinking and top_k, as the model's family takes them. Raises Refused for a family that doesn't."""
    claude, drop = is_claude(target.model), target.options.drop_params
    fields = _claudes_thinking(request, members) if claude else _thinking(request, target.model, drop)
    if request.top_k is not None:
        word = next((word for part, word in _TOP_K if part in target.model), None)
        if word is None:
            lacking("top_k", "it is not known how this model takes it", drop=drop)
        else:
            fields |= word(request.top_k)
    return fields


def _claudes_thinking(request: MessagesRequest, members: Mapping[str, Raw]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if request.thinking is not None:
        fields["thinking"] = members["thinking"]
    if request.output_config is not None:
        config = _MEMBERS.decode(members["output_config"])
        config.pop("format", None)
        if config:
            fields["output_config"] = config
    return fields


def _thinking(request: MessagesRequest, model: str, drop: bool) -> dict[str, Any]:
    thinking = request.thinking
    effort: str | None = request.output_config.effort if request.output_config is not None else None
    param = "output_config.effort" if thinking is None else "thinking"
    if thinking is not None:
        match thinking.type:
            case "disabled":
                return {}
            case "between_tools":
                lacking("thinking.type", "this model does not think between tools only", drop=drop)
                return {}
            case "adaptive":
                effort = effort or _DEFAULT_EFFORT
            case "enabled":
                if thinking.budget_tokens is None:
                    raise refuse(
                        Cause.BODY_INVALID,
                        "thinking.enabled.budget_tokens: Field required",
                        param="thinking.budget_tokens",
                    )
                effort = effort or _effort(thinking.budget_tokens)
    if effort is None:
        return {}
    try:
        return reasoning_fields(model, effort, request.max_tokens, mid_turn=False)
    except Refused:
        lacking(param, "it is not known how this model takes it", drop=drop)
        return {}


def _effort(budget_tokens: int) -> str:
    """A budget of tokens, as a word for models that take words."""
    if budget_tokens <= _LOW_TOKENS_MAX:
        return "low"
    return "medium" if budget_tokens <= _MEDIUM_TOKENS_MAX else "high"


# --------------------------------------------------------------------------------------- in Converse's words


def _inference(request: MessagesRequest) -> dict[str, Any]:
    inference: dict[str, Any] = {"maxTokens": request.max_tokens}
    if request.temperature is not None:
        inference["temperature"] = request.temperature
    if request.top_p is not None:
        inference["topP"] = request.top_p
    sequences = [sequence for sequence in request.stop_sequences or () if sequence]
    if sequences:
        inference["stopSequences"] = sequences
    return inference


def _text_format(form: JsonFormat, param: str) -> dict[str, Any]:
    """A schema goes as a string of JSON."""
    if not bytes(form.schema).startswith(b"{"):
        raise refuse(Cause.BODY_INVALID, f"{param}: Input should be a valid dictionary", param=param)
    schema = {"schema": bytes(form.schema).decode()}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _metadata(request: MessagesRequest) -> dict[str, str]:
    """Who the request is for, in Bedrock's characters and within its limits."""
    user = request.metadata.user_id if request.metadata is not None else None
    told = {"user_id": user, "user_profile_id": request.user_profile_id}
    clean = {
        name: _NOT_IN_METADATA.sub("_", text[:_METADATA_CHARACTERS_MAX])
        for name, text in told.items()
        if text
    }
    return clean | (request.request_metadata or {})
