"""The body of a Converse call: each parameter's place, what each family of models is told in its own words,
and AWS's own service model as the judge of random requests.
"""

import contextlib
import itertools
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from stargate_core.aws.surfaces import GuardrailWay
from stargate_core.dialects.anthropic_converse_parameters import PARAMETERS
from stargate_core.dialects.anthropic_converse_request import converse_call_body, count_body
from stargate_core.dialects.face import Options, Target
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.parameters import Fate
from stargate_core.faults import Cause, Refused
from support.anthropic_converse import (
    CLAUDE,
    LLAMA,
    NOVA,
    a_message,
    composed,
    messages_request,
    refused,
)
from support.bedrock_model import objections
from support.dialects import a_request

MESSAGES = [{"role": "user", "content": [{"text": "Say this is a test"}]}]
DROP = Options(drop_params=True)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "schema": SCHEMA}


def added(model: str = NOVA, **members: Any) -> dict[str, Any]:
    """What a request becomes, beside its message and the tokens that it always gives."""
    made = composed(model, **members)
    assert made.pop("messages") == MESSAGES
    inference = made.pop("inferenceConfig")
    assert inference.pop("maxTokens") == members.get("max_tokens", 100)
    return {**made, "inferenceConfig": inference} if inference else made


def fields(model: str = NOVA, options: Options | None = None, **members: Any) -> dict[str, Any]:
    """What the model is told in its own words."""
    told: dict[str, Any] = composed(model, options, **members).get("additionalModelRequestFields", {})
    return told


class TestParameters:
    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            ({}, {}),
            ({"temperature": 0, "top_p": 1}, {"inferenceConfig": {"temperature": 0.0, "topP": 1.0}}),
            ({"stop_sequences": ["a", "", "b"]}, {"inferenceConfig": {"stopSequences": ["a", "b"]}}),
            ({"stop_sequences": [], "temperature": None, "system": None, "stream": True}, {}),
            ({"metadata": {"user_id": "ann {1}"}}, {"requestMetadata": {"user_id": "ann _1_"}}),
            ({"metadata": {"user_id": "x" * 300}}, {"requestMetadata": {"user_id": "x" * 256}}),
            ({"metadata": {"user_id": None}, "user_profile_id": ""}, {}),
            ({"user_profile_id": "up"}, {"requestMetadata": {"user_profile_id": "up"}}),
            ({"service_tier": "auto"}, {}),
            (
                {"performanceConfig": {"latency": "optimized"}},
                {"performanceConfig": {"latency": "optimized"}},
            ),
            (
                {"requestMetadata": {"team": "a", "user_id": "b"}, "metadata": {"user_id": "c"}},
                {"requestMetadata": {"team": "a", "user_id": "b"}},
            ),
            (
                {"additionalModelResponseFieldPaths": ["/x"]},
                {"additionalModelResponseFieldPaths": ["/x"]},
            ),
            ({"service_tier": "standard_only"}, {}),
            ({"service_tier": "flex"}, {"serviceTier": {"type": "flex"}}),
            ({"foo": {"bar": 1}}, {"additionalModelRequestFields": {"foo": {"bar": 1}}}),
            ({"anthropic_version": "x", "speed": "fast", "workspace_id": "w", "diagnostics": {}}, {}),
            ({"context_management": {"edits": []}, "anthropic_beta": ["b"]}, {}),
            ({"guardrailConfig": {"guardrailIdentifier": "told otherwise"}}, {}),
        ],
    )
    def test_each_has_its_place(self, members: dict[str, Any], expected: dict[str, Any]) -> None:
        assert added(**members) == expected

    @pytest.mark.parametrize(
        "members",
        [{"output_config": {"format": FORMAT}}, {"output_format": FORMAT}],
    )
    def test_a_schema_is_a_string_of_json(self, members: Any) -> None:
        text_format = added(**members)["outputConfig"]["textFormat"]
        assert text_format["type"] == "json_schema"
        assert msgspec.json.decode(text_format["structure"]["jsonSchema"]["schema"]) == SCHEMA

    def test_a_schema_is_an_object(self) -> None:
        wrong = {"type": "json_schema", "schema": [1]}
        assert refused(output_config={"format": wrong})[0] == "output_config.format.schema"
        assert refused(output_format=wrong)[0] == "output_format.schema"

    def test_max_tokens_is_required(self) -> None:
        assert refused(max_tokens=None) == ("max_tokens", "max_tokens: Field required")

    @pytest.mark.parametrize("name", [n for n, row in PARAMETERS.items() if row.fate is Fate.REFUSED])
    def test_what_is_refused_is_refused_by_name_or_dropped(self, name: str) -> None:
        asked: dict[str, Any] = {name: {"something": 1}}
        param, said = refused(**asked)
        assert (param, said) == (name, f"{name}: {PARAMETERS[name].reason}")
        assert fields(NOVA, DROP, **asked) == {}
        for harmless in (None, *PARAMETERS[name].harmless):
            assert added(**{name: harmless}) == {}

    def test_only_claude_is_asked_which_of_several_sequences_it_was(self) -> None:
        asked = {"additionalModelResponseFieldPaths": ["/stop_sequence"]}
        several = {"inferenceConfig": {"stopSequences": ["a", "b"]}}
        assert added(CLAUDE, stop_sequences=["a", "b"]) == asked | several
        assert added(NOVA, stop_sequences=["a", "b"]) == several
        paths = ["/stop_sequence", "/x"]
        made = composed(CLAUDE, stop_sequences=["a", "b"], additionalModelResponseFieldPaths=paths)
        assert made["additionalModelResponseFieldPaths"] == paths
        assert added(CLAUDE, stop_sequences=["a", ""]) == {"inferenceConfig": {"stopSequences": ["a"]}}


class TestGuardrail:
    GUARDRAIL = Guardrail("gr1", "DRAFT", trace="enabled", stream_processing_mode="sync")

    def test_it_is_in_the_body(self) -> None:
        config = {"guardrailIdentifier": "gr1", "guardrailVersion": "DRAFT", "trace": "enabled"}
        assert composed(guardrail=self.GUARDRAIL)["guardrailConfig"] == config
        made = composed(guardrail=self.GUARDRAIL, stream=True)["guardrailConfig"]
        assert made == {**config, "streamProcessingMode": "sync"}

    def test_where_it_cannot_be_nobody_answers_unguarded(self) -> None:
        target = Target(NOVA, options=Options(guardrail=GuardrailWay.NONE))
        with pytest.raises(Refused):
            converse_call_body(messages_request(), target, self.GUARDRAIL, {}, stream=False)


class TestBetas:
    HEADERS: ClassVar = [(b"anthropic-beta", b"a,b"), (b"anthropic-beta", b"c")]

    def test_claude_is_told_of_the_headers_and_the_bodys(self) -> None:
        told = composed(CLAUDE, headers=self.HEADERS, anthropic_beta=["b", "d"])
        assert told["additionalModelRequestFields"] == {"anthropic_beta": ["a", "b", "c", "d"]}

    def test_those_that_bedrock_refuses_are_left_out(self) -> None:
        options = Options(betas_dropped=("a", "b"), betas_renamed=(("c", "x"),))
        told = composed(CLAUDE, options, headers=self.HEADERS)
        assert told["additionalModelRequestFields"] == {"anthropic_beta": ["x"]}

    def test_others_are_told_nothing(self) -> None:
        assert set(composed(NOVA, headers=self.HEADERS, anthropic_beta=["b"])) == {
            "messages",
            "inferenceConfig",
        }


class TestTopK:
    @pytest.mark.parametrize(
        ("model", "told"),
        [
            (CLAUDE, {"top_k": 5}),
            (NOVA, {"inferenceConfig": {"topK": 5}}),
            ("mistral.mistral-7b-instruct-v0:2", {"top_k": 5}),
            ("cohere.command-r-plus-v1:0", {"k": 5}),
        ],
    )
    def test_in_the_words_of_the_family(self, model: str, told: Any) -> None:
        assert fields(model, top_k=5) == told

    def test_a_family_without_the_word_refuses_or_drops_it(self) -> None:
        assert refused(LLAMA, top_k=5)[0] == "top_k"
        assert fields(LLAMA, DROP, top_k=5) == {}


class TestThinking:
    GPT = "openai.gpt-oss-120b-1:0"

    @pytest.mark.parametrize(
        ("members", "effort"),
        [
            ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
            ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, "medium"),
            ({"thinking": {"type": "enabled", "budget_tokens": 30000}}, "high"),
            ({"thinking": {"type": "adaptive"}}, "high"),
            ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
            (
                {"thinking": {"type": "enabled", "budget_tokens": 9}, "output_config": {"effort": "max"}},
                "high",
            ),
            ({"output_config": {"effort": "medium"}}, "medium"),
        ],
    )
    def test_a_budget_is_a_word_to_others(self, members: Any, effort: str) -> None:
        assert fields(self.GPT, **members) == {"reasoning_effort": effort}

    @pytest.mark.parametrize(
        "members",
        [{"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, {"thinking": None}],
    )
    def test_none_is_none(self, members: Any) -> None:
        assert fields(self.GPT, **members) == {}
        assert fields(LLAMA, **members) == {}

    def test_nova_is_told_both_in_its_own_words(self) -> None:
        told = fields("us.amazon.nova-2-lite-v1:0", thinking={"type": "adaptive"}, top_k=5)
        assert told["inferenceConfig"] == {"topK": 5}
        assert told["reasoningConfig"]["maxReasoningEffort"] == "high"

    def test_claude_is_told_what_its_caller_said(self) -> None:
        thinking = {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}
        config = {"effort": "high", "format": FORMAT, "task_budget": {"total": 5}}
        told = composed(CLAUDE, thinking=thinking, output_config=config, context_management={"edits": []})
        assert told["additionalModelRequestFields"] == {
            "thinking": thinking,
            "output_config": {"effort": "high", "task_budget": {"total": 5}},
            "context_management": {"edits": []},
        }
        assert "outputConfig" in told
        assert fields(CLAUDE, output_config={"format": FORMAT}) == {}

    @pytest.mark.parametrize(
        ("members", "place"),
        [
            ({"thinking": {"type": "adaptive"}}, "thinking"),
            ({"output_config": {"effort": "low"}}, "output_config.effort"),
            ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ],
    )
    def test_a_family_that_is_not_known_refuses_or_drops_it(self, members: Any, place: str) -> None:
        param, said = refused(LLAMA, **members)
        assert param == place
        assert said.startswith(f"{place}: ")
        assert fields(LLAMA, DROP, **members) == {}

    def test_a_budget_must_be_said(self) -> None:
        assert refused(thinking={"type": "enabled"})[0] == "thinking.budget_tokens"

    def test_the_callers_own_words_win(self) -> None:
        assert fields(self.GPT, thinking={"type": "adaptive"}, reasoning_effort="low") == {
            "reasoning_effort": "low"
        }


class TestCounting:
    def test_what_tokens_are_counted_by(self) -> None:
        said = a_message(
            system="be",
            tools=[{"name": "f", "input_schema": SCHEMA}],
            top_k=5,
            temperature=1,
            metadata={"user_id": "a"},
        )
        del said["max_tokens"]
        made = count_body(a_request(msgspec.json.encode(said)), Target(NOVA), {})
        assert set(made) == {"messages", "system", "toolConfig", "additionalModelRequestFields"}
        body = msgspec.json.encode({"input": {"converse": made}})
        assert objections("CountTokens", body, modelId="amazon.nova-pro-v1:0") == []

    def test_it_refuses_what_the_call_would(self) -> None:
        with pytest.raises(Refused):
            count_body(messages_request(mcp_servers=[{"url": "x"}]), Target(NOVA), {})


# -------------------------------------------------------------------------------------------- random requests

TEXTS = st.sampled_from(["", " ", "a", "b c", "ü\n"])
MARKS: SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"cache_control": None}]
)
NAMES = st.sampled_from(["f", "mcp/x.y", "ä" * 80])
TEXT = st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, TEXTS, MARKS)
SOURCES = st.sampled_from(
    [
        {"type": "text", "media_type": "text/plain", "data": "d"},
        {"type": "content", "content": "c"},
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
    ]
)
DOCUMENT = st.builds(
    lambda source, title, cited, mark: {
        "type": "document",
        "source": source,
        "title": title,
        "citations": cited,
        **mark,
    },
    SOURCES,
    st.none() | st.text(max_size=9),
    st.sampled_from([None, {"enabled": True}, {"enabled": False}, {}]),
    MARKS,
)
IMAGE = st.just(
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}}
)
FOUND = st.builds(
    lambda texts: {"type": "search_result", "source": "s", "title": "t", "content": [*texts]},
    st.lists(TEXT, min_size=1, max_size=2),
)


@st.composite
def requests(draw: DrawFn) -> dict[str, Any]:
    """A request with some of everything, its calls and results in order."""
    numbers = itertools.count()
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        content = draw(st.lists(TEXT | DOCUMENT | IMAGE | FOUND, max_size=3)) if draw(st.booleans()) else "a"
        messages.append({"role": "user", "content": content})
        calls = [
            {"type": "tool_use", "id": f"id/{next(numbers)}", "name": draw(NAMES), "input": {"x": 1}}
            for _ in range(draw(st.integers(0, 2)))
        ]
        thoughts = [
            {"type": "thinking", "thinking": draw(TEXTS), "signature": draw(TEXTS)},
            {"type": "redacted_thinking", "data": draw(TEXTS)},
        ]
        spoken = [*thoughts[: draw(st.integers(0, 2))], draw(TEXT), *calls]
        messages.append({"role": "assistant", "content": spoken})
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": draw(st.none() | TEXTS | st.lists(TEXT | IMAGE | DOCUMENT | FOUND, max_size=2)),
                "is_error": draw(st.sampled_from([None, True, False])),
                **draw(MARKS),
            }
            for call in calls
        ]
        messages.append({"role": "user", "content": [draw(TEXT), *results]})
    request = a_message(messages=messages, max_tokens=draw(st.integers(1, 10_000)))
    optional: dict[str, SearchStrategy[Any]] = {
        "system": TEXTS | st.lists(TEXT, max_size=2),
        "tools": st.lists(
            st.builds(lambda name, mark: {"name": name, "input_schema": {}, **mark}, NAMES, MARKS),
            max_size=2,
        ),
        "tool_choice": st.sampled_from([None, {"type": "auto"}, {"type": "none"}, {"type": "any"}]),
        "stop_sequences": st.lists(TEXTS, max_size=3),
        "temperature": st.none() | st.floats(0, 1),
        "thinking": st.sampled_from([None, {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}]),
        "top_k": st.none() | st.integers(0, 500),
        "metadata": st.none() | st.fixed_dictionaries({"user_id": st.none() | st.text(max_size=300)}),
        "cache_control": st.sampled_from([None, {"type": "ephemeral"}]),
        "output_config": st.sampled_from([None, {"effort": "low"}, {"format": FORMAT}]),
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            request[name] = draw(values)
    return request


@given(requests(), st.sampled_from([NOVA, CLAUDE, LLAMA, "us.deepseek.r1-v1:0"]), st.booleans())
def test_aws_has_nothing_against_any_request(request: dict[str, Any], model: str, stream: bool) -> None:
    request.pop("model")
    with contextlib.suppress(Refused):
        made = composed(model, DROP, stream=stream, **request)
        check(made["messages"])
        if any("toolUse" in block for message in made["messages"] for block in message["content"]):
            assert made["toolConfig"]["tools"]


def check(messages: list[dict[str, Any]]) -> None:
    """What Bedrock demands of a conversation, and its model does not say."""
    roles = [message["role"] for message in messages]
    assert all(one != next_ for one, next_ in itertools.pairwise(roles))
    names: list[str] = []
    for before, message in itertools.pairwise([{"content": []}, *messages]):
        content = message["content"]
        assert content
        kinds = [next(iter(block)) for block in content if "cachePoint" not in block]
        results = kinds.count("toolResult")
        assert kinds[:results] == ["toolResult"] * results
        called = [block["toolUse"]["toolUseId"] for block in before["content"] if "toolUse" in block]
        answered = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
        assert sorted(called) == sorted(answered)
        assert all(block["text"].strip() for block in content if "text" in block)
        if "document" in kinds:
            assert "text" in kinds
        names += [block["document"]["name"] for block in content if "document" in block]
    assert len(set(names)) == len(names)


@given(
    st.binary(max_size=40) | st.dictionaries(st.sampled_from(sorted(PARAMETERS)), st.integers() | st.text())
)
def test_any_body_is_composed_or_refused(body: Any) -> None:
    sent = body if isinstance(body, bytes) else msgspec.json.encode({**a_message(), **body})
    try:
        converse_call_body(a_request(sent), Target(NOVA), None, {}, stream=False)
    except Refused as caught:
        assert caught.fault.cause in (Cause.BODY_INVALID, Cause.BODY_MALFORMED)


class TestParallelCalls:
    """Only Claude's own words can forbid them; Converse's choice is left out then."""

    TOOLS: ClassVar = [{"name": "f", "input_schema": SCHEMA}]

    @pytest.mark.parametrize(
        ("choice", "told"),
        [
            ({"type": "auto"}, {"type": "auto"}),
            ({"type": "any"}, {"type": "any"}),
            ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
        ],
    )
    def test_of_claude(self, choice: dict[str, Any], told: dict[str, Any]) -> None:
        made = composed(CLAUDE, tools=self.TOOLS, tool_choice={**choice, "disable_parallel_tool_use": True})
        assert "toolChoice" not in made["toolConfig"]
        assert made["additionalModelRequestFields"]["tool_choice"] == {
            **told,
            "disable_parallel_tool_use": True,
        }

    def test_where_they_are_allowed_the_choice_is_converses(self) -> None:
        made = composed(CLAUDE, tools=self.TOOLS, tool_choice={"type": "any"})
        assert made["toolConfig"]["toolChoice"] == {"any": {}}
        assert "additionalModelRequestFields" not in made
