"""Plugins made of functions, for tests that need a hook to do one thing."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from stargate_core.config.schema import NoConfig, PluginEntry, Scope
from stargate_core.views import Plugin

Hook = Callable[[Any], Any]


def plugin_of(
    hooks: Mapping[str, Hook],
    name: str = "probe",
    priority: int = 1000,
    config: type[msgspec.Struct] = NoConfig,
) -> type[Plugin]:
    """A plugin whose hooks are these functions, by phase; each takes the phase's context."""
    members: dict[str, Any] = {phase: staticmethod(function) for phase, function in hooks.items()}

    def __init__(self: Any, config: msgspec.Struct) -> None:  # noqa: N807
        self.config = config

    described = {"NAME": name, "PRIORITY": priority, "CONFIG": config, "SCOPES": frozenset(Scope)}
    return cast("type[Plugin]", type("Probe", (), {**described, "__init__": __init__, **members}))


def entry(name: str = "probe", **places: Any) -> PluginEntry:
    """An entry of such a plugin."""
    return PluginEntry(name=name, **places)
