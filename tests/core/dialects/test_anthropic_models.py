"""Anthropic's list of models, as anthropic-sdk-python reads it, in pages of any size."""

from typing import Any

import anthropic
import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.anthropic_models import AnthropicModels
from stargate_core.dialects.face import Ask, ModelCard, Reply, Request, Target
from stargate_core.dialects.openai_models import OpenAIModels
from stargate_core.dialects.registry import ANTHROPIC_MODELS, OPENAI_CHAT, OPENAI_MODELS, spoken
from stargate_core.faults import Cause, Fault, Refused
from support.dialects import a_request

MODELS = AnthropicModels()
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6"
NAMES = ("claude", "amazon.nova-micro-v1:0", ARN, "a b/ü%", "e")
OFFERED = [ModelCard(name, "secret-target") for name in (*NAMES, "claude")]


def gateway(request: Request) -> Reply:
    try:
        return MODELS.answer_locally(request, MODELS.read(request), OFFERED)
    except Refused as refused:
        return MODELS.failure(refused.fault, request.request_id)


def client() -> anthropic.Anthropic:
    """anthropic-sdk-python, its HTTP requests answered by the dialect."""

    def handle(request: Any) -> Any:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        asked = a_request(request.read(), request.url.raw_path, request.method.encode(), headers)
        assert spoken(OPENAI_MODELS, asked) is ANTHROPIC_MODELS
        reply = gateway(asked)
        return httpx2.Response(reply.status, headers=reply.headers, content=reply.body)

    return anthropic.Anthropic(
        api_key="k",
        base_url="http://gateway",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(handle)),
    )


def page(query: str) -> dict[str, Any]:
    reply = gateway(a_request(path=b"/v1/models?" + query.encode(), method=b"GET"))
    assert reply.status == 200
    made: dict[str, Any] = msgspec.json.decode(reply.body)
    return made


def ids(made: dict[str, Any]) -> list[str]:
    return [model["id"] for model in made["data"]]


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 1000])
def test_the_sdk_reads_all_pages(limit: int) -> None:
    with client() as sdk:
        models = list(sdk.models.list(limit=limit))
    assert [model.id for model in models] == list(NAMES)
    assert {model.type for model in models} == {"model"}
    assert {model.created_at.year for model in models} == {1970}
    assert [model.display_name for model in models] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_one_model_by_any_name(name: str) -> None:
    with client() as sdk:
        assert sdk.models.retrieve(name).id == name


@pytest.mark.parametrize("name", ["gpt-5", "Claude", "a%"])
def test_a_model_that_is_not_offered_is_not_found(name: str) -> None:
    with client() as sdk, pytest.raises(anthropic.NotFoundError) as caught:
        sdk.models.retrieve(name)
    error: Any = caught.value.body
    assert error["error"]["type"] == "not_found_error"


class TestPages:
    def test_a_page_of_twenty_unless_told_otherwise(self) -> None:
        many = [ModelCard(f"m{number}", "t") for number in range(30)]
        request = a_request(path=b"/v1/models", method=b"GET")
        made = msgspec.json.decode(MODELS.answer_locally(request, MODELS.read(request), many).body)
        assert ids(made) == [f"m{number}" for number in range(20)]
        assert (made["has_more"], made["first_id"], made["last_id"]) == (True, "m0", "m19")

    def test_behind_a_model_and_before_one(self) -> None:
        made = page("limit=2&after_id=claude")
        assert (ids(made), made["has_more"]) == (list(NAMES[1:3]), True)
        assert (made["first_id"], made["last_id"]) == (NAMES[1], NAMES[2])
        made = page("limit=2&before_id=e")
        assert (ids(made), made["has_more"]) == (list(NAMES[2:4]), True)
        made = page("limit=9&before_id=e")
        assert (ids(made), made["has_more"]) == (list(NAMES[:4]), False)

    @pytest.mark.parametrize("query", ["after_id=e", "before_id=claude", "lifecycle[]=retired"])
    def test_an_empty_page(self, query: str) -> None:
        assert page(query) == {"data": [], "has_more": False, "first_id": None, "last_id": None}

    def test_all_of_these_are_active(self) -> None:
        assert ids(page("lifecycle=retired&lifecycle=active")) == list(NAMES)

    def test_what_it_does_not_know_means_nothing(self) -> None:
        assert ids(page("beta=true&limit=1000&x")) == list(NAMES)

    @pytest.mark.parametrize(
        ("query", "word"),
        [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
            ("limit=²", "limit"),
            ("limit=" + "9" * 5000, "limit"),
            ("after_id=nobody", "after_id"),
            ("before_id=nobody", "before_id"),
            ("after_id=e&before_id=claude", "before_id"),
            ("a=1&" * 200, "parameters"),
        ],
    )
    def test_what_is_no_page_is_refused(self, query: str, word: str) -> None:
        reply = gateway(a_request(path=b"/v1/models?" + query.encode(), method=b"GET"))
        assert reply.status == 400
        error = msgspec.json.decode(reply.body)["error"]
        assert error["type"] == "invalid_request_error"
        assert word in error["message"]

    @given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 5), st.booleans())
    def test_pages_together_are_the_list(self, names: list[str], limit: int, backwards: bool) -> None:
        cards = [ModelCard(name, "t") for name in names]
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(len(names) + 1):
            request = a_request(path=b"/v1/models", method=b"GET")
            ask = MODELS.read(request)
            key = "before" if backwards else "after"
            ask.body = msgspec.structs.replace(ask.body, limit=limit, **{key: cursor})
            if backwards and cursor is None:
                # There is no page before nothing: one begins at the last.
                if not names:
                    break
                seen, cursor = [names[-1]], names[-1]
                continue
            made = msgspec.json.decode(MODELS.answer_locally(request, ask, cards).body)
            seen = ids(made) + seen if backwards else seen + ids(made)
            if not made["has_more"]:
                break
            cursor = made["first_id"] if backwards else made["last_id"]
        assert seen == names

    @given(st.binary(max_size=80))
    def test_any_query_is_answered_or_refused(self, query: bytes) -> None:
        request = Request(b"GET", b"/v1/models", b"/v1/models", query, [], b"", "id", 0)
        assert gateway(request).status in {200, 400}


def test_the_target_stays_inside() -> None:
    assert b"secret-target" not in gateway(a_request(path=b"/v1/models", method=b"GET")).body


def test_it_is_answered_here() -> None:
    ask = MODELS.read(a_request(path=b"/v1/models", method=b"GET"))
    assert ask.local
    with pytest.raises(AssertionError):
        MODELS.compose(a_request(), ask, Target("x"))
    with pytest.raises(AssertionError):
        MODELS.translator(a_request(), Ask(model=None, stream=False), None)  # type: ignore[arg-type]


def test_failures_are_anthropics() -> None:
    reply = MODELS.failure(Fault(Cause.KEY_MISSING), "id")
    assert msgspec.json.decode(reply.body)["error"]["type"] == "authentication_error"


def test_who_sends_no_version_speaks_openais_api() -> None:
    assert isinstance(spoken(OPENAI_MODELS, a_request(headers=[(b"x-api-key", b"k")])), OpenAIModels)
    versioned = a_request(headers=[(b"anthropic-version", b"2023-06-01")])
    assert spoken(OPENAI_CHAT, versioned) is OPENAI_CHAT
