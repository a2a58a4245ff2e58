"""What an embedding program says about its gateway, made into a plan.

A configuration comes as a `Config`, as YAML text, as a path, or as a mapping of the same shape; without one
it is what `stargate serve` has without a file. Texts and mappings go through the loader that files go
through, so they mean the same, `${VAR}` included, and what is wrong with one is told in the same words.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from stargate.plugins import installed, schemas
from stargate.public_keys import missing_for
from stargate_core.config.load import DEFAULTS_NAME, examine
from stargate_core.config.problems import ConfigProblems
from stargate_core.config.schema import Config
from stargate_core.gateway.plan import Plan
from stargate_core.views import Plugin

Configuration: TypeAlias = Config | str | os.PathLike[str] | Mapping[str, Any] | None
"""`str` is YAML text, a path is a file of it; None: the defaults."""

TEXT_NAME: Final = "<configuration>"


class Compiled(msgspec.Struct, frozen=True):
    """A plan, and what its author should know."""

    plan: Plan
    warnings: tuple[str, ...]


def compiled(configuration: Configuration, plugins: Iterable[type[Plugin]]) -> Compiled:
    """Compile it. Raises ConfigProblems, OSError for a file that can't be read, and BadPlugin.

    plugins: beside those that are installed.
    """
    known = {**installed(), **{plugin.NAME: plugin for plugin in plugins}}
    warnings: tuple[str, ...] = ()
    if isinstance(configuration, Config):
        config = configuration
    else:
        text, name = _text(configuration)
        examined = examine(text, filename=name, environ=os.environ, schemas=schemas(known))
        if examined.config is None:
            raise ConfigProblems(examined.problems)
        config, warnings = examined.config, tuple(str(warning) for warning in examined.warnings)
    missing = missing_for(config)
    return Compiled(Plan(config, known), (*warnings, missing) if missing else warnings)


def _text(configuration: str | os.PathLike[str] | Mapping[str, Any] | None) -> tuple[str | None, str]:
    """What the loader reads, and what it calls it."""
    match configuration:
        case None:
            return None, DEFAULTS_NAME
        case str():
            return configuration, TEXT_NAME
        case os.PathLike():
            return Path(configuration).read_text(encoding="utf-8"), os.fspath(configuration)
        case _:
            # JSON is YAML.
            return msgspec.json.encode(configuration).decode(), TEXT_NAME
