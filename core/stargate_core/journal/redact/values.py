"""Values that are not a connection's bytes: what was kept, found, ordered, or went wrong."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.config.live_key import BadLiveKey, LiveKey, parse_live_key
from stargate_core.dialects.face import Call, Fetched, Headers
from stargate_core.direction import Direction, Order
from stargate_core.faults import Fault
from stargate_core.gateway.cache_entries import pack, unpack
from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.heads import Heads
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.vocabulary import WORDS
from stargate_core.journal.redact.words import Words

_Authority = TypeVar("_Authority", Credentials, BearerToken, Credentials | BearerToken | None)

_PLAIN: Final = re.compile(rb"[A-Za-z0-9_.:@ /+-]{0,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_OF_KEYS: Final = frozenset(LiveKey.__struct_fields__)
_PLACE: Final = re.compile(r"\w+")


class Values:
    """Redacts values; each comes out as long as it was."""

    def __init__(self, words: Words, secrets: Secrets, bodies: Bodies, heads: Heads) -> None:
        self._words = words
        self._secrets = secrets
        self._bodies = bodies
        self._heads = heads

    def headers(self, headers: Headers) -> Headers:
        """Headers of an answer."""
        return [(name, self._heads.value(name, value)) for name, value in headers]

    def kept(self, value: bytes) -> bytes:
        """What somebody has kept: an answer of Bedrock's, or of the gateway's own."""
        entry = unpack(value)
        if entry is None:
            return self._bodies.redact(value)
        kind = next((text.decode("latin-1") for name, text in entry.headers if name == b"content-type"), "")
        headers, body = self.headers(entry.headers), self._bodies.redact(entry.body, kind)
        made = pack(msgspec.structs.replace(entry, headers=headers, body=body))
        return made if len(made) == len(value) else self._words.blank(value)

    def stored(self, value: bytes) -> bytes:
        """A value in a store's reply: a digest, a key's entry, what was kept, or what a script says."""
        if _PLAIN.fullmatch(value):
            text = value.decode()
            return self._secrets.digest(text).encode() if _SHA256.fullmatch(text) else value
        return value if _is_live_key(value) else self.kept(value)

    def keys(self, entries: Mapping[str, bytes]) -> dict[str, bytes]:
        """The keys of a store: whose they are stays."""
        return {self._secrets.digest(digest): self.stored(value) for digest, value in entries.items()}

    def key(self, name: str) -> str:
        """The name of what is kept: the digest in it is of what somebody has said."""
        return _SHA256.sub(lambda found: self._words.word(found[0]), name)

    def fetched(self, found: Fetched) -> Fetched:
        """What was at a URL. What is no text keeps its first bytes: they say what it is."""
        data = found.data
        begins = next((size for magic, size in _MAGIC if data.startswith(magic)), 0)
        made = (
            data[:begins] + self._words.blank(data[begins:])
            if begins
            else self._bodies.redact(data, found.content_type)
        )
        return msgspec.structs.replace(found, data=made)

    def fault(self, fault: Fault) -> Fault:
        """What went wrong: the cause, and no more of the words than their number."""
        param = None if fault.param is None else _PLACE.sub(self._named, fault.param)
        return msgspec.structs.replace(
            fault, message=self._words.word(fault.message), detail=self._words.word(fault.detail), param=param
        )

    def _named(self, found: re.Match[str]) -> str:
        """A part of a member's place in a request: its name, or its number in a list."""
        part = found[0]
        return part if part in WORDS or (part.isdigit() and len(part) < 6) else self._words.word(part)

    def authority(self, authority: _Authority) -> _Authority:
        """Credentials: their secrets are placeholders by now."""
        if isinstance(authority, Credentials):
            return msgspec.structs.replace(
                authority, access_key_id=self._secrets.key_id(authority.access_key_id)
            )
        return authority

    def order(self, order: Order) -> Order:
        """A call that may be shared."""
        return msgspec.structs.replace(
            order,
            key=self.key(order.key),
            call=self._call(order.call),
            directions=tuple(map(self._direction, order.directions)),
            others=tuple((target, self._call(call)) for target, call in order.others),
        )

    def _call(self, call: Call) -> Call:
        return msgspec.structs.replace(
            call,
            headers=self.headers(call.headers),
            body=self._bodies.redact(call.body),
            more_bodies=tuple(map(self._bodies.redact, call.more_bodies)),
        )

    def _direction(self, direction: Direction) -> Direction:
        if direction.credentials is None:
            return direction
        return msgspec.structs.replace(direction, credentials=self.authority(direction.credentials))


def _is_live_key(value: bytes) -> bool:
    """Whether this is an entry of a key, and holds nothing else."""
    try:
        parse_live_key(value)
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw]).keys() <= _OF_KEYS
    except (BadLiveKey, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


_MAGIC: Final = ((b"\x89PNG\r\n\x1a\n", 8), (b"\xff\xd8\xff", 3), (b"GIF8", 6), (b"RIFF", 12), (b"%PDF", 5))
