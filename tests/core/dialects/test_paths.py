"""A model stands in a path and comes out of it again; what cannot stand in one is no model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws import operations
from stargate_core.aws.operations import Operation
from stargate_core.dialects.face import Call
from stargate_core.dialects.paths import model_of, model_path
from stargate_core.faults import Cause, Refused

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6"
CALLED = [
    Operation.CONVERSE,
    Operation.CONVERSE_STREAM,
    Operation.INVOKE_MODEL,
    Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM,
    Operation.COUNT_TOKENS,
]
READ = [
    Operation.GET_FOUNDATION_MODEL,
    Operation.GET_FOUNDATION_MODEL_AVAILABILITY,
    Operation.GET_INFERENCE_PROFILE,
]


def a_call(operation: Operation, target: bytes, body: bytes = b"") -> Call:
    return Call(operation, b"POST", target, [], body, False)


@pytest.mark.parametrize("operation", CALLED)
@given(model=st.text(min_size=1).filter(lambda name: name not in (".", "..")))
def test_a_call_is_for_the_model_of_its_path(operation: Operation, model: str) -> None:
    assert model_of(a_call(operation, model_path(operation, model))) == model


@pytest.mark.parametrize("operation", [*CALLED, *READ])
def test_an_arn_is_one_segment_whatever_its_label_is_called(operation: Operation) -> None:
    found = operations.match(operation.spec.method, model_path(operation, ARN))
    assert found is not None
    assert (found.operation, list(found.labels.values())) == (operation, [ARN])


@pytest.mark.parametrize("operation", [*CALLED, *READ])
@pytest.mark.parametrize("model", ["", ".", "..", "a\ud800"])
def test_what_cannot_stand_in_a_path_is_no_model(operation: Operation, model: str) -> None:
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            model_path(operation, model)
        assert (caught.value.fault.cause, caught.value.fault.param) == (Cause.MODEL_UNKNOWN, "model")


@pytest.mark.parametrize("operation", [Operation.CHAT_COMPLETIONS, Operation.RESPONSES, Operation.MESSAGES])
@pytest.mark.parametrize("before", [b"", b"/openai/v1"])
def test_where_the_path_names_no_model_the_body_does(operation: Operation, before: bytes) -> None:
    call = a_call(operation, before + operations.path(operation), b'{"n":1,"model":"openai.gpt-oss-120b"}')
    assert model_of(call) == "openai.gpt-oss-120b"
