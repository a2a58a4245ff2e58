"""The response object: all of a whole answer, and what a stream begins and ends with.

Its members are of three kinds: what the request has said is said again, in the form that the SDKs read; what
Bedrock has answered; and what is always so here. `store` says whether the answer is kept, whatever was asked
for.

    stop reason                                      status, and why
    max_tokens, model_context_window_exceeded        incomplete: max_output_tokens
    content_filtered, guardrail_intervened           incomplete: content_filter
    malformed_model_output, malformed_tool_use       none: an error (converse.check_stop)
    end_turn, tool_use, stop_sequence, one not known completed

A call whose arguments are no JSON is honest only where the model was cut off: a model that says it has come
to its end has garbled its output.

Usage: Bedrock counts tokens read from and written to its prompt cache apart, OpenAI counts them as part of
the input. How many tokens went into thoughts is not told, and the SDKs want a number: it is 0.

What a guardrail has told where it was asked to (`trace`), and members of the model's own answer that were
asked for (`additional_model_response_fields`), are members of the response too; OpenAI has none for them.

Source: openai-python src/openai/types/responses/response.py, response_usage.py, response_error.py.
"""

from typing import Any, Final, TypeAlias

import msgspec

from stargate_core.dialects.converse import NOT_JSON, Answer, ServiceTier, any_json
from stargate_core.dialects.face import BadAnswer, Request, Usage
from stargate_core.dialects.openai_responses_output import Output
from stargate_core.dialects.openai_responses_request import (
    AllowedFunctions,
    Decoded,
    FunctionTool,
    JsonObject,
    JsonSchema,
    NamedFunction,
)
from stargate_core.faults import Blame, Cause, Fault

Json: TypeAlias = dict[str, Any]

INCOMPLETE: Final = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
"""Stop reasons of answers that are not whole, and why they are not."""

Members: TypeAlias = dict[str, msgspec.Raw]

_WITHOUT_SCHEMAS: Final[Json] = {"tools": [], "text": {"format": {"type": "text"}}}
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_encode: Final = msgspec.json.Encoder().encode


class Responder:
    """Makes the response object of one request, in each state that it comes by."""

    __slots__ = ("_said", "id", "model")

    def __init__(self, request: Request, model: str, asked: Decoded) -> None:
        self.id = f"resp_{request.request_id}"
        self.model = model
        self._said = _encode({"id": self.id, **_said_again(request, model, asked)})

    def response(self, status: str, output: list[Json], **members: Any) -> Json:
        """The response: fresh to its last member, for a plugin may change each by itself."""
        made = self._made()
        made["status"] = status
        made["output"] = output
        made.update(members)
        return made

    def _made(self) -> Json:
        made: Json
        try:
            made = msgspec.json.decode(self._said)
        except NOT_JSON:
            # A schema may hold a number that Bedrock can read, and Python has none for.
            made = {**msgspec.json.decode(self._said, type=Members), **_WITHOUT_SCHEMAS}
            made = msgspec.json.decode(_encode(made))
        return made

    def ended(
        self,
        stop_reason: str,
        output: list[Json],
        usage: Usage | None,
        tier: ServiceTier | None,
        extras: Json,
    ) -> Json:
        """The response as it is in the end."""
        reason = INCOMPLETE.get(stop_reason)
        return self.response(
            "completed" if reason is None else "incomplete",
            output,
            incomplete_details=None if reason is None else {"reason": reason},
            service_tier=_tier(tier),
            usage=None if usage is None else usage_object(usage),
            **extras,
        )

    def failed(self, fault: Fault, output: list[Json]) -> Json:
        """The response that came to nothing."""
        return self.response("failed", output, error=error_object(fault))


def whole_response(answer: Answer, responder: Responder, output: Output) -> Json:
    """A whole answer's response. Raises BadAnswer."""
    for at, block in enumerate(answer.output.message.content):
        output.whole(at, block)
    incomplete = answer.stop_reason in INCOMPLETE
    output.close(incomplete=incomplete)
    usage = None if answer.usage is None else answer.usage.counts()
    extras = extra_members(answer.trace, answer.additional_model_response_fields)
    return responder.ended(answer.stop_reason, output.items, usage, answer.service_tier, extras)


def check_end(stop_reason: str, output: Output) -> None:
    """Raise BadAnswer where the model says that it has said all, and its calls are no JSON."""
    if output.cut and stop_reason not in INCOMPLETE:
        raise BadAnswer(Fault(Cause.MODEL_OUTPUT_MALFORMED, detail="toolUse.input: not JSON"))


def extra_members(trace: msgspec.Raw | None, fields: msgspec.Raw | None) -> Json:
    """What Bedrock tells beside, as members of the response. Raises BadAnswer."""
    extras: Json = {}
    if trace is not None:
        extras["trace"] = any_json(bytes(trace), "trace")
    if fields is not None:
        extras["additional_model_response_fields"] = any_json(bytes(fields), "additionalModelResponseFields")
    return extras


def usage_object(usage: Usage) -> Json:
    """The usage, as OpenAI counts."""
    inputs = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "input_tokens": inputs,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": inputs + usage.output_tokens,
    }


def error_object(fault: Fault) -> Json:
    """Why a response has failed. The codes are a closed set, so the gateway's own has no place here."""
    row = fault.row
    if row.openai_code == "rate_limit_exceeded":
        code = "rate_limit_exceeded"
    else:
        code = "invalid_prompt" if row.blame is Blame.CLIENT else "server_error"
    return {"code": code, "message": fault.text, "param": fault.param, "type": row.openai_type}


def _tier(tier: ServiceTier | None) -> str | None:
    if tier is None or tier.type is None:
        return "default"
    return tier.type if tier.type in _TIERS else None


def _said_again(request: Request, model: str, asked: Decoded) -> Json:
    """What is the same in every state, and what a state may change, as it is before."""
    told = asked.request
    thinking = told.reasoning
    return {
        "object": "response",
        "created_at": request.created_seconds,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": told.instructions,
        "max_output_tokens": told.max_output_tokens,
        "max_tool_calls": told.max_tool_calls,
        "model": model,
        "output": [],
        "parallel_tool_calls": told.parallel_tool_calls is not False,
        "previous_response_id": told.previous_response_id,
        "prompt_cache_key": told.cache_route,
        "reasoning": {
            "effort": None if thinking is None else thinking.effort,
            "summary": None if thinking is None else thinking.summary,
        },
        "safety_identifier": told.safety_identifier,
        "service_tier": told.service_tier if told.service_tier in _TIERS else "auto",
        "store": asked.stores,
        "temperature": told.temperature,
        "text": {"format": _text_format(asked)},
        "tool_choice": _tool_choice(asked),
        "tools": [_tool(tool) for tool in asked.tools if isinstance(tool, FunctionTool)],
        "top_logprobs": 0,
        "top_p": told.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": told.user,
        "metadata": told.metadata or {},
    }


def _tool(tool: FunctionTool) -> Json:
    parameters = None if isinstance(tool.parameters, msgspec.UnsetType) else tool.parameters
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": tool.strict,
    }


def _tool_choice(asked: Decoded) -> Any:
    match asked.tool_choice:
        case str(mode):
            return mode
        case NamedFunction(name=name):
            return {"type": "function", "name": name}
        case AllowedFunctions(mode=mode, tools=tools):
            allowed = [{"type": "function", "name": tool.name} for tool in tools if tool.type == "function"]
            return {"type": "allowed_tools", "mode": mode, "tools": allowed}
        case _:
            return "auto"


def _text_format(asked: Decoded) -> Json:
    match asked.request.text.format if asked.request.text is not None else None:
        case JsonSchema() as form:
            described: Json = {"type": "json_schema", "name": form.name, "schema": form.schema}
            return {**described, "description": form.description, "strict": form.strict}
        case JsonObject():
            return {"type": "json_object"}
        case _:
            return {"type": "text"}
