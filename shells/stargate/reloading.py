"""Reloading: another generation of the configuration, while the gateway runs.

The whole new file is looked at first, in a thread: the text, every plugin, every certificate. What is wrong
is told with line and column, and then nothing has changed. What is right is swapped in at once. No connection
is closed for it: what runs finishes on its own generation, and each session's next request is the new one's.

Some settings cannot change in a process that runs: where it listens, its store, how large its cache is. They
stay, also in the new generation, so that it is the configuration that really runs; a warning names them.

Requests to reload that come while one is under way make one more, and not one each.

How the last one went is kept for whoever asks (the admin listener): since when the generation that runs does,
and what the last file was refused for, until one is taken. Of several workers each is told what the
supervisor has refused.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
import msgspec

from stargate.credentials import Keeper
from stargate.shell_common.listening import Door
from stargate.shell_common.starting import CREDENTIALS_SECONDS
from stargate.sources import Source, Unreadable
from stargate.tls import BadTls, UpstreamTlsOf, listener_context, upstream_contexts
from stargate_core.config.schema import Config, Gateway
from stargate_core.gateway.plan import Plan

LOOK_SECONDS: Final = 1.0
"""How often a watched file is looked at."""
_MOVING_SECONDS: Final = 0.1
"""The same while it is being written."""
_FIXED: Final = ("admin_listen", "cache", "journal", "per_worker_limits", "store", "workers")
"""Settings of the gateway block that take a restart."""
REFUSAL_LINES_MAX: Final = 100
_REFUSAL_CHARS_MAX: Final = 1000
"""Of a line that is kept; all of it has been told."""


class Unfit(Exception):
    """A configuration that cannot run; each of `problems` says where, and why."""

    def __init__(self, *problems: object) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(map(str, problems))


class Refusal(msgspec.Struct, frozen=True):
    """A configuration that was not taken: when, in wall time, and why, in lines for a person."""

    at_ns: int
    lines: tuple[str, ...]


class Prepared(msgspec.Struct, frozen=True):
    """Another generation, ready to run."""

    plan: Plan
    doors: tuple[Any, ...]
    """The TLS context of each listener; None: plain."""
    tls: UpstreamTlsOf
    warnings: tuple[str, ...]


def prepare(source: Source, text: str | None, running: Plan, generation: int) -> Prepared:
    """The generation that this text makes, in the place of the one that runs. Raises Unfit. Blocks: it reads
    certificates.
    """
    examined = source.examine(text)
    if examined.config is None:
        raise Unfit(*examined.problems)
    config, kept = _keep(examined.config, running.config)
    try:
        plan = Plan(config, source.plugins, generation=generation)
        doors = tuple(listener_context(listener, plan) for listener in config.gateway.listen)
        tls = upstream_contexts(config.gateway.upstream_tls)
    except BadTls as error:
        raise Unfit(error) from error
    except Exception as error:  # A plugin of others may raise anything, and must not end the gateway.
        raise Unfit(f"{source.name}: {type(error).__name__}: {error}") from error
    return Prepared(plan, doors, tls, (*map(str, examined.warnings), *kept))


def _keep(config: Config, running: Config) -> tuple[Config, list[str]]:
    """The configuration with what stays as it is, and a warning for each such setting."""
    new, old = config.gateway, running.gateway
    stay: dict[str, Any] = {name: getattr(old, name) for name in _FIXED if _differs(name, new, old)}
    if [listener.address for listener in new.listen] != [listener.address for listener in old.listen]:
        stay["listen"] = old.listen
    warnings = [f"gateway.{name} has changed; that takes a restart, and stays as it was" for name in stay]
    return msgspec.structs.replace(config, gateway=msgspec.structs.replace(new, **stay)), sorted(warnings)


def _differs(name: str, new: Gateway, old: Gateway) -> bool:
    return bool(getattr(new, name) != getattr(old, name))


class Reconfigurable(Protocol):
    """A shell's gateway."""

    plan: Plan

    def reconfigure(self, plan: Plan, tls: UpstreamTlsOf) -> None:
        """This generation counts from now on."""
        ...


class Reloader:
    """Reloads when it is wanted, one after the other. doors: the listeners', in the configuration's order."""

    def __init__(
        self,
        source: Source,
        gateway: Reconfigurable,
        keeper: Keeper,
        doors: Sequence[Door],
        note: Callable[[str, str], None],
    ) -> None:
        self._source = source
        self._gateway = gateway
        self._keeper = keeper
        self._doors = doors
        self._note = note
        self.loaded_at_ns = time.time_ns()
        """Since when the running generation does."""
        self.refused: Refusal | None = None
        """What was wrong with the last file, if it was not taken."""
        self._wanted = anyio.Event()
        self._given: tuple[str | None, int] | None = None

    def want(self) -> None:
        """Somebody wants the file to be read again."""
        self._wanted.set()

    def take(self, text: str | None, generation: int) -> None:
        """Somebody has read it already, and calls it this generation."""
        self._given = (text, generation)
        self._wanted.set()

    def hear_of(self, refused: Refusal) -> None:
        """Somebody has read it already, and it cannot run."""
        self.refused = refused

    async def run(self) -> None:
        """Reload, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            await self._reload()

    async def watch(self) -> None:
        """Want it whenever the file says something else, for ever."""
        while True:
            await anyio.sleep(_MOVING_SECONDS if self._source.moving else LOOK_SECONDS)
            if await anyio.to_thread.run_sync(self._source.changed, abandon_on_cancel=True):
                self.want()

    async def _reload(self) -> None:
        running = self._gateway.plan
        given, self._given = self._given, None
        try:
            make = partial(_made, self._source, given, running)
            prepared = await anyio.to_thread.run_sync(make, abandon_on_cancel=True)
        except Unfit as unfit:
            for line in refusal(unfit, running.generation):
                self._note("error", line)
            self.refused = kept(unfit)
            return
        if given is None:
            for warning in prepared.warnings:
                self._note("warning", warning)
        await self._keeper.change(prepared.plan.accounts, CREDENTIALS_SECONDS)
        self._gateway.reconfigure(prepared.plan, prepared.tls)
        for door, tls in zip(self._doors, prepared.doors, strict=True):
            door.tls = tls
        self.loaded_at_ns, self.refused = time.time_ns(), None
        # Who was given the text was given it by somebody who tells this for all.
        self._note("info" if given is None else "debug", success(prepared.plan.generation))


def _made(source: Source, given: tuple[str | None, int] | None, running: Plan) -> Prepared:
    try:
        text, generation = given or (source.read(), running.generation + 1)
    except Unreadable as error:
        raise Unfit(error.problem) from error
    return prepare(source, text, running, generation)


def refusal(unfit: Unfit, generation: int) -> list[str]:
    """What an operator hears of a configuration that cannot run."""
    return [*unfit.problems, f"the running configuration stays (generation {generation})"]


def kept(unfit: Unfit) -> Refusal:
    """What is kept of it."""
    lines = [line[:_REFUSAL_CHARS_MAX] for line in unfit.problems[:REFUSAL_LINES_MAX]]
    if len(unfit.problems) > REFUSAL_LINES_MAX:
        lines.append(f"and {len(unfit.problems) - REFUSAL_LINES_MAX} more")
    return Refusal(time.time_ns(), tuple(lines))


def success(generation: int) -> str:
    """What an operator hears of one that runs now."""
    return f"the configuration was reloaded: generation {generation}"
