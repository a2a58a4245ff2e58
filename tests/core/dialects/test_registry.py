"""The built-in routes: every path of every dialect, and whose envelope an error gets."""

import pytest

from stargate_core.dialects.registry import (
    ANTHROPIC_MESSAGES,
    ANTHROPIC_MODELS,
    BEDROCK_NATIVE,
    OPENAI_CHAT,
    OPENAI_MODELS,
    ROUTES,
    dialect_for,
    guess,
    methods_for,
    route_for,
    spoken,
)
from support.dialects import a_request


@pytest.mark.parametrize(
    ("method", "path", "dialect"),
    [
        (b"POST", b"/v1/chat/completions", OPENAI_CHAT),
        (b"POST", b"/v1/chat", OPENAI_CHAT),
        (b"GET", b"/v1/models", OPENAI_MODELS),
        (b"GET", b"/v1/models/claude", OPENAI_MODELS),
        (b"GET", b"/v1/models/arn%3Aaws%2Fx", OPENAI_MODELS),
        (b"POST", b"/model/x/converse", BEDROCK_NATIVE),
        (b"POST", b"/model/arn%3Aaws%2Fx/invoke-with-response-stream", BEDROCK_NATIVE),
        (b"POST", b"/model/x/unheard-of", BEDROCK_NATIVE),
        (b"POST", b"/guardrail/g/version/1/apply", BEDROCK_NATIVE),
        (b"GET", b"/v1/chat/completions", None),
        (b"POST", b"/v1/chat/completions/", None),
        (b"POST", b"/v1/models", None),
        (b"GET", b"/v1/models/", None),
        (b"POST", b"/model/", None),
        (b"GET", b"/", None),
        (b"POST", b"/v1/CHAT/completions", None),
    ],
)
def test_paths(method: bytes, path: bytes, dialect: object) -> None:
    assert dialect_for(method, path) is dialect
    route = route_for(method, path)
    assert (route is None) is (dialect is None)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (b"/v1/chat/completions", (b"POST",)),
        (b"/v1/models", (b"GET",)),
        (b"/v1/models/x", (b"GET",)),
        (b"/model/x/converse", (b"POST",)),
        (b"/nowhere", ()),
    ],
)
def test_the_methods_of_a_path(path: bytes, methods: tuple[bytes, ...]) -> None:
    assert methods_for(path) == methods


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        (b"/", OPENAI_CHAT),
        (b"", OPENAI_CHAT),
        (b"/v1/chat/completions", OPENAI_CHAT),
        (b"/v1/unheard-of", OPENAI_CHAT),
        (b"/v1/models/x", OPENAI_MODELS),
        (b"/model/x/converse", BEDROCK_NATIVE),
        (b"/guardrail/x", BEDROCK_NATIVE),
        (b"/inference-profiles", BEDROCK_NATIVE),
        (b"/async-invoke", BEDROCK_NATIVE),
        (b"/foundation-models", BEDROCK_NATIVE),
    ],
)
def test_whose_envelope_an_error_gets(path: bytes, dialect: object) -> None:
    assert guess(path) is dialect


def test_every_route_has_a_name_of_its_own() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("path", [b"/v1/messages", b"/v1/messages/count_tokens", b"/v1/messages/unheard-of"])
def test_anthropics_paths_get_anthropics_envelope(path: bytes) -> None:
    assert guess(path) is ANTHROPIC_MESSAGES


def test_two_apis_list_their_models_at_one_path() -> None:
    version = (b"anthropic-version", b"2023-06-01")
    for dialect, headers, spoken_there in (
        (OPENAI_MODELS, [], OPENAI_MODELS),
        (OPENAI_MODELS, [version], ANTHROPIC_MODELS),
        (OPENAI_CHAT, [version], OPENAI_CHAT),
    ):
        assert spoken(dialect, a_request(b"", b"/v1/models", b"GET", headers=headers)) is spoken_there
