"""Every parameter of OpenAI's chat completions, and what becomes of it on the way to Bedrock's Converse.

One literal table, printed in the documentation. The rule behind it: nothing that changes what the caller
gets is dropped in silence. A parameter is *mapped* to something Converse has; or *ignored*, when it is a
hint, or about OpenAI's own house, and the answer is as good without it; or *refused*, when the caller
would otherwise get something else than was asked for. A refused parameter may still be sent with a value
that asks for nothing (`logprobs: false`): clients do that all the time.

An operator may have it otherwise (`drop_params`): then what a row calls *droppable* is left out, instead of
the request's being refused. Not so where something else in OpenAI's API says the same and works
(`functions`), where the answer could not have the form that was asked for (`n`), or where it would be less
watched over than was asked for (`moderation`).

A few members that OpenAI does not define are Converse's own, and mean here what they mean there
(`EXTENSIONS`). All the rest is none of these tables' business: it goes to the model as it is, in
`additionalModelRequestFields`, which is how a caller reaches `top_k` or `thinking`.

Where a model is reached through OpenAI's own API (aws/surfaces.py), nothing of this holds: the request is
passed on as it is.

Source: openai-python src/openai/types/chat/completion_create_params.py; a test holds the table to it.
"""

from typing import Any, Final

from stargate_core.dialects.parameters import Fate, Parameter

_M, _I, _R = Fate.MAPPED, Fate.IGNORED, Fate.REFUSED


def _droppable(fate: Fate, reason: str, harmless: tuple[Any, ...] = ()) -> Parameter:
    return Parameter(fate, reason, harmless, droppable=True)


PARAMETERS: Final[dict[str, Parameter]] = {
    "audio": _droppable(_R, "no model on Bedrock answers Converse with audio"),
    "frequency_penalty": _droppable(_R, "Converse has no such penalty", (0,)),
    "function_call": Parameter(_R, "use `tool_choice`, which replaces it", ("none", "auto")),
    "functions": Parameter(_R, "use `tools`, which replaces it", ([],)),
    "logit_bias": _droppable(_R, "Bedrock's models have other tokens, and Converse no bias", ({},)),
    "logprobs": _droppable(_R, "Converse gives no log probabilities", (False,)),
    "max_completion_tokens": Parameter(_M, "inferenceConfig.maxTokens; wins over max_tokens"),
    "max_tokens": Parameter(_M, "inferenceConfig.maxTokens"),
    "messages": Parameter(_M, "messages and system"),
    "metadata": Parameter(_M, "requestMetadata, other characters than Bedrock takes replaced by `_`"),
    "modalities": _droppable(_R, "Converse answers in text only", (["text"], [])),
    "model": Parameter(_M, "the path: a name from the configuration, a model id or an ARN"),
    "moderation": Parameter(_R, "there is no moderation model; use a guardrail"),
    "n": Parameter(_M, "Converse gives one choice: other values than 1 are refused"),
    "parallel_tool_calls": Parameter(_M, "Claude only: disable_parallel_tool_use in its tool_choice"),
    "prediction": Parameter(_I, "only a matter of speed"),
    "presence_penalty": _droppable(_R, "Converse has no such penalty", (0,)),
    "prompt_cache_key": Parameter(_I, "routing to OpenAI's own caches"),
    "prompt_cache_options": Parameter(_I, "Bedrock caches where a part has a prompt_cache_breakpoint"),
    "prompt_cache_retention": Parameter(_I, "how long OpenAI keeps its caches"),
    "reasoning_effort": _droppable(_M, "in the model's own words; refused where not known"),
    "response_format": Parameter(_M, "json_schema: outputConfig.textFormat; json_object: an instruction"),
    "safety_identifier": Parameter(_M, "requestMetadata.safety_identifier"),
    "seed": Parameter(_I, "OpenAI promises no determinism either"),
    "service_tier": Parameter(_M, "serviceTier: flex, priority (or fast), or its header's; else the default"),
    "stop": Parameter(_M, "inferenceConfig.stopSequences; empty strings are dropped"),
    "store": Parameter(_I, "the gateway stores no completions"),
    "stream": Parameter(_M, "ConverseStream instead of Converse"),
    "stream_options": Parameter(_M, "include_usage: a last chunk; include_obfuscation is ignored"),
    "temperature": _droppable(_M, "inferenceConfig.temperature; 0 to 1, other values are refused"),
    "tool_choice": Parameter(_M, "toolConfig.toolChoice; allowed_tools: the other tools are left out"),
    "tools": Parameter(_M, "toolConfig.tools; custom tools are refused"),
    "top_logprobs": _droppable(_R, "Converse gives no log probabilities", (0,)),
    "top_p": Parameter(_M, "inferenceConfig.topP"),
    "user": Parameter(_M, "requestMetadata.user"),
    "verbosity": Parameter(_I, "a hint about style that no model on Bedrock takes"),
    "web_search_options": _droppable(_R, "models on Bedrock do not search the web for the caller"),
}  # fmt: skip

EXTENSIONS: Final[dict[str, str]] = {
    "additionalModelResponseFieldPaths": "the same; answered in additional_model_response_fields",
    "guardrailConfig": "the same, or the guardrail's headers; what the guardrail tells is in `trace`",
    "performanceConfig": "the same, or its header's",
    "requestMetadata": "the same, or its header's; wins over metadata, user and safety_identifier",
}
"""Members that are Converse's own, and what becomes of them there."""
