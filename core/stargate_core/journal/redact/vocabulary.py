"""What the gateway knows by name: members of requests and answers, and values that an API gives a choice of.

No decision of a machine depends on a word that is not here, but for its length and form, and none of these is
what anybody said. So members and choices that are here stay, where a structure has a place for them; in what
people fill in by themselves (a tool's input, a schema's properties) nothing does.
"""

from typing import Final


def _each(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORDS: Final = _each(
    """
$ 1h 5m AUDIO_RETRIEVAL AccessDenied AccessDeniedException ApplyGuardrail AuthFailure Body
CLASSIFICATION CLUSTERING ChatCompletions Code ConflictException Converse ConverseStream CountTokens
CreateInferenceProfile DOCUMENT_RETRIEVAL END Exception ExpiredToken ExpiredTokenException GENERIC_INDEX
GENERIC_RETRIEVAL GET GIF87a GIF89a GetAsyncInvoke GetFoundationModel GetFoundationModelAvailability
GetInferenceProfile IMAGE_RETRIEVAL INTERVENED IncompleteSignatureException InternalFailure
InternalServerException InvalidClientTokenId InvalidSignatureException InvokeGuardrailChecks InvokeModel
InvokeModelWithBidirectionalStream InvokeModelWithResponseStream LEFT ListAsyncInvokes
ListFoundationModels ListInferenceProfiles Message Messages MessagesCountTokens
MissingAuthenticationTokenException ModelErrorException ModelNotReadyException ModelStreamErrorException
ModelTimeoutException NONE NotAuthorized OptInRequired Output POST RIFF RIGHT
RequestEntityTooLargeException RequestExpired ResourceInUseException ResourceNotFoundException Responses
SINGLE_EMBEDDING START SerializationException ServiceQuotaExceededException ServiceUnavailableException
SignatureDoesNotMatch StartAsyncInvoke TEXT_RETRIEVAL ThrottlingException TooManyRequestsException
TooManyTagsException UnrecognizedClientException UnsupportedMediaTypeException VIDEO_RETRIEVAL
ValidationException WEBP X-Amzn-Bedrock-PerformanceConfig-Latency X-Amzn-Bedrock-Service-Tier __type
accept access_denied access_programs active adaptive additionalModelRequestFields
additionalModelResponseFieldPaths additionalModelResponseFields additional_model_response_fields
advisor_tool_result after after_id ails allow allowed_callers allowed_tools amazon-bedrock-
amazon-bedrock-guardrailAction amazon-bedrock-invocationMetrics amazon-bedrock-trace amazon.nova
amazon.nova-2 amazon.nova-2- amazon.nova-lite amazon.nova-micro amazon.nova-premier amazon.nova-pro
annotation annotation_index annotations answer anthropic anthropic-beta anthropic-count-tokens
anthropic-messages anthropic-models anthropic-user-profile-id anthropic-version anthropic.claude
anthropic_beta anthropic_status anthropic_type anthropic_version any apac api_error application/json
application/msword application/pdf application/vnd.ms-excel
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
application/vnd.openxmlformats-officedocument.wordprocessingml.document arguments ask assistant async at
audio authentication_error auto aws_name aws_status background background_options base64 base64:
bash_code_execution_tool_result bedrock bedrock-2023-05-31 bedrock-async-invocation bedrock-async-invoke
bedrock-async-invokes bedrock-foundation-model bedrock-guardrail bedrock-guardrail-checks bedrock-model
bedrock-models bedrock-native bedrock-profile bedrock-profiles before before_id begins betas
betas_dropped betas_renamed between_tools billing_error billing_policy binary blame blob block body
browser_state budget_tokens bytes cache-control cacheDetails cachePoint cacheReadInputTokenCount
cacheReadInputTokens cacheWriteInputTokenCount cacheWriteInputTokens cache_control cache_control.scope
cache_creation cache_creation_input_tokens cache_read_input_tokens cache_read_tokens cache_write_tokens
cached_tokens call_id category cause char_location chat chat-completions chat.completion
chat.completion.chunk chats choices chunk citation citations citationsContent citations_delta cited_text
classification claude claude-3-5-haiku-20241022 claude-3-5-sonnet-20241022 client clustering code
code-execution- code_execution_tool_result cohere.command-r compaction complete completed
completionReason completion_tokens completions computer_use concise conflict_error container
container_upload content content-type contentBlock contentBlockDelta contentBlockIndex contentBlockStart
contentBlockStop content_block_delta content_block_location content_block_start content_block_stop
content_filter content_filtered content_index content_type context context_length_exceeded
context_management conversation converse count-tokens created created_at created_seconds csv custom cut
damaged data decoded deepseek.v3 default defer_loading delta description detail detailed developer
diagnostics dialect dimensions disable_parallel_tool_use disabled display_name doc document documentChar
documentChunk documentIndex documentPage document_index document_title docx domain drop_params droppable
dropped eager_input_streaming effort embedding embeddingConfig embeddingDimension embeddingPurpose
embedding_purpose embedding_types embeddings embeddingsByType empty enabled enabled_full encoding_format
encrypted_content encrypted_index end end_block_index end_char_index end_index end_page_number end_turn
ephemeral error errors event exception explanation explicit extras failed fallback fallback_credit_token
fallbacks fast fate fc fetched file file_data file_id file_url filename files finish_reason
firstByteLatency first_id flex float format foundation-model/ frequency_penalty function function_call
function_call_output functions gateway generation generation_token_count generations gif global
guardrail guardrailConfig guardrailIdentifier guardrailVersion guardrail_identifier guardrail_intervened
guardrail_version harmless has_more head headers high htm html http id ids ignored image image/
image/gif image/jpeg image/png image/webp image_url in_progress include include_usage incomplete
incomplete_details index inferenceConfig inferenceConfig.maxTokens inferenceConfig.temperature
inferenceConfig.topP inferenceProfileIdentifier inference_geo input inputSchema inputText
inputTextTokenCount inputTokenCount inputTokens input_audio input_examples input_file input_image
input_json_delta input_schema input_text input_tokens input_tokens_details input_type instructions
insufficient_quota int8 internal_error internal_server_error intervened invalid invalid_api_key
invalid_prompt invalid_request_error invocationLatency invoke invokeModel is_error is_whole item item_id
item_reference items iterations jpeg jpg json jsonSchema json_object json_schema keep-alive kind labels
last_id latency latencyMs lead length lengths lifecycle limit list local location log_probs logit_bias
logprobs low malformed_model_output malformed_tool_use mantle_anthropic mantle_openai mapped markdown
marked marks max maxReasoningEffort maxTokenCount maxTokens max_completion_tokens max_gen_len
max_new_tokens max_output_tokens max_tokens max_tool_calls mcp-client- mcp-tunnels- mcp_servers
mcp_tool_listing mcp_tool_result mcp_tool_use md meaningful media_type medium members message
messageStart messageStop message_delta message_start message_stop messages meta.llama metadata method
metrics minimal minimax. mistral. mistral.mistral-7b mistral.mixtral-8x7b modalities mode model modelId
modelIdentifier model_context_window_exceeded model_not_found models moderation moonshot more_bodies mp3
msg n name names no-cache none normalize not_found_error nova-2-multimodal-embeddings null obfuscation
object openai openai-chat openai-embeddings openai-models openai-responses openai. openai.gpt-
openai.gpt-oss openai_code openai_type operation optimized options originalMessage originalStatusCode
original_status other output outputConfig outputConfig.textFormat outputEmbeddingLength outputTokenCount
outputTokens output_config output_config.effort output_config.format.schema output_dimension
output_format output_format.schema output_index output_text output_tokens output_tokens_details
output_tokens_max outputs overloaded_error owned_by p padding page_location parallel_tool_calls param
parameters parse part partial_json path payload pdf pending performanceConfig permission_denied_error
permission_error pieces ping pjpeg places png prediction prepared presence_penalty previous_response_id
prewarm priority prompt prompt-caching-scope- prompt_cache_breakpoint prompt_cache_key
prompt_cache_options prompt_cache_options.prewarm prompt_cache_retention prompt_caching prompt_logprobs
prompt_token_count prompt_tokens prompt_tokens_details query qwen. qwen.qwen3 rate_limit_error
rate_limit_exceeded raw raws reason reasoning reasoning.effort reasoning.encrypted_content
reasoning.mode reasoningConfig reasoningContent reasoningText reasoning_config reasoning_content
reasoning_effort reasoning_text reasoning_tokens recalled recalls redacted redactedContent
redacted_thinking refusal refused remember remember_bytes_max remembers replace request request-id
requestMetadata requestMetadata.safety_identifier requestMetadata.user request_headers request_id
request_too_large required reserved response response.completed response.content_part.added
response.content_part.done response.created response.failed response.function_call_arguments.delta
response.function_call_arguments.done response.in_progress response.incomplete
response.output_item.added response.output_item.done response.output_text.annotation.added
response.output_text.delta response.output_text.done response.queued
response.reasoning_summary_part.added response.reasoning_summary_part.done
response.reasoning_summary_text.delta response.reasoning_summary_text.done response_format
response_format.json_schema.schema response_headers responses results retry_after_seconds
retry_elsewhere retry_here role rs safety_identifier scale schema scope scopes searchResult
searchResultIndex searchResultLocation search_document search_query search_result search_result_index
search_result_location seed seen sequence_number server_error server_tool_use service serviceTier
service_tier service_unavailable sg1. should_retry signature signature_delta signs silent
singleEmbeddingParams skills- source sourceContent speed standard standard_only start start_block_index
start_char_index start_index start_page_number status stop stopReason stopSequences stop_details
stop_reason stop_sequence stop_sequences store stores stream streamProcessingMode stream_error
stream_options strict structure summary summary_index summary_text surface sync system
system_fingerprint tail takes target taskType temperature text text.format.schema text/ text/csv
text/html text/markdown text/plain textFormat textGenerationConfig text_delta
text_editor_code_execution_tool_result texts texts_max thinking thinking.budget_tokens thinking.type
thinking_blocks thinking_delta thoughtful thoughts_lost thread timeout_error titan-embed-image
titan-embed-text-v2 title token_ids tokens tool toolChoice toolConfig toolResult toolSpec
toolSpec.description toolSpec.inputSchema toolSpec.strict toolUse toolUseId tool_addition tool_call_id
tool_calls tool_choice tool_choice.function.name tool_choice.name tool_reference tool_removal
tool_result tool_search_tool_result tool_use tool_use_id tools tools_used topK topP top_k top_logprobs
top_p totalOutputTextTokenCount totalTokens total_tokens trace truncate truncation truncationMode ttl
txt type ubinary uint8 ultrafast unknown upstream uri url url_citation urls us-gov usage user user_id
user_profile_id validation_error value vector vectors verbosity video wav web web_fetch_tool_result
web_search web_search_options web_search_requests web_search_result_location web_search_tool_result webp
why workspace_id write writer. x-amzn-bedrock- x-amzn-bedrock-cache-read-input-token-count
x-amzn-bedrock-cache-write-input-token-count x-amzn-bedrock-guardrailidentifier
x-amzn-bedrock-guardrailversion x-amzn-bedrock-input-token-count x-amzn-bedrock-output-token-count
x-amzn-bedrock-performanceconfig-latency x-amzn-bedrock-request-metadata x-amzn-bedrock-service-tier
x-amzn-bedrock-trace x-amzn-errortype x-amzn-requestid x-png x-request-id xhigh xls xlsx
"""
)
"""Names of members, and values of choices."""

CHOICES: Final = _each(
    """
__type action amazon-bedrock-guardrailAction caching code Code completionReason detail display effort
embedding_purpose embeddingPurpose embedding_types encoding_format event finish_reason format
guardrailVersion include input_type latency media_type mime_type modalities mode object owned_by param
purpose reason reasoning_effort role service_tier speed status stopReason stop_reason streamProcessingMode
strategy summary taskType tool_choice trace truncate truncation truncationMode ttl type verbosity
"""
)
"""Members whose values are choices: such a value stays if it is one of the words."""

NAMED: Final = frozenset({"anthropic_beta", "anthropic_version", "model", "modelId", "model_id"})
"""Members whose values stay if they look like the name of a model or a version: metadata, and not words."""

OPEN: Final = _each(
    """
additionalModelResponseFields args data_source json logit_bias metadata promptVariables requestMetadata
"""
)
"""Members below which names are words too."""

BASE64: Final = _each(
    "b64_json bytes data embedding encrypted_content redactedContent redacted signature thinking_signature"
)
"""Members whose texts are read as base64, if that is what they are."""

FRAGMENTS: Final = _each("arguments content delta input partial_json reasoning_content refusal text thinking")
"""Members that bring a text in pieces, in streams."""

VECTORS: Final = _each("embedding embeddings embeddingsByType float input tokens vector")
"""Members whose numbers are words: what a vector was made of can be guessed from it."""

MESSAGES: Final = frozenset({"message", "Message", "originalMessage", "error", "detail"})
"""Members that tell what went wrong."""

SCHEMAS: Final = frozenset({"inputSchema", "input_schema", "parameters", "schema"})
"""Members that hold a JSON Schema."""
PROPERTIES: Final = frozenset(
    {"$defs", "definitions", "dependentRequired", "dependentSchemas", "patternProperties", "properties"}
)
"""Of a schema: members below which the names are words, and the values schemas."""
VALUES: Final = frozenset({"const", "default", "enum", "example", "examples"})
"""Of a schema: members that hold what a value may be."""
KEYWORDS: Final = (
    PROPERTIES
    | VALUES
    | _each(
        """
$anchor $comment $id $ref $schema additionalItems additionalProperties allOf anyOf contains contentEncoding
contentMediaType deprecated description else exclusiveMaximum exclusiveMinimum format if items maxContains
maxItems maxLength maxProperties maximum minContains minItems minLength minProperties minimum multipleOf not
nullable oneOf pattern prefixItems propertyNames readOnly required strict then title type unevaluatedItems
unevaluatedProperties uniqueItems writeOnly json schema
"""
    )
)
"""JSON Schema's own names."""
TYPES: Final = _each("array boolean integer null number object string")
"""JSON Schema's types."""

TELLING: Final = (
    "input is too long",
    "prompt is too long",
    "maximum context length",
    "too many input tokens",
    "Authorization=",
)
"""What an error's text is looked through for; it stays."""
