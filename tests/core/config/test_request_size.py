"""request-size's configuration: Kong's units, and what is wrong with it."""

import pytest

from stargate_core.config.request_size import RequestSize
from support.config import examined, marked, places, said

ENTRY = "plugins: [{name: request-size, config: {%s}}]"


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (RequestSize(allowed_payload_size=2), 2 * 1024 * 1024),
        (RequestSize(allowed_payload_size=2, size_unit="kilobytes"), 2048),
        (RequestSize(allowed_payload_size=2, size_unit="bytes"), 2),
        (RequestSize(max_body_bytes=77), 77),
        (RequestSize(max_messages=1), None),
    ],
)
def test_units(config: RequestSize, size: int | None) -> None:
    assert config.body_bytes_max == size


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("max_messages: »0", "from 1"),
        ("allowed_payload_size: 1, size_unit: »gigabytes", "megabytes"),
        ("allowed_payload_size: 1, max_body_bytes: »5", "expected either"),
        ("max_output_tokens: 5, on_output_excess: »cut", "reject"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(config: str, problem: str) -> None:
    text, where = marked(ENTRY % config)
    problems = examined(text).problems
    assert places(problems) == where
    assert problem in said(problems)[0]


def test_without_a_limit_it_would_do_nothing() -> None:
    assert "expected at least one limit (for instance" in said(examined(ENTRY % "").problems)[0]


def test_kongs_names() -> None:
    told = examined(ENTRY % "allowed_payload_size: 8, size_unit: kilobytes, require_content_length: true")
    assert told.problems == ()
    assert any("counted as it comes" in text for text in said(told.warnings))
    assert (
        "did you mean request-size?" in said(examined("plugins: [{name: request-size-limiting}]").problems)[0]
    )
