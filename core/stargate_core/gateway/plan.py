"""The plan: one generation of the configuration, compiled so that a request finds everything ready.

A configuration says what plugins stand where: everywhere, at a service, a route, a consumer, or a mix. A
request needs the answer for its own place and caller: which hooks run in each phase, in which order. That
answer is a `Chain`. Chains are made on first need and kept; there are at most as many as there are places
times consumers.

Of several entries of one plugin the most specific one counts, in Kong's order: consumer, route and service;
consumer and route; consumer and service; route and service; consumer; route; service; everywhere. Plugins run
by PRIORITY, the highest first; equal ones by name, so that the order never depends on the file's.

A plan never changes. A reload makes a new one; what runs keeps the one it began with.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

import msgspec

from stargate_core.config.gateway_block import nanoseconds
from stargate_core.config.plugin_configs import BedrockProxy
from stargate_core.config.schema import Config, Consumer, PluginEntry, PluginSchema, Scope, Service
from stargate_core.gateway.pool import PoolLimits
from stargate_core.gateway.routes import Place, Routes
from stargate_core.phases import Phase
from stargate_core.wire.http1 import CodecKind
from stargate_core.wire.http1 import Limits as Http1Limits

_HOOKS: Final = {
    Phase.CERTIFICATE: "certificate",
    Phase.REWRITE: "rewrite",
    Phase.ACCESS: "access",
    Phase.HEADER_FILTER: "header_filter",
    Phase.BODY_FILTER: "body_filter",
    Phase.LOG: "log",
}
_MAY_WAIT: Final = (Phase.REWRITE, Phase.ACCESS)


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

    __slots__ = ("consumer", "entry", "instance", "route", "service")

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
        self.service = entry.service or service
        self.route = entry.route or route
        self.consumer = entry.consumer or consumer

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

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self.consumers = consumers


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
        self.config = config
        self.generation = generation
        self.limits = _limits(config)
        self.routes = Routes(config)
        self._consumers = {consumer.username: consumer for consumer in config.consumers}
        self._services = {name: service for service in config.services if (name := service.name)}
        self._setup = _Setup(config.consumers)
        self._plugins = plugins
        self._standing = list(self._entries())
        self._chains: dict[tuple[Place, str | None], Chain] = {}
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
        """Which of the configuration's certificates answers for this name; None: the listener's own."""
        handshake = _Handshake(server_name, _by_sni(self.config, server_name))
        for hook in self.outer.certificate:
            hook.function(handshake)
        chosen = handshake.chosen
        return chosen if chosen is not None and 0 <= chosen < len(self.config.certificates) else None

    def has(self, plugin: str) -> bool:
        """Whether a plugin is switched on anywhere."""
        return any(standing.entry.name == plugin for standing in self._standing)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Whose credentials the shell must find: '' for the usual AWS chain, else names of profiles."""
        wanted: dict[str, None] = {}
        for standing in self._standing:
            config = standing.entry.config
            if isinstance(config, BedrockProxy) and config.credentials is None and config.api_key is None:
                wanted[config.profile or ""] = None
        return tuple(wanted)

    # -------------------------------------------------------------------------------------------- compilation

    def _entries(self) -> "list[_Standing]":
        config = self.config
        found = [self._stand(entry) for entry in config.plugins if entry.enabled]
        for service in config.services:
            found += [self._stand(entry, service=service.name) for entry in service.plugins if entry.enabled]
            for route in service.routes:
                found += [
                    self._stand(e, service=service.name, route=route.name) for e in route.plugins if e.enabled
                ]
        for route in config.routes:
            found += [
                self._stand(e, service=route.service, route=route.name) for e in route.plugins if e.enabled
            ]
        for consumer in config.consumers:
            found += [
                self._stand(entry, consumer=consumer.username) for entry in consumer.plugins if entry.enabled
            ]
        return found

    def _stand(
        self,
        entry: PluginEntry,
        *,
        service: str | None = None,
        route: str | None = None,
        consumer: str | None = None,
    ) -> _Standing:
        return _Standing(entry, self._instance(entry, entry.config), service, route, consumer)

    def _instance(self, entry: PluginEntry, config: msgspec.Struct) -> Plugin:
        instance = self._plugins[entry.name](config)
        init_worker = getattr(instance, "init_worker", None)
        if init_worker is not None:
            init_worker(self._setup)
        return instance

    def _compile(self, place: Place, consumer: Consumer | None) -> Chain:
        best: dict[str, _Standing] = {}
        for standing in self._standing:
            name = standing.entry.name
            if standing.covers(place, consumer) and (name not in best or best[name].weight < standing.weight):
                best[name] = standing
        service = self._services.get(place.service or "")
        instances = [self._placed(standing, service) for standing in best.values()]
        instances.sort(key=_order)
        return Chain(place, **{name: tuple(_hooks(instances, phase)) for phase, name in _HOOKS.items()})

    def _placed(self, standing: _Standing, service: Service | None) -> Plugin:
        """The plugin as it works at a service with an upstream of its own."""
        url = service.endpoint_url if service is not None else None
        config = standing.entry.config
        if url is None or not hasattr(config, "endpoint_url"):
            return standing.instance
        return self._instance(standing.entry, msgspec.structs.replace(config, endpoint_url=url))


def _order(plugin: Plugin) -> tuple[int, str]:
    return (-plugin.PRIORITY, plugin.NAME)


def _hooks(instances: list[Plugin], phase: Phase) -> list[Hook]:
    found: list[Hook] = []
    for instance in instances:
        function = getattr(instance, _HOOKS[phase], None)
        if function is not None:
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                raise TypeError(f"{instance.NAME}: the {_HOOKS[phase]} hook is async; nothing here awaits it")
            if inspect.isgeneratorfunction(function) and phase not in _MAY_WAIT:
                raise TypeError(
                    f"{instance.NAME}: the {_HOOKS[phase]} hook may not wait, so it may not be a generator"
                )
            found.append(Hook(instance.NAME, _order(instance), function))
    return found


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
