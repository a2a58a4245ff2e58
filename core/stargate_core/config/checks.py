"""What no single setting can tell: names that must exist, be unique, or agree with each other.

The checks run over all Structs that came out of the walk, also when others did not, so that one run shows
everything; where a missing piece could be the very thing a check looks for, the check keeps silent.
Warnings are for what works and is probably not meant: an open gateway above all.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from stargate_core.config.addresses import TcpAddress, UnixAddress, is_local, parse_address
from stargate_core.config.bedrock_proxy import BedrockProxy
from stargate_core.config.caller_checks import check_callers
from stargate_core.config.log_checks import check_logs
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.problems import Path, nearest, path_text, quoted
from stargate_core.config.schema import (
    Certificate,
    Consumer,
    ConsumerGroup,
    Gateway,
    KeyCredential,
    PluginEntry,
    Route,
    Scope,
    Service,
    Sigv4Credential,
)
from stargate_core.config.target_checks import check_targets
from stargate_core.config.walk import Walk

_KEY_CHARS_GOOD: Final = 16
"""Shorter keys can be guessed: 16 characters are 64 bits even in hexadecimal digits."""
_IN_CLEAR: Final = "prompts and credentials leave this machine unencrypted"
_PARENTS: Final = {
    "services": Scope.SERVICE,
    "routes": Scope.ROUTE,
    "consumers": Scope.CONSUMER,
    "consumer_groups": Scope.CONSUMER,
}
_GUARDS: Final = ("api-key-auth", "jwt-auth")

_Entity = TypeVar("_Entity", bound=msgspec.Struct)


def check(walk: Walk) -> None:
    """Note every problem, then every warning, between the settings of one file."""
    _references(walk)
    _plugins(walk)
    _own_upstreams(walk)
    check_targets(walk)
    check_logs(walk)
    _unique(walk)
    check_callers(walk)
    for path, gateway in _all(walk, Gateway):
        _gateway(walk, path, gateway)
    _warnings(walk)


def _all(walk: Walk, entity: type[_Entity]) -> Iterator[tuple[Path, _Entity]]:
    for path, value in walk.found:
        if isinstance(value, entity):
            yield path, value


# ----------------------------------------------------------------------------------------------- references


def _names(walk: Walk) -> dict[str, list[str]]:
    return {
        "service": [service.name for _, service in _all(walk, Service)],
        "route": [route.name for _, route in _all(walk, Route) if route.name is not None],
        "consumer": [consumer.username for _, consumer in _all(walk, Consumer)],
    }


_REFERRED: Final[dict[str, type[msgspec.Struct]]] = {"service": Service, "route": Route, "consumer": Consumer}


def _references(walk: Walk) -> None:
    """Whatever is named must be there."""
    names = _names(walk)

    def must_exist(path: Path, kind: str, name: str | None) -> None:
        # Where one of the kind is broken, it may be the one that is meant.
        if name is None or name in names[kind] or _REFERRED[kind] in walk.failed:
            return
        near = nearest(name, names[kind])
        known = f"did you mean {near}?" if near else "" if names[kind] else f"there is no {kind} at all"
        walk.problem(path, f"expected the name of a {kind}, found {walk.shown(path, name)}", known)

    for path, entry in _all(walk, PluginEntry):
        for kind in _REFERRED:
            must_exist((*path, kind), kind, getattr(entry, kind))
    for path, route in _all(walk, Route):
        if len(path) == 2:
            must_exist((*path, "service"), "service", route.service)
        elif route.service is not None:
            walk.problem((*path, "service"), "expected no service: the route stands under one")
    for path, config in _all(walk, ApiKeyAuth):
        must_exist((*path, "anonymous"), "consumer", config.anonymous)


# -------------------------------------------------------------------------------------------------- plugins


def _plugins(walk: Walk) -> None:
    """A plugin stands where it may, and once in each place."""
    owners: dict[Path, str] = {path: service.name for path, service in _all(walk, Service)}
    owners.update((path, route.name or path_text(path)) for path, route in _all(walk, Route))
    owners.update((path, consumer.username) for path, consumer in _all(walk, Consumer))
    owners.update((path, f"group {group.name}") for path, group in _all(walk, ConsumerGroup))
    seen: dict[tuple[str | None, ...], Path] = {}
    for path, entry in _all(walk, PluginEntry):
        standing = {Scope.SERVICE: entry.service, Scope.ROUTE: entry.route, Scope.CONSUMER: entry.consumer}
        parent = _PARENTS.get(str(path[-4])) if len(path) >= 4 else None
        if parent is not None:
            if standing[parent] is not None:
                message = f"expected no {parent.value}: the plugin stands under one"
                walk.problem((*path, parent.value), message)
            standing[parent] = owners.get(path[:-2], path_text(path[:-2]))
        _scopes(walk, path, entry, [scope for scope, name in standing.items() if name is not None])
        first = seen.setdefault((entry.name, *standing.values()), path)
        if first != path:
            message = f"{quoted(entry.name)} stands here already: {path_text(first)}, {_line(walk, first)}"
            walk.problem(path, message, "a plugin stands once in each place")


def _scopes(walk: Walk, path: Path, entry: PluginEntry, scopes: list[Scope]) -> None:
    schema = walk.schemas.get(entry.name)
    if schema is None:
        return
    for scope in scopes or [Scope.GLOBAL]:
        if scope not in schema.scopes:
            where = "everywhere" if scope is Scope.GLOBAL else f"at a {scope.value}"
            allowed = ", ".join(one.value for one in Scope if one in schema.scopes)
            walk.problem(path, f"{quoted(entry.name)} may not stand {where}", f"it may stand here: {allowed}")


def _own_upstreams(walk: Walk) -> None:
    """A service's url says where calls go; fips and dual_stack choose between AWS's own endpoints."""
    services = dict(_all(walk, Service))
    for path, entry in _all(walk, PluginEntry):
        config = entry.config
        if not isinstance(config, BedrockProxy) or not (config.fips or config.dual_stack):
            continue
        own = services.get(path[:2])
        name = own.name if own is not None else entry.service
        for service in services.values():
            if service.endpoint_url is not None and name in (None, service.name):
                option = "fips" if config.fips else "dual_stack"
                message = (
                    f"expected false: the url of service {quoted(service.name)} says already where calls go"
                )
                walk.problem((*path, "config", option), message)


# ----------------------------------------------------------------------------------------------- uniqueness


def _unique(walk: Walk) -> None:
    """What must be there only once."""
    for entity, field in (
        (Service, "name"),
        (Route, "name"),
        (Consumer, "username"),
        (Consumer, "custom_id"),
        (ConsumerGroup, "name"),
    ):
        pairs = (((*path, field), getattr(value, field)) for path, value in _all(walk, entity))
        _once(walk, pairs, lambda path, name: f"the name {walk.shown(path, name)}")
    instances = (((*path, "instance_name"), entry.instance_name) for path, entry in _all(walk, PluginEntry))
    _once(walk, instances, lambda path, name: f"the name {walk.shown(path, name)}")
    keys = ((path, key.sha256) for path, key in _all(walk, KeyCredential))
    _once(walk, keys, lambda _path, _digest: "the same key")
    pairs = (((*path, "access_key_id"), pair.access_key_id) for path, pair in _all(walk, Sigv4Credential))
    _once(walk, pairs, lambda _path, _id: "the same access_key_id")
    snis = (
        ((*path, "snis", index), sni.lower())
        for path, certificate in _all(walk, Certificate)
        for index, sni in enumerate(certificate.snis)
    )
    _once(walk, snis, lambda path, name: f"the name {walk.shown(path, name)}")


def _once(walk: Walk, values: Iterable[tuple[Path, str | None]], what: Callable[[Path, str], str]) -> None:
    first: dict[str, Path] = {}
    for path, value in values:
        if value is None:
            continue
        earlier = first.setdefault(value, path)
        if earlier != path:
            there = f"{path_text(earlier)}, {_line(walk, earlier)}"
            walk.problem(path, f"{what(path, value)} stands twice: also at {there}")


def _line(walk: Walk, path: Path) -> str:
    return f"line {walk.place(path).line}"


# ---------------------------------------------------------------------------------------------- the gateway


def _gateway(walk: Walk, path: Path, gateway: Gateway) -> None:
    if gateway.workers > 1 and gateway.store.kind == "memory" and not gateway.per_worker_limits:
        message = f"{gateway.workers} workers need a store that they share, found memory:"
        hint = (
            "set store to a redis:// URL, or per_worker_limits to true if each may count and cache for itself"
        )
        walk.problem((*path, "workers"), message, hint)
    taken: dict[TcpAddress | UnixAddress, str] = {}
    for index, listener in enumerate(gateway.listen):
        address = listener.endpoint
        where = (*path, "listen", index)
        if address in taken and address != _any_port(address):
            walk.problem(where, f"expected an address of its own, the same as {taken[address]}")
        taken.setdefault(address, path_text(where))
    if gateway.admin_listen is None:
        return
    admin = parse_address(gateway.admin_listen)
    where = (*path, "admin_listen")
    if admin in taken and admin != _any_port(admin):
        walk.problem(where, f"expected an address of its own, the same as {taken[admin]}")
    if gateway.admin_token is None and not is_local(admin):
        message = "expected an admin_token beside it, since others can reach this address"
        walk.problem(where, message, "or listen on 127.0.0.1, or on unix:/path")


def _any_port(address: TcpAddress | UnixAddress) -> TcpAddress | UnixAddress | None:
    """The address, if the system chooses its port: then two of them are two."""
    return address if isinstance(address, TcpAddress) and address.port == 0 else None


# ------------------------------------------------------------------------------------------------- warnings


def _warnings(walk: Walk) -> None:
    """What works, and is probably not meant."""
    consumers = [consumer for _, consumer in _all(walk, Consumer)]
    has_credentials = any(one.keyauth_credentials or one.sigv4_credentials for one in consumers)
    guards = [entry for _, entry in _all(walk, PluginEntry) if entry.name in _GUARDS and entry.enabled]
    if not guards:
        message = "the gateway is open: without api-key-auth, everybody who can reach it may use it"
        hint = "its consumers' keys are not asked for" if has_credentials else ""
        walk.warning(("plugins",), message, hint)
    elif not (has_credentials or _may_have_live_keys(walk)) and all(
        isinstance(entry.config, ApiKeyAuth) and not entry.config.anonymous for entry in guards
    ):
        walk.warning(("consumers",), "nobody can get in: no consumer has a key")
    for path, key in _all(walk, KeyCredential):
        if key.key is not None and len(key.key.reveal()) < _KEY_CHARS_GOOD:
            message = f"a key of less than {_KEY_CHARS_GOOD} characters can be guessed"
            walk.warning((*path, "key"), message)
    for path, gateway in _all(walk, Gateway):
        if gateway.admin_token is not None and len(gateway.admin_token.reveal()) < _KEY_CHARS_GOOD:
            message = f"a token of less than {_KEY_CHARS_GOOD} characters can be guessed"
            walk.warning((*path, "admin_token"), message)
        if gateway.workers > 1 and gateway.store.kind == "memory":
            message = f"each of {gateway.workers} workers counts limits and keeps answers for itself"
            walk.warning((*path, "workers"), message)
        if gateway.journal.directory and not (gateway.journal.redact or gateway.journal.encrypt_to):
            message = "what people say to models, and models to them, is written down in the clear"
            walk.warning((*path, "journal", "redact"), message)
        if not gateway.upstream_tls.verify:
            walk.warning((*path, "upstream_tls", "verify"), "whoever answers in Bedrock's place is believed")
    for path, config in _all(walk, BedrockProxy):
        for place, target, _ in config.places():
            if target.endpoint_url is not None and _is_in_clear(target.endpoint_url):
                walk.warning((*path, *place, "endpoint_url"), _IN_CLEAR, "use https")
        if config.endpoint_url is not None and _is_in_clear(config.endpoint_url):
            walk.warning((*path, "endpoint_url"), _IN_CLEAR, "use https")
    for path, service in _all(walk, Service):
        if service.endpoint_url is not None and _is_in_clear(service.endpoint_url):
            walk.warning(path, _IN_CLEAR, "use https")


def _may_have_live_keys(walk: Walk) -> bool:
    """Whether there is a store in which keys may live that the file knows nothing of."""
    return any(gateway.store.kind != "memory" for _, gateway in _all(walk, Gateway))


def _is_in_clear(url: str) -> bool:
    """Whether a URL leads off this machine without TLS."""
    found = re.match(r"http://(\[[^\]]*\]|[^/:]*)", url)
    if found is None:
        return False
    host = found[1].strip("[]")
    return not is_local(TcpAddress(host, 80))
