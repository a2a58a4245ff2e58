"""From the request's last byte to the call's first: hooks that run, wait, refuse, reply, and misbehave."""

from collections.abc import Generator, Mapping
from typing import Any, ClassVar, Final

import msgspec
import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ApiKeyAuth, Cors, ResponseTransform, Values
from stargate_core.config.schema import (
    Config,
    Consumer,
    Gateway,
    KeyCredential,
    PluginEntry,
    Route,
    Scope,
    TimeLimits,
)
from stargate_core.dialects.face import Reply
from stargate_core.direction import Sharing
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.messages import Answered, CredentialsChanged, Draining, Unanswered
from stargate_core.script import WAITS_MAX, Pending, WaitFailed
from stargate_core.secret import Secret
from stargate_core.views import Plugin
from support.bedrock import LAST_CHUNK, chunk, converse_answer, converse_story, stream_head
from support.embeddings import embeddings
from support.hooks import Hook, entry, plugin_of
from support.machines import LOG, MODEL, Bench, a_config, a_plan, chat, converse, proxy, request

STORY: Final = converse_story()
Waits = Generator[Any, Any, None]


def with_hooks(hooks: Mapping[str, Hook], *more: type[Plugin]) -> Bench:
    """A bench with one plugin made of these functions."""
    plugins = (plugin_of(hooks), *more)
    return Bench(a_plan(a_config(*(entry(plugin.NAME) for plugin in plugins)), *plugins))


def answered(bench: Bench, sent: bytes | None = None) -> Bench:
    """One request, and Bedrock's good answer to it, if it is asked."""
    bench.ask(sent or chat())
    if bench.asked:
        bench.open()
        bench.answer(converse_answer())
    return bench


class TestOrder:
    def test_phases_come_in_order_and_priorities_within_them(self) -> None:
        seen: list[str] = []

        def note(phase: str, name: str) -> Hook:
            return lambda ctx: seen.append(f"{phase} {name}")

        def noting(name: str) -> dict[str, Hook]:
            phases = ("rewrite", "access", "header_filter", "body_filter", "log")
            return {phase: note(phase, name) for phase in phases}

        plugins = [
            plugin_of(noting("late"), "late", 10),
            plugin_of(noting("b-same"), "b-same", 500),
            plugin_of(noting("early"), "early", 5000),
            plugin_of(noting("a-same"), "a-same", 500),
        ]
        bench = Bench(a_plan(a_config(*(entry(plugin.NAME) for plugin in plugins)), *plugins))
        answered(bench)
        assert seen == [
            f"{phase} {name}"
            for phase in ("rewrite", "access", "body_filter", "header_filter", "log")
            for name in ("early", "a-same", "b-same", "late")
        ]
        assert bench.only.status == 200

    def test_a_stream_passes_every_part_by_the_body_filter(self) -> None:
        seen: list[str] = []
        bench = with_hooks(
            {
                "header_filter": lambda ctx: seen.append("head"),
                "body_filter": lambda ctx: seen.append(ctx.part.name),
                "log": lambda ctx: seen.append("log"),
            }
        )
        bench.ask(converse("converse-stream"))
        bench.open()
        for frame in STORY.frames:
            bench.answer((stream_head() if not seen else b"") + chunk(frame))
        bench.answer(LAST_CHUNK)
        assert [name for name in seen if name != "head"] == [
            "messageStart",
            "contentBlockDelta",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
            "metadata",
            "log",
        ]
        assert seen.count("head") == 1


class TestWaiting:
    def test_a_hook_sleeps_and_the_exchange_goes_on(self) -> None:
        def access(ctx: Any) -> Waits:
            yield from ctx.sleep(5 * SECOND)

        for phase in ("rewrite", "access"):
            bench = with_hooks({phase: access})
            bench.ask(chat())
            bench.advance(5 * SECOND - 1)
            assert bench.opened == []
            bench.advance(1)
            bench.open()
            bench.answer(converse_answer())
            assert bench.only.status == 200
            bench.settle()

    def test_it_sees_the_time_it_wakes_at(self) -> None:
        seen: list[int] = []

        def access(ctx: Any) -> Waits:
            seen.append(ctx.now)
            yield from ctx.sleep(5 * SECOND)
            seen.append(ctx.now)

        bench = with_hooks({"access": access})
        bench.advance(SECOND)
        bench.ask(chat())
        bench.advance(SECOND * 10)
        assert seen == [SECOND, 6 * SECOND]

    def test_later_hooks_wait_for_it(self) -> None:
        seen: list[str] = []

        def first(ctx: Any) -> Waits:
            yield from ctx.sleep(SECOND)
            seen.append("first")

        later = plugin_of({"access": lambda ctx: seen.append("later")}, "later", 1)
        bench = with_hooks({"access": first}, later)
        bench.ask(chat())
        assert seen == []
        bench.advance(SECOND)
        assert seen == ["first", "later"]

    def test_a_sleep_of_nothing_is_over_at_once(self) -> None:
        def access(ctx: Any) -> Waits:
            for _ in range(3):
                yield from ctx.sleep(0)

        bench = with_hooks({"access": access})
        bench.ask(chat())
        bench.advance(0)
        assert len(bench.opened) == 1

    def test_pendings_may_be_made_first_and_waited_for_in_any_order(self) -> None:
        def access(ctx: Any) -> Waits:
            one, two = ctx.sleep(SECOND), ctx.sleep(2 * SECOND)
            yield from two
            yield from one

        bench = with_hooks({"access": access})
        bench.ask(chat())
        bench.advance(3 * SECOND - 1)
        assert bench.opened == []
        bench.advance(1)
        assert len(bench.opened) == 1

    def test_a_bare_yield_waits_too(self) -> None:
        def access(ctx: Any) -> Waits:
            yield ctx.sleep(SECOND)

        bench = with_hooks({"access": access})
        bench.ask(chat())
        assert bench.opened == []
        bench.advance(SECOND)
        assert len(bench.opened) == 1

    def test_a_plain_function_may_give_back_its_script(self) -> None:
        """The type of a hook says so; a hook that is handed on this way must run all the same."""

        def script(ctx: Any) -> Waits:
            yield from ctx.sleep(SECOND)
            ctx.reject(Fault(Cause.KEY_MISSING))

        bench = with_hooks({"access": lambda ctx: script(ctx)})
        bench.ask(chat())
        bench.advance(SECOND)
        assert bench.only.status == 401

    def test_a_hook_may_refuse_after_it_has_waited(self) -> None:
        def access(ctx: Any) -> Waits:
            yield from ctx.sleep(SECOND)
            ctx.reject(Fault(Cause.RATE_LIMITED, retry_after_seconds=7))

        bench = with_hooks({"access": access})
        bench.ask(chat())
        bench.advance(SECOND)
        assert (bench.only.status, bench.only.header("retry-after")) == (429, "7")
        assert bench.opened == []
        bench.settle()

    def test_a_hook_may_reply_after_it_has_waited(self) -> None:
        def access(ctx: Any) -> Waits:
            yield from ctx.sleep(SECOND)
            ctx.reply(Reply(200, [(b"x-a", b"1")], b"cached"))

        bench = with_hooks({"access": access})
        bench.ask(chat())
        bench.advance(SECOND)
        assert (bench.only.status, bench.only.body, bench.only.header("x-a")) == (200, b"cached", "1")

    def test_the_whole_is_bounded_while_a_hook_waits(self) -> None:
        def access(ctx: Any) -> Waits:
            yield from ctx.sleep(10**30)

        gateway = Gateway(time_limits=TimeLimits(total=10))
        bench = Bench(a_plan(a_config(entry(), gateway=gateway), plugin_of({"access": access})))
        bench.ask(chat())
        bench.advance(10 * SECOND)
        assert bench.only.json["error"]["code"] == "TOTAL_TIMEOUT"
        bench.settle()

    def test_a_script_that_is_given_up_ends_at_once(self) -> None:
        seen: list[str] = []

        def access(ctx: Any) -> Waits:
            try:
                yield from ctx.sleep(SECOND)
            finally:
                seen.append("finally")

        for end in ("leave", "drain"):
            bench = with_hooks({"access": access})
            bench.ask(chat())
            if end == "leave":
                bench.leave()
            else:
                bench.tell(Draining(0))
                bench.advance(0)
            assert seen.pop() == "finally"
            bench.settle()

    @pytest.mark.parametrize("how", ["raises", "yields", "uses its context"])
    def test_a_script_that_ends_badly_is_noted_and_breaks_nothing(self, how: str) -> None:
        def access(ctx: Any) -> Waits:
            another = ctx.sleep(1)
            try:
                yield from ctx.sleep(SECOND)
            finally:
                if how == "raises":
                    raise ValueError("secret")
                if how == "yields":
                    yield from another
                ctx.reject(Fault(Cause.KEY_MISSING))

        bench = with_hooks({"access": access})
        bench.ask(chat())
        bench.leave()
        assert bench.record["outcome"] == "client_left"
        (note,) = bench.notes
        error = {"raises": "ValueError", "yields": "RuntimeError", "uses its context": "PhaseMisuse"}[how]
        assert note.text == f"probe raised {error} when it was abandoned"
        bench.settle()


class Question(Pending[str]):
    """A pending that nobody here can answer."""


def fails(ctx: Any) -> None:
    """A hook with a fault of its own."""
    raise ValueError("sk-very-secret")


class Unspeakable(Exception):
    """An exception whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError


def fails_unspeakably(ctx: Any) -> None:
    """A hook whose exception has no text."""
    raise Unspeakable


def sleeps_in_vain(ctx: Any) -> None:
    """A plain function that means to wait."""
    ctx.sleep(SECOND)


def forgets(ctx: Any) -> Waits:
    """A generator that forgets one of its waits."""
    ctx.sleep(SECOND)
    yield from ctx.sleep(SECOND)


def yields_junk(ctx: Any) -> Waits:
    """A generator that yields what is no pending."""
    yield 5


def waits_twice(ctx: Any) -> Waits:
    """A generator that waits for one pending twice."""
    pending = ctx.sleep(SECOND)
    yield from pending
    yield from pending


def waits_for_ever(ctx: Any) -> Waits:
    """A generator in a loop."""
    while True:
        yield from ctx.sleep(0)


def asks_nobody(ctx: Any) -> Waits:
    """A generator that waits for what nothing answers."""
    sleep = ctx.sleep(0)
    yield from sleep
    yield from Question(sleep.ledger)


def gives_back(ctx: Any) -> Any:
    """A function that gives back what is neither nothing nor a script."""
    return True


def sleeps_backwards(ctx: Any) -> Waits:
    """A generator that would wake before it sleeps."""
    yield from ctx.sleep(-1)


def sleeps_in_floats(ctx: Any) -> Waits:
    """A generator that counts seconds."""
    yield from ctx.sleep(1.5)


def raises_late(ctx: Any) -> Waits:
    """A generator that fails after its wait."""
    yield from ctx.sleep(0)
    raise KeyError("sk-very-secret")


def recurses(ctx: Any) -> None:
    """A function without an end."""
    recurses(ctx)


def misuses(ctx: Any) -> None:
    """A function that uses what its phase hasn't got."""
    ctx.emit("log", b"")


BROKEN: Final[Mapping[Hook, str]] = {
    fails: "ValueError",
    fails_unspeakably: "Unspeakable",
    sleeps_in_vain: "ScriptMisuse in {}: made and never waited for",
    forgets: "ScriptMisuse in {}: made and never waited for",
    yields_junk: "ScriptMisuse in {}: yielded int",
    waits_twice: "ScriptMisuse in {}: waited for one Sleep twice",
    waits_for_ever: f"ScriptMisuse in {{}}: more than {WAITS_MAX} waits",
    asks_nobody: "ScriptMisuse in {}: nothing here answers a Question",
    gives_back: "ScriptMisuse in {}: gave back bool",
    sleeps_backwards: "ValueError in {}",
    sleeps_in_floats: "TypeError in {}",
    raises_late: "KeyError in {}",
    recurses: "RecursionError in {}",
    misuses: "PhaseMisuse in {}: emit may be used in log",
}


class TestBrokenHooks:
    @pytest.mark.parametrize("phase", ["rewrite", "access"])
    @pytest.mark.parametrize("hook", BROKEN, ids=lambda hook: hook.__name__)
    def test_it_is_one_fault_that_names_plugin_and_phase(self, hook: Hook, phase: str) -> None:
        bench = with_hooks({phase: hook})
        bench.ask(chat())
        bench.advance(10 * SECOND)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (500, "INTERNAL_ERROR")
        assert bench.only.header("x-should-retry") == "false"
        detail = bench.record["detail"]
        assert detail.startswith(f"probe raised {BROKEN[hook].format(phase)}")
        assert b"sk-very-secret" not in bench.only.body + b"".join(bench.lines)
        assert bench.opened == []
        bench.settle()

    @pytest.mark.parametrize("hook", [fails, fails_unspeakably, gives_back, misuses, recurses])
    @pytest.mark.parametrize("sent", [chat(), chat(stream=True), converse(), converse("converse-stream")])
    def test_in_header_filter(self, hook: Hook, sent: bytes) -> None:
        bench = with_hooks({"header_filter": hook})
        bench.ask(sent)
        bench.open()
        if b"stream" in sent and b'"stream":false' not in sent:
            bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        else:
            bench.answer(converse_answer())
        assert bench.only.status == 500
        assert bench.record["detail"].startswith(f"probe raised {BROKEN[hook].format('header_filter')[:9]}")
        # The error itself could not pass the filter either: it went out without, and the operator is told.
        assert [note.level for note in bench.notes] == ["error"]
        bench.settle()

    @pytest.mark.parametrize("hook", [fails, fails_unspeakably, gives_back, misuses, recurses])
    @pytest.mark.parametrize("sent", [chat(), converse()])
    def test_in_body_filter_of_a_plain_answer(self, hook: Hook, sent: bytes) -> None:
        bench = answered(with_hooks({"body_filter": hook}), sent)
        assert bench.only.status == 500
        assert bench.record["detail"].startswith("probe raised ")
        bench.settle()

    @pytest.mark.parametrize("sent", [chat(stream=True), converse("converse-stream")])
    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_in_body_filter_of_a_stream(self, sent: bytes, after: int) -> None:
        left = [after]

        def body_filter(ctx: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                fails(ctx)

        bench = with_hooks({"body_filter": body_filter})
        bench.ask(sent)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        # The first part only opens the answer: no word is out before the second, so a status can still tell.
        if after <= 1:
            assert bench.only.status == 500
        else:
            assert bench.only.status == 200
            assert b"plugin of the gateway failed" in bench.only.body
            assert b"[DONE]" not in bench.only.body
        assert bench.record["outcome"] == "failed"
        bench.settle()

    def test_in_body_filter_of_the_very_last_part(self) -> None:
        """Bedrock's end has come, but the caller hasn't got it: that is no good end."""

        def body_filter(ctx: Any) -> None:
            if ctx.part.name == "metadata":
                fails(ctx)

        bench = with_hooks({"body_filter": body_filter})
        bench.ask(converse("converse-stream"))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        assert b"internalServerException" in bench.only.body
        assert bench.record["outcome"] == "failed"

    @pytest.mark.parametrize("hook", [fails, fails_unspeakably, gives_back, recurses])
    def test_in_log_it_costs_a_note_and_nothing_else(self, hook: Hook) -> None:
        bench = answered(with_hooks({"log": hook}))
        assert bench.only.status == 200
        assert bench.record["outcome"] == "complete"
        (note,) = bench.notes
        assert note.text.startswith(f"probe raised {BROKEN[hook].format('log')[:9]}")
        assert "sk-very-secret" not in note.text
        bench.settle()

    @pytest.mark.parametrize(
        ("phase", "status"), [("header_filter", 500), ("body_filter", 401), ("log", 200)]
    )
    def test_of_the_filters_only_that_of_the_body_may_refuse(self, phase: str, status: int) -> None:
        def hook(ctx: Any) -> None:
            raise Refused(Fault(Cause.KEY_MISSING))

        bench = answered(with_hooks({phase: hook}))
        assert bench.only.status == status
        bench.settle()

    def test_a_context_kept_for_later_is_of_no_use(self) -> None:
        kept: list[Any] = []
        used: list[str] = []

        def use(ctx: Any) -> None:
            try:
                used.append(kept[0].request.request_id)
            finally:
                kept.clear()

        bench = with_hooks({"access": kept.append, "log": lambda ctx: None})
        answered(bench)
        with pytest.raises(Exception, match=r"request may be used in .*, not in no phase"):
            use(None)

    def test_a_failing_header_filter_does_not_break_health_checks(self) -> None:
        bench = with_hooks({"header_filter": fails})
        bench.ask(request("/healthz", method="GET"))
        assert bench.only.status == 500
        assert len(bench.notes) == 1
        bench.ask(chat())
        assert len(bench.opened) == 1


def sets(name: Any, value: Any) -> Hook:
    """A header_filter that leaves this."""
    return lambda ctx: ctx.headers.append((name, value))


class TestIllegalAnswers:
    @pytest.mark.parametrize(
        "hook",
        [
            sets(b"x-a", b"1\r\nx-b: 2"),
            sets(b"x a", b"1"),
            sets(b"", b"1"),
            sets(b"content-length", b"5"),
            sets(b"transfer-encoding", b"chunked"),
            sets(b"connection", b"close"),
            sets("x-a", "1"),
            sets(b"x-a", None),
            lambda ctx: ctx.headers.append(b"x"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_header_http_does_not_allow_is_a_fault(self, hook: Hook, stream: bool) -> None:
        bench = with_hooks({"header_filter": hook})
        bench.ask(chat(stream=stream))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) if stream else converse_answer())
        assert (bench.only.status, bench.only.json["error"]["code"]) == (500, "INTERNAL_ERROR")
        assert bench.only.header("x-b") is None
        bench.advance(2 * SECOND)
        bench.settle()

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(99, [], b""),
            Reply(100, [], b""),
            Reply(204, [], b"body"),
            Reply(200, [(b"content-length", b"3")], b"abc"),
            Reply(200, [(b"x\n", b"3")], b"abc"),
            Reply(200, [], "abc"),  # type: ignore[arg-type]
            Reply("200", [], b"abc"),  # type: ignore[arg-type]
        ],
    )
    @pytest.mark.parametrize("phase", ["rewrite", "access"])
    def test_a_reply_http_does_not_allow_is_a_fault(self, reply: Reply, phase: str) -> None:
        bench = with_hooks({phase: lambda ctx: ctx.reply(reply)})
        bench.ask(chat())
        assert bench.only.status == 500
        assert bench.record["cause"] == "PLUGIN_FAILED"
        bench.settle()

    @pytest.mark.parametrize("payload", [object(), {1, object()}, {"a": object()}, "\ud800"])
    @pytest.mark.parametrize(
        "sent", [chat(), chat(stream=True), converse(), converse("converse-stream")],
        ids=["chat", "chat stream", "converse", "converse stream"],
    )  # fmt: skip
    def test_a_part_that_cannot_be_written_is_a_fault(self, payload: Any, sent: bytes) -> None:
        def body_filter(ctx: Any) -> None:
            ctx.part.payload = payload

        bench = with_hooks({"body_filter": body_filter})
        bench.ask(sent)
        bench.open()
        if b"-stream" in sent or b'"stream":true' in sent:
            bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        else:
            bench.answer(converse_answer())
        assert bench.only.status == 500
        assert bench.record["cause"] == "PLUGIN_FAILED"
        bench.settle()

    def test_a_part_without_an_end_is_a_fault(self) -> None:
        def body_filter(ctx: Any) -> None:
            ctx.part.payload["self"] = ctx.part.payload

        bench = answered(with_hooks({"body_filter": body_filter}))
        assert bench.only.status == 500
        bench.settle()


class TestReplies:
    @pytest.mark.parametrize("phase", ["rewrite", "access"])
    def test_a_reply_ends_the_phase(self, phase: str) -> None:
        seen: list[str] = []
        later = plugin_of({phase: lambda ctx: seen.append("later")}, "later", 1)
        reply = Reply(200, [(b"content-type", b"text/plain")], b"hello")
        bench = with_hooks({phase: lambda ctx: ctx.reply(reply)}, later)
        bench.ask(chat())
        assert (bench.only.status, bench.only.body) == (200, b"hello")
        assert bench.only.header("x-request-id") == bench.record["request_id"]
        assert seen == []
        assert bench.opened == []
        bench.settle()

    def test_a_reply_to_a_rewrite_needs_no_route_and_no_access(self) -> None:
        seen: list[str] = []
        hooks: dict[str, Hook] = {
            "rewrite": lambda ctx: ctx.reply(Reply(200, [], b"hello")),
            "access": lambda ctx: seen.append("access"),
        }
        bench = with_hooks(hooks)
        bench.ask(request("/nothing/here", b"{"))
        assert (bench.only.status, bench.only.body) == (200, b"hello")
        assert seen == []

    def test_access_sees_the_request_as_its_route_does(self) -> None:
        seen: list[tuple[bytes, bytes]] = []
        plugin = plugin_of({"access": lambda ctx: seen.append((ctx.request.path, ctx.request.target))})
        bench = Bench(a_plan(a_config(entry(), routes=[Route(name="a", paths=["/team"])]), plugin))
        bench.ask(request("/team/v1/models", method="GET"))
        assert seen == [(b"/v1/models", b"/team/v1/models")]
        assert bench.only.status == 200

    def test_a_rewrite_changes_where_a_request_leads(self) -> None:
        def rewrite(ctx: Any) -> None:
            ctx.change_request(target=b"/v1/models?limit=5", headers=[(b"host", b"x")])

        bench = with_hooks({"rewrite": rewrite})
        bench.ask(request("/strange", method="GET"))
        assert bench.only.json["object"] == "list"

    def test_what_access_revises_is_what_is_composed(self) -> None:
        def access(ctx: Any) -> None:
            assert ctx.ask.model == MODEL
            body = msgspec.json.decode(ctx.request.body)
            ctx.revise_request(body=msgspec.json.encode({**body, "model": "amazon.nova-pro-v1:0"}))

        bench = with_hooks({"access": access})
        bench.ask(chat())
        bench.open()
        assert bench.call.target == "/model/amazon.nova-pro-v1%3A0/converse"


class TestPreflights:
    @pytest.mark.parametrize(
        ("more", "plugins", "status"),
        [
            ({"access-control-request-method": "POST"}, (Cors(),), 204),
            ({"access-control-request-method": "POST"}, (), 405),
            ({"access-control-request-method": "DELETE"}, (Cors(),), 405),
            ({}, (Cors(),), 405),
        ],
    )
    def test_stand_where_the_request_they_announce_does(
        self, more: dict[str, str], plugins: tuple[Cors, ...], status: int
    ) -> None:
        seen: list[str] = []
        probe = plugin_of({"access": lambda ctx: seen.append(ctx.route)})
        entries = [entry(), *(PluginEntry(name="cors", config=cors) for cors in plugins)]
        bench = Bench(a_plan(a_config(*entries), probe))
        told = {"origin": "https://app.example", **more}
        bench.ask(request("/v1/chat/completions", method="OPTIONS", headers=told))
        bench.settle()
        assert bench.only.status == status
        assert bench.record["method"] == "OPTIONS"
        assert seen == [], "no other plugin sees one"


class Greeter:
    """Says who it was configured for."""

    class Config(msgspec.Struct, frozen=True):
        """Its configuration."""

        word: str = "nobody"

    NAME: ClassVar[str] = "greeter"
    PRIORITY: ClassVar[int] = 500
    CONFIG: ClassVar[type[msgspec.Struct]] = Config
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)
    said: ClassVar[list[str]] = []

    def __init__(self, config: Any) -> None:
        self.word = config.word

    def access(self, ctx: Any) -> None:
        self.said.append(f"access {self.word}")

    def header_filter(self, ctx: Any) -> None:
        ctx.headers.append((b"x-word", self.word.encode()))

    def log(self, ctx: Any) -> None:
        self.said.append(f"log {self.word}")


def greeting(word: str, **places: Any) -> PluginEntry:
    """An entry of the greeter."""
    return PluginEntry(name="greeter", config=Greeter.Config(word), **places)


ANN: Final = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("key-ann"))])
BOB: Final = Consumer(
    username="bob",
    keyauth_credentials=[KeyCredential(key=Secret("key-bob"))],
    plugins=[greeting("bob")],
)


class TestConsumers:
    def config(self, *entries: PluginEntry) -> Config:
        return Config(
            consumers=[ANN, BOB],
            plugins=[proxy(), LOG, PluginEntry(name="api-key-auth", config=ApiKeyAuth()), *entries],
        )

    def test_from_the_moment_of_identity_the_consumers_own_configuration_counts(self) -> None:
        bench = Bench(a_plan(self.config(greeting("all")), Greeter))
        Greeter.said.clear()
        for name in ("ann", "bob"):
            answered(bench, chat(headers={"x-api-key": f"key-{name}"}))
        assert [answer.header("x-word") for answer in bench.client.answers] == ["all", "bob"]
        assert Greeter.said == ["access all", "log all", "access bob", "log bob"]
        assert [record["consumer"] for record in bench.records] == ["ann", "bob"]

    @pytest.mark.parametrize("before", [False, True])
    def test_a_hook_that_identifies_may_wait_before_or_after(self, before: bool) -> None:
        def access(ctx: Any) -> Waits:
            if before:
                yield from ctx.sleep(SECOND)
            ctx.identify(BOB, "k")
            if not before:
                yield from ctx.sleep(SECOND)

        config = Config(consumers=[BOB], plugins=[proxy(), LOG, greeting("all"), entry("who")])
        bench = Bench(a_plan(config, Greeter, plugin_of({"access": access}, "who", 1250)))
        Greeter.said.clear()
        bench.ask(chat())
        bench.advance(SECOND)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.header("x-word") == "bob"
        assert Greeter.said == ["access bob", "log bob"]

    def test_hooks_that_have_run_do_not_run_again(self) -> None:
        seen: list[str] = []

        def who(ctx: Any) -> None:
            seen.append("who")
            ctx.identify(BOB, "k")

        plugins = [
            plugin_of({"access": lambda ctx: seen.append("first")}, "first", 2000),
            plugin_of({"access": who}, "who", 1500),
            plugin_of({"access": lambda ctx: seen.append("last")}, "last", 10),
        ]
        config = Config(consumers=[BOB], plugins=[proxy(), LOG, *(entry(p.NAME) for p in plugins)])
        answered(Bench(a_plan(config, Greeter, *plugins)))
        assert seen == ["first", "who", "last"]

    def test_the_very_last_hook_may_identify(self) -> None:
        plugins = [plugin_of({"access": lambda ctx: ctx.identify(BOB, "k")}, "who", 1)]
        config = Config(consumers=[BOB], plugins=[proxy(), LOG, greeting("all"), entry("who")])
        bench = answered(Bench(a_plan(config, Greeter, *plugins)))
        assert bench.only.header("x-word") == "bob"
        bench.settle()

    def test_a_second_identity_counts_from_there(self) -> None:
        plugins = [
            plugin_of({"access": lambda ctx: ctx.identify(ANN, "k")}, "who", 1500),
            plugin_of({"access": lambda ctx: ctx.identify(BOB, "l")}, "really", 1400),
        ]
        config = Config(
            consumers=[ANN, BOB], plugins=[proxy(), LOG, greeting("all"), entry("who"), entry("really")]
        )
        bench = answered(Bench(a_plan(config, Greeter, *plugins)))
        assert bench.only.header("x-word") == "bob"
        assert bench.record["key_id"] == "l"

    def test_a_consumers_plugin_may_be_one_that_stands_nowhere_else(self) -> None:
        bench = Bench(a_plan(self.config(), Greeter))
        for name in ("ann", "bob"):
            answered(bench, chat(headers={"x-api-key": f"key-{name}"}))
        assert [answer.header("x-word") for answer in bench.client.answers] == [None, "bob"]


class TestDispatch:
    def test_without_a_direction_the_call_goes_nowhere(self) -> None:
        bench = Bench(a_plan(Config(plugins=[LOG])))
        bench.ask(chat())
        assert bench.only.status == 500
        assert "bedrock-proxy" in bench.record["detail"]
        bench.settle()

    def test_credentials_that_fit_into_no_header_are_a_fault_of_the_gateways(self) -> None:
        bench = Bench(a_plan(a_config(plugins=[proxy(api_key=Secret("key\n")), LOG])), credentials=False)
        bench.ask(chat())
        bench.open()
        assert bench.only.status == 503
        assert bench.record["cause"] == "CREDENTIALS_MISSING"
        assert not bench.dropped
        assert "key" not in bench.record["detail"]
        bench.settle()

    def test_a_session_token_that_fits_into_no_header_likewise(self) -> None:
        bench = Bench(credentials=False)
        bench.tell(CredentialsChanged("", Credentials("AKID", Secret("s"), Secret("token\r\n"))))
        bench.ask(chat())
        bench.open()
        assert bench.only.status == 503
        bench.settle()

    def test_what_the_dialect_refuses_is_refused_in_its_words(self) -> None:
        for sent, status in (
            (request("/v1/chat/completions", b"{"), 400),
            (request("/v1/chat/completions", b"[]"), 400),
            (request("/model/m/converse", b"{"), 400),
            (request("/model/m/invoke-with-bidirectional-stream", b""), 501),
            (request("/model/m/nothing", b""), 404),
            (request("/v1/nothing", b""), 404),
        ):
            bench = Bench()
            bench.ask(sent)
            assert bench.only.status == status
            assert bench.only.header("x-should-retry") == "false"
            assert bench.record["outcome"] == "failed"
            assert bench.opened == []
            bench.settle()

    @pytest.mark.parametrize(
        ("method", "path", "status", "name"),
        [
            ("GET", "/model/m/converse", 405, "UnknownOperationException"),
            ("POST", "/model/m/nothing", 404, "UnknownOperationException"),
            ("GET", "/async-invoke/a/b", 404, "UnknownOperationException"),
            ("POST", "/aws/anything", 404, "UnknownOperationException"),
            ("POST", "/aws/model/m/converse", 400, "ValidationException"),
        ],
    )
    def test_an_aws_caller_hears_it_in_its_words_route_or_no_route(
        self, method: str, path: str, status: int, name: str
    ) -> None:
        aws = Route(name="a", paths=["/aws"], dialect="bedrock_native")
        bench = Bench(a_plan(a_config(routes=[aws] if path.startswith("/aws") else [])))
        bench.ask(request(path, b"{" if method == "POST" else b"", method=method))
        assert (bench.only.status, bench.only.header("x-amzn-errortype")) == (status, name)
        assert set(bench.only.json) == {"message"}

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/v1/chat/completions", "POST"),
            ("HEAD", "/v1/chat/completions", "POST"),
            ("DELETE", "/v1/models", "GET"),
            ("GET", "/model/m/converse", "POST"),
            ("PUT", "/healthz", "GET, HEAD"),
        ],
    )
    def test_a_method_that_is_not_allowed_is_told_which_are(self, method: str, path: str, allow: str) -> None:
        bench = Bench()
        bench.ask(request(path, method=method))
        assert (bench.only.status, bench.only.header("allow")) == (405, allow)

    def test_models_are_listed_without_a_call(self) -> None:
        bench = Bench()
        bench.ask(request("/v1/models", method="GET"))
        assert bench.only.status == 200
        assert "operation" not in bench.record
        assert bench.opened == []


class TestContext:
    def test_a_note_names_its_plugin_in_every_phase(self) -> None:
        phases = ("rewrite", "access", "header_filter", "body_filter", "log")
        bench = answered(with_hooks({phase: lambda ctx: ctx.note("info", "here") for phase in phases}))
        assert [note.text for note in bench.notes] == ["probe: here"] * 5

    def test_the_log_phase_knows_when_it_runs(self) -> None:
        """Also where the session itself has ended the exchange."""
        seen: list[int] = []
        bench = with_hooks({"log": lambda ctx: seen.append(ctx.now)})
        bench.ask(chat())
        bench.tell(Draining(5 * SECOND))
        bench.advance(5 * SECOND)
        assert seen == [5 * SECOND]


class TestTransformedErrors:
    def test_errors_pass_the_header_filter_too(self) -> None:
        transform = PluginEntry(
            name="response-transform", config=ResponseTransform(add=Values(headers=["x-a:1"]))
        )
        bench = Bench(a_plan(a_config(transform)))
        bench.ask(request("/v1/nothing", b""))
        assert (bench.only.status, bench.only.header("x-a")) == (404, "1")


def asks(ctx: Any) -> Waits:
    """A hook that tells in a header what the store has said."""
    try:
        found = yield from ctx.read_entry("key")
    except WaitFailed as failed:
        ctx.kept = str(failed)
    else:
        ctx.kept = repr(found)


def tells(ctx: Any) -> None:
    """A hook that tells what was kept."""
    ctx.headers.append((b"x-kept", ctx.kept.encode()))


class TestQuestions:
    """A hook asks through the shell, and goes on with what comes back."""

    def asked_of(self) -> Bench:
        bench = with_hooks({"access": asks, "header_filter": tells})
        bench.ask(chat())
        assert not bench.opened
        return bench

    def test_the_answer_goes_to_the_hook(self) -> None:
        bench = self.asked_of()
        bench.reply(None)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.header("x-kept") == "None"
        bench.settle()

    def test_so_does_the_reason_why_there_is_none(self) -> None:
        bench = self.asked_of()
        bench.fail_question("the store is away")
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.header("x-kept") == "the store is away"
        bench.settle()

    @pytest.mark.parametrize("fact", [Answered(4711, True), Unanswered(4711, "late")], ids=repr)
    def test_what_answers_another_question_does_not(self, fact: Answered | Unanswered) -> None:
        bench = self.asked_of()
        assert bench.tell(fact) == []
        assert len(bench.questions) == 1
        bench.leave()
        bench.settle()

    def test_it_may_ask_until_the_time_is_up(self) -> None:
        bench = self.asked_of()
        bench.advance(600 * SECOND)
        assert bench.record["cause"] == "TOTAL_TIMEOUT"
        bench.settle()


class TestHealth:
    @pytest.mark.parametrize(
        ("draining", "path", "status"),
        [(False, "/healthz", 200), (False, "/readyz", 200), (True, "/healthz", 200), (True, "/readyz", 503)],
    )
    def test_it_lives_until_the_end_but_is_not_ready_while_it_drains(
        self, draining: bool, path: str, status: int
    ) -> None:
        bench = Bench()
        data = request(path, method="GET")
        bench.send(data[:10])
        if draining:
            bench.tell(Draining(60 * SECOND))
        bench.send(data[10:])
        assert bench.only.status == status
        assert bench.records == []

    def test_nobody_posts_to_it(self) -> None:
        bench = Bench()
        bench.ask(request("/healthz", b"{}"))
        assert (bench.only.status, bench.only.header("allow")) == (405, "GET, HEAD")


class TestWays:
    """Where a call goes when all hooks have run."""

    def test_one_that_may_be_shared_is_ordered(self) -> None:
        bench = with_hooks({"access": lambda ctx: ctx.share(Sharing("", 1, 1))})
        bench.ask(chat())
        assert (len(bench.followed), bench.opened) == (1, [])
        bench.leave()
        bench.settle()

    def test_one_that_is_several_is_gathered(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two"]))
        assert (len(bench.followed), bench.opened) == (2, [])
        bench.leave()
        bench.settle()
