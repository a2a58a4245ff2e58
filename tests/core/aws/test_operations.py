"""The table of operations, against botocore's service models; paths, against what botocore writes and what is
found in recorded traffic.
"""

from typing import Any, Final
from urllib.parse import urlsplit

import botocore.loaders
import botocore.session
import pytest
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import (
    OPERATIONS,
    VENDORS,
    BodyKind,
    Match,
    Operation,
    OperationSpec,
    encode_label,
    match,
    path,
)
from support.vectors import Recording, recordings

LOADER: Final = botocore.loaders.Loader()
MODELS: Final[dict[str, dict[str, Any]]] = {
    service: LOADER.load_service_model(service, "service-2") for service in ("bedrock-runtime", "bedrock")
}
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v1:0"


def locations(structure: dict[str, Any], where: str) -> tuple[str, ...]:
    members = structure.get("members", {}).values()
    return tuple(sorted(member["locationName"] for member in members if member.get("location") == where))


def body_kind(shapes: dict[str, Any], structure: dict[str, Any]) -> BodyKind:
    if "payload" in structure:
        shape = shapes[structure["members"][structure["payload"]]["shape"]]
        if shape.get("eventstream"):
            return BodyKind.EVENT_STREAM
        assert shape["type"] == "blob"
        return BodyKind.BLOB
    in_the_body = [member for member in structure["members"].values() if "location" not in member]
    return BodyKind.JSON if in_the_body else BodyKind.NONE


def modelled(service: str, name: str) -> OperationSpec:
    """What botocore's model says of an operation, in our terms."""
    model = MODELS[service]
    shapes, operation = model["shapes"], model["operations"][name]
    given_, answer = shapes[operation["input"]["shape"]], shapes[operation["output"]["shape"]]
    return OperationSpec(
        service=service,
        method=operation["http"]["method"].encode(),
        uri=operation["http"]["requestUri"],
        request=body_kind(shapes, given_),
        response=body_kind(shapes, answer),
        errors=tuple(sorted(error["shape"] for error in operation["errors"])),
        request_headers=locations(given_, "header"),
        response_headers=locations(answer, "header"),
        query=locations(given_, "querystring"),
        status=operation["http"]["responseCode"],
    )


class TestTable:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.value)
    def test_an_operation_is_the_models(self, operation: Operation) -> None:
        assert operation.spec == modelled(operation.spec.service, operation.value)

    def test_no_operation_of_bedrock_runtime_is_missing(self) -> None:
        ours = {operation.value for operation in OPERATIONS if operation.spec.service == "bedrock-runtime"}
        assert ours == set(MODELS["bedrock-runtime"]["operations"])

    def test_each_operation_has_its_row(self) -> None:
        assert set(OPERATIONS) | set(VENDORS) == set(Operation)
        assert not set(OPERATIONS) & set(VENDORS)

    @pytest.mark.parametrize("operation", VENDORS, ids=lambda operation: operation.value)
    def test_a_vendors_operation_is_not_found_by_its_path(self, operation: Operation) -> None:
        assert match(b"POST", path(operation)) is None

    def test_which_answers_stream(self) -> None:
        assert {operation.value for operation in Operation if operation.spec.streams} == {
            "ConverseStream",
            "InvokeModelWithResponseStream",
            "InvokeModelWithBidirectionalStream",
        }


LABELLED: Final = [operation for operation in Operation if operation.spec.labels]
TEXTS: Final = st.text(min_size=1, max_size=60).filter(lambda text: text not in {".", ".."})


class TestPath:
    @pytest.mark.parametrize("operation", LABELLED, ids=lambda operation: operation.value)
    @given(data=st.data())
    def test_it_is_botocores_and_leads_back(self, operation: Operation, data: st.DataObject) -> None:
        labels = {name: data.draw(TEXTS, name) for name in operation.spec.labels}
        raw = path(operation, **labels)
        model = ServiceModel(MODELS[operation.spec.service])
        shape: Any = model.operation_model(operation.value).input_shape
        members: dict[str, Any] = shape.members
        by_label = {member.serialization.get("name", name): name for name, member in members.items()}
        serializer = create_serializer(model.metadata["protocol"], include_validation=False)
        request = serializer.serialize_to_request(
            {by_label[label]: text for label, text in labels.items()}, model.operation_model(operation.value)
        )
        assert raw.decode() == request["url_path"]
        assert match(operation.spec.method, raw) == Match(operation, labels)

    @pytest.mark.parametrize("text", ["", ".", ".."])
    def test_what_cannot_be_a_label(self, text: str) -> None:
        with pytest.raises(ValueError, match="modelId"):
            path(Operation.CONVERSE, modelId=text)

    @pytest.mark.parametrize("labels", [{}, {"model": "x"}, {"modelId": "x", "more": "y"}])
    def test_the_labels_must_be_the_operations(self, labels: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="modelId"):
            path(Operation.CONVERSE, **labels)

    def test_every_byte_but_the_unreserved_ones_is_encoded(self) -> None:
        unreserved = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
        for byte in range(128):
            encoded = encode_label(chr(byte))
            assert encoded == (bytes((byte,)) if byte in unreserved else b"%%%02X" % byte)
        assert encode_label("é/:%3A") == b"%C3%A9%2F%3A%253A"


class TestMatch:
    @pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.file)
    def test_recorded_requests(self, recording: Recording) -> None:
        raw = urlsplit(recording.uri).path
        found = match(recording.method.encode(), raw.encode())
        assert found is not None
        # The recordings' file names say what was called.
        called = recording.file.partition("__")[2].partition("__")[0]
        assert found.operation.spec.uri == f"/model/{{modelId}}/{called}"
        # Whatever the client left unencoded, the name is the same.
        again = path(found.operation, **found.labels)
        assert match(recording.method.encode(), again) == found
        assert again.decode() == raw.replace(":", "%3A")

    @pytest.mark.parametrize(
        "segment",
        [
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-v1%3A0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.claude-v1:0",
            "arn%3aaws%3abedrock%3aus-east-1%3a123456789012%3ainference-profile%2fus.anthropic.claude-v1%3a0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus%2Eanthropic%2Eclaude%2Dv1:0",
        ],
    )
    def test_an_arn_however_it_is_encoded(self, segment: str) -> None:
        for operation in LABELLED[:6]:
            raw = operation.spec.uri.replace("{modelId}", segment).encode()
            assert match(b"POST", raw) == Match(operation, {"modelId": ARN})

    def test_a_label_is_decoded_once(self) -> None:
        found = match(b"POST", b"/model/a%253Ab/converse")
        assert found == Match(Operation.CONVERSE, {"modelId": "a%3Ab"})

    @pytest.mark.parametrize(
        ("method", "raw"),
        [
            ("GET", "/model/x/converse"),
            ("post", "/model/x/converse"),
            ("POST", "/model/x/converse/"),
            ("POST", "//model/x/converse"),
            ("POST", "/v1/model/x/converse"),
            ("POST", "/model/x/Converse"),
            ("POST", "/model/x/%63onverse"),
            ("POST", "/model/x"),
            ("POST", "/model/converse"),
            ("POST", "/model//converse"),
            ("POST", "/model/a/b/converse"),
            ("POST", "/model/./converse"),
            ("POST", "/model/../converse"),
            ("POST", "/model/%2e%2E/converse"),
            ("POST", "/model/a%/converse"),
            ("POST", "/model/a%3/converse"),
            ("POST", "/model/a%3G/converse"),
            ("POST", "/model/a%u003A/converse"),
            ("POST", "/model/%ff/converse"),
            ("POST", "/guardrail/x/version//apply"),
            ("POST", "/guardrail-checks/x"),
            ("GET", "/async-invoke/"),
            ("GET", "/foundation-models/{}/"),
            ("GET", "/"),
            ("GET", ""),
            ("GET", "*"),
        ],
    )
    def test_what_is_no_operation(self, method: str, raw: str) -> None:
        assert match(method.encode(), raw.encode()) is None

    @given(st.binary(max_size=60), st.sampled_from([b"GET", b"POST"]))
    def test_any_bytes_are_answered(self, raw: bytes, method: bytes) -> None:
        for before, after in ((b"", b""), (b"/model/", b"/converse"), (b"/foundation-models/", b"")):
            found = match(method, before + raw + after)
            if found is not None:
                assert match(method, path(found.operation, **found.labels)) == found
