"""All recorded answers through every dialect, read by that dialect's official SDK: nothing is lost that the
dialect can say. And what they look like, to the byte: a third of the answers are kept as files.

What Bedrock said is read independently (`support.recorded`); what the SDK has understood is brought back to
the same words, and the two must be equal.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, MessageParam
from openai.lib.streaming._deltas import accumulate_delta
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseOutputMessage
from openai.types.responses import ResponseReasoningItem as Reasoning

from stargate_core.dialects.face import Dialect, Reply, Request
from stargate_core.dialects.registry import (
    ANTHROPIC_MESSAGES,
    BEDROCK_NATIVE,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
)
from support.recorded import (
    CHOSEN,
    GOLDEN,
    Json,
    Said,
    answer_to,
    claude_message,
    claude_recordings,
    converse_recordings,
    converse_said,
    goldens,
    model,
    said,
    stem,
)
from support.sdks import anthropic_client, bedrock_client, openai_client
from support.vectors import Recording

CONVERSE = converse_recordings()
CLAUDE = claude_recordings()
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say this is a test"}]
TOLD: list[MessageParam] = [{"role": "user", "content": "Say this is a test"}]

every_answer = pytest.mark.parametrize("recording", CONVERSE, ids=stem)


def gateway(dialect: Dialect, recording: Recording) -> Callable[[Request], Reply]:
    """Whoever asks is answered as in the recording."""
    return lambda request: answer_to(dialect, request, recording)


def seal(kind: str, text: str) -> tuple[str, str]:
    """A seal as Converse has it: what only the vendor can read is a blob."""
    return kind, base64.b64encode(text.encode()).decode() if kind == "redacted" else text


# --------------------------------------------------------------------------------------------- OpenAI's chat

FINISHES = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "guardrail_intervened": "content_filter",
}


def asked_of_chat(recording: Recording) -> Json:
    """The completion as the SDK has it; of a stream, what the SDK's own accumulation makes of it."""
    with openai_client(gateway(OPENAI_CHAT, recording)) as client:
        if not recording.is_stream:
            return plain(client.chat.completions.create(model="mine", messages=ASKED))
        whole: Json = {}
        message: dict[object, object] = {}
        for chunk in client.chat.completions.create(
            model="mine", messages=ASKED, stream=True, stream_options={"include_usage": True}
        ):
            told = chunk.to_dict(mode="json")
            choices: Any = told.pop("choices")
            for choice in choices:
                accumulate_delta(message, choice["delta"])
                whole["finish_reason"] = choice["finish_reason"]
            whole |= told
    return {**whole, "message": message}


def plain(completion: ChatCompletion) -> Json:
    choice: Any = completion.to_dict(mode="json").pop("choices")
    assert all(
        isinstance(call, ChatCompletionMessageFunctionToolCall)
        for call in completion.choices[0].message.tool_calls or ()
    )
    return {**completion.to_dict(mode="json"), **choice[0]}


@every_answer
def test_openai_chat(recording: Recording) -> None:
    made = asked_of_chat(recording)
    message = made["message"]
    usage = made["usage"]
    details = usage["prompt_tokens_details"]
    cached, written = details["cached_tokens"], details["cache_write_tokens"]
    understood = Said(
        text=message["content"] or "",
        thoughts=message.get("reasoning_content", ""),
        seals=[
            seal("redacted", block["data"]) if "data" in block else ("signature", block["signature"])
            for block in message.get("thinking_blocks", [])
        ],
        calls=[
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or []
        ],
        citations=[without(citation, "index") for citation in message.get("citations", [])],
        usage=(usage["prompt_tokens"] - cached - written, usage["completion_tokens"], cached, written),
        stop=made["finish_reason"],
        trace=made.get("trace"),
    )
    expected = said(recording)
    # A chat's message has members, and no order.
    assert understood == replaced(expected, stop=FINISHES[expected.stop], kinds=[])
    assert usage["total_tokens"] == sum(expected.usage)


def without(members: Json, *names: str) -> Json:
    return {name: value for name, value in members.items() if name not in names}


def replaced(one: Said, **members: Any) -> Said:
    return msgspec.structs.replace(one, **members)


# --------------------------------------------------------------------------------------- OpenAI's responses

STATUSES = {
    "end_turn": ("completed", None),
    "tool_use": ("completed", None),
    "max_tokens": ("incomplete", "max_output_tokens"),
    "guardrail_intervened": ("incomplete", "content_filter"),
}


def asked_of_responses(recording: Recording) -> Response:
    """The response as the SDK has it; of a stream, its last event's, which the deltas have told too."""
    with openai_client(gateway(OPENAI_RESPONSES, recording)) as client:
        include: list[Any] = ["reasoning.encrypted_content"]
        if not recording.is_stream:
            return client.responses.create(model="mine", input="hi", include=include)
        texts = ""
        numbers: list[int] = []
        last: Response | None = None
        for event in client.responses.create(model="mine", input="hi", include=include, stream=True):
            assert last is None
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                texts += event.delta
            elif event.type in ("response.completed", "response.incomplete"):
                last = event.response
    assert last is not None
    assert last.output_text == texts
    assert numbers == list(range(len(numbers)))
    return last


@every_answer
def test_openai_responses(recording: Recording) -> None:
    response = asked_of_responses(recording)
    understood = Said(trace=(response.model_extra or {}).get("trace"))
    for item in response.output:
        understand(understood, item)
    assert response.usage is not None
    cached = response.usage.input_tokens_details.cached_tokens
    written = response.usage.input_tokens_details.cache_write_tokens
    understood.usage = (
        response.usage.input_tokens - cached - written,
        response.usage.output_tokens,
        cached,
        written,
    )
    expected = said(recording)
    assert understood == replaced(expected, stop="")
    reason = response.incomplete_details.reason if response.incomplete_details is not None else None
    assert (response.status, reason) == STATUSES[expected.stop]
    assert response.usage.total_tokens == sum(expected.usage)


def understand(made: Said, item: Any) -> None:
    """One item of a response's output."""
    match item:
        case ResponseOutputMessage():
            for part in item.content:
                assert part.type == "output_text"
                made.text += part.text
                for citation in (part.model_extra or {}).get("citations", []):
                    made.citations.append(without(citation, "start_index", "end_index"))
            made.add("text")
        case Reasoning():
            made.thoughts += "".join(piece.text for piece in item.summary)
            if item.encrypted_content is not None:
                sealed = item.encrypted_content.removeprefix("sg1.")
                made.seals += json.loads(base64.b64decode(sealed + "=" * (-len(sealed) % 4))).items()
            made.add("thought")
        case ResponseFunctionToolCall():
            made.calls.append((item.call_id, item.name, json.loads(item.arguments)))
            made.add("call")
        case _:
            raise AssertionError(item.type)


# -------------------------------------------------------------------------------------- Anthropic's messages

REASONS = {"guardrail_intervened": "refusal"}
PLACES = {
    "char_location": ("documentChar", "start_char_index", "end_char_index"),
    "page_location": ("documentPage", "start_page_number", "end_page_number"),
    "content_block_location": ("documentChunk", "start_block_index", "end_block_index"),
}


def asked_of_messages(recording: Recording) -> Message:
    """The message as the SDK has it; of a stream, what the SDK's own accumulation makes of it."""
    with anthropic_client(gateway(ANTHROPIC_MESSAGES, recording)) as client:
        if not recording.is_stream:
            return client.messages.create(model="mine", max_tokens=100, messages=TOLD)
        with client.messages.stream(model="mine", max_tokens=100, messages=TOLD) as stream:
            return stream.get_final_message()


@every_answer
def test_anthropic_messages(recording: Recording) -> None:
    message = asked_of_messages(recording)
    usage = message.usage
    understood = Said(
        usage=(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens or 0,
            usage.cache_creation_input_tokens or 0,
        ),
        stop=str(message.stop_reason),
        trace=(message.model_extra or {}).get("trace"),
    )
    for block in message.content:
        hear(understood, block)
    expected = said(recording)
    if recording.is_stream and expected.trace is not None:
        # The SDK keeps of an event only what it knows.
        understood.trace = expected.trace
    assert understood == replaced(expected, stop=REASONS.get(expected.stop, expected.stop))
    assert (message.model, message.role) == ("mine", "assistant")


def hear(made: Said, block: Any) -> None:
    """One block of a message."""
    match block.type:
        case "text":
            made.text += block.text
            made.citations += [in_bedrocks_words(citation) for citation in block.citations or ()]
            made.add("text")
        case "thinking":
            made.thoughts += block.thinking
            made.seals += [("signature", block.signature)] if block.signature else []
            made.add("thought")
        case "redacted_thinking":
            made.seals.append(seal("redacted", block.data))
            made.add("thought")
        case _:
            assert block.type == "tool_use"
            made.calls.append((block.id, block.name, block.input))
            made.add("call")


def in_bedrocks_words(citation: Any) -> Json:
    kind, start, end = PLACES[citation.type]
    spot = {"start": getattr(citation, start), "end": getattr(citation, end)}
    place = {kind: {"documentIndex": citation.document_index, **spot}}
    return {
        "title": citation.document_title,
        "sourceContent": [{"text": citation.cited_text}],
        "location": place,
    }


@pytest.mark.parametrize("recording", CLAUDE, ids=stem)
def test_anthropic_messages_of_claude_itself(recording: Recording) -> None:
    made = asked_of_messages(recording).to_dict(mode="json")
    recorded = claude_message(recording)
    content: Any = made["content"]
    assert [without(block, "citations", "caller") for block in content] == recorded["content"]
    assert made["model"] == "mine"
    for member in ("id", "role", "type", "stop_reason", "stop_sequence"):
        assert made[member] == recorded[member]
    usage: Any = made["usage"]
    assert {name: usage[name] for name in recorded["usage"]} == recorded["usage"]


# ----------------------------------------------------------------------------------------- Bedrock's own API


@every_answer
def test_bedrock_native(recording: Recording) -> None:
    client, sent = bedrock_client(gateway(BEDROCK_NATIVE, recording))
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    if not recording.is_stream:
        made = client.converse(modelId=model(recording), messages=messages)
        assert converse_said(in_json(without(made, "ResponseMetadata"))) == said(recording)
    else:
        stream = client.converse_stream(modelId=model(recording), messages=messages)["stream"]
        names = [next(iter(event)) for event in stream]
        assert names[0] == "messageStart"
        assert names[-2:] == ["messageStop", "metadata"]
    assert answer_to(BEDROCK_NATIVE, sent[0], recording).body == recording.body


def in_json(value: Any) -> Any:
    """What boto3 has parsed, as JSON has it: blobs in base64."""
    if isinstance(value, dict):
        return {name: in_json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [in_json(member) for member in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


# ---------------------------------------------------------------------------------------------- golden files


def test_every_chosen_recording_is_there() -> None:
    assert {stem(recording) for recording in [*CONVERSE, *CLAUDE]} >= CHOSEN


ANEW = "run `python tests/golden/generate.py`, and look at what has changed"


def test_answers_are_to_the_byte_what_they_were() -> None:
    now = dict(goldens())
    kept = {path for ending in ("json", "sse") for path in GOLDEN.glob(f"*/*.{ending}")}
    assert kept == set(now), ANEW
    for path, body in now.items():
        assert path.read_bytes() == body, f"{path.relative_to(GOLDEN)}: {ANEW}"


def test_the_chats_stream_is_one_that_the_sdks_own_helper_takes() -> None:
    """The helper accumulates what it does not know, too, and raises for a list that it cannot."""
    for recording in CONVERSE:
        if not recording.is_stream or said(recording).stop == "max_tokens":
            continue
        with (
            openai_client(gateway(OPENAI_CHAT, recording)) as client,
            client.chat.completions.stream(model="mine", messages=ASKED) as stream,
        ):
            assert stream.get_final_completion().choices[0].finish_reason
