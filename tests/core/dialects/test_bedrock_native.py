"""Bedrock's own API: boto3, with nothing patched, on one side; recorded answers, byte for byte, on the
other.
"""

import json
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
import pytest
from botocore.exceptions import ClientError, EventStreamError
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.bedrock_native import SERVED, BedrockNative
from stargate_core.dialects.face import Ask, Call, Headers, Reply, Request, Target
from stargate_core.faults import TABLE, Blame, Cause, Fault, Refused, fault_of_aws
from stargate_core.wire.eventstream import encode_exception
from support.bedrock_model import service_model
from support.dialects import a_request, answered
from support.sdks import Gateway, bedrock_client
from support.vectors import Recording, recordings

NATIVE = BedrockNative()
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6"
ENCODED = ARN.replace(":", "%3A").replace("/", "%2F").encode()
OPERATIONS = ("converse", "converse-stream", "invoke", "invoke-with-response-stream", "count-tokens")

RECORDED = [r for r in recordings() if r.status == 200]


def read(path: bytes, body: bytes = b"{}", method: bytes = b"POST") -> Ask:
    return NATIVE.read(a_request(body, path, method))


def refused(path: bytes, body: bytes = b"{}", method: bytes = b"POST") -> Cause:
    with pytest.raises(Refused) as caught:
        read(path, body, method)
    return caught.value.fault.cause


def headers_of(recording: Recording) -> Headers:
    return [(name.encode(), value.encode()) for name, value in recording.response_headers.items()]


def gateway(headers: Headers, body: bytes) -> Gateway:
    def handle(request: Request) -> Reply:
        return answered(NATIVE, request, "some.target", headers, body)

    return handle


@pytest.mark.parametrize("recording", RECORDED, ids=lambda recording: recording.file)
def test_a_recorded_answer_is_handed_on_byte_for_byte(recording: Recording) -> None:
    path = "/" + recording.uri.split("?")[0].split("/", 3)[3]
    reply = answered(NATIVE, a_request(b"{}", path.encode()), "x", headers_of(recording), recording.body)
    assert reply.status == 200
    assert reply.body == recording.body
    kept = dict(reply.headers)
    assert kept.get(b"content-type") == recording.response_headers["content-type"].encode()
    assert kept.get(b"x-amzn-requestid", b"").decode() == recording.response_headers.get(
        "x-amzn-requestid", ""
    )
    # Counts of tokens among them.
    bedrocks = {n: v for n, v in recording.response_headers.items() if n.startswith("x-amzn-bedrock-")}
    assert bedrocks == {
        name.decode(): value.decode() for name, value in kept.items() if name.startswith(b"x-amzn-bedrock-")
    }


class TestPaths:
    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize(
        ("segment", "model"),
        [
            (b"anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
            (b"anthropic.claude-3-haiku-20240307-v1%3A0", "anthropic.claude-3-haiku-20240307-v1:0"),
            (b"claude", "claude"),
            (ENCODED, ARN),
        ],
    )
    def test_operation_and_model(self, operation: str, segment: bytes, model: str) -> None:
        ask = read(b"/model/" + segment + b"/" + operation.encode())
        assert ask.model == model
        assert ask.operation in SERVED
        assert ask.stream is ("stream" in operation)
        assert not ask.local

    def test_a_guardrail_has_no_model(self) -> None:
        request = a_request(b'{"content":[]}', b"/guardrail/gr%2F1/version/DRAFT/apply")
        ask = NATIVE.read(request)
        assert (ask.model, ask.operation) == (None, Operation.APPLY_GUARDRAIL)
        assert NATIVE.compose(request, ask, Target("x")).target == b"/guardrail/gr%2F1/version/DRAFT/apply"

    @pytest.mark.parametrize(
        ("method", "path", "cause"),
        [
            (b"GET", b"/model/x/converse", Cause.METHOD_NOT_ALLOWED),
            (b"DELETE", b"/guardrail/x/version/1/apply", Cause.METHOD_NOT_ALLOWED),
            (b"POST", b"/model/x/converse/", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/model/x/unheard-of", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/model/a/b/converse", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/model//converse", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/model/%2e%2e/converse", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/model/%zz/converse", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/async-invoke/", Cause.ROUTE_UNKNOWN),
            (b"GET", b"/async-invoke/a/b", Cause.ROUTE_UNKNOWN),
            (b"GET", b"/async-invoke/", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/async-invoke/a", Cause.METHOD_NOT_ALLOWED),
            (b"DELETE", b"/async-invoke", Cause.METHOD_NOT_ALLOWED),
            (b"GET", b"/guardrail-checks/invoke", Cause.METHOD_NOT_ALLOWED),
            (b"POST", b"/guardrail-checks/other", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/foundation-models", Cause.METHOD_NOT_ALLOWED),
            (b"GET", b"/foundation-models/a/b", Cause.ROUTE_UNKNOWN),
            # What would change the account.
            (b"POST", b"/inference-profiles", Cause.METHOD_NOT_ALLOWED),
            (b"DELETE", b"/inference-profiles/x", Cause.METHOD_NOT_ALLOWED),
            (b"GET", b"/foundation-model-availability/x", Cause.ROUTE_UNKNOWN),
            (b"POST", b"/model/x/invoke-with-bidirectional-stream", Cause.HTTP_UNSUPPORTED),
        ],
    )
    def test_what_is_not_served_is_refused(self, method: bytes, path: bytes, cause: Cause) -> None:
        assert refused(path, method=method) is cause


class TestBodies:
    @pytest.mark.parametrize("operation", ["converse", "converse-stream", "count-tokens"])
    @pytest.mark.parametrize(
        ("body", "cause"),
        [
            (b"", Cause.BODY_MALFORMED),
            (b"{", Cause.BODY_MALFORMED),
            (b"<x/>", Cause.BODY_MALFORMED),
            (b'{"a":' + b"[" * 100_000, Cause.BODY_MALFORMED),
            (b"[]", Cause.BODY_INVALID),
            (b'"x"', Cause.BODY_INVALID),
            (b"null", Cause.BODY_INVALID),
        ],
        ids=lambda value: value[:8].decode() if isinstance(value, bytes) else value.name,
    )
    def test_converse_takes_a_json_object(self, operation: str, body: bytes, cause: Cause) -> None:
        assert refused(b"/model/x/" + operation.encode(), body) is cause

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\x00", b"[]"])
    def test_invoke_takes_whatever_the_model_takes(self, body: bytes) -> None:
        request = a_request(body, b"/model/x/invoke")
        ask = NATIVE.read(request)
        assert ask.output_tokens_max is None
        assert NATIVE.compose(request, ask, Target("y")).body == body

    @pytest.mark.parametrize(
        ("operation", "body", "tokens"),
        [
            ("converse", {"inferenceConfig": {"maxTokens": 7}}, 7),
            ("converse", {"inferenceConfig": {"maxTokens": "many"}}, None),
            ("converse", {"inferenceConfig": []}, None),
            ("converse", {"max_tokens": 7}, None),
            ("invoke", {"max_tokens": 7, "messages": []}, 7),
            ("invoke", {"max_gen_len": 7}, 7),
            ("invoke", {"textGenerationConfig": {"maxTokenCount": 7}}, 7),
            ("invoke", {"inferenceConfig": {"maxTokens": 7}}, 7),
            ("invoke", {"inferenceConfig": {"max_new_tokens": 7}}, 7),
            ("invoke", {"max_tokens": -1}, None),
            ("invoke", {"max_tokens": 2**40}, 2**31 - 1),
            ("invoke", {"prompt": "x"}, None),
        ],
        ids=str,
    )
    def test_the_limit_is_read_where_each_family_has_it(
        self, operation: str, body: dict[str, Any], tokens: int | None
    ) -> None:
        ask = read(b"/model/x/" + operation.encode(), msgspec.json.encode(body))
        assert ask.output_tokens_max == tokens

    @pytest.mark.parametrize(
        ("operation", "body", "temperature"),
        [
            ("converse", {"inferenceConfig": {"maxTokens": 7, "temperature": 0.5}}, 0.5),
            ("converse", {"inferenceConfig": {"temperature": 0}}, 0.0),
            ("converse", {"inferenceConfig": {"temperature": "hot"}}, None),
            ("converse", {"inferenceConfig": {"temperature": 10**400}}, None),
            ("converse", {"inferenceConfig": {"temperature": True}}, None),
            ("converse", {"temperature": 0.5}, None),
            ("converse", {}, None),
            ("invoke", {"max_tokens": 7, "temperature": 0.5}, 0.5),
            ("invoke", {"prompt": "x", "temperature": 1}, 1.0),
            ("invoke", {"textGenerationConfig": {"maxTokenCount": 7, "temperature": 0.5}}, 0.5),
            ("invoke", {"inferenceConfig": {"temperature": 0.5}}, 0.5),
            ("invoke", {"max_tokens": 7}, None),
        ],
        ids=str,
    )
    def test_so_is_the_temperature(
        self, operation: str, body: dict[str, Any], temperature: float | None
    ) -> None:
        assert read(b"/model/x/" + operation.encode(), msgspec.json.encode(body)).temperature == temperature

    def test_an_odd_temperature_hides_no_limit(self) -> None:
        ask = read(b"/model/x/invoke", b'{"max_tokens":7,"temperature":"hot"}')
        assert (ask.output_tokens_max, ask.temperature) == (7, None)

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        for operation in (b"converse", b"invoke", b"invoke-with-response-stream"):
            try:
                read(b"/model/x/" + operation, body)
            except Refused as refusal:
                assert refusal.fault.cause in {Cause.BODY_MALFORMED, Cause.BODY_INVALID}


class TestCompose:
    def test_only_the_model_changes(self) -> None:
        body = b'{ "messages" : [ ], "n": 1.0 }'
        request = a_request(body, b"/model/claude/converse-stream")
        call = NATIVE.compose(request, NATIVE.read(request), Target(ARN, Surface.INVOKE))
        assert call.target == b"/model/" + ENCODED + b"/converse-stream"
        assert (call.operation, call.method, call.stream) == (Operation.CONVERSE_STREAM, b"POST", True)
        assert call.body is body

    def test_headers_are_an_allow_list(self) -> None:
        passed = [
            (b"content-type", b"application/json"),
            (b"accept", b"application/json"),
            (b"x-amzn-bedrock-trace", b"ENABLED"),
            (b"x-amzn-bedrock-guardrailidentifier", b"g"),
        ]
        kept_back = [
            (b"authorization", b"AWS4-HMAC-SHA256 Credential=AKID"),
            (b"x-api-key", b"k"),
            (b"cookie", b"a=b"),
            (b"host", b"gateway"),
            (b"x-amz-date", b"20260101T000000Z"),
            (b"x-amz-security-token", b"t"),
            (b"x-amz-content-sha256", b"0"),
            (b"x-amzn-trace-id", b"Root=1"),
            (b"accept-encoding", b"gzip"),
            (b"user-agent", b"Boto3"),
            (b"content-length", b"2"),
            (b"amz-sdk-request", b"attempt=1"),
            (b"x-forwarded-for", b"10.0.0.1"),
        ]
        request = a_request(b"{}", b"/model/x/invoke", headers=[*kept_back, *passed])
        assert NATIVE.compose(request, NATIVE.read(request), Target("y")).headers == passed

    def test_a_surface_that_is_not_bedrocks_own_cannot_take_it(self) -> None:
        request = a_request(b"{}", b"/model/x/converse")
        with pytest.raises(Refused) as caught:
            NATIVE.compose(request, NATIVE.read(request), Target("y", Surface.MANTLE_OPENAI))
        assert "mantle_openai" in caught.value.fault.text

    @pytest.mark.parametrize("model", ["", ".", ".."])
    def test_a_target_that_is_no_model_is_refused(self, model: str) -> None:
        request = a_request(b"{}", b"/model/x/invoke")
        with pytest.raises(Refused) as caught:
            NATIVE.compose(request, NATIVE.read(request), Target(model))
        assert caught.value.fault.cause is Cause.MODEL_UNKNOWN


def composed(path: bytes, body: bytes = b"", method: bytes = b"GET", target: str = "") -> Call:
    request = a_request(body, path, method, [(b"content-type", b"application/json")])
    return NATIVE.compose(request, NATIVE.read(request), Target(target))


class TestReadings:
    @pytest.mark.parametrize(
        ("path", "operation", "model"),
        [
            (b"/async-invoke", Operation.LIST_ASYNC_INVOKES, None),
            (b"/async-invoke/arn%3Aaws%3Ax%2Fy", Operation.GET_ASYNC_INVOKE, None),
            (b"/foundation-models", Operation.LIST_FOUNDATION_MODELS, None),
            (b"/foundation-models/claude", Operation.GET_FOUNDATION_MODEL, "claude"),
            (b"/inference-profiles", Operation.LIST_INFERENCE_PROFILES, None),
            (b"/inference-profiles/" + ENCODED, Operation.GET_INFERENCE_PROFILE, ARN),
        ],
    )
    def test_each_is_served_without_a_body(
        self, path: bytes, operation: Operation, model: str | None
    ) -> None:
        request = a_request(b"not even JSON", path, b"GET", [(b"content-type", b"text/plain")])
        ask = NATIVE.read(request)
        assert (ask.operation, ask.model, ask.stream, ask.local) == (operation, model, False, False)
        call = NATIVE.compose(request, ask, Target(model or ""))
        assert (call.method, call.body, call.headers, call.stream) == (b"GET", b"", [], False)
        assert call.target == path

    def test_a_name_is_what_it_stands_for(self) -> None:
        assert composed(b"/foundation-models/claude", target="x:0").target == b"/foundation-models/x%3A0"
        assert composed(b"/inference-profiles/claude", target=ARN).target == b"/inference-profiles/" + ENCODED

    @pytest.mark.parametrize(
        ("path", "passed"),
        [
            (b"/async-invoke?maxResults=5&nextToken=a%2Bb%3D&statusEquals=Failed", ...),
            (b"/async-invoke?submitTimeAfter=2026-01-01T00%3A00%3A00Z&sortBy=SubmissionTime", ...),
            (b"/foundation-models?byProvider=A%20b&byInferenceType=ON_DEMAND", ...),
            (b"/inference-profiles?type=SYSTEM_DEFINED", ...),
            (b"/inference-profiles?type", b"?type="),
            (
                b"/async-invoke?nextToken=a+b/c=:%7e%2d&sortBy=\xff%zz",
                b"?nextToken=a%2Bb%2Fc%3D%3A~-&sortBy=%FF%25zz",
            ),
            (b"/inference-profiles?x=1&type=A&key=secret&maxResults=1&", b"?type=A&maxResults=1"),
            (b"/inference-profiles?Type=A&%74ype=B", b""),
            (b"/async-invoke/a?maxResults=5", b""),
            (b"/foundation-models/a?byProvider=b", b""),
            (b"/foundation-models?", b""),
        ],
    )
    def test_of_a_query_the_modelled_names_pass_in_one_spelling(self, path: bytes, passed: Any) -> None:
        bare, mark, query = path.partition(b"?")
        assert composed(path, target="a").target == bare + (mark + query if passed is ... else passed)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_no_call_to_a_model_has_a_query(self, operation: str) -> None:
        path = b"/model/x/" + operation.encode()
        assert composed(path + b"?maxResults=1&a=b", b"{}", b"POST", "x").target == path

    @given(st.binary(max_size=60))
    def test_no_query_becomes_more_than_it_was(self, query: bytes) -> None:
        request = Request(b"GET", b"/", b"/inference-profiles", query, [], b"", "id", 0)
        made = NATIVE.compose(request, NATIVE.read(request), Target("")).target
        kept = made.partition(b"?")[2].split(b"&") if b"?" in made else []
        said = [pair.partition(b"=") for pair in query.split(b"&")]
        names = {b"type", b"maxResults", b"nextToken"}
        meant = [(name, unquote_to_bytes(value)) for name, _, value in said if name in names]
        assert [
            (name, unquote_to_bytes(value)) for name, _, value in (one.partition(b"=") for one in kept)
        ] == meant
        # The spelling that is signed is the spelling that is sent.
        assert re.fullmatch(rb"[-._~=&%0-9A-Za-z]*", made.partition(b"?")[2])


class TestJobs:
    BODY: Final = (
        b'{ "clientRequestToken" : "t",\n "modelId":"reel", "modelInput": {"modelId": "inner", "n": 1.0}, '
        b'"outputDataConfig":{"s3OutputDataConfig":{"s3Uri":"s3:\\/\\/b\\u002fc"}} }'
    )

    def test_the_model_is_read_from_the_body(self) -> None:
        ask = read(b"/async-invoke", self.BODY)
        assert (ask.operation, ask.model, ask.stream) == (Operation.START_ASYNC_INVOKE, "reel", False)

    def test_a_body_that_names_the_target_itself_is_untouched(self) -> None:
        call = composed(b"/async-invoke", self.BODY, b"POST", "reel")
        assert (call.target, call.body) == (b"/async-invoke", self.BODY)
        assert call.headers == [(b"content-type", b"application/json")]

    def test_of_any_other_only_the_name_changes(self) -> None:
        call = composed(b"/async-invoke", self.BODY, b"POST", ARN)
        before, after = msgspec.json.decode(self.BODY), msgspec.json.decode(call.body)
        assert after == {**before, "modelId": ARN}
        assert list(after) == list(before)
        assert b'{"modelId": "inner", "n": 1.0}' in call.body
        assert b'"s3:\\/\\/b\\u002fc"' in call.body

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"modelId":""}',
            b'{"modelId":null}',
            b'{"modelId":7}',
            b'{"modelId":["a"]}',
            b'{"ModelId":"a"}',
            b'{"modelId":"a","modelId":"b"}',
            b'{"modelId":"a","x":1,"\\u006dodelId":"a"}',
        ],
    )
    def test_a_body_names_one_model(self, body: bytes) -> None:
        with pytest.raises(Refused) as caught:
            read(b"/async-invoke", body)
        assert (caught.value.fault.cause, caught.value.fault.param) == (Cause.BODY_INVALID, "modelId")

    @pytest.mark.parametrize("body", [b"", b"[]", b'"modelId"', b'{"modelId":"a"', b'{"a":' + b"[" * 100_000])
    def test_what_is_no_object_is_refused(self, body: bytes) -> None:
        assert refused(b"/async-invoke", body) in {Cause.BODY_MALFORMED, Cause.BODY_INVALID}

    @pytest.mark.parametrize("model", ["reel", ARN])
    @pytest.mark.parametrize("place", [b'"n":"%b"', b'"modelInput":{"%b":1}', b'"modelInput":["%b"]'])
    def test_a_text_that_is_no_utf_8_is_refused_wherever_it_stands(self, place: bytes, model: str) -> None:
        body = b'{"modelId":"reel",' + place + b"}"
        assert composed(b"/async-invoke", body % "é".encode(), b"POST", model).body
        assert refused(b"/async-invoke", body % b"\x8c") is Cause.BODY_MALFORMED

    @given(st.binary() | st.binary().map(lambda inner: b'{"modelId":"a","b":' + inner + b"}"))
    def test_any_bytes_are_composed_or_refused(self, body: bytes) -> None:
        try:
            call = composed(b"/async-invoke", body, b"POST", "b")
        except Refused as refusal:
            assert refusal.fault.cause in {Cause.BODY_MALFORMED, Cause.BODY_INVALID}
        else:
            assert msgspec.json.decode(call.body)["modelId"] == "b"

    @given(
        st.dictionaries(
            st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)
        )
    )
    def test_a_body_keeps_all_it_says(self, members: dict[str, Any]) -> None:
        body = json.dumps({**members, "modelId": "reel"}).encode()
        call = composed(b"/async-invoke", body, b"POST", "b")
        assert json.loads(call.body) == {**members, "modelId": "b"}


class TestBoto3:
    MESSAGES: Any = [{"role": "user", "content": [{"text": "hi"}]}]

    @staticmethod
    def one(operation: str) -> Recording:
        """The longest recording of an operation."""
        return max((r for r in RECORDED if r.uri.endswith(f"/{operation}")), key=lambda r: len(r.body))

    def test_converse(self) -> None:
        recording = self.one("converse")
        bedrock = bedrock_client(gateway(headers_of(recording), recording.body))
        made = bedrock.client.converse(modelId=ARN, messages=self.MESSAGES, inferenceConfig={"maxTokens": 9})
        assert made["output"] == msgspec.json.decode(recording.body)["output"]
        ask = NATIVE.read(bedrock.sent[0])
        assert (ask.model, ask.output_tokens_max) == (ARN, 9)

    def test_converse_stream(self) -> None:
        recording = self.one("converse-stream")
        bedrock = bedrock_client(gateway(headers_of(recording), recording.body))
        events = list(bedrock.client.converse_stream(modelId="x:0", messages=self.MESSAGES)["stream"])
        assert list(events[0]) == ["messageStart"]
        assert list(events[-1]) == ["metadata"]

    def test_invoke_model(self) -> None:
        recording = self.one("invoke")
        bedrock = bedrock_client(gateway(headers_of(recording), recording.body))
        made = bedrock.client.invoke_model(modelId="x", body=b'{"prompt":"a"}', trace="ENABLED")
        assert made["body"].read() == recording.body
        call = NATIVE.compose(bedrock.sent[0], NATIVE.read(bedrock.sent[0]), Target("y"))
        assert (b"x-amzn-bedrock-trace", b"ENABLED") in call.headers

    def test_invoke_model_with_response_stream(self) -> None:
        recording = self.one("invoke-with-response-stream")
        bedrock = bedrock_client(gateway(headers_of(recording), recording.body))
        made = bedrock.client.invoke_model_with_response_stream(modelId="x", body=b"{}")
        assert made["contentType"] == "application/json"
        assert b"amazon-bedrock-invocationMetrics" in list(made["body"])[-1]["chunk"]["bytes"]

    @pytest.mark.parametrize("operation", ["converse-stream", "invoke-with-response-stream"])
    @pytest.mark.parametrize("how", ["cut", "exception"])
    def test_a_stream_that_breaks_raises(self, operation: str, how: str) -> None:
        recording = self.one(operation)
        first = int.from_bytes(recording.body[:4])
        end = (
            encode_exception("throttlingException", b'{"message":"slow down"}') if how == "exception" else b""
        )
        bedrock = bedrock_client(gateway(headers_of(recording), recording.body[:first] + end))
        if operation == "converse-stream":
            stream = bedrock.client.converse_stream(modelId="x", messages=self.MESSAGES)["stream"]
        else:
            stream = bedrock.client.invoke_model_with_response_stream(modelId="x", body=b"{}")["body"]
        assert next(iter(stream))
        with pytest.raises(EventStreamError) as caught:
            next(iter(stream))
        code = caught.value.response["Error"]["Code"]
        assert code == ("throttlingException" if how == "exception" else "modelStreamErrorException")
        assert caught.value.response["Error"]["Message"]

    def test_an_error_is_raised_as_its_own_class(self) -> None:
        fault = fault_of_aws("ThrottlingException", 429, "Too many tokens, please wait before trying again.")
        bedrock = bedrock_client(lambda request: NATIVE.failure(fault, request.request_id))
        with pytest.raises(bedrock.client.exceptions.ThrottlingException) as caught:
            bedrock.client.converse(modelId="x", messages=self.MESSAGES)
        assert caught.value.response["Error"]["Message"].startswith("Too many tokens")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429

    def test_a_refusal_of_ours_too(self) -> None:
        def refusing(request: Request) -> Reply:
            elsewhere = msgspec.structs.replace(request, path=b"/async-invokes")
            return answered(NATIVE, elsewhere, "", [], b"")

        bedrock = bedrock_client(refusing)
        with pytest.raises(ClientError) as caught:
            bedrock.client.list_async_invokes()
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"

    def test_every_operation_of_the_model_is_served_or_refused_in_words(self) -> None:
        named = set(service_model().operation_names)
        served = {operation.value for operation in SERVED if operation.spec.service == "bedrock-runtime"}
        assert named - served == {"InvokeModelWithBidirectionalStream"}

    def test_jobs(self) -> None:
        job = {
            "invocationArn": f"{ARN}/job",
            "modelArn": ARN,
            "status": "InProgress",
            "submitTime": "2026-01-02T03:04:05Z",
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/c"}},
        }
        bedrock = bedrock_client(gateway([], msgspec.json.encode(job)))
        assert bedrock.client.get_async_invoke(invocationArn=job["invocationArn"])["status"] == "InProgress"
        assert NATIVE.read(bedrock.sent[0]).body == {"invocationArn": job["invocationArn"]}
        started = bedrock.client.start_async_invoke(
            modelId="reel", modelInput={"a": [1]}, outputDataConfig=job["outputDataConfig"]
        )
        assert started["invocationArn"] == job["invocationArn"]
        assert NATIVE.read(bedrock.sent[1]).model == "reel"
        listed = msgspec.json.encode({"asyncInvokeSummaries": [job], "nextToken": "n"})
        bedrock = bedrock_client(gateway([], listed))
        page = bedrock.client.list_async_invokes(statusEquals="Failed", nextToken="a+b/=", maxResults=3)
        assert (page["nextToken"], len(page["asyncInvokeSummaries"])) == ("n", 1)
        call = NATIVE.compose(bedrock.sent[0], NATIVE.read(bedrock.sent[0]), Target(""))
        assert call.target == bedrock.sent[0].target

    def test_guardrail_checks(self) -> None:
        bedrock = bedrock_client(gateway([], b'{"results":{},"usage":{}}'))
        message: Any = {"role": "user", "content": [{"text": "hi"}]}
        made = bedrock.client.invoke_guardrail_checks(messages=[message], checks={})
        assert made["results"] == {}
        ask = NATIVE.read(bedrock.sent[0])
        assert (ask.operation, ask.model) == (Operation.INVOKE_GUARDRAIL_CHECKS, None)


class TestFailures:
    @staticmethod
    def parsed(fault: Fault) -> tuple[int, str, str]:
        """An error as botocore's parser reads it."""
        reply = NATIVE.failure(fault, "id")
        told = {name.decode(): value.decode() for name, value in reply.headers}
        response = {"status_code": reply.status, "headers": told, "body": reply.body}
        shape = service_model().shape_for("ConverseResponse")
        error = create_parser("rest-json").parse(response, shape)["Error"]
        return reply.status, error["Code"], error["Message"]

    @pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
    def test_every_cause(self, cause: Cause) -> None:
        row = TABLE[cause]
        status, name, message = self.parsed(Fault(cause, detail="for the log only"))
        assert (status, name, message) == (row.aws_status or row.status, row.aws_name, row.message)

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("ValidationException", 400),
            ("ThrottlingException", 429),
            ("ModelTimeoutException", 408),
            ("ModelErrorException", 424),
            ("ModelNotReadyException", 429),
            ("ServiceQuotaExceededException", 400),
            ("InternalServerException", 500),
            ("ServiceUnavailableException", 503),
            ("ResourceNotFoundException", 404),
            ("ConflictException", 400),
            ("SomethingNewException", 418),
        ],
    )
    def test_what_bedrock_has_named_keeps_its_name_and_status(self, name: str, status: int) -> None:
        assert self.parsed(fault_of_aws(name, status, "its words")) == (status, name, "its words")

    @pytest.mark.parametrize(
        "name", ["AccessDeniedException", "ExpiredTokenException", "InvalidSignatureException"]
    )
    def test_the_gateways_own_troubles_stay_private(self, name: str) -> None:
        fault = fault_of_aws(
            name, 403, "User: arn:aws:sts::123456789012:assumed-role/gateway is not authorized"
        )
        assert fault.row.blame is Blame.GATEWAY
        _, told, message = self.parsed(fault)
        assert told == "ServiceUnavailableException"
        assert "arn:" not in message

    def test_a_success_that_is_an_error_has_no_success_for_status(self) -> None:
        status, name, _ = self.parsed(fault_of_aws("UnknownOperationException", 200, ""))
        assert (status, name) == (502, "UnknownOperationException")

    def test_a_stream_told_before_its_first_event_has_the_modelled_status(self) -> None:
        assert self.parsed(fault_of_aws("ModelStreamErrorException", 0, "x"))[:2] == (
            424,
            "ModelStreamErrorException",
        )


def test_no_operation_is_local() -> None:
    with pytest.raises(AssertionError):
        NATIVE.answer_locally(a_request(), Ask(model=None, stream=False), ())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"\xff":1}'])
def test_a_job_whose_body_is_no_object_names_no_model(body: bytes) -> None:
    assert refused(b"/async-invoke", body) in {Cause.BODY_MALFORMED, Cause.BODY_INVALID}
