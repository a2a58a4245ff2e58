"""Messages requests: what is read of them, what is refused, and that all else reaches InvokeModel as it
came.
"""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.anthropic_invoke_blocks import OBJECT, Members
from stargate_core.dialects.anthropic_invoke_request import (
    LACKS,
    VERSION,
    ask_of,
    asked,
    guardrail_member,
    invoke_body,
    members_of,
)
from stargate_core.dialects.face import Ask, Fetched, Headers, Options, PromptCaching, Target
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.faults import Cause, Fault, Refused
from support.dialects import a_request
from support.vectors import recordings

HELLO: Final = [{"role": "user", "content": "Hello"}]
ADDED: Final = {"anthropic_version": VERSION}
PLAIN: Final = Options()
DROPPING: Final = Options(drop_params=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n  ", "\t"])


def a_body(**members: Any) -> dict[str, Any]:
    return {"model": "claude", "max_tokens": 100, "messages": HELLO, **members}


def a_target(options: Options = PLAIN) -> Target:
    return Target("anthropic.claude-sonnet-4-20250514-v1:0", Surface.INVOKE, options)


def told(body: Any, *, counting: bool = False) -> Ask:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return ask_of(a_request(raw, b"/v1/messages"), counting=counting)


def fault_of(body: Any) -> Fault:
    with pytest.raises(Refused) as caught:
        told(body)
    return caught.value.fault


def sent_raw(
    body: bytes, options: Options = PLAIN, headers: Headers | None = None, *, counting: bool = False
) -> bytes:
    request = a_request(body, b"/v1/messages", headers=headers)
    return invoke_body(
        request, asked(ask_of(request, counting=counting)), a_target(options), {}, counting=counting
    )


def sent(body: dict[str, Any], options: Options = PLAIN, headers: Headers | None = None) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.json.decode(sent_raw(msgspec.json.encode(body), options, headers))
    return members


class TestRead:
    def test_what_policy_must_know(self) -> None:
        ask = told(a_body(stream=True, temperature=0.5))
        assert (ask.model, ask.stream, ask.output_tokens_max, ask.temperature) == ("claude", True, 100, 0.5)
        assert (ask.operation, ask.urls, ask.local) == (None, (), False)

    def test_what_is_not_said_is_not_known(self) -> None:
        ask = told({"max_tokens": 1, "messages": HELLO})
        assert (ask.model, ask.stream, ask.temperature) == (None, False, None)

    @pytest.mark.parametrize("heat", ["warm", [1], {"a": 1}, None, True, 2**40])
    def test_an_odd_temperature_is_the_models_business(self, heat: Any) -> None:
        assert told(a_body(temperature=heat)).temperature is None

    def test_so_is_one_beyond_all_numbers(self) -> None:
        body = b'{"max_tokens":1,"messages":["a"],"temperature":1%b}' % (b"0" * 400)
        assert told(body).temperature is None

    def test_a_temperature_may_be_whole(self) -> None:
        assert told(a_body(temperature=1)).temperature == 1.0

    def test_no_tokens_at_all_fill_the_prompt_cache(self) -> None:
        assert told(a_body(max_tokens=0)).output_tokens_max == 0

    def test_counting_needs_no_limit_and_streams_nothing(self) -> None:
        ask = told({"model": "claude", "messages": HELLO, "stream": True}, counting=True)
        assert (ask.operation, ask.stream, ask.output_tokens_max) == (Operation.COUNT_TOKENS, False, 0)

    def test_urls_are_told(self) -> None:
        source = {"type": "url", "url": "https://a.test/a.png"}
        ask = told(a_body(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}]))
        assert ask.urls == ("https://a.test/a.png",)

    @pytest.mark.parametrize(
        ("body", "param", "said"),
        [
            ({"messages": HELLO}, "max_tokens", "max_tokens: Field required"),
            (a_body(max_tokens="100"), "max_tokens", "max_tokens: Input should be a valid integer"),
            (a_body(max_tokens=1.5), "max_tokens", "max_tokens: Input should be a valid integer"),
            (a_body(max_tokens=True), "max_tokens", "max_tokens: Input should be a valid integer"),
            (a_body(max_tokens=None), "max_tokens", "max_tokens: Input should be a valid integer"),
            (a_body(max_tokens=[1]), "max_tokens", "max_tokens: Input should be a valid integer"),
            (a_body(max_tokens=-1), "max_tokens", "greater than or equal to 0"),
            (a_body(max_tokens=2**31), "max_tokens", "less than or equal to 2147483647"),
            (b'{"messages":["a"],"max_tokens":1%b}' % (b"0" * 400), "max_tokens", "less than or equal to"),
            (a_body(model=5), "model", "model: Input should be a valid string"),
            (a_body(stream="yes"), "stream", "stream: Input should be a valid boolean"),
            ({"max_tokens": 1}, "messages", "messages: Field required"),
            (a_body(messages=[]), "messages", "messages: at least one message is required"),
            (b'{"max_tokens":1,"messages":[ \n ]}', "messages", "messages: at least one message is required"),
            (a_body(messages="Hello"), "messages", "messages: Input should be a valid list"),
            (a_body(messages=None), "messages", "messages: Input should be a valid list"),
            ([], None, "JSON object"),
            (b'"x"', None, "JSON object"),
        ],
    )
    def test_what_is_wrong_is_told_in_anthropics_words(self, body: Any, param: str | None, said: str) -> None:
        fault = fault_of(body)
        assert (fault.row.status, fault.cause, fault.param) == (400, Cause.BODY_INVALID, param)
        assert said in fault.text

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b'{"a":NaN}',
            b'{"system":"\xff"}',
            b'{"system":"\\ud800"}',
            b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        ],
    )
    def test_what_is_no_json_is_told_so(self, body: bytes) -> None:
        assert fault_of(body).cause is Cause.BODY_MALFORMED

    @given(
        st.binary(max_size=60)
        | JSON.map(msgspec.json.encode)
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("model", "max_tokens", "messages", "stream"), JSON)
        ).map(msgspec.json.encode)
    )
    def test_nothing_else_ever_comes_of_a_body(self, body: bytes) -> None:
        try:
            told(body)
        except Refused as refused:
            assert refused.fault.row.status == 400


class TestCarried:
    def test_model_and_stream_go_and_the_version_comes(self) -> None:
        assert sent(a_body(stream=True)) == {"max_tokens": 100, "messages": HELLO, **ADDED}

    def test_a_version_of_the_callers_is_overwritten_in_its_place(self) -> None:
        body = {"anthropic_version": "2023-06-01", **a_body()}
        assert sent_raw(msgspec.json.encode(body)).startswith(
            b'{"anthropic_version":"bedrock-2023-05-31","max'
        )

    def test_members_stay_in_order_and_byte_for_byte(self) -> None:
        system = b'[{"type":"text","text":"a\\u00e9\\/b","cache_control":{"type" : "ephemeral","ttl":"1h"}} ]'
        messages = (
            b'[ {"content":[{"signature":"EqQB/+==","type":"thinking","thinking":"\\u2028"}],"role":"user"}]'
        )
        body = b'{"top_p":0.90,"system":%b,"model":"m","messages": %b,"max_tokens":1e2,"x_new":{"a": 1.0}}'
        raw = sent_raw(body.replace(b"1e2", b"100") % (system, messages))
        expected = b'{"top_p":0.90,"system":%b,"messages":%b,"max_tokens":100,"x_new":{"a": 1.0}'
        assert raw == expected % (system, messages) + b',"anthropic_version":"bedrock-2023-05-31"}'

    @pytest.mark.parametrize(
        "member",
        [
            {"metadata": {"user_id": "u-1"}},
            {"thinking": {"type": "adaptive"}},
            {"context_management": {"edits": []}},
            {"output_config": {"effort": "high"}},
            {"tools": [{"name": "a", "input_schema": {"type": "object", "scope": 1}, "defer_loading": True}]},
            {"something_of_next_year": [1]},
            {"amazon-bedrock-guardrailConfig": {"tagSuffix": "x"}},
        ],
    )
    def test_what_bedrock_knows_or_may_know_is_kept(self, member: dict[str, Any]) -> None:
        assert sent(a_body(**member)) == {"max_tokens": 100, "messages": HELLO, **member, **ADDED}

    @given(
        st.dictionaries(
            TEXTS.filter(lambda name: name not in {lack.name for lack in LACKS}), JSON, max_size=4
        ),
        JSON,
        SPACES,
    )
    def test_nothing_is_lost_on_the_way(self, others: dict[str, Any], content: Any, space: str) -> None:
        body = {**others, "model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}]}
        body.pop("anthropic_beta", None)
        encoded = msgspec.json.encode(body).replace(b'"max_tokens":', f'"max_tokens"{space}:{space}'.encode())
        if any(word in encoded for word in (b'"scope"', b'"url"', b'"file"', b"guardrailConfig")):
            return
        carried = sent_raw(encoded)
        expected = {name: value for name, value in body.items() if name not in ("model", "stream")}
        assert msgspec.json.decode(carried) == {**expected, **ADDED}
        before, after = OBJECT.decode(encoded), OBJECT.decode(carried)
        assert [name for name in after if name in before] == [name for name in before if name in after]
        assert all(
            bytes(after[name]) == bytes(before[name]) for name in expected if name != "anthropic_version"
        )

    def test_so_do_requests_that_bedrock_has_taken(self) -> None:
        taken = 0
        for recording in recordings():
            body = recording.request_body
            if (
                "anthropic" not in recording.uri
                or "/invoke" not in recording.uri
                or not isinstance(body, str)
            ):
                continue
            try:
                members = msgspec.json.decode(body)
            except msgspec.DecodeError:
                continue  # The recording's text was shortened.
            assert msgspec.json.decode(sent_raw(body.encode())) == {**members, **ADDED}
            taken += 1
        assert taken > 8

    def test_a_name_twice_is_sent_once_as_it_was_understood(self) -> None:
        raw = b'{"max_tokens":5,"messages":[{"role":"user","content":"a"}],"max_tokens":7}'
        assert msgspec.json.decode(sent_raw(raw))["max_tokens"] == 7
        assert sent_raw(raw).count(b"max_tokens") == 1

    def test_whom_it_is_for_comes_from_the_header_into_the_body(self) -> None:
        headers: Headers = [(b"anthropic-user-profile-id", b"uprof_1")]
        assert sent(a_body(), headers=headers)["user_profile_id"] == "uprof_1"
        assert sent(a_body(user_profile_id="other"), headers=headers)["user_profile_id"] == "other"

    def test_counting_says_a_limit_where_there_is_none(self) -> None:
        raw = sent_raw(b'{"messages":["x"],"stream":true}', counting=True)
        assert msgspec.json.decode(raw) == {"messages": ["x"], "max_tokens": 1, **ADDED}
        raw = sent_raw(b'{"messages":["x"],"max_tokens":9}', counting=True)
        assert msgspec.json.decode(raw)["max_tokens"] == 9


class TestBetas:
    def test_of_header_and_body_stand_in_the_body(self) -> None:
        headers: Headers = [(b"anthropic-beta", b"a,b"), (b"anthropic-beta", b"c")]
        assert sent(a_body(anthropic_beta=["b", "d"]), headers=headers)["anthropic_beta"] == [
            "a",
            "b",
            "c",
            "d",
        ]

    @pytest.mark.parametrize("member", [{}, {"anthropic_beta": []}, {"anthropic_beta": None}])
    def test_without_any_there_is_no_member(self, member: dict[str, Any]) -> None:
        assert "anthropic_beta" not in sent(a_body(**member))

    def test_nor_where_all_are_dropped(self) -> None:
        headers: Headers = [(b"anthropic-beta", b"a")]
        assert "anthropic_beta" not in sent(a_body(), Options(betas_dropped=("a",)), headers)


class TestLacks:
    VALUES: Final = {
        "service_tier": "auto",
        "container": {"id": "c"},
        "mcp_servers": [{"type": "url", "name": "a"}],
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "inference_geo": "us",
    }

    @pytest.mark.parametrize("name", [lack.name for lack in LACKS])
    def test_each_is_refused_by_its_name(self, name: str) -> None:
        with pytest.raises(Refused) as caught:
            sent(a_body(**{name: self.VALUES[name]}))
        fault = caught.value.fault
        assert (fault.row.status, fault.param) == (400, name)
        assert f"{name}: Extra inputs are not permitted" in fault.text

    def test_all_are_told_at_once(self) -> None:
        system = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "scope": "global"}}]
        with pytest.raises(Refused) as caught:
            sent(a_body(**self.VALUES, system=system))
        for name in (*self.VALUES, "system.0.cache_control.scope"):
            assert f"{name}: Extra inputs are not permitted" in caught.value.fault.text

    def test_a_null_asks_for_nothing(self) -> None:
        assert sent(a_body(container=None, inference_geo=None)) == sent(a_body())

    def test_they_go_with_their_betas_where_the_operator_says_so(self) -> None:
        headers: Headers = [
            (b"anthropic-beta", b"mcp-client-2025-11-20,skills-2025-10-02,context-1m-2025-08-07"),
            (b"anthropic-beta", b"code-execution-2025-05-22,mcp-tunnels-2026-06-22"),
        ]
        body = sent(a_body(**self.VALUES), DROPPING, headers)
        assert body == {**sent(a_body()), "anthropic_beta": ["context-1m-2025-08-07"]}

    def test_a_beta_alone_stays(self) -> None:
        headers: Headers = [(b"anthropic-beta", b"mcp-client-2025-11-20")]
        assert sent(a_body(), DROPPING, headers)["anthropic_beta"] == ["mcp-client-2025-11-20"]

    def test_scopes_go_wherever_they_are_and_nothing_beside_them(self) -> None:
        def scoped(**more: Any) -> dict[str, Any]:
            return {"type": "ephemeral", **more}

        def with_scopes(**scope: Any) -> dict[str, Any]:
            result = {"type": "tool_result", "content": [{"type": "text", "cache_control": scoped(**scope)}]}
            return a_body(
                cache_control=scoped(**scope, ttl="1h"),
                system=[
                    {"type": "text", "text": "a", "cache_control": scoped(**scope)},
                    {"type": "text", "text": "b"},
                ],
                tools=[{"name": "t", "input_schema": {"scope": "s"}, "cache_control": scoped(**scope)}],
                messages=[
                    {"role": "user", "content": [result]},
                    {"role": "assistant", "content": [{"type": "tool_use", "input": {"scope": "x"}}]},
                ],
            )

        headers: Headers = [(b"anthropic-beta", b"prompt-caching-scope-2026-01-05")]
        assert sent(with_scopes(scope="global"), DROPPING, headers) == sent(with_scopes())
        with pytest.raises(Refused) as caught:
            sent(with_scopes(scope="global"))
        places = [part.partition(":")[0] for part in caught.value.fault.text.split("; ")]
        assert places == [
            "cache_control.scope",
            "system.0.cache_control.scope",
            "tools.0.cache_control.scope",
            "messages.0.content.0.content.0.cache_control.scope",
        ]

    @pytest.mark.parametrize("control", [None, "scope", ["scope"], {"type": "scope"}])
    def test_a_scope_that_is_no_setting_is_left_alone(self, control: Any) -> None:
        system = [{"type": "text", "text": '"scope"', "cache_control": control, "scope": 1}]
        assert sent(a_body(system=system))["system"] == system


class TestCaching:
    AUTO: Final = Options(prompt_caching=PromptCaching.AUTO)

    def test_a_request_without_a_mark_is_marked_where_the_operator_says_so(self) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        expected = {**sent(a_body()), "system": [{"type": "text", "text": "Be brief.", **mark}]}
        assert sent(a_body(system="Be brief."), self.AUTO) == expected

    def test_one_with_a_mark_is_not(self) -> None:
        block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        body = a_body(system="Be brief.", messages=[{"role": "user", "content": [block]}])
        assert sent(body, self.AUTO) == sent(body)


class TestSources:
    def test_what_was_fetched_takes_its_place(self) -> None:
        url = "https://a.test/a.png"
        block = {"type": "image", "source": {"type": "url", "url": url}}
        request = a_request(msgspec.json.encode(a_body(messages=[{"role": "user", "content": [block]}])))
        fetched = {url: Fetched("image/png", b"png")}
        body = msgspec.json.decode(invoke_body(request, asked(ask_of(request)), a_target(), fetched))
        source = {"type": "base64", "media_type": "image/png", "data": "cG5n"}
        assert body["messages"][0]["content"] == [{"type": "image", "source": source}]

    @pytest.mark.parametrize(
        "source", [{"type": "url", "url": "https://a.test/"}, {"type": "file", "file_id": "f"}]
    )
    def test_what_bedrock_would_have_to_look_up_is_refused(self, source: Any) -> None:
        with pytest.raises(Refused) as caught:
            sent(a_body(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}]))
        assert caught.value.fault.param == "messages.0.content.0.source"

    def test_the_request_itself_is_not_changed(self) -> None:
        """A retry may compose it again, for another target."""
        request = a_request(msgspec.json.encode(a_body(container={"id": "c"}, stream=True)))
        ask = ask_of(request)
        first = invoke_body(request, asked(ask), a_target(DROPPING), {})
        assert invoke_body(request, asked(ask), a_target(DROPPING), {}) == first


class TestGuardrail:
    def members(self, value: Any) -> Members:
        return members_of(msgspec.json.encode({"guardrailConfig": value}))

    def test_named_as_converse_has_it(self) -> None:
        config = {"guardrailIdentifier": "gr-1", "guardrailVersion": "2", "trace": "enabled"}
        assert guardrail_member(self.members(config)) == Guardrail("gr-1", "2", "enabled")
        assert guardrail_member(self.members(None)) is None
        assert guardrail_member({}) is None

    @pytest.mark.parametrize(
        "value", ["gr-1", {}, {"guardrailIdentifier": "gr-1"}, {"guardrailIdentifier": 1}]
    )
    def test_half_a_name_is_refused(self, value: Any) -> None:
        with pytest.raises(Refused) as caught:
            guardrail_member(self.members(value))
        assert caught.value.fault.param == "guardrailConfig"

    def test_it_does_not_go_into_the_body(self) -> None:
        config = {"guardrailIdentifier": "gr-1", "guardrailVersion": "2"}
        assert sent(a_body(guardrailConfig=config)) == sent(a_body())


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("member", ["temperature", "max_tokens", "stream"])
    def test_it_is_named(self, member: str) -> None:
        body = a_body()
        body.pop(member, None)
        fault = fault_of(msgspec.json.encode(body)[:-1] + b',"%b":1e999}' % member.encode())
        assert (fault.cause, fault.param) == (Cause.BODY_INVALID, member)


class TestScopes:
    def test_a_mark_that_has_none_stays_as_it_is(self) -> None:
        plain = {"type": "ephemeral"}
        system = [
            {"type": "text", "text": "a", "cache_control": {**plain, "scope": "global"}},
            {"type": "text", "text": "b", "cache_control": plain},
            {"type": "text", "text": "c"},
        ]
        told_system = sent(a_body(system=system), DROPPING)["system"]
        assert [block.get("cache_control") for block in told_system] == [plain, plain, None]

    def test_nor_does_one_around_another_that_has_one(self) -> None:
        plain = {"type": "ephemeral"}
        scoped = {"type": "text", "text": "a", "cache_control": {**plain, "scope": "global"}}
        result = {"type": "tool_result", "tool_use_id": "t", "content": [scoped], "cache_control": plain}
        messages = [{"role": "user", "content": [result]}]
        [message] = sent(a_body(messages=messages), DROPPING)["messages"]
        [block] = message["content"]
        assert block["cache_control"] == block["content"][0]["cache_control"] == plain
