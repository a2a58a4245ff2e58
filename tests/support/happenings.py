"""Whatever can happen to a session, by name: for tests that a property holds in any history.

Each thing is done as far as it can be done: nobody is given a lease who has not asked for one.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ApiKeyAuth, Retry
from stargate_core.config.schema import Config, Consumer, Gateway, PluginEntry, TimeLimits
from stargate_core.gateway.plan import Plan
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


def _ask(data: bytes) -> Callable[[Bench], None]:
    def ask(bench: Bench) -> None:
        bench.ask(data)

    return ask


def _cut(bench: Bench) -> None:
    """A request in two pieces."""
    data = chat()
    bench.client.methods.append(b"POST")
    bench.send(data[:30])
    if bench.closed is None:
        bench.send(data[30:])


def _pipelined(bench: Bench) -> None:
    bench.client.methods += [b"POST", b"GET"]
    bench.send(chat() + request("/healthz", method="GET"))


def _open(bench: Bench) -> None:
    if bench.asked:
        bench.open()


def _refuse(bench: Bench) -> None:
    if bench.asked:
        bench.refuse(Trouble.REFUSED)


def _grant(bench: Bench) -> None:
    if bench.questions and isinstance(next(iter(bench.questions.values())), Turn):
        bench.reply(answer=True)


def _answer(*pieces: bytes) -> Callable[[Bench], None]:
    def answer(bench: Bench) -> None:
        for piece in pieces:
            if bench.held:
                bench.answer(piece)

    return answer


def _break(bench: Bench) -> None:
    if bench.held:
        bench.upstream_breaks()


def _told(event: SessionEvent) -> Callable[[Bench], None]:
    def tell(bench: Bench) -> None:
        bench.tell(event)

    return tell


def _wait(duration_ns: int) -> Callable[[Bench], None]:
    def wait(bench: Bench) -> None:
        bench.advance(duration_ns)

    return wait


ACTIONS: Final[dict[str, Callable[[Bench], None]]] = {
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


def happen(bench: Bench, names: Sequence[str]) -> None:
    """All this happens to it, until its connection is over."""
    for name in names:
        if bench.closed is None:
            ACTIONS[name](bench)
