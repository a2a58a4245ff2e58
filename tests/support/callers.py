"""The official SDKs before one gateway, and what each of them sees of an answer: twelve doors, one language.

A door is an API with one of its operations, plain or streamed. `Callers.call` goes through it and says what
came of it in a few words: `ok`; `429 rate_limit_error rate_limit_exceeded`, an HTTP error with its status,
type and code; `- rate_limit_error rate_limit_exceeded`, an error inside a stream that had begun.
"""

import contextlib
import json
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

import anthropic
import botocore.exceptions
import openai

from support.gateway import Served
from support.simulator import user

ANTHROPIC_BODY: Final = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 200}
"""Of InvokeModel, less its messages: by the version the simulator knows whose format is spoken."""
PLAIN: Final = ("chat", "responses", "messages", "messages_invoke", "converse", "invoke")
STREAMS: Final = tuple(f"{door}_stream" for door in PLAIN)
DOORS: Final = {
    ("openai-chat", "Converse"): "chat",
    ("openai-chat", "ConverseStream"): "chat_stream",
    ("openai-responses", "Converse"): "responses",
    ("openai-responses", "ConverseStream"): "responses_stream",
    ("anthropic-messages", "Converse"): "messages",
    ("anthropic-messages", "ConverseStream"): "messages_stream",
    ("anthropic-messages", "InvokeModel"): "messages_invoke",
    ("anthropic-messages", "InvokeModelWithResponseStream"): "messages_invoke_stream",
    ("bedrock-native", "Converse"): "converse",
    ("bedrock-native", "ConverseStream"): "converse_stream",
    ("bedrock-native", "InvokeModel"): "invoke",
    ("bedrock-native", "InvokeModelWithResponseStream"): "invoke_stream",
}
"""How the log tells them apart."""


class Seen(NamedTuple):
    """What a caller saw."""

    error: str
    should_retry: str | None
    retry_after: bool
    words: bool
    """Whether the model had said something before."""
    attempts: int
    """That reached Bedrock."""


class Callers(NamedTuple):
    """A gateway, and the SDKs that call it, none of which repeats anything."""

    gateway: Served
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    bedrock: Any

    def call(self, door: str, model: str, text: str) -> Seen:
        """Say this to the model through this door; the attempts are still to be counted."""
        bedrock, messages = self.bedrock, [user(text)]
        body = json.dumps({**ANTHROPIC_BODY, "messages": [{"role": "user", "content": text}]})
        match door:
            case "chat" | "chat_stream":
                return self._chat(model, text, stream=door == "chat_stream")
            case "responses" | "responses_stream":
                return self._responses(model, text, stream=door == "responses_stream")
            case "messages" | "messages_stream" | "messages_invoke" | "messages_invoke_stream":
                return self._messages(model, text, stream=door.endswith("_stream"))
            case "converse":
                return _native(lambda: bedrock.converse(modelId=model, messages=messages))
            case "converse_stream":
                return _native(lambda: bedrock.converse_stream(modelId=model, messages=messages)["stream"])
            case "invoke":
                return _native(lambda: bedrock.invoke_model(modelId=model, body=body)["body"])
            case _:
                return _native(
                    lambda: bedrock.invoke_model_with_response_stream(modelId=model, body=body)["body"]
                )

    def _chat(self, model: str, text: str, *, stream: bool) -> Seen:
        def ask() -> Any:
            messages: Any = [{"role": "user", "content": text}]
            return self.openai.chat.completions.create(model=model, messages=messages, stream=stream)

        return _openai(ask, lambda chunk: any(one.delta.content for one in chunk.choices), stream=stream)

    def _responses(self, model: str, text: str, *, stream: bool) -> Seen:
        def ask() -> Any:
            return self.openai.responses.create(model=model, input=text, stream=stream)

        return _openai(ask, lambda event: event.type == "response.output_text.delta", stream=stream)

    def _messages(self, model: str, text: str, *, stream: bool) -> Seen:
        words = False
        try:
            answer: Any = self.anthropic.messages.create(
                model=model, max_tokens=200, messages=[{"role": "user", "content": text}], stream=stream
            )
            for event in answer if stream else ():
                words = words or event.type == "content_block_delta"
        except anthropic.APIStatusError as error:
            assert isinstance(error.body, dict)
            kind = error.body["error"]["type"]
            if error.status_code == 200:
                return Seen(f"- {kind}", None, retry_after=False, words=words, attempts=0)
            return _told(f"{error.status_code} {kind}", error.response.headers)
        return Seen("ok", None, retry_after=False, words=words, attempts=0)


def _told(error: str, headers: Any) -> Seen:
    """An error as the answer it is."""
    seconds = headers.get("retry-after")
    assert seconds is None or 1 <= int(seconds) <= 60
    return Seen(error, headers["x-should-retry"], seconds is not None, words=False, attempts=0)


def _openai(ask: Callable[[], Any], says: Callable[[Any], bool], *, stream: bool) -> Seen:
    """What openai-python makes of it. says: whether an event of a stream is of the model's words."""
    words = False
    try:
        answer = ask()
        for event in answer if stream else ():
            words = words or says(event)
    except openai.APIStatusError as error:
        assert isinstance(error.body, dict)
        return _told(f"{error.status_code} {error.type} {error.code}", error.response.headers)
    except openai.APIError as error:
        return Seen(f"- {error.type} {error.code}", None, retry_after=False, words=words, attempts=0)
    return Seen("ok", None, retry_after=False, words=words, attempts=0)


def _native(call: Callable[[], Any]) -> Seen:
    words = False
    try:
        answer = call()
        if not isinstance(answer, dict):
            # An SDK's stream does not close itself behind an error.
            with contextlib.closing(answer):
                for event in answer:
                    words = words or _has_words(event)
    except botocore.exceptions.EventStreamError as error:
        name = error.response["Error"]["Code"]
        return Seen(f"- {name}", None, retry_after=False, words=words, attempts=0)
    except botocore.exceptions.ClientError as error:
        told = error.response["ResponseMetadata"]
        return _told(f"{told['HTTPStatusCode']} {error.response['Error']['Code']}", told["HTTPHeaders"])
    return Seen("ok", None, retry_after=False, words=words, attempts=0)


def _has_words(event: Any) -> bool:
    """Whether an event of a stream says something of the model's. A plain answer comes as bytes."""
    return not isinstance(event, bytes) and (
        "contentBlockDelta" in event or b"_delta" in event.get("chunk", {}).get("bytes", b"")
    )


@contextlib.contextmanager
def callers_of(gateway: Served) -> Generator[Callers]:
    """The SDKs, pointed at a gateway."""
    with gateway.openai() as sdk, gateway.anthropic() as claude:
        bedrock = gateway.bedrock()
        yield Callers(gateway, sdk, claude, bedrock)
        bedrock.close()
