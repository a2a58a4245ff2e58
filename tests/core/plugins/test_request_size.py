"""How much one request may ask for: bytes, messages, tokens in and out, in every dialect."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.config.request_size import RequestSize
from stargate_core.config.schema import PluginEntry
from support.machines import MODEL, Bench, a_config, a_plan, chat, converse, request

USER: Final = {"role": "user", "content": "hi"}
MESSAGES: Final = "/v1/messages"
INVOKE: Final = f"/model/{MODEL.replace(':', '%3A')}/invoke"


def asked(sent: bytes, **config: Any) -> Bench:
    """A gateway with these limits that was asked."""
    bench = Bench(a_plan(a_config(PluginEntry(name="request-size", config=RequestSize(**config)))))
    bench.ask(sent)
    return bench


def body(target: str, **members: Any) -> bytes:
    """A request with a body."""
    return request(target, msgspec.json.encode(members))


def messages(**members: Any) -> bytes:
    """A request to Anthropic's API."""
    return body(MESSAGES, **{"model": MODEL, "max_tokens": 10, "messages": [USER], **members})


class TestBytes:
    def test_as_many_as_allowed_and_one_more(self) -> None:
        sent = chat()
        size = len(sent.partition(b"\r\n\r\n")[2])
        assert asked(sent, max_body_bytes=size).asked
        bench = asked(sent, max_body_bytes=size - 1)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert bench.only.json["error"]["message"].endswith(f"has {size} bytes, and may have {size - 1} here")

    def test_in_the_callers_envelope(self) -> None:
        bench = asked(messages(), allowed_payload_size=1, size_unit="bytes")
        assert (bench.only.status, bench.only.json["error"]["type"]) == (413, "request_too_large")
        bench = asked(converse(), max_body_bytes=1)
        assert bench.only.header("x-amzn-errortype") == "ValidationException"

    def test_before_anything_is_read(self) -> None:
        assert asked(request("/v1/chat/completions", b"{" * 9), max_body_bytes=8).only.status == 413


class TestMessages:
    @pytest.mark.parametrize(
        ("sent", "param"),
        [
            (chat(messages=[USER] * 3), "messages"),
            (messages(messages=[USER, {"role": "assistant", "content": "a"}, USER]), "messages"),
            (body("/v1/responses", model=MODEL, input=[USER] * 3), "input"),
            (
                body(INVOKE, anthropic_version="bedrock-2023-05-31", max_tokens=5, messages=[USER] * 3),
                "messages",
            ),
        ],
        ids=["chat", "messages", "responses", "invoke"],
    )
    def test_more_than_allowed(self, sent: bytes, param: str) -> None:
        assert asked(sent, max_messages=3).asked
        bench = asked(sent, max_messages=2)
        assert bench.only.status == 400
        assert b"The request has 3 messages, and may have 2 here" in bench.only.body
        assert bench.only.json.get("error", {}).get("param", param) == param

    def test_a_text_is_no_conversation(self) -> None:
        assert asked(body("/v1/responses", model=MODEL, input="hi"), max_messages=1).asked
        sent = body("/v1/embeddings", model="amazon.titan-embed-text-v2:0", input=["a", "b"])
        assert asked(sent, max_messages=1).followed

    @pytest.mark.parametrize("sent", [b"{", b'{"messages": 5}', b"\xff", b'{"messages": []}'])
    def test_what_cannot_be_read_is_refused_for_that(self, sent: bytes) -> None:
        bench = asked(request("/v1/chat/completions", sent), max_messages=1)
        assert bench.only.status == 400
        assert b"may have" not in bench.only.body


class TestPrompt:
    def test_it_is_estimated(self) -> None:
        sent = chat(messages=[{"role": "user", "content": "word " * 400}])
        assert asked(sent, max_prompt_tokens=1000).asked
        error = asked(sent, max_prompt_tokens=400).only.json["error"]
        assert error["code"] == "context_length_exceeded"
        # By these words Claude Code knows that it is to shorten the conversation.
        assert error["message"].startswith("prompt is too long: about 5")

    def test_a_picture_is_not_counted_by_its_bytes(self) -> None:
        url = "data:image/png;base64," + "A" * 100_000
        sent = chat(
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
        )
        assert b"prompt" not in b"".join(
            answer.body for answer in asked(sent, max_prompt_tokens=3000).client.answers
        )


WANTS: Final = {
    "chat": (chat(max_completion_tokens=500), "max_completion_tokens"),
    "old chat": (chat(max_tokens=500), "max_tokens"),
    "messages": (messages(max_tokens=500), "max_tokens"),
    "responses": (body("/v1/responses", model=MODEL, input="hi", max_output_tokens=500), "max_output_tokens"),
    "converse": (
        body(
            INVOKE.replace("/invoke", "/converse"),
            messages=[{"role": "user", "content": [{"text": "hi"}]}],
            inferenceConfig={"maxTokens": 500},
        ),
        "inferenceConfig.maxTokens",
    ),
    "titan": (
        body(
            "/model/amazon.titan-text-lite-v1/invoke",
            inputText="hi",
            textGenerationConfig={"maxTokenCount": 500},
        ),
        "textGenerationConfig.maxTokenCount",
    ),
}


class TestOutput:
    @pytest.mark.parametrize("name", WANTS)
    def test_a_caller_that_wants_more_is_refused(self, name: str) -> None:
        sent, param = WANTS[name]
        assert asked(sent, max_output_tokens=500).asked
        bench = asked(sent, max_output_tokens=499)
        assert bench.only.status == 400
        assert b"may have 499 tokens here, and the request lets it have 500" in bench.only.body
        assert bench.only.json.get("error", {}).get("param", param) == param

    @pytest.mark.parametrize("name", WANTS)
    def test_or_its_number_is_lowered(self, name: str) -> None:
        sent, _ = WANTS[name]
        bench = asked(sent, max_output_tokens=20, on_output_excess="clamp")
        bench.open()
        call = bench.call.body
        assert b"500" not in call
        assert b"20" in call
        bench = asked(sent, max_output_tokens=600, on_output_excess="clamp")
        bench.open()
        assert b"500" in bench.call.body

    def test_who_wants_nothing_in_particular_passes(self) -> None:
        assert asked(chat(), max_output_tokens=1).asked

    def test_what_is_no_object_has_no_place_for_it(self) -> None:
        sent = body(INVOKE, anthropic_version="bedrock-2023-05-31", max_tokens=500, messages=[USER],
                    inferenceConfig=5)  # fmt: skip
        assert asked(sent, max_output_tokens=20).only.status == 400
