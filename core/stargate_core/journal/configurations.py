"""Configurations in journals: to JSON and back, and compiled.

The JSON is of the configuration as the gateway had it: what a file leaves out is written with its default,
variables are what they stood for, and a plugin's own config is the Struct that the plugin names. A journal is
lived again years later and elsewhere, so neither a file nor the environment can be asked.

Back from there, a plugin's config needs the plugin's type. One that is not installed where the journal is
read is an error that names it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from stargate_core.config.schema import Config, PluginEntry
from stargate_core.gateway.plan import Plan
from stargate_core.journal.format import Header, Unreadable, restore
from stargate_core.secret import Secret
from stargate_core.views import Plugin

_Part = TypeVar("_Part", bound=msgspec.Struct)

_MALFORMED: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, NotImplementedError)
_PARTS: Final = ("services", "routes", "consumers", "consumer_groups")
"""Where plugins may stand, beside the configuration itself."""
_PLUGINS: Final = "plugins"


def written(config: Config, secret: Callable[[Secret], str]) -> bytes:
    """The configuration's JSON. secret: what stands for one. Raises TypeError for what JSON can't say."""

    def plain(value: object) -> str:
        if isinstance(value, Secret):
            return secret(value)
        raise TypeError(f"a configuration in a journal can't have this: {type(value).__name__}")

    return msgspec.json.encode(config, enc_hook=plain)


def read(data: bytes, plugins: Mapping[str, type[Plugin]]) -> Config:
    """The configuration of this JSON. Raises Unreadable."""
    try:
        raw = msgspec.json.decode(data)
        return _completed(msgspec.convert(raw, Config, dec_hook=restore), raw, plugins)
    except _MALFORMED as error:
        raise Unreadable(f"its configuration is malformed: {error}") from None


def plans_of(header: Header, plugins: Mapping[str, type[Plugin]]) -> dict[int, Plan]:
    """The journal's configurations, compiled, by generation. Raises Unreadable."""
    plans: dict[int, Plan] = {}
    for generation, data in header.configurations.items():
        config = read(data, plugins)
        try:
            plans[generation] = Plan(config, plugins, generation=generation)
        except Exception as error:
            raise Unreadable(f"its configuration {generation} can't be compiled: {error}") from error
    return plans


def _completed(part: _Part, raw: dict[str, Any], plugins: Mapping[str, type[Plugin]]) -> _Part:
    """This part of a configuration, with the plugins' configs in it, whose types decoding does not know."""
    changes: dict[str, list[Any]] = {}
    for name in (*_PARTS, _PLUGINS):
        if raw.get(name):
            below: list[tuple[Any, dict[str, Any]]] = list(zip(getattr(part, name), raw[name], strict=True))
            changes[name] = [
                _with_config(one, raw_one, plugins) if name == _PLUGINS else _completed(one, raw_one, plugins)
                for one, raw_one in below
            ]
    return msgspec.structs.replace(part, **changes) if changes else part


def _with_config(entry: PluginEntry, raw: dict[str, Any], plugins: Mapping[str, type[Plugin]]) -> PluginEntry:
    plugin = plugins.get(entry.name)
    if plugin is None:
        raise Unreadable(f"it needs the plugin {entry.name!r}, which is not installed here")
    config = msgspec.convert(raw.get("config", {}), plugin.CONFIG, dec_hook=restore)
    return msgspec.structs.replace(entry, config=config)
