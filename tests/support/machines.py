"""A bench for sessions: a shell without sockets, which checks every step.

It hands a session facts at a time of its own choosing, keeps account of what the session orders, reads what
the client is sent with h11, and asserts after each step what must hold in every state:

- `handle` has not raised, and the next deadline is not behind;
- nothing is written behind the end of the connection;
- every byte sent to the client is HTTP, one final response to a request at most;
- every byte sent upstream is HTTP, on a lease that is held;
- a ticket is asked once, and answered or withdrawn once; a lease is given back once;
- an answer is followed once, and left once.

`settle` asserts what must hold at the end: nothing is held, and every exchange left exactly one record.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import h11
import msgspec

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import BedrockProxy, RequestLogger, Retry
from stargate_core.config.schema import Config, Gateway, PluginEntry
from stargate_core.gateway.exchange import Exchange
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Exchanging, Session
from stargate_core.gateway.states import SETTLED
from stargate_core.messages import (
    AbortClient,
    Answered,
    Ask,
    ClientEnded,
    ClientLost,
    ClientSent,
    CloseClient,
    CredentialsChanged,
    DropUpstream,
    Emit,
    Follow,
    Note,
    OpenUpstream,
    PauseAnswer,
    Publish,
    ReleaseUpstream,
    ResumeAnswer,
    SessionCommand,
    SessionEvent,
    Tell,
    Ticked,
    Trouble,
    Unanswered,
    Unfollow,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    Withdraw,
    WithdrawUpstream,
    WriteClient,
    WriteUpstream,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.questions import Answer as Answer_
from stargate_core.questions import Question, Statement
from stargate_core.record import LogRecord
from stargate_core.secret import Secret
from stargate_core.views import Plugin

WALL_EPOCH_NS: Final = 1_800_000_000 * SECOND
ENDPOINT_URL: Final = "http://bedrock.test:8000"
MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
LOG: Final = PluginEntry(name="request-logger", config=RequestLogger(path="log"))


def proxy(**config: Any) -> PluginEntry:
    """An entry of bedrock-proxy that leads to the bench's Bedrock, once unless told otherwise."""
    defaults = {"endpoint_url": ENDPOINT_URL, "retry": Retry(count=0)}
    return PluginEntry(name="bedrock-proxy", config=BedrockProxy(**{**defaults, **config}))


def a_config(*entries: PluginEntry, gateway: Gateway | None = None, **members: Any) -> Config:
    """A configuration with bedrock-proxy, request-logger and these entries."""
    members.setdefault("plugins", [proxy(timeout=3_600_000), LOG, *entries])
    return Config(gateway=gateway or Gateway(), **members)


def a_plan(config: Config | None = None, *plugins: type[Plugin], generation: int = 1) -> Plan:
    """The plan of a configuration, with plugins beside the built-in ones."""
    known = {**BUILT_IN, **{plugin.NAME: plugin for plugin in plugins}}
    return Plan(config or a_config(), known, generation=generation)


# ----------------------------------------------------------------------------------------------- the two ends


class Answer:
    """One response, as a client of h11's reads it."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.headers = headers
        self.body = b""
        self.whole = False

    def header(self, name: str) -> str | None:
        """The header's only value."""
        values = [value.decode() for key, value in self.headers if key == name.encode()]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def told(self) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
        """Everything the client knows of it but how it was cut into pieces."""
        return self.status, self.headers, self.body, self.whole


class ClientSide:
    """Reads what is sent to the client: the responses to its requests, in order."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.interims: list[int] = []
        self.methods: deque[bytes] = deque()
        """Of the requests that wait for their answer; without one a GET is assumed."""
        self._peer: h11.Connection | None = None

    def receive(self, data: bytes) -> None:
        """Take in bytes."""
        assert data, "an empty write"
        peer = self._peer or self._begin()
        peer.receive_data(data)
        self._drain(peer)

    def end(self) -> None:
        """The connection was closed in good order: a body without a length ends here."""
        peer = self._peer
        if peer is not None and peer.their_state is h11.SEND_BODY:
            peer.receive_data(b"")
            self._drain(peer)
        assert self.whole, "closed inside a response"

    @property
    def whole(self) -> bool:
        """Whether no response is half sent."""
        return self._peer is None

    def _begin(self) -> h11.Connection:
        method = self.methods.popleft() if self.methods else b"GET"
        peer = self._peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"stargate")]))
        peer.send(h11.EndOfMessage())
        return peer

    def _drain(self, peer: h11.Connection) -> None:
        while True:
            event = peer.next_event()
            match event:
                case h11.InformationalResponse():
                    self.interims.append(event.status_code)
                case h11.Response():
                    self.answers.append(Answer(event.status_code, list(event.headers)))
                case h11.Data():
                    self.answers[-1].body += bytes(event.data)
                case h11.EndOfMessage():
                    self.answers[-1].whole = True
                    rest, _ = peer.trailing_data
                    self._peer = None
                    if rest:
                        self.receive(rest)
                    return
                case _:
                    return


class UpstreamSide:
    """Reads what is sent to Bedrock on one lease."""

    def __init__(self) -> None:
        self.request: h11.Request | None = None
        self.body = b""
        self.whole = False
        self._peer = h11.Connection(h11.SERVER)

    def receive(self, data: bytes) -> None:
        """Take in bytes."""
        self._peer.receive_data(data)
        while True:
            event = self._peer.next_event()
            match event:
                case h11.Request():
                    self.request = event
                case h11.Data():
                    self.body += bytes(event.data)
                case h11.EndOfMessage():
                    self.whole = True
                    return
                case _:
                    return

    @property
    def head(self) -> h11.Request:
        """The request's head."""
        assert self.request is not None
        return self.request

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        return {name.decode(): value.decode() for name, value in self.head.headers}

    @property
    def target(self) -> str:
        """Its target."""
        return bytes(self.head.target).decode()


# ------------------------------------------------------------------------------------------------- the bench


class Bench:
    """One session and its surroundings."""

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        seed: int = 1,
        credentials: bool = True,
        wall_epoch_ns: int = WALL_EPOCH_NS,
        later: tuple[Plan, ...] = (),
    ) -> None:
        self.now = 0
        self.plan = plan or a_plan()
        self.session = Session(
            self.plan,
            wall_epoch_ns=wall_epoch_ns,
            seed=seed,
            now=0,
            client="192.0.2.7",
            plans={each.generation: each for each in later},
        )
        self.client = ClientSide()
        self.asked: dict[int, OpenUpstream] = {}
        """Tickets that wait."""
        self.held: dict[int, UpstreamSide] = {}
        """Leases that are out."""
        self.returned: list[ReleaseUpstream | DropUpstream] = []
        self.calls: list[UpstreamSide] = []
        """All leases that were ever given, in order."""
        self.opened: list[OpenUpstream] = []
        self.withdrawn: list[int] = []
        self.questions: dict[int, Question] = {}
        """Questions that wait, by ticket."""
        self.asks: list[Question] = []
        """All that was ever asked."""
        self.told: list[Statement] = []
        self.followed: dict[int, Follow] = {}
        """Shared answers that are wanted, by ticket."""
        self.paused: set[int] = set()
        self.records: list[dict[str, Any]] = []
        self.published: list[LogRecord] = []
        self.publications: list[Publish] = []
        """The same, with their spans."""
        self.lines: list[bytes] = []
        self.notes: list[Note] = []
        self.closed: SessionCommand | None = None
        """How the client's connection was ended."""
        self.left = False
        self._leases = 0
        self._seen: dict[str, Exchange] = {}
        if credentials:
            self.tell(CredentialsChanged("", Credentials("AKIDSTARGATE", Secret("aws-secret"))))

    # ------------------------------------------------------------------------------------------------- facts

    def tell(self, event: SessionEvent) -> list[SessionCommand]:
        """Hand the session a fact, and check what it makes of it."""
        self.left = self.left or isinstance(event, ClientEnded | ClientLost)
        commands = self.session.handle(self.now, event)
        for command in commands:
            self._check(command)
        state = self.session.state
        if isinstance(state, Exchanging):
            self._seen[state.exchange.request.request_id] = state.exchange
            assert state.exchange.state is not SETTLED, "a settled exchange is not left behind"
        deadline = self.session.deadline
        if self.session.closed:
            assert deadline is None, "a closed session waits for nothing"
        elif isinstance(event, Ticked):
            assert deadline is None or deadline >= self.now, "the deadline lies behind"
        return commands

    def send(self, data: bytes) -> list[SessionCommand]:
        """The client sends bytes."""
        return self.tell(ClientSent(data))

    def ask(self, request: bytes) -> list[SessionCommand]:
        """The client sends a whole request."""
        self.client.methods.append(request.partition(b" ")[0])
        return self.send(request)

    def open(self, *, reused: bool = False) -> int:
        """The oldest ticket gets its lease."""
        ticket = next(iter(self.asked))
        del self.asked[ticket]
        self._leases += 1
        side = self.held[self._leases] = UpstreamSide()
        self.calls.append(side)
        self.tell(UpstreamOpened(ticket, self._leases, reused))
        return self._leases

    def refuse(self, trouble: Trouble, detail: str = "") -> None:
        """The oldest ticket gets no lease."""
        ticket = next(iter(self.asked))
        del self.asked[ticket]
        self.tell(UpstreamFailed(ticket, trouble, detail))

    def reply(self, answer: Answer_) -> Question:
        """The oldest question is answered; what it was."""
        ticket = next(iter(self.questions))
        question = self.questions.pop(ticket)
        self.tell(Answered(ticket, answer))
        return question

    def fail_question(self, why: str = "no store") -> Question:
        """The oldest question gets no answer; what it was."""
        ticket = next(iter(self.questions))
        question = self.questions.pop(ticket)
        self.tell(Unanswered(ticket, why))
        return question

    def answer(self, *pieces: bytes) -> None:
        """Bedrock sends bytes on the newest lease."""
        for piece in pieces:
            self.tell(UpstreamSent(self._leases, piece))

    def upstream_ends(self) -> None:
        """Bedrock closes its side."""
        self.tell(UpstreamEnded(self._leases))

    def upstream_breaks(self) -> None:
        """The connection to Bedrock breaks."""
        self.tell(UpstreamLost(self._leases))

    def leave(self, *, lost: bool = False) -> None:
        """The client goes."""
        self.tell(ClientLost() if lost else ClientEnded())

    def advance(self, duration_ns: int) -> None:
        """Let time pass, and tell the session whenever it wanted to be told."""
        until = self.now + duration_ns
        for _ in range(10_000):
            deadline = self.session.deadline
            if deadline is None or deadline > until:
                self.now = until
                return
            self.now = max(self.now, deadline)
            self.tell(Ticked())
        raise AssertionError("the session never comes to rest")

    # --------------------------------------------------------------------------------------- what was ordered

    @property
    def only(self) -> Answer:
        """The one answer that the client has."""
        (answer,) = self.client.answers
        return answer

    @property
    def record(self) -> dict[str, Any]:
        """The one record."""
        (record,) = self.records
        return record

    @property
    def call(self) -> UpstreamSide:
        """The newest call to Bedrock."""
        return self.calls[-1]

    @property
    def dropped(self) -> bool:
        """Whether the last lease to come back came back unclean."""
        return isinstance(self.returned[-1], DropUpstream)

    def settle(self) -> None:
        """Nothing is left: no lease, no ticket, no exchange without its record."""
        assert not self.held, "a lease is kept"
        assert not self.asked, "a ticket is kept"
        assert not self.questions, "a question is kept"
        assert not self.followed, "an answer is followed"
        assert self.closed is not None or self.client.whole, "a response is half sent"
        ids = [record["request_id"] for record in self.records]
        assert len(ids) == len(set(ids)), "two records of one exchange"
        for request_id, exchange in self._seen.items():
            assert exchange.state is SETTLED
            assert request_id in ids, "an exchange without a record"

    def _check(self, command: SessionCommand) -> None:
        if self.closed is not None:
            harmless = ReleaseUpstream | DropUpstream | Emit | Publish | Note | Tell | Withdraw | Unfollow
            assert isinstance(command, harmless), f"{command} at the end"
        match command:
            case WriteClient(data):
                assert not self.left, "nobody is there to read it"
                self.client.receive(data)
            case CloseClient():
                self.closed = command
                if not self.left:
                    self.client.end()
            case AbortClient():
                self.closed = command
            case OpenUpstream(ticket):
                assert ticket not in {asked.ticket for asked in self.opened}, "a ticket is used twice"
                self.asked[ticket] = command
                self.opened.append(command)
            case WithdrawUpstream(ticket):
                del self.asked[ticket]
                self.withdrawn.append(ticket)
            case Ask(ticket, question):
                self.questions[ticket] = question
                self.asks.append(question)
            case Withdraw(ticket):
                del self.questions[ticket]
            case Tell(statement):
                self.told.append(statement)
            case Follow(ticket):
                self.followed[ticket] = command
            case Unfollow(ticket):
                del self.followed[ticket]
            case PauseAnswer(ticket):
                assert ticket in self.followed
                self.paused.add(ticket)
            case ResumeAnswer(ticket):
                assert ticket in self.followed
                self.paused.discard(ticket)
            case WriteUpstream(lease, data):
                self.held[lease].receive(data)
                assert self.held[lease].whole
            case ReleaseUpstream(lease) | DropUpstream(lease):
                del self.held[lease]
                self.returned.append(command)
            case Emit(_, line):
                assert line.endswith(b"\n")
                self.lines.append(line)
                self.records.append(msgspec.json.decode(line))
            case Publish(record):
                self.publications.append(command)
                self.published.append(record)
            case Note():
                self.notes.append(command)


# ------------------------------------------------------------------------------------------- what clients say


def request(
    target: str,
    body: bytes = b"",
    method: str = "POST",
    version: str = "1.1",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request's bytes."""
    fields = {"host": "stargate", "content-type": "application/json", **(headers or {})}
    if body or method == "POST":
        fields.setdefault("content-length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/{version}\r\n{lines}\r\n".encode() + body


def chat(
    *,
    stream: bool = False,
    version: str = "1.1",
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> bytes:
    """A request for a chat completion."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": stream, **members}
    return request("/v1/chat/completions", msgspec.json.encode(body), version=version, headers=headers)


def converse(operation: str = "converse", model: str = MODEL, **kept: Any) -> bytes:
    """A request to Bedrock's own API."""
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    return request(f"/model/{model.replace(':', '%3A')}/{operation}", msgspec.json.encode(body), **kept)


def sse(body: bytes) -> list[Any]:
    """The events of an SSE body: JSON, `[DONE]` as text; comments are left out."""
    events: list[Any] = []
    for block in body.split(b"\n\n"):
        if block and not block.startswith(b":"):
            assert block.startswith(b"data: ")
            data = block[6:]
            events.append("[DONE]" if data == b"[DONE]" else msgspec.json.decode(data))
    return events
