"""`stargate openapi`: a document that the specification's own validator takes, and real requests fit."""

import json
from importlib import metadata
from typing import Any, Final

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator

from stargate.cli.openapi import openapi

USER: Final = {"role": "user", "content": "hi"}


def printed(*args: str) -> str:
    result = CliRunner().invoke(openapi, args)
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed())
    return found


def validator(document: dict[str, Any], name: str) -> "jsonschema.Draft202012Validator":
    """Of one of its schemas."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema)


class TestDocument:
    def test_it_is_openapi(self, document: dict[str, Any]) -> None:
        assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []

    def test_a_slip_would_be_noticed(self, document: dict[str, Any]) -> None:
        broken = {**document, "paths": {"/v1/x": {"get": {"responses": {"200": {}}}}}}
        assert list(OpenAPIV31SpecValidator(broken).iter_errors())

    def test_every_schema_is_one(self, document: dict[str, Any]) -> None:
        for schema in document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)

    def test_it_is_of_this_gateway(self, document: dict[str, Any]) -> None:
        assert document["info"]["version"] == metadata.version("stargate-gateway")
        assert document["servers"] == [{"url": "http://127.0.0.1:8080"}]
        assert json.loads(printed("--server", "https://a.test"))["servers"] == [{"url": "https://a.test"}]

    def test_yaml_says_the_same_without_anchors(self, document: dict[str, Any]) -> None:
        text = printed("--yaml")
        assert yaml.safe_load(text) == document
        assert "&id0" not in text


GOOD: Final[list[tuple[str, dict[str, Any]]]] = [
    ("chat.ChatRequest", {"messages": [USER]}),
    (
        "chat.ChatRequest",
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
                {
                    "role": "assistant",
                    "tool_calls": [{"type": "function", "id": "1", "function": {"name": "f"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "x"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": "auto",
            "stream": True,
            "stream_options": {"include_usage": True},
            "top_k": 5,
        },
    ),
    ("responses.ResponsesRequest", {"input": "hi"}),
    (
        "responses.ResponsesRequest",
        {
            "input": [
                USER,
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "x"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {}}],
            "tool_choice": {"type": "function", "name": "f"},
            "store": False,
        },
    ),
    ("embeddings.EmbeddingRequest", {"input": ["a", "b"], "model": "m", "encoding_format": "base64"}),
    (
        "anthropic.MessagesRequest",
        {
            "model": "m",
            "max_tokens": 5,
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "x"}]}],
            "stream": True,
        },
    ),
    ("anthropic.CountTokensRequest", {"model": "m", "messages": [USER]}),
    ("bedrock.ConverseRequest", {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
]
BAD: Final[list[tuple[str, dict[str, Any]]]] = [
    ("chat.ChatRequest", {}),
    ("chat.ChatRequest", {"messages": []}),
    ("chat.ChatRequest", {"messages": [{"role": "nobody", "content": "x"}]}),
    ("chat.ChatRequest", {"messages": [USER], "max_tokens": 0}),
    ("responses.ResponsesRequest", {"input": 5}),
    ("embeddings.EmbeddingRequest", {"input": [[1, 2]]}),
    ("anthropic.MessagesRequest", {"messages": [USER]}),
    ("anthropic.MessagesRequest", {"messages": [USER], "max_tokens": 5, "temperature": 2}),
]


class TestBodies:
    @pytest.mark.parametrize(("name", "body"), GOOD)
    def test_requests_of_real_clients_fit(
        self, document: dict[str, Any], name: str, body: dict[str, Any]
    ) -> None:
        assert [error.message for error in validator(document, name).iter_errors(body)] == []

    @pytest.mark.parametrize(("name", "body"), BAD)
    def test_what_the_gateway_would_refuse_does_not(
        self, document: dict[str, Any], name: str, body: dict[str, Any]
    ) -> None:
        assert not validator(document, name).is_valid(body)
