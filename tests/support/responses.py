"""Driving OpenAI's responses dialect without the gateway, and reading what it writes with the SDK's types."""

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import Fetched, Headers, Options, Request, Target, Translator
from stargate_core.dialects.registry import OPENAI_RESPONSES
from stargate_core.wire.sse import SseDecoder
from support.dialects import HAIKU, Event, a_request, frames, streamed

EVENTS: Final[dict[str, type[BaseModel]]] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(ResponseStreamEvent)[0])
}
"""Every event that openai-python knows, by its type."""


def responses_request(headers: Headers | None = None, **members: Any) -> Request:
    """A request: one text of the user's, and whatever else is said."""
    body = {"model": "claude", "input": "Say this is a test", **members}
    told = {name: value for name, value in body.items() if value is not ...}
    return a_request(msgspec.json.encode(told), b"/v1/responses", headers=headers)


def composed(
    target: str = HAIKU,
    *,
    options: Options | None = None,
    fetched: Mapping[str, Fetched] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """The Converse body that a request becomes. Raises Refused."""
    request = responses_request(**members)
    ask = OPENAI_RESPONSES.read(request)
    ask.fetched = dict(fetched or {})
    call = OPENAI_RESPONSES.compose(request, ask, Target(target, options=options or Options()))
    body: dict[str, Any] = msgspec.json.decode(call.body)
    return body


def responses_translator(target: str = HAIKU, **members: Any) -> Translator:
    """The translator for a request's answer from Converse."""
    request = responses_request(**members)
    ask = OPENAI_RESPONSES.read(request)
    return OPENAI_RESPONSES.translator(request, ask, OPENAI_RESPONSES.compose(request, ask, Target(target)))


def passing(surface: Surface = Surface.OPENAI, **members: Any) -> Translator:
    """The translator for a request's answer from OpenAI's own API."""
    request = responses_request(**members)
    ask = OPENAI_RESPONSES.read(request)
    call = OPENAI_RESPONSES.compose(request, ask, Target("openai.gpt-oss-120b", surface))
    return OPENAI_RESPONSES.translator(request, ask, call)


def responses_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream: each under its type's name, numbered without a gap, good for the SDK."""
    told: list[dict[str, Any]] = []
    for number, event in enumerate(SseDecoder().feed(body)):
        payload = msgspec.json.decode(event.data)
        assert event.name == payload["type"]
        assert payload["sequence_number"] == number
        EVENTS[payload["type"]].model_validate(payload, strict=True)
        told.append(payload)
    return told


def events_of(*events: Event, **members: Any) -> list[dict[str, Any]]:
    """The events that a stream of Converse's becomes."""
    return responses_events(streamed(responses_translator(stream=True, **members), frames(events)))


def response_of(content: list[Any], stop: str = "end_turn", **members: Any) -> Response:
    """The response that a whole answer of Converse's becomes, as the SDK reads it."""
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, **members}
    translator = responses_translator()
    reply = translator.render_answer(translator.answer([], msgspec.json.encode(body)), [])
    return Response.model_validate_json(reply.body, strict=True)
