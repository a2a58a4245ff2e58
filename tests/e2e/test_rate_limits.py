"""The rate limiter in running gateways: four processes that share a Redis, and one that counts in memory.

What is claimed is exact, so it is counted at both ends: by the answers, and by what has reached the simulated
Bedrock. A limit is never exceeded, however many gateways there are; what is settled is what the log records
say was used; what was refused has used nothing.

The store's time limit is set high here: on a busy machine a question may take longer than the usual 50 ms,
and then each gateway would count for itself. What happens then is test_store_trouble.py's.
"""

import contextlib
import datetime
import json
import signal
import socket
import time
from collections.abc import Generator, Sequence
from typing import Any, Final

import botocore.exceptions
import openai
import pytest

from support.gateway import ACCESS_KEY_ID, RunningGateway, eventually, on_linux, running_gateway
from support.limits import CROWD, Watch, ask, bucket, count, crowd, drive, key_of, limited, tokens
from support.raw import Answer, Raw, chat, connected, converse, request
from support.redis import RunningRedis, running_redis
from support.simulator import RunningSimulator, bedrock_client, running_simulator

STORE_TIMEOUT_MS: Final = 5_000
WINDOWS: Final = ("second", "minute", "hour", "day", "month")
HELD: Final = "[[simulator: stall-before-headers]]"
"""A call that does not end by itself."""
SECOND_KEY: Final = "sk-by-key-second-0123456789"
TOKENS_OUT: Final = 200
SHORT: Final = "[[simulator: words=5 input-tokens=7 first-token-ms=60]]"


def exact(unit: str, limit: int, **more: Any) -> dict[str, Any]:
    """One limit that a test reads in Redis: the bucket of a month is one number."""
    return {"limits": [{"unit": unit, "limit": limit, "window": "month", **more}]}


def body_of(text: str, **more: Any) -> bytes:
    return chat(text, max_tokens=TOKENS_OUT, **more)


def reserved_for(body: bytes) -> int:
    """What a chat request reserves: four bytes are a token, and all the output that it allows."""
    return -(-len(body) // 4) + TOKENS_OUT


PLENTY: Final = {
    **dict.fromkeys(WINDOWS, 1000),
    "tokens_per_minute": 100_000,
    "tokens_per_month": 50_000,
    "input_tokens_per_hour": 90_000,
    "output_tokens_per_day": 80_000,
    "bedrock_tokens_per_day": 70_000,
    "usd_per_month": 1000,
    "concurrency": 10,
    "limits": [{"limit": 500, "window": 90, "algorithm": "gcra", "burst": 100, "by": ["consumer", "model"]}],
}

CONSUMERS: Final[Sequence[dict[str, Any]]] = (
    limited("fixed", limits=[{"limit": 1000, "window": "month"}]),
    limited("sliding", hour=200),
    limited("gcra", limits=[{"limit": 200, "window": "day", "algorithm": "gcra"}]),
    limited("held", **exact("tokens", 10 * reserved_for(body_of(HELD)) + 100)),
    limited("settled", **exact("tokens", 8 * reserved_for(body_of(SHORT)))),
    limited("at-a-time", concurrency=8),
    limited("held-at-a-time", concurrency=8),
    limited("leased", concurrency=3, lease_seconds=3, **exact("tokens", 100_000)),
    limited("everything", **PLENTY),
    limited("nothing-lost", hour=100, tokens_per_hour=20_000, concurrency=2),
    {**limited("by-consumer-1"), "groups": ["limited-each"]},
    {**limited("by-consumer-2"), "groups": ["limited-each"]},
    limited("by-model", hour=1, by="model"),
    limited("by-route", hour=1, by="route"),
    limited("by-address", hour=1, by="address"),
    {
        **limited("by-key", hour=1, by="key"),
        "keyauth_credentials": [{"key": key_of("by-key")}, {"key": SECOND_KEY}],
    },
    limited("by-two", hour=1, by=["model", "route"]),
    *(limited(f"fixed-{window}", window_type="fixed", **{window: 1}) for window in WINDOWS[1:]),
    limited("local", policy="local", hour=2, concurrency=1),
    limited("lists", hour=3, tokens_per_hour=1),
    limited("impatient", **exact("requests", 10)),
    limited("leaves", tokens_per_hour=10_000),
    limited("cut", tokens_per_hour=10_000),
    limited("cached", tokens_per_hour=10_000),
    limited("quiet", hour=1, headers=False),
    limited("junk", hour=2),
    {
        **limited("native", hour=1, tokens_per_hour=1_000_000),
        "sigv4_credentials": [{"access_key_id": ACCESS_KEY_ID, "secret_access_key": key_of("native")}],
    },
    limited("too-small", tokens_per_hour=100),
    limited("sdk", second=1),
    limited("sdk-error", minute=1, tokens_per_minute=50_000),
)
CACHE: Final = {"name": "response-cache", "config": {"cache_ttl": 60}, "consumer": "cached"}
ROUTES: Final = ({"name": "other", "paths": ["/other"]}, {"name": "usual", "paths": ["/"]})


def settings(store: str) -> dict[str, Any]:
    """What all these gateways have in common."""
    return {
        "gateway": {
            "drain_seconds": 1,
            "store": {"url": store, "timeout_ms": STORE_TIMEOUT_MS} if store else "memory:",
        },
        "proxy": {"allow_unlisted": True},
        "consumers": CONSUMERS,
        "plugins": [CACHE],
        "consumer_groups": [
            {"name": "limited-each", "plugins": [{"name": "rate-limiter", "config": {"hour": 1}}]}
        ],
        "routes": ROUTES,
    }


@pytest.fixture(scope="module")
def bedrock() -> Generator[RunningSimulator]:
    """A Bedrock of this module's own: its calls are counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Generator[RunningRedis]:
    """The Redis that the gateways share."""
    with running_redis() as running:
        yield running


@pytest.fixture(scope="module")
def redis(server: RunningRedis) -> Generator[Any]:
    """A client of it."""
    with contextlib.closing(server.client()) as client:
        yield client


@pytest.fixture(scope="module")
def fleet(bedrock: RunningSimulator, server: RunningRedis) -> Generator[list[RunningGateway]]:
    """Four gateways with one Redis."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running_gateway(bedrock.url, **settings(server.url))) for _ in range(4)]


@pytest.fixture(scope="module")
def alone(bedrock: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that counts in its own memory."""
    with running_gateway(bedrock.url, **settings("")) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def either(request: pytest.FixtureRequest) -> RunningGateway:
    """A gateway, of each kind."""
    if request.param == "memory":
        gateway: RunningGateway = request.getfixturevalue("alone")
    else:
        gateway = request.getfixturevalue("fleet")[0]
    return gateway


@pytest.fixture(autouse=True)
def _forgotten(bedrock: RunningSimulator) -> None:
    bedrock.clear()


def calls(bedrock: RunningSimulator) -> int:
    """How many calls have reached Bedrock and are over since the test began."""
    return sum(bedrock.statistics()["operations"].values())


def running(bedrock: RunningSimulator) -> int:
    """How many are under way."""
    return int(bedrock.statistics()["running"])


def records(gateways: Sequence[RunningGateway], **members: Any) -> list[dict[str, Any]]:
    return [record for gateway in gateways for record in gateway.records(**members)]


def refused(answer: Answer) -> None:
    """It is a 429 that tells OpenAI's SDKs what they look for."""
    assert answer.status == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.headers["x-should-retry"] == "true"
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["retry-after-ms"]) == 1000 * int(answer.headers["retry-after"])


class TestAFleet:
    @pytest.mark.parametrize(
        ("consumer", "limit", "total"), [("fixed", 1000, 1200), ("sliding", 200, 264), ("gcra", 200, 264)]
    )
    def test_admits_the_limit_and_not_one_more(
        self,
        fleet: list[RunningGateway],
        bedrock: RunningSimulator,
        consumer: str,
        limit: int,
        total: int,
    ) -> None:
        data = request(body=chat("Hello", max_tokens=5), key=key_of(consumer))
        answers = drive(fleet, lambda _: data, total)
        assert count(answers) == {200: limit, 429: total - limit}
        assert calls(bedrock) == limit
        for answer in answers:
            assert answer.headers["x-ratelimit-limit-requests"] == str(limit)
            if answer.status == 429:
                refused(answer)
                assert answer.headers["x-ratelimit-remaining-requests"] == "0"
                assert answer.headers["x-ratelimit-reset-requests"] not in ("", "0s")
        # Each of those that passed was told another number of what is left.
        left = [int(a.headers["x-ratelimit-remaining-requests"]) for a in answers if a.status == 200]
        assert sorted(left) == list(range(limit))

    def test_reserves_no_more_tokens_than_there_are(
        self, fleet: list[RunningGateway], bedrock: RunningSimulator, redis: Any
    ) -> None:
        body = body_of(HELD)
        with crowd(fleet, request(body=body, key=key_of("held"))) as raws:
            self._until_refused(fleet, "held", CROWD - 10)
            assert eventually(lambda: running(bedrock) == 10)
            assert bucket(redis, "held", "tokens") == 10 * reserved_for(body)
            assert len(raws) == CROWD
        # They have left: of each the input counts, for Bedrock has read that.
        left = eventually(
            lambda: leavers if len(leavers := records(fleet, outcome="client_left")) == 10 else []
        )
        used = sum(map(tokens, left))
        assert 0 < used < 10 * reserved_for(body)
        assert all(record["usage_estimated"] for record in left)
        eventually(lambda: bucket(redis, "held", "tokens") == used)

    def test_settles_what_the_records_say(
        self, fleet: list[RunningGateway], bedrock: RunningSimulator, redis: Any
    ) -> None:
        body = body_of(SHORT)
        limit = 8 * reserved_for(body)
        with Watch(lambda: bucket(redis, "settled", "tokens")) as watch:
            answers = drive(fleet, lambda _: request(body=body, key=key_of("settled")), 150)
        passed = count(answers)[200]
        assert 8 <= passed < 150
        assert calls(bedrock) == passed
        assert 0 < watch.most <= limit
        for answer in answers:
            assert answer.headers["x-ratelimit-limit-tokens"] == str(limit)
            if answer.status == 429:
                refused(answer)
                assert int(answer.headers["x-ratelimit-remaining-tokens"]) < reserved_for(body)
        told = eventually(
            lambda: found if len(found := records(fleet, consumer="settled", status=200)) == passed else []
        )
        used = sum(map(tokens, told))
        assert used == sum(
            answer.json()["usage"]["total_tokens"] for answer in answers if answer.status == 200
        )
        eventually(lambda: bucket(redis, "settled", "tokens") == used)

    def test_lets_so_many_run_at_a_time(
        self, fleet: list[RunningGateway], bedrock: RunningSimulator, redis: Any
    ) -> None:
        data = request(body=chat(SHORT), key=key_of("at-a-time"))
        with Watch(lambda: running(bedrock)) as watch:
            answers = drive(fleet, lambda _: data, 200)
        assert 0 < watch.most <= 8
        assert 8 <= count(answers)[200] == calls(bedrock)
        for answer in answers:
            if answer.status == 429:
                refused(answer)
                assert "8 requests at a time" in answer.json()["error"]["message"]
        eventually(lambda: bucket(redis, "at-a-time", "concurrency") == 0)

    def test_lets_exactly_so_many_run_that_do_not_end(
        self, fleet: list[RunningGateway], bedrock: RunningSimulator, redis: Any
    ) -> None:
        data = request(body=chat(HELD), key=key_of("held-at-a-time"))
        for refusals in (CROWD - 8, 2 * (CROWD - 8)):  # Whoever leaves makes room for another.
            with crowd(fleet, data):
                self._until_refused(fleet, "held-at-a-time", refusals)
                eventually(lambda: running(bedrock) == 8)
                assert bucket(redis, "held-at-a-time", "concurrency") == 8
            eventually(lambda: bucket(redis, "held-at-a-time", "concurrency") == 0)
            eventually(lambda: running(bedrock) == 0)

    def _until_refused(self, fleet: list[RunningGateway], consumer: str, number: int) -> None:
        eventually(lambda: len(records(fleet, consumer=consumer, status=429)) == number)

    def test_outlives_one_of_its_gateways(
        self, fleet: list[RunningGateway], bedrock: RunningSimulator, server: RunningRedis, redis: Any
    ) -> None:
        """Leases of the dead expire; what the living have settled stays, and so does what nobody settled."""
        first, data = fleet[0], request(body=body_of(HELD), key=key_of("leased"))

        def asked() -> Answer:
            return ask(first, "leased", "[[simulator: words=5 input-tokens=7]]", max_tokens=TOKENS_OUT)

        assert asked().status == 200
        with running_gateway(bedrock.url, **settings(server.url), ends=-signal.SIGKILL) as doomed:
            with crowd([doomed], data, 3):
                eventually(lambda: running(bedrock) == 3)
                answer = asked()
                assert answer.status == 429
                assert "at a time" in answer.json()["error"]["message"]
                doomed.process.send_signal(signal.SIGKILL)
                doomed.wait_until_ended()
            assert bucket(redis, "leased", "concurrency") == 3
            # Nobody has told that they are over; but no lease is for ever.
            eventually(lambda: asked().status == 200)
        eventually(lambda: bucket(redis, "leased", "concurrency") == 0)
        settled = eventually(
            lambda: two if len(two := records(fleet, consumer="leased", status=200)) == 2 else []
        )
        used = sum(map(tokens, settled))
        assert used > 0
        assert bucket(redis, "leased", "tokens") == used + 3 * reserved_for(body_of(HELD))

    def test_gives_back_what_was_taken_for_somebody_who_had_left(
        self, fleet: list[RunningGateway], bedrock: RunningSimulator, server: RunningRedis, redis: Any
    ) -> None:
        server.pause()
        try:
            with connected(fleet[0].url) as raw:
                raw.send(request(body=chat("Hello"), key=key_of("impatient")))
            fleet[0].record(consumer="impatient", outcome="client_left")
        finally:
            server.resume()
        eventually(lambda: redis.keys("*{c=impatient}*"))
        eventually(lambda: bucket(redis, "impatient", "requests") == 0)
        assert ask(fleet[0], "impatient").headers["x-ratelimit-remaining-month"] == "9"
        assert calls(bedrock) == 1

    def test_counts_apart_where_that_is_the_policy(self, fleet: list[RunningGateway], redis: Any) -> None:
        for gateway in fleet[:2]:
            assert [ask(gateway, "local").status for _ in range(3)] == [200, 200, 429]
        assert redis.keys("*{c=local}*") == []


class TestAllLimitsAtOnce:
    def test_are_told_in_the_headers(self, either: RunningGateway) -> None:
        body = body_of("[[simulator: words=5 input-tokens=7]]")
        answers = []
        for _ in range(2):
            with connected(either.url) as raw:
                raw.send(request(body=body, key=key_of("everything")))
                answers.append(raw.answer())
        first, second = answers
        assert (first.status, second.status) == (200, 200)
        for window in WINDOWS:
            assert first.headers[f"x-ratelimit-limit-{window}"] == "1000"
        for window in WINDOWS[2:]:
            assert first.headers[f"x-ratelimit-remaining-{window}"] == "999"
            assert second.headers[f"x-ratelimit-remaining-{window}"] == "998"
        # The tightest one.
        assert first.headers["x-ratelimit-limit-90"] == "500"
        assert first.headers["x-ratelimit-remaining-requests"] == "99"
        assert first.headers["ratelimit-remaining"] == first.headers["x-ratelimit-remaining"] == "99"
        assert int(first.headers["ratelimit-reset"]) >= 1
        # Of tokens, the month's has the least left: a reservation first, then what was really used.
        left = 50_000 - reserved_for(body)
        used = first.json()["usage"]["total_tokens"]
        assert first.headers["x-ratelimit-limit-tokens"] == "50000"
        assert first.headers["x-ratelimit-remaining-tokens"] == str(left)
        assert second.headers["x-ratelimit-remaining-tokens"] == str(left - used)

    def test_what_is_refused_uses_nothing(self, either: RunningGateway, bedrock: RunningSimulator) -> None:
        consumer = "nothing-lost"

        def refused_for(words: str, **more: Any) -> None:
            answer = ask(either, consumer, **more)
            assert answer.status == 429
            assert words in answer.json()["error"]["message"]

        first = ask(either, consumer, max_tokens=10)
        assert first.headers["x-ratelimit-remaining-requests"] == "99"
        either.record(request_id=first.headers["x-request-id"])
        refused_for("20000 tokens", max_tokens=20_000)
        data = request(body=chat(HELD, max_tokens=10), key=key_of(consumer))
        with crowd([either], data, 2):
            eventually(lambda: running(bedrock) == 2)
            for _ in range(5):
                refused_for("2 requests at a time", max_tokens=10)
        eventually(lambda: len(either.records(consumer=consumer, outcome="client_left")) == 2)
        last = ask(either, consumer, max_tokens=10)
        assert last.headers["x-ratelimit-remaining-requests"] == "96"
        earlier = [
            r for r in either.records(consumer=consumer) if r["request_id"] != last.headers["x-request-id"]
        ]
        used = sum(map(tokens, earlier))
        reserved = -(-len(chat("Hello", max_tokens=10)) // 4) + 10
        assert last.headers["x-ratelimit-remaining-tokens"] == str(20_000 - used - reserved)
        assert calls(bedrock) == 4

    def test_more_than_a_bucket_holds_is_refused_for_good(self, either: RunningGateway) -> None:
        answer = ask(either, "too-small", max_tokens=101)
        assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
        # What the caller does not say, but we only guess, refuses nobody.
        assert ask(either, "too-small").status == 200


def from_address(gateway: RunningGateway, address: str, data: bytes) -> Answer:
    """The answer to this request, asked from this address of our machine."""
    with socket.create_connection(("127.0.0.1", gateway.port), 20, (address, 0)) as sock:
        raw = Raw(sock)
        raw.send(data)
        return raw.answer()


class TestWhatIsCountedApart:
    def test_each_consumer(self, either: RunningGateway) -> None:
        for consumer in ("by-consumer-1", "by-consumer-2"):
            assert [ask(either, consumer).status for _ in range(2)] == [200, 429]

    def test_each_key(self, either: RunningGateway) -> None:
        for key in (key_of("by-key"), SECOND_KEY):
            assert [ask(either, "by-key", key=key).status for _ in range(2)] == [200, 429]

    def test_each_model(self, either: RunningGateway) -> None:
        for model in ("claude", "nova"):
            assert [ask(either, "by-model", model=model).status for _ in range(2)] == [200, 429]
        # Another name of the same model is no way round.
        same = "us.anthropic.claude-sonnet-4-20250514-v1:0"
        assert ask(either, "by-model", model=same).status == 429

    def test_each_route(self, either: RunningGateway) -> None:
        for path in ("/v1/chat/completions", "/other/v1/chat/completions"):
            assert [ask(either, "by-route", path=path).status for _ in range(2)] == [200, 429]

    @on_linux
    def test_each_address(self, either: RunningGateway) -> None:
        data = request(body=chat("Hello"), key=key_of("by-address"))
        for address in ("127.0.0.1", "127.0.0.2"):
            assert [from_address(either, address, data).status for _ in range(2)] == [200, 429]

    def test_each_mix_of_two(self, either: RunningGateway) -> None:
        for path in ("/v1/chat/completions", "/other/v1/chat/completions"):
            for model in ("claude", "nova"):
                statuses = [ask(either, "by-two", path=path, model=model).status for _ in range(2)]
                assert statuses == [200, 429]


class TestWindows:
    @pytest.mark.parametrize("window", WINDOWS[1:])
    def test_end_when_the_calendar_says(self, either: RunningGateway, window: str) -> None:
        consumer = f"fixed-{window}"
        assert ask(either, consumer).status == 200
        # At a boundary one more may pass.
        (answer,) = eventually(lambda: [a for a in [ask(either, consumer)] if a.status == 429])
        now = datetime.datetime.now(datetime.UTC)
        begins = {
            "minute": now.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1),
            "hour": now.replace(minute=0, second=0, microsecond=0) + datetime.timedelta(hours=1),
            "day": datetime.datetime.combine(now, datetime.time(), datetime.UTC) + datetime.timedelta(days=1),
            "month": datetime.datetime(
                now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=datetime.UTC
            ),
        }[window]
        seconds = (begins - now).total_seconds()
        reset = int(answer.headers["ratelimit-reset"])
        assert reset == pytest.approx(seconds, abs=5)
        # SDKs take no longer wait than a minute for meant.
        assert int(answer.headers["retry-after"]) == min(reset, 60)
        assert answer.headers[f"x-ratelimit-remaining-{window}"] == "0"
        assert f"1 requests a{'n' * (window == 'hour')} {window}" in answer.json()["error"]["message"]


class TestWhatCounts:
    def test_lists_of_models_are_requests_without_tokens(self, either: RunningGateway) -> None:
        """The limit of one token would refuse any call."""
        with connected(either.url) as raw:
            answers = []
            for _ in range(4):
                raw.send(request("GET", "/v1/models", key=key_of("lists")))
                answers.append(raw.answer(method="GET"))
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["2", "1", "0", "0"]
        assert not any("x-ratelimit-remaining-tokens" in answer.headers for answer in answers)

    def test_junk_is_no_way_round(self, either: RunningGateway) -> None:
        with connected(either.url) as raw:
            statuses = []
            for _ in range(3):
                raw.send(request(body=b"{", key=key_of("junk")))
                statuses.append(raw.answer().status)
        assert statuses == [400, 400, 429]

    def test_nothing_is_told_where_that_is_wished(self, either: RunningGateway) -> None:
        answers = [ask(either, "quiet") for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429]
        assert not any("ratelimit" in name for answer in answers for name in answer.headers)
        assert "retry-after" in answers[1].headers

    def settled(self, either: RunningGateway, consumer: str) -> int:
        """What the consumer's bucket holds beside what this question reserves."""
        answer = ask(either, consumer, max_tokens=10)
        reserved = -(-len(chat("Hello", max_tokens=10)) // 4) + 10
        return 10_000 - int(answer.headers["x-ratelimit-remaining-tokens"]) - reserved

    def test_a_caller_that_leaves_pays_for_what_has_come(self, either: RunningGateway) -> None:
        text = "[[simulator: stall-mid-stream after=6 words=50]]"
        with connected(either.url) as raw:
            raw.send(request(body=chat(text, stream=True, max_tokens=5000), key=key_of("leaves")))
            raw.read_until(b"data: ")
        record = either.record(consumer="leaves", outcome="client_left")
        assert record["usage_estimated"]
        assert record["output_tokens"] > 0
        assert self.settled(either, "leaves") == tokens(record)

    def test_a_stream_that_is_cut_is_paid_for_what_has_come(self, either: RunningGateway) -> None:
        text = "[[simulator: reset-mid-stream after=6 words=50]]"
        answer = ask(either, "cut", text, stream=True, max_tokens=5000)
        assert b"upstream_stream_broken" in answer.body
        assert answer.headers["x-ratelimit-limit-tokens"] == "10000"
        record = either.record(consumer="cut")
        assert record["usage_estimated"]
        assert record["output_tokens"] > 0
        assert self.settled(either, "cut") == tokens(record)

    def test_an_answer_that_was_kept_costs_nothing(self, either: RunningGateway) -> None:
        def asked() -> Answer:
            return ask(either, "cached", "Once more", max_tokens=3000)

        assert asked().headers["x-cache-status"] == "Miss"
        first = either.record(consumer="cached", cache="miss")
        assert self.settled(either, "cached") == tokens(first) > 0  # Of which the question is no hit.
        assert [asked().headers["x-cache-status"] for _ in range(3)] == ["Hit"] * 3
        eventually(lambda: len(either.records(consumer="cached", cache="hit")) == 3)
        used = sum(map(tokens, either.records(consumer="cached", cache="miss")))
        assert self.settled(either, "cached") == used


class TestClients:
    def test_openai_python_is_told_what_it_looks_for(self, either: RunningGateway) -> None:
        with either.openai(api_key=key_of("sdk-error")) as client:

            def create() -> Any:
                messages: Any = [{"role": "user", "content": "Hello"}]
                return client.chat.completions.with_raw_response.create(model="claude", messages=messages)

            assert create().headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as caught:
                create()
        error = caught.value
        assert (error.code, error.status_code) == ("rate_limit_exceeded", 429)
        headers = error.response.headers
        assert headers["x-ratelimit-limit-requests"] == "1"
        assert headers["x-ratelimit-limit-tokens"] == "50000"
        assert headers["x-ratelimit-reset-requests"].endswith("s")
        assert 1 <= int(headers["retry-after"]) <= 66

    def test_openai_python_waits_as_long_as_it_is_told(self, either: RunningGateway) -> None:
        with either.openai(api_key=key_of("sdk"), max_retries=1) as client:

            def refused_once() -> bool:
                begun = time.monotonic()
                client.chat.completions.create(model="claude", messages=[{"role": "user", "content": "Hi"}])
                waited = time.monotonic() - begun
                refusals = either.records(consumer="sdk", status=429)
                assert not refusals or waited >= 1
                return bool(refusals)

            # On a slow machine a second may have passed between two calls; none of them fails.
            eventually(refused_once)

    def test_native_callers_get_the_plain_headers(self, either: RunningGateway) -> None:
        with connected(either.url) as raw:
            answers = []
            for _ in range(2):
                raw.send(request(path="/model/claude/converse", body=converse("Hello"), key=key_of("native")))
                answers.append(raw.answer())
        passed, refused = answers
        assert (passed.status, refused.status) == (200, 429)
        for answer in answers:
            assert answer.headers["x-ratelimit-limit-hour"] == answer.headers["ratelimit-limit"] == "1"
            assert answer.headers["ratelimit-remaining"] == "0"
            assert not any(name.endswith(("-requests", "-tokens")) for name in answer.headers)
            assert not any(name.startswith("anthropic-") for name in answer.headers)
        assert refused.headers["x-amzn-errortype"] == "ThrottlingException"
        assert "rate limit of 1 requests" in json.loads(refused.body)["message"]
        client = bedrock_client(either.url, access_key_id=ACCESS_KEY_ID, secret_access_key=key_of("native"))
        with contextlib.closing(client), pytest.raises(botocore.exceptions.ClientError) as caught:
            client.converse(modelId="claude", messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
