"""From a file's text to a Config, or to everything that is wrong with it.

A file may be as short as one setting: what it doesn't mention has its default. Two rules say what plugins
then stand. A file without `plugins` has those of `DEFAULTS`, like a gateway without any file. A file with
`plugins` has exactly those, plus the `bedrock-proxy` of `DEFAULTS` if it doesn't mention one: a gateway
to Bedrock without the way to Bedrock would be good for nothing. Access is not guarded by default: a file
without `api-key-auth` means an open gateway, and a warning says so each time.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from stargate_core.config import checks, kinds, nodes
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.problems import ConfigProblems, Place, Problem
from stargate_core.config.schema import Config, PluginEntry, PluginSchema
from stargate_core.config.walk import TooMany, Walk
from stargate_core.secret import Secret

DEFAULTS: Final = """\
_format_version: "3.0"
gateway:
  listen: ["${STARGATE_LISTEN:-127.0.0.1:8080}"]
  store: ${STARGATE_STORE:-memory:}
plugins:
  - name: bedrock-proxy
    config:
      region: ${BEDROCK_REGION:-us-east-1}
      model: ${BEDROCK_MODEL:-anthropic.claude-3-sonnet-20240229-v1:0}
      timeout: ${BEDROCK_TIMEOUT:-}
      endpoint_url: ${BEDROCK_ENDPOINT_URL:-}
  - name: request-logger
"""
"""The configuration without a file. BEDROCK_REGION falls back on AWS_REGION and AWS_DEFAULT_REGION here."""

DEFAULTS_NAME: Final = "(defaults)"


class Examined(msgspec.Struct, frozen=True):
    """What came of a file. There is a config exactly if there are no problems."""

    config: Config | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load(
    text: str, *, filename: str, environ: Mapping[str, str], schemas: Mapping[str, PluginSchema]
) -> Config:
    """The configuration that `text` writes. Raises ConfigProblems, with all of them."""
    return _or_raise(examine(text, filename=filename, environ=environ, schemas=schemas))


def default_config(environ: Mapping[str, str], schemas: Mapping[str, PluginSchema]) -> Config:
    """The configuration when there is no file. Raises ConfigProblems: a variable may hold nonsense."""
    return _or_raise(examine(None, filename=DEFAULTS_NAME, environ=environ, schemas=schemas))


def examine(
    text: str | None, *, filename: str, environ: Mapping[str, str], schemas: Mapping[str, PluginSchema]
) -> Examined:
    """Everything there is to say about a file's text (None: there is no file). Raises nothing."""
    if text is None:
        walk, config = _defaults(environ, schemas)
        return _examined(config, [walk])
    walk, config = _walked(text, filename, environ, schemas)
    present = {entry.name for _, entry in walk.found if isinstance(entry, PluginEntry)}
    wanted = {"bedrock-proxy"} if ("plugins",) in walk.places else {"bedrock-proxy", "request-logger"}
    wanted &= schemas.keys() - present
    if not wanted:
        return _examined(config, [walk])
    default_walk, defaults = _defaults(environ, schemas)
    default_walk.warnings.clear()  # they are about a gateway that has nothing else
    if config is None or defaults is None:
        return _examined(None, [walk, default_walk])
    missing = [entry for entry in defaults.plugins if entry.name in wanted]
    config = msgspec.structs.replace(config, plugins=[*config.plugins, *missing])
    return _examined(config, [walk])


def digest(config: Config) -> str:
    """A stable name for what a configuration says: the SHA-256 of its canonical JSON, in hexadecimal digits.

    It changes with every setting, secrets too, and reveals none: a secret enters as its own SHA-256.
    """
    return hashlib.sha256(msgspec.json.encode(config, enc_hook=_sealed, order="sorted")).hexdigest()


def _sealed(value: object) -> str:
    if isinstance(value, Secret):
        return "sha256:" + hashlib.sha256(value.reveal().encode()).hexdigest()
    raise TypeError(f"a configuration can't have a {type(value).__name__}")


def _or_raise(examined: Examined) -> Config:
    if examined.config is None:
        raise ConfigProblems(examined.problems)
    return examined.config


def _defaults(environ: Mapping[str, str], schemas: Mapping[str, PluginSchema]) -> tuple[Walk, Config | None]:
    """The walk over DEFAULTS, and what it gave, without the plugins that nobody knows here."""
    everything = MappingProxyType({**BUILT_IN, **schemas})
    walk, config = _walked(DEFAULTS, DEFAULTS_NAME, _with_region(environ), everything)
    if config is None:
        return walk, None
    known = [entry for entry in config.plugins if entry.name in schemas]
    return walk, msgspec.structs.replace(config, plugins=known)


def _with_region(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with BEDROCK_REGION as the AWS SDKs would choose it."""
    names = ("BEDROCK_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    region = next((value for name in names if (value := environ.get(name))), "")
    return {**environ, "BEDROCK_REGION": region}


def _walked(
    text: str, filename: str, environ: Mapping[str, str], schemas: Mapping[str, PluginSchema]
) -> tuple[Walk, Config | None]:
    """One walk over one text, and the Config if nothing was wrong."""
    walk = Walk(filename, environ, schemas)
    config: Any = None
    try:
        root, problems = nodes.read(text)
        for problem in problems:
            walk.problem(problem.path, problem.message, problem.hint, problem.place)
        config = walk.value(kinds.described(Config), root or nodes.Mapping(Place(1, 1), []), ())
        checks.check(walk)
    except nodes.Unreadable as unreadable:
        walk.problem((), unreadable.message, unreadable.hint, unreadable.place)
    except TooMany:
        walk.note_rest()
    return walk, config if not walk.problems and isinstance(config, Config) else None


def _examined(config: Config | None, walks: list[Walk]) -> Examined:
    def in_file_order(notes: list[Problem]) -> list[Problem]:
        return sorted(notes, key=lambda note: (note.line, note.column))

    problems = tuple(note for walk in walks for note in in_file_order(walk.problems))
    warnings = tuple(note for walk in walks for note in in_file_order(walk.warnings))
    return Examined(None if problems else config, problems, warnings)
