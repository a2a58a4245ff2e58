"""Where a plugin of Kong's is converted: what it may note, and what it wants of the gateway itself."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from stargate.kong.document import Document, Kind, Tree
from stargate_core.config.gateway_block import Gateway
from stargate_core.config.plugin_configs import BUILT_IN

_GATEWAY: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Gateway))
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Site:
    """One plugin of the document. gateway: the block of the new configuration, for what belongs there."""

    def __init__(self, document: Document, where: str, gateway: Tree) -> None:
        self._document = document
        self.where = where
        self.gateway = gateway
        self.dialect: str | None = None
        """What callers speak where the plugin stands, once it has said so."""

    def note(self, kind: Kind, text: str) -> None:
        """Keep a note of this plugin."""
        self._document.note(kind, self.where, text)

    def ask_gateway(self, name: str, value: object) -> None:
        """Set something of the gateway's block; where two plugins differ, the first counts."""
        if name not in _GATEWAY:
            self.note("dropped", f"this version has no gateway.{name}")
            return
        before = self.gateway.setdefault(name, value)
        if before != value:
            self.note("check", f"gateway.{name} is {before!r} already, and this plugin wants {value!r}")

    def rest(self, config: Tree, taken: Iterable[str], reasons: Mapping[str, str] = _NONE) -> None:
        """Note what nobody has taken of a config, unless it says what goes without saying."""
        for name in sorted(config.keys() - set(taken)):
            if config[name] in (None, "", [], {}, False):
                continue
            self.note("dropped", f"{name}: {reasons.get(name, 'Stargate has nothing like it')}")


Converter = Callable[[Tree, Site], list[tuple[str, Tree]]]
"""Of a plugin's config, to plugins of ours with theirs."""


def alike(name: str, *, renamed: Mapping[str, str] = _NONE, reasons: Mapping[str, str] = _NONE) -> Converter:
    """The converter of a plugin that is Kong's in ours: what has the same name goes over as it is."""

    def convert(config: Tree, site: Site) -> list[tuple[str, Tree]]:
        schema = BUILT_IN.get(name)
        if schema is None:
            site.note("dropped", f"this version has no {name}")
            return []
        known = {field.encode_name for field in msgspec.structs.fields(schema.config_type)}
        unused: Mapping[str, str] = getattr(schema.config_type, "KONG_UNUSED", _NONE)
        taken: dict[str, Any] = {}
        for key, value in config.items():
            if value is not None and renamed.get(key, key) in known:
                taken[renamed.get(key, key)] = value
        site.rest(config, [key for key in config if renamed.get(key, key) in known], {**unused, **reasons})
        return [(name, taken)]

    return convert
