"""What the model says: the same for the same request, within its limits, with the tools on offer."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.simulator.dialogue import (
    Choice,
    Prompt,
    Reasoning,
    RedactedReasoning,
    Text,
    Tool,
    ToolUse,
    split_tokens,
)
from stargate.simulator.speech import Wishes, answer

LOOK: Final = Tool("look", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
LEAP: Final = Tool("leap", {"type": "object"})


def asked(text: str = "hello", **changes: Any) -> Prompt:
    """A prompt."""
    return msgspec.structs.replace(Prompt(text=text, input_tokens=3), **changes)


class TestChance:
    def test_the_same_request_gets_the_same_answer(self) -> None:
        assert answer(asked(), b"body", 1) == answer(asked(), b"body", 1)

    def test_others_get_others(self) -> None:
        texts = {answer(asked(), body, seed).text for body in (b"a", b"b") for seed in (1, -1)}
        assert len(texts) == 4

    def test_it_is_more_than_ascii(self) -> None:
        texts = [answer(asked(), bytes((number,)), 0).text for number in range(20)]
        assert all(not text.isascii() for text in texts)


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


class TestEcho:
    def test_what_was_asked_is_said_again(self) -> None:
        assert "“what is the time in Lyon?”" in answer(asked("what is the time in Lyon?"), b"", 0).text

    def test_but_not_the_directive(self) -> None:
        assert "simulator" not in answer(asked("hi [[simulator: slow]] there"), b"", 0).text

    def test_attachments_and_results_are_named(self) -> None:
        prompt = asked(attachments=("png image of 70 bytes",), tool_results=("21 °C",))
        text = answer(prompt, b"", 0).text
        assert "png image of 70 bytes" in text
        assert "21 °C" in text


class TestLimits:
    @given(st.integers(1, 60), st.booleans())
    def test_never_more_tokens_than_allowed(self, tokens_max: int, thinking: bool) -> None:
        said = answer(asked(tokens_max=tokens_max, thinking=thinking), b"", 0)
        assert said.output_tokens <= tokens_max
        whole = answer(asked(thinking=thinking), b"", 0)
        assert (said.stop_reason == "max_tokens") is (tokens_max < whole.output_tokens)
        assert whole.text.startswith(said.text)

    def test_a_tools_use_is_not_cut_in_two(self) -> None:
        said = answer(asked("look", tools=(LOOK,), tokens_max=8), b"", 0)
        assert said.stop_reason == "max_tokens"
        assert all(isinstance(block, Text) for block in said.blocks)

    def test_a_stop_sequence_ends_the_answer_before_itself(self) -> None:
        whole = answer(asked("one two three four"), b"", 0)
        said = answer(asked("one two three four", stop_sequences=("never", " three")), b"", 0)
        assert said.text == whole.text.partition(" three")[0]
        assert (said.stop_reason, said.stop_sequence) == ("stop_sequence", " three")

    def test_words_can_be_wished_for(self) -> None:
        for words in (1, 64, 500):
            said = answer(asked(), b"", 0, Wishes(words=words))
            assert said.output_tokens == words


class TestTools:
    def uses(self, prompt: Prompt) -> list[str]:
        said = answer(prompt, b"", 0)
        names = [block.name for block in said.blocks if isinstance(block, ToolUse)]
        assert (said.stop_reason == "tool_use") is bool(names)
        return names

    @pytest.mark.parametrize(
        ("text", "choice", "expected"),
        [
            ("hello", Choice.AUTO, []),
            ("look at Lyon", Choice.AUTO, ["look"]),
            ("LEAP and look", Choice.AUTO, ["leap", "look"]),
            ("hello", Choice.ANY, ["look"]),
            ("leap", Choice.ANY, ["leap"]),
            ("look", Choice.ONE, ["leap"]),
            ("look", Choice.NONE, []),
        ],
    )
    def test_which_are_used(self, text: str, choice: Choice, expected: list[str]) -> None:
        prompt = asked(text, tools=(LOOK, LEAP), choice=choice, tool_name="leap")
        assert self.uses(prompt) == expected

    def test_after_results_the_model_talks(self) -> None:
        assert self.uses(asked("look", tools=(LOOK,), tool_results=("seen",))) == []

    def test_arguments_come_from_the_text(self) -> None:
        said = answer(asked("look at the sky over Zürich", tools=(LOOK,)), b"", 0)
        assert [b.arguments for b in said.blocks if isinstance(b, ToolUse)] == [{"at": "Zürich"}]

    def test_text_goes_before_only_where_the_model_was_free(self) -> None:
        free = answer(asked("look", tools=(LOOK,)), b"", 0).blocks
        forced = answer(asked("look", tools=(LOOK,), choice=Choice.ANY), b"", 0).blocks
        assert [type(block) for block in free] == [Text, ToolUse]
        assert [type(block) for block in forced] == [ToolUse]


class TestReasoning:
    def test_it_comes_first_when_asked_for(self) -> None:
        blocks = answer(asked(thinking=True), b"", 0).blocks
        assert [type(block) for block in blocks] == [Reasoning, Text]

    def test_it_can_be_interleaved_and_redacted(self) -> None:
        interleaved = answer(asked(), b"", 0, Wishes(reasoning="interleaved")).blocks
        assert [type(block) for block in interleaved] == [Reasoning, Text, Reasoning, Text]
        redacted = answer(asked(), b"", 0, Wishes(reasoning="redacted")).blocks
        assert [type(block) for block in redacted] == [RedactedReasoning, Text]


def test_an_answer_in_json() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    said = answer(asked("where is Lyon", answer_schema=schema), b"", 0)
    assert msgspec.json.decode(said.text) == {"city": "Lyon"}
