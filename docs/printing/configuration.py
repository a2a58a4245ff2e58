"""configuration.md: every setting there is, out of the types that the loader checks a file against.

What is expected is said by the loader's own words (config/kinds.py), the default is the type's, and what a
setting is for stands below it in the source, as a docstring.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from stargate_core.config.kinds import described, expected, inner
from stargate_core.config.plugin_configs import BUILT_IN, KONG_NAMES
from stargate_core.config.schema import Config, NoConfig, Scope
from stargate_core.plugins.registry import BUILT_IN as PLUGINS
from stargate_core.secret import Secret

_HEAD: Final = """\
# Configuration

Printed by `python docs/generate.py` from [core/stargate_core/config](../core/stargate_core/config); change it
there.

Every setting, what is expected there, and what it is without being written. Everything has a default: the
empty file is a configuration. Variables are written `${NAME}` or `${NAME:-default}`, and `$${` stands for a
plain `${`. `stargate check FILE` names everything that is wrong with a file, by line and column.
"""
_PLUGINS: Final = """\
## Plugins

A plugin stands everywhere (`plugins:` at the top), at a service, a route, a consumer or a consumer group; of
several entries of one plugin the closest to the request counts. The higher the priority, the earlier it runs.
"""


def page() -> str:
    """The text of configuration.md."""
    lines = [_HEAD, "## The file", "", *_struct(Config), *_reached(Config, set())]
    lines += ["", _PLUGINS.rstrip()]
    seen: set[type] = {NoConfig}
    for name in sorted(BUILT_IN):
        schema = BUILT_IN[name]
        lines += ["", f"### {name}", "", *_told(name, schema.scopes), *_struct(schema.config_type)]
        lines += _reached(schema.config_type, seen, level=4)
    return "\n".join(lines) + "\n"


def _told(name: str, scopes: frozenset[Scope]) -> Iterator[str]:
    """Priority, places and Kong's name of a plugin."""
    where = "everywhere" if len(scopes) == 1 else "anywhere"
    if len(scopes) not in (1, len(Scope)):
        where = ", ".join(scope.value for scope in Scope if scope in scopes)
    kong = sorted(theirs for theirs, ours in KONG_NAMES.items() if ours == name)
    named = f" Kong's names: {', '.join(f'`{one}`' for one in kong)}." if kong else ""
    yield f"Priority {PLUGINS[name].PRIORITY}; may stand {where}.{named}"
    yield ""


def _struct(struct: type[msgspec.Struct]) -> Iterator[str]:
    """One type: what it is for, and its settings."""
    yield _doc(struct)
    fields = described(struct).fields
    if not fields:
        return
    told = _field_docs(struct)
    yield ""
    yield "| setting | expected | default | |"
    yield "| --- | --- | --- | --- |"
    for field in fields:
        cells = (f"`{field.encode_name}`", _expected(field.type), _default(field), told.get(field.name, ""))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _reached(struct: type[msgspec.Struct], seen: set[type], level: int = 3) -> Iterator[str]:
    """The types of the settings of a type, and theirs, each once."""
    for field in described(struct).fields:
        for kind in _structs(field.type):
            if kind in seen:
                continue
            seen.add(kind)
            yield ""
            yield f"{'#' * level} {field.encode_name}: {kind.__name__}"
            yield ""
            yield from _struct(kind)
            yield from _reached(kind, seen, level)


def _structs(kind: types.Type) -> Iterator[type[msgspec.Struct]]:
    """The types of mappings that may stand in a place."""
    match inner(kind):
        case types.StructType(cls=cls) if cls is not msgspec.Struct:
            yield cls
        case types.UnionType(types=alternatives):
            for alternative in alternatives:
                yield from _structs(alternative)
        case types.ListType(item_type=item) | types.VarTupleType(item_type=item):
            yield from _structs(item)
        case types.DictType(value_type=value):
            yield from _structs(value)
        case _:
            return


def _expected(kind: types.Type) -> str:
    """What may stand in a place; of lists and mappings, what is in them."""
    match inner(kind):
        case types.ListType(item_type=item):
            return f"{expected(kind)}; each: {_expected(item)}"
        case types.DictType(value_type=value):
            return f"{expected(kind)}; each: {_expected(value)}"
        case types.StructType(cls=cls) if cls is msgspec.Struct:
            return "the plugin's own settings"
        case _:
            words, matches, pattern = expected(kind).partition(" that matches ")
            return f"{words}{matches}`{pattern}`" if matches else words


def _default(field: types.Field) -> str:
    if field.default is not msgspec.NODEFAULT:
        return _written(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return _written(field.default_factory())
    return "needed"


def _written(value: Any) -> str:
    """A value as a file would have it."""
    match value:
        case None:
            return "-"
        case Secret():
            return "a secret"
        case msgspec.Struct():
            return "as below"
        case list() | tuple() if not value:  # pyright: ignore[reportUnknownVariableType]
            return "none"
        case dict() if not value:  # pyright: ignore[reportUnknownVariableType]
            return "none"
        case _:
            built = msgspec.to_builtins(value, enc_hook=lambda _: "a secret")
            return f"`{msgspec.json.encode(built).decode()}`"


def _doc(struct: type) -> str:
    return _joined(inspect.getdoc(struct) or "")


@functools.cache
def _field_docs(struct: type) -> dict[str, str]:
    """What stands below each field in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for before, line in zip(definition.body, definition.body[1:], strict=False):
        match before, line:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = _joined(inspect.cleandoc(text))
            case _:
                pass
    return found


def _joined(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())
