"""Items, as they grow: what begins and ends one, and what stands in it. The grammar of a whole stream is in
test_openai_responses_stream.py.
"""

from typing import Any

import msgspec
import pytest

from stargate_core.dialects.converse import (
    Citation,
    CitationsContent,
    CitedText,
    ContentBlock,
    Delta,
    ReasoningContent,
    ReasoningDelta,
    ReasoningText,
    ToolUse,
    ToolUseDelta,
    ToolUseStart,
)
from stargate_core.dialects.face import BadAnswer
from stargate_core.dialects.openai_responses_output import Output
from stargate_core.dialects.openai_responses_thoughts import Sealed, seal
from stargate_core.faults import Cause

WEB = Citation("A", location={"web": {"url": "https://a.example", "domain": "a.example"}})
PAGE = Citation(
    "B",
    source_content=[CitedText("so")],
    location={"documentPage": {"documentIndex": 0, "start": 1, "end": 2}},
)


def output(names: dict[str, str] | None = None) -> Output:
    return Output("r", names or {})


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def text(of: Output, block: int, said: str) -> list[dict[str, Any]]:
    return of.say(block, Delta(text=said))


class TestMessages:
    def test_texts_in_a_row_are_one(self) -> None:
        made = output()
        for block, said in enumerate(("one ", "two ", "three")):
            text(made, block, said)
            assert made.stop(block) == []
        made.close(incomplete=False)
        (message,) = made.items
        assert [part["text"] for part in message["content"]] == ["one two three"]
        assert message["id"] == "msg_r_0"

    def test_a_call_ends_a_message_and_a_text_behind_it_begins_another(self) -> None:
        made = output()
        text(made, 0, "a")
        assert kinds(made.call(1, ToolUseStart("t", "f"))) == [
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
        ]
        made.stop(1)
        text(made, 2, "b")
        made.close(incomplete=True)
        assert [(item["type"], item["status"]) for item in made.items] == [
            ("message", "completed"),
            ("function_call", "completed"),
            ("message", "incomplete"),
        ]
        assert [item["id"] for item in made.items] == ["msg_r_0", "fc_r_1", "msg_r_2"]

    def test_what_is_not_done_is_no_item_yet(self) -> None:
        made = output()
        text(made, 0, "a")
        assert made.items == []

    def test_empty_texts_are_nothing(self) -> None:
        assert text(output(), 0, "") == []
        assert output().close(incomplete=False) == []

    def test_one_more_piece_of_what_is_under_way_is_told_quickly(self) -> None:
        made = output()
        assert made.more(0, Delta(text="a")) is None
        (*_, told) = text(made, 0, "a")
        quick = made.more(0, Delta(text="b"))
        assert quick is not None
        head, piece, tail = quick
        told.update(delta=piece, sequence_number=7)
        assert head + msgspec.json.encode(piece) + tail + b"7}" == (
            b"event: response.output_text.delta\ndata: " + msgspec.json.encode(told)
        )
        assert made.more(1, Delta(text="c")) is None
        made.close(incomplete=False)
        assert made.items[0]["content"][0]["text"] == "ab"


class TestCitations:
    def test_of_the_web_is_an_annotation_of_its_blocks_text(self) -> None:
        made = output()
        text(made, 0, "In short: ")
        made.stop(0)
        made.say(1, Delta(citation=WEB))
        text(made, 1, "it is so")
        (event,) = made.stop(1)
        text(made, 2, ".")
        note = {
            "type": "url_citation",
            "start_index": 10,
            "end_index": 18,
            "url": "https://a.example",
            "title": "A",
            "domain": "a.example",
        }
        assert event == {
            "type": "response.output_text.annotation.added",
            "item_id": "msg_r_0",
            "output_index": 0,
            "content_index": 0,
            "annotation_index": 0,
            "annotation": note,
        }
        made.close(incomplete=False)
        assert made.items[0]["content"][0]["annotations"] == [note]

    def test_of_anything_else_stands_beside_the_text(self) -> None:
        made = output()
        made.say(0, Delta(citation=PAGE))
        text(made, 0, "it is so")
        assert made.stop(0) == []
        made.close(incomplete=False)
        (part,) = made.items[0]["content"]
        assert part["annotations"] == []
        assert part["citations"] == [
            {
                "title": "B",
                "sourceContent": [{"text": "so"}],
                "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}},
                "start_index": 0,
                "end_index": 8,
            }
        ]

    def test_is_told_also_where_its_block_has_no_end_of_its_own(self) -> None:
        made = output()
        made.say(0, Delta(citation=WEB))
        text(made, 0, "a")
        assert kinds(text(made, 1, "b")) == ["output_text.annotation.added", "output_text.delta"]
        made.say(1, Delta(citation=WEB))
        assert kinds(made.close(incomplete=False))[0] == "output_text.annotation.added"

    def test_of_no_text_is_not_lost(self) -> None:
        made = output()
        made.say(0, Delta(citation=WEB))
        made.close(incomplete=False)
        (part,) = made.items[0]["content"]
        assert (part["text"], len(part["annotations"])) == ("", 1)


class TestCalls:
    def test_the_caller_gets_the_name_back(self) -> None:
        made = output({"a_b": "a.b"})
        made.call(0, ToolUseStart("t", "a_b"))
        made.stop(0)
        assert made.items[0]["name"] == "a.b"

    def test_what_bedrock_runs_is_no_item(self) -> None:
        made = output()
        assert made.call(0, ToolUseStart("t", "search", "server_tool_use")) == []
        assert made.say(0, Delta(tool_use=ToolUseDelta("{}"))) == []
        assert made.stop(0) == []
        made.whole(1, ContentBlock(tool_use=ToolUse("t", "search", type="server_tool_use")))
        assert made.items == []

    def test_arguments_of_no_call_are_garbled(self) -> None:
        with pytest.raises(BadAnswer) as bad:
            output().say(0, Delta(tool_use=ToolUseDelta("{}")))
        assert bad.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_a_call_without_arguments_has_an_empty_object(self) -> None:
        made = output()
        made.call(0, ToolUseStart("t", "f"))
        delta, done, _ = made.stop(0)
        assert delta["delta"] == done["arguments"] == "{}"
        assert not made.cut

    def test_a_call_that_was_cut_off_says_so(self) -> None:
        made = output()
        made.call(0, ToolUseStart("t", "f"))
        made.say(0, Delta(tool_use=ToolUseDelta('{"a"')))
        made.close(incomplete=True)
        assert made.cut
        assert (made.items[0]["status"], made.items[0]["arguments"]) == ("incomplete", '{"a"')

    def test_calls_may_run_side_by_side(self) -> None:
        made = output()
        for block in (0, 1):
            made.call(block, ToolUseStart(f"t{block}", "f"))
        for block in (1, 0):
            made.say(block, Delta(tool_use=ToolUseDelta(f"[{block}]")))
            made.stop(block)
        assert [item["arguments"] for item in made.items] == ["[0]", "[1]"]

    def test_a_block_that_is_told_to_be_two_things_is_both(self) -> None:
        made = output()
        made.call(0, ToolUseStart("t", "f"))
        made.say(0, Delta(reasoning_content=ReasoningDelta("hm")))
        made.close(incomplete=False)
        assert [item["type"] for item in made.items] == ["function_call", "reasoning"]

    def test_a_whole_call_keeps_the_digits_that_the_model_wrote(self) -> None:
        made = output()
        made.whole(0, ContentBlock(tool_use=ToolUse("t", "f", msgspec.Raw(b'{"a": 1.50, "b": 1e3}'))))
        assert made.items[0]["arguments"] == '{"a":1.50,"b":1e3}'

    def test_a_whole_call_that_is_no_json_is_garbled(self) -> None:
        with pytest.raises(BadAnswer):
            output().whole(0, ContentBlock(tool_use=ToolUse("t", "f", msgspec.Raw(b'"\xff"'))))

    @pytest.mark.parametrize("raw", [b"null", b'""', b"{}"])
    def test_a_whole_call_of_nothing(self, raw: bytes) -> None:
        made = output()
        made.whole(0, ContentBlock(tool_use=ToolUse("t", "f", msgspec.Raw(raw))))
        assert made.items[0]["arguments"] == "{}"


class TestThoughts:
    def test_a_signed_one(self) -> None:
        made = output()
        for delta in (ReasoningDelta("h"), ReasoningDelta("m"), ReasoningDelta(signature="E")):
            made.say(0, Delta(reasoning_content=delta))
        made.stop(0)
        assert made.items == [
            {
                "id": "rs_r_0",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": seal(Sealed("E")),
            }
        ]

    def test_one_that_nobody_has_signed(self) -> None:
        made = output()
        made.say(0, Delta(reasoning_content=ReasoningDelta("hm")))
        made.stop(0)
        assert "encrypted_content" not in made.items[0]

    def test_a_redacted_one_has_no_summary(self) -> None:
        made = output()
        events = made.say(0, Delta(reasoning_content=ReasoningDelta(redacted_content="RXRr")))
        assert kinds([*events, *made.stop(0)]) == ["output_item.added", "output_item.done"]
        assert made.items[0]["summary"] == []
        assert made.items[0]["encrypted_content"] == seal(Sealed(redacted="RXRr"))

    def test_a_redacted_one_in_pieces_is_joined(self) -> None:
        made = output()
        for piece in ("Zg==", "b28="):
            made.say(0, Delta(reasoning_content=ReasoningDelta(redacted_content=piece)))
        made.stop(0)
        assert made.items[0]["encrypted_content"] == seal(Sealed(redacted="Zm9v"))

    def test_pieces_that_are_no_base64_are_garbled(self) -> None:
        made = output()
        for piece in ("Zg", "b28="):
            made.say(0, Delta(reasoning_content=ReasoningDelta(redacted_content=piece)))
        with pytest.raises(BadAnswer):
            made.stop(0)

    def test_nothing_is_no_thought(self) -> None:
        made = output()
        assert made.say(0, Delta(reasoning_content=ReasoningDelta(""))) == []
        assert made.say(0, Delta()) == []


class TestWholeBlocks:
    def test_a_text(self) -> None:
        made = output()
        made.whole(0, ContentBlock(text="a"))
        made.close(incomplete=False)
        assert made.items[0]["content"][0]["text"] == "a"

    def test_a_call_of_somebody_elses_is_no_item(self) -> None:
        made = output()
        made.whole(0, ContentBlock(tool_use=ToolUse("t", "search", type="server_tool_use")))
        made.close(incomplete=False)
        assert made.items == []

    @pytest.mark.parametrize("text", [None, "hm"])
    def test_a_thought_with_text_or_without(self, text: str | None) -> None:
        made = output()
        said = None if text is None else ReasoningText(text, "E")
        redacted = "eA==" if text is None else None
        made.whole(0, ContentBlock(reasoning_content=ReasoningContent(said, redacted)))
        made.close(incomplete=False)
        [item] = made.items
        assert item["type"] == "reasoning"
        assert item["encrypted_content"]

    def test_citations_with_their_text(self) -> None:
        made = output()
        content = CitationsContent([CitedText("so"), CitedText()], [WEB])
        made.whole(0, ContentBlock(citations_content=content))
        made.close(incomplete=False)
        [part] = made.items[0]["content"]
        assert part["text"] == "so"
        assert [note["url"] for note in part["annotations"]] == ["https://a.example"]

    def test_citations_of_nothing(self) -> None:
        made = output()
        made.whole(0, ContentBlock(citations_content=CitationsContent()))
        made.close(incomplete=False)
        assert made.items == []

    def test_one_of_a_kind_that_we_do_not_know(self) -> None:
        made = output()
        made.whole(0, ContentBlock())
        made.close(incomplete=False)
        assert made.items == []


class TestMore:
    """The short way of one more piece: taken only where the item is under way, and nothing else is said."""

    def test_of_a_text(self) -> None:
        made = output()
        assert made.more(0, Delta(text="a")) is None
        text(made, 0, "a")
        assert made.more(1, Delta(text="b")) is None
        assert made.more(0, Delta(text="")) is None
        found = made.more(0, Delta(text="b"))
        assert found is not None
        assert found[1] == "b"

    def test_of_arguments(self) -> None:
        made = output()
        assert made.more(0, Delta(tool_use=ToolUseDelta("{"))) is None
        made.call(0, ToolUseStart("t", "f"))
        assert made.more(0, Delta(tool_use=ToolUseDelta(""))) is None
        found = made.more(0, Delta(tool_use=ToolUseDelta("{")))
        assert found is not None
        assert found[1] == "{"

    def test_of_a_thought_but_not_of_its_signature(self) -> None:
        made = output()
        assert made.more(0, Delta(reasoning_content=ReasoningDelta("h"))) is None
        made.say(0, Delta(reasoning_content=ReasoningDelta("h")))
        assert made.more(0, Delta(reasoning_content=ReasoningDelta(signature="E"))) is None
        assert made.more(0, Delta(reasoning_content=ReasoningDelta(redacted_content="eA=="))) is None
        found = made.more(0, Delta(reasoning_content=ReasoningDelta("m")))
        assert found is not None
        assert found[1] == "m"

    def test_of_nothing_else(self) -> None:
        assert output().more(0, Delta(citation=WEB)) is None
        assert output().more(0, Delta()) is None


class TestDepth:
    def test_a_citation_that_is_nested_too_deeply_is_garbled_at_any_depth(self) -> None:
        for depth in (*range(700, 1_100), 100_000):
            nested: list[Any] = []
            for _ in range(depth):
                nested = [nested]
            made = output()
            text(made, 0, "a")
            location: Any = {"web": {"url": "https://a.example", "x": nested}}
            made.say(0, Delta(citation=Citation("A", location=location)))
            try:
                made.stop(0)
                made.close(incomplete=False)
            except BadAnswer as bad:
                assert bad.fault.cause is Cause.UPSTREAM_GARBLED
