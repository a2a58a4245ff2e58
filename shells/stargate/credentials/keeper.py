"""Keeping credentials fresh: asked for ahead of their end, and at once when AWS says that they are no good.

Each account has one task, and nobody else ever asks for it. So two searches for one account can't run side
by side, and whoever wants newer credentials only nudges that task and waits for its next result.

- Credentials that end are asked for fifteen minutes ahead, botocore's advisory window; those that live less
  than half an hour at half of their life. Those that don't end are looked at every five minutes: somebody
  may have edited the file. Where there are none, or a search failed, the next one comes after thirty
  seconds.
- A search that fails changes nothing while the old credentials last. (botocore throws them away ten minutes
  before their end, if it can't have newer ones then.)
- Sessions are told of another key, secret or token, not of another expiry.
- The end is on the wall clock, the pauses are on the monotonic one. The wall clock is looked at once a
  minute, for it may be set, and a machine may have slept.

A request waits in one place only, `refresh`, after AWS has refused what it was signed with. It returns
always: when others have come since, when there are others now, when there are none, after ten seconds.
Within five seconds of a search there is no second one: a refusal then has another reason, and a thousand
requests refused at once are one question.

Accounts may come and go while it runs: what is new is looked for before anybody needs it, and what nobody
needs any more is asked for no longer.

A search runs in a thread, which can't be ended. One that hangs is left behind after a while and the account
asked for again, with room for two: then searches fail until one of the two has ended.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from stargate.credentials.chain import Found, find
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.direction import Account

AHEAD_SECONDS: Final = 15 * 60.0
"""botocore's own advisory window."""
RETRY_SECONDS: Final = 30.0
LONG_LIVED_SECONDS: Final = 5 * 60.0
GAP_SECONDS: Final = 5.0
"""Between the end of a search and the next, at least."""
REFRESH_SECONDS: Final = 10.0
"""How long a request waits for newer credentials."""
_LOOK_SECONDS: Final = 60.0
_SEARCH_SECONDS: Final = 75.0
"""A little more than a credential_process has."""
_THREADS_MAX: Final = 2

Held: TypeAlias = Credentials | BearerToken | None
Ask: TypeAlias = Callable[[Account], Awaitable[Found]]


class _Kept:
    """One account, what is held of it, and whether its task is asking."""

    __slots__ = (
        "account",
        "ahead_seconds",
        "asked_at",
        "asking",
        "failing",
        "found",
        "running",
        "scope",
        "settled",
        "wanted",
    )

    def __init__(self, account: Account) -> None:
        self.account = account
        self.found = Found(None, "nowhere", "not found in time")
        self.ahead_seconds = 0.0
        self.failing: str | None = None
        """Why the last search failed, where there are credentials nevertheless."""
        self.asked_at: float | None = None
        self.running = False
        self.scope = anyio.CancelScope()
        """Of its task."""
        self.asking = False
        self.wanted = anyio.Event()
        self.settled = anyio.Event()


class Keeper:
    """Holds the credentials of all accounts, and tells `changed` when there are others.

    `wall_ns` gives the wall time in nanoseconds; `changed` gets {account's name: what is valid now}; `note`
    gets a level and a text for the operator; `ask` is how to search, a thread with botocore's chain unless
    told otherwise.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        wall_ns: Callable[[], int],
        changed: Callable[[Mapping[str, Held]], None],
        note: Callable[[str, str], None],
        ask: Ask | None = None,
    ) -> None:
        self._kept = {account.name: _Kept(account) for account in accounts}
        self._group: TaskGroup | None = None
        self._wall_ns = wall_ns
        self._changed = changed
        self._note = note
        self._ask: Ask = _Threads() if ask is None else ask

    async def first(self, seconds: float) -> dict[str, Found]:
        """Look for the credentials of all accounts, side by side, for so long at most. Tells `changed`."""
        return await self._look(self._kept, seconds)

    async def run(self) -> None:
        """Keep them fresh, for ever."""
        async with anyio.create_task_group() as group:
            self._group = group
            for kept in self._kept.values():
                group.start_soon(self._keep, kept)
            await anyio.sleep_forever()  # Others may come.

    async def change(self, accounts: Sequence[Account], seconds: float) -> None:
        """These are the accounts from now on. Those that are new, or other than before, are looked for at
        once, for so long at most. Tells `changed`.
        """
        before = self._kept
        now: dict[str, _Kept] = {}
        for account in accounts:
            known = before.get(account.name)
            now[account.name] = known if known is not None and known.account == account else _Kept(account)
        fresh = {name: kept for name, kept in now.items() if kept is not before.get(name)}
        found = await self._look(fresh, seconds)
        self._kept = now
        for name, kept in before.items():
            if now.get(name) is not kept:
                kept.scope.cancel()
        for name, kept in fresh.items():
            if found[name].credentials is None:
                self._note("warning", f"no AWS credentials of {name or 'default'}: {found[name].problem}")
            if self._group is not None:
                self._group.start_soon(self._keep, kept)

    async def _look(self, which: Mapping[str, _Kept], seconds: float) -> dict[str, Found]:
        """Search for all of these, side by side; what was found by then."""
        if which:
            with anyio.move_on_after(seconds):
                async with anyio.create_task_group() as group:
                    for kept in which.values():
                        group.start_soon(self._first, kept)
        found = {name: kept.found for name, kept in which.items()}
        self._changed({name: one.credentials for name, one in found.items()})
        return found

    def found(self) -> dict[str, Found]:
        """What is held of each account at this moment."""
        return {name: kept.found for name, kept in self._kept.items()}

    async def refresh(self, name: str, access_key_id: str) -> None:
        """AWS has refused these credentials of the account: return once there are others, or there can't be.

        access_key_id: which ones; '' for an API key. Returns within ten seconds, and raises nothing.
        """
        kept = self._kept.get(name)
        if kept is None or not kept.running:
            return
        held = kept.found.credentials
        if held is not None and _key_id(held) != access_key_id:
            return
        if not kept.asking:
            if kept.asked_at is not None and anyio.current_time() - kept.asked_at < GAP_SECONDS:
                return
            kept.wanted.set()
        with anyio.move_on_after(REFRESH_SECONDS):
            await kept.settled.wait()

    async def _first(self, kept: _Kept) -> None:
        self._hold(kept, self._unexpired(await self._ask(kept.account)))
        kept.asked_at = anyio.current_time()

    async def _keep(self, kept: _Kept) -> None:
        kept.running = True
        try:
            with kept.scope:
                while True:
                    pause = self._pause_seconds(kept)
                    if pause > 0:
                        with anyio.move_on_after(min(pause, _LOOK_SECONDS)):
                            await kept.wanted.wait()
                        if not kept.wanted.is_set() and self._pause_seconds(kept) > 0:
                            continue
                    await self._renew(kept)
        finally:
            kept.running = False
            kept.settled.set()

    async def _renew(self, kept: _Kept) -> None:
        kept.asking = True
        kept.wanted = anyio.Event()
        fresh = self._unexpired(await self._ask(kept.account))
        # Told before those who wait for it go on.
        self._settle(kept, fresh)
        kept.asking = False
        kept.asked_at = anyio.current_time()
        settled, kept.settled = kept.settled, anyio.Event()
        settled.set()

    def _settle(self, kept: _Kept, fresh: Found) -> None:
        """Let the result of a search take effect."""
        account = kept.account.name
        name = account or "default"
        held = kept.found.credentials
        if fresh.credentials is None:
            if held is not None and self._left_seconds(held) > 0:
                if kept.failing != fresh.problem:
                    why = f"could not be refreshed, the old ones stay: {fresh.problem}"
                    self._note("warning", f"AWS credentials of {name} {why}")
                kept.failing = fresh.problem
                return
            if held is not None:
                self._changed({account: None})
                self._note("error", f"AWS credentials of {name} have ended, without others: {fresh.problem}")
            elif fresh.problem != kept.found.problem:
                self._note("warning", f"AWS credentials of {name} are not to be had: {fresh.problem}")
        elif not _same(fresh.credentials, held):
            self._changed({account: fresh.credentials})
            self._note("info", f"AWS credentials of {name} are now from {fresh.method}")
        self._hold(kept, fresh)

    def _hold(self, kept: _Kept, found: Found) -> None:
        kept.found = found
        kept.failing = None
        kept.ahead_seconds = min(AHEAD_SECONDS, self._left_seconds(found.credentials) / 2)

    def _unexpired(self, found: Found) -> Found:
        """Found credentials whose end has passed are a problem."""
        if self._left_seconds(found.credentials) > 0:
            return found
        return Found(
            None, found.method, f"those that {found.method} gave have expired already: is the clock right?"
        )

    def _left_seconds(self, held: Held) -> float:
        """How long they last; infinite when they have no end, or are none."""
        if held is None or held.expires_at_ns is None:
            return math.inf
        return (held.expires_at_ns - self._wall_ns()) / 1e9

    def _pause_seconds(self, kept: _Kept) -> float:
        """Until the next search; none when it is due."""
        if kept.asked_at is None:
            return 0.0
        since = anyio.current_time() - kept.asked_at
        held = kept.found.credentials
        left = self._left_seconds(held)
        if held is None or kept.failing is not None:
            pause = min(RETRY_SECONDS - since, left)  # Their end is seen in time.
        elif left == math.inf:
            pause = LONG_LIVED_SECONDS - since
        else:
            pause = left - kept.ahead_seconds
        return max(pause, GAP_SECONDS - since)


class _Threads:
    """Searches in threads, for each account so many at once."""

    def __init__(self) -> None:
        self._places: dict[str, anyio.CapacityLimiter] = {}

    async def __call__(self, account: Account) -> Found:
        # A thread that was left behind keeps its place until it ends.
        places = self._places.get(account.name)
        if places is None:
            places = self._places[account.name] = anyio.CapacityLimiter(_THREADS_MAX)
        with anyio.move_on_after(_SEARCH_SECONDS):
            return await anyio.to_thread.run_sync(find, account, abandon_on_cancel=True, limiter=places)
        return Found(None, "nowhere", f"the search did not end within {_SEARCH_SECONDS:g} seconds")


def _key_id(held: Credentials | BearerToken) -> str:
    return held.access_key_id if isinstance(held, Credentials) else ""


def _same(one: Credentials | BearerToken, other: Held) -> bool:
    """Whether they are the same but for their end, which the metadata service's may put off."""
    return other is not None and (
        msgspec.structs.replace(one, expires_at_ns=None) == msgspec.structs.replace(other, expires_at_ns=None)
    )
