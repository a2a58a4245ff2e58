"""Evidence: what must have happened for a cause that the gateway names to a good request.

A `Case` is all that is known of one failure; `EVIDENCE` says of each cause what it takes. It must have
happened to this very request, or to the flight that told it: the ledger of a store has refused it, a lease
was refused to it, its own time was up by the world's clock. What stands in none of the rows may never be said
to a good request.

*A shared call's time.* Until a flight begins to answer it has the time of its order, and the first in line
hears that it is up, also one who came later and would have had more: so a `TOTAL_TIMEOUT` is true where the
request's own time is up, or where that of a flight was which it waited for.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from sim.asks import Ask
from sim.deeds import Deeds, Flown
from sim.features import TIMES
from sim.http_answer import read_answer
from sim.judge import Call, Shared
from sim.readings import frames
from sim.redis_server import digest_of
from stargate_core.clock import SECOND
from stargate_core.messages import Trouble

if TYPE_CHECKING:
    from sim.world import World

GRACE_NS: Final = 3 * SECOND
"""How long what runs may go on when the process drains."""
_SILENCE_NS: Final = 10 * SECOND
"""No stream may be silent for so long, by any limit of a world's."""


KEYS_LATE_NS: Final = 2 * SECOND
"""The store is asked for its keys once a second."""


def _ns(seconds: float | None) -> int:
    return int((seconds or 0) * SECOND)


TOTAL_NS: Final = _ns(TIMES.total)
FIRST_TOKEN_NS: Final = _ns(TIMES.first_token)
IDLE_NS: Final = _ns(TIMES.idle)


class Case:
    """What is known of one failure."""

    def __init__(
        self, world: "World", client: Any, ask: Ask, request_id: str, record: dict[str, Any]
    ) -> None:
        self.world = world
        self.ask = ask
        self.client = client
        self.request_id = request_id
        self.record = record
        judge = world.judge
        self.ended_at: int = judge.emitted_at[request_id]
        self.lasted_ns: int = round(record["total_ms"] * 1_000_000)
        self.shared: list[Shared] = judge.shared.get(request_id, [])
        self._own: list[Call] = judge.calls_by_request.get(request_id, [])

    @property
    def begun_at(self) -> int:
        """When the gateway had the whole request, to a microsecond."""
        return self.ended_at - self.lasted_ns

    def has(self, *features: str) -> bool:
        """Whether the world has one of these."""
        return any(map(self.world.features.has, features))

    @property
    def deeds(self) -> Deeds:
        """What befell the request itself."""
        return self.world.judge.witness.of(self.request_id)

    @property
    def flights(self) -> list[Flown]:
        """Those that can have told it this cause."""
        witness, cause = self.world.judge.witness, self.record["cause"]
        return [
            flown
            for one in self.shared
            for flown in witness.failed_with(one.order.key, cause, one.at, self.ended_at)
        ]

    @property
    def calls(self) -> Iterator[Call]:
        """Its own, and those whose answer it was given, or may have been."""
        judge = self.world.judge
        yield from self._own
        for one in self.shared:
            for flown in judge.witness.flown.get(one.order.key, ()):
                yield from judge.calls_by_request.get(flown.name, ())

    def told(self, trouble: Trouble) -> bool:
        """Whether it, or a flight that it waited for, was refused a lease for this reason."""
        witness = self.world.judge.witness
        return trouble in self.deeds.troubles or any(
            trouble in witness.of(flown.name).troubles for flown in self.flights
        )

    @property
    def troubled(self) -> bool:
        """Whether Bedrock or the network has done something to one of its calls."""
        return any(map(_troubled, self.calls))

    @property
    def silent(self) -> bool:
        """Whether it was a stream that Bedrock has left silent for longer than one may."""
        if not self._own or not self.record.get("stream") or self.client in self.world.judge.stalled:
            return False
        last = self._own[-1]
        return self.ended_at - max(last.at, last.heard_at) > _SILENCE_NS

    @property
    def last_calls(self) -> Iterator[tuple[Call, int]]:
        """Its last call, or those of the flights that told it so; and when each was given up."""
        calls = self.world.judge.calls_by_request
        yield from [(call, self.ended_at) for call in self._own[-1:]]
        for flown in self.flights:
            yield from [(call, flown.ended_at) for call in calls.get(flown.name, ())[-1:]]

    def never_began(self) -> bool:
        """Whether nothing of a call's answer came within the time for its first token."""
        return any(self._quiet_ns(call, call.at, end) >= FIRST_TOKEN_NS for call, end in self.last_calls)

    def fell_silent(self) -> bool:
        """Whether nothing more of a call's answer came within the time between two events.

        An event that has not come whole is none; it takes less than a second.
        """
        return any(
            self._quiet_ns(call, call.heard_at, end) >= IDLE_NS - SECOND for call, end in self.last_calls
        )

    def _quiet_ns(self, call: Call, since: int, end: int) -> int:
        """For how long nothing came, and whoever made the call took what came."""
        for begin, until in self.world.judge.stalls.get(call.caller, ()):
            if begin < end:  # What it is told of the end may stall it again.
                since = max(since, min(until, end))
        return end - since


def _troubled(call: Call) -> bool:
    exchange = call.exchange
    return bool(call.struck) or (exchange is not None and bool(exchange.scenario or exchange.error))


def _limited(case: Case, *, for_ever: bool) -> bool:
    """A store's own ledger must say that it has refused this request, and for how long."""
    waits = [one.refused[case.request_id] for one in case.world.ledgers if case.request_id in one.refused]
    return any((wait < 0) is for_ever for wait in waits)


def _total(case: Case) -> bool:
    if case.lasted_ns >= TOTAL_NS and not case.silent:
        return True
    return any(
        flown.ended_at - flown.launched_at >= (TOTAL_NS if flown.began else flown.order.total_ns)
        for flown in case.flights
    )


def _draining(case: Case) -> bool:
    over_at = case.world.judge.witness.drained_at + GRACE_NS
    return case.ended_at >= over_at or any(flown.ended_at >= over_at for flown in case.flights)


def _left_alone(case: Case) -> bool:
    """All its targets must have been left alone, but for those where it was given no turn."""
    if not case.has("breaker"):
        return False
    judge = case.world.judge
    told = [(case.deeds, case.begun_at, case.ended_at)]
    told += [(judge.witness.of(one.name), one.launched_at, one.ended_at) for one in case.flights]
    count = case.world.features.targets if case.has("failover") else 1
    return any(
        deeds.turned_away or len(judge.witness.were_open(case.record["target"], since, until)) >= count
        for deeds, since, until in told
    )


def _without_credentials(case: Case) -> bool:
    at: int = case.world.credentials_at
    return case.begun_at <= at


def _shut_out(case: Case) -> bool:
    """The key must be one of the store's, and not be known as a good one."""
    return case.ask.live and False in key_states(case.world, case.ask.consumer, case.begun_at)


def key_states(world: "World", consumer: str, at: int) -> set[bool]:
    """What a consumer's key in the store may be to the gateway at this moment: good, or none, or either.

    It is what the process was told last; and where nothing hinders the store from telling, that is not older
    than `KEYS_LATE_NS`.
    """
    redis = world.redis
    if redis is None:
        return {False}
    known = world.judge.witness.opens(digest_of(consumer).decode(), at)
    if any(map(world.features.has, ("redis-faults", "lateness", "cuts"))):
        return known
    return known & redis.opened(consumer, at - KEYS_LATE_NS, at)


def _stream(case: Case) -> bool:
    return case.troubled


def _cut(case: Case) -> bool:
    """Bedrock must not have said why: who was told so of a stream has to hear that."""
    return case.troubled and not any(_error_within(call) for call, _ in case.last_calls)


def _error_within(call: Call) -> str:
    """The exception inside of a stream that has reached the gateway; '': there is none."""
    answer = read_answer(bytes(call.heard))
    if answer is None or answer.status != 200:
        return ""
    for headers, _ in frames(answer.body):
        if headers.get(":message-type") == "exception":
            return headers.get(":exception-type", "")
    return ""


_KIN: Final[dict[str, tuple[str, ...]]] = {
    "UPSTREAM_VALIDATION": ("validation", "serialization", "unsupportedmediatype"),
    "UPSTREAM_ACCESS_DENIED": ("accessdenied", "denied"),
    "UPSTREAM_CREDENTIALS": ("expiredtoken", "unrecognizedclient", "signature", "missingauthentication"),
    "UPSTREAM_NOT_FOUND": ("resourcenotfound",),
    "UPSTREAM_CONFLICT": ("conflict",),
    "UPSTREAM_THROTTLED": ("throttling", "retry-after"),
    "UPSTREAM_QUOTA": ("servicequotaexceeded",),
    "UPSTREAM_NOT_READY": ("modelnotready",),
    "UPSTREAM_MODEL_TIMEOUT": ("modeltimeout",),
    "UPSTREAM_MODEL_ERROR": ("modelerror", "modelstreamerror"),
    "UPSTREAM_INTERNAL": ("internalserver", "empty-500"),
    "UPSTREAM_UNAVAILABLE": ("serviceunavailable", "html-502"),
    "BODY_TOO_LARGE": ("requestentitytoolarge",),
}
"""What stands in the names of the errors, or of the simulator's scenarios, that are told so."""
_ANYTHING: Final = ("status", "stream-error", "200-with-error-body", "unknownoperation")
"""Scenarios that can be any error."""


def _bedrock(case: Case) -> bool:
    kin = (*_KIN.get(case.record["cause"], ("",)), *_ANYTHING)
    for call in case.calls:
        if call.exchange is not None and (call.exchange.error or call.exchange.scenario):
            named = f"{call.exchange.error} {call.exchange.scenario}".lower()
            if any(word in named for word in kin):
                return True
    return False


EVIDENCE: Final[dict[str, Callable[[Case], bool]]] = {
    "KEY_INVALID": _shut_out,
    "RATE_LIMITED": lambda case: _limited(case, for_ever=False),
    "LIMIT_TOO_SMALL": lambda case: _limited(case, for_ever=True),
    "STORE_UNAVAILABLE": lambda case: case.deeds.unanswered,
    "CREDENTIALS_MISSING": _without_credentials,
    "UPSTREAM_CREDENTIALS": lambda case: _without_credentials(case) or _bedrock(case),
    "DRAINING": _draining,
    "POOL_TIMEOUT": lambda case: case.told(Trouble.POOL_TIMEOUT),
    "CIRCUIT_OPEN": _left_alone,
    "CONNECT_FAILED": lambda case: (
        case.told(Trouble.REFUSED) or case.told(Trouble.UNREACHABLE) or case.told(Trouble.NAME_UNKNOWN)
    ),
    "TLS_FAILED": lambda case: case.told(Trouble.TLS),
    "CONNECT_TIMEOUT": lambda case: case.told(Trouble.CONNECT_TIMEOUT),
    "FIRST_TOKEN_TIMEOUT": lambda case: case.troubled and case.never_began(),
    "IDLE_TIMEOUT": lambda case: case.troubled and case.fell_silent(),
    "TOTAL_TIMEOUT": _total,
    "UPSTREAM_GARBLED": _stream,
    "UPSTREAM_LOST": _cut,
    "STREAM_CUT": _cut,
    "STREAM_CORRUPT": _stream,
    "MODEL_OUTPUT_MALFORMED": _stream,
    "CLIENT_TOO_SLOW": lambda case: bool(case.shared) and case.deeds.paused,
    "UPSTREAM_VALIDATION": _bedrock,
    "UPSTREAM_ACCESS_DENIED": _bedrock,
    "UPSTREAM_NOT_FOUND": _bedrock,
    "UPSTREAM_CONFLICT": _bedrock,
    "UPSTREAM_THROTTLED": _bedrock,
    "UPSTREAM_QUOTA": _bedrock,
    "UPSTREAM_NOT_READY": _bedrock,
    "UPSTREAM_MODEL_TIMEOUT": _bedrock,
    "UPSTREAM_MODEL_ERROR": _bedrock,
    "UPSTREAM_INTERNAL": _bedrock,
    "UPSTREAM_UNAVAILABLE": _bedrock,
    "UPSTREAM_UNKNOWN": _bedrock,
    "CONTEXT_OVERFLOW": _bedrock,
    "BODY_TOO_LARGE": _bedrock,
}
"""The whole table of reasons."""
