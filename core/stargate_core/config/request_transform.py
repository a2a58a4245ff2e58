"""What `request-transform` may be told: what is changed in requests before they are read. Kong's names.

Credentials, and what frames a message, are not for changing; nor are templates (`$(headers.x)`) evaluated, as
Kong does: what a caller writes would become part of a rule. Both are refused where they stand.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import field

from stargate_core.config.problems import Misfit, Path, refuse
from stargate_core.config.response_transform import JsonType, Pair, Values
from stargate_core.config.schema import HeaderName, Text

UNTOUCHED: Final = frozenset(
    {
        # Who is calling: it has been looked at, and ends here.
        "authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "x-amz-date",
        "x-amz-security-token", "x-amz-content-sha256",
        # Hop by hop, and what frames the message (RFC 9110, 7.6.1 and 8.6).
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "host", "content-length", "content-encoding", "expect",
        # Whom it comes from.
        "x-forwarded-for", "forwarded",
    }
)  # fmt: skip
"""Headers that are not for changing."""
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


class RequestNames(msgspec.Struct, frozen=True, kw_only=True):
    """What to remove."""

    headers: list[HeaderName] = field(default_factory=list[str])
    querystring: list[Text] = field(default_factory=list[str])
    body: list[Text] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        refuse(
            misfit for at, name in enumerate(self.headers) for misfit in _misfit_name(name, ("headers", at))
        )


class RequestRenames(msgspec.Struct, frozen=True, kw_only=True):
    """What to rename, each as "old:new"."""

    headers: list[Pair] = field(default_factory=list[str])
    querystring: list[Pair] = field(default_factory=list[str])
    body: list[Pair] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for at, pair in enumerate(self.headers):
            for name in pair.split(":", 1):
                yield from _misfit_name(name.strip(), ("headers", at))
        for kind, pairs in (("querystring", self.querystring), ("body", self.body)):
            for at, pair in enumerate(pairs):
                if not pair.partition(":")[2].strip():
                    yield Misfit((kind, at), "expected a new name after the colon", pair)


class RequestValues(msgspec.Struct, frozen=True, kw_only=True):
    """What to set, each as "name:value"."""

    headers: list[Pair] = field(default_factory=list[str])
    querystring: list[Pair] = field(default_factory=list[str])
    body: list[Pair] = field(default_factory=list[str])
    body_types: list[JsonType] = field(default_factory=list[JsonType])
    """The type of each value in `body`; all strings if empty."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for at, pair in enumerate(self.headers):
            name, _, value = pair.partition(":")
            yield from _misfit_name(name.strip(), ("headers", at))
            if not _HEADER_VALUE.fullmatch(value.strip()):
                yield Misfit(("headers", at), "expected a header's value in printable ASCII, on one line")
        for kind, pairs in (
            ("headers", self.headers),
            ("querystring", self.querystring),
            ("body", self.body),
        ):
            for at, pair in enumerate(pairs):
                if "$(" in pair.partition(":")[2]:
                    message = "expected a plain value: what stands in $(…) is not evaluated"
                    yield Misfit((kind, at), message, pair)
        try:
            Values(json=self.body, json_types=self.body_types)
        except Misfit as misfit:
            for one in (misfit, *misfit.others):
                names = {"json": "body", "json_types": "body_types"}
                path = (names[str(one.path[0])], *one.path[1:])
                expected = one.expected.replace("json", "body")
                yield Misfit(path, expected, one.found, one.hint, beside=("body",))


class RequestTransform(msgspec.Struct, frozen=True, kw_only=True):
    """What is changed in requests, in Kong's order: remove, rename, replace, add, append."""

    remove: RequestNames = field(default_factory=RequestNames)
    rename: RequestRenames = field(default_factory=RequestRenames)
    replace: RequestValues = field(default_factory=RequestValues)
    """Only where the name is there already."""
    add: RequestValues = field(default_factory=RequestValues)
    """Only where the name is not there yet."""
    append: RequestValues = field(default_factory=RequestValues)
    """Beside what is there already."""
    models: dict[str, str] = field(default_factory=dict[str, str])
    """Names that callers use, and what is read instead: in the body, or in the path of Bedrock's own API."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for old, new in self.models.items():
            if not new.strip() or len(new) > 2048:
                yield Misfit(("models", old), "expected the name of a model", new)


def _misfit_name(name: str, where: Path) -> Iterator[Misfit]:
    if not _HEADER.fullmatch(name):
        yield Misfit(where, "expected the name of a header", name)
    elif name.lower() in UNTOUCHED:
        message = "expected another header: this one carries credentials, or frames the message"
        yield Misfit(where, message, name)
