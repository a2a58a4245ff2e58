"""Every parameter of OpenAI's chat completions, and what becomes of it on the way to Bedrock's Converse.

One literal table, printed in the documentation. The rule behind it: nothing that changes what the caller
gets is dropped in silence. A parameter is *mapped* to something Converse has; or *ignored*, when it is a
hint, or about OpenAI's own house, and the answer is as good without it; or *refused*, when the caller
would otherwise get something else than was asked for. A refused parameter may still be sent with a value
that asks for nothing (`logprobs: false`): clients do that all the time.

What OpenAI does not define is none of this table's business: it goes to the model as it is, in
`additionalModelRequestFields`, which is how a caller reaches `top_k` or `thinking`.

Source: openai-python src/openai/types/chat/completion_create_params.py; a test holds the table to it.
"""

import enum
from typing import Any, Final

import msgspec


class Fate(enum.Enum):
    """What becomes of a parameter."""

    MAPPED = "mapped"
    IGNORED = "ignored"
    REFUSED = "refused"


class Parameter(msgspec.Struct, frozen=True):
    """One row."""

    fate: Fate
    reason: str
    """Where it goes; or why it can be left out; or what the caller is told."""
    harmless: tuple[Any, ...] = ()
    """Values that ask for nothing, beside null: a refused parameter is then ignored."""


_M, _I, _R = Fate.MAPPED, Fate.IGNORED, Fate.REFUSED

PARAMETERS: Final[dict[str, Parameter]] = {
    "audio": Parameter(_R, "no model on Bedrock answers Converse with audio"),
    "frequency_penalty": Parameter(_R, "Converse has no such penalty", (0,)),
    "function_call": Parameter(_R, "use `tool_choice`, which replaces it", ("none", "auto")),
    "functions": Parameter(_R, "use `tools`, which replaces it", ([],)),
    "logit_bias": Parameter(_R, "Bedrock's models have other tokens, and Converse no bias", ({},)),
    "logprobs": Parameter(_R, "Converse gives no log probabilities", (False,)),
    "max_completion_tokens": Parameter(_M, "inferenceConfig.maxTokens; wins over max_tokens"),
    "max_tokens": Parameter(_M, "inferenceConfig.maxTokens"),
    "messages": Parameter(_M, "messages and system"),
    "metadata": Parameter(_M, "requestMetadata, other characters than Bedrock takes replaced by `_`"),
    "modalities": Parameter(_R, "Converse answers in text only", (["text"], [])),
    "model": Parameter(_M, "the path: a name from the configuration, a model id or an ARN"),
    "moderation": Parameter(_R, "there is no moderation model; use a guardrail"),
    "n": Parameter(_M, "Converse gives one choice: other values than 1 are refused"),
    "parallel_tool_calls": Parameter(_M, "Claude only: disable_parallel_tool_use in its tool_choice"),
    "prediction": Parameter(_I, "only a matter of speed"),
    "presence_penalty": Parameter(_R, "Converse has no such penalty", (0,)),
    "prompt_cache_key": Parameter(_I, "routing to OpenAI's own caches"),
    "prompt_cache_options": Parameter(_I, "Bedrock caches where a part has a prompt_cache_breakpoint"),
    "prompt_cache_retention": Parameter(_I, "how long OpenAI keeps its caches"),
    "reasoning_effort": Parameter(_M, "additionalModelRequestFields, in the model's own words"),
    "response_format": Parameter(_M, "json_schema: outputConfig.textFormat; json_object: an instruction"),
    "safety_identifier": Parameter(_M, "requestMetadata.safety_identifier"),
    "seed": Parameter(_I, "OpenAI promises no determinism either"),
    "service_tier": Parameter(_M, "serviceTier: flex, priority (or fast); all else is the default"),
    "stop": Parameter(_M, "inferenceConfig.stopSequences; empty strings are dropped"),
    "store": Parameter(_I, "the gateway stores no completions"),
    "stream": Parameter(_M, "ConverseStream instead of Converse"),
    "stream_options": Parameter(_M, "include_usage: a last chunk; include_obfuscation is ignored"),
    "temperature": Parameter(_M, "inferenceConfig.temperature; 0 to 1, more is refused"),
    "tool_choice": Parameter(_M, "toolConfig.toolChoice; allowed_tools: the other tools are left out"),
    "tools": Parameter(_M, "toolConfig.tools; custom tools are refused"),
    "top_logprobs": Parameter(_R, "Converse gives no log probabilities", (0,)),
    "top_p": Parameter(_M, "inferenceConfig.topP"),
    "user": Parameter(_M, "requestMetadata.user"),
    "verbosity": Parameter(_I, "a hint about style that no model on Bedrock takes"),
    "web_search_options": Parameter(_R, "models on Bedrock do not search the web for the caller"),
}  # fmt: skip
