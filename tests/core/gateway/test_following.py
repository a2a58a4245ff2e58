"""The caller's side of a shared answer: ordered, begun, sent, ended, failed; and everything in between."""

from typing import Any, ClassVar, Final

import msgspec
import pytest

from stargate_core.clock import SECOND
from stargate_core.config.bedrock_proxy import ModelTarget, ProxyTarget
from stargate_core.config.schema import PluginEntry, Scope
from stargate_core.config.surfaces import SurfaceRow
from stargate_core.direction import Order, Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientStalled,
    Source,
)
from stargate_core.views import Access, HeaderFilter
from support.bedrock import EVENT_STREAM, chunk, converse_answer, converse_story, exception, stream_head
from support.machines import LOG, MODEL, Bench, a_config, a_plan, chat, converse, proxy, sse

STORY: Final = converse_story()
SSE_HEAD: Final = [(b"content-type", EVENT_STREAM.encode()), (b"x-amzn-requestid", b"aws-1")]
JSON_HEAD: Final = [(b"content-type", b"application/json")]
ANSWER: Final = converse_answer().partition(b"\r\n\r\n")[2]


class NoConfig(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Sharer:
    """Lets every answer be shared, and tells in a header where it came from."""

    NAME: ClassVar[str] = "sharer"
    PRIORITY: ClassVar[int] = 100
    CONFIG: ClassVar[type[msgspec.Struct]] = NoConfig
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)

    def __init__(self, config: NoConfig) -> None:
        pass

    def access(self, ctx: Access) -> None:
        """Share with all."""
        ctx.share(Sharing("", 300_000_000, 300_000_000))

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Tell the source."""
        source, age = ctx.source
        ctx.headers.append((b"x-source", f"{source.value if source else 'own'} {age}".encode()))


def a_bench() -> Bench:
    """A bench whose answers may be shared."""
    return Bench(a_plan(a_config(PluginEntry(name="sharer", config=NoConfig())), Sharer))


def ordered(bench: Bench) -> tuple[int, Order]:
    """The one order that waits."""
    ((ticket, follow),) = bench.followed.items()
    return ticket, follow.order


def begin(bench: Bench, source: Source = Source.MADE, **members: Any) -> int:
    """The answer begins; its ticket."""
    ticket, order = ordered(bench)
    head = SSE_HEAD if order.call.stream else JSON_HEAD
    bench.tell(AnswerBegan(ticket, source, head, **members))
    return ticket


def end(bench: Bench, ticket: int) -> None:
    """It is whole: nobody follows it any more."""
    del bench.followed[ticket]
    bench.tell(AnswerEnded(ticket))


class TestOrders:
    def test_the_call_is_ordered_and_not_made(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        _, order = ordered(bench)
        assert not bench.opened
        assert order.call.target.endswith(b"/converse")
        assert len(order.directions) == 1
        assert order.total_ns == 600 * SECOND
        assert order.sharing.ttl_us == 300_000_000

    def test_who_asks_the_same_orders_the_same(self) -> None:
        keys: set[str] = set()
        for _ in range(2):
            bench = a_bench()
            bench.ask(chat(user="somebody"))
            keys.add(ordered(bench)[1].key)
        other = a_bench()
        other.ask(chat(user="somebody", temperature=0.5))
        assert len(keys) == 1
        assert ordered(other)[1].key not in keys


class TestPlainAnswers:
    def test_one_is_translated_like_any_other(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        ticket = begin(bench, Source.KEPT, age_seconds=12)
        bench.tell(AnswerSent(ticket, ANSWER[:10]))
        bench.tell(AnswerSent(ticket, ANSWER[10:]))
        assert not bench.client.answers
        end(bench, ticket)
        assert bench.only.json["choices"][0]["message"]["content"] == "Hello there."
        assert bench.only.header("x-source") == "kept 12"
        assert (bench.record["cache"], bench.record["output_tokens"]) == ("hit", 5)
        assert "attempts" not in bench.record
        bench.settle()

    def test_ids_are_the_callers_own(self) -> None:
        seen: set[str] = set()
        for seed in (1, 2):
            bench = Bench(a_bench().plan, seed=seed)
            bench.ask(chat())
            ticket = begin(bench)
            bench.tell(AnswerSent(ticket, ANSWER))
            end(bench, ticket)
            seen.add(bench.only.json["id"])
        assert len(seen) == 2

    def test_one_that_fails_is_told_in_the_callers_words(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        ticket, _ = ordered(bench)
        del bench.followed[ticket]
        fault = Fault(Cause.UPSTREAM_THROTTLED, "Slow down", aws_name="ThrottlingException")
        bench.tell(AnswerFailed(ticket, fault, attempts=("us-east-1/m UPSTREAM_THROTTLED 3ms",)))
        assert (bench.only.status, bench.only.json["error"]["message"]) == (429, "Slow down")
        assert bench.record["tried"] == ["us-east-1/m UPSTREAM_THROTTLED 3ms"]
        bench.settle()

    def test_a_kept_one_that_cannot_be_read_is_as_good_as_none(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        ticket = begin(bench, Source.KEPT)
        bench.tell(AnswerSent(ticket, b'{"output":'))
        end(bench, ticket)
        bench.open()
        bench.answer(converse_answer())
        assert (bench.only.status, bench.only.header("x-source")) == (200, "own 0")
        bench.settle()

    def test_one_that_was_made_and_cannot_be_read_is_an_error(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        ticket = begin(bench, Source.MADE)
        bench.tell(AnswerSent(ticket, b'{"output":'))
        end(bench, ticket)
        assert bench.only.status == 502
        bench.settle()


class TestStreams:
    def test_one_flows_as_it_comes(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        ticket = begin(bench, Source.JOINED)
        bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle[:20]))
        assert not bench.client.answers
        bench.tell(AnswerSent(ticket, STORY.middle[20:]))
        assert bench.only.header("x-source") == "joined 0"
        bench.tell(AnswerSent(ticket, STORY.end))
        events = sse(bench.only.body)
        assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1]) == "Hello."
        assert events[-1] == "[DONE]"
        end(bench, ticket)
        assert bench.record["cache"] == "coalesced"
        bench.settle()

    def test_a_native_one_is_passed_on_byte_for_byte(self) -> None:
        bench = a_bench()
        bench.ask(converse("converse-stream"))
        ticket = begin(bench)
        for at in range(0, len(STORY.whole), 7):
            bench.tell(AnswerSent(ticket, STORY.whole[at : at + 7]))
        end(bench, ticket)
        assert bench.only.body == STORY.whole
        bench.settle()

    def test_an_end_before_bedrocks_own_is_a_cut(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        ticket = begin(bench)
        bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle))
        end(bench, ticket)
        assert sse(bench.only.body)[-1]["error"]["code"] == "upstream_stream_broken"
        bench.settle()

    def test_one_that_fails_on_its_way_fails_in_band(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        ticket = begin(bench)
        bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle))
        del bench.followed[ticket]
        bench.tell(AnswerFailed(ticket, Fault(Cause.STREAM_CUT)))
        events = sse(bench.only.body)
        assert events[-1]["error"]["code"] == "upstream_stream_broken"
        assert bench.record["usage_estimated"]
        bench.settle()

    def test_an_exception_inside_it_ends_it_and_stops_following(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        ticket = begin(bench)
        bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle + exception("throttlingException")))
        assert sse(bench.only.body)[-1]["error"]["code"] == "rate_limit_exceeded"
        bench.settle()

    def test_silence_is_kept_alive(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        bench.advance(40 * SECOND)
        assert bench.only.status == 200
        assert bench.only.body.count(b": keep-alive") == 2
        ticket = begin(bench)
        bench.tell(AnswerSent(ticket, STORY.whole))
        end(bench, ticket)
        assert sse(bench.only.body)[-1] == "[DONE]"
        bench.settle()

    def test_it_has_no_limits_of_its_own_but_the_total(self) -> None:
        """The flight watches the first token and silence."""
        bench = a_bench()
        bench.ask(converse("converse-stream"))
        begin(bench)
        bench.advance(599 * SECOND)
        assert not bench.client.answers
        bench.advance(SECOND)
        assert (bench.only.status, bench.record["cause"]) == (504, "TOTAL_TIMEOUT")
        bench.settle()


class TestCallers:
    @pytest.mark.parametrize("begun", [False, True])
    def test_one_that_leaves_stops_following(self, begun: bool) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        if begun:
            ticket = begin(bench)
            bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle))
        bench.leave()
        assert bench.record["outcome"] == "client_left"
        bench.settle()

    def test_one_that_takes_nothing_pauses_its_own_copy(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        ticket = begin(bench)
        bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle))
        bench.tell(ClientStalled())
        assert bench.paused == {ticket}
        bench.tell(ClientDrained())
        assert not bench.paused
        bench.tell(AnswerSent(ticket, STORY.end))
        end(bench, ticket)
        bench.settle()

    def test_one_that_has_yet_to_take_its_last_answer_waits(self) -> None:
        bench = a_bench()
        bench.tell(ClientStalled())
        bench.ask(chat())
        ticket, _ = ordered(bench)
        assert bench.paused == {ticket}
        bench.tell(ClientDrained())
        assert not bench.paused


class TestLateFacts:
    def test_facts_about_another_ticket_change_nothing(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        begin(bench)
        for event in (
            AnswerBegan(99, Source.MADE, SSE_HEAD),
            AnswerSent(99, STORY.whole),
            AnswerEnded(99),
            AnswerFailed(99, Fault(Cause.STREAM_CUT)),
        ):
            assert bench.tell(event) == []

    def test_nor_do_those_of_a_call_of_ones_own(self) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        bench.open()
        for event in (
            AnswerBegan(1, Source.MADE, SSE_HEAD),
            AnswerSent(1, STORY.whole),
            AnswerEnded(1),
            AnswerFailed(1, Fault(Cause.STREAM_CUT)),
        ):
            assert bench.tell(event) == []
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.answer(chunk(STORY.end))
        for event in (AnswerSent(1, b"x"), AnswerEnded(1), AnswerFailed(1, Fault(Cause.STREAM_CUT))):
            assert bench.tell(event) == []


class TestSeveralModels:
    def test_each_other_model_that_can_take_the_call_has_one_of_its_own(self) -> None:
        """OpenAI's own API gives several choices, and so may every model behind it; Converse gives one."""
        vendors, twin = "openai.gpt-oss-20b-1:0", "openai.gpt-oss-120b-1:0"
        targets = [ProxyTarget(region="us-east-1", target=model) for model in (vendors, MODEL, twin)]
        entries = [
            proxy(
                models={"any": ModelTarget(vendors, targets=targets)},
                surfaces={"openai": SurfaceRow(models=[vendors, twin])},
            ),
            LOG,
            PluginEntry(name="sharer", config=NoConfig()),
        ]
        for choices, others in ((1, [MODEL, twin]), (2, [twin])):
            bench = Bench(a_plan(a_config(plugins=entries), Sharer))
            bench.ask(chat(model="any", n=choices))
            _, order = ordered(bench)
            assert [target.model for target, _ in order.others] == others


class TestBehindBedrocksEnd:
    def test_what_follows_in_a_native_stream_is_passed_on_too(self) -> None:
        bench = a_bench()
        bench.ask(converse("converse-stream"))
        ticket = begin(bench)
        bench.tell(AnswerSent(ticket, STORY.whole))
        strange = converse_story(("More.",)).frames[1]
        bench.tell(AnswerSent(ticket, strange))
        end(bench, ticket)
        assert bench.only.body == STORY.whole + strange
        bench.settle()

    def test_an_answer_begins_once(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        ticket = begin(bench)
        assert bench.tell(AnswerBegan(ticket, Source.KEPT, SSE_HEAD, age_seconds=9)) == []
        bench.tell(AnswerSent(ticket, STORY.whole))
        end(bench, ticket)
        assert bench.only.header("x-source") == "made 0"


class TestWhoAnswered:
    def test_the_record_names_the_target_that_did(self) -> None:
        regions = ("us-east-1", "eu-west-1")
        targets = [ProxyTarget(name=region, region=region) for region in regions]
        entries = [proxy(targets=targets), LOG, PluginEntry(name="sharer", config=NoConfig())]
        for at, region in enumerate(regions):
            bench = Bench(a_plan(a_config(plugins=entries), Sharer))
            bench.ask(chat())
            ticket, order = ordered(bench)
            begin(bench, Source.JOINED, target=order.directions[at].name)
            bench.tell(AnswerSent(ticket, ANSWER))
            end(bench, ticket)
            assert (bench.only.status, bench.record["region"]) == (200, region)
            bench.settle()
