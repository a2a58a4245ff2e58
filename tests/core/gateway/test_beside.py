"""Calls that plugins make beside the caller's own, and words that are said for the model."""

from collections.abc import Generator
from typing import Any, Final

import pytest

from stargate_core.asking import CallFailed
from stargate_core.aws.operations import Operation
from stargate_core.clock import SECOND
from stargate_core.dialects.face import Call
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.upstream import ANSWER_BYTES_MAX
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    Follow,
    Source,
    Unanswered,
)
from support.hooks import entry, plugin_of
from support.machines import Bench, a_config, a_plan, chat, converse, request, sse

CALL: Final = Call(
    Operation.APPLY_GUARDRAIL, b"POST", b"/guardrail/a/version/1/apply", [], b"{}", stream=False
)
JSON: Final = [(b"content-type", b"application/json")]


def calling(seen: list[Any], *, priority: int = 500, timeout_ns: int = 5 * SECOND) -> Bench:
    """A gateway with a plugin that makes a call of its own, and keeps what comes of it."""

    def access(ctx: Any) -> Generator[Any, Any, None]:
        try:
            seen.append((yield from ctx.call(CALL, timeout_ns=timeout_ns)))
        except CallFailed as failed:
            seen.append(failed.fault)

    return Bench(a_plan(a_config(entry()), plugin_of({"access": access}, priority=priority)))


def follow(bench: Bench) -> Follow:
    """The one answer that is wanted."""
    (found,) = bench.followed.values()
    return found


class TestCalls:
    def test_one_is_ordered_and_its_answer_comes_back(self) -> None:
        seen: list[Any] = []
        bench = calling(seen)
        bench.ask(chat())
        order = follow(bench).order
        assert (order.call, order.sharing.share, order.sharing.ttl_us) == (CALL, False, 0)
        assert (order.total_ns, len(order.directions)) == (5 * SECOND, 1)
        assert order.directions[0].endpoint.host == "bedrock.test"
        ticket = follow(bench).ticket
        bench.tell(AnswerBegan(ticket, Source.MADE, JSON))
        bench.tell(AnswerSent(ticket, b'{"a":'))
        bench.tell(AnswerSent(ticket, b"1}"))
        del bench.followed[ticket]
        bench.tell(AnswerEnded(ticket))
        assert seen == [b'{"a":1}']
        assert bench.asked, "the caller's own call is made then"

    def test_one_that_fails(self) -> None:
        seen: list[Any] = []
        bench = calling(seen)
        bench.ask(chat())
        fault = Fault(Cause.UPSTREAM_THROTTLED)
        ticket = follow(bench).ticket
        del bench.followed[ticket]
        bench.tell(AnswerFailed(ticket, fault, ("here THROTTLED 1ms",)))
        assert seen == [fault]
        bench.leave()
        assert bench.record["tried"] == ["here THROTTLED 1ms"]

    def test_one_that_is_longer_than_an_answer_may_be(self) -> None:
        seen: list[Any] = []
        bench = calling(seen)
        bench.ask(chat())
        ticket = follow(bench).ticket
        bench.tell(AnswerBegan(ticket, Source.MADE, JSON))
        piece = b"x" * (ANSWER_BYTES_MAX // 2 + 1)
        bench.tell(AnswerSent(ticket, piece))
        bench.tell(AnswerSent(ticket, piece))
        del bench.followed[ticket]
        bench.tell(AnswerEnded(ticket))
        assert [fault.cause for fault in seen] == [Cause.UPSTREAM_GARBLED]

    def test_what_is_about_another_one_is_nothing(self) -> None:
        seen: list[Any] = []
        bench = calling(seen)
        bench.ask(chat())
        other = follow(bench).ticket + 1
        for late in (
            AnswerBegan(other, Source.MADE, JSON), AnswerSent(other, b"x"), AnswerEnded(other),
            AnswerFailed(other, Fault(Cause.INTERNAL)), Answered(other, None), Unanswered(other, "x"),
        ):  # fmt: skip
            bench.tell(late)
        assert seen == []
        assert len(bench.followed) == 1

    def test_a_caller_that_leaves_gives_it_up(self) -> None:
        bench = calling([])
        bench.ask(chat())
        bench.leave()
        bench.settle()
        assert bench.record["outcome"] == "client_left"

    def test_it_has_no_more_time_than_the_request(self) -> None:
        bench = calling([], timeout_ns=10_000 * SECOND)
        bench.ask(chat())
        assert follow(bench).order.total_ns == 600 * SECOND
        bench.advance(601 * SECOND)
        bench.settle()
        assert bench.record["cause"] == "TOTAL_TIMEOUT"

    def test_before_anybody_has_said_where_calls_go_there_is_none(self) -> None:
        bench = calling([], priority=900)
        bench.ask(chat())
        assert bench.only.status == 500
        assert "no plugin has said yet where calls go" in bench.record["detail"]


class TestWords:
    def said(self, sent: bytes, text: str = "Not here.") -> Bench:
        later: list[str] = []
        says = plugin_of({"access": lambda ctx: ctx.say(text)}, priority=500)
        last = plugin_of({"access": lambda ctx: later.append("ran")}, name="last", priority=1)
        bench = Bench(a_plan(a_config(entry(), entry("last")), says, last))
        bench.ask(sent)
        bench.settle()
        assert later == []
        assert (bench.record["stop_reason"], bench.record["outcome"]) == ("guardrail_intervened", "complete")
        assert not bench.opened
        return bench

    def test_to_openai(self) -> None:
        (choice,) = self.said(chat()).only.json["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("Not here.", "content_filter")

    def test_to_openai_in_a_stream(self) -> None:
        events = sse(self.said(chat(stream=True)).only.body)
        assert events[-1] == "[DONE]"
        choices = [event["choices"][0] for event in events[:-1] if event["choices"]]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Not here."
        assert choices[-1]["finish_reason"] == "content_filter"

    @pytest.mark.parametrize("stream", [False, True])
    def test_to_anthropic(self, stream: bool) -> None:
        messages = b'"messages": [{"role": "user", "content": "x"}]'
        body = b'{"model": "claude", "max_tokens": 5, "stream": %s, ' + messages + b"}"
        bench = self.said(request("/v1/messages", body % (b"true" if stream else b"false")))
        assert b'"stop_reason":"refusal"' in bench.only.body
        assert b"Not here." in bench.only.body

    @pytest.mark.parametrize("stream", [b"true", b"false"])
    def test_to_responses(self, stream: bytes) -> None:
        bench = self.said(
            request("/v1/responses", b'{"model": "claude", "input": "x", "stream": %s}' % stream)
        )
        assert b'"content_filter"' in bench.only.body
        assert b"Not here." in bench.only.body

    @pytest.mark.parametrize("operation", ["converse", "converse-stream"])
    def test_to_native_callers(self, operation: str) -> None:
        bench = self.said(converse(operation))
        assert b'"guardrail_intervened"' in bench.only.body
        assert bench.only.status == 200
