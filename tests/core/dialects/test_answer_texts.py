"""The texts of streams: what a strand is in each dialect, where it ends, and where the rest of it goes."""

import copy
from typing import Any, Final

import pytest

from stargate_core.dialects import answer_texts
from stargate_core.dialects.answer_texts import Strand, StreamTexts, drop_logprobs
from stargate_core.dialects.bedrock_native_answer import NativePart
from stargate_core.dialects.face import Part, PartKind
from stargate_core.dialects.texts import Form, Place
from stargate_core.faults import Cause, Refused


class Holding:
    """A listener that holds back the last character of each text, and shouts what is whole."""

    def __init__(self) -> None:
        self.held: dict[Strand, str] = {}
        self.forms: dict[Strand, Form] = {}
        self.wholes: list[str] = []
        self.media: list[str] = []

    def more(self, strand: Strand, text: str, form: Form) -> str:
        """All but the last character."""
        self.forms[strand] = form
        text = self.held.pop(strand, "") + text
        self.held[strand] = text[-1:]
        return text[:-1]

    def rest(self, strand: Strand) -> str:
        """That one."""
        return self.held.pop(strand, "")

    def whole(self, place: Place) -> None:
        """Shout it."""
        self.wholes.append(place.text)

    def unreadable(self, name: str) -> None:
        """Note it."""
        self.media.append(name)


class Stream:
    """A stream of one dialect's, read part by part."""

    def __init__(self, dialect: str) -> None:
        self.listener = Holding()
        self.texts = StreamTexts(dialect, self.listener)

    def tell(self, payload: Any, name: str = "") -> list[Any]:
        """What the caller is given for a part: the payloads before it, and its own."""
        part = (
            NativePart(PartKind.EVENT, name, payload)
            if name == "chunk"
            else Part(PartKind.EVENT, name, payload)
        )
        before = self.texts.read(part)
        assert all(type(one) is type(part) for one in before)
        return [*[one.payload for one in before], part.payload]


def a_chunk(delta: Any, finish: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk of a chat."""
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **members}


class TestChat:
    def test_the_rest_goes_before_the_chunk_that_finishes(self) -> None:
        stream = Stream("openai-chat")
        assert stream.tell(a_chunk({"role": "assistant", "content": ""}, usage=None))
        assert stream.tell(a_chunk({"content": "abc"}))[0]["choices"][0]["delta"] == {"content": "ab"}
        told = stream.tell(a_chunk({}, "stop", usage={"total_tokens": 5}))
        assert [one["choices"][0]["delta"] for one in told] == [{"content": "c"}, {}]
        assert [one["choices"][0]["finish_reason"] for one in told] == [None, "stop"]
        assert told[0]["usage"] is None
        assert told[0]["id"] == "c"

    def test_or_into_it_where_it_says_something_itself(self) -> None:
        stream = Stream("openai-chat")
        (told,) = stream.tell(a_chunk({"content": "abc"}, "stop"))
        assert told["choices"][0]["delta"] == {"content": "abc"}

    def test_tools_have_a_strand_each(self) -> None:
        stream = Stream("openai-chat")
        calls = [
            {"index": 1, "id": "i", "type": "function", "function": {"name": "f", "arguments": '{"a"'}},
            {"index": 2, "custom": {"name": "g", "input": "xy"}},
            "odd",
        ]
        stream.tell(a_chunk({"tool_calls": calls, "function_call": {"name": "h", "arguments": "{}"}}))
        assert set(stream.listener.forms.values()) == {Form.JSON, Form.TEXT}
        assert stream.listener.wholes == ["f", "g", "odd", "h"]
        told = [one["choices"][0]["delta"] for one in stream.tell(a_chunk({}, "tool_calls"))]
        assert told == [
            {"tool_calls": [{"index": 1, "function": {"arguments": '"'}}]},
            {"tool_calls": [{"index": 2, "custom": {"input": "y"}}]},
            {"function_call": {"arguments": "}"}},
            {},
        ]

    def test_other_pieces_are_strands_and_whole_things_are_whole(self) -> None:
        stream = Stream("openai-chat")
        delta = {
            "reasoning_details": [{"index": 3, "text": "ab", "type": "reasoning.text"}],
            "audio": {"transcript": "cd", "id": "x"},
            "thinking_blocks": [{"type": "thinking", "thinking": "whole", "signature": "s"}],
            "annotations": None,
            "function_call": {},
        }
        stream.tell(a_chunk(delta))
        assert stream.listener.wholes == ["whole"]
        told = [one["choices"][0]["delta"] for one in stream.tell(a_chunk({}, "stop"))]
        assert told == [
            {"reasoning_details": [{"index": 3, "text": "b"}]},
            {"audio": {"transcript": "d"}},
            {},
        ]

    def test_choices_end_each_by_itself(self) -> None:
        stream = Stream("openai-chat")
        both = [{"index": at, "delta": {"content": f"a{at}"}} for at in (0, 1)]
        stream.tell({"choices": both})
        stop = {"index": 1, "delta": None, "finish_reason": "stop"}
        told = stream.tell({"choices": [stop, "odd"]})
        assert told[0]["choices"][0]["delta"] == {"content": "1"}
        assert len(told) == 2
        assert len(stream.tell({"choices": None})) == 1


def delta(kind: str, text: str, number: int, **place: Any) -> dict[str, Any]:
    """A delta of a response."""
    where = {"item_id": "i", "output_index": 0, "content_index": 0, **place}
    return {"type": f"response.{kind}.delta", **where, "delta": text, "sequence_number": number}


class TestResponses:
    @pytest.mark.parametrize(
        "end",
        [
            {
                "type": "response.output_text.done",
                "item_id": "i",
                "output_index": 0,
                "content_index": 0,
                "text": "abc",
            },
            {"type": "response.output_item.done", "output_index": 0, "item": {"text": "abc"}},
            {"type": "response.completed", "response": {"text": "abc"}},
        ],
        ids=lambda end: end["type"],
    )
    def test_the_rest_goes_before_the_end_and_all_is_numbered_on(self, end: dict[str, Any]) -> None:
        stream = Stream("openai-responses")
        (first,) = stream.tell({**delta("output_text", "abc", 4), "obfuscation": "zz"})
        assert (first["delta"], first["sequence_number"]) == ("ab", 4)
        rest, last = stream.tell({**end, "sequence_number": 5})
        assert rest == delta("output_text", "c", 5)
        assert last["sequence_number"] == 6
        assert stream.listener.wholes == ["abc"]
        assert stream.tell({"type": "response.x", "sequence_number": 6})[0]["sequence_number"] == 7

    def test_arguments_are_json(self) -> None:
        stream = Stream("openai-responses")
        stream.tell(delta("function_call_arguments", "{}", 0))
        assert set(stream.listener.forms.values()) == {Form.JSON}

    def test_places_are_told_apart(self) -> None:
        stream = Stream("openai-responses")
        stream.tell(delta("output_text", "ab", 0))
        stream.tell(delta("output_text", "cd", 1, content_index=1))
        stream.tell(delta("refusal", "ef", 2))
        assert len(stream.listener.forms) == 3

    def test_sound_is_no_text(self) -> None:
        stream = Stream("openai-responses")
        (told,) = stream.tell(delta("output_audio", "abc", 0))
        assert told["delta"] == "abc"
        assert stream.listener.media == ["delta"]

    def test_what_is_no_event_of_theirs(self) -> None:
        stream = Stream("openai-responses")
        assert stream.tell({"type": 5, "x": "word"}) == [{"type": 5, "x": "word"}]
        assert stream.tell({"type": "response.x.delta", "delta": 5}) == [
            {"type": "response.x.delta", "delta": 5}
        ]
        assert stream.listener.wholes == ["word"]


def fragment(kind: str, name: str, text: Any, at: int = 0) -> dict[str, Any]:
    """A delta of a block of Claude's."""
    return {"type": "content_block_delta", "index": at, "delta": {"type": kind, name: text}}


class TestClaude:
    @pytest.mark.parametrize("dialect", ["anthropic-messages", "bedrock-native"])
    @pytest.mark.parametrize(
        ("kind", "name", "form"),
        [
            ("text_delta", "text", Form.TEXT),
            ("thinking_delta", "thinking", Form.TEXT),
            ("input_json_delta", "partial_json", Form.JSON),
            ("brand_new_delta", "words", Form.TEXT),
        ],
    )
    @pytest.mark.parametrize("end", ["content_block_stop", "message_delta", "message_stop"])
    def test_the_rest_goes_before_the_end(
        self, dialect: str, kind: str, name: str, form: Form, end: str
    ) -> None:
        stream, wrapped = Stream(dialect), "chunk" if dialect == "bedrock-native" else "content_block_delta"
        assert stream.tell(fragment(kind, name, "abc"), wrapped) == [fragment(kind, name, "ab")]
        assert set(stream.listener.forms.values()) == {form}
        told = stream.tell({"type": end, "index": 0}, wrapped)
        assert told == [fragment(kind, name, "c"), {"type": end, "index": 0}]

    def test_a_block_may_begin_with_words(self) -> None:
        stream = Stream("anthropic-messages")
        block = {"type": "text", "text": "ab", "citations": [{"cited_text": "whole"}]}
        stream.tell({"type": "content_block_start", "index": 0, "content_block": block})
        assert block["text"] == "a"
        assert stream.listener.wholes == ["whole"]
        assert stream.tell({"type": "content_block_stop", "index": 0})[0] == fragment(
            "text_delta", "text", "b"
        )

    @pytest.mark.parametrize(
        ("payload", "wholes"),
        [
            ({"type": "message_start", "message": {"content": [{"type": "text", "text": "w"}]}}, ["w"]),
            ({"type": "content_block_start", "index": 0, "content_block": None}, []),
            (
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "tool_use", "name": "f"},
                },
                ["f"],
            ),
            (fragment("signature_delta", "signature", "s"), []),
            (fragment("citations_delta", "citation", {"cited_text": "w"}), ["w"]),
            (fragment("odd", "x", ["w"]), ["w"]),
            ({"type": "content_block_delta", "index": 0, "delta": {"text": "w"}}, ["w"]),
        ],
    )
    def test_what_is_whole(self, payload: Any, wholes: list[str]) -> None:
        stream = Stream("anthropic-messages")
        assert stream.tell(payload) == [payload]
        assert stream.listener.wholes == wholes
        assert stream.listener.forms == {}


def piece(said: Any, at: int = 0) -> dict[str, Any]:
    """A delta of Converse's."""
    return {"contentBlockIndex": at, "delta": said}


class TestConverse:
    @pytest.mark.parametrize(
        ("said", "left", "rest", "form"),
        [
            ({"text": "abc"}, {"text": "ab"}, {"text": "c"}, Form.TEXT),
            (
                {"toolUse": {"input": "{}"}},
                {"toolUse": {"input": "{"}},
                {"toolUse": {"input": "}"}},
                Form.JSON,
            ),
            (
                {"reasoningContent": {"text": "abc"}},
                {"reasoningContent": {"text": "ab"}},
                {"reasoningContent": {"text": "c"}},
                Form.TEXT,
            ),
        ],
    )
    @pytest.mark.parametrize("end", ["contentBlockStop", "messageStop", "metadata"])
    def test_the_rest_goes_before_the_end(
        self, said: Any, left: Any, rest: Any, form: Form, end: str
    ) -> None:
        stream = Stream("bedrock-native")
        assert stream.tell(piece(copy.deepcopy(said)), "contentBlockDelta") == [piece(left)]
        assert set(stream.listener.forms.values()) == {form}
        assert stream.tell({"contentBlockIndex": 0}, end) == [piece(rest), {"contentBlockIndex": 0}]

    @pytest.mark.parametrize(
        ("name", "payload", "wholes"),
        [
            ("messageStart", {"role": "assistant"}, []),
            ("contentBlockStart", {"start": {"toolUse": {"name": "f", "toolUseId": "t"}}}, ["f"]),
            ("contentBlockDelta", piece({"reasoningContent": {"signature": "s"}}), []),
            ("contentBlockDelta", piece({"citation": {"title": "w"}}), ["w"]),
            ("contentBlockDelta", piece({"toolResult": [{"text": "w"}]}), ["w"]),
            ("contentBlockDelta", piece(None), []),
            ("contentBlockDelta", piece({"cachePoint": {"type": "x", "n": 5}}), []),
        ],
    )
    def test_what_is_whole(self, name: str, payload: Any, wholes: list[str]) -> None:
        stream = Stream("bedrock-native")
        assert stream.tell(payload, name) == [payload]
        assert stream.listener.wholes == wholes

    def test_a_picture_is_told(self) -> None:
        stream = Stream("bedrock-native")
        stream.tell(piece({"image": {"source": {"bytes": "AAAA"}}}), "contentBlockDelta")
        assert stream.listener.media == ["bytes"]


class TestStrands:
    @pytest.mark.parametrize(
        ("dialect", "name", "one", "end"),
        [
            ("openai-chat", "", lambda text: a_chunk({"content": text}), a_chunk({}, "stop")),
            (
                "openai-responses",
                "",
                lambda text: delta("output_text", text, 0),
                {"type": "response.output_text.done", "item_id": "i", "output_index": 0, "content_index": 0},
            ),
            (
                "anthropic-messages",
                "",
                lambda text: fragment("text_delta", "text", text),
                {"type": "content_block_stop", "index": 0},
            ),
            (
                "bedrock-native",
                "contentBlockDelta",
                lambda text: piece({"text": text}),
                {"contentBlockIndex": 0},
            ),
        ],
    )
    def test_it_goes_on_and_ends_without_a_word_where_nothing_is_held(
        self, dialect: str, name: str, one: Any, end: Any
    ) -> None:
        stream = Stream(dialect)
        for text in ("ab", "cd", ""):
            stream.tell(one(text), name)
        stream.listener.held.clear()
        assert len(stream.tell(end, "contentBlockStop")) == 1
        assert stream.tell(one("e"), name)


class TestBounds:
    def test_so_many_strands_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answer_texts, "STRANDS_MAX", 3)
        stream = Stream("bedrock-native")
        for at in range(3):
            stream.tell(piece({"text": "ab"}, at), "contentBlockDelta")
        with pytest.raises(Refused) as refused:
            stream.tell(piece({"text": "ab"}, 3), "contentBlockDelta")
        assert refused.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_what_is_no_object_has_no_texts(self) -> None:
        assert Stream("openai-chat").tell(None) == [None]


PROBABLE: Final = [{"token": "a"}]


class TestProbabilities:
    def test_they_are_taken_out(self) -> None:
        payload: Any = {
            "choices": [{"logprobs": {"content": PROBABLE}}],
            "logprobs": PROBABLE,
            "x": [1, {"logprobs": None}],
        }
        drop_logprobs(payload)
        assert payload == {"choices": [{"logprobs": None}], "logprobs": [], "x": [1, {"logprobs": None}]}
