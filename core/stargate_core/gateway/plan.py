"""The plan: one generation of the configuration, compiled so that a request finds everything ready.

A configuration says what plugins stand where: everywhere, at a service, a route, a consumer, or a mix. A
request needs the answer for its own place and caller: which hooks run in each phase, in which order. That
answer is a `Chain`. Chains are made on first need and kept; there are at most as many as there are places
times consumers.

Of several entries of one plugin the most specific one counts, in Kong's order: consumer, route and service;
consumer and route; consumer and service; route and service; consumer; route; service; everywhere. Plugins run
by PRIORITY, the highest first; equal ones by name, so that the order never depends on the file's.

A plugin nested below a service, a route or a consumer stands there and nowhere else in this order: one below
a route that is itself below a service stands at the route.

All plugins are made, and their hooks looked at, when the plan is: one that can't be made is a mistake of the
configuration and never of a request. A plan never changes. A reload makes a new one; what runs keeps the one
it began with.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.aws.sigv4 import Signers
from stargate_core.config.bedrock_proxy import BedrockProxy
from stargate_core.config.callers import with_groups
from stargate_core.config.gateway_block import nanoseconds
from stargate_core.config.request_logger import LogSink, RequestLogger
from stargate_core.config.schema import Config, Consumer, PluginEntry, Route
from stargate_core.direction import Account
from stargate_core.gateway.places import Place
from stargate_core.gateway.pool import PoolLimits
from stargate_core.gateway.routes import Routes
from stargate_core.gateway.tracing import trace_plan
from stargate_core.phases import Phase
from stargate_core.plugins.bedrock_proxy import accounts_of
from stargate_core.prices import Prices
from stargate_core.views import Plugin
from stargate_core.wire.http1 import CodecKind
from stargate_core.wire.http1 import Limits as Http1Limits

_HOOKS: Final = {
    Phase.INIT_WORKER: "init_worker",
    Phase.CERTIFICATE: "certificate",
    Phase.REWRITE: "rewrite",
    Phase.ACCESS: "access",
    Phase.HEADER_FILTER: "header_filter",
    Phase.BODY_FILTER: "body_filter",
    Phase.LOG: "log",
}
_MAY_WAIT: Final = (Phase.REWRITE, Phase.ACCESS)
_OF_A_CHAIN: Final = tuple(phase for phase in _HOOKS if phase is not Phase.INIT_WORKER)


class Hook(msgspec.Struct, frozen=True):
    """One plugin's function for one phase."""

    plugin: str
    order: tuple[int, str]
    """Hooks run in ascending order."""
    function: Callable[[Any], Any]


class Chain(msgspec.Struct, frozen=True):
    """The hooks for one place and caller, phase by phase."""

    place: Place
    rewrite: tuple[Hook, ...] = ()
    access: tuple[Hook, ...] = ()
    header_filter: tuple[Hook, ...] = ()
    body_filter: tuple[Hook, ...] = ()
    log: tuple[Hook, ...] = ()
    certificate: tuple[Hook, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """The gateway's limits, ready for use. Durations in nanoseconds."""

    total_ns: int
    first_token_ns: int
    idle_ns: int
    keepalive_ns: int
    client_head_ns: int
    client_body_ns: int
    client_idle_ns: int
    client_stall_ns: int
    http1: Http1Limits
    http_codec: CodecKind
    pool: PoolLimits


class _Standing:
    """One entry of a plugin, and where it stands."""

    __slots__ = ("consumer", "entry", "instance", "placed", "route", "service")

    def __init__(
        self,
        entry: PluginEntry,
        instance: Plugin,
        service: str | None,
        route: str | None,
        consumer: str | None,
    ) -> None:
        self.entry = entry
        self.instance = instance
        self.placed: dict[str, Plugin] = {}
        """The instances for services with an upstream of their own."""
        self.service = service
        self.route = route
        self.consumer = consumer

    def covers(self, place: Place, consumer: Consumer | None) -> bool:
        """Whether it stands at this place for this caller."""
        return (
            (self.service is None or self.service == place.service)
            and (self.route is None or self.route == place.route)
            and (self.consumer is None or (consumer is not None and self.consumer == consumer.username))
        )

    @property
    def weight(self) -> int:
        """How specific it is: the sums give Kong's order."""
        return 4 * (self.consumer is not None) + 3 * (self.route is not None) + 2 * (self.service is not None)


class _Setup:
    """The context of init_worker."""

    def __init__(self, config: Config, place: tuple[str | None, str | None, str | None]) -> None:
        self.consumers: Sequence[Consumer] = config.consumers
        self.config = config
        self.place = place


class _Handshake:
    """The context of the certificate phase."""

    def __init__(self, server_name: str, chosen: int | None) -> None:
        self.server_name = server_name
        self.chosen = chosen

    def use_certificate(self, index: int) -> None:
        """Answer with this one."""
        self.chosen = index


class Plan:
    """A compiled configuration."""

    def __init__(self, config: Config, plugins: Mapping[str, type[Plugin]], *, generation: int = 1) -> None:
        config = self.config = with_groups(config)
        self.generation = generation
        self.limits = _limits(config)
        self.routes = Routes(config)
        self.prices = Prices(config.gateway.prices)
        self.observed = config.gateway.admin_listen is not None
        """Whether somebody watches: each settled exchange is published."""
        self.tracing = trace_plan(config.gateway.tracing)
        """How exchanges are traced; None: not at all."""
        self.plugins = plugins
        """The plugins there are, switched on or not."""
        self._standing = list(self._entries())
        self._chains: dict[tuple[Place, str | None], Chain] = {}
        self.signers = Signers()
        """Kept for all sessions of this plan."""
        self.outer = self.chain(Place(), None)
        """The chain of plugins that stand everywhere: before a route is known, and where there is none."""

    def chain(self, place: Place, consumer: Consumer | None) -> Chain:
        """The hooks for this place and caller."""
        key = (place, consumer.username if consumer is not None else None)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = self._compile(place, consumer)
        return chain

    def certificate(self, server_name: str) -> int | None:
        """Which of the configuration's certificates answers for this name; None: the listener's own.

        Raises whatever a certificate hook raises: nobody knows which one it would have chosen, so the
        handshake fails.
        """
        handshake = _Handshake(server_name, _by_sni(self.config, server_name))
        for hook in self.outer.certificate:
            hook.function(handshake)
        chosen = handshake.chosen
        return chosen if chosen is not None and 0 <= chosen < len(self.config.certificates) else None

    def has(self, plugin: str) -> bool:
        """Whether a plugin is switched on anywhere."""
        return any(standing.entry.name == plugin for standing in self._standing)

    @property
    def entries(self) -> tuple[PluginEntry, ...]:
        """The uses of plugins that are switched on, in the order of the file; of a group for each member."""
        return tuple(standing.entry for standing in self._standing)

    @property
    def switched_on(self) -> tuple[str, ...]:
        """The plugins that are switched on anywhere, each once, in the order of the file."""
        return tuple(dict.fromkeys(entry.name for entry in self.entries))

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Whose credentials the shell must find, by their names."""
        wanted: dict[str, Account] = {}
        for standing in self._standing:
            config = standing.entry.config
            if isinstance(config, BedrockProxy):
                for account in accounts_of(config):
                    wanted.setdefault(account.name, account)
        return tuple(wanted.values())

    @property
    def log_sinks(self) -> dict[str, LogSink]:
        """The sinks of log records, by their paths: how the shell writes to each."""
        loggers = (standing.entry.config for standing in self._standing)
        sinks = (sink for config in loggers if isinstance(config, RequestLogger) for sink in config.every)
        return {sink.path: sink for sink in sinks}

    # -------------------------------------------------------------------------------------------- compilation

    def _entries(self) -> Iterator[_Standing]:
        """Every entry that is switched on, with the one scope that its place in the file gives it."""
        config = self.config
        for entry in config.plugins:
            yield from self._stand(entry)
        for service in config.services:
            for entry in service.plugins:
                yield from self._stand(entry, service=service.name)
        for route in _routes(config):
            for entry in route.plugins:
                yield from self._stand(entry, route=route.name)
        for consumer in config.consumers:
            for entry in consumer.plugins:
                yield from self._stand(entry, consumer=consumer.username)

    def _stand(
        self,
        entry: PluginEntry,
        *,
        service: str | None = None,
        route: str | None = None,
        consumer: str | None = None,
    ) -> Iterator[_Standing]:
        if entry.enabled:
            place = (entry.service or service, entry.route or route, entry.consumer or consumer)
            standing = _Standing(entry, self._instance(entry, entry.config, place), *place)
            self._place(standing)
            yield standing

    def _instance(
        self, entry: PluginEntry, config: msgspec.Struct, place: tuple[str | None, str | None, str | None]
    ) -> Plugin:
        instance = self.plugins[entry.name](config)
        for phase, name in _HOOKS.items():
            _check(instance, name, may_wait=phase in _MAY_WAIT)
        init_worker = getattr(instance, "init_worker", None)
        if init_worker is not None:
            init_worker(_Setup(self.config, place))
        return instance

    def _place(self, standing: _Standing) -> None:
        """Make the plugin once more for each service with an upstream of its own: calls go there instead."""
        config = standing.entry.config
        for service in self.config.services:
            url = service.endpoint_url
            if (
                url is not None
                and hasattr(config, "endpoint_url")
                and standing.service in (None, service.name)
            ):
                there = (
                    config.placed(url)
                    if isinstance(config, BedrockProxy)
                    else msgspec.structs.replace(config, endpoint_url=url)
                )
                place = (service.name, standing.route, standing.consumer)
                standing.placed[service.name] = self._instance(standing.entry, there, place)

    def _compile(self, place: Place, consumer: Consumer | None) -> Chain:
        best: dict[str, _Standing] = {}
        for standing in self._standing:
            name = standing.entry.name
            if standing.covers(place, consumer) and (name not in best or best[name].weight < standing.weight):
                best[name] = standing
        instances = [
            standing.placed.get(place.service or "", standing.instance) for standing in best.values()
        ]
        instances.sort(key=_order)
        return Chain(
            place,
            **{
                name: tuple(_hooks(instances, name)) for phase, name in _HOOKS.items() if phase in _OF_A_CHAIN
            },
        )


def _routes(config: Config) -> Iterator[Route]:
    """All routes, wherever they are written."""
    for service in config.services:
        yield from service.routes
    yield from config.routes


def _order(plugin: Plugin) -> tuple[int, str]:
    return (-plugin.PRIORITY, plugin.NAME)


def _check(plugin: Plugin, name: str, *, may_wait: bool) -> None:
    """Refuse a hook that could never run to its end. Raises TypeError."""
    function = getattr(plugin, name, None)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{plugin.NAME}: the {name} hook is async; nothing here awaits it")
    if inspect.isgeneratorfunction(function) and not may_wait:
        raise TypeError(f"{plugin.NAME}: the {name} hook may not wait, so it may not be a generator")


def _hooks(plugins: list[Plugin], name: str) -> Iterator[Hook]:
    for plugin in plugins:
        function = getattr(plugin, name, None)
        if function is not None:
            yield Hook(plugin.NAME, _order(plugin), function)


def _by_sni(config: Config, server_name: str) -> int | None:
    """The certificate whose snis name the server: exactly, or with one label's wildcard."""
    name = server_name.lower()
    wild = f"*.{name.partition('.')[2]}"
    for wanted in (name, wild):
        for index, certificate in enumerate(config.certificates):
            if wanted in (sni.lower() for sni in certificate.snis):
                return index
    return None


def _limits(config: Config) -> Limits:
    gateway = config.gateway
    limits = gateway.time_limits
    return Limits(
        total_ns=nanoseconds(limits.total),
        first_token_ns=nanoseconds(limits.first_token),
        idle_ns=nanoseconds(limits.idle),
        keepalive_ns=nanoseconds(gateway.keepalive_seconds),
        client_head_ns=nanoseconds(limits.client_head),
        client_body_ns=nanoseconds(limits.client_body),
        client_idle_ns=nanoseconds(limits.client_idle),
        client_stall_ns=nanoseconds(limits.client_stall),
        http1=Http1Limits(head_bytes_max=gateway.max_head_bytes, body_bytes_max=gateway.max_body_bytes),
        http_codec=gateway.http_codec,
        pool=PoolLimits(
            connections_max=gateway.pool.max_connections_per_endpoint,
            idle_max=gateway.pool.max_idle,
            idle_ns=nanoseconds(gateway.pool.idle_seconds),
            connect_ns=nanoseconds(limits.connect),
            wait_ns=nanoseconds(limits.pool),
        ),
    )
