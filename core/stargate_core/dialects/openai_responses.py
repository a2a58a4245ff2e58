"""OpenAI's responses (`POST /v1/responses`) on Bedrock's Converse, or on OpenAI's own API where AWS serves a
model through it.

This file is the dialect; its parts are told elsewhere: the request (`openai_responses_request`,
`openai_responses_parameters`), its way into Converse (`openai_responses_compose`, which goes by way of a
chat), and the way back (`openai_responses_output`, `openai_responses_answer`, `openai_responses_stream`, with
the thoughts of `openai_responses_thoughts`). `openai_responses_passing` has both ways of the other surface.

`read` decodes, and what is wrong for Converse is only noted: whether it counts is known with the target, in
`compose`.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.converse_headers import members_of_headers, served_headers
from stargate_core.dialects.face import Ask, Call, ModelCard, Reply, Request, Target
from stargate_core.dialects.guardrails import guardrail_headers, guardrail_of
from stargate_core.dialects.openai_errors import failure
from stargate_core.dialects.openai_responses_compose import ResponsesAsk, responses_body
from stargate_core.dialects.openai_responses_kept import answers_needed
from stargate_core.dialects.openai_responses_passing import ResponsesPassing, passed_body
from stargate_core.dialects.openai_responses_request import Policy, ResponsesRequest, decode, policy
from stargate_core.dialects.openai_responses_stream import ResponsesTranslator
from stargate_core.dialects.paths import model_of, model_path
from stargate_core.faults import Cause, Fault, Refused, refuse

_JSON: Final = (b"content-type", b"application/json")
_OPENAIS: Final = frozenset({Surface.OPENAI, Surface.MANTLE_OPENAI})
_PATH: Final = operations.path(Operation.RESPONSES)


class OpenAIResponses:
    """The dialect. It has no state."""

    __slots__ = ()

    NAME: ClassVar[str] = "openai-responses"
    SURFACES: ClassVar[tuple[Surface, ...]] = (Surface.CONVERSE, Surface.OPENAI, Surface.MANTLE_OPENAI)
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-request-id"
    LIMIT_FAMILY: ClassVar[str] = "openai"

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused where it isn't one."""
        body = request.body
        told: ResponsesRequest | Policy
        urls: tuple[str, ...] = ()
        try:
            decoded = decode(body)
            told, ask = decoded.request, ResponsesAsk(decoded, decoded.request.guardrail)
        except Refused as refused:
            if refused.fault.cause is not Cause.BODY_INVALID:
                raise
            told = policy(body)
            ask = ResponsesAsk(None, told.guardrail, refused.fault)
        else:
            urls = _urls(ask) if b"http" in body or b"HTTP" in body else ()
        recalls = () if ask.decoded is None else answers_needed(ask.decoded)
        return Ask(
            model=told.model or None,
            stream=told.stream is True,
            body=ask,
            output_tokens_max=told.max_output_tokens,
            temperature=told.temperature,
            urls=urls,
            recalls=recalls,
        )

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to Converse, or to OpenAI's own API. Raises Refused where the request can't be carried
        there.
        """
        asked = _asked(ask)
        guardrail = guardrail_of(request, asked.guardrail)
        if target.surface in _OPENAIS:
            headers = [_JSON, *served_headers(request)]
            headers += guardrail_headers(guardrail, target.options.guardrail)
            body = passed_body(request.body, target.model, ask.fetched)
            return Call(Operation.RESPONSES, b"POST", _PATH, headers, body, ask.stream)
        if target.surface is not Surface.CONVERSE:
            raise refuse(
                Cause.BODY_INVALID,
                "This model is reached through its vendor's own API, which responses cannot use",
                param="model",
            )
        asked.recall(ask.recalled, remembers=ask.remembers)
        operation = Operation.CONVERSE_STREAM if ask.stream else Operation.CONVERSE
        path = model_path(operation, target.model)
        served = members_of_headers(request)
        body = responses_body(asked, target, guardrail, ask.fetched, served, stream=ask.stream)
        return Call(operation, b"POST", path, [_JSON], body, ask.stream)

    def translator(self, request: Request, ask: Ask, call: Call) -> ResponsesTranslator | ResponsesPassing:
        """A fresh translator for the answer to `call`."""
        if call.operation is Operation.RESPONSES:
            return ResponsesPassing(request, ask.model or "")
        asked = _asked(ask)
        return ResponsesTranslator(request, ask.model or model_of(call), asked.whole(), asked.names, ask)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: a response is never local."""
        raise AssertionError("a response is not answered locally")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error in OpenAI's envelope."""
        return failure(fault)


def _asked(ask: Ask) -> ResponsesAsk:
    assert isinstance(ask.body, ResponsesAsk)
    return ask.body


def _urls(ask: ResponsesAsk) -> tuple[str, ...]:
    try:
        return ask.urls
    except Refused:
        return ()  # Nothing to fetch for what is not carried; `compose` says why.
