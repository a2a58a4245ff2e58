"""The phases of an exchange, and what a plugin may do in each.

In order: init_worker (once, at start), certificate (once a TLS handshake), rewrite (before a route is known),
access (authority, limits, where the call goes), then the call itself, header_filter (the answer's status and
headers), body_filter (once for each part of the answer) and log (once, at the end, always). The names are
Kong's, as is the rule that a method used in the wrong phase is refused by name. Two things differ. Only
rewrite and access may wait, and the types say so: their hooks may be generators, the others are plain
functions. And a plugin sees the answer in parts, never as one body: a part is an SSE event, a frame, or the
JSON of a plain answer.

`CAPABILITIES` is the table of method against phase. One object, `Context`, stands behind every phase; the
protocols of views.py (`Rewrite`, `Access`, …) are what a plugin's author types a hook with.
"""

import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

import msgspec

from stargate_core.asking import Asking, Calling
from stargate_core.aws.surfaces import Surface
from stargate_core.config.schema import Consumer
from stargate_core.dialects.face import (
    Ask,
    Call,
    Dialect,
    Fetched,
    Headers,
    ModelCard,
    Part,
    PartKind,
    Reply,
    Request,
)
from stargate_core.direction import Direction, Persistence, Sharing
from stargate_core.entropy import Entropy
from stargate_core.faults import Cause, Fault, Refused, refuse
from stargate_core.limits.buckets import Claim, Verdict
from stargate_core.messages import Emit, Note, Source, Tell
from stargate_core.misuse import PhaseMisuse
from stargate_core.questions import (
    Entry,
    FetchUrl,
    ListModels,
    Models,
    ReadEntry,
    Statement,
    Take,
    VerifyToken,
)
from stargate_core.record import LogRecord
from stargate_core.script import Ledger, ScriptMisuse, Sleep


class Phase(enum.IntEnum):
    """When a hook runs. Powers of two, so that a set of phases is a mask."""

    INIT_WORKER = 1
    CERTIFICATE = 2
    REWRITE = 4
    ACCESS = 8
    HEADER_FILTER = 16
    BODY_FILTER = 32
    LOG = 64


_EXCHANGE: Final = Phase.REWRITE | Phase.ACCESS | Phase.HEADER_FILTER | Phase.BODY_FILTER | Phase.LOG
_BEFORE: Final = Phase.REWRITE | Phase.ACCESS

CAPABILITIES: Final[dict[str, int]] = {
    "request": _EXCHANGE,
    "change_request": Phase.REWRITE,
    "revise_request": Phase.ACCESS,
    "dialect": Phase.ACCESS | Phase.HEADER_FILTER | Phase.BODY_FILTER | Phase.LOG,
    "ask": Phase.ACCESS | Phase.HEADER_FILTER | Phase.BODY_FILTER | Phase.LOG,
    "reject": _BEFORE | Phase.BODY_FILTER,
    "reply": _BEFORE,
    "sleep": _BEFORE,
    "take": Phase.ACCESS,
    "read_entry": Phase.ACCESS,
    "verify_token": Phase.ACCESS,
    "fetch": Phase.ACCESS,
    "list_models": Phase.ACCESS,
    "call": Phase.ACCESS,
    "say": Phase.ACCESS,
    "speaks": Phase.ACCESS,
    "live_keys": Phase.ACCESS,
    "chance": Phase.ACCESS,
    "share": Phase.ACCESS,
    "tell": Phase.ACCESS | Phase.LOG,
    "kept": _EXCHANGE,
    "identify": Phase.ACCESS,
    "direct": Phase.ACCESS,
    "offer_models": Phase.ACCESS,
    "status": Phase.HEADER_FILTER | Phase.BODY_FILTER | Phase.LOG,
    "source": Phase.HEADER_FILTER,
    "limit_family": Phase.ACCESS | Phase.HEADER_FILTER,
    "headers": Phase.HEADER_FILTER,
    "part": Phase.BODY_FILTER,
    "put_before": Phase.BODY_FILTER,
    "count_redacted": Phase.ACCESS | Phase.BODY_FILTER,
    "record": Phase.LOG,
    "emit": Phase.LOG,
}
"""In which phases each member of the context may be used; what is not listed may be used in all."""

# The same as plain integers: the members below are used several times a request, and look at these without
# a call.
_REQUEST: Final = int(CAPABILITIES["request"])
_CHANGE_REQUEST: Final = int(CAPABILITIES["change_request"])
_ASK: Final = int(CAPABILITIES["ask"])
_REJECT: Final = int(CAPABILITIES["reject"])
_REPLY: Final = int(CAPABILITIES["reply"])
_SLEEP: Final = int(CAPABILITIES["sleep"])
_IDENTIFY: Final = int(CAPABILITIES["identify"])
_DIRECT: Final = int(CAPABILITIES["direct"])
_OFFER_MODELS: Final = int(CAPABILITIES["offer_models"])
_STATUS: Final = int(CAPABILITIES["status"])
_HEADERS: Final = int(CAPABILITIES["headers"])
_PART: Final = int(CAPABILITIES["part"])
_RECORD: Final = int(CAPABILITIES["record"])
_EMIT: Final = int(CAPABILITIES["emit"])


_ONCE: Final = Persistence()
_NO_KEYS: Final[Mapping[str, bytes]] = MappingProxyType({})


class Context:
    """What the hooks of one exchange work with; plugins see it through the phase protocols."""

    __slots__ = (
        "_ask",
        "_dialect",
        "_headers",
        "_kept",
        "_part",
        "_record",
        "_request",
        "_revised",
        "_status",
        "age_seconds",
        "answer_source",
        "beside",
        "consumer",
        "directions",
        "entropy",
        "key_id",
        "keys",
        "ledger",
        "models",
        "now",
        "out",
        "persistence",
        "phase",
        "plugin",
        "put",
        "ready_reply",
        "redacted",
        "route",
        "sharing",
        "wall_epoch_ns",
        "words",
    )

    def __init__(self, request: Request, now: int, wall_epoch_ns: int, out: list[Any]) -> None:
        self.phase = 0
        self.plugin = ""
        self.now = now
        self.wall_epoch_ns = wall_epoch_ns
        self.out = out
        self.consumer: Consumer | None = None
        self.key_id = ""
        self.route = ""
        """The name of the route; empty until one is found."""
        self.directions: tuple[Direction, ...] = ()
        """Where the call may go, in the order of trying."""
        self.beside: Direction | None = None
        """Where calls of plugins' own go."""
        self.persistence = _ONCE
        self.sharing: Sharing | None = None
        self.answer_source: Source | None = None
        """Of a shared answer: where it came from, and how old it is."""
        self.age_seconds = 0
        self.entropy: Entropy | None = None
        self.keys: Mapping[str, bytes] = _NO_KEYS
        self._kept: dict[str, Any] | None = None
        self.models: Sequence[ModelCard] = ()
        self.ready_reply: Reply | None = None
        self.words: str | None = None
        """What is said for the model."""
        self.ledger: Ledger | None = None
        self.put: list[Part] = []
        """What a hook has put before the part at hand."""
        self.redacted = 0
        """Places in which plugins have put something else for what was said, for the record."""
        self._request = request
        self._ask: Ask | None = None
        self._revised = False
        """Whether the request was revised since the ask was read."""
        self._dialect: Dialect | None = None
        self._status = 0
        self._headers: Headers = []
        self._part: Part | None = None
        self._record: LogRecord | None = None

    # --------------------------------------------------------------------------------- of the exchange itself

    @property
    def known_ask(self) -> Ask | None:
        """The ask, once it has been read."""
        return self._ask

    def know_request(self, request: Request) -> None:
        """The request as its route sees it."""
        self._request = request

    @property
    def known_request(self) -> Request:
        """The request, as rewrite hooks have left it."""
        return self._request

    def know_dialect(self, dialect: Dialect, route: str = "") -> None:
        """The exchange has found out what the caller speaks, and by which route it came."""
        self._dialect = dialect
        self.route = route

    def read_ask(self) -> Ask:
        """What the caller asks for, read on first need. Raises Refused where it can't be understood.

        Not before: a caller who may not ask is told that, and not what is wrong with the question.
        """
        if self._ask is None or self._revised:
            assert self._dialect is not None
            _check_coding(self._request)
            before, self._ask = self._ask, self._dialect.read(self._request)
            self._revised = False
            if before is not None:
                # What was fetched for it, or looked up, serves the revised one as well.
                self._ask.fetched, self._ask.recalled = before.fetched, before.recalled
        return self._ask

    def know_answer(self, status: int, headers: Headers) -> None:
        """The exchange has the answer's head."""
        self._status = status
        self._headers = headers

    def know_part(self, part: Part) -> None:
        """The exchange has a part of the answer."""
        self._part = part

    def know_record(self, record: LogRecord) -> None:
        """The exchange has been settled."""
        self._record = record

    def kept_by(self, plugin: str) -> Any:
        """What a plugin has kept of this exchange; None if nothing."""
        return None if self._kept is None else self._kept.get(plugin)

    # --------------------------------------------------------------------------------------------- of plugins

    @property
    def wall_ns(self) -> int:
        """Wall time, nanoseconds since the epoch."""
        return self.wall_epoch_ns + self.now

    @property
    def request(self) -> Request:
        """The client's request."""
        if not self.phase & _REQUEST:
            self._forbidden("request")
        return self._request

    def change_request(self, *, target: bytes | None = None, headers: Headers | None = None) -> None:
        """Change the request before it is routed."""
        if not self.phase & _CHANGE_REQUEST:
            self._forbidden("change_request")
        changes: dict[str, Any] = {}
        if target is not None:
            path, _, query = target.partition(b"?")
            changes.update(target=target, path=path, query=query)
        if headers is not None:
            changes["headers"] = headers
        self._request = msgspec.structs.replace(self._request, **changes)

    def revise_request(
        self,
        *,
        path: bytes | None = None,
        query: bytes | None = None,
        headers: Headers | None = None,
        body: bytes | None = None,
    ) -> None:
        """Change what the dialect reads; the route and the dialect stay. Later hooks see an ask made of it,
        and it is what is composed. Should it be refused then, what was asked before stays known.
        """
        self._must("revise_request")
        given: dict[str, Any] = {"path": path, "query": query, "headers": headers, "body": body}
        changes = {name: value for name, value in given.items() if value is not None}
        self._request = msgspec.structs.replace(self._request, **changes)
        self._revised = True

    @property
    def dialect(self) -> str:
        """The name of the API that the caller speaks."""
        self._must("dialect")
        return "" if self._dialect is None else self._dialect.NAME

    @property
    def ask(self) -> Ask:
        """What the caller asks for. Raises Refused, in access, where it can't be understood."""
        if not self.phase & _ASK:
            self._forbidden("ask")
        if self.phase == Phase.ACCESS:
            return self.read_ask()
        if self._ask is None:
            raise PhaseMisuse("there is no ask: the request was refused before it was read")
        return self._ask

    def reject(self, fault: Fault) -> NoReturn:
        """End the exchange with a fault; of an answer that has begun, in-band and never as a clean end."""
        if not self.phase & _REJECT:
            self._forbidden("reject")
        raise Refused(fault)

    def reply(self, reply: Reply) -> None:
        """Answer instead of Bedrock; no later hook of this phase runs."""
        if not self.phase & _REPLY:
            self._forbidden("reply")
        _check_status(reply.status)
        self.ready_reply = reply

    def sleep(self, duration_ns: int) -> Sleep:
        """Wait; to be yielded from."""
        if not self.phase & _SLEEP:
            self._forbidden("sleep")
        return Sleep(self._ledger(), duration_ns)

    def identify(self, consumer: Consumer, key_id: str) -> None:
        """The caller is this consumer. Later hooks run with the consumer's own configuration."""
        if not self.phase & _IDENTIFY:
            self._forbidden("identify")
        self.consumer = consumer
        self.key_id = key_id

    def direct(
        self,
        *directions: Direction,
        persistence: Persistence | None = None,
        beside: Direction | None = None,
    ) -> None:
        """The call goes to the first of these; to the next ones where that fails, as `persistence` says.

        beside: where calls of plugins' own go; None: where they went before.
        """
        if not self.phase & _DIRECT:
            self._forbidden("direct")
        self.directions = directions
        if beside is not None:
            self.beside = beside
        if persistence is not None:
            self.persistence = persistence

    # ------------------------------------------------------------------------------ of plugins: the process

    def take(self, claims: Sequence[Claim], *, lease_us: int, local: bool = False) -> Asking[Verdict]:
        """Take from all these buckets or from none; to be yielded from. Held under the request's id.

        lease_us: how long calls at a time are counted if they are never settled. local: of this process's own
        store. Raises WaitFailed, at the `yield from`, where the store does not answer.
        """
        self._must("take")
        question = Take(tuple(claims), self._request.request_id, lease_us, local)
        return Asking(self._ledger(), question)

    def read_entry(self, key: str) -> Asking[Entry | None]:
        """What the store keeps under a key; to be yielded from. Raises WaitFailed likewise."""
        self._must("read_entry")
        return Asking(self._ledger(), ReadEntry(key))

    def verify_token(self, question: VerifyToken) -> Asking[str]:
        """'' if the signature is good, else why not; to be yielded from. May raise WaitFailed."""
        self._must("verify_token")
        return Asking(self._ledger(), question)

    def fetch(self, question: FetchUrl) -> Asking[Fetched | str]:
        """What is at a URL, or why it cannot be had; to be yielded from. May raise WaitFailed."""
        self._must("fetch")
        return Asking(self._ledger(), question)

    def list_models(self, question: ListModels) -> Asking[Models]:
        """The models there are; to be yielded from. Raises WaitFailed where AWS does not say."""
        self._must("list_models")
        return Asking(self._ledger(), question)

    def call(self, call: Call, *, timeout_ns: int) -> Calling:
        """Make a call to Bedrock beside the caller's own, at its first target's place and with its authority;
        to be yielded from. The answer is the body. Raises CallFailed where there is no good one.
        """
        self._must("call")
        return Calling(self._ledger(), call, timeout_ns)

    def say(self, text: str) -> None:
        """Answer instead of the model, as where a guardrail has blocked what was asked: with this text, in
        the caller's dialect, streamed if it wants a stream. No later hook of this phase runs.
        """
        self._must("say")
        self.words = text

    @property
    def speaks(self) -> tuple[Surface, ...]:
        """The surfaces that the caller's dialect can use, the best first."""
        self._must("speaks")
        assert self._dialect is not None
        return self._dialect.SURFACES

    def tell(self, statement: Statement) -> None:
        """Tell the process something; nobody answers."""
        self._must("tell")
        self.out.append(Tell(statement))

    def share(self, sharing: Sharing) -> None:
        """The answer may be kept, and shared with others who ask the same."""
        self._must("share")
        self.sharing = sharing

    @property
    def source(self) -> tuple[Source | None, int]:
        """Where a shared answer came from, and its age in seconds; (None, 0) of one that is not shared."""
        self._must("source")
        return self.answer_source, self.age_seconds

    @property
    def limit_family(self) -> str:
        """Whose names the caller's SDK knows rate-limit headers by (face.py); '' where it knows none."""
        self._must("limit_family")
        return "" if self._dialect is None else self._dialect.LIMIT_FAMILY

    @property
    def live_keys(self) -> Mapping[str, bytes]:
        """The keys that live in the store: SHA-256 in lower-case hexadecimal digits to its JSON."""
        self._must("live_keys")
        return self.keys

    def chance(self) -> float:
        """A number in [0, 1), of the session's own chance."""
        self._must("chance")
        assert self.entropy is not None
        return self.entropy.fraction()

    @property
    def kept(self) -> Any:
        """What this plugin has kept of this exchange, from an earlier phase; None if nothing."""
        self._must("kept")
        return None if self._kept is None else self._kept.get(self.plugin)

    @kept.setter
    def kept(self, value: Any) -> None:
        self._must("kept")
        if self._kept is None:
            self._kept = {}
        self._kept[self.plugin] = value

    def _must(self, member: str) -> None:
        if not self.phase & CAPABILITIES[member]:
            self._forbidden(member)

    def _ledger(self) -> Ledger:
        if self.ledger is None:
            self.ledger = Ledger()
        return self.ledger

    def offer_models(self, models: Sequence[ModelCard]) -> None:
        """These are the models the caller may name."""
        if not self.phase & _OFFER_MODELS:
            self._forbidden("offer_models")
        self.models = models

    @property
    def status(self) -> int:
        """The answer's status."""
        if not self.phase & _STATUS:
            self._forbidden("status")
        return self._status

    @property
    def headers(self) -> Headers:
        """The answer's headers, to be changed in place; names in lower case."""
        if not self.phase & _HEADERS:
            self._forbidden("headers")
        return self._headers

    @property
    def part(self) -> Part:
        """The part of the answer at hand, to be changed in place."""
        if not self.phase & _PART:
            self._forbidden("part")
        if self._part is None:
            self._forbidden("part")
        return self._part

    def put_before(self, part: Part) -> None:
        """Put another part before the one at hand; of a stream only. Later hooks see it as they see any."""
        self._must("put_before")
        if self.part.kind is not PartKind.EVENT:
            raise PhaseMisuse("put_before is for streams: a plain answer is one part")
        self.put.append(part)

    def count_redacted(self, count: int) -> None:
        """So many places more have something else in them than what was said."""
        self._must("count_redacted")
        self.redacted += count

    @property
    def record(self) -> LogRecord:
        """What is kept of this exchange."""
        if not self.phase & _RECORD:
            self._forbidden("record")
        if self._record is None:
            self._forbidden("record")
        return self._record

    def emit(self, sink: str, line: bytes) -> None:
        """Write a line to a sink."""
        if not self.phase & _EMIT:
            self._forbidden("emit")
        self.out.append(Emit(sink, line))

    def note(self, level: str, text: str) -> None:
        """Tell the operator something."""
        self.out.append(Note(level, f"{self.plugin}: {text}"))

    def _forbidden(self, member: str) -> NoReturn:
        allowed = ", ".join(phase.name.lower() for phase in Phase if phase & CAPABILITIES[member])
        phase = Phase(self.phase).name.lower() if self.phase else "no phase"
        raise PhaseMisuse(f"{member} may be used in {allowed}, not in {phase}")


def plugin_failed(plugin: str, phase: Phase, error: Exception) -> Fault:
    """The fault of a plugin's own exception: its type only, for texts may hold secrets, and vary.

    What the core itself has objected to is told in its own words.
    """
    detail = f"{plugin} raised {type(error).__name__} in {phase.name.lower()}"
    if isinstance(error, PhaseMisuse | ScriptMisuse):
        detail = f"{detail}: {error}"
    return Fault(Cause.PLUGIN_FAILED, detail=detail)


def _check_status(status: object) -> None:
    """Tell a plugin at once, whose fault it is: nothing says that its types were checked."""
    if not isinstance(status, int):
        raise TypeError("a reply's status is a number")


def _check_coding(request: Request) -> None:
    """Refuse a body that is compressed: nothing here unpacks it, and Bedrock takes none."""
    coding = request.header(b"content-encoding")
    if coding and coding.lower() != b"identity" and request.body:
        named = coding[:32].decode("latin-1")
        raise refuse(
            Cause.BODY_INVALID, f"The request's body must come as it is, without Content-Encoding {named!r}"
        )
