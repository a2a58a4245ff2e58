"""Where words stand in the requests of every API, whose they are, and what cannot be read."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.texts import (
    DEPTH_MAX,
    Form,
    Place,
    Speaker,
    Texts,
    opened,
    texts_in,
    texts_of,
)
from stargate_core.faults import Cause, Refused

PACKED: Final = "iVBORw0KGgo" * 60


def said(value: Any, others: Speaker = Speaker.NOBODY) -> list[tuple[str, int, str]]:
    """Whose words, in which message, and what."""
    return [(one.speaker.value, one.turn, one.text) for one in texts_of(value, others).places]


def only(value: Any) -> Place:
    """The only place there is."""
    (place,) = texts_of(value).places
    return place


class TestConversations:
    def test_openai_chat(self) -> None:
        body = {
            "model": "claude",
            "user": "someone",
            "messages": [
                {"role": "developer", "content": "rules"},
                {"role": "user", "name": "ann", "content": [{"type": "text", "text": "question"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": "no",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":"b"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "result"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "description": "does f"}}],
        }
        assert said(body) == [
            ("nobody", -1, "someone"),
            ("system", 0, "rules"),
            ("user", 1, "ann"),
            ("user", 1, "question"),
            ("assistant", 2, "no"),
            ("assistant", 2, "f"),
            ("assistant", 2, '{"a":"b"}'),
            ("tool", 3, "result"),
            ("nobody", -1, "f"),
            ("nobody", -1, "does f"),
        ]

    def test_openai_responses(self) -> None:
        body = {
            "instructions": "rules",
            "previous_response_id": "resp_1",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "question"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "result"},
                {"type": "reasoning", "summary": [{"text": "hm"}], "encrypted_content": "sealed"},
                {"type": "something_new", "text": "new"},
                {"id": "msg_1"},
            ],
        }
        assert said(body) == [
            ("system", -1, "rules"),
            ("user", 0, "question"),
            ("assistant", 1, "f"),
            ("assistant", 1, "{}"),
            ("tool", 2, "result"),
            ("assistant", 3, "hm"),
            ("user", 4, "new"),
        ]
        assert said({"input": "question"}) == [("user", -1, "question")]

    def test_embeddings(self) -> None:
        assert said({"model": "m", "input": ["a", "b"]}) == [("user", 0, "a"), ("user", 1, "b")]

    def test_anthropic(self) -> None:
        body = {
            "system": [{"type": "text", "text": "rules", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "question"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "redacted_thinking", "data": "sealed"},
                        {"type": "tool_use", "id": "t", "name": "f", "input": {"to": "ann"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"text": "result"}]},
                        {"type": "text", "text": "and now?"},
                    ],
                },
            ],
            "metadata": {"user_id": "someone"},
        }
        texts = texts_of(body)
        assert texts.unreadable == []
        assert said(body) == [
            ("system", -1, "rules"),
            ("user", 0, "question"),
            ("assistant", 1, "f"),
            ("assistant", 1, "ann"),
            ("assistant", 1, "to"),
            ("tool", 2, "result"),
            ("user", 2, "and now?"),
            ("nobody", -1, "someone"),
        ]

    def test_converse(self) -> None:
        body = {
            "system": [{"text": "rules"}, {"guardContent": {"text": {"text": "guarded"}}}],
            "messages": [
                {"role": "user", "content": [{"text": "question"}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]},
                {
                    "role": "user",
                    "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"sum": "ten"}}]}}],
                },
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "does f"}}]},
            "promptVariables": {"topic": {"text": "birds"}},
        }
        assert said(body) == [
            ("system", -1, "rules"),
            ("system", -1, "guarded"),
            ("user", 0, "question"),
            ("assistant", 1, "f"),
            ("tool", 2, "ten"),
            ("tool", 2, "sum"),
            ("nobody", -1, "f"),
            ("nobody", -1, "does f"),
            ("user", -1, "birds"),
        ]

    def test_count_tokens_counts_another_request(self) -> None:
        inner = {"system": [{"text": "rules"}], "messages": [{"role": "user", "content": [{"text": "q"}]}]}
        assert said({"input": {"converse": inner}}) == [("system", -1, "rules"), ("user", 0, "q")]
        packed = texts_of({"input": {"invokeModel": {"body": "e30="}}})
        assert (packed.places, packed.unreadable) == ([], ["body"])

    @pytest.mark.parametrize(
        "body",
        [
            {"prompt": "question", "max_gen_len": 100_000_000_000},
            {"inputText": "question"},
            {"modelInput": {"question": None, "x": ["question"]}},
            {"content": [{"text": {"text": "question"}}], "source": 1},
            {"somethingNew": "question"},
            "question",
        ],
        ids=["llama", "titan", "async", "guardrail", "unknown", "bare"],
    )
    def test_a_prompt_of_any_vendors(self, body: Any) -> None:
        places = texts_of(body, Speaker.USER).places
        assert ("user", "question") in [(one.speaker.value, one.text) for one in places]
        assert all(one.form is not Form.NUMBER for one in places)

    def test_a_chat_history_of_coheres(self) -> None:
        body = {"preamble": "rules", "message": "q", "chat_history": [{"role": "CHATBOT", "message": "a"}]}
        assert said(body, Speaker.USER) == [("system", -1, "rules"), ("user", -1, "q"), ("assistant", 0, "a")]

    def test_of_a_native_conversation_the_others_are_the_users(self) -> None:
        assert said({"messages": ["hm", {"content": "hm"}]}, Speaker.USER)[0] == ("user", 0, "hm")
        assert said({"messages": [{"content": "hm"}]}) == [("user", 0, "hm")]

    def test_a_member_that_nobody_knows_is_a_text(self) -> None:
        assert said({"messages": [{"role": "user", "brand_new": [["words"]]}]}) == [("user", 0, "words")]

    def test_no_conversation_is_no_error(self) -> None:
        assert said({"messages": 5, "system": None, "stream": True, "stop": []}) == []


class TestAnswers:
    def test_its_texts_are_the_assistants(self) -> None:
        answer = {"id": "x", "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}}
        assert [(one.speaker, one.text) for one in texts_in(answer).places] == [(Speaker.ASSISTANT, "a")]


class TestForms:
    def test_arguments_are_json_in_a_text(self) -> None:
        assert only({"messages": [{"function": {"arguments": "{}"}}]}).form is Form.JSON

    def test_a_signed_thought_may_be_read_and_not_changed(self) -> None:
        place = only({"messages": [{"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}]})
        assert (place.form, place.text) == (Form.SIGNED, "hm")
        with pytest.raises(AssertionError):
            place.replace("ah")
        native = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
        assert only({"messages": [{"content": [native]}]}).form is Form.SIGNED

    def test_an_unsigned_one_is_a_text(self) -> None:
        place = only({"messages": [{"content": [{"type": "thinking", "thinking": "hm", "signature": ""}]}]})
        assert place.form is Form.TEXT

    def test_a_long_number_among_a_callers_own_values_is_a_text_too(self) -> None:
        free: dict[str, Any] = {"card": 4111111111111111, "n": 12345678, "b": True}
        body = {"messages": [{"content": [{"input": free}]}]}
        places = texts_of(body).places
        assert [(one.form, one.text) for one in places if one.form is not Form.NAME] == [
            (Form.NUMBER, "4111111111111111")
        ]
        places[0].replace("[CARD]")
        assert free["card"] == "[CARD]"

    def test_a_name_may_be_changed_and_keeps_value_and_place(self) -> None:
        free = {"first": 1, "ann@example.com": [2], "last": 3}
        body = {"messages": [{"content": [{"input": free}]}]}
        name = next(one for one in texts_of(body).places if one.text == "ann@example.com")
        assert name.form is Form.NAME
        name.replace("[EMAIL_1]")
        assert list(free.items()) == [("first", 1), ("[EMAIL_1]", [2]), ("last", 3)]
        assert name.text == "[EMAIL_1]"


class TestUnreadable:
    @pytest.mark.parametrize(
        "part",
        [
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_data": "AAAA"}},
            {"type": "input_file", "file_url": "https://example.com/a.pdf"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "source": {"type": "file", "file_id": "f"}},
            {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
            {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/k"}}}},
            {"type": "brand_new", "stuff": PACKED},
            {"type": "brand_new", "stuff": f"data:image/png;base64,{PACKED}"},
            {"type": "tool_use", "input": {"picture": PACKED}},
        ],
        ids=str,
    )
    def test_media_in_any_form(self, part: Any) -> None:
        texts = texts_of({"messages": [{"role": "user", "content": [part]}]})
        assert len(texts.unreadable) == 1
        assert [one for one in texts.places if one.form is not Form.NAME] == []

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
            {"document": {"format": "txt", "source": {"text": "words"}}},
            {"type": "search_result", "source": "words"},
            {"type": "text", "url": "words"},
            {"type": "brand_new", "data": "words"},
        ],
        ids=str,
    )
    def test_documents_of_words_are_read(self, part: Any) -> None:
        texts = texts_of({"messages": [{"role": "user", "content": [part]}]})
        assert (texts.unreadable, [one.text for one in texts.places]) == ([], ["words"])

    def test_a_long_text_is_none_of_it(self) -> None:
        assert texts_of({"messages": [{"content": "word " * 1000}]}).unreadable == []


class TestBodies:
    def test_a_body_is_opened_and_written(self) -> None:
        body = opened(b'{"a": ["\\u00e9\\":", 1.5, {"b": null}]}')
        assert body.plain
        assert body.encode() == '{"a":["é\\":",1.5,{"b":null}]}'.encode()

    @pytest.mark.parametrize("raw", [b'{"a":1,"a":2}', b'[{"x":{"a":1,"a":{}}}]'])
    def test_one_that_names_a_member_twice_is_not_plain(self, raw: bytes) -> None:
        assert not opened(raw).plain

    @pytest.mark.parametrize(
        ("raw", "told"),
        [
            (b"{", "not valid JSON"),
            (b"", "not valid JSON"),
            (b'"\xff"', "not UTF-8"),
            (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
            (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "nested too deeply"),
        ],
        ids=["cut", "empty", "latin", "very deep", "deep"],
    )
    def test_what_is_no_body_is_refused(self, raw: bytes, told: str) -> None:
        with pytest.raises(Refused) as refused:
            opened(raw)
        assert refused.value.fault.cause is Cause.BODY_MALFORMED
        assert told in refused.value.fault.text

    def test_the_deepest_that_is_taken(self) -> None:
        assert opened(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX).plain


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["messages", "content", "text", "input", "role", "type", "data", "source", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


class TestProperties:
    @given(JSON)
    def test_any_json_has_places_that_can_be_replaced_by_themselves(self, value: Any) -> None:
        before = msgspec.json.encode(value)
        texts: Texts = texts_of(value)
        for place in texts.places:
            if place.form not in (Form.SIGNED, Form.NUMBER):
                place.replace(place.text)
        assert msgspec.json.encode(value) == before

    @given(JSON)
    def test_what_is_written_without_repetition_is_plain(self, value: Any) -> None:
        assert opened(msgspec.json.encode(value)).plain
