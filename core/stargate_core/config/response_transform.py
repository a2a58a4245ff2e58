"""What `response-transform` may be told: what is changed in answers. Kong's names.

Fields and headers are written as Kong's lists have them: a name, or "name:value".
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.problems import Misfit, Path, refuse
from stargate_core.config.schema import HeaderName, Text

JsonType: TypeAlias = Literal["string", "number", "boolean"]
Pair: TypeAlias = Annotated[
    str, Meta(max_length=8192, pattern=r"^[^:\s][^:]*:", description='a text of the form "name:value"')
]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and JSON fields to remove."""

    headers: list[HeaderName] = field(default_factory=list[str])
    json: list[Text] = field(default_factory=list[str])


class Renames(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and JSON fields to rename, each as "old:new"."""

    headers: list[Pair] = field(default_factory=list[str])
    json: list[Pair] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for index, pair in enumerate(self.headers):
            for name in pair.split(":", 1):
                yield from _misfit_header(name.strip(), "", ("headers", index))
        for index, pair in enumerate(self.json):
            if not pair.partition(":")[2].strip():
                yield Misfit(("json", index), "expected a new name after the colon", pair)


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and JSON fields to set, each as "name:value"."""

    headers: list[Pair] = field(default_factory=list[str])
    json: list[Pair] = field(default_factory=list[str])
    json_types: list[JsonType] = field(default_factory=list[JsonType])
    """The type of each value in `json`; all strings if empty."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for index, pair in enumerate(self.headers):
            name, _, value = pair.partition(":")
            yield from _misfit_header(name.strip(), value.strip(), ("headers", index))
        if not self.json_types:
            return
        if len(self.json_types) != len(self.json):
            message = f"expected as many types as json has values: {len(self.json)}"
            yield Misfit("json_types", message, beside=("json",))
            return
        for index, (pair, json_type) in enumerate(zip(self.json, self.json_types, strict=True)):
            value = pair.partition(":")[2].strip()
            if json_type == "boolean" and value not in ("true", "false"):
                yield Misfit(("json", index), "expected true or false after the colon", pair)
            if json_type == "number" and not re.fullmatch(
                r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", value
            ):
                yield Misfit(("json", index), "expected a number after the colon", pair)


class ResponseTransform(msgspec.Struct, frozen=True, kw_only=True):
    """What is changed in answers, in Kong's order: remove, rename, replace, add, append."""

    remove: Names = field(default_factory=Names)
    rename: Renames = field(default_factory=Renames)
    replace: Values = field(default_factory=Values)
    """Only where the name is there already."""
    add: Values = field(default_factory=Values)
    """Only where the name is not there yet."""
    append: Values = field(default_factory=Values)
    """Beside what is there already."""


def _misfit_header(name: str, value: str, field: Path) -> Iterator[Misfit]:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", name):
        yield Misfit(field, "expected the name of a header", name)
    if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        yield Misfit(field, "expected a header's value in Latin-1, on one line")
