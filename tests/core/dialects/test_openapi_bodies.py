"""The schemas of requests: whose types they are made of, and what is said of each member."""

from typing import Any, Final

import pytest

from stargate_core.aws.operations import BodyKind
from stargate_core.dialects.anthropic_converse_types import MessagesRequest
from stargate_core.dialects.bedrock_native import SERVED
from stargate_core.dialects.openai_chat_parameters import EXTENSIONS, PARAMETERS
from stargate_core.dialects.openai_chat_request import ChatRequest
from stargate_core.dialects.openai_embeddings_request import EmbeddingRequest
from stargate_core.dialects.openai_responses_parameters import PARAMETERS as RESPONSES_PARAMETERS
from stargate_core.dialects.openai_responses_request import ResponsesRequest
from stargate_core.dialects.openapi_bodies import NATIVE, native_name, schemas
from stargate_core.dialects.parameters import Fate

SCHEMAS: Final = schemas()


def members(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMAS[name]["properties"]
    return found


class TestMembers:
    @pytest.mark.parametrize(
        ("name", "struct"),
        [
            ("chat.ChatRequest", ChatRequest),
            ("responses.ResponsesRequest", ResponsesRequest),
            ("embeddings.EmbeddingRequest", EmbeddingRequest),
            ("anthropic.MessagesRequest", MessagesRequest),
            ("anthropic.CountTokensRequest", MessagesRequest),
        ],
    )
    def test_every_member_that_is_read_is_there(self, name: str, struct: Any) -> None:
        assert set(struct.__struct_encode_fields__) <= members(name).keys()

    @pytest.mark.parametrize(
        ("name", "table"),
        [("chat.ChatRequest", PARAMETERS), ("responses.ResponsesRequest", RESPONSES_PARAMETERS)],
    )
    def test_every_parameter_says_what_becomes_of_it(self, name: str, table: Any) -> None:
        for parameter, row in table.items():
            described = members(name)[parameter]["description"]
            assert row.reason in described
            assert described.startswith("Refused:") == (row.fate is Fate.REFUSED)

    def test_converses_own_words_say_that_they_are(self) -> None:
        for name in EXTENSIONS:
            assert members("chat.ChatRequest")[name]["description"].startswith("Converse's own")

    def test_the_type_of_a_member_stays(self) -> None:
        assert members("chat.ChatRequest")["top_p"]["anyOf"][0] == {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
        }
        assert members("anthropic.MessagesRequest")["messages"]["minItems"] == 1

    @pytest.mark.parametrize(
        "name", ["chat.ChatRequest", "responses.ResponsesRequest", "anthropic.MessagesRequest"]
    )
    def test_other_members_may_be_sent(self, name: str) -> None:
        assert SCHEMAS[name].get("additionalProperties", True) is not False

    def test_a_schema_of_the_callers_may_be_any(self) -> None:
        assert members("chat.Function")["parameters"] == {}


class TestRequired:
    @pytest.mark.parametrize(
        ("name", "required"),
        [
            ("chat.ChatRequest", ["messages"]),
            ("responses.ResponsesRequest", ["input"]),
            ("embeddings.EmbeddingRequest", ["input"]),
            ("anthropic.MessagesRequest", ["messages", "max_tokens"]),
            ("anthropic.CountTokensRequest", ["messages"]),
        ],
    )
    def test_what_must_be_there(self, name: str, required: list[str]) -> None:
        assert SCHEMAS[name]["required"] == required

    def test_what_is_told_by_its_type_says_it(self) -> None:
        assert SCHEMAS["responses.FunctionCall"]["properties"]["type"] == {"const": "function_call"}
        assert "type" in SCHEMAS["responses.FunctionCall"]["required"]
        assert "type" not in SCHEMAS["responses.Message"]["required"]


class TestNative:
    def test_every_body_of_json_has_a_schema(self) -> None:
        for operation in SERVED:
            if operation.spec.request is BodyKind.JSON:
                assert native_name(operation) in SCHEMAS

    def test_what_streams_asks_as_what_does_not(self) -> None:
        assert {native_name(operation) for operation in NATIVE} == {
            name for name in SCHEMAS if name.startswith("bedrock.")
        }

    def test_none_of_them_closes(self) -> None:
        assert all("additionalProperties" not in schema for schema in NATIVE.values())
