"""Routes and members: AWS's model decides; what, is shown on bodies that break one rule each."""

import base64
import json
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.simulator.errors import Refusal
from stargate.simulator.service_model import SIMULATED, Call, check, operation_model, route, stream_exceptions
from support.simulator import CLAUDE, Wire, signed

JSON: Final = {"content-type": "application/json"}
CACHE: Final = {"type": "default"}
HELLO: Final = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
EXTRANEOUS: Final = (
    "Malformed input request: #: extraneous key [temperature] is not permitted, please reformat your "
    "input and try again."
)
TOO_HOT: Final = (
    "1 validation error detected: Value '1.5' at 'inferenceConfig.temperature' failed to satisfy "
    "constraint: Member must have value less than or equal to 1"
)
NO_ROLE: Final = (
    "Value 'tool' at 'messages.1.member.role' failed to satisfy constraint: Member must satisfy enum "
    "value set: ["
)
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"


class TestRoutes:
    @pytest.mark.parametrize(
        ("wire", "model_id"),
        [
            ("anthropic.claude-3-haiku-20240307-v1%3A0", CLAUDE),
            ("anthropic.claude-3-haiku-20240307-v1:0", CLAUDE),
            (quote(ARN, safe=""), ARN),
            (quote(ARN, safe=":"), ARN),
            ("anthropic.claude-3-haiku-20240307-v1%253A0", "anthropic.claude-3-haiku-20240307-v1%3A0"),
        ],
    )
    @pytest.mark.parametrize(
        ("last", "operation"),
        [
            ("converse", "Converse"),
            ("converse-stream", "ConverseStream"),
            ("invoke", "InvokeModel"),
            ("invoke-with-response-stream", "InvokeModelWithResponseStream"),
            ("count-tokens", "CountTokens"),
        ],
    )
    def test_a_label_is_decoded_once(self, wire: str, model_id: str, last: str, operation: str) -> None:
        call = route(b"POST", f"/model/{wire}/{last}".encode())
        assert call == Call(operation, {"modelId": model_id})

    @given(st.text(min_size=1))
    def test_every_id_that_botocore_can_send_arrives_whole(self, model_id: str) -> None:
        # botocore's own encoding of a label: everything but letters, digits and -._~
        path = f"/model/{quote(model_id.encode('utf-8', 'replace'), safe='-._~')}/converse"
        call = route(b"POST", path.encode())
        assert call is not None
        assert call.model_id == model_id.encode("utf-8", "replace").decode()

    def test_two_labels(self) -> None:
        call = route(b"POST", b"/guardrail/abc/version/DRAFT/apply?x=y")
        assert call == Call(
            "ApplyGuardrail", {"guardrailIdentifier": "abc", "guardrailVersion": "DRAFT"}, {"x": "y"}
        )

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            (b"GET", b"/model/x.y/converse"),
            (b"POST", b"/model//converse"),
            (b"POST", b"/model/x.y/Converse"),
            (b"POST", b"/model/x.y/converse/"),
            (b"POST", b"/model/x/y/converse"),
            (b"POST", b"/"),
            (b"POST", b"*"),
            (b"POST", b"/model/x.y/invoke-with-bidirectional-stream"),
        ],
    )
    def test_what_is_no_operation(self, method: bytes, target: bytes) -> None:
        assert route(method, target) is None

    def test_the_answer_to_what_is_no_operation(self) -> None:
        reply = Wire().ask(signed("/model/x.y/sing", b"{}"))
        assert reply.status == 404
        assert reply.json()["Output"]["__type"] == "com.amazon.coral.service#UnknownOperationException"

    def test_an_arn_with_a_raw_slash_gets_a_200_that_is_none(self) -> None:
        reply = Wire().ask(signed(f"/model/{ARN}/converse", json.dumps(HELLO).encode()))
        assert reply.status == 200
        assert reply.json()["Output"]["__type"].endswith("#UnknownOperationException")

    def test_the_streams_exceptions_are_the_models(self) -> None:
        assert "throttlingException" in stream_exceptions("ConverseStream")
        assert "modelTimeoutException" in stream_exceptions("InvokeModelWithResponseStream")
        assert stream_exceptions("Converse") == ()

    def test_every_simulated_operation_is_the_models(self) -> None:
        assert all(operation_model(name).name == name for name in SIMULATED)


def refused(body: Any, operation: str = "Converse", headers: dict[str, str] = JSON) -> tuple[str, str]:
    """The name and the message of the refusal a body gets."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refusal) as refusal:
        check(Call(operation, {"modelId": CLAUDE}), headers, raw)
    return refusal.value.error.name, refusal.value.error.message


class TestMembers:
    def test_a_good_body(self) -> None:
        members = check(Call("Converse", {"modelId": CLAUDE}), JSON, json.dumps(HELLO).encode())
        assert members == {"modelId": CLAUDE, **HELLO}

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"a":1}{', b"\xff{}", b"[" * 100_000])
    def test_no_json_object(self, body: bytes) -> None:
        assert refused(body)[0] == "SerializationException"

    def test_an_unknown_member_in_awss_words(self) -> None:
        assert refused({**HELLO, "temperature": 1}) == (
            "ValidationException",
            EXTRANEOUS,
        )

    def test_the_model_id_does_not_belong_in_the_body(self) -> None:
        assert "extraneous key [modelId]" in refused({**HELLO, "modelId": CLAUDE})[1]

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({**HELLO, "messages": "hi"}, "Invalid type for parameter messages"),
            ({"messages": [{"content": []}]}, 'Missing required parameter in messages[0]: "role"'),
            ({"messages": [{"role": "user", "content": [{"tex": "hi"}]}]}, 'Unknown parameter in'),
            ({"messages": [{"role": "user", "content": [{}]}]}, "Must set one of the following keys"),
            (
                {"messages": [{"role": "user", "content": [{"text": "a", "cachePoint": CACHE}]}]},
                "Can only set one of the following keys",
            ),
            ({**HELLO, "inferenceConfig": {"maxTokens": 0}}, "valid min value: 1"),
            ({**HELLO, "inferenceConfig": {"maxTokens": "9"}}, "Invalid type for parameter"),
            ({**HELLO, "inferenceConfig": {"maxTokens": 1.5}}, "Invalid type for parameter"),
            ({**HELLO, "inferenceConfig": {"maxTokens": True}}, "Member must be a number"),
            ({**HELLO, "inferenceConfig": {"stopSequences": [""]}}, "valid min length: 1"),
            (
                {**HELLO, "inferenceConfig": {"temperature": 1.5}},
                TOO_HOT,
            ),
            (
                {"messages": [{"role": "tool", "content": [{"text": "hi"}]}]},
                NO_ROLE,
            ),
            ({**HELLO, "requestMetadata": {"a": "späť"}}, "Member must satisfy regular expression pattern"),
            ({**HELLO, "additionalModelResponseFieldPaths": ["/a"] * 11}, "length less than or equal to 10"),
            (
                {
                    **HELLO,
                    "inferenceConfig": {"temperature": 2, "topP": 2},
                },
                "2 validation errors detected:",
            ),
        ],
    )  # fmt: skip
    def test_a_body_that_breaks_the_model(self, body: dict[str, Any], words: str) -> None:
        name, message = refused(body)
        assert name == "ValidationException"
        assert words in message

    def test_null_counts_as_absent(self) -> None:
        body = {**HELLO, "system": None, "inferenceConfig": {"maxTokens": None}}
        members = check(Call("Converse", {"modelId": CLAUDE}), JSON, json.dumps(body).encode())
        assert members == {"modelId": CLAUDE, **HELLO, "inferenceConfig": {}}

    def test_null_stays_inside_documents(self) -> None:
        body = {**HELLO, "additionalModelRequestFields": {"a": None}}
        members = check(Call("Converse", {"modelId": CLAUDE}), JSON, json.dumps(body).encode())
        assert members["additionalModelRequestFields"] == {"a": None}

    def test_blobs_are_base64(self) -> None:
        def image(data: object) -> dict[str, Any]:
            block = {"image": {"format": "png", "source": {"bytes": data}}}
            return {"messages": [{"role": "user", "content": [block]}]}

        good = json.dumps(image(base64.b64encode(b"\x89PNG").decode())).encode()
        members = check(Call("Converse", {"modelId": CLAUDE}), JSON, good)
        assert members["messages"][0]["content"][0]["image"]["source"]["bytes"] == b"\x89PNG"
        assert "base64" in refused(image("not base64!"))[1]
        assert "expected type: String, found: Integer" in refused(image(7))[1]

    @pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_another_media_type(self, media_type: str) -> None:
        assert refused(HELLO, headers={"content-type": media_type})[0] == "UnsupportedMediaTypeException"

    @pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
    def test_the_right_media_type_in_other_spellings(self, media_type: str) -> None:
        check(Call("Converse", {"modelId": CLAUDE}), {"content-type": media_type}, json.dumps(HELLO).encode())

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("x-amzn-bedrock-trace", "enabled"),
            ("x-amzn-bedrock-guardrailversion", "latest"),
            ("x-amzn-bedrock-service-tier", "gold"),
        ],
    )
    def test_headers_are_members_too(self, header: str, value: str) -> None:
        name, message = refused(b"{}", "InvokeModel", {**JSON, header: value})
        assert name == "ValidationException"
        assert f"Value '{value}'" in message

    @pytest.mark.parametrize("model_id", ["x y", "a.b%3A0", "a" * 2049, "../x"])
    def test_model_ids_that_do_not_fit_the_pattern(self, model_id: str) -> None:
        with pytest.raises(Refusal, match="at 'modelId' failed to satisfy constraint"):
            check(Call("Converse", {"modelId": model_id}), JSON, json.dumps(HELLO).encode())
