"""What the link says to Redis, and what it makes of the answers: one function a question, all of them pure.

Three scripts are kept at the server and called by their SHA-1 (`EVALSHA`): limits/script.py's two, and one
that reads all gateway keys at one moment. If the server has lost them (restarted, or `SCRIPT FLUSH`) a call
is repeated with its whole text (`EVAL`), which keeps it there again.

The names in the store, behind the prefix (`stargate:` by default):

    BUCKET         a bucket, by its own key                              limits/script.py
    entry:KEY      8 bytes, the wall time of writing in µs, and what is kept; expires by itself
    keys           a hash: SHA-256 of a gateway key, in hexadecimal digits, to its JSON
    keys:version   changes whenever `keys` does; without it there are no keys
    link           written once a connection, to see whether this server may be written to

An entry's age is counted between the clocks of two gateways: what they differ by, entries are older or
younger, and never younger than nothing.

The *greeting* is everything that must go well before the first call: protocol, authority, database, scripts,
and a write, since a replica, or a server out of its cluster's favour, answers all the rest well. What memory
there is left is no part of it: a full server still answers, and that is each call's own trouble. The
connection's name is for `CLIENT LIST` only; a user that may not set it works all the same.

Sources: https://redis.io/docs/latest/commands/hello/, /commands/auth/, /commands/eval/, and the error codes
in shared.*err of Redis' server.c.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.store_url import StoreServer
from stargate_core.limits.buckets import Charge, Verdict
from stargate_core.limits.script import SETTLE, TAKE, Script, settle_arguments, take_arguments, verdict
from stargate_core.questions import Entry, Keys, ReadEntry, ReadKeys, Settle, StoreAnswer, Take, WriteEntry
from stargate_core.secret import Private, Secret
from stargate_core.wire.resp import REPLY_BYTES_MAX

Words: TypeAlias = list[bytes]

DOWN_CODES: Final = frozenset(
    {"READONLY", "LOADING", "NOAUTH", "MOVED", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS"}
)
"""Errors that the next call would get too: this server is not, or not now, the one to ask."""

_READ_KEYS_TEXT: Final = b"""
-- KEYS: the version, the keys. ARGV: the version that is known. Answer: nothing if it is still that one.
local version = redis.call('GET', KEYS[1]) or ''
if version == ARGV[1] then return false end
return { version, redis.call('HGETALL', KEYS[2]) }
"""
READ_KEYS: Final = Script(
    _READ_KEYS_TEXT, hashlib.sha1(_READ_KEYS_TEXT, usedforsecurity=False).hexdigest().encode()
)
_SCRIPTS: Final = (TAKE, SETTLE, READ_KEYS)
_TEXTS: Final[Mapping[bytes, bytes]] = {script.sha1: script.text for script in _SCRIPTS}
_TIME_BYTES: Final = 8


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a link speaks to its server, and for how long it waits. Durations in nanoseconds."""

    username: str = ""
    """'': the user `default`."""
    password: Secret | None = None
    database: int = 0
    protocol: int = 3
    """Which RESP to ask for, 2 or 3; a server that does not know 3 is spoken to in 2."""
    prefix: str = "stargate:"
    client_name: str = "stargate"
    deadline_ns: int = 50 * MILLISECOND
    """On every call, from the ask; on the greeting too, for a link that can't greet in time can't answer."""
    connect_ns: int = 2 * SECOND
    """On a connection, TLS included: nobody waits for it for longer than `deadline_ns`."""
    backoff_min_ns: int = 100 * MILLISECOND
    backoff_max_ns: int = 5 * SECOND
    misses_max: int = 3
    """So many deadlines missed in a row, and the link is down."""
    ping_ns: int = 15 * SECOND
    """A link that is silent for so long is asked whether it lives."""
    backlog_max: int = 10_000
    """Settlements kept while the link is down."""
    entry_bytes_max: int = 8 << 20
    """Larger entries are not kept: everybody's answers queue behind them."""
    reply_bytes_max: int = REPLY_BYTES_MAX


def settings_for(server: StoreServer, prefix: str) -> LinkSettings:
    """How to speak to the server that a configuration names."""
    return LinkSettings(
        username=server.username,
        password=server.password,
        database=server.database,
        protocol=server.protocol,
        prefix=prefix,
        deadline_ns=server.timeout_ms * MILLISECOND,
    )


class Step(Private, msgspec.Struct, frozen=True):
    """A part of the greeting."""

    words: tuple[bytes | str | int, ...]
    forgiven: frozenset[str] | None = frozenset()
    """Codes of errors that do no harm; None: all."""

    @property
    def name(self) -> str:
        """The command's, for the log; nothing of its arguments."""
        return str(self.words[0])

    def forgives(self, code: str) -> bool:
        """Whether the link is up in spite of this error."""
        return self.forgiven is None or code in self.forgiven


def greeting(settings: LinkSettings, protocol: int) -> list[Step]:
    """What is said first on a connection, in this version of the protocol."""
    password = None if settings.password is None else settings.password.reveal()
    steps: list[Step] = []
    if protocol == 3:
        authority = ("AUTH", settings.username or "default", password) if password is not None else ()
        steps.append(Step(("HELLO", 3, *authority)))
    elif password is not None:
        steps.append(Step(("AUTH", *((settings.username,) if settings.username else ()), password)))
    if settings.database:
        steps.append(Step(("SELECT", settings.database)))
    steps.append(Step(("CLIENT", "SETNAME", settings.client_name), forgiven=None))
    steps += [Step(("SCRIPT", "LOAD", script.text)) for script in _SCRIPTS]
    probe = ("SET", f"{settings.prefix}link", b"1", "PX", 60_000)
    steps.append(Step(probe, forgiven=frozenset({"OOM"})))
    return steps


# ------------------------------------------------------------------------------------------------- the words


def words_of(
    asked: Take | ReadEntry | ReadKeys | Settle | WriteEntry,
    prefix: bytes,
    wall_us: int,
    *,
    now_us: int | None = None,
) -> Words:
    """The command for a question or a statement. Raises ValueError for a text that no UTF-8 has.

    wall_us: the time to write on an entry. now_us: when to take, where another server has said it.
    """
    match asked:
        case Take():
            return _evaluated(TAKE, take_arguments(asked, now_us=now_us), prefix)
        case Settle():
            return _evaluated(SETTLE, settle_arguments(asked), prefix)
        case ReadEntry(key):
            return [b"GET", prefix + b"entry:" + key.encode()]
        case WriteEntry(key, value, ttl_us):
            written = wall_us.to_bytes(_TIME_BYTES, "big")
            ttl_ms = max(1, ttl_us // 1000)
            return [b"SET", prefix + b"entry:" + key.encode(), written + value, b"PX", b"%d" % ttl_ms]
        case ReadKeys(version):
            return _evaluated(READ_KEYS, [b"2", b"keys:version", b"keys", version.encode()], prefix)


def _evaluated(script: Script, arguments: Words, prefix: bytes) -> Words:
    """A call of a script; its arguments begin with the number of its keys, and the keys."""
    behind_keys = int(arguments[0]) + 1
    arguments[1:behind_keys] = [prefix + key for key in arguments[1:behind_keys]]
    return [b"EVALSHA", script.sha1, *arguments]


def in_full(words: Words) -> Words:
    """The same call of a script, with its text instead of its SHA-1."""
    return [b"EVAL", _TEXTS[words[1]], *words[2:]]


# ----------------------------------------------------------------------------------------------- the answers


def answer_of(question: Take | ReadEntry | ReadKeys, reply: object, wall_us: int) -> StoreAnswer:
    """What a reply says to a question. Raises ValueError for one that can't be meant."""
    match question:
        case Take(claims):
            decided = verdict(reply)
            if len(decided.levels) != len(claims):
                raise ValueError("a verdict on other claims")
            return decided
        case ReadEntry():
            return _entry(reply, wall_us)
        case ReadKeys():
            return _keys(reply)


def _entry(reply: object, wall_us: int) -> Entry | None:
    match reply:
        case None:
            return None
        case bytes() if len(reply) >= _TIME_BYTES:
            written = int.from_bytes(reply[:_TIME_BYTES], "big")
            return Entry(reply[_TIME_BYTES:], max(0, wall_us - written))
        case _:
            raise ValueError("no entry")


def _keys(reply: object) -> Keys | None:
    if reply is None:
        return None
    # The texts are UTF-8 or no keys of ours: `UnicodeDecodeError` is a ValueError.
    try:
        version, flat = msgspec.convert(reply, tuple[bytes, list[bytes]])
    except msgspec.ValidationError:
        raise ValueError("no keys") from None
    names, values = flat[::2], flat[1::2]
    return Keys(version.decode(), {name.decode(): value for name, value in zip(names, values, strict=True)})


def given_back(take: Take, decided: Verdict) -> Settle:
    """The settlement of a Take that was allowed when nobody wanted it any more."""
    charges = tuple(Charge(claim.bucket, claim.cost, 0) for claim in take.claims)
    return Settle(charges, take.lease, decided.at_us)
