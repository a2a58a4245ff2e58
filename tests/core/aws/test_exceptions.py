"""Reading AWS's errors, against botocore's parser and service models, smithy's six forms of a name, and
recorded answers.
"""

import json
from typing import Any, Final

import botocore.loaders
import botocore.parsers
import pytest
from botocore.model import ServiceModel
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.exceptions import (
    EXCEPTION_STATUSES,
    MESSAGE_CHARACTERS_MAX,
    STREAM_EXCEPTIONS,
    VENDOR_ERRORS,
    AwsError,
    is_error_in_200,
    read_error,
    read_exception,
    vendor_error,
)
from stargate_core.faults import AWS_CAUSES
from stargate_core.wire.eventstream import (
    EventStreamDecoder,
    encode,
    encode_error,
    encode_event,
    encode_exception,
)
from stargate_core.wire.frames import Frame, HeaderValue
from support.vectors import Recording, recordings

LOADER: Final = botocore.loaders.Loader()
MODELS: Final[dict[str, dict[str, Any]]] = {
    service: LOADER.load_service_model(service, "service-2") for service in ("bedrock-runtime", "bedrock")
}
PARSER: Final[Any] = botocore.parsers.create_parser("rest-json")
CONVERSE: Final = ServiceModel(MODELS["bedrock-runtime"]).operation_model("Converse")


def botocores(status: int, headers: dict[str, str], body: bytes) -> tuple[str, str]:
    """The error's code and message as botocore reads them."""
    response = {"status_code": status, "headers": headers, "body": body}
    error = PARSER.parse(response, CONVERSE.output_shape)["Error"]
    return error["Code"], error["Message"]


def frame_of(raw: bytes) -> Frame:
    (frame,) = EventStreamDecoder().feed(raw)
    return frame


class TestModel:
    def test_the_statuses_are_the_models(self) -> None:
        expected = {
            name: shape["error"]["httpStatusCode"]
            for model in MODELS.values()
            for name, shape in model["shapes"].items()
            if shape.get("exception")
        }
        assert expected == EXCEPTION_STATUSES

    def test_the_exceptions_inside_streams_are_the_models(self) -> None:
        shapes = MODELS["bedrock-runtime"]["shapes"]
        members = {
            member["shape"]
            for shape in shapes.values()
            if shape.get("eventstream")
            for member in shape["members"].values()
            if shapes[member["shape"]].get("exception")
        }
        assert members == set(STREAM_EXCEPTIONS)


# The forms of smithy's restJson1 protocol tests, and those of Bedrock's own answers.
CORAL: Final = "http://internal.amazon.com/coral/com.amazon"
FORMS: Final = {
    "FooError": "FooError",
    f"FooError:{CORAL}.coral.validate/": "FooError",
    "aws.protocoltests.restjson#FooError": "FooError",
    f"aws.protocoltests.restjson#FooError:{CORAL}.coral.validate/": "FooError",
    f"ValidationException:{CORAL}.bedrock/": "ValidationException",
    f"AccessDeniedException:{CORAL}.coral.service/#AccessDeniedException": "AccessDeniedException",
    "com.amazon.coral.service#UnknownOperationException": "UnknownOperationException",
}


class TestReadError:
    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_of_a_name_wherever_it_stands(self, form: str) -> None:
        name = FORMS[form]
        for header in (b"x-amzn-errortype", b"X-Amzn-ErrorType"):
            found = read_error(400, [(b"date", b""), (header, form.encode())], b'{"message":"m"}')
            assert found == AwsError(name, "m", 400)
        for key in ("code", "Code", "__type"):
            found = read_error(500, [], json.dumps({key: form, "Message": "m"}).encode())
            assert found == AwsError(name, "m", 500)
        assert botocores(400, {"x-amzn-errortype": form}, b'{"message":"m"}') == (name, "m")

    @given(
        header=st.none() | st.sampled_from([*FORMS, "A", "a#b#C:d#e"]),
        members=st.dictionaries(
            st.sampled_from(["code", "Code", "message", "Message", "x"]),
            st.sampled_from([*FORMS, "text", "a:b#c"]),
        ),
    )
    def test_botocore_reads_the_same(self, header: str | None, members: dict[str, str]) -> None:
        headers = {"x-amzn-errortype": header} if header is not None else {}
        body = json.dumps(members).encode()
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        found = read_error(400, encoded, body)
        code, message = botocores(400, headers, body)
        assert found.message == message
        # Without any code botocore takes the status for one.
        if header is not None or "code" in members or "Code" in members:
            assert found.name == code
        else:
            assert (found.name, code) == ("", "400")

    def test_what_comes_first(self) -> None:
        body = b'{"code":"B","Code":"C","__type":"x#D","message":"m","Message":"M"}'
        assert read_error(400, [(b"x-amzn-errortype", b"A")], body) == AwsError("A", "m", 400)
        assert read_error(400, [], body).name == "B"
        assert read_error(400, [], b'{"Code":"C","__type":"x#D"}').name == "C"
        assert read_error(400, [], b'{"__type":"x#D"}').name == "D"

    @pytest.mark.parametrize(
        "recording", [one for one in recordings() if one.status != 200], ids=lambda recording: recording.file
    )
    def test_recorded_errors(self, recording: Recording) -> None:
        headers = [(name.encode(), value.encode()) for name, value in recording.response_headers.items()]
        found = read_error(recording.status, headers, recording.body)
        assert found.status == recording.status
        assert found.message == json.loads(recording.body)["message"]
        assert found.message

    def test_what_the_model_answered_to_bedrock(self) -> None:
        body = b'{"message":"m","originalStatusCode":529,"resourceName":"r"}'
        headers = [(b"x-amzn-errortype", b"ModelErrorException")]
        assert read_error(424, headers, body) == AwsError("ModelErrorException", "m", 424, 529)
        body = b'{"originalMessage":"o","originalStatusCode":400}'
        assert read_error(424, [], body) == AwsError("", "o", 424, 400)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>",
            b"upstream connect error",
            b"[]",
            b'"x"',
            b"null",
            b"{",
            b'{"message":5,"code":null,"__type":["x"],"originalStatusCode":"424"}',
            b'{"message":"\xff"}',
            b'{"code":503}',
            b'{"code":true,"originalStatusCode":true}',
            b'{"Output":"x"}',
            b'{"Output":{"__type":5}}',
            b"\xef\xbb\xbf{}",
            b'{"a":' * 100_000,
        ],
        ids=lambda body: repr(body[:30]),
    )
    def test_bodies_that_say_nothing(self, body: bytes) -> None:
        assert read_error(503, [], body) == AwsError("", "", 503)

    @pytest.mark.parametrize("name", ["a\r\nx: y", "a b", "é", "n" * 129, "\x00", ""])
    def test_a_name_that_is_none_does_not_get_through(self, name: str) -> None:
        # Names end up in logs and in headers of our own.
        assert read_error(400, [], json.dumps({"__type": name}).encode()).name == ""
        assert read_error(400, [(b"x-amzn-errortype", name.encode())], b"").name == ""

    def test_a_long_message_is_cut(self) -> None:
        longest = "m" * MESSAGE_CHARACTERS_MAX
        assert read_error(400, [], json.dumps({"message": longest}).encode()).message == longest
        found = read_error(400, [], json.dumps({"message": longest + "m"}).encode())
        assert found.message == longest + " ..."

    @given(st.integers(100, 599), st.binary(max_size=40), st.binary(max_size=80))
    def test_nothing_makes_it_fail(self, status: int, header: bytes, body: bytes) -> None:
        for rest in (b"", b"}"):
            found = read_error(
                status, [(b"x-amzn-errortype", header)], b'{"message":' * bool(rest) + body + rest
            )
            assert found.status == status


class TestVendors:
    """The vendors' own envelopes, with which the APIs answer that AWS serves for them."""

    @pytest.mark.parametrize(
        ("status", "error", "name"),
        [
            (400, {"type": "invalid_request_error", "code": None}, "ValidationException"),
            (422, {"type": "invalid_request_error"}, "ValidationException"),
            (
                401,
                {"type": "invalid_request_error", "code": "invalid_api_key"},
                "UnrecognizedClientException",
            ),
            (404, {"type": "invalid_request_error", "code": "model_not_found"}, "ResourceNotFoundException"),
            # Without a telling word the status tells more.
            (404, {"type": "invalid_request_error", "code": "what"}, ""),
            (429, {"type": "requests", "code": "rate_limit_exceeded"}, "ThrottlingException"),
            (429, {"type": "requests", "code": None}, ""),
            (
                429,
                {"type": "insufficient_quota", "code": "insufficient_quota"},
                "ServiceQuotaExceededException",
            ),
            (409, {"type": "invalid_request_error"}, "ConflictException"),
            (413, {"type": "invalid_request_error"}, "RequestEntityTooLargeException"),
            (529, {"type": "overloaded_error"}, "ServiceUnavailableException"),
            (500, {"type": "a b\n", "code": 500}, ""),
            (400, {"code": "context_length_exceeded"}, "context_length_exceeded"),
        ],
        ids=str,
    )
    def test_their_words_are_read_as_awss(self, status: int, error: dict[str, Any], name: str) -> None:
        told = {**error, "message": "m", "param": None}
        for body in ({"error": told}, {"type": "error", "error": told, "request_id": "r"}):
            assert read_error(status, [], json.dumps(body).encode()) == AwsError(name, "m", status)

    def test_awss_own_word_in_a_header_comes_first(self) -> None:
        body = b'{"error":{"type":"server_error","message":"m"}}'
        headers = [(b"x-amzn-errortype", b"ThrottlingException")]
        assert read_error(429, headers, body) == AwsError("ThrottlingException", "m", 429)

    def test_an_answer_of_awss_own_may_have_an_error_too(self) -> None:
        body = b'{"__type":"ValidationException","message":"m","error":{"type":"server_error"}}'
        assert read_error(400, [], body) == AwsError("ValidationException", "m", 400)

    @pytest.mark.parametrize("error", [b"null", b"5", b"[]", b"{}", b'{"type":["x"],"message":{}}'])
    def test_what_says_nothing(self, error: bytes) -> None:
        assert read_error(503, [], b'{"error":%b}' % error) == AwsError("", "", 503)

    def test_a_text_is_the_message(self) -> None:
        assert read_error(503, [], b'{"error":"no"}') == AwsError("", "no", 503)
        assert len(vendor_error("n" * 9000, 0).message) == MESSAGE_CHARACTERS_MAX + 4

    def test_every_name_is_one_that_has_a_cause(self) -> None:
        assert set(VENDOR_ERRORS.values()) <= set(AWS_CAUSES)


class TestErrorIn200:
    ENVELOPE: Final = (
        b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}'
    )

    def test_the_envelope(self) -> None:
        assert is_error_in_200(self.ENVELOPE)
        assert read_error(200, [], self.ENVELOPE) == AwsError("UnknownOperationException", "", 200)
        assert is_error_in_200(b'{"__type":"com.amazon.coral.service#InternalServerException"}')

    @pytest.mark.parametrize(
        "recording",
        [one for one in recordings() if one.status == 200 and not one.is_stream],
        ids=lambda recording: recording.file,
    )
    def test_recorded_answers_are_none(self, recording: Recording) -> None:
        assert not is_error_in_200(recording.body)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b'"__type Exception"',
            b'{"output":{"message":{"content":[{"text":"__type: Exception"}]}}}',
            b'{"content":[{"input":{"__type":"a#BException"}}]}',
            b'{"__type":"com.example#Answer"}',
            b'{"output":{},"__type":"a#BException"}',
        ],
    )
    def test_what_is_none(self, body: bytes) -> None:
        assert not is_error_in_200(body)


class TestReadException:
    @pytest.mark.parametrize("name", STREAM_EXCEPTIONS)
    def test_modelled_exceptions_in_every_spelling(self, name: str) -> None:
        camel = name[0].lower() + name[1:]
        payload = b'{"message":"m"}'
        expected = AwsError(name, "m", EXCEPTION_STATUSES[name])
        assert read_exception(frame_of(encode_exception(camel, payload))) == expected
        assert read_exception(frame_of(encode_exception(name, payload))) == expected
        assert read_exception(frame_of(encode_event(camel, payload))) == expected

    def test_what_the_model_answered_to_bedrock(self) -> None:
        payload = b'{"message":"m","originalStatusCode":500,"originalMessage":"o"}'
        found = read_exception(frame_of(encode_exception("modelStreamErrorException", payload)))
        assert found == AwsError("ModelStreamErrorException", "m", 424, 500)

    def test_an_exception_outside_the_model(self) -> None:
        found = read_exception(frame_of(encode_exception("somethingNewException", b"")))
        assert found == AwsError("SomethingNewException", "", 500)

    def test_an_error_outside_the_model(self) -> None:
        found = read_exception(frame_of(encode_error("InternalFailure", "why")))
        assert found == AwsError("InternalFailure", "why", 500)
        found = read_exception(frame_of(encode_error("ThrottlingException", "m" * 5000)))
        assert (found.name, found.status, len(found.message)) == ("ThrottlingException", 429, 4100)
        headers: dict[str, HeaderValue] = {
            ":message-type": "error",
            ":error-code": "500",
            ":error-message": True,
        }
        assert read_exception(frame_of(encode(headers, b'{"message":"m"}'))) == AwsError("500", "m", 500)

    def test_a_frame_that_nobody_may_accept(self) -> None:
        assert read_exception(frame_of(encode({}, b'{"message":"m"}'))) == AwsError("", "m", 500)

    @given(st.text(max_size=20), st.binary(max_size=60))
    def test_nothing_makes_it_fail(self, name: str, payload: bytes) -> None:
        found = read_exception(frame_of(encode_exception(name, payload)))
        assert found.name == "" or found.name.isascii()
