"""Every recorded answer of the real Bedrock goes through the running gateway.

The simulator serves the recordings byte for byte. Through the native dialect they come out as they went in;
through openai-python come the text, the tools, the stop reason and the usage, whole. What to expect is read
from the recordings by botocore's own decoder.
"""

import collections
import io
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import openai
import pytest
from botocore.eventstream import EventStream
from botocore.parsers import EventStreamJSONParser, RestJSONParser

from support.gateway import RunningGateway, eventually, running_gateway
from support.raw import connected, converse, request
from support.simulator import running_simulator, user
from support.vectors import RECORDED, Recording, recordings

OPERATIONS: Final = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
    "count-tokens": "CountTokens",
}
FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


def stem_of(recording: Recording) -> str:
    return Path(recording.file).stem


def path_of(recording: Recording) -> str:
    """The last part of the recorded request's path: the operation, as it stands there."""
    return recording.uri.partition("?")[0].rpartition("/")[2]


ALL: Final = recordings()
GOOD: Final = [recording for recording in ALL if recording.status == 200]
BAD: Final = [recording for recording in ALL if recording.status != 200]
ANSWERS: Final = [recording for recording in GOOD if path_of(recording) == "converse"]
STREAMS: Final = [recording for recording in GOOD if path_of(recording) == "converse-stream"]


def test_all_of_them_are_here() -> None:
    assert (len(GOOD), len(BAD), len(ANSWERS), len(STREAMS)) == (138, 4, 70, 18)


@pytest.fixture(scope="module")
def gateway() -> Generator[RunningGateway]:
    """A gateway in front of a Bedrock that serves the recordings."""
    with running_simulator("--recordings", str(RECORDED)) as simulator:
        with running_gateway(simulator.url) as running:
            yield running


@pytest.fixture(scope="module")
def bedrock(gateway: RunningGateway) -> Generator[Any]:
    """boto3."""
    sdk = gateway.bedrock()
    yield sdk
    sdk.close()


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> Generator[openai.OpenAI]:
    """openai-python."""
    with gateway.openai() as sdk:
        yield sdk


class _Body(io.BytesIO):
    """A body as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def decoded(bedrock: Any, recording: Recording) -> list[Any]:
    """The events of a recorded stream, by botocore."""
    name = OPERATIONS[path_of(recording)]
    shape = bedrock.meta.service_model.operation_model(name).get_event_stream_output()
    return list(EventStream(_Body(recording.body), shape, EventStreamJSONParser(), name))


def parsed(bedrock: Any, recording: Recording) -> Any:
    """A recorded answer, by botocore."""
    shape = bedrock.meta.service_model.operation_model(OPERATIONS[path_of(recording)]).output_shape
    answer = {"status_code": recording.status, "headers": {}, "body": recording.body}
    found = RestJSONParser().parse(answer, shape)
    del found["ResponseMetadata"]
    return found


def called(bedrock: Any, recording: Recording) -> Any:
    """The recorded answer, by way of boto3 and the gateway."""
    model = f"recording.{stem_of(recording)}"
    match path_of(recording):
        case "converse":
            return bedrock.converse(modelId=model, messages=[user("Hello")])
        case "converse-stream":
            return list(bedrock.converse_stream(modelId=model, messages=[user("Hello")])["stream"])
        case "invoke":
            return bedrock.invoke_model(modelId=model, body=b"{}")["body"].read()
        case "invoke-with-response-stream":
            return list(bedrock.invoke_model_with_response_stream(modelId=model, body=b"{}")["body"])
        case _:
            return bedrock.count_tokens(modelId=model, input={"converse": {"messages": [user("Hello")]}})


@pytest.mark.parametrize("recording", GOOD, ids=stem_of)
class TestNative:
    def test_every_byte_comes_through(self, gateway: RunningGateway, recording: Recording) -> None:
        with connected(gateway.url) as raw:
            path = f"/model/recording.{stem_of(recording)}/{path_of(recording)}"
            raw.send(request(path=path, body=converse("Hello")))
            answer = raw.answer()
        assert answer.whole
        assert answer.status == 200
        assert answer.body == recording.body
        kind = "application/vnd.amazon.eventstream" if recording.is_stream else "application/json"
        assert answer.headers["content-type"] == kind

    def test_boto3_reads_what_was_recorded(self, bedrock: Any, recording: Recording) -> None:
        found = called(bedrock, recording)
        if recording.is_stream:
            assert found == decoded(bedrock, recording)
        elif isinstance(found, bytes):
            assert found == recording.body
        else:
            del found["ResponseMetadata"]
            assert found == parsed(bedrock, recording)


@pytest.mark.parametrize("recording", BAD, ids=stem_of)
def test_a_recorded_error_is_raised(bedrock: Any, recording: Recording) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        called(bedrock, recording)
    error, metadata = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    told = json.loads(recording.body)
    if recording.status == 403:
        # An expired token, and the gateway's own: the caller learns that it was not the caller's.
        assert (error["Code"], metadata["HTTPStatusCode"]) == ("ServiceUnavailableException", 502)
        assert told["message"] not in error["Message"]
    else:
        assert (error["Code"], metadata["HTTPStatusCode"]) == ("ValidationException", recording.status)
        assert error["Message"] == told["message"]


def text_of(block: dict[str, Any]) -> str:
    """A content block's text; what is cited is a part of it."""
    cited = block.get("citationsContent", {}).get("content", [])
    text: str = block.get("text", "")
    return text + "".join(piece["text"] for piece in cited)


def usage_of(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    """What OpenAI's usage must be: prompt, cached, completion, total."""
    cached, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    prompt = usage["inputTokens"] + cached + written
    return prompt, cached, usage["outputTokens"], prompt + usage["outputTokens"]


def told_usage(usage: Any) -> tuple[int, int, int, int]:
    """What it is."""
    details = usage.prompt_tokens_details
    cached = 0 if details is None or details.cached_tokens is None else details.cached_tokens
    return usage.prompt_tokens, cached, usage.completion_tokens, usage.total_tokens


@pytest.mark.parametrize("recording", ANSWERS, ids=stem_of)
def test_openai_python_gets_an_answer_whole(client: openai.OpenAI, recording: Recording) -> None:
    told = json.loads(recording.body)
    blocks = told["output"]["message"]["content"]
    answer = client.chat.completions.create(
        model=f"recording.{stem_of(recording)}", messages=[{"role": "user", "content": "Hello"}]
    )
    (choice,) = answer.choices
    assert (choice.message.content or "") == "".join(map(text_of, blocks))
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    assert [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or []
        if call.type == "function"
    ] == [(use["toolUseId"], use["name"], use["input"]) for use in uses]
    assert choice.finish_reason == FINISH_REASONS[told["stopReason"]]
    assert told_usage(answer.usage) == usage_of(told["usage"])


def read(events: list[Any]) -> tuple[str, list[tuple[str, str, Any]], str, dict[str, Any]]:
    """A recorded stream's text, tools, stop reason and usage."""
    text, stop_reason, usage = "", "", {}
    tools: dict[int, tuple[str, str, list[str]]] = {}
    at_bedrock: set[int] = set()
    for event in events:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": use}, "contentBlockIndex": index}}:
                tools[index] = (use["toolUseId"], use["name"], [])
                if use.get("type") == "server_tool_use":
                    # Bedrock itself runs this tool: there is nothing for the caller to do.
                    at_bedrock.add(index)
            case {"contentBlockDelta": {"delta": {"text": piece}}}:
                text += piece
            case {"contentBlockDelta": {"delta": {"toolUse": use}, "contentBlockIndex": index}}:
                tools[index][2].append(use["input"])
            case {"messageStop": {"stopReason": reason}}:
                stop_reason = reason
            case {"metadata": {"usage": told}}:
                usage = told
            case _:
                pass
    calls = [
        (id_, name, json.loads("".join(pieces) or "{}"))
        for index, (id_, name, pieces) in tools.items()
        if index not in at_bedrock
    ]
    return text, calls, stop_reason, usage


@pytest.mark.parametrize("recording", STREAMS, ids=stem_of)
def test_openai_python_gets_a_stream_whole(client: openai.OpenAI, bedrock: Any, recording: Recording) -> None:
    text, calls, stop_reason, usage = read(decoded(bedrock, recording))
    chunks = list(
        client.chat.completions.create(
            model=f"recording.{stem_of(recording)}",
            messages=[{"role": "user", "content": "Hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == text
    heads: dict[int, tuple[str | None, str | None]] = {}
    arguments: dict[int, str] = collections.defaultdict(str)
    for call in (call for choice in choices for call in choice.delta.tool_calls or []):
        assert call.function is not None
        heads.setdefault(call.index, (call.id, call.function.name))
        arguments[call.index] += call.function.arguments or ""
    assert [(*head, json.loads(arguments[index])) for index, head in heads.items()] == calls
    assert [c.finish_reason for c in choices if c.finish_reason] == [FINISH_REASONS[stop_reason]]
    assert told_usage(chunks[-1].usage) == usage_of(usage)


def test_each_leaves_one_good_record(gateway: RunningGateway) -> None:
    """The log is written a few times a second, so it is read once, for a pipeline of all recordings."""
    with connected(gateway.url) as raw:
        asked: dict[str, Recording] = {}
        for recording in GOOD:
            path = f"/model/recording.{stem_of(recording)}/{path_of(recording)}"
            raw.send(request(path=path, body=converse("Hello")))
            asked[raw.answer().headers["x-request-id"]] = recording
    eventually(lambda: asked.keys() <= {record["request_id"] for record in gateway.records()})
    found = [record for record in gateway.records() if record["request_id"] in asked]
    assert len(found) == len(asked) == len(GOOD)
    for record in found:
        recording = asked[record["request_id"]]
        assert (record["outcome"], record["status"]) == ("complete", 200)
        assert record["operation"] == OPERATIONS[path_of(recording)]
        if path_of(recording) == "converse":
            usage = json.loads(recording.body)["usage"]
            assert (record["input_tokens"], record["output_tokens"]) == (
                usage["inputTokens"],
                usage["outputTokens"],
            )
