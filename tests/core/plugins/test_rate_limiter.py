"""rate-limiter: what is taken, refused, told and settled, over a real memory store.

A driver stands for the exchange: it runs the plugin's hooks on a real context, carries questions to a store,
and counts what is settled. The store's own arithmetic is tested elsewhere; here it is the judge of whether
everything that was taken came back.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.config.bedrock_proxy import BedrockProxy, ModelTarget, ProxyTarget
from stargate_core.config.gateway_block import ModelPrice
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.rate_limiter import Limit, RateLimiter
from stargate_core.config.schema import (
    Config,
    Consumer,
    Gateway,
    KeyCredential,
    PluginEntry,
    Route,
    Service,
    TimeLimits,
)
from stargate_core.dialects.face import Ask, Headers, Usage
from stargate_core.dialects.registry import BEDROCK_NATIVE, OPENAI_CHAT, OPENAI_MODELS
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.limits.buckets import Claim, Verdict
from stargate_core.limits.estimate import input_tokens
from stargate_core.limits.rule import AMOUNT_MAX
from stargate_core.messages import AnswerStore, FailStore, StoreAsked, StoreTold, Tell
from stargate_core.phases import Context, Phase
from stargate_core.plugins.rate_limiter import RateLimiterPlugin, names_of
from stargate_core.prices import Prices, cost_nano_usd
from stargate_core.questions import Settle, Take
from stargate_core.record import LogRecord, Outcome
from stargate_core.script import Runner, WaitFailed
from stargate_core.secret import Secret
from support.bedrock import aws_error, converse_answer
from support.dialects import a_chat, a_request
from support.machines import Bench, a_config, a_plan, chat

EPOCH_NS: Final = 1_800_000_000 * SECOND
HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
UNUSED: Final = Usage()
ANN: Final = Consumer(username="ann")
BOB: Final = Consumer(username="bob")


class Setup:
    """The context of init_worker."""

    def __init__(self, config: Config | None = None, place: Any = (None, None, None)) -> None:
        self.config = config or Config()
        self.consumers = self.config.consumers
        self.place = place


class World:
    """A gateway with one rate-limiter: its plugin, a shared store and its own."""

    def __init__(self, config: RateLimiter, gateway: Config | None = None) -> None:
        self.now = 0
        self.plugin = RateLimiterPlugin(config)
        self.plugin.init_worker(Setup(gateway))
        self.shared = MemoryStore(wall_epoch_ns=EPOCH_NS)
        self.own = MemoryStore(wall_epoch_ns=EPOCH_NS)
        self.trouble = ""
        """Why the shared store does not answer."""
        self.takes: list[Take] = []
        self.settlements: list[Settle] = []
        self.requests = 0

    def ask(self, **chat: Any) -> "Exchange":
        """A chat request of ann's, or whose `consumer` says."""
        return Exchange(self, **chat)

    def store(self, *, local: bool) -> MemoryStore:
        """Where a question goes."""
        return self.own if local else self.shared


class Exchange:
    """One request, from access to log."""

    def __init__(
        self,
        world: World,
        *,
        consumer: Consumer | None = ANN,
        key_id: str = "laptop",
        client: str = "192.0.2.7",
        route: str = "chat",
        body: bytes | None = None,
        dialect: Any = OPENAI_CHAT,
        path: bytes = b"/v1/chat/completions",
        method: bytes = b"POST",
        **chat: Any,
    ) -> None:
        world.requests += 1
        self.world = world
        self.body = msgspec.json.encode(a_chat(**chat)) if body is None else body
        request = msgspec.structs.replace(
            a_request(self.body, path, method), request_id=f"{world.requests:032x}", client=client
        )
        self.out: list[Any] = []
        self.ctx = ctx = Context(request, world.now, EPOCH_NS, self.out)
        ctx.know_dialect(dialect, route)
        ctx.consumer, ctx.key_id = consumer, key_id
        ctx.plugin = "rate-limiter"
        self.fault: Fault | None = None
        self.runner: Runner | None = None

    def begin(self) -> Any:
        """Run access up to its first question."""
        self.ctx.phase = Phase.ACCESS
        self.runner = Runner(self.world.plugin.access(self.ctx))
        return self.runner.resume()

    def enter(self) -> "Exchange":
        """Run access to its end."""
        world = self.world
        try:
            pending: Any = self.begin()
            while pending is not None:
                assert self.runner is not None
                question = pending.question
                assert isinstance(question, Take)
                world.takes.append(question)
                if world.trouble and not question.local:
                    pending = self.runner.fail(WaitFailed(world.trouble))
                    continue
                (told,) = world.store(local=question.local).handle(world.now, StoreAsked(1, question))
                if isinstance(told, FailStore):
                    pending = self.runner.fail(WaitFailed(told.why))
                else:
                    assert isinstance(told, AnswerStore)
                    pending = self.runner.resume(told.answer)
        except Refused as refused:
            self.fault = refused.fault
        finally:
            self.ctx.phase = 0
        return self

    @property
    def refused(self) -> Fault:
        """Why it may not pass."""
        assert self.fault is not None, "it passed"
        return self.fault

    @property
    def passed(self) -> "Exchange":
        """It does."""
        assert self.fault is None, self.fault
        return self

    @property
    def claims(self) -> dict[str, int]:
        """What was last asked for, by unit."""
        return {claim.bucket.key.split(":")[3]: claim.cost for claim in self.world.takes[-1].claims}

    @property
    def headers(self) -> dict[str, str]:
        """The answer's, as they go out."""
        headers: Headers = []
        self.ctx.know_answer(200 if self.fault is None else 429, headers)
        self.ctx.phase = Phase.HEADER_FILTER
        self.world.plugin.header_filter(self.ctx)
        return {name.decode(): value.decode() for name, value in headers}

    def end(self, usage: Usage = UNUSED, *, target: str = HAIKU, **record: Any) -> list[Settle]:
        """The log phase; what was settled."""
        ctx, world = self.ctx, self.world
        self.out.clear()
        record = {"outcome": Outcome.COMPLETE, "status": 200, **record}
        ctx.know_record(
            LogRecord(
                "now",
                "0" * 32,
                1,
                target=target,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                **record,
            )
        )
        ctx.phase = Phase.LOG
        world.plugin.log(ctx)
        settled: list[Settle] = []
        for command in self.out:
            assert isinstance(command, Tell)
            assert isinstance(command.statement, Settle)
            settled.append(command.statement)
            assert (
                world.store(local=command.statement.local).handle(world.now, StoreTold(command.statement))
                == []
            )
        world.settlements += settled
        return settled


def remaining(world: World, exchange: Exchange, *, local: bool = False) -> list[int]:
    """What is left in the buckets of the exchange's last question."""
    claims = tuple(Claim(claim.bucket, 0) for claim in world.takes[-1].claims)
    (told,) = world.store(local=local).handle(world.now, StoreAsked(1, Take(claims, "look", 1)))
    assert isinstance(told, AnswerStore)
    assert isinstance(told.answer, Verdict)
    assert exchange.world is world
    return [level.remaining for level in told.answer.levels]


class TestRequests:
    def test_so_many_pass_and_no_more(self) -> None:
        world = World(RateLimiter(minute=2))
        assert [world.ask().enter().fault is None for _ in range(4)] == [True, True, False, False]
        assert len(world.takes) == 4

    def test_a_refusal_says_which_limit_and_when_to_come_back(self) -> None:
        world = World(RateLimiter(minute=1))
        world.ask().enter().passed.end()
        fault = world.ask().enter().refused
        assert fault.cause is Cause.RATE_LIMITED
        assert fault.text == "The rate limit of 1 requests a minute for this consumer is exceeded"
        assert fault.retry_after is not None
        world.now += fault.retry_after * SECOND
        while world.ask().enter().fault is not None:
            world.now += SECOND
        assert world.now <= 120 * SECOND

    def test_waiting_as_long_as_told_is_enough(self) -> None:
        world = World(RateLimiter(second=1))
        world.ask().enter().passed.end()
        fault = world.ask().enter().refused
        assert fault.retry_after is not None
        world.now += fault.retry_after * SECOND
        world.ask().enter().passed.end()

    def test_what_is_refused_uses_nothing_up(self) -> None:
        world = World(RateLimiter(minute=1, day=5))
        world.ask().enter().passed.end()
        last = [world.ask().enter() for _ in range(10)][-1]
        assert last.refused.cause is Cause.RATE_LIMITED
        assert remaining(world, last) == [0, 4]
        assert last.end(outcome=Outcome.FAILED, status=429) == []

    def test_each_consumer_has_its_own(self) -> None:
        world = World(RateLimiter(minute=1))
        world.ask().enter().passed.end()
        world.ask(consumer=BOB).enter().passed.end()
        assert world.ask(consumer=BOB).enter().fault is not None

    @pytest.mark.parametrize(
        ("by", "other"),
        [
            ("key", {"key_id": "phone"}),
            ("model", {"model": "nova"}),
            ("route", {"route": "batch"}),
            ("address", {"client": "192.0.2.8"}),
            (["consumer", "model"], {"consumer": BOB}),
        ],
    )
    def test_each_key_model_route_and_address_has_if_said_so(self, by: Any, other: dict[str, Any]) -> None:
        world = World(RateLimiter(minute=1, by=by))
        world.ask().enter().passed.end()
        assert world.ask().enter().fault is not None
        world.ask(**other).enter().passed.end()

    def test_everybody_together(self) -> None:
        world = World(RateLimiter(minute=1, by=[]))
        world.ask().enter().passed.end()
        fault = world.ask(consumer=BOB, key_id="x", client="y", route="z", model="m").enter().refused
        assert "for all callers together" in fault.text
        assert "ann" not in fault.text

    def test_profiles_and_aliases_of_a_model_are_that_model(self) -> None:
        proxy = BedrockProxy(models={"claude": ModelTarget(f"us.{SONNET}")}, model="claude")
        world = World(
            RateLimiter(minute=1, by="model"),
            Config(plugins=[PluginEntry(name="bedrock-proxy", config=proxy)]),
        )
        world.ask(model="claude").enter().passed.end()
        for model in (SONNET, f"eu.{SONNET}", None):
            assert world.ask(model=model).enter().fault is not None
        world.ask(model=HAIKU).enter().passed.end()

    def test_there_is_nothing_to_settle(self) -> None:
        world = World(RateLimiter(minute=5))
        assert world.ask().enter().passed.end(Usage(1, 2)) == []
        assert remaining(world, world.ask().enter()) == [3]

    def test_concurrency_is_given_back(self) -> None:
        world = World(RateLimiter(concurrency=1))
        running = world.ask().enter().passed
        fault = world.ask().enter().refused
        assert "1 requests at a time" in fault.text
        assert fault.retry_after == 1
        running.end()
        world.ask().enter().passed.end()

    def test_a_lease_that_nobody_settles_ends(self) -> None:
        gateway = Config(gateway=Gateway(time_limits=TimeLimits(total=30)))
        for config, seconds in (
            (RateLimiter(concurrency=1), 30),
            (RateLimiter(concurrency=1, lease_seconds=7), 7),
        ):
            world = World(config, gateway)
            world.ask().enter()
            world.now = (seconds - 1) * SECOND
            assert world.ask().enter().fault is not None
            world.now = (seconds + 1) * SECOND
            world.ask().enter().passed.end()


ALL_UNITS: Final = RateLimiter(
    minute=100,
    tokens_per_minute=10**9,
    input_tokens_per_minute=10**9,
    output_tokens_per_minute=10**9,
    bedrock_tokens_per_minute=10**9,
    usd_per_day=1000,
    concurrency=50,
)
UNIT_ORDER: Final = (
    "requests",
    "concurrency",
    "tokens",
    "input_tokens",
    "output_tokens",
    "bedrock_tokens",
    "usd",
)
USAGE: Final = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=3000, cache_write_tokens=400)


class TestTokens:
    def test_reserved_as_bedrock_does(self) -> None:
        world = World(ALL_UNITS)
        exchange = world.ask(model=HAIKU, max_tokens=50).enter().passed
        into = input_tokens(exchange.body)
        assert into > 0
        assert exchange.claims == {
            "requests": 1,
            "concurrency": 1,
            "tokens": into + 50,
            "input_tokens": into,
            "output_tokens": 50,
            "bedrock_tokens": into + 50,
            "usd": cost_nano_usd(Prices().of(HAIKU), Usage(into, 50)),
        }
        assert tuple(exchange.claims) == UNIT_ORDER

    def test_without_a_maximum_so_many_are_reserved(self) -> None:
        assert World(ALL_UNITS).ask().enter().claims["output_tokens"] == 4096
        config = msgspec.structs.replace(ALL_UNITS, default_output_tokens=7)
        assert World(config).ask().enter().claims["output_tokens"] == 7

    def test_each_unit_is_settled_by_its_own_rule(self) -> None:
        world = World(ALL_UNITS)
        exchange = world.ask(max_tokens=50).enter().passed
        (settled,) = exchange.end(USAGE, target=f"us.{SONNET}")
        used = {charge.bucket.key.split(":")[3]: charge.used for charge in settled.charges}
        price = Prices().of(SONNET)
        assert used == {
            "concurrency": 0,
            "tokens": 100 + 20 + 3000 + 400,
            "input_tokens": 100 + 3000 + 400,
            "output_tokens": 20,
            "bedrock_tokens": 100 + 400 + 20 * 5,
            "usd": cost_nano_usd(price, USAGE),
        }
        assert used["usd"] == 100 * 3000 + 20 * 15_000 + 3000 * 300 + 400 * 3750
        taken = {charge.bucket.key.split(":")[3]: charge.taken for charge in settled.charges}
        assert taken == {unit: cost for unit, cost in exchange.claims.items() if unit != "requests"}
        assert settled.lease == exchange.ctx.known_request.request_id
        assert settled.at_us == EPOCH_NS // 1000

    @given(
        st.lists(
            st.tuples(
                st.one_of(st.none(), st.integers(1, 5000)),
                st.tuples(*[st.integers(0, 5000)] * 4),
                st.sampled_from([HAIKU, SONNET, "some.model"]),
                st.sampled_from(["", "hit", "miss", "coalesced", "bypass"]),
                st.booleans(),
            ),
            max_size=8,
        )
    )
    def test_in_the_end_exactly_what_was_used_is_gone(self, asked: list[Any]) -> None:
        """Whatever was reserved meanwhile, in whatever order requests ended."""
        config = msgspec.structs.replace(ALL_UNITS, window_type="fixed")
        world = World(config)
        open_ones: list[tuple[Exchange, Usage, str, str]] = []
        used = dict.fromkeys(UNIT_ORDER, 0)
        for maximum, counts, target, cache, waits in asked:
            usage = Usage(*counts)
            exchange = world.ask(**({} if maximum is None else {"max_tokens": maximum})).enter().passed
            used["requests"] += 1
            if cache not in ("hit", "coalesced"):
                used["tokens"] += sum(counts)
                used["input_tokens"] += counts[0] + counts[2] + counts[3]
                used["output_tokens"] += counts[1]
                used["bedrock_tokens"] += counts[0] + counts[3] + counts[1] * (5 if target == SONNET else 1)
                used["usd"] += cost_nano_usd(Prices().of(target), usage)
            if waits:
                open_ones.append((exchange, usage, target, cache))
            else:
                assert len(exchange.end(usage, target=target, cache=cache)) == 1
        for exchange, usage, target, cache in reversed(open_ones):
            assert len(exchange.end(usage, target=target, cache=cache)) == 1
        last = world.ask().enter()
        last.end()
        used["requests"] += 1
        limits = (100, 50, 10**9, 10**9, 10**9, 10**9, 1000 * 10**9)
        left = remaining(world, last)
        assert left == [limit - used[unit] for limit, unit in zip(limits, UNIT_ORDER, strict=True)]

    @pytest.mark.parametrize("cache", ["hit", "coalesced"])
    def test_an_answer_that_was_not_made_costs_nothing(self, cache: str) -> None:
        world = World(ALL_UNITS)
        (settled,) = world.ask().enter().passed.end(USAGE, cache=cache)
        assert {charge.used for charge in settled.charges} == {0}

    def test_nor_does_one_that_failed_before_anything_came(self) -> None:
        world = World(ALL_UNITS)
        (settled,) = world.ask().enter().passed.end(outcome=Outcome.FAILED, status=503, target="")
        assert {charge.used for charge in settled.charges} == {0}

    def test_what_is_too_much_for_ever_is_told_apart(self) -> None:
        world = World(RateLimiter(tokens_per_minute=1000))
        fault = world.ask(max_tokens=1000).enter().refused
        assert fault.cause is Cause.LIMIT_TOO_SMALL
        assert "1000 tokens a minute" in fault.text

    def test_but_never_by_our_own_guess(self) -> None:
        world = World(RateLimiter(tokens_per_minute=1000, usd_per_day=0.001))
        exchange = world.ask().enter().passed
        assert exchange.claims == {"tokens": 1000, "usd": 1_000_000}
        fault = world.ask().enter().refused
        assert fault.cause is Cause.RATE_LIMITED
        exchange.end(Usage(5, 5))
        assert remaining(world, exchange)[0] == 990

    def test_an_input_too_large_is_no_guess(self) -> None:
        world = World(RateLimiter(tokens_per_minute=10))
        content = [{"role": "user", "content": "word " * 1000}]
        assert world.ask(messages=content).enter().refused.cause is Cause.LIMIT_TOO_SMALL

    def test_a_maximum_beyond_all_numbers_is_only_too_much(self) -> None:
        world = World(ALL_UNITS)
        asked = world.ask()
        asked.ctx._ask = Ask(HAIKU, False, output_tokens_max=2**70)  # pyright: ignore[reportPrivateUsage]
        exchange = asked.enter()
        assert exchange.refused.cause is Cause.LIMIT_TOO_SMALL
        assert max(exchange.claims.values()) == AMOUNT_MAX

    def test_a_maximum_below_nothing_fills_no_bucket(self) -> None:
        world = World(ALL_UNITS)
        exchange = world.ask()
        exchange.ctx._ask = Ask(HAIKU, False, output_tokens_max=-5000)  # pyright: ignore[reportPrivateUsage]
        claims = exchange.enter().passed.claims
        assert claims["output_tokens"] == 0
        assert claims["tokens"] == claims["input_tokens"] == input_tokens(exchange.body)

    def test_an_overdraft_holds_the_next_one_up(self) -> None:
        world = World(RateLimiter(output_tokens_per_minute=100))
        world.ask(max_tokens=10).enter().passed.end(Usage(0, 500))
        assert world.ask(max_tokens=1).enter().refused.cause is Cause.RATE_LIMITED


class TestWhatIsNoCall:
    def test_a_list_of_models_is_a_request_and_no_more(self) -> None:
        world = World(ALL_UNITS)
        listed = world.ask(dialect=OPENAI_MODELS, path=b"/v1/models", method=b"GET", body=b"").enter().passed
        assert listed.claims == {"requests": 1}
        assert listed.end() == []
        assert "x-ratelimit-limit-tokens" not in listed.headers

    def test_and_nothing_where_requests_are_not_limited(self) -> None:
        world = World(RateLimiter(tokens_per_minute=5))
        world.ask(dialect=OPENAI_MODELS, path=b"/v1/models", method=b"GET", body=b"").enter().passed.end()
        assert world.takes == []

    def test_junk_counts_as_a_request_and_is_then_told_what_is_wrong(self) -> None:
        world = World(RateLimiter(minute=2, tokens_per_minute=10**6))
        for _ in range(2):
            junk = world.ask(body=b"{").enter()
            assert junk.refused.cause is Cause.BODY_MALFORMED
            assert junk.claims == {"requests": 1}
            assert junk.end(status=400, outcome=Outcome.FAILED) == []
        assert world.ask(body=b"{").enter().refused.cause is Cause.RATE_LIMITED

    def test_junk_is_told_so_where_requests_are_not_limited(self) -> None:
        world = World(RateLimiter(tokens_per_minute=5))
        assert world.ask(body=b"{").enter().refused.cause is Cause.BODY_MALFORMED
        assert world.takes == []

    def test_a_body_is_not_read_where_no_limit_needs_it(self) -> None:
        world = World(RateLimiter(minute=2))
        exchange = world.ask(body=b"{").enter().passed
        assert exchange.ctx.known_ask is None

    def test_a_guardrail_uses_no_tokens(self) -> None:
        world = World(ALL_UNITS)
        guardrail = world.ask(
            dialect=BEDROCK_NATIVE,
            path=b"/guardrail/g/version/1/apply",
            body=b'{"source":"INPUT","content":[]}',
        )
        claims = guardrail.enter().passed.claims
        assert {unit for unit, cost in claims.items() if cost} == {"requests", "concurrency"}


class TestScopes:
    def test_buckets_are_made_anew_only_for_what_a_limit_tells_apart(self) -> None:
        world = World(RateLimiter(minute=100, tokens_per_minute=10**9))
        for number in range(10):
            world.ask(
                client=f"192.0.2.{number}", key_id=f"k{number}", route=f"r{number}", model=f"m{number}"
            ).enter()
        buckets = [take.claims[0].bucket for take in world.takes]
        assert all(bucket is buckets[0] for bucket in buckets)


class TestOneSettlement:
    def test_when_a_later_hook_refuses(self) -> None:
        world = World(ALL_UNITS)
        exchange = world.ask().enter().passed
        assert len(exchange.end(outcome=Outcome.FAILED, status=403, target="")) == 1
        assert remaining(world, exchange) == [99, 50, 10**9, 10**9, 10**9, 10**9, 1000 * 10**9]

    def test_when_the_caller_leaves_with_part_of_the_answer(self) -> None:
        world = World(ALL_UNITS)
        exchange = world.ask().enter().passed
        assert len(exchange.end(Usage(10, 3), outcome=Outcome.CLIENT_LEFT, usage_estimated=True)) == 1
        assert remaining(world, exchange)[2] == 10**9 - 13

    def test_none_when_it_leaves_before_the_verdict(self) -> None:
        """What the question took meanwhile is given back by whoever carries it."""
        world = World(ALL_UNITS)
        exchange = world.ask()
        assert exchange.begin() is not None
        assert exchange.runner is not None
        exchange.runner.close()
        assert exchange.end(outcome=Outcome.CLIENT_LEFT, status=0) == []
        assert exchange.headers == {}

    def test_none_when_it_was_refused_before_it_came_here(self) -> None:
        assert World(ALL_UNITS).ask().end(outcome=Outcome.FAILED, status=401) == []

    def test_none_when_it_is_refused_here(self) -> None:
        world = World(RateLimiter(tokens_per_minute=10))
        exchange = world.ask(max_tokens=100).enter()
        assert exchange.refused.cause is Cause.LIMIT_TOO_SMALL
        assert exchange.end(outcome=Outcome.FAILED, status=429) == []


class TestStoreFailure:
    def test_allow(self) -> None:
        world = World(RateLimiter(minute=1, on_store_failure="allow"))
        world.trouble = "no answer in 50 ms"
        for _ in range(3):
            exchange = world.ask().enter().passed
            assert exchange.headers == {}
            assert exchange.end(Usage(1, 1)) == []

    def test_allow_still_names_junk(self) -> None:
        world = World(RateLimiter(minute=1, tokens_per_minute=5, on_store_failure="allow"))
        world.trouble = "gone"
        assert world.ask(body=b"{").enter().refused.cause is Cause.BODY_MALFORMED

    def test_deny(self) -> None:
        world = World(RateLimiter(minute=1, on_store_failure="deny"))
        world.trouble = "no answer in 50 ms"
        fault = world.ask().enter().refused
        assert (fault.cause, fault.detail) == (Cause.STORE_UNAVAILABLE, "no answer in 50 ms")
        assert "50 ms" not in fault.text

    def test_local_by_default(self) -> None:
        world = World(RateLimiter(minute=2, tokens_per_minute=10**6))
        world.trouble = "gone"
        exchange = world.ask().enter().passed
        assert [take.local for take in world.takes] == [False, True]
        (settled,) = exchange.end(Usage(3, 4))
        assert settled.local
        assert remaining(world, exchange, local=True) == [1, 10**6 - 7]
        world.ask().enter().passed.end()
        assert world.ask().enter().refused.cause is Cause.RATE_LIMITED

    def test_a_part_for_each_gateway(self) -> None:
        world = World(RateLimiter(minute=6, tokens_per_minute=9000, share=3))
        assert [world.ask(max_tokens=5).enter().fault is None for _ in range(7)] == [True] * 6 + [False]
        world.trouble = "gone"
        assert [world.ask(max_tokens=5).enter().fault is None for _ in range(3)] == [True, True, False]
        assert world.ask(consumer=BOB, max_tokens=5).enter().headers["x-ratelimit-limit"] == "2"

    def test_what_is_too_much_for_a_part_only_must_wait_for_the_store(self) -> None:
        world = World(RateLimiter(tokens_per_minute=9000, share=3))
        world.trouble = "gone"
        assert world.ask(max_tokens=5000).enter().refused.cause is Cause.STORE_UNAVAILABLE
        assert world.ask().enter().passed.claims == {"tokens": 3000}

    def test_if_not_even_this_process_answers_nothing_passes(self) -> None:
        world = World(RateLimiter(minute=5))
        world.trouble = "gone"
        world.own = MemoryStore(wall_epoch_ns=EPOCH_NS, buckets_max=0)
        assert world.ask().enter().refused.cause is Cause.STORE_UNAVAILABLE

    def test_a_local_limit_that_cannot_be_counted_is_asked_for_once(self) -> None:
        world = World(RateLimiter(minute=5, policy="local"))
        world.own = MemoryStore(wall_epoch_ns=EPOCH_NS, buckets_max=0)
        assert world.ask().enter().refused.cause is Cause.STORE_UNAVAILABLE
        assert len(world.takes) == 1

    def test_a_local_limit_asks_no_store(self) -> None:
        world = World(RateLimiter(minute=1, concurrency=5, policy="local"))
        world.trouble = "gone"
        (settled,) = world.ask().enter().passed.end()
        assert settled.local
        assert world.ask().enter().refused.cause is Cause.RATE_LIMITED
        assert all(take.local for take in world.takes)


class TestHeaders:
    def test_of_an_answer(self) -> None:
        world = World(RateLimiter(minute=60, tokens_per_minute=10_000))
        headers = world.ask(max_tokens=100).enter().passed.headers
        assert headers["x-ratelimit-limit-minute"] == "60"
        assert headers["x-ratelimit-remaining-requests"] == "59"
        assert 9000 < int(headers["x-ratelimit-remaining-tokens"]) < 9900

    def test_of_a_refusal(self) -> None:
        world = World(RateLimiter(minute=1))
        world.ask().enter().passed.end()
        headers = world.ask().enter().headers
        assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("1", "0")
        assert int(headers["ratelimit-reset"]) > 0

    def test_a_native_caller_gets_kongs_only(self) -> None:
        world = World(RateLimiter(minute=5))
        path = f"/model/{HAIKU}/converse".encode()
        headers = world.ask(dialect=BEDROCK_NATIVE, path=path, body=b'{"messages":[]}').enter().headers
        assert "x-ratelimit-limit-minute" in headers
        assert not any("requests" in name for name in headers)

    def test_none_if_not_wanted(self) -> None:
        assert World(RateLimiter(minute=5, headers=False)).ask().enter().headers == {}


class TestPrices:
    def test_the_operators_own(self) -> None:
        gateway = Gateway(prices={"*haiku*": ModelPrice(input=1000, output=2000)})
        world = World(RateLimiter(usd_per_day=1000), Config(gateway=gateway))
        exchange = world.ask(model=HAIKU, max_tokens=10).enter().passed
        assert exchange.claims["usd"] == (input_tokens(exchange.body) * 1000 + 10 * 2000) * 1000
        (settled,) = exchange.end(Usage(1, 1))
        assert settled.charges[0].used == 3_000_000

    def test_a_name_costs_what_the_dearest_of_its_models_does(self) -> None:
        targets = [ProxyTarget(region="us-west-2"), ProxyTarget(region="eu-west-1", target=SONNET)]
        proxy = BedrockProxy(models={"fast": ModelTarget(HAIKU, targets=targets)})
        route = Route(name="r", paths=["/r"], plugins=[PluginEntry(name="bedrock-proxy", config=proxy)])
        config = Config(services=[Service(name="s", routes=[route])])
        assert names_of(config)["fast"] == (HAIKU, SONNET)
        exchange = World(RateLimiter(usd_per_day=1000), config).ask(model="fast", max_tokens=10).enter()
        into = input_tokens(exchange.body)
        assert exchange.claims["usd"] == cost_nano_usd(Prices().of(SONNET), Usage(into, 10))

    def test_names_are_found_wherever_they_are_written(self) -> None:
        def entry(name: str) -> PluginEntry:
            return PluginEntry(name="bedrock-proxy", config=BedrockProxy(models={name: ModelTarget(HAIKU)}))

        config = Config(
            plugins=[entry("a"), PluginEntry(name="rate-limiter", config=RateLimiter(minute=1))],
            services=[
                Service(
                    name="s",
                    plugins=[entry("b")],
                    routes=[Route(name="t", paths=["/t"], plugins=[entry("c")])],
                )
            ],
            routes=[Route(name="r", paths=["/r"], plugins=[entry("d")])],
            consumers=[Consumer(username="u", plugins=[entry("e")])],
        )
        assert names_of(config).keys() == {"a", "b", "c", "d", "e", ""}
        assert names_of(config)[""] == (BedrockProxy().model,)


class TestBurndown:
    @pytest.mark.parametrize(
        ("model", "rate"),
        [
            # Amazon Bedrock, "How tokens are counted": five for Claude 3.7 and later, else one.
            ("anthropic.claude-3-7-sonnet-20250219-v1:0", 5),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", 5),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 5),
            ("anthropic.claude-opus-4-1-20250805-v1:0", 5),
            ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", 5),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", 1),
            ("us.anthropic.claude-3-5-haiku-20241022-v1:0", 1),
            (HAIKU, 1),
            ("anthropic.claude-3-sonnet-20240229-v1:0", 1),
            ("anthropic.claude-v2:1", 1),
            ("anthropic.claude-instant-v1", 1),
            ("amazon.nova-pro-v1:0", 1),
            ("us.meta.llama3-3-70b-instruct-v1:0", 1),
            (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}", 1),
            (f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}", 5),
            ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3", 5),
            ("", 1),
        ],
    )
    def test_by_model(self, model: str, rate: int) -> None:
        assert RateLimiterPlugin(RateLimiter(minute=1)).burndown(model) == rate

    def test_the_operators_own_come_first(self) -> None:
        plugin = RateLimiterPlugin(RateLimiter(minute=1, burndown={"arn:*/a1b2c3": 2, "anthropic.*": 3}))
        assert plugin.burndown("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3") == 2
        assert plugin.burndown(f"us.{HAIKU}") == 3
        assert plugin.burndown("amazon.nova-pro-v1:0") == 1


class TestInAGateway:
    """On a whole session: hooks, chains and settlements as they are."""

    LIMITS: Final = RateLimiter(minute=5, tokens_per_minute=10_000, concurrency=2)

    def gateway(self, config: RateLimiter = LIMITS, seed: int = 1) -> Bench:
        """A session whose question has been asked."""
        bench = Bench(a_plan(a_config(PluginEntry(name="rate-limiter", config=config))), seed=seed)
        bench.ask(chat(max_tokens=500))
        return bench

    @staticmethod
    def reply(bench: Bench, store: MemoryStore) -> None:
        """The store answers."""
        (question,) = bench.questions.values()
        assert isinstance(question, Take)
        (told,) = store.handle(bench.now, StoreAsked(1, question))
        assert isinstance(told, AnswerStore)
        bench.reply(told.answer)

    @staticmethod
    def settled(bench: Bench) -> dict[str, int]:
        """What the one settlement says was used."""
        (settle,) = [statement for statement in bench.told if isinstance(statement, Settle)]
        return {charge.bucket.key.split(":")[3]: charge.used for charge in settle.charges}

    def test_a_call_that_goes_well(self) -> None:
        bench, store = self.gateway(), MemoryStore(wall_epoch_ns=EPOCH_NS)
        self.reply(bench, store)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert bench.only.header("x-ratelimit-remaining-minute") == "4"
        assert bench.only.header("x-ratelimit-limit-tokens") == "10000"
        record = bench.record
        total = sum(
            record.get(f"{what}_tokens", 0) for what in ("input", "output", "cache_read", "cache_write")
        )
        assert total > 0
        assert self.settled(bench) == {"concurrency": 0, "tokens": total}
        bench.leave()
        bench.settle()

    def test_one_that_is_refused(self) -> None:
        store = MemoryStore(wall_epoch_ns=EPOCH_NS)
        for seed in (1, 2):
            self.reply(self.gateway(seed=seed), store)
        bench = self.gateway(seed=3)
        self.reply(bench, store)
        assert bench.only.status == 429
        assert bench.only.header("retry-after") == "1"
        assert bench.only.header("x-ratelimit-remaining-minute") == "3"
        assert bench.only.json["error"]["code"] == "rate_limit_exceeded"
        assert bench.told == []
        assert bench.opened == []

    def test_a_caller_who_leaves_before_the_verdict(self) -> None:
        bench = self.gateway()
        bench.leave()
        assert [one for one in bench.told if isinstance(one, Settle)] == []
        bench.settle()

    def test_a_caller_who_leaves_before_the_call(self) -> None:
        bench = self.gateway()
        self.reply(bench, MemoryStore(wall_epoch_ns=EPOCH_NS))
        bench.leave()
        assert self.settled(bench) == {"concurrency": 0, "tokens": 0}

    def test_a_model_that_a_later_hook_forbids(self) -> None:
        ann = Consumer(
            username="ann", models=["nova-*"], keyauth_credentials=[KeyCredential(key=Secret("k" * 20))]
        )
        entries = [
            PluginEntry(name="api-key-auth", config=ApiKeyAuth()),
            PluginEntry(name="rate-limiter", config=self.LIMITS),
        ]
        bench = Bench(a_plan(a_config(*entries, consumers=[ann])))
        bench.ask(chat(headers={"x-api-key": "k" * 20}))
        (question,) = bench.questions.values()
        assert isinstance(question, Take)
        assert all("{c=ann}" in claim.bucket.key for claim in question.claims)
        self.reply(bench, MemoryStore(wall_epoch_ns=EPOCH_NS))
        assert bench.only.status == 403
        assert bench.only.header("x-ratelimit-remaining-minute") == "4"
        assert self.settled(bench) == {"concurrency": 0, "tokens": 0}

    def test_a_call_that_bedrock_refuses(self) -> None:
        bench = self.gateway()
        self.reply(bench, MemoryStore(wall_epoch_ns=EPOCH_NS))
        bench.open()
        bench.answer(aws_error("ValidationException", 400))
        assert bench.only.status == 400
        assert self.settled(bench) == {"concurrency": 0, "tokens": 0}

    def test_a_store_that_does_not_answer(self) -> None:
        bench = self.gateway()
        bench.fail_question("no answer in 50 ms")
        (question,) = bench.questions.values()
        assert isinstance(question, Take)
        assert question.local
        self.reply(bench, MemoryStore(wall_epoch_ns=EPOCH_NS))
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200

    def test_a_store_without_which_nothing_passes(self) -> None:
        bench = self.gateway(RateLimiter(minute=5, on_store_failure="deny"))
        bench.fail_question("no answer in 50 ms")
        assert bench.only.status == 503
        assert bench.only.header("retry-after") == "1"
        assert bench.record["cause"] == "STORE_UNAVAILABLE"


def test_two_entries_count_apart() -> None:
    keys: list[str] = []
    for place in ((None, None, None), (None, "chat", None)):
        world = World(RateLimiter(minute=1))
        world.plugin.init_worker(Setup(place=place))
        world.ask().enter()
        keys += [claim.bucket.key for claim in world.takes[0].claims]
    assert len(set(keys)) == 2


def test_limits_of_one_request_name_each_bucket_once() -> None:
    bys: Sequence[Any] = ("consumer", "key", "model", "route", "address", [])
    config = RateLimiter(limits=[Limit(limit=5, window="minute", by=by) for by in bys])
    for consumer in (ANN, None):
        world = World(config)
        assert world.ask(consumer=consumer).enter().fault is None
        keys = [claim.bucket.key for claim in world.takes[0].claims]
        assert len(set(keys)) == len(bys)
