"""From a request to an answer, held against recorded traffic: what the real service took is taken here.

And the answer has the recorded answer's form: the same members (values differ, a simulated model has its own
opinions), the same headers.
"""

import base64
import functools
import json
import random
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from stargate.simulator import thoughts
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.frames import FrameKind
from support.simulator import CLAUDE, Reply, Wire, converse_request, signed
from support.vectors import Recording, recordings

WITH_BODY: Final = [item for item in recordings() if not item.request_body.startswith("<")]
"""Five request bodies were left out of the recordings for their size."""
ANSWERED: Final = [item for item in WITH_BODY if item.status == 200]
FRAMING: Final = {"content-length", "transfer-encoding", "date"}

NOT_ALWAYS: Final = {"stop_details", "system_fingerprint", "service_tier"}
"""Members that only some models have, newer than or outside the formats simulated here."""


def replayed(item: Recording) -> Reply:
    """What the simulator answers to a recorded request."""
    url = urlsplit(item.uri)
    assert url.hostname is not None
    region = url.hostname.split(".")[1]
    redacted = {name: value for name, value in item.request_headers.items() if "REDACTED" not in value}
    body = resigned(json.loads(item.request_body)) if "reasoningContent" in item.request_body else None
    raw = item.request_body.encode() if body is None else json.dumps(body).encode()
    return Wire(region=region).ask(signed(url.path, raw, headers=redacted, region=region))


def resigned(value: Any) -> Any:
    """A recorded body with its thoughts signed by the simulator, which takes no others."""
    match value:
        case {"reasoningText": {"text": text, "signature": _}}:
            return {"reasoningText": {"text": text, "signature": thoughts.signed(text, random.Random(1))}}
        case {"redactedContent": _}:
            sealed = thoughts.signed("", random.Random(1))
            return {"redactedContent": base64.b64encode(sealed.encode()).decode()}
        case dict():
            return {name: resigned(inner) for name, inner in value.items()}
        case list():
            return [resigned(inner) for inner in value]
        case _:
            return value


@pytest.mark.parametrize("item", ANSWERED, ids=lambda item: str(item.file))
class TestRecordedRequests:
    def test_is_answered(self, item: Recording) -> None:
        reply = replayed(item)
        assert (reply.status, reply.whole) == (200, True), reply.body
        recorded = {name.lower(): value for name, value in item.response_headers.items()}
        assert recorded.keys() - FRAMING <= reply.headers.keys()
        if "REDACTED" not in recorded["content-type"]:
            assert reply.headers["content-type"] == recorded["content-type"]

    def test_in_the_recorded_form(self, item: Recording) -> None:
        ours = shapes(item, replayed(item).body)
        if item.is_stream and guarded(item):
            # A guardrail writes a model's chunks anew, with other members in each: compare them as a whole.
            ours = {path for path in ours if path.startswith(".")}
        assert ours <= recorded_shapes(form_of(item))


def guarded(item: Recording) -> bool:
    """Whether a guardrail has looked on."""
    return "x-amzn-bedrock-guardrailidentifier" in item.request_headers


def form_of(item: Recording) -> str:
    """The operation, and in InvokeModel the provider: what has one form."""
    model, _, operation = item.uri.rpartition("/")
    name = model.rpartition("/")[2].removeprefix("us.").partition("-")[0]
    return f"{operation} {name}" if operation.startswith("invoke") else operation


@functools.cache
def recorded_shapes(form: str) -> set[str]:
    """All that any recorded answer of the form has."""
    found: set[str] = set()
    for item in recordings():
        if form_of(item) == form:
            found |= shapes(item, item.body)
    return found


def shapes(item: Recording, body: bytes) -> set[str]:
    """The paths of a document's members; of a stream's events, each with all its paths."""
    if not item.is_stream:
        return paths(json.loads(body))
    found: set[str] = set()
    for frame in EventStreamDecoder().feed(body):
        assert frame.kind is FrameKind.EVENT
        payload = json.loads(frame.payload)
        if "bytes" in payload:
            payload = json.loads(base64.b64decode(payload["bytes"]))
        payload.pop("p", None)
        if guarded(item):
            found |= paths(payload)
        found.add(f"{frame.name}: {' '.join(sorted(paths(payload)))}")
    return found


def paths(value: Any, at: str = "") -> set[str]:
    """The paths of a JSON value's leaves, the items of arrays as one, a tool's input as a leaf."""
    if isinstance(value, dict) and value and not at.endswith(".input"):
        return set().union(*(paths(inner, f"{at}.{name}") for name, inner in value.items()))
    if isinstance(value, list) and value:
        return set().union(*(paths(inner, f"{at}[]") for inner in value))
    return {at}


class TestOrder:
    """A wish for a fault is heard only once the request itself would have been answered."""

    def error_of(self, request: bytes) -> tuple[int, str]:
        reply = Wire().ask(request)
        return reply.status, reply.headers["x-amzn-errortype"].partition(":")[0]

    def test_a_wrong_body_is_refused_before_its_wish(self) -> None:
        wish = "[[simulator: throw-ThrottlingException]]"
        assert self.error_of(converse_request(wish)) == (429, "ThrottlingException")
        wrong = converse_request(wish, more={"inferenceConfig": {"maxTokens": 0}})
        assert self.error_of(wrong) == (400, "ValidationException")

    def test_a_wrong_signature_before_a_wrong_body(self) -> None:
        path = f"/model/{CLAUDE}/converse"
        assert self.error_of(signed(path, b"{", secret_access_key="x"))[1] == "InvalidSignatureException"
        assert self.error_of(signed(path, b"{"))[1] == "SerializationException"


class TestHostileBodies:
    """Members of types that nobody has promised: a refusal, never a crash."""

    VALUES: Final[tuple[Any, ...]] = (
        None,
        7,
        "x",
        [],
        [7],
        {},
        {"a": 7},
        [[]],
        [{"role": 7}],
        True,
        [None],
        {"role": "user"},
    )

    @pytest.mark.parametrize(
        "member", ["messages", "tools", "tool_choice", "system", "stop_sequences", "thinking"]
    )
    def test_claude(self, member: str) -> None:
        good = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "hi"}],
        }
        self.try_all(CLAUDE, good, member)

    @pytest.mark.parametrize("member", ["messages", "tools", "tool_choice", "stop", "max_tokens", "prompt"])
    def test_chat_completions(self, member: str) -> None:
        self.try_all("openai.gpt-oss-20b-1:0", {"messages": [{"role": "user", "content": "hi"}]}, member)

    @pytest.mark.parametrize("member", ["messages", "inferenceConfig", "toolConfig", "system"])
    def test_nova(self, member: str) -> None:
        good = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
        self.try_all("amazon.nova-lite-v1:0", good, member)

    @pytest.mark.parametrize(
        ("model_id", "good", "member"),
        [
            ("amazon.titan-text-express-v1", {"inputText": "hi"}, "textGenerationConfig"),
            ("cohere.command-r-v1:0", {"message": "hi"}, "chat_history"),
            ("cohere.embed-english-v3", {"texts": ["hi"], "input_type": "clustering"}, "texts"),
            ("amazon.titan-embed-text-v2:0", {"inputText": "hi"}, "dimensions"),
            ("amazon.titan-embed-image-v1", {"inputText": "hi"}, "embeddingConfig"),
            (
                "amazon.nova-2-multimodal-embeddings-v1:0",
                {"taskType": "SINGLE_EMBEDDING"},
                "singleEmbeddingParams",
            ),
        ],
    )
    def test_others(self, model_id: str, good: dict[str, Any], member: str) -> None:
        self.try_all(model_id, good, member)

    def test_schemas_of_tools(self) -> None:
        for value in self.VALUES:
            schema = {"type": "object", "properties": value, "required": value, "$ref": value, "allOf": value}
            config = {
                "tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": schema}}}],
                "toolChoice": {"any": {}},
            }
            reply = Wire().ask(converse_request("look", more={"toolConfig": config}))
            assert reply.status in (200, 400)

    def try_all(self, model_id: str, good: dict[str, Any], member: str) -> None:
        path = f"/model/{model_id.replace(':', '%3A')}/invoke"
        for value in self.VALUES:
            body = json.dumps({**good, member: value}).encode()
            reply = Wire().ask(signed(path, body))
            assert reply.status in (200, 400), (value, reply.body)
