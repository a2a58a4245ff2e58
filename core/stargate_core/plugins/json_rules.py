"""Rules for JSON: fields that are removed, renamed, replaced, added and appended.

response-transform has them for answers, request-transform for requests, in the same order, which is Kong's.
`replace` touches only what is there, `add` only what is not, `append` puts one more beside what is there. A
field is named by a path of keys joined with dots; a number names a place in an array. A path that leads
nowhere changes nothing.
"""

from typing import Any, Final, TypeGuard

import msgspec

from stargate_core.config.plugin_configs import Names, Renames, Values

_ABSENT: Final = object()
_INDEX_DIGITS_MAX: Final = 10


class JsonRules:
    """The rules of one plugin."""

    __slots__ = ("_add", "_append", "_remove", "_rename", "_replace", "is_empty")

    def __init__(self, remove: Names, rename: Renames, replace: Values, add: Values, append: Values) -> None:
        self._remove = [path.split(".") for path in remove.json]
        self._rename = [_renamed(pair) for pair in rename.json]
        self._replace = _values(replace)
        self._add = _values(add)
        self._append = _values(append)
        self.is_empty = not (self._remove or self._rename or self._replace or self._add or self._append)

    def apply(self, payload: Any) -> None:
        """Change plain values in place."""
        for path in self._remove:
            _take(payload, path)
        for path, new in self._rename:
            value = _take(payload, path)
            if value is not _ABSENT:
                _put(payload, [*path[:-1], new], value)
        for path, value in self._replace:
            if _find(payload, path) is not _ABSENT:
                _put(payload, path, value)
        for path, value in self._add:
            if _find(payload, path) is _ABSENT:
                _put(payload, path, value)
        for path, value in self._append:
            there = _find(payload, path)
            if there is _ABSENT:
                _put(payload, path, [value])
            elif _is_array(there):
                there.append(value)
            else:
                _put(payload, path, [there, value])


def _renamed(pair: str) -> tuple[list[str], str]:
    path, _, new = pair.partition(":")
    return path.strip().split("."), new.strip()


def _values(values: Values) -> list[tuple[list[str], Any]]:
    types = values.json_types or ["string"] * len(values.json)
    found: list[tuple[list[str], Any]] = []
    for pair, kind in zip(values.json, types, strict=True):
        path, _, text = pair.partition(":")
        value = text.strip() if kind == "string" else msgspec.json.decode(text.strip())
        found.append((path.strip().split("."), value))
    return found


def _is_object(node: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(node, dict)


def _is_array(node: Any) -> TypeGuard[list[Any]]:
    return isinstance(node, list)


def _step(node: Any, key: str) -> Any:
    """The child a key names; _ABSENT if there is none."""
    if _is_object(node):
        return node.get(key, _ABSENT)
    if _is_array(node) and _within(node, key):
        return node[int(key)]
    return _ABSENT


def _find(node: Any, path: list[str]) -> Any:
    for key in path:
        node = _step(node, key)
        if node is _ABSENT:
            return _ABSENT
    return node


def _put(node: Any, path: list[str], value: Any) -> None:
    """Set the value where its parent exists; a path that leads nowhere changes nothing."""
    parent = _find(node, path[:-1])
    key = path[-1]
    if _is_object(parent):
        parent[key] = value
    elif _is_array(parent) and _within(parent, key):
        parent[int(key)] = value


def _take(node: Any, path: list[str]) -> Any:
    """Remove and return; _ABSENT if it isn't there."""
    parent = _find(node, path[:-1])
    key = path[-1]
    if _is_object(parent):
        return parent.pop(key, _ABSENT)
    if _is_array(parent) and _within(parent, key):
        return parent.pop(int(key))
    return _ABSENT


def _within(items: list[Any], key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < _INDEX_DIGITS_MAX and int(key) < len(items)
