"""A gateway inside a program: entered, called, left.

    async with stargate.asyncio.Gateway(configuration) as gateway:
        http_client = httpx.AsyncClient(transport=gateway.transport())
        client = AsyncOpenAI(base_url="http://stargate/v1", api_key=key, http_client=http_client)

It is the shell's own gateway in a task group of its own, on the caller's loop, and nothing beside it: no
signal handler, no tuning of the collector, nothing global. So there may be many in one process, each with
its own configuration, pool, limits and credentials.

Leaving drains: what runs may finish within `drain_seconds`, and is told in its own API when it could not. A
program that is cancelled does not wait: its calls are cancelled with it.

What goes wrong in the program's own block is raised as it is, not in an exception group: the groups of the
gateway's tasks are nobody's business as long as none of them fails.

It belongs to the loop it was entered on, and is not to be called from another thread.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

from stargate.credentials import Found
from stargate.embedding import chat
from stargate.embedding.configuration import Configuration, compiled
from stargate.in_memory.call import NotRunning, call, compose
from stargate.in_memory.channel import MemoryChannel
from stargate_core.views import Plugin

if TYPE_CHECKING:
    from stargate.httpx_transport import AsyncTransport

Attend: TypeAlias = Callable[[MemoryChannel, str], None]
"""Has the gateway attend a connection, from an address. Raises RuntimeError when it is closed."""
Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Whole(NamedTuple):
    """An answer, all of it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Embedded(ABC):
    """A gateway, to be entered with `async with`; again only when it was left.

    config: see `Configuration`. serve: whether it also listens, where the configuration says. plugins:
    classes beside those that are installed. log_level: what is told on standard error. Raises ConfigProblems,
    OSError for a file that can't be read, and BadPlugin; when entered, CannotListen and BadTls.
    """

    def __init__(
        self,
        config: Configuration = None,
        *,
        serve: bool = False,
        plugins: Iterable[type[Plugin]] = (),
        log_level: Level = "warning",
    ) -> None:
        made = compiled(config, plugins)
        self.plan = made.plan
        self.warnings = made.warnings
        """What the configuration's author should know."""
        self.urls: list[str] = []
        """Where it listens, if it does."""
        self._serve = serve
        self._log_level: Level = log_level
        self._runs: AbstractAsyncContextManager[Attend] | None = None
        self._attend: Attend | None = None
        self.leaving = False
        """Whether it is being left, or has been: then it takes no more calls."""

    @abstractmethod
    def _running(self) -> AbstractAsyncContextManager[Attend]:
        """The gateway while it runs, on a loop of its kind."""

    def _tell_of(self, found: Mapping[str, Found], note: Callable[[str, str], None]) -> None:
        """Tell the operator of credentials that are not there; a server's, of the configuration too."""
        for account, one in found.items():
            if one.credentials is None:
                name = f"credentials for account {account}" if account else "AWS credentials"
                note("warning", f"no {name}: {one.problem}; calls are answered 503 until there are some")
        if self._serve:
            for warning in self.warnings:
                note("warning", warning)

    async def __aenter__(self) -> Self:
        if self._runs is not None:
            raise RuntimeError("the gateway is running already")
        self._runs, self.leaving = self._running(), False
        try:
            self._attend = await self._runs.__aenter__()
        except BaseException:
            self._runs = None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._runs is not None
        self.leaving = True
        try:
            return await self._runs.__aexit__(kind, error, traceback)
        finally:
            self._runs = self._attend = None
            self.urls = []

    # ----------------------------------------------------------------------------------------------- calling

    def connect(self, address: str = "embedded") -> MemoryChannel:
        """A new connection to it. address: who is calling, for the log. Raises NotRunning."""
        if self._attend is None:
            raise NotRunning("the gateway is not running: enter it with `async with`")
        channel = MemoryChannel()
        try:
            self._attend(channel, address)
        except RuntimeError as error:
            raise NotRunning("the gateway has ended") from error
        return channel

    def transport(self) -> "AsyncTransport":
        """A transport for an `AsyncClient` of httpx or httpx2. Raises ImportError where there is neither."""
        from stargate.httpx_transport import AsyncTransport  # An optional library.

        return AsyncTransport(self)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Whole:
        """One request, and all of its answer. path: percent-encoded, with its query.

        Raises NotRunning, Cut, and ValueError for what can't be a request.
        """
        fields = headers.items() if isinstance(headers, Mapping) else headers
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        data = compose(method.encode("ascii"), path.encode("ascii"), raw, body)
        answer = await call(self, data, bodiless=method == "HEAD")
        return Whole(answer.status, answer.headers, await answer.read())

    def chat(
        self,
        *,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        key: str | None = None,
        **options: Any,
    ) -> AsyncGenerator[chat.Event]:
        """A conversation's next turn, as it comes; `Finished` is last. Messages, tools and options are those
        of OpenAI's chat completions. key: the caller's. Raises GatewayError, NotRunning and Cut.

        Whoever stops before the end closes it (`contextlib.aclosing`), and the call is cancelled.
        """
        asked = {"model": model, "messages": messages, **({"tools": tools} if tools else {}), **options}
        return chat.chat(self, asked, key)
