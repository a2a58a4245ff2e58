"""Every parameter of OpenAI's responses, and what becomes of it on the way to Bedrock's Converse.

One literal table, printed in the documentation, by the same rule as the one for chat completions: nothing
that changes what the caller gets is dropped in silence. What OpenAI does not define goes to the model as it
is, in `additionalModelRequestFields`, but for Converse's own members, which are the same as in a chat
(EXTENSIONS in `openai_chat_parameters`).

This API keeps conversations, runs tools and calls back. The gateway keeps answers where an operator lets it
(the plugin `response-store`), and nothing else. A parameter that leans on what was kept is not droppable: the
model would answer a conversation without its beginning.

`truncation: "auto"` is taken, for it asks for less than it seems: while a conversation fits, it changes
nothing, and agents send it with every request. What does not fit is refused by Bedrock, with
`context_length_exceeded`, and never shortened; so the answer says `disabled`.

Where a model is reached through a surface that speaks this API itself, none of this applies: the body goes
there as it is.

Source: openai-python src/openai/types/responses/response_create_params.py; a test holds the table to it.
"""

from typing import Final

from stargate_core.dialects.parameters import Fate, Parameter

_M, _I, _R = Fate.MAPPED, Fate.IGNORED, Fate.REFUSED

PARAMETERS: Final[dict[str, Parameter]] = {
    "access_programs": Parameter(_I, "who may use what of OpenAI's own models"),
    "background": Parameter(
        _R, "nothing is kept here that could be fetched later; wait for the answer, or stream it", (False,),
        droppable=True,
    ),
    "background_options": Parameter(_I, "about answers in the background, which are refused"),
    "context_management": Parameter(
        _R, "conversations are not compacted here; shorten the input yourself", ([],), droppable=True
    ),
    "conversation": Parameter(
        _R, "nothing is kept here; send the whole conversation as `input`, outputs of earlier turns included"
    ),
    "image": Parameter(_I, "how OpenAI compresses images"),
    "include": Parameter(
        _M, "reasoning.encrypted_content, which is there anyway; all else is refused", droppable=True
    ),
    "input": Parameter(_M, "messages and system"),
    "instructions": Parameter(_M, "system, before what the input has of it"),
    "max_output_tokens": Parameter(_M, "inferenceConfig.maxTokens"),
    "max_tool_calls": Parameter(_I, "about tools that OpenAI runs, which are refused"),
    "metadata": Parameter(_M, "requestMetadata, other characters than Bedrock takes replaced by `_`"),
    "model": Parameter(_M, "the path: a name from the configuration, a model id or an ARN"),
    "moderation": Parameter(_R, "there is no moderation model; use a guardrail"),
    "parallel_tool_calls": Parameter(_M, "Claude only: disable_parallel_tool_use in its tool_choice"),
    "previous_response_id": Parameter(
        _M, "the conversation before `input`, where response-store has kept it; else it is refused"
    ),
    "prompt": Parameter(
        _R,
        "templates kept at OpenAI are out of reach; send the text, or name one of Bedrock's as the model",
    ),
    "prompt_cache_key": Parameter(_I, "routing to OpenAI's own caches"),
    "prompt_cache_options": Parameter(
        _M, "Bedrock caches where a part has a prompt_cache_breakpoint; only `prewarm` is refused",
        droppable=True,
    ),
    "prompt_cache_retention": Parameter(_I, "how long OpenAI keeps its caches"),
    "reasoning": Parameter(
        _M,
        "effort: in the model's own words; summary: what the model tells of its thoughts is always given; "
        "mode: only `standard`",
        droppable=True,
    ),
    "safety_identifier": Parameter(_M, "requestMetadata.safety_identifier"),
    "service_tier": Parameter(_M, "serviceTier: flex, priority (or fast), or its header's; else the default"),
    "store": Parameter(_M, "whether response-store may keep the answer; the answer says whether it does"),
    "stream": Parameter(_M, "ConverseStream instead of Converse"),
    "stream_options": Parameter(_I, "include_obfuscation: events are not padded"),
    "temperature": Parameter(
        _M, "inferenceConfig.temperature; 0 to 1, other values are refused", droppable=True
    ),
    "text": Parameter(
        _M,
        "format json_schema: outputConfig.textFormat, json_object: an instruction; verbosity is a hint about "
        "style that no model on Bedrock takes",
    ),
    "tool_choice": Parameter(_M, "toolConfig.toolChoice; allowed_tools: the other tools are left out"),
    "tools": Parameter(
        _M, "functions: toolConfig.tools; custom tools, and those OpenAI runs, are refused", droppable=True
    ),
    "top_logprobs": Parameter(_R, "Converse gives no log probabilities", (0,), droppable=True),
    "top_p": Parameter(_M, "inferenceConfig.topP"),
    "truncation": Parameter(_I, "nothing is shortened: what is too long is refused by Bedrock"),
    "user": Parameter(_M, "requestMetadata.user"),
}  # fmt: skip
