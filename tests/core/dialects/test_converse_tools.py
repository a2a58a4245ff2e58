"""Tools for Converse: names that Bedrock takes and the answer gives back, schemas that go on as they came."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from stargate_core.dialects.converse_tools import (
    NO_PARAMETERS,
    changed_names,
    object_schema,
    safe_name,
    tool_spec,
)
from support.bedrock_model import objections


def written(value: object) -> Any:
    """What is sent of a value, as it is read again."""
    return msgspec.json.decode(msgspec.json.encode(value))


class TestNames:
    @given(st.text(min_size=1))
    def test_any_name_becomes_one_that_bedrock_takes(self, name: str) -> None:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", safe_name(name))
        assert safe_name(safe_name(name)) == safe_name(name)

    @given(st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True))
    def test_a_good_name_stays(self, name: str) -> None:
        assert safe_name(name) == name

    @given(st.lists(st.text(alphabet="ab./_", min_size=1), unique=True, max_size=30))
    def test_different_names_stay_different(self, names: list[str]) -> None:
        assert len({safe_name(name) for name in names}) == len(names)

    @given(st.lists(st.text(alphabet="ab./_", min_size=1), max_size=30))
    def test_whoever_knows_what_changed_finds_the_callers_own(self, names: list[str]) -> None:
        told = changed_names(names)
        assert [told.get(safe_name(name), safe_name(name)) for name in names] == names
        assert all(safe != name for safe, name in told.items())


class TestSchemas:
    @pytest.mark.parametrize(
        "schema",
        [
            b'{"type":"object"}',
            b'{"type": "object", "properties":{"n":{"maximum":1.0,"minimum":12345678901234567890123}}}',
            b'{"type":null}',
        ],
    )
    def test_one_with_a_type_goes_on_as_it_was_spelt(self, schema: bytes) -> None:
        assert msgspec.json.encode(object_schema(Raw(schema))) == schema

    def test_one_without_is_given_it(self) -> None:
        made = object_schema(Raw(b'{"properties":{"a":{"maximum":1.0}}}'))
        assert msgspec.json.encode(made) == b'{"type":"object","properties":{"a":{"maximum":1.0}}}'

    @pytest.mark.parametrize("schema", [b"[]", b'"object"', b"5", b"true", b"null", b'{"\xff":1}', b""])
    def test_what_is_no_object_is_none(self, schema: bytes) -> None:
        assert object_schema(Raw(schema)) is None


class TestSpecs:
    def test_all_that_can_be_said(self) -> None:
        spec = tool_spec("a.b", "Does it", {"type": "object"}, strict=True)
        assert spec == {
            "toolSpec": {
                "name": safe_name("a.b"),
                "description": "Does it",
                "inputSchema": {"json": {"type": "object"}},
                "strict": True,
            }
        }

    @pytest.mark.parametrize("description", [None, "", " \n"])
    @pytest.mark.parametrize("strict", [None, False])
    def test_what_says_nothing_is_left_out(self, description: str | None, strict: bool | None) -> None:
        assert written(tool_spec("f", description, strict=strict)) == {
            "toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}
        }

    @given(st.text(min_size=1))
    def test_a_tool_stands_for_itself_by_the_name_that_bedrock_knows(self, name: str) -> None:
        assert tool_spec(safe_name(name)) == tool_spec(name)

    @given(name=st.text(min_size=1), description=st.text() | st.none(), strict=st.booleans())
    def test_bedrock_takes_them(self, name: str, description: str | None, strict: bool) -> None:
        body = {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "toolConfig": {"tools": [tool_spec(name, description, NO_PARAMETERS, strict=strict)]},
        }
        assert objections("Converse", msgspec.json.encode(body), modelId="m") == []
