"""Views: what a plugin's author types a hook with.

One object, `Context` (phases.py), stands behind every phase. Each protocol here shows what it allows in one
of them, so both type checkers say what would otherwise be refused at run time; a test holds them to the table
of capabilities. `Plugin` says what a plugin is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn, Protocol

import msgspec

from stargate_core.asking import Asking, Calling
from stargate_core.aws.surfaces import Surface
from stargate_core.config.schema import Config, Consumer, PluginSchema, Scope
from stargate_core.dialects.face import Ask, Call, Fetched, Headers, ModelCard, Part, Reply, Request
from stargate_core.direction import Direction, Persistence, Sharing
from stargate_core.faults import Fault
from stargate_core.limits.buckets import Claim, Verdict
from stargate_core.messages import Source
from stargate_core.questions import Entry, FetchUrl, ListModels, Models, Statement, VerifyToken
from stargate_core.record import LogRecord
from stargate_core.script import Sleep


class _Always(Protocol):
    @property
    def now(self) -> int: ...
    @property
    def wall_ns(self) -> int: ...
    def note(self, level: str, text: str) -> None: ...


class _Asked(Protocol):
    @property
    def request(self) -> Request: ...
    @property
    def consumer(self) -> Consumer | None: ...
    @property
    def key_id(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def kept(self) -> Any: ...
    @kept.setter
    def kept(self, value: Any) -> None: ...


class _MayWait(Protocol):
    def reject(self, fault: Fault) -> NoReturn: ...
    def reply(self, reply: Reply) -> None: ...
    def sleep(self, duration_ns: int) -> Sleep: ...


class Rewrite(_Always, _Asked, _MayWait, Protocol):
    """Before routing: only plugins configured globally run."""

    def change_request(self, *, target: bytes | None = None, headers: Headers | None = None) -> None: ...


class Access(_Always, _Asked, _MayWait, Protocol):
    """After routing and reading, before the call."""

    def revise_request(
        self,
        *,
        path: bytes | None = None,
        query: bytes | None = None,
        headers: Headers | None = None,
        body: bytes | None = None,
    ) -> None: ...
    @property
    def ask(self) -> Ask: ...
    @property
    def dialect(self) -> str: ...
    def count_redacted(self, count: int) -> None: ...
    def identify(self, consumer: Consumer, key_id: str) -> None: ...
    def direct(
        self,
        *directions: Direction,
        persistence: Persistence | None = None,
        beside: Direction | None = None,
    ) -> None: ...
    def offer_models(self, models: Sequence[ModelCard]) -> None: ...
    def take(self, claims: Sequence[Claim], *, lease_us: int, local: bool = False) -> Asking[Verdict]: ...
    def read_entry(self, key: str) -> Asking[Entry | None]: ...
    def verify_token(self, question: VerifyToken) -> Asking[str]: ...
    def fetch(self, question: FetchUrl) -> Asking[Fetched | str]: ...
    def list_models(self, question: ListModels) -> Asking[Models]: ...
    def call(self, call: Call, *, timeout_ns: int) -> Calling: ...
    def say(self, text: str) -> None: ...
    @property
    def speaks(self) -> tuple[Surface, ...]: ...
    def tell(self, statement: Statement) -> None: ...
    def share(self, sharing: Sharing) -> None: ...
    @property
    def live_keys(self) -> Mapping[str, bytes]: ...
    @property
    def limit_family(self) -> str: ...
    def chance(self) -> float: ...


class HeaderFilter(_Always, _Asked, Protocol):
    """The answer's head is known and not yet written."""

    @property
    def ask(self) -> Ask: ...
    @property
    def dialect(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def source(self) -> tuple[Source | None, int]: ...
    @property
    def limit_family(self) -> str: ...


class BodyFilter(_Always, _Asked, Protocol):
    """One part of the answer."""

    @property
    def ask(self) -> Ask: ...
    @property
    def dialect(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def part(self) -> Part: ...
    def put_before(self, part: Part) -> None: ...
    def count_redacted(self, count: int) -> None: ...
    def reject(self, fault: Fault) -> NoReturn: ...


class Log(_Always, _Asked, Protocol):
    """The exchange is settled."""

    @property
    def ask(self) -> Ask: ...
    @property
    def dialect(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def record(self) -> LogRecord: ...
    def emit(self, sink: str, line: bytes) -> None: ...
    def tell(self, statement: Statement) -> None: ...


class InitWorker(Protocol):
    """Once, when a plan is made: what a plugin may keep for its lifetime."""

    @property
    def consumers(self) -> Sequence[Consumer]: ...
    @property
    def config(self) -> Config:
        """The whole configuration."""
        ...

    @property
    def place(self) -> tuple[str | None, str | None, str | None]:
        """The service, the route and the consumer that this entry of the plugin stands at; None: at any."""
        ...


class Certificate(Protocol):
    """A TLS handshake: which certificate answers it."""

    @property
    def server_name(self) -> str:
        """The name the client asked for; '' if none."""
        ...

    def use_certificate(self, index: int) -> None:
        """Answer with this certificate of the configuration's list."""
        ...


class Plugin(Protocol):
    """What a plugin is: a class with a name, a priority, a config Struct, and hooks named after phases.

    `init_worker`, `certificate`, `rewrite`, `access`, `header_filter`, `body_filter` and `log` are all
    optional; phases.py has the type of each one's context. One instance serves one entry of the
    configuration.
    """

    NAME: ClassVar[str]
    PRIORITY: ClassVar[int]
    """Higher runs earlier, as in Kong."""
    CONFIG: ClassVar[type[msgspec.Struct]]
    SCOPES: ClassVar[frozenset[Scope]]

    def __init__(self, config: Any) -> None: ...


def schema_of(plugin: type[Plugin]) -> PluginSchema:
    """What the configuration loader must know of a plugin."""
    return PluginSchema(plugin.NAME, plugin.CONFIG, plugin.SCOPES)
