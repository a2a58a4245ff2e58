"""From the tree of a file to typed Structs, with every error on the way.

msgspec.convert stops at its first error and knows no places, so the tree is walked here, by the types
that msgspec describes: one branch a kind. Each mistake becomes a Problem and the walk goes on; where a
setting is wrong its default stands in, so that the checks that come after see as much of the
configuration as there is.

Null where a list or a mapping is wanted is the empty one, because commenting out a block's last line
leaves null behind. Elsewhere null is an error unless the type allows it.
"""

import re
from collections.abc import Mapping as AbstractMapping
from typing import Any, Final

import msgspec
import msgspec.inspect as inspect

from stargate_core.config import kinds, scalars
from stargate_core.config.expand import ExpansionError, expand
from stargate_core.config.nodes import Mapping, Node, Scalar, Sequence
from stargate_core.config.plugin_configs import KONG_NAMES
from stargate_core.config.problems import (
    PROBLEMS_MAX,
    Misfit,
    Path,
    Place,
    Problem,
    looks_like_name,
    nearest,
    path_text,
    quoted,
)
from stargate_core.config.scalars import FAILED, Failed, Leaf
from stargate_core.config.schema import PluginEntry, PluginSchema

_SILENT: Final = frozenset({"_comment", "_ignore", "_info", "_transform"})
"""Kong's and decK's own notes: accepted in any mapping. `_ignore` is where anchors may stand."""


_WORD: Final = re.compile(r"[a-z]+(_[a-z]+)*")


class TooMany(Exception):
    """So many problems that the walk has ended."""


class Walk:
    """One walk over one file. Afterwards: what was found, where it stood, and what was wrong."""

    def __init__(
        self, file: str, environ: AbstractMapping[str, str], schemas: AbstractMapping[str, PluginSchema]
    ) -> None:
        self.file = file
        self.environ = environ
        self.schemas = schemas
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.places: dict[Path, Place] = {}
        self.found: list[tuple[Path, msgspec.Struct]] = []
        """Every Struct that came out, children before parents."""
        self.failed: list[type[msgspec.Struct]] = []
        """The types of those that did not."""
        self._variables: dict[Path, tuple[str, ...]] = {}

    # ---------------------------------------------------------------------------------------------- telling

    def problem(self, path: Path, message: str, hint: str = "", place: Place | None = None) -> None:
        """Note what is wrong at `path`. Raises TooMany when enough has been said."""
        self.problems.append(self._noted(path, message, hint, place))
        if len(self.problems) >= PROBLEMS_MAX:
            raise TooMany

    def warning(self, path: Path, message: str, hint: str = "", place: Place | None = None) -> None:
        """Note what the author should know about `path`."""
        if len(self.warnings) < PROBLEMS_MAX:
            self.warnings.append(self._noted(path, message, hint, place))

    def note_rest(self) -> None:
        """Say, after TooMany, that there is more."""
        message = f"these are the first {PROBLEMS_MAX} problems, there may be more"
        self.problems[-1] = self._noted(
            (), message, "", Place(self.problems[-1].line, self.problems[-1].column)
        )

    def place(self, path: Path) -> Place:
        """Where a setting stands, or the nearest that was written around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def shown(self, path: Path, text: str) -> str:
        """A name as a message may show it: not if the environment gave it."""
        variables = self._variables.get(path)
        return quoted(text) if variables is None else f"what {scalars.source(variables)} gives"

    def _noted(self, path: Path, message: str, hint: str, place: Place | None) -> Problem:
        place = place or self.place(path)
        return Problem(self.file, place.line, place.column, path_text(path), message, hint)

    def _wrong(
        self, kind: inspect.Type, path: Path, found: Mapping | Sequence | Leaf, hint: str = ""
    ) -> Failed:
        """The commonest problem: something else was expected."""
        self.problem(path, f"expected {kinds.expected(kind)}, found {self._shown(kind, found)}", hint)
        return FAILED

    def _shown(self, kind: inspect.Type, found: Mapping | Sequence | Leaf) -> str:
        match found:
            case Mapping():
                return "a mapping"
            case Sequence():
                return f"a list of {len(found.items)}" if found.items else "an empty list"
            case Leaf(value=value):
                what = {bool: "a truth value", int: "a number", float: "a number", str: "a string"}
                source = f" (from {scalars.source(found.variables)})" if found.variables else ""
                if value is None:
                    return "nothing" + source
                if source or kinds.hides(kind):
                    # That it is empty gives nothing away, and is the commonest thing to be wrong with it.
                    return ("an empty string" if value == "" else what[type(value)]) + source
                return f"the string {quoted(found.text)}" if isinstance(value, str) else found.text

    # ---------------------------------------------------------------------------------------------- walking

    def value(self, kind: inspect.Type, node: Node, path: Path) -> Any:
        """What `node` gives as a `kind`; problems are noted and `FAILED` is given where nothing comes out."""
        self.places[path] = node.place
        if not isinstance(node, Scalar):
            return self._collection(kind, node, path)
        leaf = self._leaf(node, path)
        return leaf if leaf is FAILED else self._scalar(kind, leaf, path, kind)

    def _leaf(self, node: Scalar, path: Path) -> Leaf | Failed:
        try:
            leaf = scalars.leaf(node, self.environ)
        except ExpansionError as error:
            self.problem(path, error.message, error.hint)
            return FAILED
        if leaf.variables:
            self._variables[path] = leaf.variables
        return leaf

    def _collection(self, kind: inspect.Type, node: Mapping | Sequence, path: Path) -> Any:
        for member in kinds.members(kind):
            member = kinds.inner(member)
            match member, node:
                case inspect.StructType(), Mapping():
                    return self._struct(member, node, path)
                case inspect.DictType(), Mapping():
                    return self._dict(member, node, path)
                case ((inspect.ListType() | inspect.VarTupleType()), Sequence()):
                    return self._list(member, node, path)
                case inspect.AnyType(), _:
                    return self._anything(node, path)
                case _:
                    pass
        return self._wrong(kind, path, node)

    def _anything(self, node: Node, path: Path) -> Any:
        """A value that no type describes, as YAML has it."""
        self.places[path] = node.place
        match node:
            case Scalar():
                leaf = self._leaf(node, path)
                return None if leaf is FAILED else leaf.value
            case Mapping():
                return {key.text: self._anything(value, (*path, key.text)) for key, value in node.entries}
            case Sequence():
                return [self._anything(item, (*path, index)) for index, item in enumerate(node.items)]

    def _list(self, kind: inspect.ListType | inspect.VarTupleType, node: Sequence, path: Path) -> Any:
        count = len(node.items)
        if count < (kind.min_length or 0) or (kind.max_length is not None and count > kind.max_length):
            self._wrong(kind, path, node)
        values = [self.value(kind.item_type, item, (*path, index)) for index, item in enumerate(node.items)]
        values = [value for value in values if value is not FAILED]
        return tuple(values) if isinstance(kind, inspect.VarTupleType) else values

    def _dict(self, kind: inspect.DictType, node: Mapping, path: Path) -> Any:
        values: dict[str, Any] = {}
        for key, item in node.entries:
            # A key has no variables, is a text whatever it looks like, and is judged as a quoted value is.
            leaf = Leaf(key.text, (), key.text)
            shown = (*path, key.text)
            self.places[shown] = key.place
            if self._scalar(kind.key_type, leaf, shown, kind.key_type) is FAILED:
                continue
            value = self.value(kind.value_type, item, shown)
            if value is not FAILED:
                values[key.text] = value
        return values

    # ---------------------------------------------------------------------------------------------- Structs

    def _struct(self, kind: inspect.StructType, node: Mapping, path: Path) -> Any:
        before = len(self.problems)
        broken: set[str] = set()
        fields = {field.encode_name: field for field in kind.fields}
        values: dict[str, Any] = {}
        for key, item in node.entries:
            field = fields.get(key.text)
            so_far = len(self.problems)
            if field is None:
                self._unknown(kind, key, path)
            elif kind.cls is PluginEntry and key.text == "config":
                self._plugin_config(node, item, path, values)
            else:
                values[field.name] = self.value(field.type, item, (*path, key.text))
            if len(self.problems) > so_far:
                broken.add(key.text)
        written = {key.text for key, _ in node.entries}
        for name, field in fields.items():
            if field.required and name not in written:
                self.problem((*path, name), "this setting is required, and missing", place=node.place)
        if kind.cls is PluginEntry and "config" not in written:
            self._plugin_config(node, Mapping(node.place, []), path, values)
        values = {name: value for name, value in values.items() if value is not FAILED}
        try:
            value: Any = kind.cls(**values)
        except (ValueError, TypeError) as error:
            is_sound = len(self.problems) == before
            for one in (error, *error.others) if isinstance(error, Misfit) else (error,):
                # Where a setting is broken and its default stands in, the Struct may well complain of that.
                depends = (*one.path[:1], *one.beside) if isinstance(one, Misfit) else ()
                if is_sound or (depends and broken.isdisjoint(str(name) for name in depends)):
                    self._refused(one, path)
            self.failed.append(kind.cls)
            return FAILED
        self.found.append((path, value))
        return value

    def _refused(self, error: Exception, path: Path) -> None:
        """A Struct's own check has failed: say why, without any value that came from the environment."""
        at = (*path, *error.path) if isinstance(error, Misfit) else path
        foreign = tuple(
            name for other, names in self._variables.items() if other[: len(at)] == at for name in names
        )
        if isinstance(error, Misfit):
            if error.found is None:
                self.problem(at, error.expected, error.hint)
            elif foreign:
                self.problem(at, f"{error.expected}, found something else (from {scalars.source(foreign)})")
            else:
                self.problem(at, f"{error.expected}, found {quoted(error.found)}", error.hint)
        else:
            self.problem(at, "this is refused" if foreign else str(error))

    def _unknown(self, kind: inspect.StructType, key: Scalar, path: Path) -> None:
        name = key.text
        if name in _SILENT:
            return
        reason = getattr(kind.cls, "KONG_UNUSED", {}).get(name)
        if reason is not None:
            self.warning((*path, name), "this setting of Kong's has no effect", reason, key.place)
            return
        near = nearest(name, (field.encode_name for field in kind.fields))
        elsewhere = None if near else _elsewhere(kind, name)
        # A short word of small letters is no key; what else stands here could be one.
        is_harmless = near or elsewhere or _WORD.fullmatch(name) or not kinds.hides(kind)
        may_show = bool(is_harmless) and looks_like_name(name)
        hint = f"did you mean {near or elsewhere}?" if near or elsewhere else ""
        if not hint and ":" in name:
            hint = "write a blank after the colon"
        elif not hint and len(kind.fields) <= 12:
            hint = (
                f"known here: {', '.join(field.encode_name for field in kind.fields)}" if kind.fields else ""
            )
        at = (*path, name) if may_show else path
        self.problem(
            at, "there is no such setting" if may_show else "a key here is no setting", hint, key.place
        )

    def _plugin_config(self, entry: Mapping, node: Node, path: Path, values: dict[str, Any]) -> None:
        """Read a plugin's config by the Struct that its name leads to."""
        name_node = next((value for key, value in entry.entries if key.text == "name"), None)
        if not isinstance(name_node, Scalar):
            return
        try:
            name = expand(name_node.text, self.environ).text
        except ExpansionError:
            return  # said where the name itself is read
        schema = self.schemas.get(name)
        if schema is None:
            near = KONG_NAMES.get(name, "")
            near = near if near in self.schemas else nearest(name, self.schemas) or ""
            known = f"did you mean {near}?" if near else f"known: {', '.join(sorted(self.schemas))}"
            shown = quoted(name) if name == name_node.text else "this name"
            self.problem((*path, "name"), f"there is no plugin {shown}", known, name_node.place)
            values["config"] = FAILED
        else:
            values["config"] = self.value(kinds.described(schema.config_type), node, (*path, "config"))

    # ---------------------------------------------------------------------------------------------- scalars

    def _scalar(self, kind: inspect.Type, leaf: Leaf, path: Path, whole: inspect.Type) -> Any:
        """One scalar as a `kind`; `whole` is the type with all that is said about it, for the message."""
        match kind:
            case inspect.Metadata():
                return self._scalar(kind.type, leaf, path, whole)
            case inspect.UnionType():
                return self._choice_of_types(kind, leaf, path, whole)
            case inspect.StructType() if leaf.value is not None and (field := kinds.text_field(kind)):
                return self._from_text(kind.cls, field, leaf, path)
            case inspect.StructType() | inspect.DictType() if leaf.value is None:
                return self._collection(kind, Mapping(self.places[path], []), path)
            case inspect.ListType() | inspect.VarTupleType() if leaf.value is None:
                return self._collection(kind, Sequence(self.places[path], []), path)
            case inspect.AnyType():
                return leaf.value
            case _:
                value = scalars.converted(kind, leaf)
                return (
                    self._wrong(whole, path, leaf, scalars.advice(kind, leaf)) if value is FAILED else value
                )

    def _choice_of_types(self, kind: inspect.UnionType, leaf: Leaf, path: Path, whole: inspect.Type) -> Any:
        kind_or_none = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        if leaf.value is None and len(kind_or_none) < len(kind.types):
            return None
        if len(kind_or_none) == 1:
            return self._scalar(kind_or_none[0], leaf, path, whole)
        for member in kind_or_none:
            value = scalars.converted(kinds.inner(member), leaf)
            if value is not FAILED:
                return value
        text_form = next((member for member in kind_or_none if kinds.text_field(kinds.inner(member))), None)
        return (
            self._wrong(whole, path, leaf)
            if text_form is None
            else self._scalar(text_form, leaf, path, whole)
        )

    def _from_text(self, cls: Any, field: inspect.Field, leaf: Leaf, path: Path) -> Any:
        """A Struct written as one string: its one field stands where the Struct does."""
        text = self._scalar(field.type, leaf, path, field.type)
        if text is FAILED:
            return FAILED
        try:
            value: msgspec.Struct = cls(**{field.name: text})
        except (ValueError, TypeError) as error:
            self._refused(_whole(error) if isinstance(error, Misfit) else error, path)
            self.failed.append(cls)
            return FAILED
        self.found.append((path, value))
        return value


def _whole(misfit: Misfit) -> Misfit:
    """The same, about the Struct as a whole."""
    return Misfit("", misfit.expected, misfit.found, misfit.hint)


def _elsewhere(kind: inspect.StructType, name: str) -> str | None:
    """Where a setting of this name stands, one level below."""
    for field in kind.fields:
        for member in kinds.members(field.type):
            member = kinds.inner(member)
            is_list = isinstance(member, inspect.ListType)
            inside = kinds.inner(member.item_type) if isinstance(member, inspect.ListType) else member
            if isinstance(inside, inspect.StructType) and name in (f.encode_name for f in inside.fields):
                return f"{field.encode_name}{'[]' if is_list else ''}.{name}"
    return None
