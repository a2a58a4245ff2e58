"""A batch of calls for one request: in a window, in order, all or nothing, and truthfully recorded.

First against a bench that plays the cache by hand, then in a crowd with the real cache and its flights.
"""

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.config.bedrock_proxy import CircuitBreaker, ModelTarget, ProxyTarget
from stargate_core.config.plugin_configs import Retry
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Config, Gateway, PluginEntry, TimeLimits
from stargate_core.direction import Order
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.cache_entries import VERSION, Entry, pack
from stargate_core.gateway.exchange import TABLE, Exchange, ExchangeEvent
from stargate_core.gateway.gathering import TRIED_MAX, WINDOW
from stargate_core.gateway.session import Exchanging
from stargate_core.gateway.states import Gathering
from stargate_core.gateway.upstream import ANSWER_BYTES_MAX
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientStalled,
    Draining,
    SessionCommand,
    Source,
    Trouble,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
)
from support.bedrock import aws_error, http
from support.embeddings import (
    COHERE,
    TITAN,
    TITAN_G1,
    TOKENS_HEADER,
    answer_to,
    embeddings,
    texts_in,
    told,
    vector,
)
from support.flights import Crowd, FlightBench
from support.hooks import entry, plugin_of
from support.machines import LOG, Answer, Bench, a_config, a_plan, chat, proxy

THROTTLED: Final = Fault(Cause.UPSTREAM_THROTTLED, "Slow down", aws_name="ThrottlingException")
CACHE: Final = PluginEntry(name="response-cache", config=ResponseCache())


def texts(count: int) -> list[str]:
    """So many texts, of different lengths."""
    return [f"text {at:03}{'!' * (at % 3)}" for at in range(count)]


def letters(every: list[str]) -> int:
    """How many tokens the bench's model counts in them."""
    return sum(map(len, every))


def cached() -> Bench:
    """A bench whose answers may be kept and shared."""
    return Bench(a_plan(a_config(CACHE)))


# --------------------------------------------------------------------------- the cache's side, played by hand


def orders(bench: Bench) -> dict[int, Order]:
    """What is wanted, by ticket."""
    return {ticket: follow.order for ticket, follow in bench.followed.items()}


def begin(bench: Bench, ticket: int, source: Source = Source.MADE, **members: Any) -> bytes:
    """An answer begins; its body."""
    headers, body = answer_to(bench.followed[ticket].order.call.body)
    bench.tell(AnswerBegan(ticket, source, headers, **members))
    return body


def end(bench: Bench, ticket: int) -> None:
    """It is whole: nobody follows it any more."""
    del bench.followed[ticket]
    bench.tell(AnswerEnded(ticket))


def land(bench: Bench, ticket: int, source: Source = Source.MADE, **members: Any) -> None:
    """A whole answer."""
    body = begin(bench, ticket, source, **members)
    bench.tell(AnswerSent(ticket, body[:7]))
    bench.tell(AnswerSent(ticket, body[7:]))
    end(bench, ticket)


def land_all(bench: Bench, source: Source = Source.MADE, **members: Any) -> None:
    """All answers, to the last."""
    while bench.followed:
        land(bench, next(iter(bench.followed)), source, **members)


def break_off(bench: Bench, ticket: int, fault: Fault = THROTTLED, *attempts: str) -> None:
    """An answer will not come."""
    del bench.followed[ticket]
    bench.tell(AnswerFailed(ticket, fault, attempts))


class TestWindow:
    def test_so_many_are_ordered_and_one_more_whenever_one_has_landed(self) -> None:
        bench = Bench()
        every = texts(WINDOW + 3)
        bench.ask(embeddings(every))
        seen = set(bench.followed)
        assert len(seen) == WINDOW
        for left in (3, 2, 1, 0, 0):
            assert len(bench.followed) == WINDOW if left else len(bench.followed) <= WINDOW
            land(bench, next(iter(bench.followed)))
            seen |= set(bench.followed)
        assert len(seen) == WINDOW + 3
        assert not bench.client.answers
        land_all(bench)
        assert told(bench.only.json) == [vector(text) for text in every]
        bench.settle()

    def test_each_order_is_one_call_by_itself(self) -> None:
        bench = Bench()
        every = texts(5)
        bench.ask(embeddings(every))
        found = list(orders(bench).values())
        assert [texts_in(msgspec.json.decode(order.call.body)) for order in found] == [
            [text] for text in every
        ]
        for order in found:
            assert order.call.more_bodies == ()
            assert (order.call.stream, order.call.target) == (
                False,
                b"/model/amazon.titan-embed-text-v2%3A0/invoke",
            )
            assert order.others == ()
            assert len(order.directions) == 1
        assert len({order.key for order in found}) == 5

    def test_where_no_plugin_says_that_they_may_be_shared_they_are_not(self) -> None:
        alone, shared = Bench(), cached()
        for bench in (alone, shared):
            bench.ask(embeddings(["one", "two"]))
        for order in orders(alone).values():
            sharing = order.sharing
            assert (sharing.ttl_us, sharing.max_age_us, sharing.share) == (0, 0, False)
        assert all(order.sharing.share for order in orders(shared).values())
        keys = [{order.key for order in orders(bench).values()} for bench in (alone, shared)]
        assert not keys[0] & keys[1]

    def test_a_call_of_a_batch_is_kept_under_the_name_it_has_alone(self) -> None:
        batch, single = cached(), cached()
        batch.ask(embeddings(["one", "two"]))
        single.ask(embeddings("two"))
        (order,) = orders(single).values()
        assert [each.key == order.key for each in orders(batch).values()] == [False, True]

    def test_one_text_is_no_batch(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one"]))
        assert not bench.followed
        bench.open()
        headers, body = answer_to(bench.call.body)
        bench.answer(http(body, x_amzn_bedrock_input_token_count="3"))
        assert told(bench.only.json) == [vector("one")]
        assert (bench.record["attempts"], bench.record["input_tokens"]) == (1, 3)
        assert headers
        bench.settle()

    def test_later_orders_have_the_time_that_is_left(self) -> None:
        bench = Bench(a_plan(a_config(gateway=Gateway(time_limits=TimeLimits(total=100)))))
        bench.ask(embeddings(texts(WINDOW + 1)))
        assert {order.total_ns for order in orders(bench).values()} == {100 * SECOND}
        bench.advance(30 * SECOND)
        land(bench, next(iter(bench.followed)))
        assert list(orders(bench).values())[-1].total_ns == 70 * SECOND

    def test_an_order_at_the_very_end_has_some_time(self) -> None:
        bench = Bench(a_plan(a_config(gateway=Gateway(time_limits=TimeLimits(total=100)))))
        bench.ask(embeddings(texts(WINDOW + 1)))
        bench.now += 101 * SECOND  # The session has not been ticked yet.
        land(bench, next(iter(bench.followed)))
        assert list(orders(bench).values())[-1].total_ns > 0
        bench.advance(0)
        assert bench.record["cause"] == "TOTAL_TIMEOUT"
        bench.settle()


class TestOrder:
    @given(chance=st.integers(0, 2**32).map(random.Random), count=st.integers(2, 30))
    def test_whatever_comes_first_each_vector_stands_in_its_place(
        self, chance: random.Random, count: int
    ) -> None:
        bench = Bench()
        every = texts(count)
        bench.ask(embeddings(every))
        begun: dict[int, bytes] = {}
        while bench.followed:
            assert len(bench.followed) <= WINDOW
            ticket = chance.choice(sorted(bench.followed))
            if ticket not in begun:
                begun[ticket] = begin(bench, ticket)
            elif begun[ticket]:
                size = chance.randint(1, len(begun[ticket]))
                bench.tell(AnswerSent(ticket, begun[ticket][:size]))
                begun[ticket] = begun[ticket][size:]
            else:
                end(bench, ticket)
        assert told(bench.only.json) == [vector(text) for text in every]
        usage = bench.only.json["usage"]
        assert usage == {"prompt_tokens": letters(every), "total_tokens": letters(every)}
        assert (bench.record["attempts"], bench.record["input_tokens"]) == (count, letters(every))
        bench.settle()

    def test_calls_of_many_texts_too(self) -> None:
        bench = Bench()
        every = texts(96 * 2 + 8)
        bench.ask(embeddings(every, COHERE))
        tickets = list(bench.followed)
        assert len(tickets) == 3
        for ticket in reversed(tickets):
            land(bench, ticket)
        assert told(bench.only.json) == [vector(text) for text in every]
        assert bench.record["input_tokens"] == letters(every)


class TestRecord:
    def test_one_of_all_calls_together(self) -> None:
        bench = Bench()
        bench.ask(embeddings(texts(20)))
        bench.advance(SECOND)
        (direction,) = next(iter(orders(bench).values())).directions
        land_all(bench, target=direction.name)
        record = bench.record
        assert (record["outcome"], record["status"], record["attempts"]) == ("complete", 200, 20)
        assert (record["target"], record["region"], record["operation"]) == (
            TITAN,
            "us-east-1",
            "InvokeModel",
        )
        assert record["dialect"] == "openai-embeddings"
        assert "tried" not in record
        assert "cache" not in record
        assert "usage_estimated" not in record
        assert record["upstream_status"] == 200
        assert record["cost_usd"] == pytest.approx(letters(texts(20)) * 0.02 / 1e6)
        assert record["total_ms"] == 1000.0
        bench.settle()

    def test_repetitions_are_counted_and_named(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two", "three"]))
        first, second, third = bench.followed
        land(bench, second, attempts=("a UPSTREAM_THROTTLED 3ms", "b OK 5ms"))
        land(bench, first)
        land(bench, third, attempts=("a UPSTREAM_LOST 1ms", "a UPSTREAM_LOST 1ms", "b OK 2ms"))
        assert bench.record["attempts"] == 2 + 1 + 3
        assert [word.split()[1] for word in bench.record["tried"]] == [
            "UPSTREAM_THROTTLED",
            "OK",
            "UPSTREAM_LOST",
            "UPSTREAM_LOST",
            "OK",
        ]

    def test_but_not_without_end(self) -> None:
        bench = Bench(a_plan(a_config(plugins=[proxy(timeout=3_600_000, attempts_header=True), LOG])))
        bench.ask(embeddings(texts(100)))
        land_all(bench, attempts=("a UPSTREAM_THROTTLED 3ms", "b OK 5ms"))
        assert bench.record["attempts"] == 200
        assert len(bench.record["tried"]) == TRIED_MAX
        header = bench.only.header("x-stargate-attempts")
        assert header is not None
        assert header.count(",") == TRIED_MAX - 1

    def test_where_all_went_well_the_header_names_the_target(self) -> None:
        bench = Bench(a_plan(a_config(plugins=[proxy(timeout=3_600_000, attempts_header=True), LOG])))
        bench.ask(embeddings(["one", "two"]))
        land_all(bench)
        header = bench.only.header("x-stargate-attempts")
        assert header is not None
        assert header.endswith(TITAN)

    @pytest.mark.parametrize(
        ("sources", "word", "age", "paid"),
        [
            ((Source.KEPT, Source.KEPT), "hit", "9", 6),
            ((Source.KEPT, Source.JOINED), "coalesced", None, 6),
            ((Source.JOINED, Source.JOINED), "coalesced", None, 6),
            ((Source.MADE, Source.KEPT), "miss", None, 3),
            ((Source.KEPT, Source.MADE), "miss", None, 3),
            ((Source.MADE, Source.JOINED), "miss", None, 3),
            ((Source.MADE, Source.MADE), "miss", None, 6),
        ],
    )
    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_batch_is_what_its_dearest_call_is(
        self, sources: tuple[Source, Source], word: str, age: str | None, paid: int, backwards: bool
    ) -> None:
        bench = cached()
        bench.ask(embeddings(["one", "two"]))
        steps = list(zip(bench.followed, sources, (9, 4), strict=True))
        for ticket, source, seconds in reversed(steps) if backwards else steps:
            land(bench, ticket, source, age_seconds=seconds if source is Source.KEPT else 0)
        assert (bench.record["cache"], bench.record["input_tokens"]) == (word, paid)
        assert bench.only.header("age") == age
        assert bench.only.header("x-cache-status") == word.replace("hit", "Hit").title()
        assert bench.only.json["usage"]["total_tokens"] == 6
        assert bench.record.get("attempts", 0) == sources.count(Source.MADE)
        assert (bench.record.get("cost_usd", 0) > 0) is (word == "miss")

    def test_tokens_without_a_header_are_the_answers_own(self) -> None:
        """Even those that were kept are counted then: too much rather than too little."""
        bench = cached()
        bench.ask(embeddings(["one", "two"]))
        for ticket, source in list(zip(bench.followed, (Source.KEPT, Source.MADE), strict=True)):
            _, body = answer_to(bench.followed[ticket].order.call.body)
            bench.tell(AnswerBegan(ticket, source, []))
            bench.tell(AnswerSent(ticket, body))
            end(bench, ticket)
        assert bench.record["input_tokens"] == 6


class TestFailures:
    @pytest.mark.parametrize("landed", [0, 1, 5, WINDOW + 1])
    def test_the_first_one_gives_up_all_the_others(self, landed: int) -> None:
        bench = Bench()
        every = texts(WINDOW + 5)
        bench.ask(embeddings(every))
        for _ in range(landed):
            land(bench, next(iter(bench.followed)))
        begin(bench, list(bench.followed)[1])
        break_off(bench, list(bench.followed)[2], THROTTLED, "us-east-1/m UPSTREAM_THROTTLED 3ms")
        assert not bench.followed
        assert (bench.only.status, bench.only.json["error"]["message"]) == (429, "Slow down")
        assert bench.only.header("retry-after") is not None
        record = bench.record
        assert (record["outcome"], record["cause"]) == ("failed", "UPSTREAM_THROTTLED")
        assert record["upstream_exception"] == "ThrottlingException"
        assert record["tried"] == ["us-east-1/m UPSTREAM_THROTTLED 3ms"]
        assert record["attempts"] == landed + 2
        assert record.get("input_tokens", 0) == letters(every[:landed])
        bench.settle()

    def test_one_that_was_never_called_is_no_attempt(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two"]))
        break_off(bench, next(iter(bench.followed)), Fault(Cause.CIRCUIT_OPEN))
        assert bench.only.status == 503
        assert "attempts" not in bench.record
        bench.settle()

    @pytest.mark.parametrize(
        ("attempts", "word"), [(("us-east-1/m UPSTREAM_THROTTLED 3ms",), "miss"), ((), "hit")]
    )
    def test_a_call_that_failed_was_made(self, attempts: tuple[str, ...], word: str) -> None:
        bench = cached()
        bench.ask(embeddings(["one", "two"]))
        first, second = bench.followed
        land(bench, first, Source.KEPT)
        break_off(bench, second, THROTTLED, *attempts)
        assert bench.record["cache"] == word
        bench.settle()

    def test_late_facts_about_those_given_up_are_harmless(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two", "three"]))
        first, second, third = bench.followed
        begin(bench, second)
        break_off(bench, first)
        for fact in (
            AnswerBegan(third, Source.MADE, []),
            AnswerSent(second, b"{}"),
            AnswerEnded(second),
            AnswerFailed(third, THROTTLED),
        ):
            assert bench.tell(fact) == []
        bench.ask(chat())
        for fact in (AnswerEnded(second), AnswerFailed(third, THROTTLED)):
            assert bench.tell(fact) == []
        assert len(bench.records) == 1

    def test_an_error_that_calls_itself_a_success(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two"]))
        first, _ = bench.followed
        bench.tell(AnswerBegan(first, Source.MADE, []))
        body = b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}'
        bench.tell(AnswerSent(first, body))
        end(bench, first)
        assert bench.only.status >= 400
        bench.settle()

    @pytest.mark.parametrize("body", [b"", b"{}", b"no JSON", b'{"embedding":[]}', b'{"embedding":[1.0]}'])
    def test_one_that_is_no_answer_spoils_all_of_them(self, body: bytes) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two"]))
        first, second = bench.followed
        land(bench, first)
        bench.tell(AnswerBegan(second, Source.MADE, []))
        if body:
            bench.tell(AnswerSent(second, body))
        end(bench, second)
        assert (bench.only.status, bench.record["cause"]) == (502, "UPSTREAM_GARBLED")
        assert bench.record["input_tokens"] == 3
        bench.settle()

    def test_together_they_are_not_larger_than_one_may_be(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two", "three"]))
        first, second, _ = bench.followed
        begin(bench, first)
        begin(bench, second)
        half = bytes(ANSWER_BYTES_MAX // 2)
        bench.tell(AnswerSent(first, half))
        bench.tell(AnswerSent(second, half))
        assert not bench.client.answers
        bench.tell(AnswerSent(first, b"x"))
        assert (bench.only.status, bench.record["cause"]) == (502, "UPSTREAM_GARBLED")
        bench.settle()

    def test_an_answer_begins_once(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two"]))
        first, second = bench.followed
        begin(bench, first)
        bench.tell(AnswerBegan(first, Source.MADE, [(b"content-type", b"text/html")]))
        bench.tell(AnswerSent(first, answer_to(bench.followed[first].order.call.body)[1]))
        end(bench, first)
        land(bench, second)
        assert (bench.only.status, bench.record["attempts"]) == (200, 2)

    def test_a_request_that_cannot_be_composed_orders_nothing(self) -> None:
        bench = Bench()
        bench.ask(embeddings(["one", "two"], "anthropic.claude-3-haiku-20240307-v1:0"))
        assert not bench.followed
        assert (bench.only.status, bench.only.json["error"]["param"]) == (400, "model")
        bench.settle()


def just_ordered(bench: Bench) -> None:
    """Nothing has come."""


def one_has_begun(bench: Bench) -> None:
    """A head has come."""
    begin(bench, next(iter(bench.followed)))


def some_have_landed(bench: Bench) -> None:
    """Three are whole."""
    for _ in range(3):
        land(bench, next(iter(bench.followed)))


def all_but_one_have_landed(bench: Bench) -> None:
    """Only the last is missing."""
    for _ in range(11):
        land(bench, next(iter(bench.followed)))


PHASES: Final = (just_ordered, one_has_begun, some_have_landed, all_but_one_have_landed)


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
class TestInEveryPhase:
    """Twelve texts are asked for, and something happens."""

    def brought(self, phase: Callable[[Bench], None], gateway: Gateway | None = None) -> Bench:
        """A bench in this phase."""
        bench = Bench(a_plan(a_config(gateway=gateway)))
        bench.advance(SECOND)
        bench.ask(embeddings(texts(12)))
        phase(bench)
        assert isinstance(exchange_of(bench).state, Gathering)
        return bench

    @pytest.mark.parametrize("lost", [False, True])
    def test_the_client_leaves(self, phase: Callable[[Bench], None], lost: bool) -> None:
        bench = self.brought(phase)
        bench.leave(lost=lost)
        assert not bench.followed
        assert (bench.record["outcome"], bench.record["status"]) == ("client_left", 0)
        if phase in (some_have_landed, all_but_one_have_landed):
            landed = 3 if phase is some_have_landed else 11
            assert bench.record["input_tokens"] == letters(texts(landed))
        else:
            # Bedrock has worked for nothing that it would tell.
            assert bench.record["usage_estimated"]
        bench.settle()

    def test_the_time_is_up(self, phase: Callable[[Bench], None]) -> None:
        bench = self.brought(phase, Gateway(time_limits=TimeLimits(total=30, first_token=2, idle=2)))
        bench.advance(30 * SECOND - 1)
        assert not bench.client.answers
        bench.advance(1)
        assert (bench.only.status, bench.record["cause"]) == (504, "TOTAL_TIMEOUT")
        bench.settle()

    def test_the_grace_of_a_drain_is_over(self, phase: Callable[[Bench], None]) -> None:
        bench = self.brought(phase)
        bench.tell(Draining(SECOND))
        bench.advance(SECOND - 1)
        assert bench.closed is None
        bench.advance(1)
        assert (bench.only.status, bench.record["cause"]) == (503, "DRAINING")
        assert bench.closed is not None
        bench.settle()

    def test_a_drain_lets_it_finish(self, phase: Callable[[Bench], None]) -> None:
        bench = self.brought(phase)
        bench.tell(Draining(SECOND))
        land_all(bench)
        assert (bench.only.status, bench.only.header("connection")) == (200, "close")
        assert told(bench.only.json) == [vector(text) for text in texts(12)]
        bench.settle()

    def test_the_client_takes_nothing_for_a_while(self, phase: Callable[[Bench], None]) -> None:
        bench = self.brought(phase)
        for fact in (ClientStalled(), ClientDrained()):
            assert bench.tell(fact) == []
        assert not bench.paused

    def test_facts_that_are_about_something_else_change_nothing(self, phase: Callable[[Bench], None]) -> None:
        bench = self.brought(phase)
        followed, deadline = set(bench.followed), bench.session.deadline
        for fact in (
            AnswerBegan(4711, Source.MADE, []),
            AnswerSent(4711, b"{}"),
            AnswerEnded(4711),
            AnswerFailed(4711, THROTTLED),
            UpstreamSent(4711, b"HTTP/1.1 200 OK\r\n\r\n"),
            UpstreamEnded(4711),
            UpstreamLost(4711),
            UpstreamFailed(4711, Trouble.REFUSED),
        ):
            assert bench.tell(fact) == []
        assert [type(command).__name__ for command in strange_lease(bench)] == ["ReleaseUpstream"]
        assert (set(bench.followed), bench.session.deadline) == (followed, deadline)

    def test_what_the_client_sends_ahead_waits(self, phase: Callable[[Bench], None]) -> None:
        bench = self.brought(phase)
        assert bench.ask(embeddings(["next", "two"])) == []
        land_all(bench)
        assert [len(told(answer.json)) for answer in bench.client.answers] == [12, 2]
        assert len(bench.records) == 2
        bench.settle()


def exchange_of(bench: Bench) -> Exchange:
    """The exchange under way."""
    state = bench.session.state
    assert isinstance(state, Exchanging)
    return state.exchange


def strange_lease(bench: Bench) -> list[SessionCommand]:
    """What comes of a lease that nobody has asked for."""
    return bench.session.handle(bench.now, UpstreamOpened(4711, 4712, reused=False))


class TestHooks:
    def test_the_body_is_filtered_once_and_whole(self) -> None:
        seen: list[Any] = []

        def look(ctx: Any) -> None:
            seen.append(ctx.part.payload)
            ctx.part.payload["model"] = "another"

        bench = Bench(a_plan(a_config(entry()), plugin_of({"body_filter": look})))
        bench.ask(embeddings(texts(10)))
        land_all(bench)
        (payload,) = seen
        assert told(payload) == [vector(text) for text in texts(10)]
        assert bench.only.json["model"] == "another"
        bench.settle()

    def test_the_log_phase_runs_once(self) -> None:
        seen: list[Any] = []
        bench = Bench(a_plan(a_config(entry()), plugin_of({"log": lambda ctx: seen.append(ctx.record)})))
        bench.ask(embeddings(texts(10)))
        land_all(bench)
        (record,) = seen
        assert record.input_tokens == letters(texts(10))

    @pytest.mark.parametrize("phase", ["body_filter", "header_filter"])
    def test_a_hook_that_fails(self, phase: str) -> None:
        def fail(ctx: Any) -> None:
            if ctx.status in (0, 200):
                raise ZeroDivisionError

        bench = Bench(a_plan(a_config(entry()), plugin_of({phase: fail})))
        bench.ask(embeddings(["one", "two"]))
        land_all(bench)
        assert (bench.only.status, bench.record["cause"]) == (500, "PLUGIN_FAILED")
        assert bench.record["input_tokens"] == 6
        bench.settle()

    def test_a_hook_that_leaves_what_cannot_be_written(self) -> None:
        def spoil(ctx: Any) -> None:
            ctx.part.payload["data"] = object()

        bench = Bench(a_plan(a_config(entry()), plugin_of({"body_filter": spoil})))
        bench.ask(embeddings(["one", "two"]))
        land_all(bench)
        assert (bench.only.status, bench.record["cause"]) == (500, "PLUGIN_FAILED")
        bench.settle()


# ------------------------------------------------------------------------ with the real cache and its flights


def a_crowd(*entries: PluginEntry, config: Config | None = None, count: int = 1, **more: Any) -> Crowd:
    """Sessions, their cache, and its flights."""
    return Crowd(a_plan(config or a_config(*entries)), count, **more)


def in_the_air(crowd: Crowd) -> list[FlightBench]:
    """The flights that are not over."""
    return [flight for flight in crowd.flights if not flight.flight.closed]


def answer_flight(crowd: Crowd, flight: FlightBench, length: int = 8) -> None:
    """Bedrock answers a flight's call."""
    if flight.asked:
        flight.open()
    headers, body = answer_to(flight.calls[-1].body, length)
    tokens = dict(headers)[TOKENS_HEADER].decode()
    crowd.step(flight, http(body, x_amzn_bedrock_input_token_count=tokens))


def answer_all(crowd: Crowd) -> int:
    """Bedrock answers whatever it is asked, the newest first; how many calls that were."""
    count = 0
    while flights := in_the_air(crowd):
        answer_flight(crowd, flights[-1])
        count += 1
    return count


def only(crowd: Crowd) -> Answer:
    """The newest answer that the first session has given."""
    return crowd.members[0].client.answers[-1]


class TestFlights:
    def test_a_batch_is_answered(self) -> None:
        crowd = a_crowd()
        (member,) = crowd.members
        member.ask(embeddings(texts(40)))
        assert len(in_the_air(crowd)) == WINDOW
        assert answer_all(crowd) == 40
        assert told(only(crowd).json) == [vector(text) for text in texts(40)]
        assert (member.record["attempts"], member.record["input_tokens"]) == (40, letters(texts(40)))
        assert "cache" not in member.record
        member.settle()
        assert crowd.cache.statistics() == {"entries": 0, "flights": 0, "followers": 0, "held_bytes": 0}

    def test_without_a_cache_equal_texts_are_calls_of_their_own(self) -> None:
        crowd = a_crowd()
        crowd.members[0].ask(embeddings(["same", "same", "same"]))
        assert answer_all(crowd) == 3
        assert told(only(crowd).json) == [vector("same")] * 3
        assert crowd.members[0].record["input_tokens"] == 12

    def test_a_client_that_leaves_ends_all_calls(self) -> None:
        crowd = a_crowd()
        (member,) = crowd.members
        member.ask(embeddings(texts(20)))
        for flight in in_the_air(crowd)[:3]:
            flight.open()
        answer_flight(crowd, in_the_air(crowd)[0])
        member.leave()
        assert in_the_air(crowd) == []
        assert len(crowd.flights) == WINDOW + 1
        assert member.record["input_tokens"] == len(texts(1)[0])
        assert crowd.cache.statistics()["flights"] == 0
        member.settle()

    def test_one_call_that_fails_ends_all_the_others(self) -> None:
        crowd = a_crowd()
        (member,) = crowd.members
        member.ask(embeddings(texts(20)))
        answer_flight(crowd, crowd.flights[0])
        crowd.flights[4].open()
        crowd.step(crowd.flights[4], aws_error("ThrottlingException", 429))
        assert in_the_air(crowd) == []
        assert (only(crowd).status, member.record["cause"]) == (429, "UPSTREAM_THROTTLED")
        assert len(crowd.flights) == WINDOW + 1
        assert member.record["attempts"] == 2
        (tried,) = member.record["tried"]
        assert "UPSTREAM_THROTTLED" in tried
        member.settle()

    def test_a_call_that_fails_is_repeated_by_itself(self) -> None:
        crowd = a_crowd(config=a_config(plugins=[proxy(retry=Retry(count=1, delay=1)), LOG]))
        (member,) = crowd.members
        member.ask(embeddings(["one", "two", "three"]))
        flight = crowd.flights[1]
        flight.open()
        crowd.step(flight, aws_error("ThrottlingException", 429))
        assert only_status(crowd) is None
        crowd.advance(SECOND)
        flight.reply(answer=True)
        assert answer_all(crowd) == 3
        assert told(only(crowd).json) == [vector(text) for text in ("one", "two", "three")]
        assert member.record["attempts"] == 4
        assert [word.split()[1] for word in member.record["tried"]] == ["UPSTREAM_THROTTLED", "OK"]
        member.settle()

    def test_the_time_limit_ends_all_calls(self) -> None:
        crowd = a_crowd(config=a_config(gateway=Gateway(time_limits=TimeLimits(total=5))))
        (member,) = crowd.members
        member.ask(embeddings(texts(20)))
        crowd.advance(5 * SECOND)
        assert in_the_air(crowd) == []
        assert (only(crowd).status, member.record["cause"]) == (504, "TOTAL_TIMEOUT")
        member.settle()


def only_status(crowd: Crowd) -> int | None:
    """The status that the first session has answered with; None: it has not."""
    answers = crowd.members[0].client.answers
    return answers[-1].status if answers else None


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "store"])
class TestSharing:
    def test_of_a_batch_that_has_grown_only_the_new_texts_are_asked(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, shared=shared)
        (member,) = crowd.members
        member.ask(embeddings(["one", "three"]))
        assert answer_all(crowd) == 2
        member.ask(embeddings(["one", "two", "three", "four"]))
        assert answer_all(crowd) == 2
        assert told(only(crowd).json) == [vector(text) for text in ("one", "two", "three", "four")]
        assert only(crowd).json["usage"]["total_tokens"] == 3 + 3 + 5 + 4
        record = member.records[-1]
        assert (record["cache"], record["input_tokens"], record["attempts"]) == ("miss", 3 + 4, 2)
        assert only(crowd).header("x-cache-status") == "Miss"
        member.settle()

    def test_one_that_is_kept_whole_costs_nothing(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, shared=shared)
        (member,) = crowd.members
        member.ask(embeddings(texts(20)))
        assert answer_all(crowd) == 20
        member.ask(embeddings(list(reversed(texts(20)))))
        assert answer_all(crowd) == 0
        assert told(only(crowd).json) == [vector(text) for text in reversed(texts(20))]
        record = member.records[-1]
        assert (record["cache"], record["input_tokens"]) == ("hit", letters(texts(20)))
        assert "attempts" not in record
        assert record.get("cost_usd", 0) == 0
        assert only(crowd).header("x-cache-status") == "Hit"
        assert only(crowd).header("age") == "0"
        member.settle()

    def test_a_text_that_was_embedded_alone_is_kept_for_batches(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, shared=shared)
        (member,) = crowd.members
        member.ask(embeddings("one"))
        assert answer_all(crowd) == 1
        member.ask(embeddings(["one", "two"], encoding_format="base64"))
        assert answer_all(crowd) == 1
        assert told(only(crowd).json) == [vector("one"), vector("two")]

    def test_equal_texts_of_a_batch_are_one_call(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, shared=shared)
        (member,) = crowd.members
        member.ask(embeddings(["same", "other", "same", "same"]))
        assert answer_all(crowd) == 2
        assert told(only(crowd).json) == [vector(text) for text in ("same", "other", "same", "same")]
        assert (member.record["attempts"], member.record["input_tokens"]) == (2, 4 + 5)
        assert member.record["cache"] == "miss"
        member.settle()

    def test_two_who_ask_at_once_share_calls(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, count=2, shared=shared)
        for member in crowd.members:
            member.ask(embeddings(texts(30)))
        assert answer_all(crowd) == 30
        for member in crowd.members:
            assert told(member.only.json) == [vector(text) for text in texts(30)]
            member.settle()
        paid = [member.record["input_tokens"] for member in crowd.members if member.record["cache"] == "miss"]
        assert sum(paid) == letters(texts(30))

    def test_one_of_them_may_leave(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, count=2, shared=shared)
        for member in crowd.members:
            member.ask(embeddings(texts(12)))
        answer_flight(crowd, crowd.flights[2])
        crowd.members[0].leave()
        answer_all(crowd)
        assert told(crowd.members[1].only.json) == [vector(text) for text in texts(12)]
        assert len(crowd.flights) == 12
        for member in crowd.members:
            member.settle()

    def test_a_batch_that_failed_keeps_what_it_had(self, shared: bool) -> None:
        crowd = a_crowd(CACHE, shared=shared)
        (member,) = crowd.members
        member.ask(embeddings(["one", "two"]))
        answer_flight(crowd, crowd.flights[0])
        crowd.flights[1].open()
        crowd.step(crowd.flights[1], aws_error("ThrottlingException", 429))
        assert only_status(crowd) == 429
        member.ask(embeddings(["one", "two"]))
        assert answer_all(crowd) == 1
        assert told(only(crowd).json) == [vector("one"), vector("two")]


class TestUnreadable:
    def test_what_is_kept_and_is_no_answer_is_made_anew_and_kept(self) -> None:
        crowd = a_crowd(CACHE, shared=True)
        (member,) = crowd.members
        member.ask(embeddings(["one", "two"]))
        answer_all(crowd)
        for key in crowd.store:
            crowd.store[key] = pack(Entry(VERSION, "", [], b'{"embedding":"?"}'))
        member.ask(embeddings(["one", "two", "three"]))
        # What was kept is read as it comes, before the third text's call has an answer: all are made.
        assert answer_all(crowd) == 3
        assert told(only(crowd).json) == [vector(text) for text in ("one", "two", "three")]
        assert (member.records[-1]["attempts"], member.records[-1]["cache"]) == (3, "miss")
        assert member.records[-1]["input_tokens"] == 3 + 3 + 5
        member.ask(embeddings(["one", "two", "three"]))
        assert answer_all(crowd) == 0
        assert member.records[-1]["cache"] == "hit"
        member.settle()

    def test_but_only_once(self) -> None:
        crowd = a_crowd(CACHE, shared=True)
        (member,) = crowd.members
        member.ask(embeddings(["one", "two"]))
        answer_all(crowd)
        for key in crowd.store:
            crowd.store[key] = pack(Entry(VERSION, "", [], b"{}"))
        member.ask(embeddings(["one", "two"]))
        first, _ = in_the_air(crowd)
        first.open()
        crowd.step(first, http(b"{}"))
        assert (only(crowd).status, member.records[-1]["cause"]) == (502, "UPSTREAM_GARBLED")
        assert in_the_air(crowd) == []
        member.settle()

    def test_the_client_may_leave_meanwhile(self) -> None:
        crowd = a_crowd(CACHE, shared=True)
        (member,) = crowd.members
        member.ask(embeddings(["one", "two"]))
        answer_all(crowd)
        for key in crowd.store:
            crowd.store[key] = pack(Entry(VERSION, "", [], b"{}"))
        member.ask(embeddings(["one", "two"]))
        assert len(in_the_air(crowd)) == 2
        member.leave()
        assert in_the_air(crowd) == []
        member.settle()


class TestTargets:
    """A name that stands for one model at two places, and for another model at a third."""

    def config(self, **more: Any) -> Config:
        """The configuration."""
        targets = [
            ProxyTarget(name="here", region="us-east-1"),
            ProxyTarget(name="other", target=TITAN_G1),
            ProxyTarget(name="there", region="us-west-2"),
        ]
        models = {"embed": ModelTarget(TITAN, targets=targets)}
        retry = Retry(count=2, delay=1)
        return a_config(plugins=[proxy(models=models, retry=retry, breaker=CircuitBreaker(), **more), LOG])

    def test_a_batch_keeps_to_its_first_ones_model(self) -> None:
        bench = Bench(a_plan(self.config()))
        bench.ask(embeddings(["one", "two"], "embed"))
        for order in orders(bench).values():
            assert [one.region for one in order.directions] == ["us-east-1", "us-west-2"]
            assert {one.target.model for one in order.directions} == {TITAN}
            assert order.others == ()

    def test_a_call_that_fails_here_is_made_there(self) -> None:
        crowd = a_crowd(config=self.config())
        (member,) = crowd.members
        member.ask(embeddings(["one", "two", "three"], "embed"))
        flight = crowd.flights[0]
        flight.open()
        crowd.step(flight, aws_error("ThrottlingException", 429))
        flight.reply(answer=True)
        for number in (1, 2, 0):
            answer_flight(crowd, crowd.flights[number])
        assert told(only(crowd).json) == [vector(text) for text in ("one", "two", "three")]
        record = member.record
        assert (record["attempts"], record["target"], record["region"]) == (4, TITAN, "us-west-2")
        assert [word.split()[0] for word in record["tried"]] == [f"here/{TITAN}", f"there/{TITAN}"]
        member.settle()

    def test_whichever_is_drawn_first(self) -> None:
        models: set[str] = set()
        for seed in range(1, 30):
            bench = Bench(a_plan(self.config(balance="weighted")), seed=seed)
            bench.ask(embeddings(["one", "two"], "embed"))
            drawn = {one.target.model for order in orders(bench).values() for one in order.directions}
            assert len(drawn) == 1
            models |= drawn
        assert models == {TITAN, TITAN_G1}


class TestTable:
    def test_every_cell_is_a_rule_or_a_reason(self) -> None:
        cells = [(Gathering, event) for event in ExchangeEvent.__args__]
        assert all(cell in TABLE.rules for cell in cells)
        assert all(TABLE.reasons[cell].strip() for cell in cells if cell in TABLE.reasons)
