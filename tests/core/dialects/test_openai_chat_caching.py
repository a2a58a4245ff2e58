"""Cache points: in the caller's places, or in the gateway's, for models that take them."""

from typing import Any, ClassVar

import msgspec
import pytest

from stargate_core.dialects.openai_chat_caching import (
    cache_point,
    caches_system,
    caches_tools,
    marked_as_taken,
    marked_by_itself,
)
from stargate_core.dialects.openai_chat_request import CacheControl

SONNET_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
POINT = {"cachePoint": {"type": "default"}}


@pytest.mark.parametrize(
    ("model", "system", "tools"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", False, False),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", False, False),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", True, True),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", True, True),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", True, True),
        (SONNET_4, True, True),
        ("global.anthropic.claude-opus-4-6-v1", True, True),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0", True, True),
        ("anthropic.claude-v2:1", False, False),
        ("amazon.nova-micro-v1:0", True, False),
        ("us.amazon.nova-premier-v1:0", True, False),
        ("us.amazon.nova-2-lite-v1:0", True, False),
        ("amazon.nova-canvas-v1:0", False, False),
        ("amazon.titan-text-lite-v1", False, False),
        ("openai.gpt-oss-120b-1:0", False, False),
        ("meta.llama3-70b-instruct-v1:0", False, False),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", False, False),
    ],
)
def test_which_models_are_known_to_take_them(model: str, system: bool, tools: bool) -> None:
    assert (caches_system(model), caches_tools(model)) == (system, tools)


@pytest.mark.parametrize(
    ("mark", "point"),
    [
        (None, {"type": "default"}),
        (CacheControl(), {"type": "default"}),
        (CacheControl(ttl="5m"), {"type": "default", "ttl": "5m"}),
        (CacheControl(ttl="1h"), {"type": "default", "ttl": "1h"}),
        (CacheControl(ttl="30m"), {"type": "default"}),
    ],
    ids=repr,
)
def test_lifetimes_that_bedrock_has_are_passed_on(mark: CacheControl | None, point: dict[str, str]) -> None:
    assert cache_point(mark) == {"cachePoint": point}


class TestCallersMarks:
    HOUR: ClassVar[dict[str, Any]] = {"cachePoint": {"type": "default", "ttl": "1h"}}
    BODY: ClassVar[dict[str, Any]] = {
        "messages": [{"role": "user", "content": [{"text": "a"}, HOUR, {"text": "b"}]}],
        "system": [{"text": "a"}, HOUR],
        "toolConfig": {"tools": [{"toolSpec": {}}, HOUR], "toolChoice": {"any": {}}},
    }

    @pytest.mark.parametrize(
        "model",
        [
            SONNET_4,
            "anthropic.claude-3-haiku-20240307-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        ],
    )
    def test_go_to_claude_and_to_whom_may_be_one_as_they_are(self, model: str) -> None:
        assert marked_as_taken(self.BODY, model) == self.BODY

    def test_tell_nova_no_time_and_not_among_tools(self) -> None:
        before = msgspec.json.encode(self.BODY)
        assert marked_as_taken(self.BODY, "us.amazon.nova-pro-v1:0") == {
            "messages": [{"role": "user", "content": [{"text": "a"}, POINT, {"text": "b"}]}],
            "system": [{"text": "a"}, POINT],
            "toolConfig": {"tools": [{"toolSpec": {}}], "toolChoice": {"any": {}}},
        }
        assert msgspec.json.encode(self.BODY) == before

    @pytest.mark.parametrize("model", ["meta.llama3-70b-instruct-v1:0", "openai.gpt-oss-120b-1:0"])
    def test_are_left_out_for_who_does_not_cache(self, model: str) -> None:
        assert marked_as_taken(self.BODY, model) == {
            "messages": [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}],
            "system": [{"text": "a"}],
            "toolConfig": {"tools": [{"toolSpec": {}}], "toolChoice": {"any": {}}},
        }


class TestByItself:
    BODY: dict[str, Any] = {
        "messages": [],
        "system": [{"text": "a"}],
        "toolConfig": {"tools": [{"toolSpec": {}}], "toolChoice": {"any": {}}},
    }

    def test_behind_the_system_text_and_the_tools(self) -> None:
        assert marked_by_itself(self.BODY, SONNET_4) == {
            "messages": [],
            "system": [{"text": "a"}, POINT],
            "toolConfig": {"tools": [{"toolSpec": {}}, POINT], "toolChoice": {"any": {}}},
        }

    def test_where_the_model_takes_it(self) -> None:
        assert marked_by_itself(self.BODY, "amazon.nova-pro-v1:0") == {
            **self.BODY,
            "system": [{"text": "a"}, POINT],
        }
        assert marked_by_itself(self.BODY, "openai.gpt-oss-20b-1:0") == self.BODY

    def test_where_there_is_something_to_keep(self) -> None:
        assert marked_by_itself({"messages": []}, SONNET_4) == {"messages": []}

    def test_another_target_gets_the_body_as_it_was(self) -> None:
        before = repr(self.BODY)
        marked_by_itself(self.BODY, SONNET_4)
        assert repr(self.BODY) == before


@pytest.mark.parametrize("rest", [(), ("system",), ("toolConfig",), ("system", "toolConfig")])
def test_marks_go_from_wherever_they_stand(rest: tuple[str, ...]) -> None:
    said, point = {"text": "a"}, {"cachePoint": {"type": "default"}}
    whole: dict[str, Any] = {"system": [said, point], "toolConfig": {"tools": [{"toolSpec": {}}, point]}}
    body = {"messages": [{"role": "user", "content": [said, point]}], **{name: whole[name] for name in rest}}
    marked = marked_as_taken(body, "meta.llama3-70b-instruct-v1:0")
    assert "cachePoint" not in str(marked)
    assert marked.keys() == body.keys()
