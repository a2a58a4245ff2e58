"""The store on a real cluster of three nodes, and behind a real Sentinel: on trio and on asyncio.

What happens is looked at from outside: with the store's own questions, and on the servers with redis-py.
"""

import asyncio
import contextlib
import gc
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import anyio.to_thread
import pytest
import trustme

from stargate import clustered_store
from stargate.clustered_client import Opening, opening
from stargate.clustered_store import ASKS_MAX, ClusteredStore, open_store
from stargate_core.config.clustered_url import parse_clustered_url
from stargate_core.config.gateway_block import Store
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Verdict
from stargate_core.questions import (
    Entry,
    Keys,
    ReadEntry,
    ReadKeys,
    Settle,
    StoreAnswer,
    StoreQuestion,
    Take,
    WriteEntry,
)
from stargate_core.secret import Secret
from support.redis import needs_redis
from support.redis_cluster import (
    SERVICE,
    Cluster,
    Guarded,
    running_behind_tls,
    running_cluster,
    running_sentinel,
    told,
    wait_until,
)

pytestmark = [
    needs_redis,
    # coredis (6.9) leaves streams of anyio's unclosed: the error stream of cluster/_layout.py, and all of a
    # connection that could not be made (connection/_base.py).
    pytest.mark.filterwarnings("ignore:.*MemoryObject:pytest.PytestUnraisableExceptionWarning"),
]

PREFIX: Final = "stargate:"
HOUR_US: Final = 3_600_000_000
WAIT_SECONDS: Final = 20.0
SLACK_SECONDS: Final = 1.0
"""What a busy machine may add to a bound."""
EASY: Final = "?timeout_ms=5000"
"""For tests that are not about time."""


class Failed(str):
    """Why a question has no answer."""

    __slots__ = ()


class User:
    """Who asks, and remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        self.told: dict[int, StoreAnswer | Failed] = {}
        self.at_failure: Callable[[], None] = lambda: None
        self._tickets = 0
        self._changed = anyio.Event()

    def store_answered(self, ticket: int, answer: StoreAnswer) -> None:
        self._hear(ticket, answer)

    def store_failed(self, ticket: int, why: str) -> None:
        self._hear(ticket, Failed(why))
        self.at_failure()

    def note(self, level: str, text: str) -> None:
        self.notes.append((level, text))
        self._change()

    @property
    def levels(self) -> list[str]:
        return [level for level, _ in self.notes]

    def begin(self, store: ClusteredStore, question: StoreQuestion) -> int:
        """Ask; the ticket."""
        self._tickets += 1
        store.ask(self._tickets, question)
        return self._tickets

    async def ask(self, store: ClusteredStore, question: StoreQuestion) -> StoreAnswer | Failed:
        ticket = self.begin(store, question)
        await self.until(lambda: ticket in self.told)
        return self.told[ticket]

    async def take(self, store: ClusteredStore, *claims: Claim, lease: str = "lease") -> Verdict:
        answer = await self.ask(store, Take(claims, lease, HOUR_US))
        assert isinstance(answer, Verdict), answer
        return answer

    async def until(self, happened: Callable[[], bool]) -> None:
        with anyio.fail_after(WAIT_SECONDS):
            while not happened():
                await self._changed.wait()

    def _hear(self, ticket: int, answer: StoreAnswer | Failed) -> None:
        assert ticket not in self.told, "a question was answered twice"
        self.told[ticket] = answer
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def opening_of(url: str) -> Opening:
    return opening(parse_clustered_url(Secret(url), timeout_ms=50))


@contextlib.asynccontextmanager
async def running(url: str) -> AsyncGenerator[tuple[ClusteredStore, User]]:
    """A store that runs."""
    user = User()
    store = ClusteredStore(user, opening_of(url))
    async with anyio.create_task_group() as tasks:
        await tasks.start(store.run)
        yield store, user
        tasks.cancel_scope.cancel()


async def eventually(happened: Callable[[], bool]) -> None:
    """Look until it has happened, from a thread, for looking takes sockets."""
    await anyio.to_thread.run_sync(wait_until, happened, "what the test waits for")


def bucket(key: str, limit: int, algorithm: Algorithm = Algorithm.FIXED) -> Bucket:
    return Bucket(key, algorithm, limit, window_us=0 if algorithm is Algorithm.CONCURRENT else 24 * HOUR_US)


def claim(key: str, limit: int, cost: int = 1, algorithm: Algorithm = Algorithm.FIXED) -> Claim:
    return Claim(bucket(key, limit, algorithm), cost)


Run: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run an async function on one of the two loops."""
    return lambda scenario: anyio.run(scenario, backend=request.param)


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    yield
    # What coredis leaves behind is this test's, not that of the one which happens to run when it is found.
    gc.collect()


@pytest.fixture(scope="module")
def started() -> Generator[Cluster, None, None]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(started: Cluster) -> Iterator[Cluster]:
    started.clear()
    yield started
    wait_until(started.whole, "the cluster to be whole again")


def spread(cluster: Cluster, count: int = 2) -> list[str]:
    """Keys of different nodes."""
    keys = [f"{{tag-{number}}}requests" for number in range(100)]
    return [next(key for key in keys if cluster.owner(key) is node) for node in cluster.nodes[:count]]


class TestTaking:
    def test_several_tags_are_one_question(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                # Of the first tag again, last: the levels are in the order of the claims, not of the groups.
                claims = claim(first, 10, 2), claim(second, 20, 3), claim(first + ":2", 30, 4)
                verdict = await user.take(store, *claims)
                assert (verdict.allowed, verdict.refused, verdict.retry_after_us) == (True, -1, 0)
                assert [level.remaining for level in verdict.levels] == [8, 17, 26]
                assert user.notes == []

        run(scenario)

    def test_who_wants_nothing_gets_it(self, cluster: Cluster, run: Run) -> None:
        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                verdict = await user.take(store)
                assert verdict == Verdict(allowed=True, at_us=verdict.at_us, levels=())

        run(scenario)

    def test_what_a_later_group_refuses_is_given_back(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                await user.take(store, claim(first, 10, 1), claim(second, 2, 2))
                verdict = await user.take(store, claim(first, 10, 5), claim(second, 2, 1))
                assert (verdict.allowed, verdict.refused) == (False, 1)
                assert [level.remaining for level in verdict.levels] == [9, 0]
                assert 0 < verdict.retry_after_us <= 24 * HOUR_US
                again = await user.take(store, claim(first, 10, 9))
                assert [level.remaining for level in again.levels] == [0]

        run(scenario)

    def test_a_refusal_has_the_levels_of_groups_behind_it(self, cluster: Cluster, run: Run) -> None:
        first, second, third = spread(cluster, 3)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                await user.take(store, claim(second, 1), claim(third, 7, 3))
                verdict = await user.take(store, claim(first, 5), claim(second, 1), claim(third, 7))
                assert (verdict.allowed, verdict.refused) == (False, 1)
                assert [level.remaining for level in verdict.levels] == [5, 0, 4]

        run(scenario)

    def test_what_no_bucket_can_hold_is_refused_for_ever(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                verdict = await user.take(store, claim(first, 5), claim(second, 1, 2))
                assert (verdict.refused, verdict.retry_after_us) == (1, -1)

        run(scenario)

    def test_a_limit_admits_exactly_so_many_however_they_come(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)

        async def scenario() -> None:
            async with (
                running(cluster.url + EASY) as (store, user),
                running(cluster.url + EASY) as (other, others),
            ):
                limit, each = 50, 60
                question = Take((claim(first, 1_000), claim(second, limit)), "x", HOUR_US)
                for _ in range(each):
                    user.begin(store, question)
                    others.begin(other, question)
                await user.until(lambda: len(user.told) == each)
                await others.until(lambda: len(others.told) == each)
                answers = [*user.told.values(), *others.told.values()]
                assert sum(isinstance(it, Verdict) and it.allowed for it in answers) == limit
                assert sum(isinstance(it, Verdict) and not it.allowed for it in answers) == 2 * each - limit
                # And of the other bucket no more than that is left taken.
                level = await user.take(store, claim(first, 1_000, 0))
                assert level.levels[0].remaining == 1_000 - limit

        run(scenario)

    def test_leases_are_held_until_they_are_settled(self, cluster: Cluster, run: Run) -> None:
        keys = spread(cluster)
        wanted = [claim(key, 2, 1, Algorithm.CONCURRENT) for key in keys]

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                one = await user.take(store, *wanted, lease="one")
                assert (await user.take(store, *wanted, lease="two")).allowed
                assert not (await user.take(store, *wanted, lease="three")).allowed
                store.tell(Settle(tuple(Charge(it.bucket, 1, 1) for it in wanted), "one", one.at_us))
                await eventually(lambda: all(_leases(cluster, key) == {b"1:two"} for key in keys))
                assert (await user.take(store, *wanted, lease="three")).allowed

        run(scenario)

    def test_a_settlement_finds_what_each_group_took(self, cluster: Cluster, run: Run) -> None:
        keys = spread(cluster)
        wanted = [claim(key, 100, 60, Algorithm.SLIDING) for key in keys]

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                verdict = await user.take(store, *wanted)
                store.tell(Settle(tuple(Charge(it.bucket, 60, 10) for it in wanted), "lease", verdict.at_us))
                nothing = [Claim(it.bucket, 0) for it in wanted]
                with anyio.fail_after(WAIT_SECONDS):
                    while [level.remaining for level in (await user.take(store, *nothing)).levels] != [
                        90,
                        90,
                    ]:
                        await anyio.lowlevel.checkpoint()

        run(scenario)

    def test_all_groups_are_taken_at_one_time(self, cluster: Cluster, run: Run) -> None:
        keys = spread(cluster)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                verdict = await user.take(store, *(Claim(_drain(key), 1) for key in keys))
                for key in keys:
                    state = await anyio.to_thread.run_sync(told, cluster.owner(key), "GET", PREFIX + key)
                    # Of a GCRA bucket the store keeps the microsecond.
                    assert int(state.split()[-1]) == verdict.at_us

        run(scenario)

    def test_scripts_that_were_forgotten_are_told_again(self, cluster: Cluster, run: Run) -> None:
        (key,) = spread(cluster, 1)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                await user.take(store, claim(key, 10))
                await anyio.to_thread.run_sync(told, cluster.owner(key), "SCRIPT", "FLUSH")
                assert (await user.take(store, claim(key, 10))).levels[0].remaining == 8

        run(scenario)

    def test_what_one_key_refuses_is_no_trouble_of_the_store(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)
        told(cluster.owner(second), "SET", PREFIX + second, "mine")

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                wanted = claim(first, 10), claim(second, 10)
                why = await user.ask(store, Take(wanted, "lease", HOUR_US))
                assert isinstance(why, Failed)
                assert second in why
                # The first group had been taken already.
                with anyio.fail_after(WAIT_SECONDS):
                    while (await user.take(store, claim(first, 10, 0))).levels[0].remaining != 10:
                        await anyio.lowlevel.checkpoint()
                assert user.notes == []

        run(scenario)


class TestGivingUp:
    def test_what_is_withdrawn_is_given_back(self, cluster: Cluster, run: Run) -> None:
        keys = spread(cluster)
        wanted = [claim(key, 10, 4) for key in keys]

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                await user.take(store, *wanted)
                with _frozen(cluster, keys[1]):
                    ticket = user.begin(store, Take(tuple(wanted), "gone", HOUR_US))
                    # It is on its way: one group has been taken, the other is being waited for.
                    await eventually(lambda: _count(cluster, keys[0]) == 8)
                    store.withdraw(ticket)
                await eventually(lambda: all(_count(cluster, key) == 4 for key in keys))
                assert ticket not in user.told
                # Withdrawn at once, it is not even asked.
                store.withdraw(user.begin(store, Take(tuple(wanted), "gone", HOUR_US)))
                assert (await user.take(store, *wanted)).levels[0].remaining == 2

        run(scenario)

    def test_a_frozen_node_is_waited_for_no_longer_than_said(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)

        async def scenario() -> None:
            async with running(cluster.url + "?timeout_ms=120") as (store, user):
                await _up(store, user, claim(first, 1_000), claim(second, 1_000))
                await eventually(lambda: _count(cluster, first) == 1 == _count(cluster, second))
                with _frozen(cluster, second):
                    for _ in range(clustered_store.MISSES_MAX):
                        began = time.monotonic()
                        wanted = claim(first, 1_000), claim(second, 1_000)
                        why = await user.ask(store, Take(wanted, "late", HOUR_US))
                        assert isinstance(why, Failed)
                        assert "120 ms" in why
                        assert time.monotonic() - began < 0.12 + SLACK_SECONDS
                    assert user.levels == ["error"]
                    assert "3 questions in a row" in user.notes[0][1]
                    # Now without waiting.
                    ticket = user.begin(store, Take((claim(first, 1_000),), "no", HOUR_US))
                    assert "is down" in str(user.told[ticket])
                await user.until(lambda: len(user.notes) == 2)
                assert user.levels == ["error", "info"]
                # The three were allowed in the end, when nobody wanted them any more.
                await eventually(lambda: _count(cluster, first) == 1 == _count(cluster, second))

        run(scenario)

    def test_no_more_than_so_many_are_under_way(self, cluster: Cluster, run: Run) -> None:
        (key,) = spread(cluster, 1)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                for _ in range(ASKS_MAX):
                    user.begin(store, Take((claim(key, 10_000),), "x", HOUR_US))
                assert user.told == {}
                ticket = user.begin(store, Take((claim(key, 10_000),), "x", HOUR_US))
                assert str(user.told[ticket]) == "more than 1000 questions are under way"
                await user.until(lambda: len(user.told) == ASKS_MAX + 1)
                assert _count(cluster, key) == ASKS_MAX

        run(scenario)


class TestTrouble:
    def test_who_is_told_of_one_failure_may_withdraw_the_others(self, run: Run) -> None:
        async def scenario() -> None:
            async with running("redis+cluster://127.0.0.1:1" + EASY) as (store, user):
                first, second = (user.begin(store, ReadEntry("x")) for _ in range(2))
                user.at_failure = lambda: store.withdraw(second)
                await user.until(lambda: bool(user.notes) and first in user.told)
                assert second not in user.told

        run(scenario)

    def test_a_node_that_dies_takes_the_store_down_until_it_is_back(self, cluster: Cluster, run: Run) -> None:
        first, second = spread(cluster)

        async def scenario() -> None:
            async with running(cluster.url + "?timeout_ms=200") as (store, user):
                await _up(store, user, claim(first, 1_000), claim(second, 1_000))
                taken = await user.take(store, claim(first, 1_000, 10))
                await anyio.to_thread.run_sync(cluster.owner(second).stop)
                began = time.monotonic()
                while not user.notes:
                    await user.ask(store, Take((claim(second, 1_000),), "x", HOUR_US))
                assert time.monotonic() - began < 3 * 0.2 + SLACK_SECONDS
                assert user.levels == ["error"]
                before = _count(cluster, first)
                store.tell(Settle((Charge(bucket(first, 1_000), 10, 0),), "lease", taken.at_us))
                await anyio.to_thread.run_sync(cluster.nodes[1].start)
                await user.until(lambda: len(user.notes) == 2)
                assert user.levels == ["error", "info"]
                assert isinstance(await user.ask(store, Take((claim(second, 9),), "x", HOUR_US)), Verdict)
                # What was told meanwhile has not been forgotten.
                await eventually(lambda: _count(cluster, first) == before - 10)

        run(scenario)

    def test_a_store_that_is_not_there_is_noted_once(self, run: Run) -> None:
        async def scenario() -> None:
            async with running("redis+cluster://127.0.0.1:1,localhost:1" + EASY) as (store, user):
                # Asked before anything is known, it waits for the first attempt.
                why = await user.ask(store, Take((claim("x", 1),), "x", HOUR_US))
                assert isinstance(why, Failed)
                assert user.levels == ["error"]
                assert "is down: it cannot be reached" in user.notes[0][1]
                await anyio.sleep(3 * clustered_store.PAUSE_SECONDS)
                assert user.levels == ["error"]

        run(scenario)

    def test_the_oldest_statements_are_lost_and_counted(
        self, cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (key,) = spread(cluster, 1)
        monkeypatch.setattr(clustered_store, "BACKLOG_MAX", 5)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                await _up(store, user, claim(key, 1_000))
                began = _count(cluster, key)
                for more in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
                    store.tell(Settle((Charge(bucket(key, 1_000), 0, more),), "x", 0))
                await eventually(lambda: _count(cluster, key) == began + 1_111_100)

        run(scenario)


class TestEntriesAndKeys:
    def test_an_entry_is_found_until_it_expires(self, cluster: Cluster, run: Run) -> None:
        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                assert await user.ask(store, ReadEntry("some")) is None
                store.tell(WriteEntry("some", b"\x00value", HOUR_US))
                store.tell(WriteEntry("brief", b"value", 1))
                owner = cluster.owner(PREFIX + "entry:some")
                await eventually(lambda: 0 < told(owner, "PTTL", PREFIX + "entry:some") <= HOUR_US / 1_000)
                entry = await user.ask(store, ReadEntry("some"))
                assert isinstance(entry, Entry)
                assert entry.value == b"\x00value"
                assert 0 <= entry.age_us < WAIT_SECONDS * 1_000_000
                await eventually(lambda: not told(cluster.owner(PREFIX + "entry:brief"), "EXISTS", "brief"))
                assert await user.ask(store, ReadEntry("brief")) is None

        run(scenario)

    def test_keys_are_read_when_their_version_is_new(self, cluster: Cluster, run: Run) -> None:
        entries, version = PREFIX + "keys", PREFIX + "keys:version"

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                assert await user.ask(store, ReadKeys("")) is None
                await anyio.to_thread.run_sync(
                    told, cluster.owner(entries), "HSET", entries, "a", "{}", "b", "1"
                )
                await anyio.to_thread.run_sync(told, cluster.owner(version), "SET", version, "7")
                keys = Keys("7", {"a": b"{}", "b": b"1"})
                assert await user.ask(store, ReadKeys("")) == keys
                assert await user.ask(store, ReadKeys("6")) == keys
                assert await user.ask(store, ReadKeys("7")) is None

        run(scenario)

    def test_what_is_no_utf_8_is_that_questions_trouble_alone(self, cluster: Cluster, run: Run) -> None:
        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                why = await user.ask(store, ReadEntry("\ud800"))
                assert why == "the question can't be written: a key is no UTF-8"
                assert await user.ask(store, ReadEntry("fine")) is None
                assert user.notes == []

        run(scenario)

    def test_too_large_an_entry_is_not_written(
        self, cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clustered_store, "ENTRY_BYTES_MAX", 5)

        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                store.tell(WriteEntry("large", b"123456", HOUR_US))
                store.tell(WriteEntry("small", b"12345", HOUR_US))
                owner = cluster.owner(PREFIX + "entry:small")
                await eventually(lambda: bool(told(owner, "EXISTS", PREFIX + "entry:small")))
                assert await user.ask(store, ReadEntry("large")) is None

        run(scenario)


@pytest.fixture
def guarded() -> Generator[Guarded, None, None]:
    with running_sentinel() as guarded:
        yield guarded


class TestSentinel:
    def test_all_claims_go_together_and_a_failover_is_survived(self, guarded: Guarded, run: Run) -> None:
        wanted = claim("{a}x", 1_000), claim("{b}x", 1_000), claim("y", 1)

        async def scenario() -> None:
            async with running(guarded.url + "?timeout_ms=300") as (store, user):
                assert (await user.take(store, *wanted)).allowed
                refused = await user.take(store, *wanted)
                assert (refused.refused, [it.remaining for it in refused.levels]) == (2, [999, 999, 0])
                assert await user.ask(store, ReadKeys("")) is None

                old = await anyio.to_thread.run_sync(lambda: guarded.master)
                await anyio.to_thread.run_sync(old.stop)
                while not user.notes:
                    began = time.monotonic()
                    await user.ask(store, Take(wanted, "x", HOUR_US))
                    assert time.monotonic() - began < 0.3 + SLACK_SECONDS
                assert user.levels == ["error"]
                await user.until(lambda: len(user.notes) == 2)
                assert user.notes[1][0] == "info"
                new = await anyio.to_thread.run_sync(lambda: guarded.master)
                assert new is not old
                # What the replica had heard of in time still counts.
                assert (await user.take(store, *wanted[:2])).levels[0].remaining in {998, 999}
                assert await anyio.to_thread.run_sync(told, new, "EXISTS", PREFIX + "{a}x")

        run(scenario)

    def test_a_master_that_was_demoted_is_left(self, guarded: Guarded, run: Run) -> None:
        wanted = (claim("x", 1_000),)

        async def scenario() -> None:
            async with running(guarded.url + EASY) as (store, user):
                assert (await user.take(store, *wanted)).allowed
                await anyio.to_thread.run_sync(guarded.swap)
                with anyio.fail_after(WAIT_SECONDS):
                    while not await anyio.to_thread.run_sync(
                        told, guarded.second, "EXISTS", PREFIX + "later"
                    ):
                        await user.ask(store, Take((claim("later", 1_000),), "x", HOUR_US))
                assert user.levels == ["error", "info"]

        run(scenario)

    def test_a_service_that_no_sentinel_knows_is_said(self, guarded: Guarded, run: Run) -> None:
        async def scenario() -> None:
            url = guarded.url.replace(SERVICE, "another")
            async with running(url + EASY) as (_, user):
                await user.until(lambda: bool(user.notes))
                assert "No primary found for 'another'" in user.notes[0][1]
                # Longer than coredis' own pool would have survived it.
                await anyio.sleep(1)
                assert user.levels == ["error"]

        run(scenario)


class TestTls:
    @pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "strange"])
    def test_a_certificate_is_checked(self, run: Run, tmp_path: Path, trusted: bool) -> None:
        own, strange = trustme.CA(), trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.issue_cert("127.0.0.1").configure_cert(context)
        path = tmp_path / "ca.pem"
        (own if trusted else strange).cert_pem.write_to_path(path)
        with running_behind_tls(context) as port:

            async def scenario() -> None:
                url = f"redis+cluster://127.0.0.1:{port}{EASY}&tls=true&ca={path}"
                async with running(url) as (store, user):
                    answer = await user.ask(store, Take((claim("x", 1),), "x", HOUR_US))
                    assert isinstance(answer, Verdict if trusted else Failed)

            run(scenario)

    def test_names_are_compared_unless_one_says_otherwise(self) -> None:
        checked = opening_of("redis+cluster://a:1?tls=true").context
        unchecked = opening_of("redis+cluster://a:1?tls=true&names=false").context
        assert checked is not None
        assert unchecked is not None
        assert (checked.check_hostname, unchecked.check_hostname) == (True, False)
        assert checked.verify_mode is unchecked.verify_mode is ssl.CERT_REQUIRED


class TestShells:
    def test_a_configuration_opens_it(self, cluster: Cluster, run: Run) -> None:
        async def scenario() -> None:
            user = User()
            settings = Store(Secret(cluster.url), timeout_ms=5_000, prefix="other:")
            store = open_store(settings, user)
            assert store.statistics() == {"up": 0, "calls": 0, "backlog": 0}
            async with anyio.create_task_group() as tasks:
                await tasks.start(store.run)
                assert (await user.take(store, claim("x", 5))).allowed
                assert store.up
                assert await anyio.to_thread.run_sync(told, cluster.owner("other:x"), "EXISTS", "other:x")
                tasks.cancel_scope.cancel()

        run(scenario)

    def test_a_prefix_with_a_hash_tag_keeps_everything_together(self, cluster: Cluster, run: Run) -> None:
        async def scenario() -> None:
            user = User()
            store = open_store(Store(Secret(cluster.url), timeout_ms=5_000, prefix="{one}:"), user)
            async with anyio.create_task_group() as tasks:
                await tasks.start(store.run)
                verdict = await user.take(store, *(claim(key, 5) for key in spread(cluster)))
                assert [level.remaining for level in verdict.levels] == [4, 4]
                sizes = [await anyio.to_thread.run_sync(told, node, "DBSIZE") for node in cluster.nodes]
                assert sorted(sizes)[:2] == [0, 0]
                tasks.cancel_scope.cancel()

        run(scenario)

    def test_before_it_runs_it_fails_at_once(self) -> None:
        async def scenario() -> None:
            user = User()
            store = ClusteredStore(user, opening_of("redis+cluster://127.0.0.1:1"))
            assert user.begin(store, ReadEntry("x")) in user.told

        anyio.run(scenario)

    def test_it_may_be_asked_from_a_callback_of_asyncio(self, cluster: Cluster) -> None:
        async def scenario() -> None:
            async with running(cluster.url + EASY) as (store, user):
                loop = asyncio.get_running_loop()
                # In no task, as a Protocol's methods are called.
                loop.call_soon(user.begin, store, ReadEntry("nothing"))
                loop.call_soon(store.tell, WriteEntry("nothing", b"", HOUR_US))
                await user.until(lambda: 1 in user.told)

        anyio.run(scenario, backend="asyncio")

    def test_without_coredis_it_says_what_to_install(self) -> None:
        program = "import sys; sys.modules['coredis'] = None; import stargate.clustered_store"
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "pip install 'stargate-gateway[cluster]'" in said.stderr


def _drain(key: str) -> Bucket:
    return Bucket(key, Algorithm.GCRA, 10, window_us=HOUR_US, burst=10)


def _leases(cluster: Cluster, key: str) -> set[bytes]:
    return set(told(cluster.owner(key), "ZRANGE", PREFIX + key, 0, -1))


def _count(cluster: Cluster, key: str) -> int:
    """What a FIXED bucket has counted."""
    text = told(cluster.owner(key), "GET", PREFIX + key)
    return 0 if text is None else int(text.split()[-1])


@contextlib.contextmanager
def _frozen(cluster: Cluster, key: str) -> Iterator[None]:
    node = cluster.owner(key)
    node.pause()
    try:
        yield
    finally:
        node.resume()


async def _up(store: ClusteredStore, user: User, *claims: Claim) -> None:
    """Until it answers: with a short time limit the first connection may come too late."""
    with anyio.fail_after(WAIT_SECONDS):
        while not isinstance(await user.ask(store, Take(claims, "up", HOUR_US)), Verdict):
            await anyio.lowlevel.checkpoint()
    user.notes.clear()
