"""Marks that the gateway sets itself: on the last system text and the last tool, and on nothing else."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.dialects.anthropic_invoke_blocks import OBJECT, encoded
from stargate_core.dialects.anthropic_invoke_caching import mark_by_itself

SONNET: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
MARK: Final = {"type": "ephemeral"}


def marked(body: Any, model: str = SONNET) -> Any:
    members = OBJECT.decode(body if isinstance(body, bytes) else msgspec.json.encode(body))
    mark_by_itself(members, model)
    return msgspec.json.decode(encoded(members))


def test_a_bare_system_text_becomes_its_block() -> None:
    assert marked({"system": "Be brief."}) == {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    }


def test_of_several_blocks_the_last_one_is_marked() -> None:
    system = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    tools: list[Any] = [{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {}}]
    assert marked({"system": system, "tools": tools}) == {
        "system": [system[0], {**system[1], "cache_control": MARK}],
        "tools": [tools[0], {**tools[1], "cache_control": MARK}],
    }


def test_bytes_beside_them_stay() -> None:
    body = b'{"tools":[{"name":"a", "n" : 1.0},{"name":"\\u00e9","n" : 1e2}],"system":"a\\/b"}'
    members = OBJECT.decode(body)
    mark_by_itself(members, SONNET)
    assert bytes(members["tools"]) == (
        b'[{"name":"a", "n" : 1.0},{"name":"\\u00e9","n":1e2,"cache_control":{"type":"ephemeral"}}]'
    )
    assert (
        bytes(members["system"]) == b'[{"type":"text","text":"a\\/b","cache_control":{"type":"ephemeral"}}]'
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"system": ""},
        {"system": " \n"},
        {"system": []},
        {"system": None},
        {"system": ["a"]},
        {"system": [{"type": "text", "text": " "}]},
        {"system": 5},
        {"tools": []},
        {"tools": [{"name": "a", "defer_loading": True}]},
        {"tools": "a"},
        {"messages": [{"role": "user", "content": "a"}]},
    ],
)
def test_what_takes_no_mark_is_left_alone(body: Any) -> None:
    assert marked(body) == body


@pytest.mark.parametrize("model", ["anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-lite-v1:0"])
def test_so_is_all_of_a_model_that_is_not_known_to_cache(model: str) -> None:
    assert marked({"system": "Be brief."}, model) == {"system": "Be brief."}
