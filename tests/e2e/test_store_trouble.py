"""A gateway whose Redis is stopped, hangs, is slow, forgets, refuses, or was never there.

For each policy the outcome is known: with `allow` everything passes, with `deny` nothing, with `local` what
the gateway counts by itself. Nobody waits for the store for much longer than the 50 ms that it may take; the
bound that is tested leaves room for a busy machine, where a store that hangs would take for ever. The
operator is told twice: that the store is down, and that it is up again. And the gateway recovers by itself.

Each test has consumers of its own, one for each policy, all with a limit of five.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Final

import pytest

from support.gateway import RunningGateway, eventually, running_gateway
from support.limits import CROWD, ask, bucket, count, drive, key_of, limited, tokens
from support.raw import Answer, chat, connected, request
from support.redis import RunningRedis, free_port, running_redis
from support.redis_stand_ins import Delay, scripted_server, slow_relay
from support.simulator import RunningSimulator, running_simulator
from support.threads import in_a_thread

POLICIES: Final = ("allow", "deny", "local")
LIMIT: Final = 5
TIME_MAX_MS: Final = 1000
"""For whole requests, the simulated Bedrock's part included: 50 ms and a busy machine."""
TELLS: Final = r"(warning|info): the store (is|refuses) "
TOKENS: Final = 10_000


def consumers(*tests: str) -> list[dict[str, Any]]:
    """For each of these tests one consumer for each policy."""
    return [
        limited(f"{policy}-{test}", hour=LIMIT, on_store_failure=policy)
        for test in tests
        for policy in POLICIES
    ]


@contextlib.contextmanager
def gateway_with(
    bedrock: RunningSimulator, store: str, callers: Iterable[dict[str, Any]], **changes: Any
) -> Generator[RunningGateway]:
    """A gateway with this store."""
    with running_gateway(
        bedrock.url,
        gateway={"store": store, "drain_seconds": 1},
        proxy={"allow_unlisted": True},
        consumers=list(callers),
        tells=TELLS,
        **changes,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def bedrock() -> Generator[RunningSimulator]:
    """A Bedrock of this module's own: its calls are counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def shared_redis() -> Generator[RunningRedis]:
    with running_redis() as running:
        yield running


TESTS: Final = ("stopped", "hanging", "crowd", "empty", "forgetful", "full")
SETTLING: Final = tuple(
    limited(
        name,
        on_store_failure="deny",
        limits=[{"unit": "tokens", "limit": TOKENS, "window": "month"}],
    )
    for name in ("settling", "settling-late")
)


@pytest.fixture(scope="module")
def shared_gateway(bedrock: RunningSimulator, shared_redis: RunningRedis) -> Generator[RunningGateway]:
    with gateway_with(bedrock, shared_redis.url, [*consumers(*TESTS), *SETTLING]) as running:
        yield running


@pytest.fixture
def redis(shared_redis: RunningRedis) -> RunningRedis:
    """A Redis that works, whatever the test before has done to it."""
    with contextlib.suppress(AssertionError):
        shared_redis.resume()
        with contextlib.closing(shared_redis.client()) as client:
            client.config_set("maxmemory", 0)
        return shared_redis
    shared_redis.start()
    return shared_redis


@pytest.fixture
def gateway(shared_gateway: RunningGateway, redis: RunningRedis, bedrock: RunningSimulator) -> RunningGateway:
    """The gateway that uses it, with its link up."""
    settle(shared_gateway, "stopped")
    bedrock.clear()
    return shared_gateway


def settle(gateway: RunningGateway, test: str) -> None:
    """Wait until the store has an answer, and forget what the operator was told until then."""
    until_up(gateway, test)
    eventually(lambda: told(gateway)[-1:] != ["down"])
    gateway.told.clear()


def until_up(gateway: RunningGateway, test: str) -> None:
    """Ask until the store has an answer; a limit that is reached is one too."""
    eventually(lambda: ask(gateway, f"deny-{test}").status in (200, 429))


def until_down(gateway: RunningGateway, test: str) -> None:
    """Ask until the operator has been told that the store is down."""

    def noticed() -> bool:
        ask(gateway, f"deny-{test}")
        return told(gateway) == ["down"]

    eventually(noticed)


def told(gateway: RunningGateway) -> list[str]:
    """What the operator has read of the store, without the times and the reasons."""
    lines = [line.partition("the store is ")[2] for line in gateway.told if "the store is " in line]
    return [line.split(":")[0].split(" after")[0] for line in lines]


def statuses(gateway: RunningGateway, consumer: str, number: int = LIMIT + 2) -> list[int]:
    return [ask(gateway, consumer).status for _ in range(number)]


def outcomes(gateway: RunningGateway, test: str) -> dict[str, list[int]]:
    """What becomes of two more requests than the limit lets pass, for each policy."""
    return {policy: statuses(gateway, f"{policy}-{test}") for policy in POLICIES}


WITHOUT_STORE: Final = {
    "allow": [200] * (LIMIT + 2),
    "deny": [503] * (LIMIT + 2),
    "local": [200] * LIMIT + [429] * 2,
}
WITH_STORE: Final = dict.fromkeys(POLICIES, [200] * LIMIT + [429] * 2)


def nobody_waited(gateway: RunningGateway, test: str, number: int = 3 * (LIMIT + 2)) -> None:
    """So many requests of this test have been answered, each in time."""

    def records() -> list[dict[str, Any]]:
        found = [r for policy in POLICIES for r in gateway.records(consumer=f"{policy}-{test}")]
        return found if len(found) >= number else []

    assert max(record["total_ms"] for record in eventually(records)) < TIME_MAX_MS


def recovers(gateway: RunningGateway, test: str) -> None:
    """The store is asked again, without anybody's doing, and the operator has read two lines."""
    until_up(gateway, test)
    eventually(lambda: len(told(gateway)) >= 2)
    assert told(gateway) == ["down", "up again"], gateway.told


class TestAServerThatIsGone:
    def test_each_policy_has_its_way(
        self, gateway: RunningGateway, redis: RunningRedis, bedrock: RunningSimulator
    ) -> None:
        redis.stop()
        assert outcomes(gateway, "empty") == WITHOUT_STORE
        nobody_waited(gateway, "empty")
        assert bedrock.statistics()["operations"] == {"Converse": 2 * LIMIT + 2}
        # A new server on the same port, empty and without scripts, counts from nothing.
        redis.start()
        recovers(gateway, "stopped")
        assert outcomes(gateway, "empty") == WITH_STORE

    def test_what_callers_are_told(self, gateway: RunningGateway, redis: RunningRedis) -> None:
        redis.stop()
        answer = ask(gateway, "deny-forgetful")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["x-should-retry"] == "true"
        assert answer.json()["error"]["message"] == "The limits could not be checked"
        record = gateway.record(request_id=answer.headers["x-request-id"])
        assert record["cause"] == "STORE_UNAVAILABLE"
        assert "the store is down" in record["detail"]
        allowed = ask(gateway, "allow-forgetful")
        assert not any("ratelimit" in name for name in allowed.headers)
        own = ask(gateway, "local-forgetful")
        assert own.headers["x-ratelimit-remaining-hour"] == str(LIMIT - 1)


class TestAServerThatHangs:
    def test_each_policy_has_its_way(self, gateway: RunningGateway, redis: RunningRedis) -> None:
        redis.pause()
        assert outcomes(gateway, "hanging") == WITHOUT_STORE
        nobody_waited(gateway, "hanging")
        redis.resume()
        recovers(gateway, "stopped")

    def test_nothing_piles_up(self, gateway: RunningGateway, redis: RunningRedis) -> None:
        redis.pause()
        keys = [key_of(f"{policy}-crowd") for policy in POLICIES]
        begun = time.monotonic()
        answers = drive([gateway], lambda n: request(body=chat("Hello"), key=keys[n % 3]), 4 * CROWD)
        assert time.monotonic() - begun < 20
        by_key = [count(answers_of(gateway, policy, answers)) for policy in POLICIES]
        allow, deny, local = by_key
        assert (list(allow), list(deny)) == ([200], [503])
        assert local[200] == LIMIT
        assert sum(allow.values()) + sum(deny.values()) + sum(local.values()) == 4 * CROWD
        nobody_waited(gateway, "crowd", 4 * CROWD)
        redis.resume()
        recovers(gateway, "stopped")


def answers_of(gateway: RunningGateway, policy: str, answers: Sequence[Answer]) -> list[Answer]:
    """Those that this policy's consumer was given."""

    def records() -> list[dict[str, Any]]:
        found = [r for name in POLICIES for r in gateway.records(consumer=f"{name}-crowd")]
        return found if len(found) == len(answers) else []

    mine = {r["request_id"] for r in eventually(records) if r["consumer"] == f"{policy}-crowd"}
    return [answer for answer in answers if answer.headers["x-request-id"] in mine]


class TestAServerThatForgetsAndRefuses:
    def test_scripts_that_are_forgotten_are_said_again(
        self, gateway: RunningGateway, redis: RunningRedis
    ) -> None:
        with contextlib.closing(redis.client()) as client:
            client.script_flush()
            client.delete(*client.keys("stargate:limit:*") or ["none"])
        assert outcomes(gateway, "forgetful") == WITH_STORE
        assert told(gateway) == []

    def test_a_full_one(self, gateway: RunningGateway, redis: RunningRedis) -> None:
        """Its errors are each call's own, for it may have room for the next; but they are told."""
        with contextlib.closing(redis.client()) as client:
            client.config_set("maxmemory", 1)
            assert outcomes(gateway, "full") == WITHOUT_STORE
            client.config_set("maxmemory", 0)
        assert statuses(gateway, "deny-full") == [200] * LIMIT + [429] * 2
        assert told(gateway) == []
        (line,) = eventually(lambda: [line for line in gateway.told if "the store refuses" in line])
        assert line.endswith("it answers -OOM")

    def test_one_that_is_loading(self, bedrock: RunningSimulator) -> None:
        loading = False

        def reply(words: list[bytes]) -> bytes:
            if loading and words[0] not in (b"HELLO", b"CLIENT"):
                return b"-LOADING Redis is loading the dataset in memory\r\n"
            if words[0] == b"EVALSHA" and words[2] == b"2":
                return b"$-1\r\n"  # There are no other keys than before.
            if words[0] == b"EVALSHA":
                return b"*6\r\n:1\r\n:1800000000000000\r\n:-1\r\n:0\r\n:4\r\n:60000000\r\n"
            return b"+OK\r\n"

        with (
            in_a_thread(lambda: scripted_server(reply)) as port,
            gateway_with(bedrock, f"redis://127.0.0.1:{port}", consumers("loading")) as gateway,
        ):
            settle(gateway, "loading")
            loading = True
            assert outcomes(gateway, "loading") == WITHOUT_STORE
            nobody_waited(gateway, "loading")
            loading = False
            recovers(gateway, "loading")

    def test_one_that_wants_another_password(self, bedrock: RunningSimulator) -> None:
        with running_redis("--requirepass", "right-one") as redis:
            url = f"redis://:wrong-one@127.0.0.1:{redis.port}"
            with gateway_with(bedrock, url, consumers("password")) as gateway:
                assert outcomes(gateway, "password") == WITHOUT_STORE
                nobody_waited(gateway, "password")
                assert told(gateway) == ["down"]
                assert any("WRONGPASS" in line for line in gateway.told)
                with contextlib.closing(redis.client(password="right-one")) as client:
                    client.config_set("requirepass", "wrong-one")
                until_up(gateway, "password")
                eventually(lambda: told(gateway) == ["down", "up again"])
            assert not any("-one" in line for line in gateway.told)


class TestAServerThatIsSlow:
    def test_each_policy_has_its_way(self, bedrock: RunningSimulator) -> None:
        delay = Delay()
        with (
            running_redis() as redis,
            in_a_thread(lambda: slow_relay(redis.port, delay)) as port,
            gateway_with(
                bedrock, f"redis://127.0.0.1:{port}", consumers("before", "slow", "late")
            ) as gateway,
            contextlib.closing(redis.client()) as client,
        ):
            settle(gateway, "before")

            # One late answer is no trouble yet; and what it has allowed, to nobody, is given back.
            delay.seconds = 0.2
            assert ask(gateway, "deny-late").status == 503
            delay.seconds = 0.0
            eventually(lambda: bucket(client, "deny-late", "requests") == 0)

            delay.seconds = 0.3
            assert outcomes(gateway, "slow") == WITHOUT_STORE
            nobody_waited(gateway, "slow")
            delay.seconds = 0.0
            recovers(gateway, "before")


class TestAtTheStart:
    def test_nobody_is_there(self, bedrock: RunningSimulator) -> None:
        port = free_port()
        with gateway_with(bedrock, f"redis://127.0.0.1:{port}", consumers("start", "after")) as gateway:
            assert outcomes(gateway, "start") == WITHOUT_STORE
            nobody_waited(gateway, "start")
            assert told(gateway) == ["down"]
            with running_redis(port=port):
                recovers(gateway, "start")
                assert outcomes(gateway, "after") == WITH_STORE


class TestSettlements:
    TEXT: Final = "[[simulator: words=5 input-tokens=7 first-token-ms=1500]]"

    def _settled_later(
        self, gateway: RunningGateway, redis: RunningRedis, consumer: str, trouble: Callable[[], None]
    ) -> tuple[int, int]:
        """What one call has reserved, and what it has used; it ends in the middle of this trouble."""
        with contextlib.closing(redis.client()) as client, connected(gateway.url) as raw:
            raw.send(request(body=chat(self.TEXT, max_tokens=500), key=key_of(consumer)))
            reserved = eventually(lambda: bucket(client, consumer, "tokens"))
            trouble()
            assert raw.answer().status == 200
        return reserved, tokens(gateway.record(consumer=consumer, status=200))

    def test_are_kept_until_the_store_is_back(self, gateway: RunningGateway, redis: RunningRedis) -> None:
        def hang() -> None:
            redis.pause()
            until_down(gateway, "stopped")

        reserved, used = self._settled_later(gateway, redis, "settling", hang)
        assert told(gateway) == ["down"]
        redis.resume()
        with contextlib.closing(redis.client()) as client:
            assert bucket(client, "settling", "tokens") in (reserved, used)
            eventually(lambda: bucket(client, "settling", "tokens") == used)
        assert 0 < used < reserved

    def test_are_said_before_the_gateway_ends(self, bedrock: RunningSimulator) -> None:
        """It goes while the store is down, and the store comes back just then."""
        with running_redis() as redis, contextlib.closing(redis.client()) as client:
            with gateway_with(bedrock, redis.url, [*SETTLING, *consumers("ending")]) as gateway:
                settle(gateway, "ending")

                def hang() -> None:
                    redis.pause()
                    until_down(gateway, "ending")

                reserved, used = self._settled_later(gateway, redis, "settling-late", hang)
                redis.resume()
                gateway.process.send_signal(signal.SIGTERM)
            assert 0 < used < reserved
            eventually(lambda: bucket(client, "settling-late", "tokens") == used)
