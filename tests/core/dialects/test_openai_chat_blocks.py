"""Thoughts and citations: nothing of them is lost, and what a client keeps can be given back."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.chat_completion_message import Annotation

from stargate_core.dialects.converse import (
    BLOCK_DELTA,
    Citation,
    CitationsContent,
    ReasoningContent,
    ReasoningDelta,
    ReasoningText,
)
from stargate_core.dialects.face import BadAnswer
from stargate_core.dialects.openai_chat_blocks import Notes, cited, thinking_blocks
from stargate_core.dialects.openai_chat_messages import converse
from stargate_core.dialects.openai_chat_request import decode
from stargate_core.faults import Cause
from support.converse_blocks import Block, citations, redacted, thoughts


def given_back(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Bedrock gets of an assistant's message with these thinking_blocks."""
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "thinking_blocks": blocks}]
    request, *_ = decode(msgspec.json.encode({"messages": said}))
    return [block for turn in converse(request.messages).messages[1:] for block in turn["content"]]


class TestThoughts:
    @given(thoughts() | redacted())
    def test_what_bedrock_gets_back_is_what_it_said(self, block: Block) -> None:
        said = block.whole["reasoningContent"]
        made = thinking_blocks(msgspec.convert(said, ReasoningContent))
        unsigned = "redactedContent" not in said and "signature" not in said["reasoningText"]
        assert given_back(made) == ([] if unsigned else [block.whole])

    @given(thoughts() | redacted())
    def test_in_a_stream_they_are_the_same(self, block: Block) -> None:
        notes = Notes(0)
        for delta in block.deltas:
            notes.think(msgspec.convert(delta["reasoningContent"], ReasoningDelta))
        whole = msgspec.convert(block.whole["reasoningContent"], ReasoningContent)
        assert notes.thinking_blocks() == thinking_blocks(whole)

    def test_ciphertext_that_is_no_text_keeps_its_base64(self) -> None:
        content = base64.b64encode(b"\xff\x00").decode()
        assert thinking_blocks(ReasoningContent(redacted_content=content)) == [
            {"type": "redacted_thinking", "data": content}
        ]

    @pytest.mark.parametrize("content", ["R", "RX!r", "\u00e9\u00e9\u00e9\u00e9"])
    def test_what_is_no_base64_is_garbled(self, content: str) -> None:
        with pytest.raises(BadAnswer) as caught:
            thinking_blocks(ReasoningContent(redacted_content=content))
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
        assert content not in caught.value.fault.detail

    def test_a_thought_may_be_signed_and_hidden(self) -> None:
        hidden = ReasoningContent(reasoning_text=ReasoningText(text=None, signature="E"))
        assert thinking_blocks(hidden) == [{"type": "thinking", "thinking": "", "signature": "E"}]


class TestCitations:
    @given(st.lists(citations(), max_size=3), st.integers(0, 9), st.integers(10, 19))
    def test_each_is_told_once_with_all_that_bedrock_said(
        self, said: list[dict[str, Any]], start: int, end: int
    ) -> None:
        content = msgspec.convert({"citations": said}, CitationsContent)
        assert content.citations is not None
        annotations, others = cited(content.citations, start, end)
        assert others == [one for one in said if "web" not in one.get("location", {})]
        webs = [one for one in said if "web" in one.get("location", {})]
        assert len(annotations) == len(webs)
        for annotation, one in zip(annotations, webs, strict=True):
            told = Annotation.model_validate(annotation, strict=True).url_citation
            web = one["location"]["web"]
            assert (told.start_index, told.end_index, told.url) == (start, end, web["url"])
            assert told.title == (one.get("title") or web.get("domain") or web["url"])
            rest = {name: one[name] for name in ("source", "sourceContent") if name in one}
            assert told.model_extra == {**rest, **{k: v for k, v in web.items() if k != "url"}}

    @pytest.mark.parametrize("web", [{}, {"url": 5}, {"domain": "a.example"}], ids=str)
    def test_a_place_in_the_web_without_a_url_is_told_as_it_is(self, web: dict[str, Any]) -> None:
        one = {"title": "A", "location": {"web": web}}
        read = BLOCK_DELTA.decode(
            msgspec.json.encode({"contentBlockIndex": 0, "delta": {"citation": one}})
        ).delta.citation
        assert read is not None
        assert cited([read], 0, 1) == ([], [one])

    def test_a_piece_of_a_source_without_text_keeps_its_place(self) -> None:
        one = {"sourceContent": [{}, {"text": "a"}]}
        content = msgspec.convert({"citations": [one]}, CitationsContent)
        assert content.citations is not None
        assert cited(content.citations, 0, 1) == ([], [one])


class TestNotes:
    """What is told of a block when it has ended."""

    def test_thoughts_annotations_and_citations_each_counted_on(self) -> None:
        told: dict[str, int] = {"annotations": 2}
        notes = Notes(3)
        notes.think(ReasoningDelta("hm", "E"))
        notes.think(ReasoningDelta(redacted_content=base64.b64encode(b"\xff\xfe").decode()))
        notes.cite(Citation("A", location={"web": {"url": "https://a.example"}}))
        notes.cite(Citation("B", source="s"))
        delta = notes.delta(9, told)
        assert [block["index"] for block in delta["thinking_blocks"]] == [0, 1]
        assert delta["thinking_blocks"][1]["data"] == base64.b64encode(b"\xff\xfe").decode()
        [annotation] = delta["annotations"]
        assert annotation["index"] == 2
        place = annotation["url_citation"]
        assert (place["start_index"], place["end_index"], place["title"]) == (3, 9, "A")
        assert [one["index"] for one in delta["citations"]] == [0]
        assert told == {"annotations": 3, "thinking_blocks": 2, "citations": 1}

    def test_of_nothing_nothing_is_told(self) -> None:
        told: dict[str, int] = {}
        assert Notes(0).delta(4, told) == {}
        assert told == {}
