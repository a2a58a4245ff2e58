"""Anthropic's messages over Converse, driven without the gateway; and anthropic-sdk-python, with nothing
patched, as the reader of what comes back.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest
from anthropic.types import Message, MessageParam, RawMessageStreamEvent
from pydantic import TypeAdapter

from stargate_core.dialects.anthropic_converse_request import converse_call_body, tool_names
from stargate_core.dialects.anthropic_converse_stream import ConverseTranslator
from stargate_core.dialects.face import Fetched, Headers, Options, Reply, Request, Target
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.faults import Cause, Refused
from stargate_core.wire.sse import SseDecoder
from support.bedrock_model import objections
from support.dialects import a_request
from support.sdks import anthropic_client

NOVA: Final = "us.amazon.nova-pro-v1:0"
CLAUDE: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA: Final = "us.meta.llama3-3-70b-instruct-v1:0"
OPAQUE: Final = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
"""Nobody can tell whose model this is."""
PATH: Final = b"/v1/messages"

EVENT: Final[TypeAdapter[RawMessageStreamEvent]] = TypeAdapter(RawMessageStreamEvent)
MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message)


def a_message(**members: Any) -> dict[str, Any]:
    """The body of a Messages request: one message, and whatever else is said."""
    message = {"role": "user", "content": "Say this is a test"}
    return {"model": "mine", "max_tokens": 100, "messages": [message], **members}


def messages_request(headers: Headers | None = None, **members: Any) -> Request:
    """A Messages request."""
    return a_request(msgspec.json.encode(a_message(**members)), PATH, headers=headers)


def composed(
    model: str = NOVA,
    options: Options | None = None,
    guardrail: Guardrail | None = None,
    fetched: Mapping[str, Fetched] | None = None,
    *,
    stream: bool = False,
    headers: Headers | None = None,
    **members: Any,
) -> dict[str, Any]:
    """The Converse body that a request becomes, which AWS's own model has nothing against. Raises Refused."""
    target = Target(model, options=options or Options())
    sent = messages_request(headers or [], **members)
    body = converse_call_body(sent, target, guardrail, fetched or {}, stream=stream)
    operation = "ConverseStream" if stream else "Converse"
    assert objections(operation, body, modelId=model) == []
    made: dict[str, Any] = msgspec.json.decode(body)
    return made


def refused(model: str = NOVA, options: Options | None = None, **members: Any) -> tuple[str | None, str]:
    """The place and the words of a refusal, which names its place too."""
    with pytest.raises(Refused) as caught:
        composed(model, options, **members)
    fault = caught.value.fault
    assert fault.cause is Cause.BODY_INVALID
    return fault.param, fault.text


def translator(*, stream: bool = True, **members: Any) -> ConverseTranslator:
    """The translator for a request's answer."""
    request = messages_request(**members)
    return ConverseTranslator(request, "mine", tool_names(request.body), stream=stream)


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, whose names are their types; pings are left out."""
    events = SseDecoder().feed(body)
    told: list[dict[str, Any]] = [msgspec.json.decode(event.data) for event in events]
    assert [event.name for event in events] == [event["type"] for event in told]
    return [event for event in told if event["type"] != "ping"]


def accumulated(body: bytes) -> Message:
    """What the SDK's own client makes of a stream. Raises what it raises."""
    reply = Reply(200, [(b"content-type", b"text/event-stream")], body)
    messages: list[MessageParam] = [{"role": "user", "content": "a"}]
    with (
        anthropic_client(lambda _: reply) as client,
        client.messages.stream(max_tokens=1, model="mine", messages=messages) as stream,
    ):
        return stream.get_final_message()
