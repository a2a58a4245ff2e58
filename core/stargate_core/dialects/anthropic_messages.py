"""Anthropic's messages (`POST /v1/messages`, `?beta=true` or not), as its SDKs and Claude Code ask for them.

This file is the dialect: it knows which of Bedrock's APIs a request goes through. How it is read and carried
is told elsewhere:

- InvokeModel, which takes Claude's own body without a loss: `anthropic_invoke_request`,
  `anthropic_invoke_stream`.
- The Messages API that AWS serves itself: `anthropic_passing`.
- Converse, for everybody else's models: `anthropic_converse_request`, `anthropic_converse_stream`.

Of the caller's headers, those that say how Bedrock is to serve a call travel on by an allow list. Nothing
that bears a caller's authority does.

Source: https://docs.anthropic.com/en/api/messages.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.anthropic_converse_request import converse_call_body, tool_names
from stargate_core.dialects.anthropic_converse_stream import ConverseTranslator
from stargate_core.dialects.anthropic_errors import failure
from stargate_core.dialects.anthropic_invoke_request import ask_of, asked, guardrail_member, invoke_body
from stargate_core.dialects.anthropic_invoke_stream import InvokeTranslator
from stargate_core.dialects.anthropic_passing import MessagesPassing, passed_body, passed_headers
from stargate_core.dialects.converse_headers import headers_of_members
from stargate_core.dialects.face import Ask, Call, Headers, ModelCard, Reply, Request, Target, Translator
from stargate_core.dialects.guardrails import guardrail_headers, guardrail_of
from stargate_core.dialects.paths import model_of, model_path
from stargate_core.faults import Cause, Fault, refuse

_JSON: Final = (b"content-type", b"application/json")


class AnthropicMessages:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "anthropic-messages"
    SURFACES: ClassVar[tuple[Surface, ...]] = (
        Surface.INVOKE,
        Surface.CONVERSE,
        Surface.ANTHROPIC,
        Surface.MANTLE_ANTHROPIC,
    )
    REQUEST_ID_HEADER: ClassVar[bytes] = b"request-id"
    LIMIT_FAMILY: ClassVar[str] = "anthropic"

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        return ask_of(request)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: a message is never local."""
        raise AssertionError("a message is not answered locally")

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to Bedrock. Raises Refused where the request can't be carried there."""
        messages, stream = asked(ask), ask.stream
        guardrail = guardrail_of(request, guardrail_member(messages.members))
        headers: Headers = [_JSON]
        match target.surface:
            case Surface.CONVERSE:
                if ask.output_tokens_max == 0:
                    raise refuse(
                        Cause.BODY_INVALID,
                        "max_tokens: Input should be greater than or equal to 1",
                        param="max_tokens",
                    )
                operation = Operation.CONVERSE_STREAM if stream else Operation.CONVERSE
                body = converse_call_body(request, target, guardrail, ask.fetched, stream=stream)
                return Call(operation, b"POST", model_path(operation, target.model), headers, body, stream)
            case Surface.INVOKE:
                operation = Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM if stream else Operation.INVOKE_MODEL
                path = model_path(operation, target.model)
                body = invoke_body(request, messages, target, ask.fetched)
            case Surface.ANTHROPIC | Surface.MANTLE_ANTHROPIC:
                operation, path = Operation.MESSAGES, operations.path(Operation.MESSAGES)
                body = passed_body(request, messages, target, ask.fetched)
                headers += passed_headers(request, messages, target)
            case _:
                raise refuse(
                    Cause.BODY_INVALID,
                    "This model is reached through an API of OpenAI's only, which messages cannot use",
                    param="model",
                )
        headers += headers_of_members(request, messages.members)
        headers += guardrail_headers(guardrail, target.options.guardrail)
        return Call(operation, b"POST", path, headers, body, stream)

    def translator(self, request: Request, ask: Ask, call: Call) -> Translator:
        """A fresh translator for the answer to `call`."""
        model = ask.model or model_of(call)
        match call.operation:
            case Operation.CONVERSE | Operation.CONVERSE_STREAM:
                return ConverseTranslator(request, model, tool_names(request.body), stream=call.stream)
            case Operation.MESSAGES:
                return MessagesPassing(request.request_id, model)
            case _:
                return InvokeTranslator(request.request_id, model)

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in this API's envelope."""
        return failure(fault, request_id)
