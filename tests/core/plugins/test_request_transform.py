"""What callers ask, changed before it is read: headers, query, body and model, in each dialect."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.plugin_configs import ApiKeyAuth, RateLimiter
from stargate_core.config.request_transform import (
    RequestNames,
    RequestRenames,
    RequestTransform,
    RequestValues,
)
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry
from stargate_core.secret import Secret
from support.hooks import entry, plugin_of
from support.machines import MODEL, Bench, a_config, a_plan, chat, converse, request

NOVA: Final = "amazon.nova-lite-v1:0"
USER: Final = {"role": "user", "content": "hi"}


def transform(**rules: Any) -> PluginEntry:
    """An entry of the plugin."""
    return PluginEntry(name="request-transform", config=RequestTransform(**rules))


def asked(sent: bytes, **rules: Any) -> Bench:
    """A gateway with these rules that was asked."""
    bench = Bench(a_plan(a_config(transform(**rules))))
    bench.ask(sent)
    return bench


def seen(sent: bytes, **rules: Any) -> Any:
    """The request as hooks see it that run later."""
    requests: list[Any] = []
    probe = plugin_of({"access": lambda ctx: requests.append(ctx.request)}, priority=930)
    bench = Bench(a_plan(a_config(transform(**rules), entry()), probe))
    bench.ask(sent)
    (found,) = requests
    return found


def called(sent: bytes, **rules: Any) -> Any:
    """The call that Bedrock gets."""
    bench = asked(sent, **rules)
    bench.open()
    return bench.call


class TestHeaders:
    def test_in_kongs_order(self) -> None:
        told = {"x-a": "1", "x-b": "2", "x-c": "3", "X-Old": "4"}
        request = seen(
            chat(headers=told),
            remove=RequestNames(headers=["X-A"]),
            rename=RequestRenames(headers=["X-Old:X-New"]),
            replace=RequestValues(headers=["X-B: Two", "x-nothing:1"]),
            add=RequestValues(headers=["x-c:9", "X-D: New"]),
            append=RequestValues(headers=["x-c:5"]),
        )
        own = [(name, value) for name, value in request.headers if name.startswith(b"x-")]
        assert own == [
            (b"x-b", b"Two"), (b"x-c", b"3"), (b"x-new", b"4"), (b"x-d", b"New"), (b"x-c", b"5"),
        ]  # fmt: skip

    def test_what_reaches_aws_is_an_allow_list(self) -> None:
        add = RequestValues(headers=["x-amzn-bedrock-trace:ENABLED", "x-own:secret"])
        call = called(converse("invoke"), add=add)
        assert call.headers["x-amzn-bedrock-trace"] == "ENABLED"
        assert "x-own" not in call.headers


class TestQuery:
    def test_all_rules(self) -> None:
        request = seen(
            chat().replace(b"/v1/chat/completions ", b"/v1/chat/completions?a=1&b=x+y&c&d=%26&e=5 ", 1),
            remove=RequestNames(querystring=["a"]),
            rename=RequestRenames(querystring=["c:cc"]),
            replace=RequestValues(querystring=["e:6"]),
            add=RequestValues(querystring=["b:no", "f:ü&="]),
            append=RequestValues(querystring=["e:7"]),
        )
        assert request.query == b"b=x%20y&cc=&d=%26&e=6&f=%C3%BC%26%3D&e=7"

    def test_a_reading_is_made_with_it(self) -> None:
        add = RequestValues(querystring=["byProvider:amazon"])
        call = called(request("/foundation-models", method="GET"), add=add)
        assert call.target == "/foundation-models?byProvider=amazon"


class TestBody:
    def test_openai(self) -> None:
        call = called(
            chat(temperature=2, user="me"),
            remove=RequestNames(body=["temperature"]),
            add=RequestValues(body=["max_tokens:7"], body_types=["number"]),
            replace=RequestValues(body=["messages.0.content:changed"]),
        )
        body = msgspec.json.decode(call.body)
        assert body["messages"] == [{"role": "user", "content": [{"text": "changed"}]}]
        assert body["inferenceConfig"] == {"maxTokens": 7}

    def test_converse(self) -> None:
        call = called(
            converse(), add=RequestValues(body=["inferenceConfig:x"]), remove=RequestNames(body=["nothing"])
        )
        assert msgspec.json.decode(call.body)["inferenceConfig"] == "x"

    def test_what_is_no_json_is_refused_and_what_has_no_body_passes(self) -> None:
        rules = {"remove": RequestNames(body=["user"])}
        bench = asked(request("/v1/chat/completions", b"{"), **rules)
        assert (bench.only.status, bench.record["cause"]) == (400, "BODY_MALFORMED")
        assert asked(request("/v1/models", method="GET"), **rules).only.status == 200

    def test_a_body_that_is_no_object_is_the_dialects_to_refuse(self) -> None:
        bench = asked(request("/v1/chat/completions", b"[]"), models={"a": "b"})
        assert bench.only.status == 400

    @given(
        st.dictionaries(
            st.text(max_size=5), st.one_of(st.integers(-(2**60), 2**60), st.text(), st.booleans())
        )
    )
    def test_what_no_rule_names_stays(self, members: dict[str, Any]) -> None:
        body = {**members, "model": MODEL, "zz": 1}
        sent = request("/v1/chat/completions", msgspec.json.encode(body))
        del body["zz"]
        after = seen(sent, remove=RequestNames(body=["zz"])).body
        assert msgspec.json.decode(after) == body


class TestModels:
    TABLE: Final = {"old": NOVA, MODEL: NOVA}

    @pytest.mark.parametrize(
        "sent",
        [
            chat(model="old"),
            chat(),
            request(
                "/v1/messages", msgspec.json.encode({"model": "old", "max_tokens": 5, "messages": [USER]})
            ),
            request("/v1/responses", msgspec.json.encode({"model": "old", "input": "hi"})),
            converse(model="old"),
            converse(),
        ],
        ids=["chat", "id", "messages", "responses", "native", "native id"],
    )
    def test_in_each_dialect(self, sent: bytes) -> None:
        call = called(sent, models=self.TABLE)
        assert call.target.startswith("/model/amazon.nova-lite-v1%3A0/")

    def test_one_that_is_not_named_stays(self) -> None:
        for sent in (chat(), converse()):
            assert "claude-3-haiku" in called(sent, models={"old": NOVA}).target

    def test_a_body_that_names_none(self) -> None:
        body = msgspec.json.encode({"model": 5, "messages": [USER]})
        assert asked(request("/v1/chat/completions", body), models=self.TABLE).only.status == 400

    def test_what_a_caller_may_use_is_the_new_one(self) -> None:
        key = KeyCredential(key=Secret("key-ann"))
        ann = Consumer(username="ann", keyauth_credentials=[key], models=["amazon.*"])
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        told = {"authorization": "Bearer key-ann"}
        for rules, status in (({"old": NOVA}, 0), ({"old": MODEL}, 403)):
            bench = Bench(a_plan(a_config(auth, transform(models=rules), consumers=[ann])))
            bench.ask(chat(model="old", headers=told))
            assert (bench.only.status if bench.client.answers else 0) == status


class TestPlace:
    def test_at_a_consumer(self) -> None:
        ann = Consumer(
            username="ann",
            keyauth_credentials=[KeyCredential(key=Secret("key-ann"))],
            plugins=[transform(models={"old": NOVA})],
        )
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        bench = Bench(a_plan(a_config(auth, consumers=[ann])))
        bench.ask(chat(model="old", headers={"authorization": "Bearer key-ann"}))
        bench.open()
        assert "nova" in bench.call.target

    def test_limits_count_what_is_asked_then(self) -> None:
        limit = PluginEntry(name="rate-limiter", config=RateLimiter(tokens_per_minute=1000))
        rules = transform(replace=RequestValues(body=["max_tokens:10"], body_types=["number"]))
        bench = Bench(a_plan(a_config(limit, rules)))
        bench.ask(chat(max_tokens=5000))
        assert bench.asked or bench.questions, "5000 tokens would have been more than the limit holds"
