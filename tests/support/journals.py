"""Recorded benches, and the lives that tests of journals are about.

`RecordedBench` is a bench whose session is recorded; `SCENARIOS` are lives of it, one for each thing that is
worth a journal. They are made of what a bench can do and of times that are written here, so each run gives
the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import ProxyTarget
from stargate_core.config.plugin_configs import ApiKeyAuth, RateLimiter, ResponseCache, Retry
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.journal.format import FlightBeginning, Journal
from stargate_core.journal.lives import Life, Ring
from stargate_core.journal.recorder import FlightRecorder, SessionRecorder
from stargate_core.journal.write import Redact, journal_of
from stargate_core.limits.buckets import Level, Verdict
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    CredentialsChanged,
    FlightBegan,
    FlightEnded,
    FlightEvent,
    FlightSent,
    OpenUpstream,
    Source,
    Ticked,
    Trouble,
    UpstreamOpened,
    UpstreamSent,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.secret import Secret
from support.bedrock import (
    BAD_FRAMES,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    exception,
    stream_head,
)
from support.machines import LOG, WALL_EPOCH_NS, Bench, a_config, a_plan, chat, proxy

KEY: Final = "sk-team-a-0123456789abcdef"
TEAM: Final = Consumer(username="team-a", keyauth_credentials=[KeyCredential(key=Secret(KEY))])
GUARD: Final = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
AUTHORIZED: Final = {"authorization": f"Bearer {KEY}"}
CREDENTIALS: Final = Credentials("AKIDSTARGATE", Secret("aws-secret"))
MIB: Final = 1 << 20
STORY: Final = converse_story(["Once ", "upon ", "a ", "time ", "there ", "was ", "a ", "gateway."])
PACKAGE: Final = "0"
"""The version that the journals of tests say they were written by."""


class _Front:
    """What a bench has in its session's place: the recorder, and the state that a bench looks at."""

    def __init__(self, recorder: SessionRecorder) -> None:
        self._recorder = recorder
        self.handle = recorder.handle

    @property
    def state(self) -> Any:
        return self._recorder.session.state

    @property
    def deadline(self) -> int | None:
        return self._recorder.deadline

    @property
    def closed(self) -> bool:
        return self._recorder.closed

    @property
    def busy(self) -> bool:
        return self._recorder.busy


class RecordedBench(Bench):
    """A bench whose session is recorded; `lives` are those that are over."""

    def __init__(
        self, plan: Plan | None = None, *, ring: Ring | None = None, later: tuple[Plan, ...] = (), **rest: Any
    ) -> None:
        self.ring = ring or Ring(64 * MIB, 16 * MIB)
        self.lives: list[Life] = []
        plan = plan or a_plan()
        self._plans = {each.generation: each for each in (plan, *later)}
        super().__init__(plan, later=later, **rest)

    @property
    def session(self) -> Any:
        """The session, through its recorder."""
        return self._front

    @session.setter
    def session(self, session: Session) -> None:
        self._front = _Front(SessionRecorder(session, self._plans, self.ring, self.lives.append))

    @property
    def life(self) -> Life:
        """The one life with a request in it that is over."""
        (life,) = self.lives
        return life


class RecordedFlight:
    """A flight that is recorded, with one follower: a bench, which is told what the flight reports."""

    def __init__(self, bench: RecordedBench) -> None:
        self.bench = bench
        self.lives: list[Life] = []
        ((self._ticket, follow),) = bench.followed.items()
        plan, now, seed = bench.plan, bench.now, 7
        flight = Flight(plan, follow.order, flight=1, wall_epoch_ns=WALL_EPOCH_NS, seed=seed, now=now)
        beginning = FlightBeginning(plan.generation, follow.order, 1, WALL_EPOCH_NS, f"{seed:x}", now)
        self.recorder = FlightRecorder(flight, beginning, bench.ring, self.lives.append, now=now)
        self.tell(CredentialsChanged("", CREDENTIALS))
        self.tell(Ticked())

    def tell(self, event: FlightEvent) -> None:
        """Hand the flight a fact, and its follower what comes of it."""
        for command in self.recorder.handle(self.bench.now, event):
            match command:
                case OpenUpstream(ticket):
                    self.tell(UpstreamOpened(ticket, 1, reused=False))
                case FlightBegan():
                    began = AnswerBegan(self._ticket, Source.MADE, command.headers, 0, command.target)
                    self.bench.tell(began)
                case FlightSent(_, data):
                    self.bench.tell(AnswerSent(self._ticket, data))
                case FlightEnded(_, fault):
                    del self.bench.followed[self._ticket]
                    ended = AnswerEnded(self._ticket) if fault is None else AnswerFailed(self._ticket, fault)
                    self.bench.tell(ended)
                case _:
                    pass

    def answer(self, *pieces: bytes) -> None:
        """Bedrock sends bytes."""
        for piece in pieces:
            self.bench.now += 20 * MILLISECOND
            self.tell(UpstreamSent(1, piece))


def journal(life: Life, redact: Redact | None = None) -> Journal:
    """The journal of a life; unless told otherwise as it was, but for its secrets."""
    return journal_of(life, package=PACKAGE, plugins=BUILT_IN, redact=redact)


# --------------------------------------------------------------------------------------------- what happened


def _asked(bench: RecordedBench, *, stream: bool = True) -> RecordedBench:
    """It is asked for something, a while after the connection was made, and the call is written."""
    bench.advance(2 * SECOND)
    bench.ask(chat(stream=stream, headers=AUTHORIZED))
    bench.advance(3 * MILLISECOND)
    bench.open()
    bench.advance(250 * MILLISECOND)
    return bench


def _streamed(bench: RecordedBench, frames: Sequence[bytes]) -> None:
    bench.answer(stream_head())
    for frame in frames:
        bench.advance(20 * MILLISECOND)
        bench.answer(chunk(frame))


def a_guarded_plan(*entries: PluginEntry, **config: Any) -> Plan:
    """A plan with a key for team-a, and these plugins."""
    return a_plan(a_config(plugins=[GUARD, proxy(**config), LOG, *entries], consumers=[TEAM]))


def plain_ok() -> list[Life]:
    """A plain answer."""
    bench = _asked(RecordedBench(a_guarded_plan()), stream=False)
    bench.answer(converse_answer())
    return bench.lives


def stream_ok() -> list[Life]:
    """A stream, whole."""
    bench = _asked(RecordedBench(a_guarded_plan()))
    _streamed(bench, STORY.frames)
    bench.answer(LAST_CHUNK)
    return bench.lives


def exception_in_stream() -> list[Life]:
    """Bedrock breaks a stream off with an exception."""
    bench = _asked(RecordedBench(a_guarded_plan()))
    _streamed(bench, [*STORY.frames[:4], exception("modelStreamErrorException", "The model is unwell.")])
    return bench.lives


def bad_crc() -> list[Life]:
    """A frame is damaged on its way."""
    bench = _asked(RecordedBench(a_guarded_plan()))
    _streamed(bench, [*STORY.frames[:4], BAD_FRAMES["a bad message checksum"]])
    return bench.lives


def retry_then_success() -> list[Life]:
    """A call fails, and the second one at the same place goes well."""
    bench = _asked(RecordedBench(a_guarded_plan(retry=Retry(count=2, delay=100))), stream=False)
    bench.answer(aws_error("ModelNotReadyException", 429, "Warming up."))
    while not bench.questions:
        bench.advance(10 * MILLISECOND)
    bench.reply(answer=True)
    bench.open()
    bench.advance(300 * MILLISECOND)
    bench.answer(converse_answer())
    return bench.lives


def failover() -> list[Life]:
    """One region is down, another one answers."""
    targets = [
        ProxyTarget(name=region, region=region, endpoint_url=f"http://{region}.test:80")
        for region in ("us-east-1", "us-west-2")
    ]
    bench = RecordedBench(a_guarded_plan(retry=Retry(count=1), targets=targets))
    bench.ask(chat(stream=False, headers=AUTHORIZED))
    bench.refuse(Trouble.REFUSED, "Connection refused")
    bench.reply(answer=True)
    bench.open()
    bench.advance(300 * MILLISECOND)
    bench.answer(converse_answer())
    return bench.lives


def rate_limited() -> list[Life]:
    """There is nothing left of a limit."""
    limiter = PluginEntry(name="rate-limiter", config=RateLimiter(minute=5))
    bench = RecordedBench(a_guarded_plan(limiter))
    bench.ask(chat(headers=AUTHORIZED))
    at_us = WALL_EPOCH_NS // 1000
    bench.reply(Verdict(False, at_us, (Level(0, 41_000_000),), refused=0, retry_after_us=41_000_000))
    return bench.lives


def client_left() -> list[Life]:
    """The caller goes in the middle of its answer."""
    bench = _asked(RecordedBench(a_guarded_plan()))
    _streamed(bench, STORY.frames[:4])
    bench.advance(15 * MILLISECOND)
    bench.leave(lost=True)
    return bench.lives


def cache_follower() -> list[Life]:
    """A call is made for whoever wants its answer, and fails: the caller's life, and the call's own."""
    bench = RecordedBench(a_guarded_plan(PluginEntry(name="response-cache", config=ResponseCache())))
    bench.ask(chat(stream=True, headers=AUTHORIZED))
    flight = RecordedFlight(bench)
    frames = [*STORY.frames[:4], exception("throttlingException", "Too many tokens.")]
    flight.answer(stream_head(), *map(chunk, frames))
    return [*bench.lives, *flight.lives]


SCENARIOS: Final[Mapping[str, Callable[[], list[Life]]]] = {
    "plain-ok": plain_ok,
    "stream-ok": stream_ok,
    "exception-in-stream": exception_in_stream,
    "bad-crc": bad_crc,
    "retry-then-success": retry_then_success,
    "failover": failover,
    "rate-limited": rate_limited,
    "client-left": client_left,
    "cache-follower": cache_follower,
}
"""Lives by name; where there are several, the first is a session's."""
