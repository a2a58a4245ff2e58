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
from typing import ClassVar, Final

import msgspec

from stargate_core.config.plugin_configs import BUILT_IN, ResponseTransform
from stargate_core.config.schema import Scope
from stargate_core.dialects.face import Headers
from stargate_core.plugins.json_rules import JsonRules
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
        self._rules = JsonRules(config.remove, config.rename, config.replace, config.add, config.append)
        touches = not self._rules.is_empty
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
        self._rules.apply(ctx.part.payload)


def _headers(pairs: list[str]) -> Headers:
    """Names and values of "name:value"; those that are not for changing are left out."""
    split = [pair.partition(":") for pair in pairs]
    headers = [(name.strip().lower().encode(), value.strip().encode("latin-1")) for name, _, value in split]
    return [(name, value) for name, value in headers if name not in _PROTECTED]
