"""The store on a Redis Cluster, or on Redis behind Sentinels: the same face as the store on one server.

Questions are answered or failed, each exactly once unless it is withdrawn; statements are carried out when
that is possible. Nothing here ever waits for the servers but tasks of its own, on whatever event loop `run`
was started. The client of them is clustered_client.py's, and what it can and cannot be trusted with is told
there.

**Time.** Every question has `timeout_ms`; then it has failed, whatever its call does. The call itself is
not cancelled, but waited for up to a second: a Take that nobody wants any more and that was allowed is given
back. What is known of no Take — its connection broke — is whether it happened; then the leases it may hold
are given back, for that can't be wrong, and what it may have counted stays counted until its window passes:
too strict once rather than too lax.

**Up and down.** The store is *down* when a connection failed, a server said that it doesn't serve, or three
questions in a row had no answer in time. Then all questions fail at once, until every primary has answered a
probe. One note tells of each change. After mere slowness the connections are kept, so that late answers are
still heard; after anything else, everything is opened anew. A cluster that lacks a primary is down as a
whole, though two thirds of the keys might be had: so it also thinks itself (`cluster-require-full-coverage`),
and a limiter that holds for some callers only would be a riddle to everybody.

**Several servers.** A cluster runs a script only where all its keys have one hash slot, so a Take is taken
group by group, each being the claims of one hash tag, in order. When a group refuses, what the earlier ones
took is given back before the verdict is answered, and all other groups are asked for their levels with costs
of 0, so that a refusal has all levels, as they are then. Between taking and giving back, a moment, others see
those buckets fuller than they are.

A settlement must name the time at which its buckets were taken from, but has one for all. So the first group
is taken at its own server's time, and the others *at that time too*: then it is one and the same, and no
gateway's clock matters. The servers' clocks must agree as well as one wants limits of several groups to be
exact; a second of difference shifts the edges of some windows by a second.

**Failover loses the newest writes**, for Redis replicates without waiting: a few requests too many pass, some
leases are forgotten. Settlements survive it in memory, ten thousand at most, the oldest being dropped first;
one whose outcome is unknown is not repeated (except for its leases), so that nothing is charged twice.
"""

import random
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

import anyio
import anyio.abc
import msgspec

from stargate.clustered_client import (
    ClusteredClient,
    Opening,
    Unsayable,
    in_words,
    is_refusal,
    may_have_happened,
    opening,
)
from stargate_core.config.gateway_block import Store
from stargate_core.config.live_key import DEFAULT_PREFIX, ENTRIES_NAME, VERSION_NAME
from stargate_core.gateway.redis_calls import Words, answer_of, given_back, words_of
from stargate_core.limits.buckets import Algorithm, Charge, Claim, Level, Verdict
from stargate_core.limits.script import groups
from stargate_core.questions import (
    ReadEntry,
    ReadKeys,
    Settle,
    StoreAnswer,
    StoreQuestion,
    StoreStatement,
    Take,
    WriteEntry,
)

ASKS_MAX: Final = 1_000
"""Calls under way, those that nobody waits for any more included."""
BACKLOG_MAX: Final = 10_000
"""Statements that wait."""
BACKLOG_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of the entries among them."""
ENTRY_BYTES_MAX: Final = 8 * 1024 * 1024
"""Everybody's answers queue behind an entry."""
MISSES_MAX: Final = 3
"""Deadlines missed in a row: then the store is down."""
PAUSE_SECONDS: Final = 0.1
"""Before it is tried again; doubled each time."""
PAUSE_SECONDS_MAX: Final = 5.0
_SPEAKERS: Final = 8
"""Tasks that carry out statements. They share connections, so this many are on their way at a time."""
_NOT_YET: Final = "the store is not connected yet"


class StoreUser(Protocol):
    """Who asks. Told from tasks of the store's, or from within `ask`."""

    def store_answered(self, ticket: int, answer: StoreAnswer) -> None:
        """The answer to a question."""
        ...

    def store_failed(self, ticket: int, why: str) -> None:
        """There is none."""
        ...

    def note(self, level: str, text: str) -> None:
        """Something for the operator."""
        ...


def open_store(settings: Store, user: StoreUser) -> "ClusteredStore":
    """The store of a configuration that names several servers; `run` it. Raises BadTls."""
    assert settings.cluster is not None, "it names no cluster"
    return ClusteredStore(user, opening(settings.cluster), prefix=settings.prefix)


class _Asked:
    """A question that somebody waits for."""

    __slots__ = ("due", "question", "ticket")

    def __init__(self, ticket: int, question: StoreQuestion, due: float) -> None:
        self.ticket = ticket
        self.question = question
        self.due = due


class ClusteredStore:
    """The store."""

    def __init__(self, user: StoreUser, opening: Opening, *, prefix: str = DEFAULT_PREFIX) -> None:
        self._opening = opening
        self._user = user
        self._prefix = prefix.encode()
        self._timeout = opening.url.timeout_ms / 1000
        self._client: ClusteredClient | None = None
        self._down: str | None = None
        """Why questions fail at once; None: they don't. At the very start they wait for the first client."""
        self._lost_statements = 0
        self._asked: dict[int, _Asked] = {}
        """In the order of their deadlines, as all have the same time."""
        self._under_way = 0
        self._misses = 0
        self._missed_at = 0.0
        self._backlog: deque[StoreStatement] = deque()
        self._backlog_bytes = 0
        self._tasks: anyio.abc.TaskGroup | None = None
        self._opened: anyio.Event
        self._trouble: anyio.Event
        self._asking: anyio.Event
        self._telling: anyio.Event

    # -------------------------------------------------------------------------------------------- its face

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        """Ask something; exactly one of `store_answered` and `store_failed` follows, perhaps at once."""
        if self._down is not None or self._tasks is None:
            self._user.store_failed(ticket, self._down or _NOT_YET)
            return
        if self._under_way >= ASKS_MAX:
            self._user.store_failed(ticket, f"more than {ASKS_MAX} questions are under way")
            return
        asked = self._asked[ticket] = _Asked(ticket, question, time.monotonic() + self._timeout)
        self._under_way += 1
        self._tasks.start_soon(self._answer, asked)
        self._asking.set()

    def withdraw(self, ticket: int) -> None:
        """Want no answer any more; what is taken for it will be given back."""
        self._asked.pop(ticket, None)

    def tell(self, statement: StoreStatement) -> None:
        """Have something carried out, sooner or later."""
        if isinstance(statement, WriteEntry):
            size = len(statement.value)
            if (
                self._down is not None
                or size > ENTRY_BYTES_MAX
                or self._backlog_bytes + size > BACKLOG_BYTES_MAX
            ):
                # Only a cache's: it is written again when it is wanted again.
                return
            self._backlog_bytes += size
        if len(self._backlog) >= BACKLOG_MAX:
            self._taken_off(self._backlog.popleft())
            self._lost_statements += 1
        self._backlog.append(statement)
        if self._tasks is not None:
            self._telling.set()

    def drain(self, grace_ns: int) -> None:
        """The process is to end: what waits is said as soon as it can be, so there is nothing more to do."""

    @property
    def up(self) -> bool:
        """Whether the servers could be asked at this moment."""
        return self._client is not None and self._down is None

    def statistics(self) -> dict[str, int]:
        """How much is on its way, and how much is kept for later."""
        return {"up": int(self.up), "calls": self._under_way, "backlog": len(self._backlog)}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Connect, and keep going until cancelled; started when it may be asked."""
        self._opened = anyio.Event()
        self._asking = anyio.Event()
        self._telling = anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._give_up_in_time)
                for _ in range(_SPEAKERS):
                    tasks.start_soon(self._speak)
                task_status.started()
                await self._keep_connected()
        finally:
            self._tasks = None

    # ----------------------------------------------------------------------------------------- up and down

    async def _keep_connected(self) -> None:
        """Open one client after the other."""
        pause = PAUSE_SECONDS
        while True:
            since = time.monotonic()
            self._trouble = anyio.Event()
            try:
                async with self._opening.client() as client:
                    await client.probe(self._prefix)
                    self._rise(client)
                    await self._stay_up(client)
            except Exception as error:  # noqa: BLE001 - the client's block may end with anything
                self._fall(f"it cannot be reached: {in_words(error)}")
            self._client = None
            pause = PAUSE_SECONDS if time.monotonic() - since > PAUSE_SECONDS_MAX else pause
            await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret is drawn
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def _stay_up(self, client: ClusteredClient) -> None:
        """Until this client is no good."""
        pause = PAUSE_SECONDS
        while True:
            await self._trouble.wait()
            if client.broken:
                return
            # It was slow, no more: the same connections may serve again, and late answers come over them.
            await anyio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
            began = time.monotonic()
            await client.probe(self._prefix)
            if time.monotonic() - began <= self._timeout and not client.broken:
                self._trouble = anyio.Event()
                self._rise(client)
                pause = PAUSE_SECONDS

    def _rise(self, client: ClusteredClient) -> None:
        self._client = client
        self._misses = 0
        self._opened.set()
        self._telling.set()
        if self._down is not None:
            self._down = None
            lost, self._lost_statements = self._lost_statements, 0
            also = f"; {lost} settlements were lost" if lost else ""
            self._user.note("info", f"the store answers again{also}")

    def _fall(self, why: str) -> None:
        if self._down is not None:
            return
        self._down = f"the store is down: {why}"
        self._user.note("error", self._down)
        for asked in list(self._asked.values()):
            self._give_up(asked, self._down)

    def _worry(self, client: ClusteredClient, error: Exception) -> None:
        """A call has failed."""
        if client is self._client and not is_refusal(error):
            client.broken = True
            self._fall(in_words(error))
            self._trouble.set()

    # ------------------------------------------------------------------------------------------- questions

    async def _give_up_in_time(self) -> None:
        """Fail what is not answered in time."""
        while True:
            now = time.monotonic()
            asked = next(iter(self._asked.values()), None)
            if asked is None:
                self._asking = anyio.Event()
                await self._asking.wait()
            elif asked.due > now:
                await anyio.sleep(asked.due - now)
            else:
                self._give_up(asked, f"the store gave no answer within {self._opening.url.timeout_ms} ms")
                if asked.due - self._timeout >= self._missed_at:
                    # One hiccup counts once, however many it hits.
                    self._misses += 1
                    self._missed_at = now
                if self._misses >= MISSES_MAX and self._client is not None:
                    self._fall(f"{MISSES_MAX} questions in a row had no answer in time")
                    self._trouble.set()

    def _give_up(self, asked: _Asked, why: str) -> None:
        # Whoever is told of one may withdraw others.
        if self._asked.pop(asked.ticket, None) is not None:
            self._user.store_failed(asked.ticket, why)

    async def _answer(self, asked: _Asked) -> None:
        """Make the call of a question, to its end."""
        try:
            await self._opened.wait()
            client = self._client
            if client is None or asked.ticket not in self._asked:
                return
            try:
                answer = await self._answer_of(client, asked.question)
            except Exception as error:  # noqa: BLE001 - the client's calls may end with anything
                self._worry(client, error)
                self._give_up(asked, in_words(error))
                return
        finally:
            self._under_way -= 1
        if self._asked.pop(asked.ticket, None) is not None:
            self._misses = 0
            self._user.store_answered(asked.ticket, answer)
        elif isinstance(asked.question, Take) and isinstance(answer, Verdict) and answer.allowed:
            self.tell(given_back(asked.question, answer))

    async def _answer_of(self, client: ClusteredClient, question: StoreQuestion) -> StoreAnswer:
        match question:
            case Take():
                return await self._take(client, question)
            case ReadEntry():
                return answer_of(question, await client.call(self._words(question)), _wall_us())
            case ReadKeys():
                return answer_of(question, await self._keys(client, question), _wall_us())

    async def _take(self, client: ClusteredClient, take: Take) -> Verdict:
        """Take group by group."""
        # Without claims it is one group all the same, as it is for a single server.
        parts = (client.has_slots and groups(take.claims)) or [list(range(len(take.claims)))]
        said: list[tuple[list[int], Verdict]] = []
        at_us: int | None = None
        for indexes in parts:
            part = _part(take, indexes)
            try:
                answer = await self._take_part(client, part, at_us)
            except Exception as error:
                self._take_back(take, [index for indexes, _ in said for index in indexes], at_us or 0)
                if may_have_happened(error):
                    self._release(part.claims, take.lease)
                raise
            at_us = answer.at_us if at_us is None else at_us
            if not answer.allowed:
                return await self._refusal(client, take, said, (indexes, answer), at_us)
            said.append((indexes, answer))
        return _merged(len(take.claims), said)

    async def _refusal(
        self,
        client: ClusteredClient,
        take: Take,
        taken: list[tuple[list[int], Verdict]],
        refused: tuple[list[int], Verdict],
        at_us: int,
    ) -> Verdict:
        """Give back what was taken; the verdict with the levels of all."""
        said = [refused]
        for number, (indexes, _) in enumerate(taken):
            try:
                await client.call(self._words(given_back(_part(take, indexes), refused[1])))
            except Exception as error:
                unsure = indexes if may_have_happened(error) else []
                self._release([take.claims[index] for index in unsure], take.lease)
                rest = taken[number if not unsure else number + 1 :]
                self._take_back(take, [index for indexes, _ in rest for index in indexes], at_us)
                raise
        for indexes in groups(take.claims) if client.has_slots else []:
            if indexes != refused[0]:
                nothing = _part(take, indexes, costs=False)
                said.append((indexes, await self._take_part(client, nothing, at_us)))
        return _merged(len(take.claims), said)

    def _take_back(self, take: Take, indexes: list[int], at_us: int) -> None:
        if indexes:
            charges = tuple(
                Charge(take.claims[index].bucket, take.claims[index].cost, 0) for index in indexes
            )
            self.tell(Settle(charges, take.lease, at_us))

    def _release(self, claims: Iterable[Claim], lease: str) -> None:
        """Give up the leases that may be held: no harm where they aren't."""
        charges = tuple(
            Charge(claim.bucket, claim.cost, 0)
            for claim in claims
            if claim.bucket.algorithm is Algorithm.CONCURRENT
        )
        if charges:
            self.tell(Settle(charges, lease, 0))

    async def _take_part(self, client: ClusteredClient, part: Take, at_us: int | None) -> Verdict:
        """What one server says to claims of one hash tag."""
        answer = answer_of(part, await client.call(self._words(part, now_us=at_us)), _wall_us())
        assert isinstance(answer, Verdict)
        return answer

    async def _keys(self, client: ClusteredClient, question: ReadKeys) -> object:
        """What READ_KEYS would answer, asked in two steps: in a cluster the names have two slots. The version
        comes first, so that keys that are newer than it are read again with the next.
        """
        if not client.has_slots:
            return await client.call(self._words(question))
        version = await client.call([b"GET", self._prefix + VERSION_NAME.encode()]) or b""
        if version == question.version.encode():
            return None
        return [version, await client.read_all(self._prefix + ENTRIES_NAME.encode())]

    def _words(self, said: StoreQuestion | StoreStatement, *, now_us: int | None = None) -> Words:
        try:
            return words_of(said, self._prefix, _wall_us(), now_us=now_us)
        except ValueError:
            raise Unsayable("the question can't be written: a key is no UTF-8") from None

    # ------------------------------------------------------------------------------------------ statements

    async def _speak(self) -> None:
        """Carry out statements for ever."""
        while True:
            client = self._client
            if client is None or self._down is not None or not self._backlog:
                if self._telling.is_set():
                    self._telling = anyio.Event()
                await self._telling.wait()
                continue
            statement = self._taken_off(self._backlog.popleft())
            if isinstance(statement, Settle):
                await self._settle(client, statement)
            else:
                await self._write(client, statement)

    async def _settle(self, client: ClusteredClient, settle: Settle) -> None:
        """Settle group by group; what certainly was not done is done again."""
        claims = [Claim(charge.bucket, 0) for charge in settle.charges]
        parts = groups(claims) if client.has_slots else [list(range(len(claims)))]
        for number, indexes in enumerate(parts):
            part = _charges(settle, indexes)
            try:
                await client.call(self._words(part))
            except Exception as error:  # noqa: BLE001 - the client's calls may end with anything
                self._worry(client, error)
                if is_refusal(error):
                    continue
                again = parts[number + 1 :] if may_have_happened(error) else parts[number:]
                if may_have_happened(error):
                    self._release((claims[index] for index in indexes), settle.lease)
                rest = [index for indexes in again for index in indexes]
                if rest:
                    self._backlog.appendleft(_charges(settle, rest))
                return

    async def _write(self, client: ClusteredClient, entry: WriteEntry) -> None:
        try:
            await client.call(self._words(entry))
        except Exception as error:  # noqa: BLE001 - the client's calls may end with anything
            self._worry(client, error)

    def _taken_off(self, statement: StoreStatement) -> StoreStatement:
        """A statement that is out of the backlog."""
        if isinstance(statement, WriteEntry):
            self._backlog_bytes -= len(statement.value)
        return statement


def _part(take: Take, indexes: list[int], *, costs: bool = True) -> Take:
    """The same for some of its claims, perhaps only to ask for their levels."""
    claims = tuple(take.claims[index] for index in indexes)
    if not costs:
        claims = tuple(Claim(claim.bucket, 0) for claim in claims)
    return msgspec.structs.replace(take, claims=claims)


def _charges(settle: Settle, indexes: list[int]) -> Settle:
    return msgspec.structs.replace(settle, charges=tuple(settle.charges[index] for index in indexes))


def _wall_us() -> int:
    return time.time_ns() // 1000


def _merged(claims: int, said: list[tuple[list[int], Verdict]]) -> Verdict:
    """One verdict out of those of all groups, each with the places of its claims."""
    levels: dict[int, Level] = {}
    refused: list[int] = []
    waits: list[int] = []
    for indexes, part in said:
        levels.update(zip(indexes, part.levels, strict=True))
        if not part.allowed:
            refused.append(indexes[part.refused])
            waits.append(part.retry_after_us)
    return Verdict(
        allowed=not refused,
        at_us=said[0][1].at_us,
        levels=tuple(levels[index] for index in range(claims)),
        refused=min(refused, default=-1),
        retry_after_us=-1 if -1 in waits else max(waits, default=0),
    )
