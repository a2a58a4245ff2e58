"""request-transform: change what callers ask, before it is read.

Headers, the query and JSON fields of the body are removed, renamed, replaced, added and appended, in this
order, which is Kong's (json_rules.py has the rules for JSON). Names of models may be exchanged by a table.

*When.* After the route is found and the caller is known, so it may stand at a consumer, and a signature is
verified over what the caller has signed. Before limits are counted, and before anything else reads what is
asked: models that a caller may use, limits on tokens and the cache all see the request as it is then.

*What of it reaches AWS* is for the dialect to say, as ever: it reads the changed request, and writes the call
from it by an allow list. So a header that is added here travels on only if a caller's own would, such as
`anthropic-beta` or `x-amzn-bedrock-request-metadata`.

*What is not for changing* is refused in the configuration: credentials, and what frames the message.

Sources: Kong's kong/plugins/request-transformer/access.lua.
"""

import re
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from stargate_core.config.plugin_configs import BUILT_IN, Names, Renames, Values
from stargate_core.config.request_transform import RequestTransform, RequestValues
from stargate_core.config.schema import Scope
from stargate_core.dialects.conversations import is_object
from stargate_core.dialects.face import Headers, Request
from stargate_core.dialects.texts import opened
from stargate_core.plugins.json_rules import JsonRules
from stargate_core.views import Access

_PATH: Final = re.compile(rb"(/model/)([^/]+)(/.*)", re.DOTALL)
_MODEL_MEMBERS: Final = ("model", "modelId")


class _PairRules:
    """Rules for what is a list of names and values: headers, a query."""

    __slots__ = ("add", "append", "is_empty", "remove", "rename", "replace")

    def __init__(
        self, remove: list[str], rename: list[str], replace: list[str], add: list[str], append: list[str]
    ) -> None:
        self.remove = frozenset(name.encode() for name in remove)
        self.rename = dict(_pairs(rename))
        self.replace = dict(_pairs(replace))
        self.add = _pairs(add)
        self.append = _pairs(append)
        self.is_empty = not (remove or rename or replace or add or append)

    def apply(self, pairs: Headers) -> Headers:
        """The pairs as the rules have them."""
        changed: Headers = []
        for name, value in pairs:
            if name not in self.remove:
                name = self.rename.get(name, name)
                changed.append((name, self.replace.get(name, value)))
        there = {name for name, _ in changed}
        changed += [(name, value) for name, value in self.add if name not in there]
        return changed + self.append


class RequestTransformPlugin:
    """Applies the rules."""

    NAME: ClassVar[str] = "request-transform"
    PRIORITY: ClassVar[int] = 940
    CONFIG: ClassVar[type[msgspec.Struct]] = RequestTransform
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["request-transform"].scopes

    def __init__(self, config: RequestTransform) -> None:
        remove, rename = config.remove, config.rename
        valued = (config.replace, config.add, config.append)
        self._headers = _PairRules(
            [name.lower() for name in remove.headers],
            [pair.lower() for pair in rename.headers],
            *([_small(pair) for pair in values.headers] for values in valued),
        )
        self._query = _PairRules(
            remove.querystring, rename.querystring, *(values.querystring for values in valued)
        )
        self._body = JsonRules(
            Names(json=remove.body), Renames(json=rename.body), *(_json(values) for values in valued)
        )
        self._models = config.models

    def access(self, ctx: Access) -> None:
        """Change the request."""
        request = ctx.request
        if not self._headers.is_empty:
            ctx.revise_request(headers=self._headers.apply(request.headers))
        if not self._query.is_empty:
            ctx.revise_request(query=_written(self._query.apply(_read(request.query))))
        if request.body and not (self._body.is_empty and not self._models):
            value: Any = opened(request.body).value
            self._body.apply(value)
            if is_object(value):
                self._rename_model(value)
            ctx.revise_request(body=msgspec.json.encode(value))
        if self._models:
            self._rename_in_path(ctx, request)

    def _rename_model(self, members: dict[str, Any]) -> None:
        for name in _MODEL_MEMBERS:
            model = members.get(name)
            if isinstance(model, str) and model in self._models:
                members[name] = self._models[model]

    def _rename_in_path(self, ctx: Access, request: Request) -> None:
        found = _PATH.fullmatch(request.path)
        if found is not None:
            new = self._models.get(unquote_to_bytes(found[2]).decode("utf-8", "replace"))
            if new is not None:
                ctx.revise_request(path=found[1] + quote(new, safe="").encode() + found[3])


def _small(pair: str) -> str:
    """A header's name in small letters, its value as it is."""
    name, colon, value = pair.partition(":")
    return name.lower() + colon + value


def _pairs(written: list[str]) -> Headers:
    split = [pair.partition(":") for pair in written]
    return [(name.strip().encode(), value.strip().encode()) for name, _, value in split]


def _json(values: RequestValues) -> Values:
    return Values(json=values.body, json_types=values.body_types)


def _read(query: bytes) -> Headers:
    """The names and values of a query, decoded."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&") if pair]
    return [(_plain(name), _plain(value)) for name, _, value in pairs]


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _written(pairs: Headers) -> bytes:
    return "&".join([f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs]).encode()
