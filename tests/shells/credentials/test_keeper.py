"""Credentials are kept fresh: ahead of their end, at once when AWS refuses them, one search at a time, and no
failure takes away what is still good.

The rules of time are tested on trio's clock, with a chain that is told what to give; what has to do with
threads and sockets, with botocore's chain and the stand-ins.
"""

import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import trio
from trio.testing import MockClock

from stargate.credentials import Found, Keeper
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.direction import Account, Role
from stargate_core.secret import Secret
from support.aws_places import HOUR, Metadata, Sts, isolate

MINUTE: Final = 60.0
EPOCH_NS: Final = 1_800_000_000 * 10**9
USUAL: Final = Account("")
NAMED: Final = Account("team", profile="team")


class Chain:
    """A chain that gives what it is told to, after `takes` seconds; in virtual time."""

    def __init__(self) -> None:
        self.begun = trio.current_time()
        self.asked: list[float] = []
        """When it was asked, in seconds since the beginning."""
        self.takes = 0.0
        self.gives: Found | Callable[[], Found] = Found(None, "nowhere", "none yet")
        self.at_once = 0
        self._now = 0

    def wall_ns(self) -> int:
        return EPOCH_NS + int((trio.current_time() - self.begun) * 1e9)

    def since(self) -> float:
        """Seconds since the beginning."""
        return round(trio.current_time() - self.begun, 3)

    def give(self, key: str, seconds: float | None = None) -> None:
        """From now on give these, which last so long from now."""
        end = None if seconds is None else self.wall_ns() + int(seconds * 1e9)
        self.gives = Found(Credentials(key, Secret(f"secret of {key}"), None, end), "env")

    def fail(self, problem: str = "not now") -> None:
        self.gives = Found(None, "nowhere", problem)

    async def __call__(self, account: Account) -> Found:
        self.asked.append(self.since())
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        try:
            await trio.sleep(self.takes)
        finally:
            self._now -= 1
        return self.gives() if callable(self.gives) else self.gives


class Told(NamedTuple):
    """Something the keeper said."""

    at: float
    what: str


class World:
    """A keeper over a chain, and what it told."""

    def __init__(self, *accounts: Account) -> None:
        self.chain = Chain()
        self.changes: list[Told] = []
        self.notes: list[str] = []
        self.keeper = Keeper(
            accounts or (USUAL,),
            wall_ns=self.chain.wall_ns,
            changed=self._changed,
            note=lambda level, text: self.notes.append(f"{level}: {text}"),
            ask=self.chain,
        )

    def _changed(self, credentials: Mapping[str, Credentials | BearerToken | None]) -> None:
        for name, held in credentials.items():
            what = (
                held.access_key_id if isinstance(held, Credentials) else "a bearer token" if held else "none"
            )
            self.changes.append(Told(self.chain.since(), f"{name}={what}"))

    @contextlib.asynccontextmanager
    async def running(self, *, first: bool = True) -> AsyncGenerator[None]:
        """It runs while the block does."""
        if first:
            await self.keeper.first(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeper.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()

    async def until(self, seconds: float) -> None:
        """Let time pass until so long after the beginning."""
        await trio.sleep(seconds - self.chain.since())


@pytest.mark.trio
class TestFirst:
    async def test_all_are_looked_for_side_by_side_and_told(self, autojump_clock: MockClock) -> None:
        world = World(USUAL, NAMED)
        world.chain.give("A")
        world.chain.takes = 3
        found = await world.keeper.first(5)
        assert {name: one.method for name, one in found.items()} == {"": "env", "team": "env"}
        assert world.changes == [Told(3, "=A"), Told(3, "team=A")]

    async def test_one_that_takes_long_does_not_cost_the_others(self, autojump_clock: MockClock) -> None:
        world = World(USUAL, NAMED)
        world.chain.give("A")

        async def ask(account: Account) -> Found:
            if account is NAMED:
                await trio.sleep_forever()
            return await world.chain(account)

        keeper = Keeper(
            (USUAL, NAMED), wall_ns=world.chain.wall_ns, changed=world._changed, note=print, ask=ask
        )
        found = await keeper.first(5)
        assert found["team"] == Found(None, "nowhere", "not found in time")
        assert world.changes == [Told(5, "=A"), Told(5, "team=none")]

    async def test_and_is_asked_again_at_once(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A")
        world.chain.takes = 6
        async with world.running():
            await world.until(12)
        assert world.chain.asked == [0, 5]
        assert world.changes == [Told(5, "=none"), Told(11, "=A")]

    async def test_what_has_expired_already_is_none(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", -1)
        found = await world.keeper.first(5)
        assert found[""].credentials is None
        assert "is the clock right?" in found[""].problem

    async def test_without_accounts_there_is_nothing_to_do(self, autojump_clock: MockClock) -> None:
        keeper = Keeper((), wall_ns=lambda: 0, changed=lambda _: None, note=lambda *_: None)
        assert await keeper.first(5) == {}
        with trio.move_on_after(HOUR):
            await keeper.run()
        await keeper.refresh("", "A")


@pytest.mark.trio
class TestOtherAccounts:
    async def test_a_new_one_is_looked_for_at_once_and_kept_fresh(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A")
        async with world.running():
            world.chain.give("B", 2 * HOUR)
            await world.keeper.change((USUAL, NAMED), 5)
            assert world.changes[-1] == (0, "team=B")
            world.chain.give("C", 9 * HOUR)
            await world.until(2 * HOUR)
        assert Told(2 * HOUR - 15 * MINUTE, "team=C") in world.changes

    async def test_one_that_stays_is_not_asked_again(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 2 * HOUR)
        async with world.running():
            await world.keeper.change((USUAL,), 5)
        assert world.chain.asked == [0]

    async def test_one_that_is_gone_is_asked_for_no_more(self, autojump_clock: MockClock) -> None:
        world = World(USUAL, NAMED)
        world.chain.give("A", 2 * HOUR)
        async with world.running():
            await world.keeper.change((), 5)
            await world.until(3 * HOUR)
            await world.keeper.refresh("", "A")
        assert world.chain.asked == [0, 0]

    async def test_one_of_the_same_name_but_another_role_is_new(self, autojump_clock: MockClock) -> None:
        world = World(NAMED)
        world.chain.give("A")
        async with world.running():
            world.chain.give("B")
            await world.keeper.change((Account("team", profile="other"),), 5)
        assert [change.what for change in world.changes] == ["team=A", "team=B"]

    async def test_one_without_credentials_is_told_of_and_looked_for_again(
        self, autojump_clock: MockClock
    ) -> None:
        world = World()
        world.chain.give("A")
        async with world.running():
            world.chain.fail("no such profile")
            await world.keeper.change((USUAL, NAMED), 5)
            assert world.notes == ["warning: no AWS credentials of team: no such profile"]
            world.chain.give("B")
            await world.until(MINUTE)
        assert world.changes[-1].what == "team=B"

    async def test_who_takes_too_long_is_not_waited_for(self, autojump_clock: MockClock) -> None:
        world = World()
        async with world.running():
            world.chain.give("B")
            world.chain.takes = 8
            await world.keeper.change((NAMED,), 5)
            assert world.chain.since() == 5
            await world.until(20)
        assert world.changes[-1].what == "team=B"


@pytest.mark.trio
class TestAhead:
    async def test_they_are_asked_for_fifteen_minutes_ahead(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 2 * HOUR)
        async with world.running():
            await world.until(1)
            world.chain.give("B", 5 * HOUR)
            await world.until(2 * HOUR)
        assert world.chain.asked == [0, 2 * HOUR - 15 * MINUTE]
        assert world.changes == [Told(0, "=A"), Told(2 * HOUR - 15 * MINUTE, "=B")]
        assert world.notes == ["info: AWS credentials of default are now from env"]

    @pytest.mark.parametrize(("lasting", "asked"), [(1_800.0, 900.0), (900.0, 450.0), (60.0, 30.0)])
    async def test_those_that_live_shortly_at_half_of_their_life(
        self, autojump_clock: MockClock, lasting: float, asked: float
    ) -> None:
        world = World()
        world.chain.give("A", lasting)
        async with world.running():
            await world.until(1)
            world.chain.give("B", 5 * HOUR)
            await world.until(lasting)
        assert world.chain.asked == [0, asked]

    async def test_never_without_a_pause(self, autojump_clock: MockClock) -> None:
        """A helper may print what it has cached until the last second."""
        world = World()
        world.chain.give("A", 30)
        async with world.running():
            await world.until(29)
        assert len(world.chain.asked) >= 3
        gaps = [b - a for a, b in zip(world.chain.asked, world.chain.asked[1:], strict=False)]
        assert min(gaps) >= 5

    async def test_those_without_an_end_are_looked_at_now_and_then(self, autojump_clock: MockClock) -> None:
        """Somebody may have put others into the file."""
        world = World()
        world.chain.give("A")
        async with world.running():
            await world.until(301)
            world.chain.give("B")
            await world.until(700)
        assert world.chain.asked == [0, 300, 600]
        assert world.changes == [Told(0, "=A"), Told(600, "=B")]

    async def test_where_there_were_none_they_are_looked_for(self, autojump_clock: MockClock) -> None:
        world = World()
        async with world.running():
            await world.until(31)
            world.chain.give("A")
            await world.until(100)
        assert world.chain.asked == [0, 30, 60]
        assert world.changes == [Told(0, "=none"), Told(60, "=A")]
        # The same reason is not repeated every half minute.
        assert world.notes == ["info: AWS credentials of default are now from env"]

    async def test_another_reason_is_told(self, autojump_clock: MockClock) -> None:
        world = World()
        async with world.running():
            world.chain.fail("AccessDenied")
            await world.until(100)
        assert world.notes == ["warning: AWS credentials of default are not to be had: AccessDenied"]

    async def test_another_end_is_no_change(self, autojump_clock: MockClock) -> None:
        """The metadata service's credentials are put off while it has no newer ones."""
        world = World()
        world.chain.give("A", 1_200)
        async with world.running():
            await world.until(500)
            world.chain.give("A", 1_200)
            await world.until(1_700)
        assert len(world.chain.asked) > 2
        assert world.changes == [Told(0, "=A")]

    async def test_another_secret_is_one(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A")
        async with world.running():
            world.chain.gives = Found(Credentials("A", Secret("another")), "env")
            await world.until(301)
        assert len(world.changes) == 2

    async def test_an_api_key_may_take_the_place_of_keys(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A")
        async with world.running():
            world.chain.gives = Found(BearerToken(Secret("key")), "AWS_BEARER_TOKEN_BEDROCK")
            await world.until(1_000)
        assert world.changes == [Told(0, "=A"), Told(300, "=a bearer token")]
        assert world.notes == ["info: AWS credentials of default are now from AWS_BEARER_TOKEN_BEDROCK"]

    async def test_the_wall_clock_may_be_set(self, autojump_clock: MockClock) -> None:
        """Or the machine has slept: the monotonic clock does not know."""
        world = World()
        world.chain.give("A", 6 * HOUR)
        async with world.running():
            await world.until(100)
            world.chain.begun -= 5.9 * HOUR
            at = world.chain.since()
            world.chain.give("B", 6 * HOUR)
            await trio.sleep(61)
        assert len(world.chain.asked) == 2
        assert world.chain.asked[1] - at < 61


@pytest.mark.trio
class TestFailure:
    async def test_the_old_ones_stay_while_they_are_good(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", HOUR)
        async with world.running():
            world.chain.fail()
            await world.until(45 * MINUTE + 95)
            world.chain.give("B", 5 * HOUR)
            await world.until(HOUR)
        assert world.chain.asked == [0, 2_700, 2_730, 2_760, 2_790, 2_820]
        assert world.changes == [Told(0, "=A"), Told(2_820, "=B")]
        assert world.notes[0] == (
            "warning: AWS credentials of default could not be refreshed, the old ones stay: not now"
        )

    async def test_and_go_when_they_end(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", HOUR - 7)
        async with world.running():
            world.chain.fail()
            world.chain.takes = 0.7
            await world.until(HOUR + 60)
        # Not half a minute after their end.
        assert world.changes == [Told(0, "=A"), Told(HOUR - 7 + 0.7, "=none")]
        assert world.notes[-1] == "error: AWS credentials of default have ended, without others: not now"

    async def test_those_without_an_end_stay(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A")
        async with world.running():
            world.chain.fail()
            await world.until(24 * HOUR)
        assert world.changes == [Told(0, "=A")]
        # The same reason is not repeated every half minute.
        assert len(world.notes) == 1

    async def test_expired_ones_do_not_replace_good_ones(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", HOUR)
        async with world.running():
            world.chain.give("B", 60)
            await world.until(HOUR - 1)
        assert world.changes == [Told(0, "=A")]


@pytest.mark.trio
class TestRefresh:
    async def test_newer_ones_are_told_before_it_returns(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 5 * HOUR)
        async with world.running():
            await world.until(100)
            world.chain.give("B", 5 * HOUR)
            world.chain.takes = 2
            await world.keeper.refresh("", "A")
            assert world.changes == [Told(0, "=A"), Told(102, "=B")]
            assert world.chain.since() == 102

    async def test_fifty_at_once_are_one_search(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 5 * HOUR)
        async with world.running():
            await world.until(100)
            world.chain.give("B", 5 * HOUR)
            world.chain.takes = 2
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(world.keeper.refresh, "", "A")
            assert world.chain.since() == 102
            await world.until(200)
        assert world.chain.asked == [0, 100]

    async def test_it_joins_the_timers_own_search(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", HOUR)
        async with world.running():
            world.chain.takes = 4
            await world.until(45 * MINUTE + 1)
            world.chain.give("B", 5 * HOUR)
            await world.keeper.refresh("", "A")
            assert world.chain.since() == 45 * MINUTE + 4
            await world.until(HOUR)
        assert world.chain.asked == [0, 45 * MINUTE]
        assert world.chain.at_once == 1

    async def test_others_than_those_refused_are_held_already(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("B", 5 * HOUR)
        async with world.running():
            await world.until(100)
            await world.keeper.refresh("", "A")
            assert world.chain.since() == 100
        assert world.chain.asked == [0]

    async def test_there_is_no_second_one_within_five_seconds(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 5 * HOUR)
        async with world.running():
            await world.until(100)
            for second in range(100, 120):
                await world.until(second)
                await world.keeper.refresh("", "A")
                # Those that come too early are not kept waiting either.
                assert world.chain.since() == second
        assert world.chain.asked == [0, 100, 105, 110, 115]

    @pytest.mark.parametrize("held", [5 * HOUR, None])
    async def test_a_failure_returns_too(self, autojump_clock: MockClock, held: float | None) -> None:
        world = World()
        world.chain.give("A", held)
        async with world.running():
            await world.until(100)
            world.chain.fail()
            world.chain.takes = 1
            await world.keeper.refresh("", "A")
            assert world.chain.since() == 101
        assert world.changes == [Told(0, "=A")]
        assert len(world.notes) == 1

    async def test_where_there_are_none_it_looks(self, autojump_clock: MockClock) -> None:
        world = World()
        async with world.running():
            await world.until(10)
            world.chain.give("B")
            await world.keeper.refresh("", "A")
        assert world.changes == [Told(0, "=none"), Told(10, "=B")]

    async def test_it_returns_within_ten_seconds(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 5 * HOUR)
        async with world.running():
            await world.until(100)
            world.chain.takes = 60
            world.chain.give("B", 5 * HOUR)
            await world.keeper.refresh("", "A")
            assert world.chain.since() == 110
            await world.keeper.refresh("", "A")
            assert world.chain.since() == 120
            # What it waited for comes nevertheless.
            await world.until(170)
        assert world.chain.asked == [0, 100]
        assert world.changes == [Told(0, "=A"), Told(160, "=B")]

    async def test_one_who_leaves_takes_nothing_away(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 5 * HOUR)
        async with world.running():
            await world.until(100)
            world.chain.takes = 4
            world.chain.give("B", 5 * HOUR)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.keeper.refresh, "", "A")
                with trio.move_on_after(1):
                    await world.keeper.refresh("", "A")
            assert world.chain.since() == 104
        assert world.changes[-1] == Told(104, "=B")

    async def test_an_api_key_has_no_id(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.gives = Found(BearerToken(Secret("key")), "AWS_BEARER_TOKEN_BEDROCK")
        async with world.running():
            await world.until(100)
            await world.keeper.refresh("", "A")
            assert world.chain.asked == [0]
            await world.keeper.refresh("", "")
            assert world.chain.asked == [0, 100]
        assert world.changes == [Told(0, "=a bearer token")]

    async def test_one_account_does_not_wait_for_another(self, autojump_clock: MockClock) -> None:
        world = World(USUAL, NAMED)
        world.chain.give("A", 5 * HOUR)
        async with world.running():
            await world.until(100)
            world.chain.takes = 60
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.keeper.refresh, "", "A")
                await trio.testing.wait_all_tasks_blocked()
                world.chain.takes = 1
                await world.keeper.refresh("team", "A")
                assert world.chain.since() == 101

    async def test_one_that_nobody_described_is_nothing_to_wait_for(self, autojump_clock: MockClock) -> None:
        world = World()
        async with world.running():
            await world.keeper.refresh("nobody", "A")
        assert world.chain.since() == 0

    async def test_it_does_not_wait_for_a_keeper_that_does_not_run(self, autojump_clock: MockClock) -> None:
        world = World()
        world.chain.give("A", 5 * HOUR)
        await world.keeper.first(5)
        await trio.sleep(100)
        await world.keeper.refresh("", "A")
        async with trio.open_nursery() as nursery:
            async with world.running(first=False):
                world.chain.takes = 60
                nursery.start_soon(world.keeper.refresh, "", "A")
                await trio.testing.wait_all_tasks_blocked()
        # Whoever waits when it ends goes on.
        assert world.chain.since() == 100


class Real:
    """A keeper over botocore's chain, in real time."""

    def __init__(self, *accounts: Account) -> None:
        self.changes: list[dict[str, Credentials | BearerToken | None]] = []
        self.notes: list[str] = []
        self.keeper = Keeper(
            accounts,
            wall_ns=time.time_ns,
            changed=lambda change: self.changes.append(dict(change)),
            note=lambda level, text: self.notes.append(f"{level}: {text}"),
        )

    def key_id(self, name: str = "") -> str:
        """The latest told."""
        for change in reversed(self.changes):
            if name in change:
                held = change[name]
                assert isinstance(held, Credentials)
                return held.access_key_id
        raise AssertionError("it was never told")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where AWS's tools find nothing; and no five seconds' pause before a second search."""
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr("stargate.credentials.keeper.GAP_SECONDS", 0.0)
    return tmp_path


@pytest.mark.trio
class TestOverSockets:
    async def test_fifty_refusals_are_one_request(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "credentials").write_text("[default]\naws_access_key_id=AKID\naws_secret_access_key=s\n")
        account = Account("prod", role=Role("arn:aws:iam::123456789012:role/bedrock"), region="eu-west-1")
        with Sts({"AKID": "s"}) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            real = Real(account)
            found = await real.keeper.first(30)
            assert found["prod"].method == "assume-role"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(real.keeper.run)
                await trio.testing.wait_all_tasks_blocked()
                # All of them are waiting before the answer comes.
                sts.gate.clear()
                async with trio.open_nursery() as refused:
                    for _ in range(50):
                        refused.start_soon(real.keeper.refresh, "prod", "ASIA1")
                    await trio.testing.wait_all_tasks_blocked()
                    sts.gate.set()
                assert real.key_id("prod") == "ASIA2"
                assert len(sts.asked) == 2
                # A refusal is noted; what is held stays.
                sts.failure = (403, "AccessDenied", "User: arn:aws:iam::1:user/me is not authorized")
                await real.keeper.refresh("prod", "ASIA2")
                assert real.key_id("prod") == "ASIA2"
                assert "the old ones stay: ClientError: AccessDenied" in real.notes[-1]
                nursery.cancel_scope.cancel()

    async def test_a_rotated_token_is_used(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "token").write_text("eyJ.first")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        with Sts() as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            real = Real(USUAL)
            await real.keeper.first(30)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(real.keeper.run)
                await trio.testing.wait_all_tasks_blocked()
                (home / "token").write_text("eyJ.second")
                await real.keeper.refresh("", "ASIA1")
                nursery.cancel_scope.cancel()
        assert real.key_id() == "ASIA2"
        assert [asked.form["WebIdentityToken"] for asked in sts.asked] == ["eyJ.first", "eyJ.second"]

    @pytest.mark.usefixtures("home")
    async def test_an_instances_role_is_renewed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Metadata() as metadata:
            for name, value in metadata.environment.items():
                monkeypatch.setenv(name, value)
            real = Real(USUAL)
            await real.keeper.first(30)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(real.keeper.run)
                await trio.testing.wait_all_tasks_blocked()
                metadata.forget()
                metadata.key_id = "ASIANEXT"
                await real.keeper.refresh("", "ASIAIMDS")
                nursery.cancel_scope.cancel()
        assert real.key_id() == "ASIANEXT"

    async def test_searches_that_hang_are_two_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A thread can't be ended: it is left behind, and keeps its place until it ends by itself."""
        begun: list[Account] = []
        end = threading.Event()

        def hang(account: Account) -> Found:
            begun.append(account)
            end.wait(60)
            return Found(Credentials("B", Secret("s")), "env")

        monkeypatch.setattr("stargate.credentials.keeper.GAP_SECONDS", 0.0)
        monkeypatch.setattr("stargate.credentials.keeper._SEARCH_SECONDS", 0.2)
        monkeypatch.setattr("stargate.credentials.keeper.find", hang)
        real = Real(USUAL)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(real.keeper.run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(4):
                await real.keeper.refresh("", "A")
            assert len(begun) == 2
            (note,) = real.notes
            assert note.endswith("are not to be had: the search did not end within 0.2 seconds")
            # One that ends makes room.
            end.set()
            with trio.fail_after(30):
                while not real.changes:
                    await real.keeper.refresh("", "A")
            nursery.cancel_scope.cancel()
        assert real.key_id() == "B"


@pytest.mark.trio
async def test_a_clock_that_stands_still_asks_nothing(mock_clock: MockClock) -> None:
    """Over hours nobody is asked before the time has come."""
    world = World()
    world.chain.give("A", 5 * HOUR)
    async with world.running():
        for _ in range(100):
            mock_clock.jump(2 * MINUTE)
            await trio.testing.wait_all_tasks_blocked()
    assert world.chain.asked == [0]
