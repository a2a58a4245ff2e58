"""bedrock-guardrail's configuration: what names a guardrail, and what is wrong with it."""

import pytest

from support.config import examined, marked, places, said

ENTRY = "plugins: [{name: bedrock-guardrail, config: {%s}}]"
ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("identifier: »My Guardrail", "the id of a guardrail, or its ARN"),
        ("identifier: »arn:aws:bedrock:us-east-1:123:guardrail/abc", "the id of a guardrail"),
        ("identifier: abc, version: »'0'", "the number of a version in quotes"),
        ("identifier: abc, version: »1.0", "the number of a version in quotes"),
        ("identifier: abc, version: »latest", "the number of a version in quotes"),
        ("identifier: abc, attach: »false", "expected true, or apply: it would do nothing"),
        ("identifier: abc, override: »maybe", "deny"),
        ("identifier: abc, timeout: »0", "seconds"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(config: str, problem: str) -> None:
    text, where = marked(ENTRY % config)
    problems = examined(text).problems
    assert places(problems) == where
    assert problem in said(problems)[0]


@pytest.mark.parametrize(
    "config",
    [
        "identifier: abc123",
        f"identifier: '{ARN}', version: '12', trace: enabled, override: allow",
        "identifier: abc123, attach: false, apply: true, on_block: error",
        "identifier: abc123, apply: true, unguarded: allow, on_failure: allow, stream_processing_mode: async",
    ],
)
def test_good_ones(config: str) -> None:
    assert examined(ENTRY % config).problems == ()


def test_one_must_be_named() -> None:
    assert "expected the id of a guardrail" in said(examined(ENTRY % "").problems)[0]


def test_kongs_name_leads_here() -> None:
    text = "plugins: [{name: ai-aws-guardrails}]"
    assert "did you mean bedrock-guardrail?" in said(examined(text).problems)[0]
