"""Guardrails: what ApplyGuardrail answers, and what the other operations add when a guardrail has looked on.

No policy is evaluated: a guardrail intervenes when the scenario says so (`stop=guardrail_intervened`).
"""

from collections.abc import Mapping
from typing import Any, Final

from stargate.simulator.dialogue import Answer

REFUSAL: Final = "Sorry, the model cannot answer this question."
"""The canned text of a guardrail that has intervened."""
_POLICIES: Final = ("topic", "content", "word", "sensitiveInformation", "contextualGrounding")
_UNIT_CHARACTERS: Final = 1000


def apply_document(members: Mapping[str, Any], *, intervene: bool) -> dict[str, object]:
    """The body of an ApplyGuardrail answer."""
    characters = sum(len(block["text"]["text"]) for block in members["content"] if "text" in block)
    return {
        "action": "GUARDRAIL_INTERVENED" if intervene else "NONE",
        "assessments": [],
        "guardrailCoverage": _coverage(characters),
        "outputs": [{"text": REFUSAL}] if intervene else [],
        "usage": _usage(characters),
    }


def converse_trace(config: Mapping[str, Any], said: Answer, characters: int) -> dict[str, object]:
    """The member `trace` of a Converse answer; empty, unless the request asked for it."""
    if config.get("trace", "disabled") == "disabled":
        return {}
    identifier = config["guardrailIdentifier"]
    assessment = _assessment(identifier, characters)
    if said.stop_reason != "guardrail_intervened":
        return {"trace": {"guardrail": {"inputAssessment": assessment}}}
    topic = {"name": "Simulated", "type": "DENY", "action": "BLOCKED", "detected": True}
    found = {identifier: {**assessment[identifier], "topicPolicy": {"topics": [topic]}}}
    return {"trace": {"guardrail": {"inputAssessment": found, "actionReason": "Guardrail blocked."}}}


def invoke_members(members: Mapping[str, Any], said: Answer, characters: int) -> dict[str, object]:
    """What InvokeModel adds to a model's own body."""
    identifier = members.get("guardrailIdentifier")
    if not identifier:
        return {}
    intervened = said.stop_reason == "guardrail_intervened"
    found: dict[str, object] = {"amazon-bedrock-guardrailAction": "INTERVENED" if intervened else "NONE"}
    if members.get("trace", "DISABLED") != "DISABLED":
        found["amazon-bedrock-trace"] = {"guardrail": {"input": _assessment(identifier, characters)}}
    return found


def _assessment(identifier: str, characters: int) -> dict[str, dict[str, object]]:
    metrics = {
        "guardrailCoverage": _coverage(characters),
        "guardrailProcessingLatency": 230,
        "usage": _usage(characters),
    }
    return {identifier: {"invocationMetrics": metrics}}


def _coverage(characters: int) -> dict[str, object]:
    return {"textCharacters": {"guarded": characters, "total": characters}}


def _usage(characters: int) -> dict[str, object]:
    units = -(-characters // _UNIT_CHARACTERS)
    return {
        "sensitiveInformationPolicyFreeUnits": units,
        **{f"{policy}PolicyUnits": units for policy in _POLICIES},
    }


_FOUND_SCORE: Final = 0.98
_CHECKS: Final = {
    "contentFilter": ("categories", "category"),
    "promptAttack": ("categories", "category"),
    "sensitiveInformation": ("entities", "type"),
}
"""The inline checks: what their lists are called, and what is named in each item."""


def checks_document(members: Mapping[str, Any], *, intervene: bool) -> dict[str, object]:
    """The body of an InvokeGuardrailChecks answer: nothing found, or everything that was looked for."""
    texts = [
        (index, part, block["text"])
        for index, message in enumerate(members["messages"])
        for part, block in enumerate(message["content"])
    ]
    units = -(-sum(len(text) for _, _, text in texts) // _UNIT_CHARACTERS)
    results: dict[str, object] = {}
    for check, (items, name) in _CHECKS.items():
        if check not in members["checks"]:
            continue
        wanted = [item[name] for item in members["checks"][check][items]]
        if name == "category":
            score = _FOUND_SCORE if intervene else 0.0
            results[check] = {"results": [{name: kind, "severityScore": score} for kind in wanted]}
        else:
            index, part, text = texts[-1]
            place = {"beginOffset": 0, "endOffset": len(text), "messageIndex": index, "contentIndex": part}
            found = [{name: kind, "confidenceScore": _FOUND_SCORE, **place} for kind in wanted]
            results[check] = {"results": found if intervene else [], "truncated": False}
    return {"results": results, "usage": {check: {"textUnits": units} for check in results}}
