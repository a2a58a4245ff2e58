"""The plugins at hand: those that come with Stargate, and those installed beside it.

A third party's package names its plugins in the entry point group `stargate.plugins`; each is a class as
`stargate_core.gateway.plan.Plugin` describes it. Nothing is registered by importing, and nothing is global:
whoever makes a plan says which plugins it may use.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final

from stargate_core.config.schema import PluginSchema
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.views import Plugin, schema_of

GROUP: Final = "stargate.plugins"


class BadPlugin(Exception):
    """An installed plugin that can't be used; the text says which and why."""


def installed() -> dict[str, type[Plugin]]:
    """All plugins by name. Raises BadPlugin."""
    found: dict[str, type[Plugin]] = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        try:
            plugin = point.load()
        except Exception as error:
            raise BadPlugin(f"the plugin {point.name!r} ({point.value}) cannot be loaded: {error}") from error
        missing = [name for name in ("NAME", "PRIORITY", "CONFIG", "SCOPES") if not hasattr(plugin, name)]
        if missing:
            raise BadPlugin(f"the plugin {point.name!r} ({point.value}) has no {', '.join(missing)}")
        if plugin.NAME in found:
            raise BadPlugin(
                f"the plugin {point.name!r} ({point.value}) takes the name {plugin.NAME!r}, which is taken"
            )
        found[plugin.NAME] = plugin
    return found


def schemas(plugins: Mapping[str, type[Plugin]]) -> dict[str, PluginSchema]:
    """What the configuration loader must know of them."""
    return {name: schema_of(plugin) for name, plugin in plugins.items()}
