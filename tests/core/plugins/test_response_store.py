"""response-store: what a request refers to is fetched for its caller, and good answers are kept."""

from typing import Any, ClassVar, Final

import msgspec
import pytest

from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.response_store import ResponseStore
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry, Scope
from stargate_core.gateway.plan import Plan
from stargate_core.plugins.response_store import RECALLS_MAX
from stargate_core.questions import Entry, ReadEntry, WriteEntry
from stargate_core.secret import Secret
from stargate_core.views import Access, HeaderFilter
from support.bedrock import aws_error, converse_answer
from support.machines import LOG, Bench, a_config, a_plan, chat, proxy


class Nothing(msgspec.Struct, frozen=True):
    """No config."""


class Referring:
    """A plugin that lets a request refer to the answers that a header names, and has its own kept."""

    NAME: ClassVar[str] = "referring"
    PRIORITY: ClassVar[int] = 300
    CONFIG: ClassVar[type[msgspec.Struct]] = Nothing
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)
    SEEN: ClassVar[list[dict[str, bytes]]] = []

    def __init__(self, config: Nothing) -> None:
        self.config = config

    def access(self, ctx: Access) -> None:
        named = ctx.request.header(b"x-refers") or b""
        ctx.ask.recalls = tuple(name.decode() for name in named.split(b",") if name)

    def header_filter(self, ctx: HeaderFilter) -> None:
        """By now the translator has seen the whole answer."""
        self.SEEN.append(dict(ctx.ask.recalled))
        if ctx.ask.remembers and ctx.ask.remember_bytes_max:
            ctx.ask.remember = ("resp_new", ctx.request.header(b"x-keeps") or b"kept")


CONSUMERS: Final = [
    Consumer(username=name, keyauth_credentials=[KeyCredential(key=Secret(f"key-{name}"))])
    for name in ("ann", "bob")
]


def plan(*, auth: bool = False, **config: Any) -> Plan:
    entries = [
        PluginEntry(name="response-store", config=ResponseStore(**config)),
        PluginEntry(name="referring", config=Nothing()),
        proxy(),
        LOG,
    ]
    if auth:
        entries.append(PluginEntry(name="api-key-auth", config=ApiKeyAuth()))
    Referring.SEEN.clear()
    return a_plan(Config(consumers=CONSUMERS, plugins=entries), Referring)


def asking(refers: str = "", key: str = "", keeps: str = "") -> bytes:
    headers = {"x-refers": refers, "x-keeps": keeps, "x-api-key": key}
    return chat(headers={name: value for name, value in headers.items() if value})


def kept(bench: Bench) -> list[WriteEntry]:
    return [told for told in bench.told if isinstance(told, WriteEntry)]


class TestRecalling:
    def test_each_answer_is_fetched_by_its_callers_name(self) -> None:
        bench = Bench(plan(auth=True))
        bench.ask(asking("resp_1,resp_2", key="key-ann"))
        asked = [bench.reply(Entry(b"one", 5)), bench.reply(None)]
        assert asked == [ReadEntry("response:3:ann:resp_1"), ReadEntry("response:3:ann:resp_2")]
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert Referring.SEEN == [{"resp_1": b"one"}]

    def test_nobodys_answers_are_read_by_somebody_else(self) -> None:
        keys = []
        for key in ("key-ann", "key-bob"):
            bench = Bench(plan(auth=True))
            bench.ask(asking("resp_1", key=key))
            keys.append(bench.reply(None))
        assert keys == [ReadEntry("response:3:ann:resp_1"), ReadEntry("response:3:bob:resp_1")]

    def test_a_name_cannot_reach_into_anothers(self) -> None:
        """The consumer `a` asking for `b:c` is not the consumer `a:b` asking for `c`."""
        bench = Bench(plan())
        bench.ask(asking("3:ann:resp_1"))
        assert bench.reply(None) == ReadEntry("response:0::3:ann:resp_1")

    def test_a_store_that_does_not_answer_is_no_empty_one(self) -> None:
        bench = Bench(plan())
        bench.ask(asking("resp_1"))
        bench.fail_question()
        assert bench.only.status == 503
        assert bench.opened == []

    def test_there_is_an_end_to_it(self) -> None:
        bench = Bench(plan())
        bench.ask(asking(",".join(f"resp_{number}" for number in range(RECALLS_MAX + 1))))
        assert bench.only.status == 400
        assert not bench.questions

    def test_who_refers_to_nothing_waits_for_nothing(self) -> None:
        bench = Bench(plan())
        bench.ask(asking())
        assert not bench.questions
        bench.open()


class TestKeeping:
    def test_a_good_answer_is_kept(self) -> None:
        bench = Bench(plan(ttl=60))
        bench.ask(asking())
        bench.open()
        bench.answer(converse_answer())
        assert kept(bench) == [WriteEntry("response:0::resp_new", b"kept", 60_000_000)]

    def test_a_failure_is_not(self) -> None:
        bench = Bench(plan())
        bench.ask(asking())
        bench.open()
        bench.answer(aws_error("ValidationException", 400))
        assert bench.only.status == 400
        assert kept(bench) == []

    @pytest.mark.parametrize(("size", "count"), [(1024, 1), (1025, 0)])
    def test_one_that_is_too_long_is_not(self, size: int, count: int) -> None:
        bench = Bench(plan(max_bytes=1024))
        bench.ask(asking(keeps="x" * size))
        bench.open()
        bench.answer(converse_answer())
        assert len(kept(bench)) == count

    def test_without_the_plugin_nothing_is(self) -> None:
        bench = Bench(a_plan(a_config(PluginEntry(name="referring", config=Nothing())), Referring))
        bench.ask(asking())
        bench.open()
        bench.answer(converse_answer())
        assert kept(bench) == []
