"""The conversation, rule by rule: what Bedrock demands of messages is true of whatever Anthropic's clients
send.

Every body has passed AWS's own service model on the way (`composed`).
"""

import typing
from typing import Any

import msgspec
import pytest

from stargate_core.dialects.anthropic_converse_answer import message_object
from stargate_core.dialects.anthropic_converse_messages import FAILED, NO_RESULT
from stargate_core.dialects.anthropic_converse_types import AnthropicBlock, Block, ResultBlock
from stargate_core.dialects.converse import ANSWER
from stargate_core.dialects.converse_tools import safe_name
from stargate_core.dialects.face import Options
from support.anthropic_converse import CLAUDE, LLAMA, NOVA, OPAQUE, composed, refused
from support.dialects import a_request

DROP = Options(drop_params=True)


def turns(*messages: dict[str, Any], model: str = NOVA, options: Options | None = None) -> Any:
    return composed(model, options, messages=list(messages))["messages"]


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def text(value: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **members}


def use(identity: str, name: str = "f", given: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity, "name": name, "input": {} if given is None else given}


def result(identity: str, content: Any = "ok", **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identity, "content": content, **members}


def made_result(identity: str, *content: Any, **members: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": identity, "content": list(content), **members}}


class TestRoles:
    def test_messages_of_one_role_become_one(self) -> None:
        assert turns(user("a"), user(text("b"), text("c")), assistant("d"), assistant("e"), user("f")) == [
            {"role": "user", "content": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
            {"role": "assistant", "content": [{"text": "d"}, {"text": "e"}]},
            {"role": "user", "content": [{"text": "f"}]},
        ]

    def test_instructions_are_collected_from_wherever_they_stand(self) -> None:
        made = composed(
            system=[text("one"), text(" "), text("two")],
            messages=[
                user("a"),
                {"role": "system", "content": "three"},
                user("b"),
                {"role": "system", "content": [text("four")]},
            ],
        )
        assert made["system"] == [{"text": number} for number in ("one", "two", "three", "four")]
        assert made["messages"] == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]

    @pytest.mark.parametrize("system", ["", " ", [], [text("")]])
    def test_blank_instructions_are_none(self, system: Any) -> None:
        assert "system" not in composed(system=system)

    def test_instructions_are_text(self) -> None:
        param, said = refused(messages=[user("a"), {"role": "system", "content": [use("t")]}])
        assert (param, said) == (
            "messages.1.content.0.type",
            "messages.1.content.0.type: instructions are text",
        )

    def test_blank_texts_are_left_out_and_so_are_messages_of_them(self) -> None:
        assert turns(user("a"), assistant(text(""), text("\n")), user(text("b"), text(" "))) == [
            {"role": "user", "content": [{"text": "a"}, {"text": "b"}]}
        ]

    @pytest.mark.parametrize(
        "messages", [[user(" ")], [user(text(""))], [{"role": "system", "content": "be"}]]
    )
    def test_nothing_to_answer_is_refused(self, messages: Any) -> None:
        assert refused(messages=messages)[0] == "messages"

    @pytest.mark.parametrize(
        ("message", "said"),
        [
            (assistant(result("t")), "`tool_result` blocks can only be in `user` messages"),
            (user(use("t")), "`tool_use` blocks can only be in `assistant` messages"),
            (
                user({"type": "thinking", "thinking": "t"}),
                "`thinking` blocks can only be in `assistant` messages",
            ),
        ],
    )
    def test_every_block_has_its_role(self, message: Any, said: str) -> None:
        param, told = refused(messages=[message])
        assert (param, told) == ("messages.0.content.0", f"messages.0.content.0: {said}")


class TestTools:
    def test_a_call_and_its_result(self) -> None:
        assert turns(
            user("a"), assistant(text("b"), use("t1", given={"x": 1.5})), user(result("t1", "c"), text("d"))
        )[1:] == [
            {
                "role": "assistant",
                "content": [
                    {"text": "b"},
                    {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": 1.5}}},
                ],
            },
            {"role": "user", "content": [made_result("t1", {"text": "c"}), {"text": "d"}]},
        ]

    def test_all_results_stand_first_in_the_very_next_turn(self) -> None:
        made = turns(
            assistant(use("t1"), use("t2")), user(text("a"), result("t1")), user(result("t2"), text("b"))
        )
        assert made[1]["content"] == [
            made_result("t1", {"text": "ok"}),
            made_result("t2", {"text": "ok"}),
            {"text": "a"},
            {"text": "b"},
        ]

    def test_so_they_do_in_every_turn_and_their_marks_behind_each(self) -> None:
        marked = result("t2", cache_control={"type": "ephemeral"})
        made = turns(
            assistant(use("t1")),
            user(text("a"), result("t1")),
            assistant(use("t2"), use("t3")),
            user(text("b"), marked, result("t3")),
            model=CLAUDE,
        )
        assert made[1]["content"] == [made_result("t1", {"text": "ok"}), {"text": "a"}]
        assert made[3]["content"] == [
            made_result("t2", {"text": "ok"}),
            {"cachePoint": {"type": "default"}},
            made_result("t3", {"text": "ok"}),
            {"text": "b"},
        ]

    @pytest.mark.parametrize("content", ["", None, [], [text(" ")]])
    def test_a_tool_that_says_nothing_is_given_a_word(self, content: Any) -> None:
        made = turns(assistant(use("t")), user(result("t", content)))
        assert made[1]["content"] == [made_result("t", {"text": NO_RESULT})]

    def test_a_failure_is_told(self) -> None:
        made = turns(assistant(use("t")), user(result("t", is_error=True)))
        assert made[1]["content"] == [made_result("t", {"text": "ok"}, status="error")]
        made = turns(assistant(use("t")), user(result("t", is_error=False)))
        assert "status" not in made[1]["content"][0]["toolResult"]

    def test_where_a_failure_has_no_member_it_is_told_in_words(self) -> None:
        made = turns(assistant(use("t")), user(result("t", is_error=True)), model="us.writer.palmyra-x5-v1:0")
        assert made[1]["content"] == [made_result("t", {"text": FAILED}, {"text": "ok"})]

    @pytest.mark.parametrize("model", [LLAMA, "mistral.mistral-large-2407-v1:0"])
    def test_where_nothing_may_stand_beside_a_result_it_goes_on_inside(self, model: str) -> None:
        paper = {"type": "document", "source": {"type": "text", "data": "y"}, "title": "d"}
        inside = {"document": {"format": "txt", "name": "d", "source": {"bytes": "eQ=="}}}
        made = turns(
            user("a"),
            assistant(use("t1"), use("t2")),
            user(result("t1"), result("t2"), paper, text("b")),
            model=model,
        )
        assert made[0]["content"] == [{"text": "a"}]
        assert made[2]["content"] == [
            made_result("t1", {"text": "ok"}),
            made_result("t2", {"text": "ok"}, inside, {"text": "b"}),
        ]

    def test_a_result_may_hold_what_a_message_may(self) -> None:
        found = {"type": "search_result", "source": "s", "title": "T", "content": [text("x")]}
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGODlh"}}
        paper = {"type": "document", "source": {"type": "text", "data": "y"}, "title": "d"}
        made = turns(assistant(use("t")), user(result("t", [text("a"), image, paper, found])))
        assert [next(iter(block)) for block in made[1]["content"][0]["toolResult"]["content"]] == [
            "text",
            "image",
            "document",
            "searchResult",
        ]

    def test_ids_and_names_that_bedrock_does_not_take_become_others(self) -> None:
        made = turns(assistant(use("call|1", "a.b")), user(result("call|1")))
        called = made[0]["content"][0]["toolUse"]
        assert (called["toolUseId"], called["name"]) == (safe_name("call|1"), safe_name("a.b"))
        assert made[1]["content"][0]["toolResult"]["toolUseId"] == called["toolUseId"]

    @pytest.mark.parametrize("given", [[], "x", 1, None])
    def test_arguments_are_an_object(self, given: Any) -> None:
        block = {"type": "tool_use", "id": "t", "name": "f", "input": given}
        param, said = refused(messages=[assistant(block)])
        assert param == "messages.0.content.0.input"
        assert "dictionary" in said


class TestThoughts:
    THOUGHT: typing.ClassVar = {"type": "thinking", "thinking": "hm", "signature": "EuY="}
    SECRET: typing.ClassVar = {"type": "redacted_thinking", "data": "EtkECk"}

    def test_they_go_back_as_they_came(self) -> None:
        made = turns(user("a"), assistant(self.THOUGHT, self.SECRET, text("b")), user("c"), model=CLAUDE)
        assert made[1]["content"] == [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EuY="}}},
            {"reasoningContent": {"redactedContent": "RXRrRUNr"}},
            {"text": "b"},
        ]

    BARE: typing.ClassVar = {"type": "thinking", "thinking": "hm", "signature": ""}
    SIGNED: typing.ClassVar = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EuY="}}}
    REDACTED: typing.ClassVar = {"reasoningContent": {"redactedContent": "RXRrRUNr"}}
    UNSIGNED: typing.ClassVar = {"reasoningContent": {"reasoningText": {"text": "hm"}}}

    @pytest.mark.parametrize(
        ("model", "told"),
        [
            (CLAUDE, [SIGNED, REDACTED]),
            (OPAQUE, [SIGNED, REDACTED]),
            ("openai.gpt-oss-120b-1:0", [UNSIGNED]),
            ("qwen.qwen3-32b-v1:0", [UNSIGNED]),
            (NOVA, []),
            ("us.deepseek.r1-v1:0", []),
            (LLAMA, []),
        ],
    )
    def test_every_model_gets_what_it_reads_and_no_more(self, model: str, told: Any) -> None:
        blank = {"type": "thinking", "thinking": " "}
        thoughts = [self.THOUGHT, self.SECRET, self.BARE, blank]
        made = turns(user("a"), assistant(*thoughts, text("b")), user("c"), model=model)
        assert made[1]["content"] == [*told, {"text": "b"}]

    def test_no_point_of_the_cache_stands_behind_one(self) -> None:
        marked = {**self.THOUGHT, "cache_control": {"type": "ephemeral"}}
        made = turns(user("a"), assistant(marked, text("b")), user("c"), model=CLAUDE)
        assert made[1]["content"] == [self.SIGNED, {"text": "b"}]


class TestAnthropicsOwn:
    @pytest.mark.parametrize(
        "kind",
        sorted(
            member.__struct_config__.tag
            for member in typing.get_args(Block)
            if issubclass(member, AnthropicBlock)
        ),
    )
    def test_blocks_of_its_servers_are_refused_by_name_or_dropped(self, kind: str) -> None:
        block = {"type": kind, "id": "x", "content": [{"whatever": 1}]}
        messages = [user("a"), assistant(block, text("b")), user("c")]
        param, said = refused(messages=messages)
        assert param == "messages.1.content.0.type"
        assert f"`{kind}`" in said
        assert turns(*messages, options=DROP)[1]["content"] == [{"text": "b"}]

    @pytest.mark.parametrize("kind", ["tool_reference", "browser_state"])
    def test_so_are_such_results(self, kind: str) -> None:
        messages = [assistant(use("t")), user(result("t", [{"type": kind}]))]
        assert refused(messages=messages)[0] == "messages.1.content.0.content.0.type"
        assert turns(*messages, options=DROP)[1]["content"] == [made_result("t", {"text": NO_RESULT})]
        assert kind in {member.__struct_config__.tag for member in typing.get_args(ResultBlock)}


class TestSources:
    def test_a_search_result(self) -> None:
        found = {"type": "search_result", "source": "s", "title": "T", "content": [text("x"), text("")]}
        made = turns(user({**found, "citations": {"enabled": True}}, text("?")))
        assert made[0]["content"][0] == {
            "searchResult": {
                "source": "s",
                "title": "T",
                "content": [{"text": "x"}],
                "citations": {"enabled": True},
            }
        }
        assert refused(messages=[user({**found, "content": []})])[0] == "messages.0.content.0.content"

    def test_a_message_with_a_document_has_a_text(self) -> None:
        paper = {"type": "document", "source": {"type": "text", "data": "y"}, "title": "d"}
        assert turns(user(paper, paper))[0]["content"][2:] == [{"text": "d, d (2)"}]
        assert turns(user(paper), user("?"))[0]["content"][1:] == [{"text": "?"}]

    def test_what_was_cited_goes_back_as_converse_gave_it(self) -> None:
        span = {"start": 1, "end": 2}
        citations = [
            {"title": "T", "sourceContent": [{"text": "x"}], "location": {kind: {"documentIndex": 3, **span}}}
            for kind in ("documentChar", "documentPage", "documentChunk")
        ]
        citations.append({"title": "W", "location": {"web": {"url": "https://a/"}}})
        citations.append(
            {
                "title": "S",
                "source": "s",
                "location": {"searchResultLocation": {"searchResultIndex": 3, **span}},
            }
        )
        block = {"citationsContent": {"content": [{"text": "a"}], "citations": citations}}
        answer = {"output": {"message": {"content": [block]}}, "stopReason": "end_turn"}
        message = message_object(ANSWER.decode(msgspec.json.encode(answer)), a_request(), "m", {})
        made = turns(user("?"), {"role": "assistant", "content": message["content"]}, user("and?"))
        assert made[1]["content"] == [block]


@pytest.mark.parametrize("title", [None, "", "T"])
def test_a_citation_has_a_title_or_none(title: str | None) -> None:
    place = {
        "type": "char_location",
        "cited_text": "so",
        "document_index": 0,
        "document_title": title,
        "start_char_index": 0,
        "end_char_index": 2,
    }
    [_, said] = turns(user("a"), assistant(text("b", citations=[place])))
    [block] = said["content"]
    [citation] = block["citationsContent"]["citations"]
    assert citation.get("title") == (title or None)
