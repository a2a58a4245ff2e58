"""Guardrails: inline checks, and the trace in a conversation; judged by AWS's own model."""

import json
from typing import Any, Final

import pytest

from support.bedrock_model import answer_objections
from support.simulator import CLAUDE, Reply, Wire, signed

CHECKS: Final[dict[str, Any]] = {
    "contentFilter": {"categories": [{"category": "HATE"}, {"category": "INSULTS"}]},
    "promptAttack": {"categories": [{"category": "JAILBREAK"}]},
    "sensitiveInformation": {"entities": [{"type": "EMAIL"}]},
}
INTERVENE: Final = "[[simulator: stop=guardrail_intervened]]"


def checked(text: str, checks: dict[str, Any]) -> Reply:
    """The answer to inline checks."""
    content = {"messages": [{"role": "user", "content": [{"text": text}]}], "checks": checks}
    return Wire().ask(signed("/guardrail-checks/invoke", json.dumps(content).encode()))


class TestChecks:
    @pytest.mark.parametrize("text", ["hello", INTERVENE])
    @pytest.mark.parametrize("names", [list(CHECKS), *([name] for name in CHECKS), []], ids=str)
    def test_each_is_answered_that_was_asked_for(self, names: list[str], text: str) -> None:
        reply = checked(text, {name: CHECKS[name] for name in names})
        assert reply.status == 200, reply.body
        assert answer_objections("InvokeGuardrailChecks", reply.body) == []
        answer = reply.json()
        assert list(answer["results"]) == list(answer["usage"]) == names

    def test_nothing_is_found_unless_the_scenario_says_so(self) -> None:
        for text, score, count in (("hello", 0.0, 0), (INTERVENE, 0.98, 1)):
            results = checked(text, CHECKS).json()["results"]
            scores = {entry["severityScore"] for entry in results["contentFilter"]["results"]}
            assert (scores, len(results["sensitiveInformation"]["results"])) == ({score}, count)

    @pytest.mark.parametrize(
        "checks",
        [
            {"contentFilter": {"categories": []}},
            {"contentFilter": {"categories": [{"category": "BOREDOM"}]}},
            {"smell": {}},
        ],
    )
    def test_wrong_ones_are_refused(self, checks: dict[str, Any]) -> None:
        assert checked("hello", checks).status == 400

    def test_scenarios_befall_them_too(self) -> None:
        assert checked("[[simulator: throw-ThrottlingException]]", CHECKS).status == 429


@pytest.mark.parametrize(("text", "action"), [("hello", None), (INTERVENE, "Guardrail blocked.")])
def test_a_trace_says_what_was_found(text: str, action: str | None) -> None:
    config: dict[str, Any] = {"guardrailIdentifier": "gr00", "guardrailVersion": "1", "trace": "enabled"}
    message = {"role": "user", "content": [{"text": text}]}
    content: dict[str, Any] = {"messages": [message], "guardrailConfig": config}
    reply = Wire().ask(signed(f"/model/{CLAUDE}/converse", json.dumps(content).encode()))
    trace = reply.json()["trace"]["guardrail"]
    assert trace.get("actionReason") == action
    assert ("topicPolicy" in trace["inputAssessment"]["gr00"]) is (action is not None)
    without = {**content, "guardrailConfig": {**config, "trace": "disabled"}}
    assert "trace" not in Wire().ask(signed(f"/model/{CLAUDE}/converse", json.dumps(without).encode())).json()
