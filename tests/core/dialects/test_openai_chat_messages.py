"""The conversation, rule by rule: what Bedrock demands of messages is true of whatever OpenAI's clients
send.
"""

from typing import Any, ClassVar

import msgspec
import pytest

from stargate_core.dialects.converse_tools import safe_name
from stargate_core.dialects.openai_chat_messages import NO_RESULT, Conversation, converse
from stargate_core.dialects.openai_chat_request import decode
from stargate_core.faults import Cause, Refused


def conversation(*messages: dict[str, Any]) -> Conversation:
    request, *_ = decode(msgspec.json.encode({"messages": messages}))
    return converse(request.messages)


def turns(*messages: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(conversation(*messages).messages))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = None, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **members}


def tool(call: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": content}


def call(identity: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(identity: str, text: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": identity, "content": [{"text": text}]}}


def use(identity: str, name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": identity, "name": name, "input": arguments}}


def text(value: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **members}


def refused(*messages: dict[str, Any]) -> tuple[str | None, str]:
    with pytest.raises(Refused) as caught:
        conversation(*messages)
    assert caught.value.fault.cause is Cause.BODY_INVALID
    return caught.value.fault.param, caught.value.fault.text


class TestRoles:
    def test_messages_of_one_role_become_one(self) -> None:
        assert turns(user("a"), user([text("b"), text("c")]), assistant("d"), assistant("e"), user("f")) == [
            {"role": "user", "content": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
            {"role": "assistant", "content": [{"text": "d"}, {"text": "e"}]},
            {"role": "user", "content": [{"text": "f"}]},
        ]

    def test_instructions_are_collected_from_wherever_they_stand(self) -> None:
        made = conversation(
            {"role": "system", "content": "one"},
            user("a"),
            {"role": "developer", "content": [text("two"), text(" "), text("three")]},
            user("b"),
            {"role": "system", "content": ""},
        )
        assert made.system == [{"text": "one"}, {"text": "two"}, {"text": "three"}]
        assert made.messages == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]

    def test_a_conversation_may_begin_with_the_assistant(self) -> None:
        # Bedrock refuses it, and says so better than we could.
        assert [turn["role"] for turn in turns(assistant("hi"), user("a"))] == ["assistant", "user"]

    def test_a_function_message_is_refused(self) -> None:
        assert refused({"role": "function", "name": "f", "content": "1"})[0] == "messages[0].role"
        place, _ = refused(user("a"), assistant(function_call={"name": "f", "arguments": ""}))
        assert place == "messages[1].function_call"


class TestBlanks:
    def test_blank_texts_are_left_out(self) -> None:
        blank = [text(""), text(" \n\t"), text("\u00a0")]
        assert turns(user([*blank, text("a")]), assistant(""), assistant("   "), user("b")) == [
            {"role": "user", "content": [{"text": "a"}, {"text": "b"}]}
        ]

    @pytest.mark.parametrize(
        "messages",
        [[user("")], [user([])], [{"role": "system", "content": "be nice"}], [assistant(None), user(" ")]],
    )
    def test_nothing_left_is_refused(self, messages: list[dict[str, Any]]) -> None:
        assert refused(*messages)[0] == "messages"

    def test_white_space_inside_a_text_stays(self) -> None:
        assert turns(user("  a\n"))[0]["content"] == [{"text": "  a\n"}]


class TestAssistant:
    def test_text_and_calls_are_both_kept_text_first(self) -> None:
        calls = [call("one", "f", '{"x": 1}'), call("two", "g")]
        assert turns(user("a"), assistant("Let me see.", tool_calls=calls))[1]["content"] == [
            {"text": "Let me see."},
            use("one", "f", x=1),
            use("two", "g"),
        ]

    @pytest.mark.parametrize("content", [None, "", [], [text("")]])
    def test_calls_need_no_text(self, content: Any) -> None:
        assert turns(user("a"), assistant(content, tool_calls=[call("one")]))[1]["content"] == [use("one")]

    def test_refusals_are_what_was_said(self) -> None:
        parts = [{"type": "refusal", "refusal": "No."}]
        assert turns(user("a"), assistant(parts))[1]["content"] == [{"text": "No."}]
        assert turns(user("a"), assistant(None, refusal="Never."))[1]["content"] == [{"text": "Never."}]

    def test_unsigned_thoughts_are_left_behind(self) -> None:
        assert turns(user("a"), assistant("b", reasoning_content="hm"))[1]["content"] == [{"text": "b"}]

    @pytest.mark.parametrize("arguments", ["", " ", "{}", "\n{ }"])
    def test_no_arguments_are_an_empty_object(self, arguments: str) -> None:
        assert turns(assistant(tool_calls=[call("one", arguments=arguments)]))[0]["content"] == [use("one")]

    def test_arguments_go_on_as_they_were_spelt(self) -> None:
        arguments = '{"n":1.0, "big":123456789012345678901234567890, "s":"\\u00e9"}'
        made = conversation(assistant(tool_calls=[call("one", arguments=arguments)]))
        assert arguments.encode() in msgspec.json.encode(made.messages)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("[1]", "no object"),
            ("null", "no object"),
            ('"x"', "no object"),
            ("{", "not valid JSON"),
            ("{'a':1}", "not valid JSON"),
        ],
    )
    def test_arguments_that_are_no_object_are_refused(self, arguments: str, said: str) -> None:
        place, message = refused(user("a"), assistant(tool_calls=[call("x"), call("y", arguments=arguments)]))
        assert place == "messages[1].tool_calls[1].function.arguments"
        assert said in message

    def test_a_call_of_a_custom_tool_is_refused(self) -> None:
        custom = {"id": "a", "type": "custom", "custom": {"name": "x", "input": "y"}}
        assert refused(assistant(tool_calls=[custom]))[0] == "messages[0].tool_calls[0].type"

    def test_ids_and_names_that_bedrock_does_not_take_are_mapped_on_both_sides(self) -> None:
        identity, name = "call/" + "x" * 80, "github.com/search"
        made = turns(assistant(tool_calls=[call(identity, name)]), tool(identity, "found"))
        assert made[0]["content"] == [use(safe_name(identity), safe_name(name))]
        assert made[1]["content"] == [result(safe_name(identity), "found")]

    def test_an_id_or_a_name_must_be_there(self) -> None:
        assert refused(assistant(tool_calls=[call("")]))[0] == "messages[0].tool_calls[0].id"
        assert refused(assistant(tool_calls=[call("a", "")]))[0] == "messages[0].tool_calls[0].function.name"
        assert refused(user("a"), tool("", "x"))[0] == "messages[1].tool_call_id"


class TestThoughts:
    SIGNED: ClassVar[dict[str, Any]] = {"type": "thinking", "thinking": "hm", "signature": "E"}
    REDACTED: ClassVar[dict[str, Any]] = {"type": "redacted_thinking", "data": "EtkECk"}
    GIVEN_BACK: ClassVar[list[Any]] = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "E"}}},
        {"reasoningContent": {"redactedContent": "RXRrRUNr"}},
    ]

    def test_what_its_vendor_knows_again_stands_first(self) -> None:
        said = assistant("a", thinking_blocks=[self.SIGNED, self.REDACTED], tool_calls=[call("x")])
        assert turns(user("hi"), said)[1]["content"] == [*self.GIVEN_BACK, {"text": "a"}, use("x")]

    def test_a_thought_may_be_signed_and_hidden(self) -> None:
        hidden = {"type": "thinking", "thinking": "", "signature": "E"}
        assert turns(user("hi"), assistant("a", thinking_blocks=[hidden]))[1]["content"][0] == {
            "reasoningContent": {"reasoningText": {"text": "", "signature": "E"}}
        }

    @pytest.mark.parametrize("signature", [{}, {"signature": None}, {"signature": ""}], ids=str)
    def test_unsigned_ones_are_left_behind(self, signature: dict[str, Any]) -> None:
        unsigned = {"type": "thinking", "thinking": "hm", **signature}
        assert turns(user("hi"), assistant("a", thinking_blocks=[unsigned]))[1]["content"] == [{"text": "a"}]

    def test_whether_the_turn_began_with_them_is_known(self) -> None:
        thoughtful = assistant(thinking_blocks=[self.SIGNED], tool_calls=[call("a")])
        thoughtless = assistant(tool_calls=[call("a")])
        for messages, known in [
            ([user("hi"), thoughtful, tool("a", "1")], True),
            ([user("hi"), thoughtful, tool("a", "1"), thoughtless, tool("a", "2")], True),
            ([user("hi"), thoughtless, tool("a", "1")], False),
            # Those of an earlier turn are not this one's; nor may they be where the user has spoken.
            ([user("hi"), thoughtful, user("?"), thoughtless, tool("a", "2")], False),
            ([user("hi"), thoughtful, tool("a", "1"), user("?"), thoughtless, tool("a", "2")], False),
            ([user("hi"), thoughtful, tool("a", "1"), user("?"), thoughtful, tool("a", "2")], True),
            ([user("hi"), thoughtless, tool("a", "1"), user("?"), thoughtful, tool("a", "2")], False),
            ([user("hi"), thoughtful, tool("a", "1"), user("?")], True),
            ([user("hi"), thoughtful, user("go on")], False),
            ([user("hi")], False),
            ([tool("a", "1")], False),
        ]:
            assert conversation(*messages).has_thoughts is known


class TestResults:
    CALLS = assistant(tool_calls=[call("one"), call("two")])

    def test_all_results_stand_in_one_message(self) -> None:
        made = turns(user("a"), self.CALLS, tool("one", "1"), tool("two", "2"))
        assert made[2] == {"role": "user", "content": [result("one", "1"), result("two", "2")]}

    def test_and_before_anything_the_user_says(self) -> None:
        made = turns(self.CALLS, tool("one", "1"), user("and now?"), tool("two", "2"), user("well?"))
        assert made[1]["content"] == [
            result("one", "1"),
            result("two", "2"),
            {"text": "and now?"},
            {"text": "well?"},
        ]
        made = turns(self.CALLS, user("hurry"), tool("one", "1"), tool("two", "2"))
        assert made[1]["content"] == [result("one", "1"), result("two", "2"), {"text": "hurry"}]

    def test_each_turn_has_its_own(self) -> None:
        made = turns(user("a"), self.CALLS, tool("one", "1"), assistant("so"), user("b"), tool("two", "2"))
        assert made[2]["content"] == [result("one", "1")]
        assert made[4]["content"] == [result("two", "2"), {"text": "b"}]

    @pytest.mark.parametrize("content", ["", "  ", [], [text("")]])
    def test_a_tool_that_says_nothing_is_given_a_word(self, content: Any) -> None:
        assert turns(self.CALLS, tool("one", content))[1]["content"] == [result("one", NO_RESULT)]

    def test_a_result_of_several_texts(self) -> None:
        made = turns(self.CALLS, tool("one", [text("a"), text("b")]))
        assert made[1]["content"][0]["toolResult"]["content"] == [{"text": "a"}, {"text": "b"}]

    def test_json_stays_text(self) -> None:
        assert turns(self.CALLS, tool("one", "[1]"))[1]["content"] == [result("one", "[1]")]

    def test_tools_used_are_known_in_order(self) -> None:
        made = conversation(assistant(tool_calls=[call("a", "x"), call("b", "y.z"), call("c", "x")]))
        assert list(made.tools_used) == ["x", safe_name("y.z")]

    def test_the_middle_of_a_turn_is_known(self) -> None:
        assert conversation(user("a"), self.CALLS, tool("one", "1")).mid_turn
        assert not conversation(user("a")).mid_turn
        assert not conversation(user("a"), self.CALLS, tool("one", "1"), assistant("so")).mid_turn
        assert not conversation(self.CALLS, tool("one", "1"), assistant("so"), user("b")).mid_turn


class TestParts:
    PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    GIF = {"image": {"format": "gif", "source": {"bytes": PIXEL.partition(",")[2]}}}
    PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}}

    def picture(self, **members: Any) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": self.PIXEL}, **members}

    def test_images_keep_their_place(self) -> None:
        made = turns(user([text("before"), self.picture(), text("after")]))
        assert made[0]["content"] == [{"text": "before"}, self.GIF, {"text": "after"}]

    def test_a_tool_may_answer_with_an_image(self) -> None:
        made = turns(assistant(tool_calls=[call("one")]), tool("one", [self.picture()]))
        assert made[1]["content"][0]["toolResult"]["content"] == [self.GIF]

    def test_the_place_of_a_bad_image_is_named(self) -> None:
        bad = {"type": "image_url", "image_url": {"url": "http://localhost/"}}
        assert refused(user("a"), user([text("b"), bad]))[0] == "messages[1].content[1].image_url.url"

    def test_sound(self) -> None:
        part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
        assert turns(user([part]))[0]["content"] == [
            {"audio": {"format": "wav", "source": {"bytes": "UklGRg=="}}}
        ]

    def test_a_document_is_never_without_a_text(self) -> None:
        block = {"document": {"format": "pdf", "name": "a", "source": {"bytes": "JVBERg=="}}}
        assert turns(user([self.PDF, text("What is it?")]))[0]["content"] == [block, {"text": "What is it?"}]
        assert turns(user([self.PDF]))[0]["content"] == [block, {"text": "a"}]

    def test_two_documents_of_one_name_in_two_messages(self) -> None:
        made = turns(user([self.PDF]), assistant("ok"), user([self.PDF]))
        assert made[2]["content"][0]["document"]["name"] == "a (2)"


class TestCachePoints:
    MARK = {"cache_control": {"type": "ephemeral"}}
    POINT = {"cachePoint": {"type": "default"}}

    def test_behind_the_part_that_is_marked(self) -> None:
        made = conversation(
            {"role": "system", "content": [text("long", **self.MARK), text("short")]},
            user([text("a", **self.MARK), text("b"), text("", **self.MARK)]),
        )
        assert made.system == [{"text": "long"}, self.POINT, {"text": "short"}]
        assert made.messages[0]["content"] == [{"text": "a"}, self.POINT, {"text": "b"}]

    def test_lifetimes_that_bedrock_has(self) -> None:
        for ttl, point in (
            ("1h", {"type": "default", "ttl": "1h"}),
            ("5m", {"type": "default", "ttl": "5m"}),
            ("30m", {"type": "default"}),
        ):
            made = turns(user([text("a", cache_control={"type": "ephemeral", "ttl": ttl})]))
            assert made[0]["content"][1] == {"cachePoint": point}

    def test_openais_own_mark(self) -> None:
        part = text("a", prompt_cache_breakpoint={"mode": "explicit", "ttl": "30m"})
        assert turns(user([part]))[0]["content"] == [{"text": "a"}, self.POINT]

    def test_a_whole_message_may_be_marked(self) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        made = conversation(
            {"role": "system", "content": "s", **mark},
            {**user("a"), **mark},
            {**assistant("b", tool_calls=[call("x")]), **mark},
            {**tool("x", "1"), **mark},
            {**user([text("c", **mark)]), **mark},
            {**user(" "), **mark},
        )
        point = {"cachePoint": {"type": "default"}}
        assert made.marked
        assert made.system == [{"text": "s"}, point]
        assert [[next(iter(block)) for block in turn["content"]] for turn in made.messages] == [
            ["text", "cachePoint"],
            ["text", "toolUse", "cachePoint"],
            ["toolResult", "cachePoint", "text", "cachePoint"],
        ]

    def test_of_a_result_it_stands_behind_the_result(self) -> None:
        marked = [text("1", **self.MARK), text("2", **self.MARK)]
        made = turns(TestResults.CALLS, user("u"), tool("one", marked), tool("two", "3"))
        assert made[1]["content"] == [
            {"toolResult": {"toolUseId": "one", "content": [{"text": "1"}, {"text": "2"}]}},
            self.POINT,
            result("two", "3"),
            {"text": "u"},
        ]
