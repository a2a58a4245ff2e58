"""Templates that callers fill in, and decorations, in every API: what Bedrock is asked in the end."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.prompt_template import Decorate, Message, PromptTemplate, Template
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry
from stargate_core.secret import Secret
from support.machines import MODEL, Bench, a_config, a_plan, request

NOVA: Final = "amazon.nova-lite-v1:0"
PATH: Final = f"/model/{NOVA.replace(':', '%3A')}"
SUMMARY: Final = Template(
    name="summary",
    template=msgspec.json.encode(
        {
            "temperature": 0.5,
            "messages": [
                {"role": "system", "content": "You write for {{ reader }}."},
                {"role": "user", "content": "Sum up: {{text}}"},
            ],
        }
    ).decode(),
)
BARE: Final = Template(name="bare", template="Tell of {{text}}")
GIVEN: Final = {"reader": "children", "text": 'a "quoted" }]} tale, {{reader}}'}
DECORATE: Final = Decorate(
    prepend=[Message(role="system", content="You serve {{consumer}} by {{model}} on {{date}}.")],
    append=[Message(role="user", content="Be brief.")],
)


def body(target: str, **members: Any) -> bytes:
    """A request with a body."""
    return request(target, msgspec.json.encode(members))


def asked(sent: bytes, **config: Any) -> Bench:
    """A gateway with this configuration that was asked."""
    config.setdefault("templates", [SUMMARY, BARE])
    bench = Bench(a_plan(a_config(PluginEntry(name="prompt-template", config=PromptTemplate(**config)))))
    bench.ask(sent)
    return bench


def called(sent: bytes, **config: Any) -> Any:
    """The body that Bedrock gets."""
    bench = asked(sent, **config)
    bench.open()
    return msgspec.json.decode(bench.call.body)


def refused(sent: bytes, **config: Any) -> str:
    """Why a request is refused, in words."""
    bench = asked(sent, **config)
    assert bench.only.status == 400
    told = bench.only.json
    return str(told.get("message") or told["error"]["message"])


CALLERS: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "chat": ("/v1/chat/completions", {"model": NOVA}, "messages"),
    "responses": ("/v1/responses", {"model": NOVA}, "input"),
    "messages": ("/v1/messages", {"model": NOVA, "max_tokens": 9}, "messages"),
    "converse": (f"{PATH}/converse", {}, "messages"),
    "stream": (f"{PATH}/converse-stream", {}, "messages"),
}


class TestTemplates:
    @pytest.mark.parametrize("caller", CALLERS)
    def test_one_template_for_every_api(self, caller: str) -> None:
        """All of them go by Converse here, so they come to the same conversation."""
        target, members, place = CALLERS[caller]
        sent = body(target, **members, **{place: "{template://summary}"}, properties=GIVEN)
        call = called(sent)
        assert call["system"] == [{"text": "You write for children."}]
        assert call["messages"] == [
            {"role": "user", "content": [{"text": f"Sum up: {GIVEN['text']}"}]}
        ]  # fmt: skip
        assert "properties" not in call

    def test_its_other_members_count_too(self) -> None:
        sent = body(
            CALLERS["chat"][0], model=NOVA, temperature=1, messages=" {template://summary}", properties=GIVEN
        )
        assert called(sent)["inferenceConfig"] == {"temperature": 0.5}

    def test_a_text_is_the_users(self) -> None:
        sent = body(CALLERS["chat"][0], model=NOVA, messages="{template://bare}", properties={"text": 5})
        assert called(sent)["messages"] == [{"role": "user", "content": [{"text": "Tell of 5"}]}]

    def test_a_models_own_body(self) -> None:
        text = '{"anthropic_version": "1", "messages": [{"role": "user", "content": "{{x}}"}]}'
        text = '{"anthropic_version": "1", "messages": [{"role": "user", "content": "{{x}}"}]}'
        own = Template(name="own", template=text)
        prompt = Template(name="llama", template='{"prompt": "<s>{{x}}</s>"}')
        sent = body(f"{PATH}/invoke", messages="{template://own}", properties={"x": "hi"})
        assert called(sent, templates=[own])["messages"] == [{"role": "user", "content": "hi"}]
        sent = body(f"{PATH}/invoke", prompt="{template://llama}", properties={"x": True})
        assert called(sent, templates=[prompt]) == {"prompt": "<s>true</s>"}

    @given(st.text())
    def test_no_value_breaks_out(self, value: str) -> None:
        sent = body(f"{PATH}/converse", messages="{template://bare}", properties={"text": value})
        assert called(sent) == {"messages": [{"role": "user", "content": [{"text": f"Tell of {value}"}]}]}

    @pytest.mark.parametrize(
        ("members", "told"),
        [
            ({"messages": "{template://nothing}"}, "There is no template 'nothing'"),
            ({"messages": "{template://bare}"}, "The template 'bare' needs the property 'text'"),
            (
                {"messages": "{template://bare}", "properties": {"text": "a", "txt": "b"}},
                "The template 'bare' has no variable 'txt'",
            ),
            ({"messages": "{template://bare}", "properties": []}, "properties must be an object"),
            (
                {"messages": "{template://bare}", "properties": {"text": ["a"]}},
                "The property 'text' must be a text, a number or a truth value",
            ),
        ],
    )
    def test_what_does_not_fit_is_named(self, members: dict[str, Any], told: str) -> None:
        assert refused(body(CALLERS["chat"][0], model=NOVA, **members)) == told

    def test_values_have_a_bound(self) -> None:
        sent = body(CALLERS["chat"][0], model=NOVA, messages="{template://bare}", properties={"text": "ää"})
        assert asked(sent, properties_max_bytes=4).asked
        assert asked(sent, properties_max_bytes=3).only.status == 413

    def test_what_names_none_passes_as_it_came(self) -> None:
        for prompt in ("a template", "hi"):
            sent = body(f"{PATH}/invoke", prompt=prompt, n=1.0)
            bench = asked(sent)
            bench.open()
            assert bench.call.body == sent.partition(b"\r\n\r\n")[2]


class TestOnlyTemplates:
    @pytest.mark.parametrize(
        ("target", "members"),
        [
            ("/v1/chat/completions", {"model": NOVA, "messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/responses", {"model": NOVA, "input": "hi"}),
            (f"{PATH}/invoke", {"prompt": "hi"}),
            ("/async-invoke", {"modelId": NOVA, "modelInput": {}, "outputDataConfig": {}}),
        ],
    )
    def test_a_callers_own_words_are_refused(self, target: str, members: dict[str, Any]) -> None:
        told = refused(body(target, **members), allow_untemplated_requests=False)
        assert told == "Only templates may be used here: name one as {template://name}"

    def test_what_says_nothing_passes(self) -> None:
        assert asked(request("/v1/models", method="GET"), allow_untemplated_requests=False).only.status == 200
        sent = body("/v1/embeddings", model="amazon.titan-embed-text-v2:0", input="hi")
        assert asked(sent, allow_untemplated_requests=False).asked
        assert asked(request(f"{PATH}/nothing", b"{}"), allow_untemplated_requests=False).only.status == 404

    def test_what_is_no_object_is_the_dialects_to_refuse(self) -> None:
        sent = request("/v1/chat/completions", b"[]")
        assert "template" not in refused(sent, allow_untemplated_requests=False)


class TestDecorations:
    @pytest.mark.parametrize("caller", CALLERS)
    def test_in_every_api(self, caller: str) -> None:
        target, members, place = CALLERS[caller]
        content = [{"text": "hi"}] if "converse" in target else "hi"
        sent = body(target, **members, **{place: [{"role": "user", "content": content}]})
        call = called(sent, decorate=DECORATE)
        # The bench's wall time.
        assert call["system"] == [{"text": f"You serve  by {NOVA} on 2027-01-15."}]
        (turn,) = call["messages"]
        assert [block["text"] for block in turn["content"]] == ["hi", "Be brief."]

    def test_for_whom(self) -> None:
        ann = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("key-ann"))])
        entry = PluginEntry(name="prompt-template", config=PromptTemplate(decorate=DECORATE))
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        bench = Bench(a_plan(a_config(auth, entry, consumers=[ann])))
        sent = msgspec.json.encode({"model": NOVA, "messages": [{"role": "user", "content": "hi"}]})
        bench.ask(request("/v1/chat/completions", sent, headers={"x-api-key": "key-ann"}))
        bench.open()
        assert b"You serve ann by" in bench.call.body

    def test_marks_for_caching_survive(self) -> None:
        marked = [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]
        sent = body("/v1/messages", model=MODEL, max_tokens=9, system=marked,
                    messages=[{"role": "user", "content": marked}])  # fmt: skip
        call = called(sent, decorate=DECORATE)
        assert call["system"][1:] == marked
        assert call["messages"][0] == {"role": "user", "content": marked}

    def test_around_a_template(self) -> None:
        sent = body(CALLERS["chat"][0], model=NOVA, messages="{template://summary}", properties=GIVEN)
        call = called(sent, decorate=DECORATE)
        assert [block["text"].split()[1] for block in call["system"]] == ["serve", "write"]

    @pytest.mark.parametrize(
        ("target", "members"),
        [
            (f"{PATH}/invoke", {"prompt": "hi"}),
            (f"{PATH}/converse", {"promptVariables": {"a": {"text": "b"}}}),
        ],
    )
    def test_where_it_cannot_be_done(self, target: str, members: dict[str, Any]) -> None:
        sent = body(target, **members)
        assert "the request's body holds no messages" in refused(sent, decorate=DECORATE)
        assert called(sent, decorate=DECORATE, undecorated="allow") == members

    def test_counting_counts_what_would_be_sent(self) -> None:
        sent = body("/v1/messages/count_tokens", model=MODEL, messages=[{"role": "user", "content": "hi"}])
        bench = asked(sent, decorate=DECORATE)
        bench.open()
        inner = msgspec.json.decode(bench.call.body)["input"]
        assert "invokeModel" in inner or b"Be brief." in bench.call.body
