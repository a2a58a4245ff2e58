"""The vendors' own APIs as AWS serves them: OpenAI's chat completions and responses, Anthropic's messages.

One simulator plays both hosts, the runtime's and that of `bedrock-mantle`, which have the same paths. What
each takes is in `openai_schema`, `responses_schema` and `messages_schema`; here stand the paths, the headers,
the models.

A model answers through the APIs of its own vendor and of those that have taken it over: Claude speaks
Anthropic's, all others OpenAI's. Asking the other gives a 404 that says nothing of the reason, as there.

Sources: openai-python src/openai/providers/bedrock.py; anthropic-sdk-python
src/anthropic/lib/bedrock/_mantle.py; AWS's user guide ("Inference using Anthropic Messages API", "Use a
guardrail with the OpenAI Chat Completions API").
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from stargate.simulator import anthropic, chat_api, guardrails, models, responses
from stargate.simulator.answers import JSON, MISTYPED, Question, Reply, guarded_events, json_plan
from stargate.simulator.dialogue import Answer, Prompt
from stargate.simulator.errors import Refusal, invalid, refuse
from stargate.simulator.events import Headers, StreamEvent, sse_frame
from stargate.simulator.messages_schema import BETAS, ApiBody, CountBody
from stargate.simulator.openai_schema import unfit
from stargate.simulator.plan import Plan, stream_plan
from stargate.simulator.service_model import Call, decode_object
from stargate.simulator.speech import answer
from stargate.simulator.voices import CHAT, MESSAGES, ResponsesVoice, Voice

_SSE: Final[Headers] = [
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-cache"),
]
_ANTHROPIC_VERSIONS: Final = ("2023-06-01", "2026-10-21")
"""The API's version for as long as anyone remembers; and the one that anthropic-sdk-python 2 sends."""
_GUARDRAIL: Final = "x-amzn-bedrock-guardrailidentifier"
_GUARDRAIL_VERSION: Final = "x-amzn-bedrock-guardrailversion"
_TRACE: Final = "x-amzn-bedrock-trace"
_ECHOED: Final = ("X-Amzn-Bedrock-PerformanceConfig-Latency", "X-Amzn-Bedrock-Service-Tier")


class Vendor(msgspec.Struct, frozen=True):
    """One of the vendors' APIs."""

    call: Call
    voice: Voice


_CHAT: Final = Vendor(Call("ChatCompletions", {}), CHAT)
_RESPONSES: Final = Vendor(Call("Responses", {}), ResponsesVoice())
_MESSAGES: Final = Vendor(Call("Messages", {}), MESSAGES)
_COUNT: Final = Vendor(Call("MessagesCountTokens", {}), MESSAGES)

_PATHS: Final[Mapping[bytes, Vendor]] = MappingProxyType(
    {
        b"/openai/v1/chat/completions": _CHAT,
        b"/v1/chat/completions": _CHAT,
        b"/openai/v1/responses": _RESPONSES,
        b"/v1/responses": _RESPONSES,
        b"/anthropic/v1/messages": _MESSAGES,
        b"/anthropic/v1/messages/count_tokens": _COUNT,
    }
)


def route(method: bytes, target: bytes) -> Vendor | None:
    """The vendor's API a request is for; None if it is for none."""
    return _PATHS.get(target.partition(b"?")[0]) if method == b"POST" else None


def replied(vendor: Vendor, question: Question) -> tuple[Reply, Voice]:
    """The answer, and how its API reports errors from then on. Raises Refusal."""
    headers = question.request.by_name()
    _note_guardrail(question, headers)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise refuse("UnsupportedMediaTypeException", "The body must be application/json.")
    if vendor.voice is MESSAGES:
        _check_anthropic_headers(headers)
    body = decode_object(question.request.body)
    if isinstance(body.get("model"), str):
        question.exchange.model_id = body["model"]
    try:
        return _answered(vendor, question, headers, body)
    except MISTYPED as error:
        raise invalid(f"The request body could not be read: {error}") from None


def _note_guardrail(question: Question, headers: Mapping[str, str]) -> None:
    """A guardrail travels in headers, at the runtime's host alone. Raises Refusal."""
    exchange = question.exchange
    exchange.guardrail_id = headers.get(_GUARDRAIL, "")
    exchange.guardrail_version = headers.get(_GUARDRAIL_VERSION, "")
    if bool(exchange.guardrail_id) is not bool(exchange.guardrail_version):
        raise invalid("A guardrail's identifier and its version must be given together.")
    if exchange.guardrail_id and exchange.signing_name == "bedrock-mantle":
        raise invalid("Guardrails are not supported on this endpoint.")


def _check_anthropic_headers(headers: Mapping[str, str]) -> None:
    version = headers.get("anthropic-version")
    if version is None:
        raise invalid("anthropic-version: header is required")
    if version not in _ANTHROPIC_VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    flags = (flag.strip() for flag in headers.get("anthropic-beta", "").split(","))
    unknown = [flag for flag in flags if flag and flag not in BETAS]
    if unknown:
        raise invalid(f"Unexpected value(s) `{'`, `'.join(unknown)}` for the `anthropic-beta` header.")


def _answered(
    vendor: Vendor, question: Question, headers: Mapping[str, str], body: Mapping[str, Any]
) -> tuple[Reply, Voice]:
    if vendor is _COUNT:
        return _counted(question, body), vendor.voice
    prompt = _read(vendor, body)
    _check_model(vendor, body["model"])
    _check_previous(question, body)
    directive = question.directive(prompt.text)
    said = answer(prompt, question.request.body, question.settings.seed, directive.wishes())
    echoed = [(name.encode(), headers[name.lower()].encode()) for name in _ECHOED if name.lower() in headers]
    wait_ns = question.wait_ns(directive)
    voice = vendor.voice
    if vendor is _RESPONSES:
        voice = ResponsesVoice(responses.skeleton(said, body))
        if body.get("store") is not False:
            question.ledger.remember_response(f"resp_{said.id}")

    guarded = _guarded(headers, said, prompt)

    def document() -> Plan:
        found = {**_document(vendor, said, body), **guarded}
        return json_plan(found, [*JSON, *echoed], wait_ns)

    if not body.get("stream"):
        return Reply(document(), directive), voice
    events = guarded_events(_events(vendor, question, said, body), guarded)
    frames = [(event.kind, sse_frame(event)) for event in events]
    plan = stream_plan([*_SSE, *echoed], frames, wait_ns)
    return Reply(plan, directive, streaming=True, document=document), voice


def _guarded(headers: Mapping[str, str], said: Answer, prompt: Prompt) -> Mapping[str, object]:
    """What a guardrail adds to the answer."""
    asked = {"guardrailIdentifier": headers.get(_GUARDRAIL), "trace": headers.get(_TRACE, "DISABLED")}
    return guardrails.invoke_members(asked, said, len(prompt.text))


def _read(vendor: Vendor, body: Mapping[str, Any]) -> Prompt:
    if vendor is _CHAT:
        return chat_api.read(body)
    if vendor is _RESPONSES:
        return responses.read(body)
    return anthropic.read(body, ApiBody)


def _document(vendor: Vendor, said: Answer, body: Mapping[str, Any]) -> Mapping[str, object]:
    if vendor is _CHAT:
        return chat_api.document(said, body)
    if vendor is _RESPONSES:
        return responses.document(said, body)
    return anthropic.document(said, body["model"])


def _events(
    vendor: Vendor, question: Question, said: Answer, body: Mapping[str, Any]
) -> Iterator[StreamEvent]:
    if vendor is _CHAT:
        return chat_api.stream(said, body, question.rng)
    if vendor is _RESPONSES:
        return responses.stream(said, body, question.rng)
    return anthropic.api_stream(said, body["model"], question.rng)


def _counted(question: Question, body: Mapping[str, Any]) -> Reply:
    prompt = anthropic.read(body, CountBody)
    _check_model(_COUNT, body["model"])
    directive = question.directive(prompt.text)
    tokens = directive.number("input-tokens", prompt.input_tokens)
    return Reply(json_plan({"input_tokens": tokens}, JSON, 0), directive)


def _check_model(vendor: Vendor, model_id: str) -> None:
    """Whether the API serves the model. Raises Refusal."""
    if models.is_ours(model_id):
        return
    claude = models.is_claude(model_id) or model_id.startswith("claude-")
    messages = vendor.voice is MESSAGES
    known = models.is_known(model_id) or (messages and claude)
    if known and (claude is messages or model_id.startswith("arn:")):
        return
    raise _no_model(model_id, messages=messages)


def _no_model(model_id: str, *, messages: bool) -> Refusal:
    if messages:
        return refuse("ResourceNotFoundException", f"model: {model_id}")
    text = f"The model `{model_id}` does not exist or you do not have access to it."
    return refuse("ResourceNotFoundException", text)


def _check_previous(question: Question, body: Mapping[str, Any]) -> None:
    """Whether the response to be continued was given out by this simulator. Raises Refusal."""
    previous = body.get("previous_response_id")
    if isinstance(previous, str) and not question.ledger.knows_response(previous):
        text = f"Previous response with id '{previous}' not found."
        raise unfit(text, "previous_response_id", "previous_response_not_found")
