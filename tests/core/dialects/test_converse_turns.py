"""Turns changed for models that take less than others, and never in place."""

import copy
from typing import Any

import pytest

from stargate_core.dialects.converse_turns import nothing_beside_results, with_all_inside, without_thoughts

POINT = {"cachePoint": {"type": "default"}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "E"}}}


def text(said: str) -> dict[str, Any]:
    return {"text": said}


def result(identity: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": identity, "content": list(content) or [text("ok")]}}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


class TestWithoutThoughts:
    def test_nothing_else_is_lost(self) -> None:
        said = [user(text("a")), assistant(THOUGHT, text("b"), POINT), user(text("c"))]
        assert without_thoughts(said) == [user(text("a")), assistant(text("b"), POINT), user(text("c"))]

    def test_a_turn_of_nothing_else_is_gone_and_its_neighbours_are_one(self) -> None:
        said = [user(text("a")), assistant(THOUGHT, POINT), user(text("b"))]
        assert without_thoughts(said) == [user(text("a"), text("b"))]

    def test_of_two_turns_made_one_the_results_stand_first_with_their_marks(self) -> None:
        said = [
            user(result("1"), POINT, text("a"), POINT),
            assistant(THOUGHT),
            user(result("2"), result("3"), POINT, text("b")),
        ]
        assert without_thoughts(said) == [
            user(result("1"), POINT, result("2"), result("3"), POINT, text("a"), POINT, text("b"))
        ]


class TestNothingBesideResults:
    @pytest.mark.parametrize(
        ("model", "nothing"),
        [
            ("us.meta.llama3-3-70b-instruct-v1:0", True),
            ("mistral.mistral-large-2407-v1:0", True),
            ("us.mistral.pixtral-large-2502-v1:0", True),
            ("anthropic.claude-3-haiku-20240307-v1:0", False),
            ("amazon.nova-pro-v1:0", False),
        ],
    )
    def test_which_models_want_it(self, model: str, nothing: bool) -> None:
        assert nothing_beside_results(model) is nothing

    def test_what_is_said_goes_on_inside_the_last_result(self) -> None:
        said = [user(text("a")), user(result("1"), POINT, result("2"), POINT, text("b"), text("c"))]
        before = copy.deepcopy(said)
        assert with_all_inside(said) == [
            user(text("a")),
            user(result("1"), POINT, result("2", text("ok"), text("b"), text("c")), POINT),
        ]
        assert said == before

    def test_marks_behind_what_goes_inside_stay_outside(self) -> None:
        assert with_all_inside([user(result("1"), text("a"), POINT)]) == [
            user(result("1", text("ok"), text("a")), POINT)
        ]
