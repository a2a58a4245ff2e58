"""Signs that a request must be changed: seen wherever the patient way finds something, hardly elsewhere."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.anthropic_invoke_blocks import OBJECT, Members, go_through, text_of
from stargate_core.dialects.anthropic_invoke_signs import Signs, signs_of

ALL = Signs(urls=True, files=True, scopes=True, marks=True)
URL = {"type": "url", "url": "https://a.test/"}
FILE = {"type": "file", "file_id": "f"}
SCOPED = {"type": "ephemeral", "scope": "global"}
SOURCES: st.SearchStrategy[Any] = st.sampled_from([URL, FILE, {"type": "base64", "data": ""}, "a text", None])
CONTROLS: st.SearchStrategy[Any] = st.sampled_from([SCOPED, {"type": "ephemeral"}, None])
BLOCKS: st.SearchStrategy[Any] = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.text(max_size=3),
            "source": SOURCES,
            "cache_control": CONTROLS,
            "input": SOURCES,
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "content": st.lists(inner, max_size=3) | inner | st.text(max_size=3),
            "source": st.fixed_dictionaries({"content": st.lists(inner, max_size=2)}),
            "cache_control": CONTROLS,
        },
    ),
    max_leaves=6,
)


def told(*blocks: Any, **members: Any) -> Signs:
    return signs_of(msgspec.json.encode({"messages": [{"role": "user", "content": list(blocks)}], **members}))


def found(body: bytes) -> Signs:
    """What the patient way finds."""
    signs = Signs()

    def visit(block: Members, place: str) -> bool:
        if place.endswith(".source"):
            signs.urls = signs.urls or text_of(block.get("type")) == "url"
            signs.files = signs.files or text_of(block.get("type")) == "file"
        control = msgspec.json.decode(block.get("cache_control", b"null"))
        signs.scopes = signs.scopes or (control is not None and "scope" in control)
        signs.marks = signs.marks or control is not None
        return False

    go_through(OBJECT.decode(body), lambda _: True, visit)
    return signs


@pytest.mark.parametrize(
    ("block", "signs"),
    [
        ({"type": "text", "text": '"type":"url" "file" "scope"'}, Signs()),
        ({"type": "image", "source": URL}, Signs(urls=True)),
        ({"type": "document", "source": FILE}, Signs(files=True)),
        ({"type": "tool_result", "content": [{"type": "image", "source": URL}]}, Signs(urls=True)),
        ({"type": "tool_result", "content": "a text"}, Signs()),
        ({"type": "x", "content": {"type": "document", "source": FILE}}, Signs(files=True)),
        ({"type": "document", "source": {"type": "content", "content": [{"source": URL}]}}, Signs(urls=True)),
        ({"type": "text", "text": "a", "cache_control": SCOPED}, Signs(scopes=True, marks=True)),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, Signs(marks=True)),
        ({"type": "text", "text": "a", "cache_control": None}, Signs()),
        ({"type": "text", "text": "a", "cache_control": {"scope": None}}, Signs(scopes=True, marks=True)),
        ({"type": "tool_use", "input": {"source": URL, "cache_control": SCOPED}}, Signs()),
        ({"type": "search_result", "source": "https://a.test/", "content": []}, Signs()),
    ],
)
def test_a_block_shows_what_it_has(block: Any, signs: Signs) -> None:
    assert told(block) == signs


@pytest.mark.parametrize(
    "members",
    [
        {"cache_control": SCOPED},
        {"system": [{"cache_control": SCOPED}]},
        {"tools": [{"cache_control": SCOPED}]},
    ],
)
def test_so_does_what_stands_beside_the_messages(members: Any) -> None:
    assert told(**members) == Signs(scopes=True, marks=True)


def test_most_requests_show_none() -> None:
    tools = [{"name": "fetch", "input_schema": {"properties": {"url": {"type": "string"}, "scope": {}}}}]
    assert told({"type": "text", "text": "a"}, system="Be brief.", tools=tools, x={"source": URL}) == Signs()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"messages":"a"}',
        b'{"messages":["a"]}',
        b'{"messages":[{"source":5}]}',
        b'{"messages":[{"cache_control":"a"}]}',
        b'{"messages":[],"tools":{}}',
        b'{"messages":' + b'[{"content":' * 5000 + b"1" + b"}]" * 5000 + b"}",
    ],
)
def test_an_unknown_shape_shows_all(body: bytes) -> None:
    assert signs_of(body) == ALL


def test_depth_without_measure_does_no_harm() -> None:
    deep = b'{"messages":' + b'[{"content":' * 300 + b'"a"' + b"}]" * 300 + b"}"
    assert signs_of(deep) in (Signs(), ALL)


@given(st.lists(BLOCKS, max_size=3), st.lists(BLOCKS, max_size=2))
def test_nothing_is_overlooked(blocks: list[Any], system: list[Any]) -> None:
    body = msgspec.json.encode({"messages": [{"role": "user", "content": blocks}], "system": system})
    assert signs_of(body) in (found(body), ALL)
