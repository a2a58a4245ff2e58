"""What a dialect is: a pure translation between one client API and Bedrock.

A dialect has two halves. Going in, it *reads* a request into an `Ask` (what policy needs to know: the model,
whether it streams, how much it may produce) and, once a plugin has chosen the target, *composes* the Bedrock
call. Coming back, a `Translator` (one for each call) turns Bedrock's answer into the caller's own form.

The unit of an answer is a `Part`: one SSE event, one event-stream frame, or the whole JSON of a plain answer.
Plugins see parts in the body_filter phase, as typed values, never as bytes. Where no plugin looks, a
translator may go from frame to bytes directly (`frame`), and `frame` must equal rendering `parts` one by one:
a test holds it to that.

A translator never decides alone that a stream ended well. It says `complete` when Bedrock's own end has been
seen (`messageStop` and `metadata`; `message_stop` for Anthropic bodies); the exchange says everything else:
cut, damage, silence, loss.
"""

import enum
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

import msgspec

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import GuardrailWay, Surface
from stargate_core.faults import Fault
from stargate_core.secret import Private
from stargate_core.wire.frames import Frame

Headers: TypeAlias = list[tuple[bytes, bytes]]


class Request(Private, msgspec.Struct, frozen=True):
    """One HTTP request, whole."""

    SHOWN: ClassVar[tuple[str, ...]] = ("method", "request_id", "client")

    method: bytes
    target: bytes
    """The request target as received, still encoded."""
    path: bytes
    """The target's path, still encoded, after a route has stripped its own prefix."""
    query: bytes
    headers: Headers
    """Names in lower case, in the order received."""
    body: bytes
    request_id: str
    """The gateway's id for this exchange, 32 hexadecimal digits."""
    created_seconds: int
    """Wall time of the request, whole seconds."""
    client: str = ""
    """The peer's address, for the log."""

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether any of these headers is there, by their lower-case names."""
        return not names.isdisjoint([key for key, _ in self.headers])

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class PromptCaching(enum.Enum):
    """Who says up to where Bedrock is to cache a prompt."""

    EXPLICIT = "explicit"
    """The caller, by its marks."""
    AUTO = "auto"
    """The gateway, behind the system text and the tools, where the caller has left no mark at all."""


class Options(msgspec.Struct, frozen=True):
    """What an operator lets a dialect do with a request for a target."""

    drop_params: bool = False
    """Whether what the target has no place for is dropped; else it is refused."""
    prompt_caching: PromptCaching = PromptCaching.EXPLICIT
    guardrail: GuardrailWay = GuardrailWay.BODY
    """How the surface takes a guardrail."""
    betas_dropped: tuple[str, ...] = ()
    """Values of `anthropic-beta` that Bedrock refuses, and with them the whole request."""
    betas_renamed: tuple[tuple[str, str], ...] = ()
    """Values that Bedrock knows by another name."""


class Target(msgspec.Struct, frozen=True):
    """Where a call goes: a model id or ARN as Bedrock knows it, and through which surface."""

    model: str
    surface: Surface = Surface.CONVERSE
    options: Options = Options()


class Fetched(Private, msgspec.Struct, frozen=True, tag=True):
    """What was at a URL."""

    SHOWN: ClassVar[tuple[str, ...]] = ("content_type",)

    content_type: str
    """As its server called it: lower case, without parameters."""
    data: bytes


class Ask(Private, msgspec.Struct):
    """What a caller asks for, as far as policy must know."""

    SHOWN: ClassVar[tuple[str, ...]] = ("operation",)

    model: str | None
    """The name the caller used; None where the caller named none and the configuration's default applies."""
    stream: bool
    body: Any = None
    """The dialect's own parsed request; opaque to everybody else."""
    operation: Operation | None = None
    """For native callers, who name the operation themselves."""
    output_tokens_max: int | None = None
    """The most tokens the caller lets the model produce, where said."""
    temperature: float | None = None
    """How much chance the caller wants, where said."""
    local: bool = False
    """Answered by the gateway itself (a model list): no call to Bedrock."""
    urls: tuple[str, ...] = ()
    """http(s) URLs of images and documents in the request, each once. Bedrock fetches nothing: what is at
    them must be known before the call is composed.
    """
    fetched: dict[str, Fetched] = msgspec.field(default_factory=dict[str, Fetched])
    """What was found there; a URL that is not here was not allowed, and its request is refused."""
    recalls: tuple[str, ...] = ()
    """Ids of earlier answers that the request refers to instead of repeating them, each once."""
    recalled: dict[str, bytes] = msgspec.field(default_factory=dict[str, bytes])
    """What was kept of them, as `remember` gave it; what is not here is not known any more."""
    remembers: bool = False
    """Whether the answer may be kept, for later requests to refer to."""
    remember_bytes_max: int | None = None
    """How long what is kept of it may be; what is longer is not kept, and the answer should say so."""
    remember: tuple[str, bytes] | None = None
    """The answer's id and what is to be kept of it: told by the translator once the answer is whole."""


class Call(Private, msgspec.Struct, frozen=True):
    """One call to Bedrock, complete but for authority, date and signature."""

    SHOWN: ClassVar[tuple[str, ...]] = ("operation", "method")

    operation: Operation
    method: bytes
    target: bytes
    """Path and query, encoded exactly as they are to go over the wire and into the signature."""
    headers: Headers
    """Lower-case names; all of them are signed."""
    body: bytes
    stream: bool
    """Whether a 200 answer is a stream: of frames, or of server-sent events, as its operation has it."""
    more_bodies: tuple[bytes, ...] = ()
    """Of more calls that the same request needs, equal to this one but for their bodies; all the answers
    become one (see `Gatherer`). No stream has any.
    """


class PartKind(enum.Enum):
    """What a part is."""

    ANSWER = "answer"
    EVENT = "event"


class Part(Private, msgspec.Struct):
    """One unit of an answer, in the caller's dialect. Plugins may change `payload` in place, or drop the
    part.
    """

    SHOWN: ClassVar[tuple[str, ...]] = ("name",)

    kind: PartKind
    name: str
    """The SSE event's or frame's name; '' where the dialect has none."""
    payload: Any
    """The JSON object, as plain Python values."""
    dropped: bool = False


class Usage(msgspec.Struct, frozen=True):
    """Tokens as Bedrock counts them: `input_tokens` excludes what was read from or written to its prompt
    cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class Reply(Private, msgspec.Struct, frozen=True):
    """A whole HTTP answer in the caller's dialect, without framing headers and request ids."""

    status: int
    headers: Headers
    body: bytes


class ModelCard(msgspec.Struct, frozen=True):
    """A model as callers may name it."""

    id: str
    target: str
    """What Bedrock calls it."""


class BadAnswer(Exception):
    """Bedrock's answer says something this dialect cannot honestly pass on; carries the fault to tell
    instead.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.cause.name)
        self.fault = fault


class Translator(Protocol):
    """Bedrock's answer to one call, turned into the caller's dialect."""

    complete: bool
    """Bedrock's own end of the stream has been seen."""
    meaningful: bool
    """Something was produced that is worth a status line (a bare messageStart is not)."""
    stop_reason: str | None
    """Bedrock's stop reason, for the log."""
    usage: Usage | None
    """Bedrock's token counts, once known."""
    raw: bool
    """Whether frames are passed on byte for byte: the exchange then writes each verified frame's own bytes.
    """

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one."""
        ...

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        ...

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        ...

    def parts(self, frame: Frame) -> Sequence[Part]:
        """What an event frame means to the caller. Raises BadAnswer where the stream must end in an error."""
        ...

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        ...

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one, for streams no plugin looks at. Raises BadAnswer likewise."""
        ...

    def finish(self) -> bytes:
        """The dialect's closing bytes (`data: [DONE]`), written after `complete` and never otherwise."""
        ...

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        ...

    def keepalive(self) -> bytes:
        """Bytes a client of this dialect ignores, for silent gaps; empty where there are none."""
        ...


class Gatherer(Translator, Protocol):
    """The translator of a batch: of a call that has `more_bodies`."""

    def take(self, at: int, headers: Headers, body: bytes) -> None:
        """The whole 200 answer to the call of this number has come. Raises BadAnswer.

        In whatever order they come; so a batch of thousands is worked off one by one, and not all at its end.
        """
        ...

    def gather(self, *, plain: bool) -> Part:
        """The one answer that all of them make.

        plain: somebody looks at the payload, so it must be of plain Python values; else parts of it may be
        raw JSON.
        """
        ...


class Dialect(Protocol):
    """One client API."""

    NAME: ClassVar[str]
    SURFACES: ClassVar[tuple[Surface, ...]]
    """Through which surfaces `compose` can carry its requests; the first one, where no table says better."""
    REQUEST_ID_HEADER: ClassVar[bytes]
    """The header its SDKs read the request id from, lower case."""
    LIMIT_FAMILY: ClassVar[str]
    """Whose names its SDKs know rate-limit headers by: openai, anthropic, or '' where they know none."""

    def read(self, request: Request) -> Ask:
        """Understand a request. Raises Refused (400 and the like) where it isn't one."""
        ...

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """The answer to a `local` ask. Raises Refused."""
        ...

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The call to Bedrock. Raises Refused where the model's surface can't carry the request."""
        ...

    def translator(self, request: Request, ask: Ask, call: Call) -> Translator:
        """A fresh translator for the answer to `call`."""
        ...

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """An error, as this dialect's SDKs expect it; Retry-After and x-should-retry are added by the
        session.
        """
        ...
