"""OpenAI's chat completions (`POST /v1/chat/completions`, also `/v1/chat`) on Bedrock's Converse, or on
OpenAI's own API where AWS serves a model through it.

This file is the dialect; its parts are told elsewhere: the request (`openai_chat_request`,
`openai_chat_parameters`), its way into Converse (`openai_chat_messages`, `openai_chat_tools`,
`openai_chat_media`, `openai_chat_caching`, `openai_chat_compose`, `reasoning`), and the way back
(`openai_chat_answer`, `openai_chat_stream`, `openai_chat_blocks`, `openai_errors`). `openai_passing` has both
ways of the other surface.

`read` decodes, and checks the shapes that policy needs. What a request means, and whether it can be carried,
is worked out in `compose`, after the access phase, when the target is known: a caller who may not ask costs
the gateway a decode, and no translation.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.converse_headers import members_of_headers, served_headers
from stargate_core.dialects.face import Ask, Call, ModelCard, Reply, Request, Target
from stargate_core.dialects.guardrails import guardrail_headers, guardrail_of
from stargate_core.dialects.openai_chat_ask import ChatAsk
from stargate_core.dialects.openai_chat_compose import converse_body, prepared
from stargate_core.dialects.openai_chat_media import urls
from stargate_core.dialects.openai_chat_request import decode, policy
from stargate_core.dialects.openai_chat_stream import ChatTranslator
from stargate_core.dialects.openai_errors import failure
from stargate_core.dialects.openai_passing import ChatPassing, passing_body
from stargate_core.dialects.paths import model_of, model_path
from stargate_core.faults import Cause, Fault, Refused, refuse

_JSON: Final = (b"content-type", b"application/json")
_OPENAIS: Final = frozenset({Surface.OPENAI, Surface.MANTLE_OPENAI})
_CHAT_PATH: Final = operations.path(Operation.CHAT_COMPLETIONS)


class OpenAIChat:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "openai-chat"
    SURFACES: ClassVar[tuple[Surface, ...]] = (Surface.CONVERSE, Surface.OPENAI, Surface.MANTLE_OPENAI)
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-request-id"
    LIMIT_FAMILY: ClassVar[str] = "openai"

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        body = request.body
        try:
            chat = ChatAsk(*decode(body))
        except Refused as refused:
            if refused.fault.cause is not Cause.BODY_INVALID:
                raise
            chat = ChatAsk(policy(body), {}, invalid=refused.fault)
        asked = chat.request
        return Ask(
            model=asked.model or None,
            stream=asked.stream is True,
            body=chat,
            output_tokens_max=asked.output_tokens_max,
            temperature=asked.temperature,
            # Hardly any body is walked through: most hold no URL.
            urls=urls(asked.messages) if b"http" in body or b"HTTP" in body else (),
        )

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to Converse, or to OpenAI's own API. Raises Refused where the request can't be carried
        there.
        """
        chat = _chat(ask)
        guardrail = guardrail_of(request, chat.request.guardrail)
        if target.surface in _OPENAIS:
            headers = [_JSON, *served_headers(request)]
            headers += guardrail_headers(guardrail, target.options.guardrail)
            body = passing_body(request.body, target.model, stream=ask.stream)
            return Call(Operation.CHAT_COMPLETIONS, b"POST", _CHAT_PATH, headers, body, ask.stream)
        if target.surface is not Surface.CONVERSE:
            raise refuse(
                Cause.BODY_INVALID,
                "This model is reached through its vendor's own API, which chat completions cannot use",
                param="model",
            )
        operation = Operation.CONVERSE_STREAM if ask.stream else Operation.CONVERSE
        path = model_path(operation, target.model)
        chat.fetched = ask.fetched
        body = converse_body(chat, target, guardrail, members_of_headers(request), stream=ask.stream)
        return Call(operation, b"POST", path, [_JSON], body, ask.stream)

    def translator(self, request: Request, ask: Ask, call: Call) -> ChatTranslator | ChatPassing:
        """A fresh translator for the answer to `call`."""
        chat = _chat(ask)
        options = chat.request.stream_options
        include_usage = options is not None and options.include_usage is True
        if call.operation is Operation.CHAT_COMPLETIONS:
            return ChatPassing(ask.model, include_usage=include_usage)
        return ChatTranslator(
            request,
            ask.model or model_of(call),
            prepared(chat).names,
            stream=call.stream,
            include_usage=include_usage,
        )

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: a chat is never local."""
        raise AssertionError("a chat completion is not answered locally")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in OpenAI's envelope."""
        return failure(fault)


def _chat(ask: Ask) -> ChatAsk:
    assert isinstance(ask.body, ChatAsk)
    return ask.body
