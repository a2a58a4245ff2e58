"""Redaction: nothing planted passes, in any dialect, however a stream is cut; all else passes as it was."""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from stargate_core.config.guards import CustomPattern, PiiRedactor
from stargate_core.dialects.answer_texts import drop_logprobs
from stargate_core.dialects.face import Part, PartKind, Request
from stargate_core.dialects.texts import opened, texts_of
from stargate_core.patterns.named import named
from stargate_core.phases import Context, Phase
from stargate_core.plugins.pii_redactor import PiiRedactorPlugin, Redaction
from support.bedrock import chunk, converse_answer, event, http, json_http, stream_head
from support.guards import WAYS, Said, Way, converse_frames, events_of, redactor
from support.machines import MODEL, Bench, a_config, a_plan, chat, request

PLANTED: Final = {
    "email": ["ann@example.com", "j.o'neil+tag@mail.example.co.uk"],
    "phone": ["+49 30 1234567", "(415) 555-0100"],
    "credit_card": ["4111 1111 1111 1111", "378282246310005"],
    "iban": ["DE89370400440532013000"],
    "us_ssn": ["123-45-6789"],
    "ip_address": ["192.168.255.254", "2001:db8::8329"],
    "aws_access_key": ["AKIAIOSFODNN7EXAMPLE"],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3" + "aB1-" * 100],
    "api_key": ["sk-proj-abcdefghijklmnop1234"],
    "staff": ["E-123456"],
}
ALL: Final = [one for each in PLANTED.values() for one in each]
CUSTOM: Final = [CustomPattern(name="staff", pattern=r"\bE-[0-9]{6}\b")]
SAFE: Final = st.text(alphabet="abcXYZ ,;:!?äß漢🎉\n\"\\{}[]'", max_size=12)
TEXTS: Final = st.lists(
    st.tuples(SAFE, st.sampled_from(ALL), SAFE).map(lambda each: " ".join(each)), max_size=3
).map(" ".join)
SAID: Final = st.builds(
    lambda text, thought, values: Said(
        text or "x", thought or "x", json.dumps(values, ensure_ascii=bool(text))
    ),
    TEXTS,
    TEXTS,
    st.dictionaries(
        SAFE, TEXTS | st.sampled_from([4111111111111111, 12, None, [378282246310005]]), max_size=2
    ),
)


def cutter(sizes: Sequence[int]) -> Any:
    """Cuts any text into pieces of these sizes, over and over."""

    def cut(text: str) -> list[str]:
        pieces, at, turn = [], 0, 0
        while at < len(text):
            pieces.append(text[at : at + sizes[turn % len(sizes)]])
            at += sizes[turn % len(sizes)]
            turn += 1
        return pieces

    return cut


WHOLE: Final = cutter([100_000])


def planted_in(text: str) -> list[str]:
    """What is left of what was planted."""
    return [one for one in ALL if one[:30] in text]


def answered(entry: Any, sent: bytes, *said: bytes) -> Bench:
    """A bench on which a caller has been answered."""
    bench = Bench(a_plan(a_config(entry)))
    bench.ask(sent)
    if bench.asked:
        bench.open()
        bench.answer(*said)
    bench.settle()
    return bench


def asked_of(bench: Bench) -> Any:
    """What Bedrock was asked."""
    return msgspec.json.decode(bench.call.body)


class TestNothingPasses:
    """The promise."""

    @pytest.mark.parametrize("way", WAYS, ids=repr)
    @settings(max_examples=8)
    @given(
        said=SAID,
        sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
        network=st.lists(st.integers(0, 6000), max_size=4),
    )
    def test_of_a_stream_however_it_is_cut(
        self, way: Way, said: Said, sizes: list[int], network: list[int]
    ) -> None:
        config = redactor(on=["response"], custom=CUSTOM, unreadable="allow")
        one = way.read(way.answered(way.asked("hi", config), said, cutter(sizes), network))
        other = way.read(way.answered(way.asked("hi", config), said, WHOLE))
        assert one == other
        assert not planted_in(one.text + one.thought + one.arguments)
        json.loads(one.arguments)
        assert ("[EMAIL_" in one.text) == ("@" in said.text)

    @pytest.mark.parametrize("way", WAYS, ids=repr)
    @settings(max_examples=8)
    @given(text=TEXTS.filter(lambda text: text.strip() != ""))
    def test_of_a_request(self, way: Way, text: str) -> None:
        bench = way.asked(text, redactor(custom=CUSTOM))
        body = bench.call.body.decode()
        assert not planted_in(json.dumps(msgspec.json.decode(body), ensure_ascii=False))
        assert ("[JWT_1]" in body) == ("eyJ" in text)

    @pytest.mark.parametrize("way", WAYS, ids=repr)
    @settings(max_examples=5)
    @given(text=SAFE, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3))
    def test_what_has_no_match_passes_as_it_was(self, way: Way, text: str, sizes: list[int]) -> None:
        said = Said(text or "x", text or "x", json.dumps({text: [text, 1.50, None]}))
        assert way.read(way.answered(way.asked("hi", redactor()), said, cutter(sizes))) == said


class TestRequests:
    def test_one_value_has_one_placeholder(self) -> None:
        text = "ann@example.com, bob@example.com, ann@example.com, 10.0.0.1"
        bench = answered(redactor(), chat(messages=[{"role": "user", "content": text}]), converse_answer())
        (said,) = asked_of(bench)["messages"][0]["content"]
        assert said == {"text": "[EMAIL_1], [EMAIL_2], [EMAIL_1], [IP_ADDRESS_1]"}
        assert bench.record["redactions"] == 4
        assert bench.record["request_bytes"] > 0

    def test_a_mask_tells_nobody_apart(self) -> None:
        sent = chat(messages=[{"role": "user", "content": "ann@example.com, bob@example.com"}])
        bench = answered(redactor(replacement="mask"), sent, converse_answer())
        assert asked_of(bench)["messages"][0]["content"] == [{"text": "[EMAIL], [EMAIL]"}]

    def test_or_it_is_refused_by_the_name_of_what_was_found(self) -> None:
        sent = chat(messages=[{"role": "user", "content": "ann@example.com"}])
        bench = answered(redactor(replacement="reject"), sent)
        error = bench.only.json["error"]
        assert (bench.only.status, error["code"]) == (400, "content_filter")
        assert "email" in error["message"]
        assert "ann" not in bench.only.body.decode()
        assert bench.record["cause"] == "PROMPT_REFUSED"

    def test_what_is_not_looked_for_stays(self) -> None:
        sent = chat(messages=[{"role": "user", "content": "ann@example.com 10.0.0.1"}])
        bench = answered(redactor(patterns=["ip_address"]), sent, converse_answer())
        assert asked_of(bench)["messages"][0]["content"] == [{"text": "ann@example.com [IP_ADDRESS_1]"}]
        bench = answered(redactor(on=["response"]), sent, converse_answer())
        assert asked_of(bench)["messages"][0]["content"] == [{"text": "ann@example.com 10.0.0.1"}]
        assert "redactions" not in bench.record

    def test_tools_are_looked_into_and_stay_what_they_are(self) -> None:
        call = {"name": "send", "arguments": '{"to":"ann@example.com","n":4111111111111111}'}
        messages = [
            {"role": "user", "content": "go"},
            {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sent to ann@example.com"},
        ]
        tools = [{"type": "function", "function": {"name": "send", "parameters": {"type": "object"}}}]
        sent = chat(messages=messages, tools=tools)
        told = asked_of(answered(redactor(), sent, converse_answer()))["messages"]
        assert told[1]["content"][0]["toolUse"]["input"] == {"to": "[EMAIL_1]", "n": "[CREDIT_CARD_1]"}
        assert told[2]["content"][0]["toolResult"]["content"] == [{"text": "sent to [EMAIL_1]"}]

    def test_a_signed_thought_is_not_changed(self) -> None:
        thought = {"type": "thinking", "thinking": "ann@example.com", "signature": "c2ln"}
        body = {
            "model": MODEL,
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [thought, {"type": "text", "text": "bob@example.com"}]},
                {"role": "user", "content": "b"},
            ],
        }
        bench = Bench(a_plan(a_config(redactor())))
        bench.ask(request("/v1/messages", msgspec.json.encode(body)))
        bench.open()
        told = bench.call.body.decode()
        assert "ann@example.com" in told
        assert "bob@example.com" not in told

    def test_a_body_that_names_a_member_twice_is_written_anew(self) -> None:
        body = b'{"messages":[{"role":"user","content":[{"text":"ann@example.com","text":"hi"}]}]}'
        sent = request(f"/model/{MODEL.replace(':', '%3A')}/converse", body)
        assert asked_of(answered(redactor(), sent, converse_answer()))["messages"][0]["content"] == [
            {"text": "hi"}
        ]

    def test_one_that_says_nothing_of_it_keeps_its_bytes(self) -> None:
        body = b'{ "messages": [ {"role":"user","content":[{"text":"h\\u0069"}]} ] }'
        sent = request(f"/model/{MODEL.replace(':', '%3A')}/converse", body)
        assert answered(redactor(), sent, converse_answer()).call.body == body

    def test_a_reading_has_nothing_to_read(self) -> None:
        bench = Bench(a_plan(a_config(redactor())))
        bench.ask(request("/v1/models", method="GET"))
        assert bench.only.status == 200


class TestUnreadable:
    IMAGE: Final = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]

    def test_a_picture_is_refused_unless_the_file_says_otherwise(self) -> None:
        sent = chat(messages=[{"role": "user", "content": self.IMAGE}])
        bench = answered(redactor(), sent)
        assert (bench.only.status, bench.record["cause"]) == (400, "PROMPT_REFUSED")
        assert "unreadable: allow" in bench.only.json["error"]["message"]
        assert answered(redactor(unreadable="allow"), sent, converse_answer()).only.status == 200

    @pytest.mark.parametrize(
        ("path", "body", "on", "refused"),
        [
            ("model/m/invoke", b"\x00\x01", ["request"], True),
            ("model/m/invoke", b'{"prompt": "hi"}', ["request"], False),
            ("model/m/invoke", b'{"prompt": "hi"}', ["response"], False),
            ("model/m/invoke-with-response-stream", b'{"prompt": "hi"}', ["request"], False),
            ("model/m/invoke-with-response-stream", b'{"prompt": "hi"}', ["response"], True),
            ("model/m/invoke-with-response-stream", b"\x00", ["response"], True),
            ("model/m/invoke-with-response-stream", b'{"anthropic_version": "x"}', ["response"], False),
            ("async-invoke", b'{"modelId": "m", "modelInput": {"text": "hi"}}', ["request"], False),
            ("async-invoke", b'{"modelId": "m", "modelInput": {"text": "hi"}}', ["response"], True),
        ],
    )
    def test_bodies_of_unknown_vendors(self, path: str, body: bytes, on: Any, refused: bool) -> None:
        bench = Bench(a_plan(a_config(redactor(on=on))))
        bench.ask(request(f"/{path}", body))
        assert bool(bench.asked) == (not refused)
        allowing = Bench(a_plan(a_config(redactor(on=on, unreadable="allow"))))
        allowing.ask(request(f"/{path}", body))
        assert allowing.asked

    def test_a_prompt_of_another_vendor_is_redacted(self) -> None:
        bench = Bench(a_plan(a_config(redactor(on=["request"]))))
        bench.ask(request("/model/meta.llama/invoke", b'{"prompt": "to ann@example.com", "max_gen_len": 9}'))
        bench.open()
        assert asked_of(bench)["prompt"] == "to [EMAIL_1]"

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize(
        "answer",
        [http(b"not json"), json_http({"images": ["iVBO" * 200]})],
        ids=["no json", "a picture"],
    )
    def test_an_answer_that_cannot_be_read(self, answer: bytes, strict: bool) -> None:
        entry = redactor(unreadable="reject" if strict else "allow")
        bench = answered(entry, request("/model/m/invoke", b'{"prompt": "hi"}'), answer)
        assert bench.only.status == (400 if strict else 200)
        assert bench.record.get("cause", "") == ("ANSWER_REFUSED" if strict else "")

    def test_a_chunk_that_is_not_claudes(self) -> None:
        sent = request("/model/m/invoke-with-response-stream", b'{"anthropic_version": "x"}')
        for inner_ in (b'{"outputText": "hi"}', b"[1]", b"no json"):
            told = event("chunk", {"bytes": msgspec.to_builtins(inner_)})
            bench = answered(redactor(), sent, stream_head() + chunk(told))
            assert bench.record["cause"] == "ANSWER_REFUSED"


class TestAnswers:
    def test_a_plain_one(self) -> None:
        bench = answered(redactor(), chat(), converse_answer("to ann@example.com"))
        assert bench.only.json["choices"][0]["message"]["content"] == "to [EMAIL_1]"
        assert bench.record["redactions"] == 1

    @pytest.mark.parametrize("stream", [True, False])
    def test_one_that_may_not_be_told(self, stream: bool) -> None:
        entry = redactor(replacement="reject")
        if stream:
            said = [
                stream_head() + chunk(b"".join(converse_frames(Said("ann@example.com ok", "x", "{}"), WHOLE)))
            ]
        else:
            said = [converse_answer("ann@example.com ok")]
        bench = answered(entry, chat(stream=stream), *said)
        assert bench.record["cause"] == "ANSWER_REFUSED"
        assert b"ann@" not in bench.only.body
        assert b"[DONE]" not in bench.only.body

    def test_a_stream_that_breaks_off_takes_what_was_held_with_it(self) -> None:
        bench = WAYS[0].asked("hi", redactor())
        frames = converse_frames(Said("it is ann@example.com", "x", "{}"), cutter([1]))
        bench.answer(stream_head(), chunk(b"".join(frames[:20])))
        bench.upstream_breaks()
        bench.settle()
        assert b"ann" not in bench.only.body
        assert b"[DONE]" not in bench.only.body

    def test_words_are_not_held_longer_than_must_be(self) -> None:
        bench = WAYS[0].asked("hi", redactor())
        frames = converse_frames(Said("Hello. 漢字。", "x", "{}"), cutter([7]))
        bench.answer(stream_head())
        told = ""
        for frame in frames[:4]:
            bench.answer(chunk(frame))
        deltas = [one["choices"][0]["delta"] for one in events_of(bench.only)]
        told = "".join(delta.get("content") or "" for delta in deltas)
        assert told == "Hello. "
        for frame in frames[4:]:
            bench.answer(chunk(frame))

    def test_log_probabilities_are_not_passed_on(self) -> None:
        payload: dict[str, Any] = {
            "choices": [{"logprobs": {"content": [{"token": "ann"}]}}],
            "x": [{"logprobs": [1]}],
        }

        drop_logprobs(payload)
        assert payload == {"choices": [{"logprobs": None}], "x": [{"logprobs": []}]}


class TestAlone:
    def test_an_exchange_that_was_refused_before_has_nothing_to_read(self) -> None:
        plugin = PiiRedactorPlugin(PiiRedactor())
        ctx = Context(Request(b"POST", b"/", b"/", b"", [], b"", "0" * 32, 0), 0, 0, [])
        ctx.phase, part = Phase.BODY_FILTER, Part(PartKind.ANSWER, "", {"x": "ann@example.com"})
        ctx.know_part(part)
        assert plugin.body_filter is not None
        plugin.body_filter(ctx)
        assert part.payload == {"x": "ann@example.com"}

    def test_a_signed_thought_of_an_answer_is_changed(self) -> None:
        thought = {"reasoningText": {"text": "ann@example.com", "signature": "s"}}
        message = {"role": "assistant", "content": [{"reasoningContent": thought}]}
        answer = json_http({"output": {"message": message}, "stopReason": "end_turn"})
        sent = request(f"/model/{MODEL.replace(':', '%3A')}/converse", b'{"messages":[]}')
        assert b"ann@" not in answered(redactor(), sent, answer).only.body

    def test_a_body_that_is_no_object_refers_to_nothing(self) -> None:
        redaction = Redaction("mask", None)
        redaction.begin([], ["ann@example.com"])
        assert redaction.of_request(named()["email"][0], "ann@example.com") == "[EMAIL]"


class TestRestoring:
    @pytest.mark.parametrize("way", WAYS, ids=repr)
    @settings(max_examples=5)
    @given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4))
    def test_placeholders_become_the_callers_values_again(self, way: Way, sizes: list[int]) -> None:
        bench = way.asked('I am ann@example.com, "q" 10.0.0.1', redactor(restore=True))
        assert b"ann@" not in bench.call.body
        said = Said(
            "Dear [EMAIL_1] at [IP_ADDRESS_1], not [EMAIL_2] or eve@example.com",
            "[EMAIL_1]",
            '{"to": "[EMAIL_1]", "x": ["[1]"]}',
        )
        assert way.read(way.answered(bench, said, cutter(sizes))) == Said(
            "Dear ann@example.com at 10.0.0.1, not [EMAIL_2] or [EMAIL_2]",
            "ann@example.com",
            '{"to": "ann@example.com", "x": ["[1]"]}',
        )

    def test_of_requests_only(self) -> None:
        entry = redactor(restore=True, on=["request"])
        sent = chat(messages=[{"role": "user", "content": "I am ann@example.com"}])
        bench = answered(entry, sent, converse_answer("Dear [EMAIL_1], not eve@example.com"))
        assert (
            bench.only.json["choices"][0]["message"]["content"] == "Dear ann@example.com, not eve@example.com"
        )

    def test_what_the_caller_has_written_like_one_is_kept_apart(self) -> None:
        sent = chat(messages=[{"role": "user", "content": "[EMAIL_1] ann@example.com"}])
        bench = answered(redactor(restore=True), sent, converse_answer("[EMAIL_1] [EMAIL_2]"))
        assert asked_of(bench)["messages"][0]["content"] == [{"text": "[EMAIL_1] [EMAIL_2]"}]
        assert bench.only.json["choices"][0]["message"]["content"] == "[EMAIL_1] ann@example.com"

    @pytest.mark.parametrize(
        "members",
        [
            {"previous_response_id": "resp_1"},
            {"conversation": {"id": "c"}},
            {
                "input": [
                    {"role": "user", "content": "ann@example.com"},
                    {"type": "item_reference", "id": "i"},
                ]
            },
        ],
        ids=["response", "conversation", "item"],
    )
    def test_a_request_that_goes_on_with_an_earlier_one_has_other_names(self, members: Any) -> None:

        value = {"input": "ann@example.com", **members}
        redaction = Redaction("placeholder", None)
        redaction.begin(texts_of(value).places, opened(msgspec.json.encode(value)).value)
        told = redaction.of_request(named()["email"][0], "ann@example.com")
        assert told.startswith("[EMAIL_")
        assert len(told) == len("[EMAIL_abcdef_1]")

    def test_two_callers_of_one_answer_have_each_their_own(self) -> None:
        """What is shared is Bedrock's own: it is restored for each by itself."""
        texts = []
        for name in ("ann", "bob"):
            sent = chat(messages=[{"role": "user", "content": f"I am {name}@example.com"}])
            bench = answered(redactor(restore=True), sent, converse_answer("Dear [EMAIL_1]"))
            texts.append((bench.call.body, bench.only.json["choices"][0]["message"]["content"]))
        assert texts[0][0] == texts[1][0]
        assert [told for _, told in texts] == ["Dear ann@example.com", "Dear bob@example.com"]


class TestSdks:
    """What the official SDKs make of a redacted stream."""

    SAID: Final = Said("Write to ann@example.com now", "hm ann@example.com", '{"to": "ann@example.com"}')

    def test_openais_chat(self) -> None:
        way = WAYS[0]
        answer = way.answered(way.asked("hi", redactor()), self.SAID, cutter([3]))
        state = ChatCompletionStreamState()
        for one in events_of(answer):
            state.handle_chunk(ChatCompletionChunk.model_validate(one))
        message = state.get_final_completion().choices[0].message
        assert message.content == "Write to [EMAIL_1] now"
        assert message.tool_calls is not None
        assert json.loads(message.tool_calls[0].function.arguments) == {"to": "[EMAIL_1]"}

    def test_anthropics(self) -> None:
        way = WAYS[2]
        answer = way.answered(way.asked("hi", redactor()), self.SAID, cutter([3]))
        adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
        snapshot: Any = None
        fragments: dict[int, bytes] = {}
        for one in events_of(answer):
            made = adapter.validate_python(one)
            snapshot = accumulate_event(event=made, current_snapshot=snapshot, json_bufs=fragments)
        assert [block.type for block in snapshot.content] == ["thinking", "text", "tool_use"]
        assert snapshot.content[1].text == "Write to [EMAIL_1] now"
        assert snapshot.content[2].input == {"to": "[EMAIL_1]"}
