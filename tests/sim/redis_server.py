"""A Redis, as far as the link to one asks for: scripts, entries, keys, over RESP.

Take and settle are the core's own rule (limits/rule.py), which other tests hold against the scripts on a real
server; `Ledger` holds the rule against a plain list. What goes wrong here is what goes wrong with servers:
slow, loading, read-only, moved, forgetful of scripts, silent, closing, and answering nonsense.
"""

import hashlib
import json
import random
from typing import Any, Final

import hiredis

from sim.agenda import Agenda
from sim.features import LIVE_KEYS, Features
from sim.judge import Judge
from sim.ledger import Ledger
from sim.wires import End
from stargate_core.clock import MILLISECOND
from stargate_core.gateway.redis_calls import READ_KEYS, LinkSettings
from stargate_core.limits import rule
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Verdict
from stargate_core.limits.script import SETTLE, TAKE

_KINDS: Final = {
    b"f": Algorithm.FIXED, b"s": Algorithm.SLIDING, b"g": Algorithm.GCRA, b"c": Algorithm.CONCURRENT,
}  # fmt: skip
_ERRORS: Final = (
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-MOVED 3999 127.0.0.1:6381\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    b"-ERR something else\r\n",
)
_NONSENSE: Final = (
    b"+OK\r\n",
    b":1\r\n",
    b"*1\r\n:7\r\n",
    b"$3\r\nabc\r\n",
    b"*4\r\n:1\r\n:0\r\n:5\r\n:0\r\n",
)


def digest_of(consumer: str) -> bytes:
    """What a consumer's key that lives in the store is kept under."""
    return hashlib.sha256(LIVE_KEYS[consumer].encode()).hexdigest().encode()


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


class RedisServer:
    """The server; what it holds outlives its connections."""

    def __init__(
        self, agenda: Agenda, rng: random.Random, features: Features, judge: Judge, wall_ns: int
    ) -> None:
        self.agenda = agenda
        self.rng = rng
        self.features = features
        self.judge = judge
        self.calm = False
        self.ledger = Ledger("redis")
        self.faults = 0
        self.late = False
        """Whether it has once been too late without any fault, and the link to it may be down for it."""
        self.lost = False
        """Whether an answer, or something said, may have been lost."""
        self.scripts: dict[bytes, None] = {}
        self.buckets: dict[str, rule.State] = {}
        self.values: dict[bytes, tuple[bytes, int]] = {}
        self.keys_version = b""
        self.keys: dict[bytes, bytes] = {}
        self._key_changes: list[tuple[int, str, bool]] = []
        """When whose key came to be good, or none."""
        self._wall_ns = wall_ns

    @property
    def wall_us(self) -> int:
        """Its clock."""
        return (self._wall_ns + self.agenda.now) // 1000

    def fault(self) -> str:
        """What goes wrong with a command now; ''."""
        features = self.features
        if self.calm or not (features.has("redis-faults") and features.redis_faults):
            return ""
        if self.rng.random() >= features.redis_rate:
            return ""
        self.faults += 1
        return self.rng.choice(features.redis_faults)

    def may_fail(self, waited_ns: int) -> bool:
        """Whether somebody who has waited for so long may be told that there is no answer."""
        self.late = self.late or waited_ns >= LinkSettings().deadline_ns
        return self.late or self.lost or self.faults > 0

    def put_key(self, consumer: str, *, revoked: bool) -> None:
        """Write a consumer's key as `stargate keys` does; a revoked one may be gone, or say so."""
        name = digest_of(consumer)
        if revoked and self.rng.random() < 0.5:
            self.keys.pop(name, None)
        else:
            entry = {"consumer": consumer, **({"revoked": True} if revoked else {})}
            self.keys[name] = json.dumps(entry).encode()
        self.keys_version = b"%d" % (int(self.keys_version or 0) + 1)
        self._key_changes.append((self.agenda.now, consumer, not revoked))
        self.judge.say("world", f"keys: {consumer}'s {'is revoked' if revoked else 'lives'}")

    def opened(self, consumer: str, since: int, until: int) -> set[bool]:
        """Whether a consumer's key was good between these: both, if that has changed."""
        was = {False}
        for when, whose, good in self._key_changes:
            if whose == consumer and when <= until:
                was = {good} if when < since else was | {good}
        return was

    # ---------------------------------------------------------------------------------------------- commands

    def reply(self, words: list[bytes]) -> bytes:
        """Its answer to a command."""
        name = words[0].upper()
        match name:
            case b"HELLO":
                return b"%1\r\n$5\r\nproto\r\n:3\r\n"
            case b"SCRIPT":
                for script in (TAKE, SETTLE, READ_KEYS):
                    if script.text == words[2]:
                        self.scripts[script.sha1] = None
                        return _bulk(script.sha1)
                return b"-ERR unknown script\r\n"
            case b"SET":
                ttl_us = int(words[4]) * 1000
                self.values[words[1]] = (words[2], self.wall_us + ttl_us)
                return b"+OK\r\n"
            case b"GET":
                found = self.values.get(words[1])
                if found is None or found[1] <= self.wall_us:
                    return b"_\r\n"
                return _bulk(found[0])
            case b"EVALSHA" if words[1] not in self.scripts:
                return b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
            case b"EVALSHA":
                return self._run(words[1], words[2:])
            case b"EVAL":
                for script in (TAKE, SETTLE, READ_KEYS):
                    if script.text == words[1]:
                        self.scripts[script.sha1] = None
                        return self._run(script.sha1, words[2:])
                return b"-ERR unknown script\r\n"
            case b"PING":
                return b"+PONG\r\n"
            case _:
                return b"+OK\r\n"

    def _run(self, sha1: bytes, arguments: list[bytes]) -> bytes:
        count = int(arguments[0])
        keys = [key.decode() for key in arguments[1 : 1 + count]]
        values = arguments[1 + count :]
        if sha1 == TAKE.sha1:
            return self._take(keys, values)
        if sha1 == SETTLE.sha1:
            return self._settle(keys, values)
        if values[0] == self.keys_version:
            return b"_\r\n"
        flat = [item for pair in self.keys.items() for item in pair]
        return b"*2\r\n" + _bulk(self.keys_version) + b"*%d\r\n" % len(flat) + b"".join(map(_bulk, flat))

    @staticmethod
    def _bucket(key: str, words: list[bytes]) -> Bucket:
        kind, limit, window, burst = words
        return Bucket(key, _KINDS[kind], int(limit), int(window), int(burst))

    def _take(self, keys: list[str], values: list[bytes]) -> bytes:
        lease, lease_us, rest = values[1].decode(), int(values[2]), values[3:]
        claims = [
            Claim(self._bucket(key, rest[5 * at : 5 * at + 4]), int(rest[5 * at + 4]))
            for at, key in enumerate(keys)
        ]
        verdict: Verdict = rule.take(self.buckets, claims, lease, lease_us, self.wall_us)
        self.ledger.took(claims, lease, lease_us, verdict)
        numbers = [int(verdict.allowed), verdict.at_us, verdict.refused, verdict.retry_after_us]
        for level in verdict.levels:
            numbers += [level.remaining, level.reset_us]
        return b"*%d\r\n" % len(numbers) + b"".join(b":%d\r\n" % number for number in numbers)

    def _settle(self, keys: list[str], values: list[bytes]) -> bytes:
        lease, at_us, rest = values[1].decode(), int(values[2]), values[3:]
        charges = [
            Charge(self._bucket(key, rest[6 * at : 6 * at + 4]), int(rest[6 * at + 4]), int(rest[6 * at + 5]))
            for at, key in enumerate(keys)
        ]
        rule.settle(self.buckets, charges, lease, at_us, self.wall_us)
        self.ledger.settled(charges, lease, at_us, self.wall_us)
        return b"+OK\r\n"


class RedisConnection:
    """One connection of the server's."""

    def __init__(self, server: RedisServer, end: End) -> None:
        self._server = server
        self._end = end
        self._reader = hiredis.Reader()
        self._silent = False
        self._free_at = 0
        end.start(self)

    def heard(self, data: bytes) -> None:
        """The link says something, or has gone."""
        if not data:
            self._end.dispose()
            return
        self._reader.feed(data)
        while True:
            words: Any = self._reader.gets()
            if words is False:
                return
            self._answer(words)

    def _answer(self, words: list[bytes]) -> None:
        server = self._server
        if self._end.closed:
            server.lost = True
            return
        fault = server.fault()
        server.judge.say("redis server", f"{words[0].decode()} {fault}")
        delay = 0 if server.calm else server.rng.randrange(server.features.redis_ns)
        match fault:
            case "errors":
                reply = server.rng.choice(_ERRORS)
                server.lost = True
            case "wrong":
                server.lost = True
                server.reply(words)
                reply = server.rng.choice(_NONSENSE)
            case "closing":
                server.lost = True
                if server.rng.random() < 0.5:
                    server.reply(words)
                self._end.dispose()
                return
            case "noscript":
                server.scripts.clear()
                reply = server.reply(words)
            case "silent":
                self._silent = server.lost = True
                server.reply(words)
                return
            case "slow":
                delay = server.rng.randrange(1, 300) * MILLISECOND
                reply = server.reply(words)
            case _:
                reply = server.reply(words)
        if self._silent and not server.calm:
            server.lost = True
            return
        # One command after the other: who is slow with one is so with all behind it.
        agenda = server.agenda
        self._free_at = max(self._free_at, agenda.now + delay)
        if self._free_at == agenda.now:
            self._write(reply)
        else:
            agenda.at(self._free_at, lambda: self._write(reply))
            self._free_at += 1

    def _write(self, reply: bytes) -> None:
        try:
            self._end.write(reply)
        except OSError:
            self._server.lost = True

    def lost(self) -> None:
        """The connection broke."""

    def stalled(self) -> None:
        """What was written waits."""

    def drained(self) -> None:
        """It waits no more."""
