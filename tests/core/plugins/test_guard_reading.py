"""What guards can read, and what they say of the rest."""

from typing import Any

import msgspec
import pytest

from stargate_core.dialects.bedrock_native_answer import NativePart
from stargate_core.dialects.face import Part, PartKind, Request
from stargate_core.dialects.registry import BEDROCK_NATIVE, OPENAI_CHAT, OPENAI_MODELS
from stargate_core.dialects.texts import Form, Place, Speaker
from stargate_core.faults import Cause, Refused
from stargate_core.phases import Context, Phase
from stargate_core.plugins.guard_reading import check_answer, is_readable, read_request, words_in


def asking(path: str, body: bytes, dialect: Any = BEDROCK_NATIVE, method: bytes = b"POST") -> Context:
    """A context in access."""
    target = path.encode()
    ctx = Context(Request(method, target, target, b"", [], body, "0" * 32, 0), 0, 0, [])
    ctx.know_dialect(dialect)
    ctx.phase = Phase.ACCESS
    return ctx


INVOKE, STREAM = "/model/m/invoke", "/model/m/invoke-with-response-stream"


class TestRequests:
    def test_a_body_and_its_texts(self) -> None:
        read = read_request(asking(INVOKE, b'{"prompt":"hi"}'), "guard", strict=True)
        assert read is not None
        assert [one.text for one in read[1].places] == ["hi"]

    @pytest.mark.parametrize(
        "ctx",
        [
            asking("/foundation-models", b"", method=b"GET"),
            asking("/v1/models", b"{}", OPENAI_MODELS, b"GET"),
        ],
        ids=["no body", "local"],
    )
    def test_nothing_to_read(self, ctx: Context) -> None:
        assert read_request(ctx, "guard", strict=True) is None

    def test_no_json_is_a_matter_of_policy_where_bedrock_takes_any(self) -> None:
        assert read_request(asking(INVOKE, b"\x00"), "guard", strict=False) is None
        with pytest.raises(Refused, match="PROMPT_REFUSED"):
            read_request(asking(INVOKE, b"\x00"), "guard", strict=True)
        deep = b'{"messages":[{"role":"user","content":"a"}],"x":' + b"[" * 300 + b"]" * 300 + b"}"
        with pytest.raises(Refused) as refused:
            read_request(asking("/v1/chat/completions", deep, OPENAI_CHAT), "guard", strict=False)
        assert refused.value.fault.cause is Cause.BODY_MALFORMED


class TestAnswers:
    @pytest.mark.parametrize(
        ("ctx", "fine"),
        [
            (asking(INVOKE, b"{}"), True),
            (asking(STREAM, b"{}"), False),
            (asking(STREAM, b"\x00"), False),
            (asking(STREAM, b'{"anthropic_version":""}'), True),
            (asking("/async-invoke", b'{"modelId":"m","modelInput":{}}'), False),
            (asking("/v1/chat/completions", b'{"messages":[]}', OPENAI_CHAT), True),
        ],
    )
    def test_what_will_be_readable_is_known_before(self, ctx: Context, fine: bool) -> None:
        if ctx.dialect == "openai-chat":
            ctx.know_request(
                msgspec.structs.replace(
                    ctx.known_request, body=b'{"messages":[{"role":"user","content":"a"}]}'
                )
            )
        if fine:
            check_answer(ctx, "guard")
            return
        with pytest.raises(Refused):
            check_answer(ctx, "guard")

    @pytest.mark.parametrize(
        ("name", "payload", "fine"),
        [
            ("", {}, True),
            ("", None, False),
            ("chunk", {"type": "ping"}, True),
            ("chunk", {"amazon-bedrock-invocationMetrics": {}}, True),
            ("chunk", {"outputText": "a"}, False),
            ("chunk", [], False),
        ],
    )
    def test_parts(self, name: str, payload: Any, fine: bool) -> None:
        ctx = asking(INVOKE, b"{}")
        ctx.phase = Phase.BODY_FILTER
        ctx.know_part(
            NativePart(PartKind.EVENT, name, payload) if name else Part(PartKind.EVENT, name, payload)
        )
        assert is_readable(ctx) == fine


class TestWords:
    @pytest.mark.parametrize(
        ("text", "form", "words"),
        [
            ("a\\u0062", Form.TEXT, "a\\u0062"),
            ('{"x": "\\u0062"}', Form.JSON, '{"x": "\\u0062"}\nb\nx'),
            ("no json", Form.JSON, "no json"),
            ("\ud800", Form.JSON, "\ud800"),
        ],
    )
    def test_of_a_place(self, text: str, form: Form, words: str) -> None:
        assert words_in(Place(Speaker.USER, 0, form, {"a": text}, "a")) == words
