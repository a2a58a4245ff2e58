"""The list of models, as openai-python reads it."""

import openai
import pytest

from stargate_core.dialects.face import Ask, ModelCard, Reply, Request, Target
from stargate_core.dialects.openai_models import OpenAIModels, listing
from stargate_core.faults import Cause, Fault, Refused
from support.dialects import a_request
from support.sdks import openai_client

MODELS = OpenAIModels()
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6"


OFFERED = [ModelCard(name, "secret-target") for name in ("claude", "amazon.nova-micro-v1:0", ARN, "a b/ü%")]


def gateway(request: Request) -> Reply:
    try:
        return MODELS.answer_locally(request, MODELS.read(request), OFFERED)
    except Refused as refused:
        return MODELS.failure(refused.fault, request.request_id)


def test_the_list() -> None:
    with openai_client(gateway) as client:
        models = list(client.models.list())
    assert [model.id for model in models] == [card.id for card in OFFERED]
    assert {(model.object, model.owned_by, model.created) for model in models} == {("model", "bedrock", 0)}


@pytest.mark.parametrize("card", OFFERED, ids=lambda card: card.id)
def test_one_model_by_any_name(card: ModelCard) -> None:
    with openai_client(gateway) as client:
        assert client.models.retrieve(card.id).id == card.id


def test_slashes_may_come_raw() -> None:
    assert gateway(a_request(path=b"/v1/models/" + ARN.encode(), method=b"GET")).status == 200


@pytest.mark.parametrize("name", ["gpt-5", "Claude", "a%"])
def test_a_model_that_is_not_offered_is_not_found(name: str) -> None:
    with openai_client(gateway) as client, pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(name)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("path", [b"/v1/models/", b"/v1/models/%zz", b"/v1/models/%ff", b"/v1/models/.."])
def test_what_is_no_name_is_not_found(path: bytes) -> None:
    assert gateway(a_request(path=path, method=b"GET")).status == 404


def test_pages_are_not_asked_for_but_harmless() -> None:
    reply = gateway(a_request(path=b"/v1/models?limit=1000", method=b"GET"))
    assert reply == listing(OFFERED)


def test_a_name_stands_once_and_its_target_stays_inside() -> None:
    reply = listing([*OFFERED, ModelCard("claude", "other")])
    assert reply.body.count(b'"claude"') == 1
    assert b"secret-target" not in reply.body


def test_it_is_answered_here() -> None:
    ask = MODELS.read(a_request(path=b"/v1/models", method=b"GET"))
    assert ask.local
    assert not ask.stream
    with pytest.raises(AssertionError):
        MODELS.compose(a_request(), ask, Target("x"))
    with pytest.raises(AssertionError):
        MODELS.translator(a_request(), Ask(model=None, stream=False), None)  # type: ignore[arg-type]


def test_failures_are_openais() -> None:
    assert MODELS.failure(Fault(Cause.KEY_MISSING), "id").body.startswith(b'{"error":')
