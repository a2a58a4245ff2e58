"""The whole of a document: services, routes, consumers and plugins, each where it stood.

A service of Kong's is an upstream; of ours the upstream is Bedrock. So a service goes over for its routes and
plugins, and its URL does not: with ai-proxy Kong leaves it unused as well. A service without an AI plugin, at
itself, at one of its routes or everywhere, is no business of an LLM gateway, and goes with all its routes.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from stargate.kong.document import Document, Note, Tree, read, tree, trees
from stargate.kong.limits import together
from stargate.kong.plugins import AI, CONVERTERS
from stargate.kong.site import Site
from stargate_core.config.schema import Consumer, ConsumerGroup, KeyCredential, Route

_SCOPES: Final = ("service", "route", "consumer")
_KEPT_OF_PLUGIN: Final = ("enabled", "instance_name", "tags")


class Converted(msgspec.Struct, frozen=True):
    """What came of a document."""

    config: Tree
    """As it is written down: mappings, lists and scalars."""
    notes: tuple[Note, ...]


def convert(text: str) -> Converted:
    """Stargate's configuration out of Kong's. Raises NotKong."""
    return _Conversion(read(text)).run()


class _Conversion:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._gateway: Tree = {}
        self._dialects: dict[tuple[str, str], str] = {}
        """What callers speak at a service or a route, by the kind of the place and its name."""
        self._at: dict[str, list[tuple[str, str]]] = {}
        """Where each plugin of ours has come to stand, and which one of Kong's it was."""

    def run(self) -> Converted:
        document = self._document
        everywhere = any(entry.get("name") in AI and not _scoped(entry) for entry in document.plugins)
        plugins = list(self._plugins({"plugins": document.plugins}, "", ""))
        services = [
            self._service(service) for service in document.services if everywhere or self._is_ai(service)
        ]
        kept = {service["name"] for service in services}
        routes = [self._route(route) for route in document.routes if route.get("service") in {None, *kept}]
        gone = {str(service.get("name")) for service in document.services} - kept
        for route in document.routes:
            if route.get("service") not in {None, *kept, *gone}:
                document.note("dropped", f"route {route.get('name')}", "its service is not in the file")
        for name in sorted(gone):
            text = "no AI plugin stands there: Stargate is a gateway to Bedrock alone"
            document.note("dropped", f"service {name}", text)
        config: Tree = {"_format_version": "3.0"}
        parts = {
            "gateway": self._gateway,
            "consumers": [self._consumer(consumer) for consumer in document.consumers],
            "consumer_groups": [self._group(group) for group in document.consumer_groups],
            "services": services,
            "routes": routes,
            "plugins": [plugin for plugin in plugins if not gone & {plugin.get("service")}],
            "certificates": [_known(one, ("cert", "key", "snis", "tags")) for one in document.certificates],
        }
        config |= {name: part for name, part in parts.items() if part}
        self._speak(config)
        self._tell_hidden()
        return Converted(config, tuple(document.notes))

    def _is_ai(self, service: Tree) -> bool:
        """Whether an AI plugin stands at the service or one of its routes."""
        name = service.get("name")
        own = [route for route in self._document.routes if route.get("service") == name]
        routes: list[Tree] = [*trees(service.get("routes")), *own]
        names = {route.get("name") for route in routes}
        entries: list[Tree] = [*trees(service.get("plugins"))]
        for route in routes:
            entries += trees(route.get("plugins"))
        for entry in self._document.plugins:
            if entry.get("service") == name or (entry.get("route") and entry.get("route") in names):
                entries.append(entry)
        return any(entry.get("name") in AI for entry in entries)

    def _service(self, service: Tree) -> Tree:
        name = str(service.get("name"))
        written: Tree = {"name": name, **_known(service, ("enabled", "tags"))}
        written["routes"] = [self._route(route) for route in trees(service.get("routes"))]
        written["plugins"] = list(self._plugins(service, "service", name))
        return {key: value for key, value in written.items() if value not in ([], None)}

    def _route(self, route: Tree) -> Tree:
        name = str(route.get("name") or (route.get("paths") or ["route"])[0])
        known = [field.encode_name for field in msgspec.structs.fields(Route)]
        written = _known(route, [key for key in known if key != "plugins"])
        unused = {
            key: value for key, value in route.items() if key not in known and value not in (None, [], {})
        }
        for key in sorted(unused):
            if key not in Route.KONG_UNUSED and key not in (
                "created_at",
                "updated_at",
                "expression",
                "priority",
            ):
                self._document.note("dropped", f"route {name}: {key}", "Stargate has nothing like it")
        if route.get("expression"):
            self._document.note(
                "check", f"route {name}", "an expression: write it as paths, hosts or headers"
            )
        plugins = list(self._plugins(route, "route", name))
        if plugins:
            written |= {"name": name, "plugins": plugins}
        return written

    def _consumer(self, consumer: Tree) -> Tree:
        name = str(consumer.get("username") or consumer.get("custom_id"))
        groups = [_name(group) for group in trees(consumer.get("groups"))]
        groups += [str(acl.get("group")) for acl in trees(consumer.get("acls"))]
        written: Tree = {"username": name, **_known(consumer, ("custom_id", "tags"))}
        keys = trees(consumer.get("keyauth_credentials")) or trees(consumer.get("keyauth_enc_credentials"))
        known = [field.encode_name for field in msgspec.structs.fields(KeyCredential)]
        parts = {
            "groups": groups,
            "keyauth_credentials": [_known(key, known) for key in keys],
            "plugins": list(self._plugins(consumer, "consumer", name)),
        }
        written |= {key: value for key, value in parts.items() if value}
        fields = {field.encode_name for field in msgspec.structs.fields(Consumer)}
        for key in sorted(consumer.keys() - fields - {"acls", "keyauth_enc_credentials", "created_at"}):
            if consumer[key]:
                self._document.note(
                    "dropped", f"consumer {name}: {key}", "keys and JWT issuers are known here"
                )
        return written

    def _group(self, group: Tree) -> Tree:
        name = str(group.get("name"))
        fields = [field.encode_name for field in msgspec.structs.fields(ConsumerGroup)]
        written = _known(group, [key for key in fields if key != "plugins"])
        plugins = list(self._plugins(group, "consumer_group", name))
        return written | ({"plugins": plugins} if plugins else {})

    def _plugins(self, holder: Tree, kind: str, name: str) -> Iterator[Tree]:
        """Those at one place. Two of Kong's that are one of ours at the very same place become one."""
        found: dict[tuple[str, ...], Tree] = {}
        for entry in trees(holder.get("plugins")):
            for written in self._plugin(entry, kind, name):
                key = (written["name"], *(str(written.get(scope)) for scope in _SCOPES))
                before = found.setdefault(key, written)
                if before is written:
                    continue
                if written["name"] == "rate-limiter":
                    before["config"] = together(before["config"], written["config"])
                elif not before["config"].keys() & written["config"].keys():
                    before["config"] |= written["config"]  # Templates, and what decorates.
                else:
                    place = f"plugin {written['name']} {_place(written, kind, name)}"
                    self._document.note("check", place, "there were two of them; only the first is kept")
        yield from found.values()

    def _plugin(self, entry: Tree, kind: str, holder: str) -> Iterator[Tree]:
        """The plugins of ours that one of Kong's becomes, wherever it stands."""
        entry = self._document.plugin(entry)
        name = str(entry.get("name"))
        place = f"{kind} {holder}: " if kind else ""
        site = Site(self._document, f"{place}{name}", self._gateway)
        converter = CONVERTERS.get(name)
        if converter is None:
            site.note("dropped", "Stargate has no such plugin")
            return
        config: Tree = tree(entry.get("config"))
        try:
            converted = converter(config, site)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            site.note("check", "its config has not the form that Kong gives it, and is left out")
            return
        for ours, told in converted:
            written: Tree = {"name": ours, **_known(entry, _KEPT_OF_PLUGIN)}
            written |= {scope: entry[scope] for scope in _SCOPES if entry.get(scope)}
            self._at.setdefault(ours, []).append((name, _place(written, kind, holder)))
            yield {**written, "config": told} if told else written
        if site.dialect is not None:
            for scope in ("route", "service"):
                if entry.get(scope) or kind == scope:
                    self._dialects[scope, str(entry.get(scope) or holder)] = site.dialect
                    return

    def _tell_hidden(self) -> None:
        """Two plugins of Kong's may have become one of ours at two places, of which the closer one counts."""
        for ours, places in self._at.items():
            theirs = sorted({name for name, _ in places})
            where = list(dict.fromkeys(place for _, place in places))
            if len(theirs) > 1 and len(where) > 1:
                text = (
                    f"it was {' and '.join(theirs)}, at {', '.join(where)}: where several stand for "
                    "a request, only the closest counts here; write what is to hold into that one"
                )
                self._document.note("check", f"plugin {ours}", text)

    def _speak(self, config: Tree) -> None:
        """Tell routes what callers speak there, where the AI plugin at them or their service has said it."""
        for service in config.get("services", []):
            for route in service.get("routes", []):
                self._tell(route, service["name"])
        for route in config.get("routes", []):
            self._tell(route, str(route.get("service")))

    def _tell(self, route: Tree, service: str) -> None:
        dialect = self._dialects.get(
            ("route", str(route.get("name"))), self._dialects.get(("service", service))
        )
        if dialect is not None:
            route["dialect"] = dialect


def _place(entry: Tree, kind: str, holder: str) -> str:
    scopes = [f"{scope} {entry[scope]}" for scope in _SCOPES if entry.get(scope)]
    return " and ".join([f"{kind} {holder}"] if kind else scopes) or "everywhere"


def _scoped(entry: Tree) -> bool:
    return any(entry.get(scope) for scope in _SCOPES)


def _known(tree: Tree, names: Any) -> Tree:
    return {name: tree[name] for name in names if tree.get(name) is not None}


def _name(told: object) -> str:
    if isinstance(told, dict):
        tree: Tree = told  # pyright: ignore[reportUnknownVariableType]
        return str(tree.get("name") or tree.get("id"))
    return str(told)
