"""Checkpoints: a session that goes on from one orders what the original orders, whatever comes after."""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.sigv4 import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ApiKeyAuth, Retry
from stargate_core.config.schema import Config, Consumer, Gateway, PluginEntry, TimeLimits
from stargate_core.gateway.checkpoint import Checkpoint, checkpoint, is_quiet, resume
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.messages import (
    ClientDrained,
    ClientSent,
    ClientStalled,
    CredentialsChanged,
    Draining,
    Health,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    SessionCommand,
    SessionEvent,
    Trouble,
)
from stargate_core.questions import Turn
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
from support.machines import LOG, Bench, a_plan, chat, converse, proxy, request

Codec = Literal["fast", "reference"]

STORY: Final = converse_story()
GENERATIONS: Final = (1, 2, 3)
CODECS: Final[tuple[Codec, ...]] = ("fast", "reference")
KEY: Final = "5" * 64


def a_config(generation: int, codec: Codec) -> Config:
    """Configurations that differ in what a session keeps of one: limits, framing, persistence."""
    limits = TimeLimits(client_idle=10.0 * generation, client_stall=7.0 * generation)
    return Config(
        gateway=Gateway(http_codec=codec, max_body_bytes=1024 * generation, time_limits=limits),
        plugins=[
            proxy(retry=Retry(count=generation)),
            LOG,
            PluginEntry(name="api-key-auth", config=ApiKeyAuth(anonymous="guest")),
        ],
        consumers=[Consumer(username="guest")],
    )


PLANS: Final[dict[Codec, dict[int, Plan]]] = {
    codec: {number: a_plan(a_config(number, codec), generation=number) for number in GENERATIONS}
    for codec in CODECS
}


class Watched(Bench):
    """A bench that keeps what its session was told, and a checkpoint wherever one can be taken."""

    def __init__(self, codec: Codec) -> None:
        self.steps: list[tuple[int, SessionEvent, list[SessionCommand]]] = []
        self.checkpoints: list[tuple[int, Checkpoint]] = []
        """Before which step, and the checkpoint."""
        plans = PLANS[codec]
        super().__init__(plans[1], later=tuple(plans.values()))

    def tell(self, event: SessionEvent) -> list[SessionCommand]:
        """As any bench; and look before."""
        if is_quiet(self.session):
            self.checkpoints.append((len(self.steps), checkpoint(self.session)))
        commands = super().tell(event)
        self.steps.append((self.now, event, commands))
        return commands


def _ask(data: bytes) -> Callable[[Watched], None]:
    def ask(bench: Watched) -> None:
        bench.ask(data)

    return ask


def _cut(bench: Watched) -> None:
    """A request in two pieces."""
    data = chat()
    bench.client.methods.append(b"POST")
    bench.send(data[:30])
    if bench.closed is None:
        bench.send(data[30:])


def _pipelined(bench: Watched) -> None:
    bench.client.methods += [b"POST", b"GET"]
    bench.send(chat() + request("/healthz", method="GET"))


def _open(bench: Watched) -> None:
    if bench.asked:
        bench.open()


def _refuse(bench: Watched) -> None:
    if bench.asked:
        bench.refuse(Trouble.REFUSED)


def _grant(bench: Watched) -> None:
    if bench.questions and isinstance(next(iter(bench.questions.values())), Turn):
        bench.reply(answer=True)


def _answer(*pieces: bytes) -> Callable[[Watched], None]:
    def answer(bench: Watched) -> None:
        for piece in pieces:
            if bench.held:
                bench.answer(piece)

    return answer


def _break(bench: Watched) -> None:
    if bench.held:
        bench.upstream_breaks()


def _told(event: SessionEvent) -> Callable[[Watched], None]:
    def tell(bench: Watched) -> None:
        bench.tell(event)

    return tell


def _wait(duration_ns: int) -> Callable[[Watched], None]:
    def wait(bench: Watched) -> None:
        bench.advance(duration_ns)

    return wait


ACTIONS: Final[dict[str, Callable[[Watched], None]]] = {
    "asks": _ask(chat()),
    "asks for a stream": _ask(chat(stream=True)),
    "asks natively": _ask(converse("converse-stream")),
    "asks with a key": _ask(chat(headers={"authorization": "Bearer nobody"})),
    "asks with a body that generation 1 refuses": _ask(chat(user="x" * 1500)),
    "asks in HTTP/1.0": _ask(chat(version="1.0")),
    "asks how the gateway is": _ask(request("/healthz", method="GET")),
    "asks in two pieces": _cut,
    "asks twice at once": _pipelined,
    "sends an empty line": _told(ClientSent(b"\r\n")),
    "gets a lease": _open,
    "gets no lease": _refuse,
    "gets a turn": _grant,
    "is answered": _answer(converse_answer()),
    "is streamed to": _answer(stream_head(), chunk(STORY.whole), LAST_CHUNK),
    "is streamed half to": _answer(stream_head(), chunk(STORY.beginning + STORY.middle)),
    "sees an exception": _answer(chunk(exception("throttlingException"))),
    "sees an error": _answer(aws_error("ThrottlingException", 429)),
    "is cut off": _break,
    "waits a second": _wait(SECOND),
    "waits a while": _wait(8 * SECOND),
    "stalls": _told(ClientStalled()),
    "drains": _told(ClientDrained()),
    "hears of a breaker": _told(HealthChanged("bedrock", Health.HALF_OPEN)),
    "hears of others": _told(HealthChanged("us-east-1", Health.OPEN, 20 * SECOND)),
    "hears it is well": _told(HealthChanged("us-east-1", Health.CLOSED)),
    "hears of credentials": _told(CredentialsChanged("", Credentials("AKIDNEW", Secret("other")))),
    "hears there are none": _told(CredentialsChanged("", None)),
    "hears of keys": _told(KeysChanged({KEY: b'{"consumer": "guest"}'})),
    **{f"is configured anew: {number}": _told(Reconfigured(number)) for number in GENERATIONS},
    "is to end": _told(Draining(5 * SECOND)),
}


def lived(codec: Codec, names: list[str]) -> Watched:
    """A bench to which all this has happened, as far as it could."""
    bench = Watched(codec)
    for name in names:
        if bench.closed is None:
            ACTIONS[name](bench)
    return bench


def replayed(bench: Watched, codec: Codec, at: int, begun: Checkpoint) -> None:
    """A session from this checkpoint on orders what the original has ordered, and waits for the same."""
    session = resume(begun, PLANS[codec], Session)
    for now, event, commands in bench.steps[at:]:
        assert session.handle(now, event) == commands
    assert session.deadline == bench.session.deadline
    assert session.closed == bench.session.closed
    if is_quiet(session):
        assert checkpoint(session) == checkpoint(bench.session)


class TestResume:
    @pytest.mark.parametrize("codec", CODECS)
    @given(names=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=30))
    def test_from_any_quiet_point_on_it_is_the_same_life(self, codec: Codec, names: list[str]) -> None:
        bench = lived(codec, names)
        for at, begun in bench.checkpoints:
            replayed(bench, codec, at, begun)

    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize("first", sorted(ACTIONS))
    def test_after_a_request_the_next_is_served_alike(self, codec: Codec, first: str) -> None:
        request_ = ["asks for a stream", "gets a lease", "is streamed to"]
        bench = lived(codec, [*request_, first, *request_, "waits a while", *request_])
        assert len(bench.checkpoints) > 1
        for at, begun in bench.checkpoints:
            replayed(bench, codec, at, begun)

    def test_it_may_have_been_written_down_between(self) -> None:
        bench = lived("fast", ["hears of keys", "hears of a breaker", "asks", "gets a lease", "is answered"])
        begun = checkpoint(bench.session)
        builtins = msgspec.to_builtins(msgspec.structs.replace(begun, credentials={}), str_keys=True)
        again = msgspec.convert(builtins, Checkpoint)
        assert again == msgspec.structs.replace(begun, credentials={})

    def test_a_checkpoint_does_not_change_with_its_session(self) -> None:
        bench = lived("fast", ["hears of credentials", "hears of a breaker"])
        begun, copy = checkpoint(bench.session), checkpoint(bench.session)
        for name in ("hears there are none", "hears of others", "hears of keys", "asks"):
            ACTIONS[name](bench)
        assert begun == copy
        assert begun.tickets == 0

    @pytest.mark.parametrize("name", ["asks", "sends half a head"])
    def test_within_a_request_there_is_none(self, name: str) -> None:
        bench = Watched("fast")
        bench.send(chat() if name == "asks" else b"POST / HT")
        assert not is_quiet(bench.session)
        with pytest.raises(AssertionError, match="a request is under way"):
            checkpoint(bench.session)
