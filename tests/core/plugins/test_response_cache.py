"""What may be shared, with whom, and what callers are told of it."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry
from stargate_core.direction import Sharing
from stargate_core.gateway.plan import Plan
from stargate_core.plugins.response_cache import Wishes, read_wishes
from stargate_core.secret import Secret
from support.bedrock import aws_error, converse_answer, json_http
from support.flights import Crowd
from support.machines import LOG, MODEL, Bench, a_config, a_plan, chat, converse, proxy, request

SECONDS: Final = 1_000_000
"""Microseconds in one."""
ANSWER: Final = converse_answer()
PATH: Final = f"/model/{MODEL.replace(':', '%3A')}"


def cached(**config: Any) -> Plan:
    """A plan in which everything is cached, as the config says."""
    return a_plan(a_config(PluginEntry(name="response-cache", config=ResponseCache(**config))))


def shared(plan: Plan, sent: bytes) -> Sharing | None:
    """In what way the answer to this request may be shared; None: not at all."""
    bench = Bench(plan)
    bench.ask(sent)
    orders = [follow.order for follow in bench.followed.values()]
    assert len(orders) + len(bench.opened) == 1
    return orders[0].sharing if orders else None


class TestWhatIsShared:
    def test_as_long_as_the_config_says(self) -> None:
        assert shared(cached(cache_ttl=1.5), chat()) == Sharing("consumer", 1_500_000, 1_500_000)

    @pytest.mark.parametrize(
        ("sent", "name"),
        [
            (chat(), "converse"),
            (chat(stream=True), "converse_stream"),
            (converse(), "converse"),
            (converse("converse-stream"), "converse_stream"),
            (converse("invoke"), "invoke_model"),
            (converse("invoke-with-response-stream"), "invoke_model_with_response_stream"),
        ],
    )
    def test_what_the_config_names(self, sent: bytes, name: Any) -> None:
        others = [each for each in ResponseCache().operations if each != name]
        assert shared(cached(), sent) is not None
        assert shared(cached(operations=[name]), sent) is not None
        assert shared(cached(operations=others), sent) is None

    @pytest.mark.parametrize(
        "sent", [converse("count-tokens"), request("/guardrail/abc/version/1/apply", b'{"source":"INPUT"}')]
    )
    def test_but_never_a_count_or_a_verdict(self, sent: bytes) -> None:
        assert shared(cached(), sent) is None

    def test_a_list_of_models_is_not_asked_of_bedrock(self) -> None:
        bench = Bench(cached())
        bench.ask(request("/v1/models", method="GET"))
        assert (bench.only.status, bench.only.header("x-cache-status")) == (200, "Bypass")

    @pytest.mark.parametrize(
        ("temperature", "most", "shares"),
        [
            (None, None, True),
            (1.0, None, True),
            (0.0, 0.0, True),
            (0.1, 0.0, False),
            (0.5, 0.5, True),
            (None, 0.5, False),
            (None, 1.0, True),
        ],
    )
    def test_with_so_little_chance(self, temperature: float | None, most: float | None, shares: bool) -> None:
        plan = cached(max_temperature=most)
        said: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        native = (
            b'{"messages":[]}'
            if temperature is None
            else b'{"inferenceConfig":{"temperature":%g}}' % temperature
        )
        invoke = b"{}" if temperature is None else b'{"temperature":%g}' % temperature
        for sent in (chat(**said), request(f"{PATH}/converse", native), request(f"{PATH}/invoke", invoke)):
            assert (shared(plan, sent) is not None) == shares


CONSUMERS: Final = [
    Consumer(
        username="ann",
        keyauth_credentials=[
            KeyCredential(key=Secret("key-ann"), id="lap top"),
            KeyCredential(key=Secret("key-ann-2"), id="phone"),
        ],
    ),
    # Names and ids that would run together if they were only written one after the other.
    Consumer(username="ann lap", keyauth_credentials=[KeyCredential(key=Secret("key-lap"), id="top")]),
    Consumer(username="ann laptop", keyauth_credentials=[KeyCredential(key=Secret("key-laptop"), id=" ")]),
]


class TestScope:
    @staticmethod
    def scopes(scope: str) -> list[str]:
        """The scope of each of four keys' calls."""
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        cache = PluginEntry(name="response-cache", config=ResponseCache(scope=scope))  # type: ignore[arg-type]
        plan = a_plan(Config(consumers=CONSUMERS, plugins=[proxy(), LOG, auth, cache]))
        found: list[str] = []
        for key in ("key-ann", "key-ann-2", "key-lap", "key-laptop"):
            sharing = shared(plan, chat(headers={"authorization": f"Bearer {key}"}))
            assert sharing is not None
            found.append(sharing.scope)
        return found

    def test_all_calls_of_a_consumer(self) -> None:
        first, second, *others = self.scopes("consumer")
        assert first == second
        assert len({first, *others}) == 3

    def test_all_calls_with_a_key(self) -> None:
        assert len(set(self.scopes("key"))) == 4

    def test_all(self) -> None:
        assert set(self.scopes("global")) == {""}

    @pytest.mark.parametrize("scope", ["consumer", "key"])
    def test_callers_that_nobody_knows_share_with_each_other_and_with_nobody_else(self, scope: str) -> None:
        sharing = shared(cached(scope=scope), chat())
        assert sharing is not None
        assert sharing.scope not in {"", *self.scopes(scope)}


class TestWishes:
    @pytest.mark.parametrize(
        ("said", "wishes"),
        [
            ("no-store", Wishes(no_store=True)),
            ("No-Cache", Wishes(no_cache=True)),
            ("max-age=7", Wishes(max_age_us=7 * SECONDS)),
            ('max-age="7"', Wishes(max_age_us=7 * SECONDS)),
            ("max-age=0", Wishes(max_age_us=0)),
            (" no-cache ,max-age = 7,, no-store", Wishes(True, True, 7 * SECONDS)),
            ("max-age=9, max-age=7, max-age=8", Wishes(max_age_us=7 * SECONDS)),
            ("max-age=0000000000000060", Wishes(max_age_us=60 * SECONDS)),
            ("max-age=99999999999999999999", Wishes(max_age_us=9_999_999_999 * SECONDS)),
            ("max-age", Wishes()),
            ("max-age=", Wishes()),
            ("max-age=-1", Wishes()),
            ("max-age=1.5", Wishes()),
            ("max-age=x, no-cache", Wishes(no_cache=True)),
            ('max-age="', Wishes()),
            ("no-storey, only-if-cached, min-fresh=3, stale=no-store", Wishes()),
            ('extension="a, no-store"', Wishes()),
            ("", Wishes()),
        ],
    )
    def test_what_a_header_asks_for(self, said: str, wishes: Wishes) -> None:
        assert read_wishes([(b"cache-control", said.encode())]) == wishes

    def test_several_headers_are_one(self) -> None:
        headers = [
            (b"cache-control", b"no-cache"),
            (b"accept", b"no-store"),
            (b"cache-control", b"max-age=1"),
        ]
        assert read_wishes(headers) == Wishes(no_cache=True, max_age_us=SECONDS)

    @given(st.binary(max_size=60))
    def test_any_bytes_ask_for_something_or_nothing(self, said: bytes) -> None:
        wishes = read_wishes([(b"cache-control", said)])
        assert wishes.max_age_us is None or wishes.max_age_us >= 0

    @pytest.mark.parametrize(
        ("said", "sharing"),
        [
            ("no-store", None),
            ("no-cache", Sharing("consumer", 60 * SECONDS, 0, share=False)),
            ("max-age=7", Sharing("consumer", 60 * SECONDS, 7 * SECONDS)),
            ("max-age=700", Sharing("consumer", 60 * SECONDS, 60 * SECONDS)),
            ("max-age=0", Sharing("consumer", 60 * SECONDS, 0)),
            ("nonsense", Sharing("consumer", 60 * SECONDS, 60 * SECONDS)),
        ],
    )
    def test_less_cache_is_given_and_never_more(self, said: str, sharing: Sharing | None) -> None:
        assert shared(cached(cache_ttl=60), chat(headers={"cache-control": said})) == sharing


class TestHeaders:
    def test_miss_coalesced_hit(self) -> None:
        crowd = Crowd(cached(), 2)
        for member in crowd.members:
            member.ask(chat())
        crowd.flights[0].open()
        crowd.step(crowd.flights[0], ANSWER)
        crowd.advance(9 * SECOND)
        crowd.members[0].ask(chat())
        first, third = crowd.members[0].client.answers
        (second,) = crowd.members[1].client.answers
        told = [(each.header("x-cache-status"), each.header("age")) for each in (first, second, third)]
        assert told == [("Miss", None), ("Coalesced", None), ("Hit", "9")]
        assert first.body != third.body, "ids are each one's own"

    def test_until_its_time_is_over(self) -> None:
        crowd = Crowd(cached(cache_ttl=5), 1)
        (member,) = crowd.members
        member.ask(chat())
        crowd.flights[0].open()
        crowd.step(crowd.flights[0], ANSWER)
        crowd.advance(5 * SECOND)
        member.ask(chat())
        assert len(crowd.flights) == 2

    def test_consumers_do_not_share_unless_all_do(self) -> None:
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        for scope, flights in (("consumer", 2), ("global", 1)):
            cache = PluginEntry(name="response-cache", config=ResponseCache(scope=scope))  # type: ignore[arg-type]
            plan = a_plan(Config(consumers=CONSUMERS, plugins=[proxy(), LOG, auth, cache]))
            crowd = Crowd(plan, 2)
            for member, key in zip(crowd.members, ("key-ann", "key-lap"), strict=True):
                member.ask(chat(headers={"authorization": f"Bearer {key}"}))
            assert len(crowd.flights) == flights

    def test_bypass(self) -> None:
        bench = Bench(cached())
        bench.ask(chat(headers={"cache-control": "no-store"}))
        bench.open()
        bench.answer(ANSWER)
        assert bench.only.header("x-cache-status") == "Bypass"

    def test_an_error_was_not_kept(self) -> None:
        crowd = Crowd(cached(), 1)
        (member,) = crowd.members
        member.ask(chat())
        crowd.flights[0].open()
        crowd.step(crowd.flights[0], aws_error("ValidationException", 400))
        assert (member.only.status, member.only.header("x-cache-status")) == (400, "Miss")

    def test_a_refused_request_says_nothing(self) -> None:
        auth = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
        cache = PluginEntry(name="response-cache", config=ResponseCache())
        bench = Bench(a_plan(Config(consumers=CONSUMERS, plugins=[proxy(), LOG, auth, cache])))
        bench.ask(chat())
        assert (bench.only.status, bench.only.header("x-cache-status")) == (401, None)

    def test_native_callers_are_told_too(self) -> None:
        crowd = Crowd(cached(), 1)
        (member,) = crowd.members
        body = {"stop_reason": "end_turn"}
        for _ in range(2):
            member.ask(converse("invoke"))
            if len(member.client.answers) == 0:
                crowd.flights[0].open()
                crowd.step(crowd.flights[0], json_http(body, x_amzn_bedrock_input_token_count="7"))
        answers = member.client.answers
        assert [each.header("x-cache-status") for each in answers] == ["Miss", "Hit"]
        assert [each.header("x-amzn-bedrock-input-token-count") for each in answers] == ["7", "7"]
        assert answers[0].body == answers[1].body
