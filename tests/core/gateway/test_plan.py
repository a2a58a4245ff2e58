"""A configuration, compiled: which plugins run where, for whom, in which order; which certificate answers."""

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec
import pytest

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import (
    AwsCredentials,
    BedrockProxy,
    ModelTarget,
    ProxyTarget,
    targets_of,
)
from stargate_core.config.schema import (
    Certificate,
    Config,
    Consumer,
    ConsumerGroup,
    Gateway,
    PluginEntry,
    Route,
    Scope,
    Service,
    TimeLimits,
    UpstreamPool,
)
from stargate_core.direction import Account
from stargate_core.gateway.places import NOWHERE, Place
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.pool import PoolLimits
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.secret import Secret
from stargate_core.views import Plugin, schema_of
from support.hooks import Hook, entry, plugin_of
from support.machines import Bench, a_plan, chat


class Tag:
    """Bears a word, so that one can see which entry was chosen."""

    class Config(msgspec.Struct, frozen=True):
        """Its configuration."""

        word: str
        endpoint_url: str | None = None

    NAME: ClassVar[str] = "tag"
    PRIORITY: ClassVar[int] = 100
    CONFIG: ClassVar[type[msgspec.Struct]] = Config
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)
    made: ClassVar[list["Tag"]] = []

    def __init__(self, config: Any) -> None:
        self.config = config
        self.consumers: list[str] = []
        self.place: tuple[str | None, ...] = ()
        self.made.append(self)

    def init_worker(self, ctx: Any) -> None:
        """Remember who was there at the start."""
        self.consumers = [consumer.username for consumer in ctx.consumers]
        self.place = ctx.place

    def access(self, ctx: Any) -> None:
        """Do nothing."""


def tag(word: str, **places: Any) -> PluginEntry:
    """An entry of it."""
    return PluginEntry(name="tag", config=Tag.Config(word), **places)


def chosen(plan: Plan, place: Place, consumer: Consumer | None) -> str | None:
    """The word of the entry that counts at this place for this caller."""
    hooks = [hook for hook in plan.chain(place, consumer).access if hook.plugin == "tag"]
    assert len(hooks) < 2
    return hooks[0].function.__self__.config.word if hooks else None  # type: ignore[attr-defined]


ANN: Final = Consumer(username="ann")
SERVICES: Final = [Service(name="s", routes=[Route(name="r", paths=["/r"])])]
PLACE: Final = Place("s", "r")

KONGS_ORDER: Final[tuple[dict[str, str], ...]] = (
    {"consumer": "ann", "route": "r", "service": "s"},
    {"consumer": "ann", "route": "r"},
    {"consumer": "ann", "service": "s"},
    {"route": "r", "service": "s"},
    {"consumer": "ann"},
    {"route": "r"},
    {"service": "s"},
    {},
)
"""https://docs.konghq.com/gateway/latest/key-concepts/plugins/#precedence, without consumer groups."""


class TestPrecedence:
    @pytest.mark.parametrize("turned", [False, True], ids=["as listed", "the other way round"])
    @pytest.mark.parametrize("first", range(8))
    def test_the_most_specific_entry_counts_wherever_it_stands(self, first: int, turned: bool) -> None:
        entries = [tag(str(number), **KONGS_ORDER[number]) for number in range(first, 8)]
        config = Config(consumers=[ANN], services=SERVICES, plugins=entries[::-1] if turned else entries)
        assert chosen(a_plan(config, Tag), PLACE, ANN) == str(first)

    @pytest.mark.parametrize(("one", "other"), list(itertools.combinations(range(8), 2)))
    def test_of_any_two_the_earlier_counts(self, one: int, other: int) -> None:
        entries = [tag(str(number), **KONGS_ORDER[number]) for number in (other, one)]
        plan = a_plan(Config(consumers=[ANN], services=SERVICES, plugins=entries), Tag)
        assert chosen(plan, PLACE, ANN) == str(one)

    @pytest.mark.parametrize("number", range(8))
    def test_an_entry_counts_only_where_it_stands(self, number: int) -> None:
        scope = KONGS_ORDER[number]
        plan = a_plan(Config(consumers=[ANN], services=SERVICES, plugins=[tag("x", **scope)]), Tag)
        for service, route, consumer in itertools.product((None, "s", "t"), (None, "r", "q"), (None, ANN)):
            stands = (
                scope.get("service", service) == service
                and scope.get("route", route) == route
                and ("consumer" not in scope or consumer is ANN)
            )
            assert (chosen(plan, Place(service, route), consumer) == "x") == stands

    def test_where_it_is_written_says_where_it_stands(self) -> None:
        """Below a service, a route, a consumer: one scope each, as in Kong's files."""
        config = Config(
            consumers=[ANN, Consumer(username="bob", plugins=[tag("bob")])],
            services=[
                Service(
                    name="s",
                    plugins=[tag("service")],
                    routes=[
                        Route(name="r", paths=["/r"], plugins=[tag("route")]),
                        Route(name="q", paths=["/q"]),
                    ],
                )
            ],
            routes=[Route(name="top", paths=["/t"], service="s", plugins=[tag("top")])],
            plugins=[tag("all")],
        )
        plan = a_plan(config, Tag)
        bob = config.consumers[1]
        assert chosen(plan, NOWHERE, None) == "all"
        assert chosen(plan, Place("s", "q"), None) == "service"
        assert chosen(plan, Place("s", "r"), ANN) == "route"
        assert chosen(plan, Place("s", "top"), ANN) == "top"
        # A consumer is more specific than a route, also than one that is written below a service.
        assert chosen(plan, Place("s", "r"), bob) == "bob"
        assert chosen(plan, Place("s", "top"), bob) == "bob"

    def test_a_groups_plugin_stands_at_each_member(self) -> None:
        config = Config(
            consumer_groups=[ConsumerGroup(name="g", plugins=[tag("group")])],
            consumers=[
                Consumer(username="ann", groups=["g"]),
                Consumer(username="bob", groups=["g"], plugins=[tag("bob")]),
                Consumer(username="eve"),
                Consumer(username="ned", groups=["g"]),
            ],
            plugins=[tag("all"), tag("ned", consumer="ned")],
        )
        plan = a_plan(config, Tag)
        words = {one.username: chosen(plan, NOWHERE, one) for one in plan.config.consumers}
        assert words == {"ann": "group", "bob": "bob", "eve": "all", "ned": "ned"}

    def test_of_two_alike_the_first_counts(self) -> None:
        plan = a_plan(Config(plugins=[tag("one"), tag("two")]), Tag)
        assert chosen(plan, NOWHERE, None) == "one"

    def test_one_that_is_switched_off_is_not_there(self) -> None:
        config = Config(
            consumers=[ANN],
            services=SERVICES,
            plugins=[tag("all"), msgspec.structs.replace(tag("off", route="r"), enabled=False)],
        )
        assert chosen(a_plan(config, Tag), PLACE, None) == "all"


class TestOrder:
    def test_priority_then_name(self) -> None:
        nothing: dict[str, Hook] = {"access": lambda ctx: None}
        plugins = [plugin_of(nothing, name, priority) for name, priority in (("b", 5), ("c", 9), ("a", 5))]
        for order in itertools.permutations(plugins):
            plan = a_plan(Config(plugins=[entry(plugin.NAME) for plugin in order]), *order)
            assert [hook.plugin for hook in plan.outer.access] == ["c", "a", "b"]

    def test_the_built_in_ones_keep_kongs_order(self) -> None:
        by_priority = sorted(BUILT_IN.values(), key=lambda plugin: -plugin.PRIORITY)
        assert [plugin.NAME for plugin in by_priority] == [
            "cors",
            "jwt-auth",
            "api-key-auth",
            "ip-restriction",
            "request-size",
            "request-transform",
            "prompt-template",
            "rate-limiter",
            "response-transform",
            "pii-redactor",
            "prompt-guard",
            "bedrock-proxy",
            "bedrock-guardrail",
            "response-store",
            "response-cache",
            "request-logger",
        ]

    def test_a_chain_is_made_once(self) -> None:
        plan = a_plan(Config(consumers=[ANN], plugins=[tag("x")]), Tag)
        assert plan.chain(NOWHERE, ANN) is plan.chain(NOWHERE, ANN)
        assert plan.chain(NOWHERE, None) is plan.outer


def generates(ctx: Any) -> Iterator[None]:
    """A hook that waits."""
    yield None


async def awaits(ctx: Any) -> None:
    """A hook that nothing here awaits."""


async def streams(ctx: Any) -> Any:
    """A hook that nothing here iterates."""
    yield None


class TestCompilation:
    @pytest.mark.parametrize("phase", ["init_worker", "certificate", "header_filter", "body_filter", "log"])
    @pytest.mark.parametrize("scope", [{}, {"route": "r"}, {"consumer": "ann"}])
    def test_a_phase_that_may_not_wait_takes_no_generator(self, phase: str, scope: dict[str, str]) -> None:
        plugin = plugin_of({phase: generates})
        config = Config(consumers=[ANN], services=SERVICES, plugins=[entry(**scope)])
        with pytest.raises(TypeError, match=f"probe: the {phase} hook may not wait"):
            a_plan(config, plugin)

    @pytest.mark.parametrize("phase", ["rewrite", "access"])
    def test_those_that_may_do(self, phase: str) -> None:
        plan = a_plan(Config(plugins=[entry()]), plugin_of({phase: generates}))
        assert getattr(plan.outer, phase)[0].plugin == "probe"

    @pytest.mark.parametrize("hook", [awaits, streams])
    @pytest.mark.parametrize(
        "phase", ["init_worker", "certificate", "rewrite", "access", "header_filter", "body_filter", "log"]
    )
    def test_no_phase_takes_an_async_hook(self, phase: str, hook: Hook) -> None:
        with pytest.raises(TypeError, match=f"probe: the {phase} hook is async"):
            a_plan(Config(plugins=[entry()]), plugin_of({phase: hook}))

    def test_a_plugin_learns_the_consumers_before_anything_else(self) -> None:
        Tag.made.clear()
        a_plan(Config(consumers=[ANN, Consumer(username="bob")], plugins=[tag("x")]), Tag)
        assert [made.consumers for made in Tag.made] == [["ann", "bob"]]

    def test_and_where_it_stands(self) -> None:
        Tag.made.clear()
        service = Service(
            name="s", plugins=[tag("a")], routes=[Route(name="r", paths=["/r"], plugins=[tag("b")])]
        )
        consumer = Consumer(username="ann", plugins=[tag("c", route="r")])
        a_plan(
            Config(services=[service], consumers=[consumer], plugins=[tag("d"), tag("e", service="s")]), Tag
        )
        assert {made.config.word: made.place for made in Tag.made} == {
            "a": ("s", None, None),
            "b": (None, "r", None),
            "c": (None, "r", "ann"),
            "d": (None, None, None),
            "e": ("s", None, None),
        }

    def test_there_is_one_instance_of_an_entry(self) -> None:
        Tag.made.clear()
        config = Config(consumers=[ANN], services=SERVICES, plugins=[tag("x")])
        plan = a_plan(config, Tag)
        for place, consumer in itertools.product((NOWHERE, PLACE), (None, ANN)):
            plan.chain(place, consumer)
        assert len(Tag.made) == 1

    def test_and_one_more_for_a_service_with_a_place_of_its_own(self) -> None:
        """Its endpoint_url takes the plugin's place, for all routes and callers of that service."""
        Tag.made.clear()
        config = Config(
            consumers=[ANN],
            services=[Service(name="s", url="http://elsewhere:9"), Service(name="t")],
            plugins=[tag("x")],
        )
        plan = a_plan(config, Tag)
        for route, consumer in itertools.product((None, "r", "q"), (None, ANN)):
            hooks = plan.chain(Place("s", route), consumer).access
            assert hooks[0].function.__self__.config.endpoint_url == "http://elsewhere:9"  # type: ignore[attr-defined]
            hooks = plan.chain(Place("t", route), consumer).access
            assert hooks[0].function.__self__.config.endpoint_url is None  # type: ignore[attr-defined]
        assert len(Tag.made) == 2

    def test_no_target_of_bedrock_proxys_goes_past_it(self) -> None:
        targets = [ProxyTarget(endpoint_url="http://own:1"), ProxyTarget(region="eu-west-1")]
        config = Config(
            services=[Service(name="s", url="http://elsewhere:9")],
            plugins=[PluginEntry(name="bedrock-proxy", config=BedrockProxy(targets=targets))],
        )
        (hook,) = a_plan(config).chain(Place("s", None), None).access
        there = hook.function.__self__._config  # type: ignore[attr-defined]
        called = [target.endpoint_url for target in targets_of(there, ModelTarget("m"))]
        assert called == ["http://elsewhere:9"] * 2

    def test_nothing_is_made_while_requests_run(self) -> None:
        """A plugin that can't be made must be a mistake of the configuration, not of a request's."""
        config = Config(
            consumers=[ANN],
            services=[Service(name="s", url="http://elsewhere:9", routes=[Route(name="r", paths=["/r"])])],
            plugins=[tag("x")],
        )
        plan = a_plan(config, Tag)
        Tag.made.clear()
        plan.chain(PLACE, ANN)
        assert Tag.made == []

    def test_a_call_goes_to_its_services_own_endpoint(self) -> None:
        config = Config(
            services=[
                Service(name="s", url="http://elsewhere:9/prefix", routes=[Route(name="r", paths=["/a"])])
            ],
            plugins=[PluginEntry(name="bedrock-proxy", config=BedrockProxy())],
        )
        bench = Bench(a_plan(config))
        bench.ask(chat().replace(b"POST /v1", b"POST /a/v1"))
        bench.open()
        assert (bench.opened[0].endpoint.host, bench.opened[0].endpoint.port) == ("elsewhere", 9)
        assert bench.call.target.startswith("/prefix/model/")

    def test_a_schema_tells_the_loader_what_it_needs(self) -> None:
        schema = schema_of(Tag)
        assert (schema.name, schema.config_type, schema.scopes) == ("tag", Tag.Config, frozenset(Scope))


class TestFacts:
    def test_limits_are_nanoseconds(self) -> None:
        gateway = Gateway(
            time_limits=TimeLimits(
                connect=0.25, pool=2, first_token=3, idle=4, total=5, client_head=6, client_body=7,
                client_idle=8, client_stall=9,
            ),
            keepalive_seconds=1.5,
            pool=UpstreamPool(max_connections_per_endpoint=11, max_idle=12, idle_seconds=13),
            max_body_bytes=2048,
            max_head_bytes=4096,
            http_codec="reference",
        )  # fmt: skip
        limits = a_plan(Config(gateway=gateway)).limits
        assert (limits.first_token_ns, limits.idle_ns, limits.total_ns) == (
            3 * SECOND,
            4 * SECOND,
            5 * SECOND,
        )
        assert (limits.client_head_ns, limits.client_body_ns) == (6 * SECOND, 7 * SECOND)
        assert (limits.client_idle_ns, limits.client_stall_ns) == (8 * SECOND, 9 * SECOND)
        assert limits.keepalive_ns == 1500 * MILLISECOND
        assert (limits.http1.body_bytes_max, limits.http1.head_bytes_max) == (2048, 4096)
        assert limits.http_codec == "reference"
        assert limits.pool == PoolLimits(11, 12, 13 * SECOND, 250 * MILLISECOND, 2 * SECOND)

    def test_a_plugin_is_there_wherever_it_is_switched_on(self) -> None:
        config = Config(consumers=[Consumer(username="ann", plugins=[tag("x")])])
        assert a_plan(config, Tag).has("tag")
        assert not a_plan(config, Tag).has("api-key-auth")
        assert a_plan(config, Tag).switched_on.count("tag") == 1
        assert [entry.name for entry in a_plan(config, Tag).entries].count("tag") == 1

    def test_accounts_are_those_whose_credentials_must_be_found(self) -> None:
        def proxies(*configs: BedrockProxy) -> Plan:
            return a_plan(Config(plugins=[PluginEntry(name="bedrock-proxy", config=c) for c in configs]))

        fixed = AwsCredentials(access_key_id="AKID", secret_access_key=Secret("s"))
        assert proxies().accounts == ()
        assert proxies(BedrockProxy()).accounts == (Account(""),)
        assert proxies(BedrockProxy(profile="a"), BedrockProxy(profile="b"), BedrockProxy()).accounts == (
            Account("a", "a"),
            Account("b", "b"),
            Account(""),
        )
        assert proxies(BedrockProxy(), BedrockProxy(region="eu-west-1")).accounts == (Account(""),)
        assert proxies(BedrockProxy(credentials=fixed), BedrockProxy(api_key=Secret("k"))).accounts == ()

    def test_a_generation_is_in_every_record(self) -> None:
        plan = Plan(
            Config(plugins=[PluginEntry(name="request-logger", config=BUILT_IN["request-logger"].CONFIG())]),
            BUILT_IN,
            generation=7,
        )
        bench = Bench(plan)
        bench.ask(chat())
        assert bench.record["generation"] == 7


class TestCertificates:
    CONFIG: Final = Config(
        certificates=[
            Certificate(cert="0", key=Secret("k"), snis=["one.example", "*.two.example"]),
            Certificate(cert="1", key=Secret("k"), snis=["a.two.example", "ONE.example"]),
            Certificate(cert="2", key=Secret("k"), snis=["*.example"]),
        ]
    )

    @pytest.mark.parametrize(
        ("name", "index"),
        [
            ("one.example", 0),
            ("ONE.EXAMPLE", 0),
            ("a.two.example", 1),
            ("b.two.example", 0),
            ("b.b.two.example", None),
            ("two.example", 2),
            ("example", None),
            ("", None),
            ("other.test", None),
        ],
    )
    def test_the_name_chooses(self, name: str, index: int | None) -> None:
        assert a_plan(self.CONFIG).certificate(name) == index

    def plan(self, hook: Hook) -> Plan:
        config = msgspec.structs.replace(self.CONFIG, plugins=[entry()])
        return a_plan(config, plugin_of({"certificate": hook}))

    def test_a_hook_may_choose_otherwise(self) -> None:
        seen: list[str] = []

        def certificate(ctx: Any) -> None:
            seen.append(ctx.server_name)
            ctx.use_certificate(2)

        assert self.plan(certificate).certificate("one.example") == 2
        assert seen == ["one.example"]

    def test_a_hook_that_chooses_nothing_leaves_the_choice(self) -> None:
        assert self.plan(lambda ctx: None).certificate("one.example") == 0

    @pytest.mark.parametrize("index", [-1, 3, 99])
    def test_a_certificate_that_is_not_there_is_the_listeners_own(self, index: int) -> None:
        assert self.plan(lambda ctx: ctx.use_certificate(index)).certificate("one.example") is None

    def test_a_hook_that_fails_fails_the_handshake(self) -> None:
        """It meant to choose, so nobody can know that the other choice is right."""

        def certificate(ctx: Any) -> None:
            raise ValueError

        with pytest.raises(ValueError):
            self.plan(certificate).certificate("one.example")


class TestPlugins:
    def test_every_built_in_plugin_is_what_a_plugin_is(self) -> None:
        plugins: list[type[Plugin]] = list(BUILT_IN.values())
        for plugin in plugins:
            assert BUILT_IN[plugin.NAME] is plugin
            assert issubclass(plugin.CONFIG, msgspec.Struct)
            assert frozenset(Scope) >= plugin.SCOPES
            assert isinstance(plugin.PRIORITY, int)


def test_plugins_that_call_nobody_need_no_account() -> None:
    plan = a_plan()
    assert plan.has("request-logger")
    assert [account.name for account in plan.accounts] == [""]
