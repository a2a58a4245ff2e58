"""Every parameter of Anthropic's Messages, and what becomes of it on the way to Bedrock's Converse.

Literal tables. The rule behind them is the one of OpenAI's chat: nothing that changes what the caller gets is
dropped in silence. A parameter is *mapped* to something Converse has; or *ignored*, when it is a hint, or
about Anthropic's own house, and the answer is as good without it; or *refused*, when the caller would
otherwise get something else than was asked for. Where the operator lets parameters be dropped, what would be
refused is left out instead.

Claude itself may be reached through Converse too. What it understands and Converse has no word for goes on to
it in `additionalModelRequestFields`, whatever the fate with others.

What Anthropic does not define is none of these tables' business: it goes to the model as it is, in
`additionalModelRequestFields`.

Sources: anthropic-sdk-python src/anthropic/types/message_create_params.py, beta/message_create_params.py,
tool_param.py; tests hold the tables to them.
"""

from typing import Final

from stargate_core.dialects.parameters import Fate, Parameter

_M, _I, _R = Fate.MAPPED, Fate.IGNORED, Fate.REFUSED

PARAMETERS: Final[dict[str, Parameter]] = {
    "additionalModelResponseFieldPaths": Parameter(_M, "the same, Bedrock's own; told beside the answer"),
    "anthropic_beta": Parameter(_I, "Claude is told of betas, as its callers' headers do; others have none"),
    "anthropic_version": Parameter(_I, "Converse has one version"),
    "betas": Parameter(_I, "travels in a header, and is Anthropic's own"),
    "billing_policy": Parameter(_R, "the gateway's AWS account is billed, and nobody else"),
    "cache_control": Parameter(_M, "a cachePoint behind the last block"),
    "compaction": Parameter(_R, "the conversation would be answered, and not summarised"),
    "container": Parameter(_R, "models on Bedrock have no containers"),
    "context_management": Parameter(_I, "only takes old blocks out of the prompt", claude=True),
    "diagnostics": Parameter(_I, "about Anthropic's own prompt cache"),
    "fallback_credit_token": Parameter(_I, "about Anthropic's own bills"),
    "fallbacks": Parameter(_R, "the gateway's configuration says which model stands in", ("default", [])),
    "guardrailConfig": Parameter(_M, "the same, Bedrock's own; what it tells, in `trace`"),
    "inference_geo": Parameter(_R, "the model that is named says where on Bedrock it runs", ("global",)),
    "max_tokens": Parameter(_M, "inferenceConfig.maxTokens"),
    "mcp_servers": Parameter(_R, "models on Bedrock do not call servers for the caller", ([],)),
    "messages": Parameter(_M, "messages; what has the role system, to system"),
    "metadata": Parameter(_M, "user_id: requestMetadata, characters that Bedrock does not take made `_`"),
    "model": Parameter(_M, "the path: a name from the configuration, a model id or an ARN"),
    "output_config": Parameter(_M, "format: outputConfig.textFormat; effort: in the model's own words"),
    "output_format": Parameter(_M, "outputConfig.textFormat"),
    "performanceConfig": Parameter(_M, "the same, Bedrock's own"),
    "requestMetadata": Parameter(_M, "the same, Bedrock's own; wins over metadata"),
    "service_tier": Parameter(_M, "serviceTier, where it is one of Bedrock's; auto and standard_only: none"),
    "speed": Parameter(_I, "only a matter of speed"),
    "stop_sequences": Parameter(_M, "inferenceConfig.stopSequences; empty strings are dropped"),
    "stream": Parameter(_M, "ConverseStream instead of Converse"),
    "system": Parameter(_M, "system"),
    "temperature": Parameter(_M, "inferenceConfig.temperature"),
    "thinking": Parameter(_M, "additionalModelRequestFields, in the model's own words"),
    "thread": Parameter(_R, "the gateway holds no conversation"),
    "tool_choice": Parameter(_M, "toolConfig.toolChoice; disable_parallel_tool_use: Claude only"),
    "tools": Parameter(_M, "toolConfig.tools; tools of Anthropic's own are refused"),
    "top_k": Parameter(_M, "additionalModelRequestFields, in the model's own words"),
    "top_p": Parameter(_M, "inferenceConfig.topP"),
    "user_profile_id": Parameter(_M, "requestMetadata, likewise"),
    "workspace_id": Parameter(_I, "about Anthropic's own house"),
}  # fmt: skip

TOOL_MEMBERS: Final[dict[str, Parameter]] = {
    "allowed_callers": Parameter(_I, "the model itself is the only caller there is"),
    "cache_control": Parameter(_M, "a cachePoint behind the tool"),
    "defer_loading": Parameter(_I, "without a search for tools every tool is there from the start"),
    "description": Parameter(_M, "toolSpec.description"),
    "eager_input_streaming": Parameter(_I, "only a matter of how finely a stream is cut"),
    "input_examples": Parameter(_I, "hints beside the schema"),
    "input_schema": Parameter(_M, "toolSpec.inputSchema"),
    "name": Parameter(_M, "toolSpec.name; one that Bedrock does not take, by another, and restored"),
    "strict": Parameter(_M, "toolSpec.strict"),
    "type": Parameter(_M, "custom, or none; others are Anthropic's own tools, and refused"),
}
"""The same of the members of a tool."""
