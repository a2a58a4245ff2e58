"""The schemas of answers: every error that a dialect can give is among those that it is said to give."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.dialects.face import Dialect
from stargate_core.dialects.openapi_answers import HEADERS, SCHEMAS, error_refs, errors, good
from stargate_core.dialects.openapi_bodies import ref
from stargate_core.dialects.registry import (
    ANTHROPIC_COUNT,
    ANTHROPIC_MESSAGES,
    BEDROCK_NATIVE,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_MODELS,
    OPENAI_RESPONSES,
)
from stargate_core.faults import AWS_CAUSES, Cause, Fault, fault_of_aws

ERRORS: Final = errors()
FAMILIES: Final[list[tuple[Dialect, str]]] = [
    (OPENAI_CHAT, "openai"),
    (OPENAI_RESPONSES, "openai"),
    (OPENAI_EMBEDDINGS, "openai"),
    (OPENAI_MODELS, "openai"),
    (ANTHROPIC_MESSAGES, "anthropic"),
    (ANTHROPIC_COUNT, "anthropic"),
    (BEDROCK_NATIVE, "bedrock"),
]


def lacks(schema: dict[str, Any], value: Any) -> list[str]:
    """The members that an object should have, and has not."""
    assert isinstance(value, dict)
    missing = [name for name in schema["required"] if name not in value]
    for name, member in schema["properties"].items():
        if "required" in member and name in value:
            missing += lacks(member, value[name])
    return missing


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize(("dialect", "family"), FAMILIES, ids=lambda one: getattr(one, "NAME", one))
def test_every_cause_has_its_status_and_its_code(dialect: Dialect, family: str, cause: Cause) -> None:
    reply = dialect.failure(Fault(cause), "0" * 32)
    body = msgspec.json.decode(reply.body)
    said = ERRORS[f"{family}.{reply.status}"]
    assert lacks(SCHEMAS[f"{family}.Error"], body) == []
    match family:
        case "openai":
            code = body["error"]["code"]
        case "anthropic":
            code = body["error"]["type"]
        case _:
            code = dict(reply.headers)[b"x-amzn-errortype"].decode()
    assert code in said["description"].split(", ")


@pytest.mark.parametrize("name", AWS_CAUSES)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_what_bedrock_says_is_among_them(name: str, status: int) -> None:
    reply = BEDROCK_NATIVE.failure(fault_of_aws(name, status, "No."), "0" * 32)
    assert str(reply.status) in error_refs("bedrock")


def test_a_reference_leads_to_an_answer() -> None:
    for family in ("openai", "anthropic", "bedrock"):
        for status, reference in error_refs(family).items():
            assert reference["$ref"].removeprefix("#/components/responses/") in ERRORS
            assert status == "default" or 400 <= int(status) <= 599


def test_errors_bear_the_headers_that_they_are_said_to() -> None:
    headers = ERRORS["bedrock.429"]["headers"]
    assert set(headers) == {"x-request-id", "x-should-retry", "retry-after", "x-amzn-errortype"}
    assert {one["$ref"].rpartition("/")[2] for one in headers.values()} <= HEADERS.keys()


def test_a_good_answer_names_its_media() -> None:
    answer = good("Yes.", json=ref("chat.Answer"), sse={})
    assert list(answer["content"]) == ["application/json", "text/event-stream"]
