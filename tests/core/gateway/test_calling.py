"""Making a call as often as it takes: where and when it is made again, and when it is not.

The bench answers the questions that an exchange asks (turns, newer credentials), so each test decides what
the breaker and the keeper say. Which fault may be repeated where is the fault table's business; the test
over all causes holds each of its rows to what callers were promised.
"""

from typing import Any, Final

import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import AwsAccount, AwsCredentials, ModelTarget, ProxyTarget, Retry
from stargate_core.config.gateway_block import TimeLimits
from stargate_core.config.schema import Gateway
from stargate_core.config.surfaces import SurfaceRow
from stargate_core.direction import Sharing
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerSent,
    CredentialsChanged,
    Draining,
    Health,
    HealthChanged,
    ReleaseUpstream,
    SessionEvent,
    Source,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamFailed,
    UpstreamOpened,
)
from stargate_core.questions import CallEnded, RefreshCredentials, Turn
from stargate_core.secret import Secret
from support.bedrock import (
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    exception,
    stream_head,
)
from support.hooks import entry, plugin_of
from support.machines import MODEL, Bench, a_config, a_plan, chat, converse, proxy, sse

STORY: Final = converse_story()
THROTTLED: Final = aws_error("ThrottlingException", 429)
BROKEN: Final = aws_error("InternalServerException", 500)
QUOTA: Final = aws_error("ServiceQuotaExceededException", 400)
REFUSED: Final = aws_error("ValidationException", 400)
EXPIRED: Final = aws_error("ExpiredTokenException", 403)
REGIONS: Final = ("us-east-1", "us-west-2", "eu-west-1")


def a_bench(count: int = 3, delay: int = 1000, regions: int = 1, seed: int = 1, **config: Any) -> Bench:
    """A bench whose calls are repeated so often, at so many targets, each with an endpoint of its own."""
    if regions > 1:
        config["targets"] = [
            ProxyTarget(name=region, region=region, endpoint_url=f"http://{region}.test:80")
            for region in REGIONS[:regions]
        ]
    entry = proxy(retry=Retry(count=count, delay=delay), **config)
    plan = a_plan(a_config(plugins=[entry, *a_config().plugins[1:]]))
    return Bench(plan, seed=seed)


def answered(answer: bytes, **options: Any) -> Bench:
    """A bench with a chat whose first call has been answered like this."""
    bench = a_bench(**options)
    bench.ask(chat())
    bench.open()
    bench.answer(answer)
    return bench


def grant(bench: Bench, *, granted: bool = True) -> Turn:
    """The breaker answers; what it was asked."""
    question = bench.reply(granted)
    assert isinstance(question, Turn)
    return question


def rest_until_asked(bench: Bench, at_most_ns: int = 60 * SECOND) -> int:
    """Let time pass until a question is asked; how long that took."""
    began = bench.now
    while not bench.questions:
        deadline = bench.session.deadline
        assert deadline is not None
        assert deadline - began <= at_most_ns, "nothing is asked"
        bench.advance(deadline - bench.now)
    return bench.now - began


def where(bench: Bench) -> list[str]:
    """The hosts that were called, in order."""
    return [opened.endpoint.host.removesuffix(".test") for opened in bench.opened]


class TestOneTarget:
    def test_a_failed_call_is_made_again_after_a_pause(self) -> None:
        bench = answered(THROTTLED)
        assert not bench.client.answers, "the caller waits"
        assert 0 < rest_until_asked(bench) <= SECOND
        assert grant(bench).repeats
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert bench.record["attempts"] == 2
        assert [line.split()[-2] for line in bench.record["tried"]] == ["UPSTREAM_THROTTLED", "OK"]
        bench.settle()

    def test_each_attempt_is_the_same_call_signed_anew(self) -> None:
        bench = answered(BROKEN)
        bench.advance(2 * SECOND)
        grant(bench)
        bench.open()
        first, second = bench.calls
        assert (first.target, first.body) == (second.target, second.body)
        assert first.headers["x-amz-date"] < second.headers["x-amz-date"]
        assert first.headers["authorization"] != second.headers["authorization"]

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_no_more_often_than_configured(self, count: int) -> None:
        bench = a_bench(count)
        bench.ask(chat())
        for attempt in range(count + 1):
            if attempt:
                rest_until_asked(bench)
                grant(bench)
            bench.open()
            bench.answer(THROTTLED)
        assert (bench.only.status, bench.record["attempts"]) == (429, count + 1)
        assert bench.only.header("retry-after") == "1"
        bench.settle()

    def test_pauses_grow_and_are_drawn(self) -> None:
        """Full jitter: from nothing up to 1, 2, 4 seconds; a crowd of sessions does not come back as one."""
        pauses: list[list[int]] = []
        for seed in range(60):
            bench = a_bench(seed=seed)
            bench.ask(chat())
            bench.open()
            drawn: list[int] = []
            for _ in range(3):
                bench.answer(BROKEN)
                drawn.append(rest_until_asked(bench))
                grant(bench)
                bench.open()
            pauses.append(drawn)
        for number, longest in enumerate((SECOND, 2 * SECOND, 4 * SECOND)):
            column = [drawn[number] for drawn in pauses]
            assert 0 <= min(column) < longest // 5
            assert longest * 4 // 5 < max(column) <= longest
            assert len(set(column)) == len(column)

    def test_retry_after_is_waited_for(self) -> None:
        bench = answered(aws_error("ThrottlingException", 429, retry_after="7"), delay=0)
        assert rest_until_asked(bench) == 7 * SECOND

    def test_one_that_is_too_long_is_the_callers_to_wait_for(self) -> None:
        bench = answered(aws_error("ThrottlingException", 429, retry_after="45"))
        assert (bench.only.status, bench.only.header("retry-after")) == (429, "45")
        bench.settle()

    def test_no_pause_outlasts_the_exchange(self) -> None:
        bench = answered(aws_error("ThrottlingException", 429, retry_after="6"), timeout=5000)
        assert (bench.only.status, bench.record["cause"]) == (429, "UPSTREAM_THROTTLED")
        assert bench.now == 0
        bench.settle()

    def test_the_total_limit_ends_it_in_a_pause(self) -> None:
        bench = a_bench(timeout=3000, delay=60_000)
        bench.ask(chat())
        for _ in range(40):  # Until a pause is drawn that fits.
            if bench.client.answers:
                break
            bench.open()
            bench.answer(BROKEN)
            while not (bench.questions or bench.client.answers):
                bench.advance(100 * MILLISECOND)
            if bench.questions:
                grant(bench)
        assert bench.only.status in (500, 504)
        assert bench.now <= 3 * SECOND
        bench.settle()

    def test_the_budget_may_forbid_it(self) -> None:
        bench = answered(THROTTLED)
        rest_until_asked(bench)
        grant(bench, granted=False)
        assert (bench.only.status, bench.record["attempts"]) == (429, 1)
        bench.settle()

    def test_a_breaker_that_does_not_answer_forbids_nothing(self) -> None:
        bench = answered(THROTTLED)
        rest_until_asked(bench)
        bench.fail_question("no breaker")
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200

    @pytest.mark.parametrize("answer", [REFUSED, QUOTA, aws_error("ResourceNotFoundException", 404)])
    def test_what_would_only_fail_again_is_not_repeated(self, answer: bytes) -> None:
        bench = answered(answer)
        assert len(bench.client.answers) == 1
        assert bench.record["attempts"] == 1
        bench.settle()

    def test_a_connection_that_does_not_open_is_tried_again(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        bench.refuse(Trouble.REFUSED)
        rest_until_asked(bench)
        grant(bench)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert bench.record["attempts"] == 1, "one call was written"
        assert len(bench.record["tried"]) == 2

    def test_a_draining_gateway_repeats_nothing(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        bench.open()
        bench.tell(Draining(30 * SECOND))
        bench.answer(THROTTLED)
        assert bench.only.status == 429
        bench.settle()

    def test_nor_one_that_drains_during_the_pause(self) -> None:
        bench = answered(THROTTLED)
        bench.tell(Draining(30 * SECOND))
        bench.advance(2 * SECOND)
        assert bench.only.status == 429
        bench.settle()


class TestStreams:
    def start(self, **options: Any) -> Bench:
        """A stream is asked for, and its head has come."""
        bench = a_bench(**options)
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head())
        return bench

    def test_an_exception_before_the_first_word_is_repeated(self) -> None:
        bench = self.start()
        bench.answer(chunk(exception("throttlingException")))
        assert not bench.client.answers
        rest_until_asked(bench)
        grant(bench)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        events = sse(bench.only.body)
        assert events[-1] == "[DONE]"
        assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1]) == "Hello."
        bench.settle()

    def test_nothing_of_the_failed_attempt_is_told(self) -> None:
        """It had begun (a role, no word yet); the second one begins from the beginning."""
        bench = self.start()
        bench.answer(chunk(STORY.frames[0]))
        bench.upstream_breaks()
        rest_until_asked(bench)
        grant(bench)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        roles = [e for e in sse(bench.only.body)[:-1] if "role" in e["choices"][0]["delta"]]
        assert len(roles) == 1

    def test_after_the_first_word_nothing_is(self) -> None:
        bench = self.start()
        bench.answer(chunk(STORY.beginning + STORY.middle))
        assert bench.only.status == 200
        bench.answer(chunk(exception("throttlingException")))
        assert sse(bench.only.body)[-1]["error"]["code"] == "rate_limit_exceeded"
        assert bench.record["attempts"] == 1
        bench.settle()

    def test_nor_after_a_keep_alive(self) -> None:
        bench = self.start()
        bench.advance(16 * SECOND)
        assert bench.only.status == 200
        bench.answer(chunk(exception("throttlingException")))
        assert sse(bench.only.body)[-1]["error"]["code"] == "rate_limit_exceeded"
        bench.settle()

    def test_no_stream_is_silent_for_long_because_of_repetitions(self) -> None:
        """However many calls fail: a balancer would hang up. It gets a keep-alive, or an honest error."""
        statuses = set[int]()
        for seed in range(20):
            bench = a_bench(count=10, delay=2000, seed=seed)
            bench.ask(chat(stream=True))
            while not bench.client.answers:
                bench.open()
                for _ in range(4):
                    if not bench.client.answers:
                        bench.advance(SECOND)
                if not bench.client.answers:
                    bench.answer(BROKEN)
                if not bench.client.answers:
                    rest_until_asked(bench)
                    grant(bench)
            assert bench.now <= 16 * SECOND
            statuses.add(bench.client.answers[0].status)
        assert statuses == {200, 500}

    def test_the_first_token_limit_is_a_reason(self) -> None:
        # Of a native stream: in OpenAI's dialect the keep-alive would commit it first.
        bench = a_bench(regions=2)
        bench.ask(converse("converse-stream"))
        bench.open()
        bench.answer(stream_head())
        bench.advance(60 * SECOND)
        assert grant(bench).target.startswith("us-west-2/")
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        assert (bench.only.status, bench.only.body) == (200, STORY.whole)
        assert where(bench) == ["us-east-1", "us-west-2"]
        assert bench.record["tried"][0].split()[1:] == ["FIRST_TOKEN_TIMEOUT", "60000ms"]
        bench.settle()

    def test_what_needs_no_pause_is_done_even_where_a_keep_alive_is_due(self) -> None:
        gateway = Gateway(time_limits=TimeLimits(first_token=15), keepalive_seconds=15)
        targets = [ProxyTarget(name=one, endpoint_url=f"http://{one}.test:80") for one in REGIONS[:2]]
        entry = proxy(retry=Retry(count=1), targets=targets)
        plan = a_plan(a_config(gateway=gateway, plugins=[entry, *a_config().plugins[1:]]))
        bench = Bench(plan)
        bench.ask(chat(stream=True))
        bench.open()
        bench.advance(15 * SECOND)
        assert not bench.client.answers
        assert grant(bench).target.startswith("us-west-2/")


class TestSeveralTargets:
    def test_the_next_one_is_called_at_once(self) -> None:
        bench = answered(THROTTLED, regions=3)
        assert bench.now == 0
        turn = grant(bench)
        assert (turn.target, turn.repeats) == (f"us-west-2/{MODEL}", True)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert where(bench) == ["us-east-1", "us-west-2"]
        assert bench.record["region"] == "us-west-2"
        bench.settle()

    def test_a_pause_comes_when_all_have_been_tried(self) -> None:
        bench = a_bench(count=5, regions=2)
        bench.ask(chat())
        waits: list[bool] = []
        for _ in range(4):
            bench.open()
            bench.answer(BROKEN)
            waits.append(rest_until_asked(bench) > 0)
            grant(bench)
        assert waits == [False, True, False, True]
        assert where(bench) == ["us-east-1", "us-west-2"] * 2 + ["us-east-1"]

    def test_one_that_gives_no_turn_is_passed_over(self) -> None:
        bench = answered(THROTTLED, regions=3)
        assert grant(bench, granted=False).target.startswith("us-west-2/")
        assert grant(bench).target.startswith("eu-west-1/")
        bench.open()
        bench.answer(converse_answer())
        assert (bench.now, bench.only.status) == (0, 200)
        assert where(bench) == ["us-east-1", "eu-west-1"]
        bench.settle()

    def test_where_none_gives_one_the_caller_hears_the_fault(self) -> None:
        bench = answered(THROTTLED, regions=3)
        grant(bench, granted=False)
        grant(bench, granted=False)
        assert (bench.only.status, bench.record["region"]) == (429, "us-east-1")
        assert len(bench.record["tried"]) == 1
        bench.settle()

    def test_those_that_have_refused_for_good_are_not_come_back_to(self) -> None:
        bench = answered(QUOTA, regions=3)
        grant(bench)
        bench.open()
        bench.answer(QUOTA)
        assert grant(bench, granted=False).target.startswith("eu-west-1/")
        assert (bench.only.status, where(bench)) == (503, ["us-east-1", "us-west-2"])
        bench.settle()

    def test_one_without_credentials_is_passed_over(self) -> None:
        targets = [
            ProxyTarget(region="us-east-1", endpoint_url="http://us-east-1.test:80"),
            ProxyTarget(region="us-west-2", endpoint_url="http://us-west-2.test:80", account="other"),
            ProxyTarget(region="eu-west-1", endpoint_url="http://eu-west-1.test:80"),
        ]
        bench = answered(THROTTLED, targets=targets, accounts={"other": AwsAccount(profile="other")})
        grant(bench)
        assert where(bench) == ["us-east-1", "eu-west-1"]

    def test_none_is_come_back_to_before_its_retry_after(self) -> None:
        bench = answered(aws_error("ThrottlingException", 429, retry_after="7"), delay=0, regions=2)
        grant(bench)
        bench.open()
        bench.advance(2 * SECOND)
        bench.answer(BROKEN)
        assert rest_until_asked(bench) == 5 * SECOND
        assert grant(bench).target.startswith("us-east-1/")

    def test_each_call_is_signed_for_its_own_region(self) -> None:
        bench = answered(THROTTLED, regions=2)
        grant(bench)
        bench.open()
        scopes = [call.headers["authorization"].partition(",")[0].split("/")[2] for call in bench.calls]
        assert scopes == ["us-east-1", "us-west-2"]

    def test_a_quota_is_another_regions_matter(self) -> None:
        bench = answered(QUOTA, regions=2)
        grant(bench)
        bench.open()
        bench.answer(QUOTA)
        assert bench.only.status == 503
        assert bench.only.json["error"]["code"] == "insufficient_quota"
        assert where(bench) == ["us-east-1", "us-west-2"]
        bench.settle()

    def test_a_bad_request_is_bad_everywhere(self) -> None:
        bench = answered(REFUSED, regions=3)
        assert (bench.only.status, bench.record["attempts"]) == (400, 1)
        bench.settle()

    def test_another_model_gets_a_call_of_its_own(self) -> None:
        targets = [
            ProxyTarget(region="us-east-1"),
            ProxyTarget(region="us-east-1", target="amazon.nova-lite-v1:0"),
        ]
        bench = a_bench(models={"claude": ModelTarget(MODEL, targets=targets)})
        bench.ask(chat(model="claude"))
        bench.open()
        bench.answer(THROTTLED)
        grant(bench)
        bench.open()
        bench.answer(converse_answer())
        assert [call.target for call in bench.calls] == [
            f"/model/{model.replace(':', '%3A')}/converse" for model in (MODEL, "amazon.nova-lite-v1:0")
        ]
        assert bench.only.json["model"] == "claude"
        assert bench.record["target"] == "amazon.nova-lite-v1:0"

    def test_attempts_are_told_where_an_operator_wants_it(self) -> None:
        bench = answered(THROTTLED, regions=2, attempts_header=True)
        grant(bench)
        bench.open()
        bench.answer(converse_answer())
        told = bench.only.header("x-stargate-attempts")
        assert told is not None
        assert [part.split()[:2] for part in told.split(", ")] == [
            [f"us-east-1/{MODEL}", "UPSTREAM_THROTTLED"],
            [f"us-west-2/{MODEL}", "OK"],
        ]

    def test_also_where_the_first_one_goes_well(self) -> None:
        bench = answered(converse_answer(), regions=2, attempts_header=True)
        assert bench.only.header("x-stargate-attempts") == f"us-east-1/{MODEL}"
        assert not bench.record.get("tried")

    def test_but_no_target_that_was_not_called(self) -> None:
        bench = a_bench(attempts_header=True, regions=2)
        for region in REGIONS[:2]:
            bench.tell(HealthChanged(f"{region}/{MODEL}", Health.HALF_OPEN))
        bench.ask(chat())
        grant(bench, granted=False)
        grant(bench, granted=False)
        assert (bench.only.status, bench.only.header("x-stargate-attempts")) == (503, None)

    def test_and_not_otherwise(self) -> None:
        bench = answered(converse_answer())
        assert bench.only.header("x-stargate-attempts") is None


def left_alone(region: str, until_ns: int = 10 * SECOND) -> HealthChanged:
    """The breaker of a region's target is open."""
    return HealthChanged(f"{region}/{MODEL}", Health.OPEN, until_ns)


class TestBreakers:
    def test_a_target_that_is_left_alone_is_passed_over(self) -> None:
        bench = a_bench(regions=2)
        bench.tell(left_alone("us-east-1"))
        bench.ask(chat())
        assert where(bench) == ["us-west-2"]
        assert not bench.questions

    def test_where_all_are_the_caller_hears_how_long(self) -> None:
        bench = a_bench(regions=2)
        bench.tell(left_alone("us-east-1", 9 * SECOND))
        bench.tell(left_alone("us-west-2", 5 * SECOND + 1))
        bench.ask(chat())
        assert (bench.only.status, bench.only.header("retry-after")) == (503, "6")
        assert bench.only.header("x-should-retry") == "true"
        assert bench.record["cause"] == "CIRCUIT_OPEN"
        assert not bench.opened
        bench.settle()

    def test_a_target_on_trial_is_asked_for(self) -> None:
        bench = a_bench(regions=2)
        bench.tell(HealthChanged(f"us-east-1/{MODEL}", Health.HALF_OPEN))
        bench.ask(chat())
        assert not bench.opened
        assert not grant(bench).repeats
        assert where(bench) == ["us-east-1"]

    def test_where_somebody_else_is_on_trial_the_next_one_is_called(self) -> None:
        bench = a_bench(regions=2)
        bench.tell(HealthChanged(f"us-east-1/{MODEL}", Health.HALF_OPEN))
        bench.ask(chat())
        grant(bench, granted=False)
        assert where(bench) == ["us-west-2"]
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        bench.settle()

    def test_or_nobody_is(self) -> None:
        bench = a_bench(regions=2)
        for region in REGIONS[:2]:
            bench.tell(HealthChanged(f"{region}/{MODEL}", Health.HALF_OPEN))
        bench.ask(chat())
        grant(bench, granted=False)
        grant(bench, granted=False)
        assert (bench.only.status, bench.record["cause"]) == (503, "CIRCUIT_OPEN")
        bench.settle()

    def test_one_that_is_healthy_again_is_called(self) -> None:
        bench = a_bench(regions=2)
        bench.tell(left_alone("us-east-1"))
        bench.tell(HealthChanged(f"us-east-1/{MODEL}", Health.CLOSED))
        bench.ask(chat())
        assert where(bench) == ["us-east-1"]
        assert not bench.questions

    def test_a_repetition_avoids_those_left_alone(self) -> None:
        bench = a_bench(regions=3)
        bench.ask(chat())
        bench.open()
        bench.tell(left_alone("us-west-2"))
        bench.answer(THROTTLED)
        assert grant(bench).target.startswith("eu-west-1/")

    def test_one_left_alone_during_the_pause_is_not_called_after_it(self) -> None:
        bench = answered(BROKEN, endpoint_url="http://us-east-1.test:80")
        (reported,) = bench.told
        assert isinstance(reported, CallEnded)
        bench.tell(HealthChanged(reported.target, Health.OPEN, 10 * SECOND))
        bench.advance(2 * SECOND)
        assert (bench.only.status, bench.record["attempts"]) == (500, 1)
        bench.settle()

    def test_the_other_is_called_then(self) -> None:
        bench = answered(BROKEN, count=5, regions=2)
        grant(bench)
        bench.open()
        bench.answer(BROKEN)
        bench.tell(left_alone("us-east-1"))
        bench.advance(2 * SECOND)
        assert not bench.questions
        assert bench.only.status == 500, "the other one has just failed"
        bench.settle()

    def test_nor_is_the_third_when_the_second_is(self) -> None:
        bench = a_bench(count=5, regions=3)
        bench.ask(chat())
        for _ in range(2):
            bench.open()
            bench.answer(BROKEN)
            grant(bench)
        bench.open()
        bench.answer(BROKEN)
        bench.tell(left_alone("us-east-1"))
        bench.advance(2 * SECOND)
        assert grant(bench).target.startswith("us-west-2/")

    @pytest.mark.parametrize(
        ("answer", "ok"),
        [(converse_answer(), True), (THROTTLED, True), (REFUSED, True), (BROKEN, False), (QUOTA, True)],
    )
    def test_each_attempt_is_reported_once(self, answer: bytes, ok: bool) -> None:
        bench = answered(answer, count=0)
        (reported,) = bench.told
        assert isinstance(reported, CallEnded)
        assert (reported.ok, reported.first) == (ok, True)
        bench.settle()

    def test_a_target_that_was_not_called_is_not_spoken_of(self) -> None:
        """All connections may be busy because it does not answer: that must not count as health."""
        bench = a_bench(count=0)
        bench.ask(chat())
        bench.refuse(Trouble.POOL_TIMEOUT)
        assert (bench.only.status, bench.record["cause"]) == (504, "POOL_TIMEOUT")
        assert not bench.told
        bench.settle()

    def test_nor_is_one_that_has_not_answered_when_the_time_is_up(self) -> None:
        bench = a_bench(count=0, timeout=5000)
        bench.ask(chat())
        bench.open()
        bench.advance(5 * SECOND)
        assert (bench.only.status, bench.record["cause"]) == (504, "TOTAL_TIMEOUT")
        assert not bench.told
        bench.settle()

    def test_repetitions_do_not_pay_into_the_budget(self) -> None:
        bench = answered(BROKEN, regions=2)
        grant(bench)
        bench.open()
        bench.answer(converse_answer())
        assert [(one.ok, one.first) for one in bench.told if isinstance(one, CallEnded)] == [
            (False, True),
            (True, False),
        ]

    def test_a_break_in_mid_stream_speaks_against_the_target(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.upstream_breaks()
        (reported,) = bench.told
        assert isinstance(reported, CallEnded)
        assert not reported.ok

    def test_a_caller_that_leaves_says_nothing_bad(self) -> None:
        bench = a_bench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.leave()
        assert [one.ok for one in bench.told if isinstance(one, CallEnded)] == [True]


class TestCredentials:
    def test_refused_ones_are_refreshed_once(self) -> None:
        bench = answered(EXPIRED, count=0)
        assert not bench.client.answers
        (question,) = bench.asks
        assert question == RefreshCredentials("", "AKIDSTARGATE")
        bench.tell(CredentialsChanged("", Credentials("AKIDNEW", Secret("new"))))
        bench.reply(True)
        bench.open()
        assert "Credential=AKIDNEW/" in bench.call.headers["authorization"]
        bench.answer(converse_answer())
        assert (bench.only.status, bench.record["attempts"]) == (200, 2)
        assert [line.split()[-2] for line in bench.record["tried"]] == ["UPSTREAM_CREDENTIALS", "OK"]
        assert [one.first for one in bench.told if isinstance(one, CallEnded)] == [True, False]
        bench.settle()

    def test_and_not_twice(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        for _ in range(2):
            bench.open()
            bench.answer(EXPIRED)
            if bench.questions:
                bench.reply(True)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (502, "upstream_auth")
        assert bench.only.header("x-should-retry") == "false"
        assert bench.record["attempts"] == 2
        bench.settle()

    def test_where_there_are_none_left_the_refusal_is_told(self) -> None:
        bench = answered(EXPIRED)
        bench.tell(CredentialsChanged("", None))
        bench.reply(True)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (502, "upstream_auth")
        bench.settle()

    def test_fixed_ones_are_not_looked_for(self) -> None:
        fixed = AwsCredentials(access_key_id="AKIDFIXED", secret_access_key=Secret("s"))
        bench = answered(EXPIRED, credentials=fixed)
        assert bench.only.status == 502
        assert not bench.asks
        bench.settle()

    def test_a_target_without_credentials_is_passed_over(self) -> None:
        bench = a_bench(regions=2)
        bench.tell(CredentialsChanged("", None))
        bench.ask(chat())
        assert (bench.only.status, bench.record["cause"]) == (503, "CREDENTIALS_MISSING")
        assert not bench.opened
        bench.settle()


class TestLeaving:
    """A caller that goes withdraws whatever was asked on its behalf, wherever the call stands."""

    def test_in_a_pause(self) -> None:
        bench = answered(THROTTLED)
        bench.leave()
        bench.settle()
        assert bench.record["outcome"] == "client_left"

    def test_while_a_turn_is_asked_for(self) -> None:
        bench = answered(THROTTLED, regions=2)
        assert bench.questions
        bench.leave()
        bench.settle()

    def test_while_a_connection_is_opened_for_the_second_attempt(self) -> None:
        """The first one's answer must not be taken for that of a call which was never made."""
        bench = answered(BROKEN, regions=2)
        grant(bench)
        bench.leave()
        bench.settle()
        assert [one.ok for one in bench.told if isinstance(one, CallEnded)] == [False]
        assert len(bench.record["tried"]) == 1

    def test_while_credentials_are_looked_for(self) -> None:
        bench = answered(EXPIRED)
        bench.leave()
        bench.settle()

    def test_the_total_limit_strikes_while_something_is_asked(self) -> None:
        bench = answered(EXPIRED, timeout=5000)
        bench.advance(5 * SECOND)
        assert (bench.only.status, bench.record["cause"]) == (504, "TOTAL_TIMEOUT")
        bench.settle()


class TestLateFacts:
    @pytest.mark.parametrize("fact", [Answered(4711, True), Unanswered(4711, "late")], ids=repr)
    def test_an_answer_to_another_question_changes_nothing(self, fact: SessionEvent) -> None:
        bench = answered(THROTTLED, regions=2)
        assert len(bench.questions) == 1
        assert bench.tell(fact) == []
        grant(bench)
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        bench.settle()

    @pytest.mark.parametrize("fact", [UpstreamFailed(4711, Trouble.REFUSED), UpstreamOpened(4711, 9, False)])
    def test_nor_does_what_became_of_another_lease(self, fact: SessionEvent) -> None:
        bench = a_bench()
        bench.ask(chat())
        before = bench.session.handle(bench.now, fact)
        assert before == ([ReleaseUpstream(9)] if isinstance(fact, UpstreamOpened) else [])
        bench.open()
        bench.answer(converse_answer())
        assert (bench.only.status, bench.record["attempts"]) == (200, 1)

    def test_a_lease_that_is_told_twice_is_not_given_back(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        lease = bench.open()
        assert bench.tell(UpstreamOpened(4711, lease, False)) == []


class TestLateTicks:
    """A shell ticks when it can; what is due by then is done in its order."""

    def pausing(self, **options: Any) -> Bench:
        bench = answered(aws_error("ThrottlingException", 429, retry_after="5"), timeout=20_000, **options)
        assert not bench.questions
        assert not bench.client.answers
        return bench

    def test_in_time_the_call_is_made_again(self) -> None:
        bench = self.pausing()
        rest_until_asked(bench)
        assert bench.now == 5 * SECOND

    def test_when_the_total_limit_has_come_as_well_it_is_not(self) -> None:
        bench = self.pausing()
        bench.now = 21 * SECOND
        bench.tell(Ticked())
        assert (bench.only.status, bench.record["cause"]) == (504, "TOTAL_TIMEOUT")
        bench.settle()


class TestOtherModels:
    """Not every target can take every call: OpenAI's own API has several choices, Converse has not."""

    VENDORS: Final = "openai.gpt-oss-20b-1:0"

    def bench(self) -> Bench:
        targets = [ProxyTarget(region="us-east-1"), ProxyTarget(region="us-east-1", target=MODEL)]
        return a_bench(
            models={"both": ModelTarget(self.VENDORS, targets=targets)},
            surfaces={"openai": SurfaceRow(models=[self.VENDORS])},
        )

    def test_one_that_cannot_is_not_asked_for_a_turn(self) -> None:
        bench = self.bench()
        bench.ask(chat(model="both", n=2))
        bench.open()
        bench.answer(QUOTA)
        assert not bench.questions
        assert len(bench.calls) == 1
        assert bench.only.status == 503
        bench.settle()

    def test_where_it_is_the_only_one_left_the_caller_hears_why_it_cannot(self) -> None:
        bench = self.bench()
        name = f"bedrock.test:8000/openai/v1/us-east-1/{self.VENDORS}"
        bench.tell(HealthChanged(name, Health.OPEN, until_ns=60 * SECOND))
        bench.ask(chat(model="both", n=2))
        assert (bench.only.status, bench.only.json["error"]["param"]) == (400, "n")
        assert not bench.opened
        bench.settle()


class TestLeasesInVain:
    """A connection stands, and nothing can be written on it: it goes back clean."""

    def test_the_credentials_have_gone_meanwhile(self) -> None:
        bench = a_bench()
        bench.ask(chat())
        bench.tell(CredentialsChanged("", None))
        bench.open()
        assert not bench.dropped
        assert (bench.only.status, bench.record["cause"]) == (503, "CREDENTIALS_MISSING")
        bench.settle()

    def test_they_fit_into_no_header(self) -> None:
        bench = a_bench()
        bench.tell(CredentialsChanged("", Credentials("AKID\r\nx: y", Secret("s"))))
        bench.ask(chat())
        bench.open()
        assert not bench.dropped
        assert bench.record["cause"] == "CREDENTIALS_MISSING"
        assert "do not fit into a header" in bench.record["detail"]
        bench.settle()


class TestSharedAnswers:
    """What others get too is not made again here, unless it was kept and is of no use."""

    @staticmethod
    def ordered(source: Source) -> tuple[Bench, int]:
        """A bench whose answer comes from there, and begins to; its ticket."""

        def share(ctx: Any) -> None:
            ctx.share(Sharing("", 60_000_000, 60_000_000))

        bench = Bench(a_plan(a_config(entry()), plugin_of({"access": share}, priority=1)))
        bench.ask(chat())
        (ticket,) = bench.followed
        bench.tell(AnswerBegan(ticket, source, [(b"content-type", b"application/json")]))
        bench.tell(AnswerSent(ticket, b"garbage"))
        del bench.followed[ticket]
        bench.tell(AnswerEnded(ticket))
        return bench, ticket

    def test_a_kept_one_that_cannot_be_read_is_as_good_as_none(self) -> None:
        bench, _ = self.ordered(Source.KEPT)
        bench.open()
        bench.answer(converse_answer())
        assert (bench.only.status, bench.record["attempts"]) == (200, 1)
        assert not bench.record.get("cache")
        bench.settle()

    @pytest.mark.parametrize("source", [Source.MADE, Source.JOINED])
    def test_one_that_was_made_has_failed(self, source: Source) -> None:
        bench, _ = self.ordered(source)
        assert not bench.opened
        assert (bench.only.status, bench.record["cause"]) == (502, "UPSTREAM_GARBLED")
        bench.settle()
