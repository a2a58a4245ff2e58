"""Anthropic's API as AWS serves it: the request and its answer in the very words they came in.

The runtime's host and `bedrock-mantle` both have a Messages API of their own, with server-sent events for
streams. There the body goes as it is, `stream` included, under the target's name for the model; version and
betas stay in headers. Betas that a caller has put into the body, as InvokeModel has it, join the header's;
whom a request is made for goes from its header into the body, where these APIs read it.

The answers are Anthropic's too, so `MessagesPassing` does with them what is done with InvokeModel's. An
answer that is shared among callers is kept as it came: `MessagesWatching` hands its bytes on and only learns
from them.

Sources: anthropic-sdk-python src/anthropic/lib/bedrock/_mantle.py; AWS's user guide, "Inference using
Anthropic Messages API".
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from stargate_core.dialects import anthropic_betas as betas
from stargate_core.dialects.anthropic_invoke_blocks import encoded
from stargate_core.dialects.anthropic_invoke_request import MessagesAsk, add_user_profile
from stargate_core.dialects.anthropic_invoke_sources import bring
from stargate_core.dialects.anthropic_invoke_stream import MessagePart, MessagesTranslator
from stargate_core.dialects.converse import any_json
from stargate_core.dialects.converse import encoded as written
from stargate_core.dialects.face import Fetched, Headers, Part, PartKind, Reply, Request, Target
from stargate_core.dialects.guardrails import MEMBER as GUARDRAIL
from stargate_core.dialects.headers import kept
from stargate_core.faults import Fault
from stargate_core.wire.frames import Frame

_VERSION_HEADER: Final = b"anthropic-version"
_VERSION: Final = b"2023-06-01"
_ID_HEADER: Final = b"request-id"


def passed_body(request: Request, ask: MessagesAsk, target: Target, fetched: Mapping[str, Fetched]) -> bytes:
    """The body as it came, for the target's model. fetched: what takes the place of URLs. Raises Refused."""
    sent = {name: value for name, value in ask.members.items() if name not in (betas.MEMBER, GUARDRAIL)}
    sent["model"] = Raw(encoded(target.model))
    if fetched:
        bring(sent, fetched, all_of_them=False)
    add_user_profile(request, sent)
    return encoded(sent)


def passed_headers(request: Request, ask: MessagesAsk, target: Target) -> Headers:
    """Version and betas. Raises Refused."""
    headers = [(_VERSION_HEADER, request.header(_VERSION_HEADER) or _VERSION)]
    told = betas.betas_told(betas.betas_of(request, ask.members.get(betas.MEMBER)), target.options)
    if told:
        headers.append((betas.HEADER, ",".join(told).encode()))
    return headers


class MessagesPassing(MessagesTranslator):
    """An answer of the Messages API: its frames are server-sent events."""

    __slots__ = ()


class MessagesWatching(MessagesTranslator):
    """The same, handed on byte for byte."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("", "")
        self.raw = True
        self._model = None

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't a message."""
        self._whole(body)
        self.complete = self.meaningful = True
        payload = any_json(body, "the model's answer")
        return MessagePart(PartKind.ANSWER, "", payload, raw=body, seen=written(payload))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The answer, with the headers it came with."""
        return Reply(
            200, kept(upstream_headers, _ID_HEADER), super().render_answer(part, upstream_headers).body
        )

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers it came with."""
        return kept(upstream_headers, _ID_HEADER)

    def frame(self, frame: Frame) -> bytes:
        """The event's own bytes. Raises BadAnswer where it is an error."""
        super().frame(frame)
        return frame.raw

    def broken(self, fault: Fault) -> bytes:
        """Nothing: whoever shares the answer tells the fault in words of its own."""
        return b""

    def keepalive(self) -> bytes:
        """Nothing: whoever shares the answer has its own."""
        return b""
