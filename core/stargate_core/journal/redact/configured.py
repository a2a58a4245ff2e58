"""What a journal's configurations say that redaction must know, and what of them goes.

Secrets are placeholders by now, and stay: callers' bytes have the same ones. A key's digest goes, for a short
key can be found by its digest, and so does the id of a key pair. All else is metadata: names of consumers,
models, targets, routes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from stargate_core.journal.redact.secrets import Secrets
from stargate_core.secret import Private

_DIGEST: Final = "key_sha256"
_KEY_ID: Final = "access_key_id"
_GONE: Final = frozenset({_DIGEST, _KEY_ID, "external_id"})
_HEADERS: Final = ("key_names", "header_names")


class Configured(Private, msgspec.Struct, frozen=True):
    """What the configurations say."""

    texts: frozenset[str]
    """Every text in them, names of members and what goes left out."""
    key_headers: frozenset[bytes]
    """Headers in which keys and tokens come."""
    pairs: Mapping[str, Sequence[str]]
    """What stands for the secrets of key pairs, by their ids; for several, where they have changed."""
    codes: Mapping[str, Sequence[str]]
    """What stands for the secrets of tokens' issuers, by their names."""


def configured(configurations: Mapping[int, bytes]) -> Configured:
    """Read them."""
    texts: set[str] = set()
    headers: set[bytes] = set()
    pairs: dict[str, list[str]] = {}
    codes: dict[str, list[str]] = {}
    for config in configurations.values():
        for members in _objects(_tree(config)):
            texts.update(_texts(members))
            headers.update(name.lower().encode() for key in _HEADERS for name in members.get(key) or ())
            if _KEY_ID in members and "secret_access_key" in members:
                pairs.setdefault(members[_KEY_ID], []).append(members["secret_access_key"])
            if members.get("issuer") and members.get("secret"):
                codes.setdefault(members["issuer"], []).append(members["secret"])
    return Configured(frozenset(texts), frozenset(headers), pairs, codes)


def redact_configuration(config: bytes, secrets: Secrets) -> bytes:
    """A configuration without what goes."""
    tree = _tree(config)
    for members in _objects(tree):
        for name, redact in _ways(secrets).items():
            if isinstance(members.get(name), str):
                members[name] = redact(members[name])
    return msgspec.json.encode(tree)


def _ways(secrets: Secrets) -> Mapping[str, Callable[[str], str]]:
    return {_DIGEST: secrets.digest, _KEY_ID: secrets.key_id, "external_id": secrets.key_id}


def _tree(config: bytes) -> Any:
    try:
        return msgspec.json.decode(config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _objects(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a tree."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _texts(members: dict[str, Any]) -> Iterator[str]:
    for name, value in members.items():
        several = cast("list[object]", value) if isinstance(value, list) else [value]
        for text in several:
            if isinstance(text, str) and text and name not in _GONE:
                yield text
        if isinstance(value, dict):
            # Maps of names: what models are called, whom a claim means.
            yield from value
