"""Kong's document, made plain: variables as Stargate writes them, and every reference a name.

Kong's declarative format and decK's say the same in several ways: entities nested or at the top, references
by name, by id, or as a mapping with either; variables as `${{ env "NAME" }}` or `{vault://env/name}`; a
plugin's config shared by name in `_plugin_configs`. Here each becomes one way, so that what converts plugins
sees one form only.

Sources: https://docs.konghq.com/gateway/latest/production/deployment-topologies/db-less-and-declarative-config/,
https://developer.konghq.com/deck/ (environment variables, shared plugin configuration),
https://developer.konghq.com/gateway/entities/vault/ (the reference's form).
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import yaml

from stargate_core.config.expand import escape

Tree: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["changed", "dropped", "check"]

BYTES_MAX: Final = 16 * 1024 * 1024
"""Of a document; Kong's own hold a few thousand lines."""
_DEPTH_MAX: Final = 64
_VALUES_MAX: Final = 1_000_000
_ENV: Final = re.compile(r"\$\{\{\s*env\s+[\"']?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[\"']?\s*\}\}")
_VAULT: Final = re.compile(r"\{vault://(?P<vault>[A-Za-z0-9_-]+)/(?P<path>[^}]+)\}")
_LISTS: Final = ("services", "routes", "consumers", "consumer_groups", "plugins", "certificates")
_CREDENTIALS: Final = "keyauth_credentials"


class Note(NamedTuple):
    """Something that did not go over as it was."""

    kind: Kind
    """changed: it means something slightly else here; dropped: it is gone; check: somebody must look."""
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}"


class NotKong(Exception):
    """The text is no declarative configuration of Kong's."""


class Document:
    """What stands in it, in one form, with notes of what could not be read so."""

    def __init__(self, root: Tree) -> None:
        self.notes: list[Note] = []
        self._root = root
        self._shared: Tree = _lenient(root.get("_plugin_configs"))
        for name in _LISTS:
            root[name] = _entities(root, name)
        self._ids = dict(self._names())
        self.services: list[Tree] = root["services"]
        self.consumers: list[Tree] = root["consumers"]
        self.consumer_groups: list[Tree] = root["consumer_groups"]
        self.certificates: list[Tree] = root["certificates"]
        self.routes: list[Tree] = root["routes"]
        self.plugins: list[Tree] = root["plugins"]
        self.format_version = str(root.get("_format_version", "3.0"))
        self._refer()
        self._give_plugins()
        self._give_credentials()
        self._name_rest()

    def note(self, kind: Kind, where: str, text: str) -> None:
        """Keep a note."""
        self.notes.append(Note(kind, where, text))

    def plugin(self, entry: Tree) -> Tree:
        """The plugin's entry with its whole config, shared part included."""
        shared = entry.get("_config")
        if shared is None:
            return entry
        found = self._shared.get(shared)
        if not isinstance(found, dict):
            self.note("check", f"plugin {entry.get('name')}", f"there is no _plugin_configs.{shared}")
        config: Tree = {**_lenient(found), **_lenient(entry.get("config"))}
        return {**entry, "config": config}

    def _names(self) -> Iterator[tuple[str, str]]:
        for holder in (self._root, *self._root["services"]):
            for name in (*_LISTS, "routes"):
                for entity in _entities(holder, name):
                    known = entity.get("name") or entity.get("username")
                    if entity.get("id") and known:
                        yield str(entity["id"]), str(known)

    def _refer(self) -> None:
        """Make every reference a name."""
        for entity in (*self.routes, *self.plugins):
            for kind in ("service", "route", "consumer", "consumer_group"):
                if kind in entity:
                    entity[kind] = self._name_of(entity[kind])

    def _name_of(self, told: object) -> str | None:
        if isinstance(told, dict):
            named = tree(told)
            told = named.get("name") or named.get("username") or named.get("id")
        return None if told is None else self._ids.get(str(told), str(told))

    def _give_plugins(self) -> None:
        """Put plugins that name a consumer group below it."""
        groups = {group.get("name"): group for group in self.consumer_groups}
        for entry in [entry for entry in self.plugins if entry.get("consumer_group") in groups]:
            self.plugins.remove(entry)
            groups[entry.pop("consumer_group")].setdefault("plugins", []).append(entry)

    def _give_credentials(self) -> None:
        """Put keys that stand at the top to their consumers."""
        by_name = {
            consumer.get("username") or consumer.get("custom_id"): consumer for consumer in self.consumers
        }
        for credential in _entities(self._root, _CREDENTIALS):
            owner = by_name.get(self._name_of(credential.pop("consumer", None)))
            if owner is None:
                self.note("dropped", _CREDENTIALS, "a key whose consumer is not in the file")
            else:
                owner.setdefault(_CREDENTIALS, []).append(credential)

    def _name_rest(self) -> None:
        """Note what nobody here reads."""
        known = {
            *_LISTS,
            _CREDENTIALS,
            "_format_version",
            "_plugin_configs",
            "_transform",
            "_info",
            "_workspace",
        }
        for name in sorted(self._root.keys() - known):
            if self._root[name]:
                self.note("dropped", name, "Stargate has nothing of this kind")


def read(text: str) -> Document:
    """The document that a text holds, YAML or JSON. Raises NotKong."""
    if len(text) > BYTES_MAX:
        raise NotKong(f"expected at most {BYTES_MAX} characters")
    try:
        root = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise NotKong(f"neither YAML nor JSON: {_short(error)}") from None
    if not isinstance(root, dict):
        raise NotKong("expected a mapping with services, routes, consumers or plugins")
    reader = _Reader()
    plain: Tree = reader.plain(root)
    if "_format_version" not in plain and not plain.keys() & set(_LISTS):
        raise NotKong("expected a mapping with services, routes, consumers or plugins")
    document = Document(plain)
    for vault in sorted(reader.vaults - {"env"}):
        text = f"references to it are variables of the environment now: fill them from {vault} yourself"
        document.note("check", f"vault {vault}", text)
    return document


class _Reader:
    """Copies a document with its variables as Stargate writes them; YAML's aliases too, within a bound."""

    def __init__(self) -> None:
        self.vaults: set[str] = set()
        self._values = 0

    def plain(self, value: Any, depth: int = 0) -> Any:
        """The copy. Raises NotKong where it would be too large or too deep."""
        self._values += 1
        if depth > _DEPTH_MAX or self._values > _VALUES_MAX:
            raise NotKong(f"expected at most {_DEPTH_MAX} levels and {_VALUES_MAX} values")
        match value:
            case str():
                return self._variables(value)
            case list():
                items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
                return [self.plain(item, depth + 1) for item in items]
            case dict():
                members: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
                return {str(name): self.plain(member, depth + 1) for name, member in members.items()}
            case _:
                return value

    def _variables(self, text: str) -> str:
        pieces: list[str] = []
        end = 0
        for found in _ENV.finditer(text):
            pieces += [escape(text[end : found.start()]), f"${{{found['name']}}}"]
            end = found.end()
        pieces.append(escape(text[end:]))
        return _VAULT.sub(self._vault, "".join(pieces))

    def _vault(self, found: re.Match[str]) -> str:
        self.vaults.add(found["vault"])
        return f"${{{re.sub('[^A-Za-z0-9]', '_', found['path']).upper()}}}"


def tree(value: Any) -> Tree:
    """A mapping, or none. Raises ValueError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("expected a mapping")
    found: Tree = value  # pyright: ignore[reportUnknownVariableType]
    return found


def trees(value: Any) -> list[Tree]:
    """A list of mappings, or none. Raises ValueError for anything else."""
    return [tree(one) for one in listed(value)]


def listed(value: Any) -> list[Any]:
    """A list; of one thing, where it stands alone; of none."""
    if value is None:
        return []
    found: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    return found


def _entities(holder: Tree, name: str) -> list[Tree]:
    found = holder.get(name)
    if found is not None and not isinstance(found, list):
        raise NotKong(f"{name}: expected a list of mappings")
    try:
        # The very mappings that stand there: what is learned of them later is written into them.
        return trees(found)  # pyright: ignore[reportUnknownArgumentType]
    except ValueError:
        raise NotKong(f"{name}: expected a list of mappings") from None


def _lenient(value: Any) -> Tree:
    return tree(value) if isinstance(value, dict) else {}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
