"""response-transform: change what callers receive.

Headers and JSON fields are removed, renamed, replaced, added and appended, in this order, which is Kong's.
`replace` touches only what is there, `add` only what is not, `append` puts one more beside what is there.
JSON fields are named by a path of keys joined with dots; a number names a place in an array. In a stream the
rules are applied to each event on its own, so they cost the same for the first token and the last, and never
hold one back.

Headers that frame the message, and the request id, are not for changing: what would remove, rename, replace
or add one of them, or rename another to it, is ignored. Without the first the answer would be no HTTP message
any more, and without the second nobody could find it in a log.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeGuard

import msgspec

from stargate_core.config.plugin_configs import BUILT_IN, ResponseTransform, Values
from stargate_core.config.schema import Scope
from stargate_core.dialects.face import Headers
from stargate_core.views import BodyFilter, HeaderFilter

_PROTECTED: Final = frozenset(
    {
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"trailer",
        b"upgrade",
        b"x-request-id",
        b"request-id",
        b"x-amzn-requestid",
    }
)
_ABSENT: Final = object()
_INDEX_DIGITS_MAX: Final = 10


class ResponseTransformPlugin:
    """Applies the rules."""

    NAME: ClassVar[str] = "response-transform"
    PRIORITY: ClassVar[int] = 800
    CONFIG: ClassVar[type[msgspec.Struct]] = ResponseTransform
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["response-transform"].scopes

    def __init__(self, config: ResponseTransform) -> None:
        self._remove_headers = frozenset(name.lower().encode() for name in config.remove.headers)
        renames = [(old, new.lower()) for old, new in _headers(config.rename.headers)]
        self._rename_headers = {old: new for old, new in renames if new not in _PROTECTED}
        self._replace_headers = dict(_headers(config.replace.headers))
        self._add_headers = _headers(config.add.headers)
        self._append_headers = _headers(config.append.headers)
        self._remove = [path.split(".") for path in config.remove.json]
        self._rename = [_rename(pair) for pair in config.rename.json]
        self._replace = _values(config.replace)
        self._add = _values(config.add)
        self._append = _values(config.append)
        touches = self._remove or self._rename or self._replace or self._add or self._append
        # A stream that no rule touches is not taken apart.
        self.body_filter: Callable[[BodyFilter], None] | None = self._change_part if touches else None

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Change the answer's headers."""
        headers = ctx.headers
        changed: Headers = []
        for name, value in headers:
            if name not in _PROTECTED:
                if name in self._remove_headers:
                    continue
                name = self._rename_headers.get(name, name)
                value = self._replace_headers.get(name, value)
            changed.append((name, value))
        there = {name for name, _ in changed}
        changed += [(name, value) for name, value in self._add_headers if name not in there]
        changed += self._append_headers
        headers[:] = changed

    def _change_part(self, ctx: BodyFilter) -> None:
        """Change one part of the answer."""
        payload = ctx.part.payload
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


def _headers(pairs: list[str]) -> Headers:
    """Names and values of "name:value"; those that are not for changing are left out."""
    split = [pair.partition(":") for pair in pairs]
    headers = [(name.strip().lower().encode(), value.strip().encode("latin-1")) for name, _, value in split]
    return [(name, value) for name, value in headers if name not in _PROTECTED]


def _rename(pair: str) -> tuple[list[str], str]:
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
