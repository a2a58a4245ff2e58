"""Going through a request's blocks: which objects are seen, and that nothing beside a change is changed."""

from typing import Any, TypeGuard

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from stargate_core.dialects.anthropic_invoke_blocks import (
    OBJECT,
    Members,
    encoded,
    go_through,
    opening,
    text_of,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("mark"), inner, max_size=3),
    max_leaves=12,
)
BLOCKS: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(st.sampled_from(["type", "text", "mark", "input", "schema"]), JSON, max_size=3),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "content": st.lists(inner, max_size=3) | inner,
            "source": inner,
            "mark": JSON,
            "input": JSON,
        },
    ),
    max_leaves=6,
)


def may_be_marked(data: bytes) -> bool:
    return b'"mark"' in data


def seen(body: bytes) -> list[str]:
    """The places that are visited."""
    places: list[str] = []

    def visit(_block: Members, place: str) -> bool:
        places.append(place)
        return False

    go_through(OBJECT.decode(body), may_be_marked, visit)
    return places


def marked(body: bytes) -> bytes:
    """The body when every object's own `mark` has been made 1."""

    def visit(block: Members, _place: str) -> bool:
        if "mark" not in block:
            return False
        block["mark"] = Raw(b"1")
        return True

    members = OBJECT.decode(body)
    go_through(members, may_be_marked, visit)
    return encoded(members)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def expected(value: Any) -> Any:
    """A tree of blocks when every block's own `mark` is 1."""
    if is_array(value):
        return [expected(item) for item in value]
    if not is_object(value):
        return value
    return {
        name: 1 if name == "mark" else expected(item) if name in ("content", "source") else item
        for name, item in value.items()
    }


class TestSeen:
    def test_are_the_objects_where_anthropic_nests_blocks(self) -> None:
        body: Any = {
            "system": [{"type": "text", "mark": 1}],
            "tools": [{"name": "a", "mark": 1}],
            "messages": [
                {"role": "user", "content": "no mark here"},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "content": [{"type": "image", "source": {"mark": 1}}]},
                        {"type": "text"},
                        {"type": "document", "source": {"type": "content", "content": [{"mark": 1}]}},
                    ],
                },
            ],
        }
        assert seen(msgspec.json.encode(body)) == [
            "",
            "system.0",
            "tools.0",
            "messages.1",
            "messages.1.content.0",
            "messages.1.content.0.content.0",
            "messages.1.content.0.content.0.source",
            "messages.1.content.2",
            "messages.1.content.2.source",
            "messages.1.content.2.source.content.0",
        ]

    @pytest.mark.parametrize(
        "body",
        [
            {"tools": [{"input_schema": {"mark": 1, "content": {"mark": 1}}}]},
            {"messages": [{"content": [{"type": "tool_use", "input": {"content": [{"mark": 1}]}}]}]},
        ],
    )
    def test_a_schema_and_an_input_are_the_callers_own(self, body: Any) -> None:
        assert marked(msgspec.json.encode(body)) == msgspec.json.encode(body)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b'{"messages":"mark \\"mark\\""}', b'{"messages":"mark \\"mark\\""}'),
            (b'{"messages":[["mark"],"mark",{"mark":2}, 5]}', b'{"messages":[["mark"],"mark",{"mark":1},5]}'),
            (b'{"system":{"content":"\\"mark\\""}}', b'{"system":{"content":"\\"mark\\""}}'),
            (
                b'{"messages":[{"source":"\\"mark\\"","mark" : 7}]}',
                b'{"messages":[{"source":"\\"mark\\"","mark":1}]}',
            ),
        ],
    )
    def test_odd_shapes_are_left_alone(self, before: bytes, after: bytes) -> None:
        assert marked(before) == after

    def test_depth_without_measure_does_no_harm(self) -> None:
        body = b'{"messages":[' + b'{"content":[' * 150 + b'{"mark":2}' + b"]}" * 150 + b"]}"
        assert marked(body) == body


class TestKept:
    def test_numbers_escapes_spaces_and_order_stay_beside_a_change(self) -> None:
        block = b'{"z":"\\u00e9\\/", "n":1e2}'
        before = b'{"b":1.0,"messages":[{"role":"user","content":[%b,{"mark":[ ]}]}],"a" :[ ]}' % block
        after = b'{"b":1.0,"messages":[{"role":"user","content":[%b,{"mark":1}]}],"a":[ ]}' % block
        assert marked(before) == after

    @given(
        st.dictionaries(
            st.sampled_from(["system", "tools", "messages", "model"]), st.lists(BLOCKS, max_size=3)
        )
    )
    def test_a_visit_that_changes_nothing_leaves_every_byte(self, body: dict[str, Any]) -> None:
        raw = msgspec.json.encode(body)
        members = OBJECT.decode(raw)
        go_through(members, may_be_marked, lambda _block, _place: False)
        assert encoded(members) == raw

    @given(st.lists(BLOCKS, max_size=3))
    def test_a_change_is_made_where_it_is_asked_for_and_nowhere_else(self, blocks: list[Any]) -> None:
        body = msgspec.json.encode({"messages": blocks})
        assert msgspec.json.decode(marked(body)) == {"messages": expected(blocks)}


class TestValues:
    def test_a_text_is_told_from_what_is_none(self) -> None:
        assert text_of(Raw(b'"a\\u0062"')) == "ab"
        for other in (None, Raw(b"1"), Raw(b"null"), Raw(b"[]")):
            assert text_of(other) is None

    def test_a_value_is_told_by_its_first_byte(self) -> None:
        assert [opening(Raw(raw)) for raw in (b"[]", b"{}", b"1", b'"a"')] == [b"[", b"{", b"1", b'"']


def test_a_block_that_is_no_text_is_left_as_it_is() -> None:
    block = b'{"mark":0,"\xff":1}'
    body = b'{"messages":[{"mark":0},' + block + b"]}"
    assert seen(body) == ["", "messages.0"]
    assert block in marked(body)
