"""api-key-auth: who is calling?

A caller shows a gateway key, in `Authorization: Bearer`, `x-api-key` or `api-key` (OpenAI's, Anthropic's and
Azure's habits), or signs its request as AWS SDKs do, with a key pair of the gateway's own. The rules, and
why:

- No key: 401, with the challenge that HTTP wants there. A key nobody has, or a disabled or expired one: 403;
  which of these it was is for the log alone.
- Two headers with one key are fine (Claude Code sends both). Two different keys prove nothing: 401. So do a
  key and a signature that are not one consumer's.
- Keys are kept and compared as SHA-256. The digest finds the entry, so no comparison's time depends on a
  secret's bytes, and a constant-time comparison confirms it.
- A signature is verified whole: canonical request, body hash, date within five minutes, constant time. The
  region and service it was made for are the SDK's business, not ours. It comes in `Authorization` whatever
  headers the configuration lets keys come in.
- Who shows nothing at all may be taken for the anonymous consumer; who shows something wrong may not.
- Keys that live in the store count like those of the file. Where both know a key, the file says whose it is
  and what it may call, and the store can only end it: so a key of the file's is revoked without a restart. An
  entry of the store's that nobody can read, or whose consumer there is not, opens nothing and is noted.
- A caller whom jwt-auth has identified needs no key. Its token is left alone here; a key or a signature that
  it shows beside the token must be the same consumer's.
- Credentials end here. The call to Bedrock is built from an allow list of headers, so none of them can travel
  on.
"""

import datetime
import hashlib
import hmac
from typing import ClassVar, Final, NamedTuple

import msgspec

from stargate_core.aws.credentials import AuthorizationError, VerifyResult
from stargate_core.aws.sigv4 import Verifier, parse_authorization
from stargate_core.config.callers import narrowed
from stargate_core.config.live_key import BadLiveKey, parse_live_key
from stargate_core.config.plugin_configs import BUILT_IN, ApiKeyAuth
from stargate_core.config.schema import Consumer, Scope
from stargate_core.faults import Cause, Fault
from stargate_core.views import Access, InitWorker
from stargate_core.wire.jws import looks_like_token

_SECOND: Final = 1_000_000_000
_ENTRIES_MAX: Final = 4096
"""Entries of the store's kept in their decoded form. Decoding says the same each time, so nothing depends on
which of them are.
"""


class _Key(NamedTuple):
    """What is known of a key: never the key itself."""

    digest: bytes
    consumer: Consumer
    key_id: str
    disabled: bool
    expires_at_ns: int | None


class _Pair(NamedTuple):
    """A key pair for signing callers."""

    consumer: Consumer
    verifier: Verifier
    disabled: bool
    expires_at_ns: int | None


class _Entry(NamedTuple):
    """What the store says of a key, decoded."""

    consumer: Consumer | None
    """None: the file must say whose it is."""
    key_id: str | None
    ended: bool
    expires_at_ns: int | None
    problem: str = ""
    """Why this opens nothing, and an operator should know."""


class ApiKeyAuthPlugin:
    """Finds the consumer, or refuses."""

    NAME: ClassVar[str] = "api-key-auth"
    PRIORITY: ClassVar[int] = 1250
    CONFIG: ClassVar[type[msgspec.Struct]] = ApiKeyAuth
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["api-key-auth"].scopes

    def __init__(self, config: ApiKeyAuth) -> None:
        self._config = config
        self._names = tuple(dict.fromkeys(name.lower().encode() for name in config.key_names))
        self._keys: dict[bytes, _Key] = {}
        self._pairs: dict[str, _Pair] = {}
        self._consumers: dict[str, Consumer] = {}
        self._entries: dict[bytes, _Entry] = {}
        self._anonymous: Consumer | None = None
        self._challenge = ((b"www-authenticate", f'Bearer realm="{config.realm}"'.encode()),)

    def init_worker(self, ctx: InitWorker) -> None:
        """Learn everybody's keys."""
        for consumer in ctx.consumers:
            self._consumers[consumer.username] = consumer
            for key in consumer.keyauth_credentials:
                digest = bytes.fromhex(key.sha256)
                holder, expires_at_ns = _narrowed(consumer, key.models), _nanoseconds(key.expires_at)
                self._keys[digest] = _Key(
                    digest, holder, key.id or _key_id(digest), key.disabled, expires_at_ns
                )
            for pair in consumer.sigv4_credentials:
                self._pairs[pair.access_key_id] = _Pair(
                    consumer, Verifier(pair.secret_access_key), pair.disabled, _nanoseconds(pair.expires_at)
                )
            if consumer.username == self._config.anonymous:
                self._anonymous = consumer

    def access(self, ctx: Access) -> None:
        """Identify the caller."""
        known = ctx.consumer
        shown, signs = self._shown(ctx)
        key = None if shown is None else self._key(shown, ctx)
        pair, pair_id = self._signer(ctx) if signs else (None, "")
        names = {one.consumer.username for one in (key, pair) if one is not None}
        if known is not None:
            names.add(known.username)
        if len(names) > 1:
            ctx.reject(self._fault(Cause.KEYS_DISAGREE))
        if known is not None:
            return
        if pair is not None:
            ctx.identify(pair.consumer, pair_id)
        elif key is not None:
            ctx.identify(key.consumer, key.key_id)
        elif self._anonymous is not None:
            ctx.identify(self._anonymous, "anonymous")
        else:
            ctx.reject(self._fault(Cause.KEY_MISSING))

    def _shown(self, ctx: Access) -> tuple[bytes | None, bool]:
        """The key the caller shows, and whether it signs. Rejects two keys that differ."""
        shown: bytes | None = None
        signs = False
        for name, value in ctx.request.headers:
            if name == b"authorization":
                scheme, _, value = value.partition(b" ")
                if scheme.upper().startswith(b"AWS4-"):
                    signs = True
                    continue
                if scheme.lower() != b"bearer":
                    continue
            if name not in self._names:
                continue
            value = value.strip()
            if not value or (ctx.consumer is not None and looks_like_token(value)):
                continue
            if shown is not None and not hmac.compare_digest(shown, value):
                ctx.reject(self._fault(Cause.KEYS_DISAGREE))
            shown = value
        return shown, signs

    def _key(self, shown: bytes, ctx: Access) -> _Key:
        """What is known of the key. Rejects one that opens nothing."""
        digest = hashlib.sha256(shown).digest()
        key = self._keys.get(digest)
        # Found by its digest, so it is equal; whatever it may be found by one day, this stays.
        if key is not None and not hmac.compare_digest(key.digest, digest):  # pragma: no cover
            key = None
        entry = self._entry(digest, ctx) if ctx.live_keys else None
        if entry is not None:
            if entry.problem:
                ctx.note("warning", f"key {_key_id(digest)} of the store opens nothing: {entry.problem}")
                ctx.reject(Fault(Cause.KEY_INVALID, detail=f"key {_key_id(digest)}: {entry.problem}"))
            if key is None and entry.consumer is not None:
                key_id = entry.key_id or _key_id(digest)
                key = _Key(digest, entry.consumer, key_id, entry.ended, entry.expires_at_ns)
        if key is None:
            ctx.reject(Fault(Cause.KEY_INVALID, detail="unknown key"))
        if key.disabled or _is_over(key.expires_at_ns, ctx):
            ctx.reject(Fault(Cause.KEY_INVALID, detail=f"key {key.key_id} is disabled or expired"))
        if entry is not None and (entry.ended or _is_over(entry.expires_at_ns, ctx)):
            ctx.reject(
                Fault(Cause.KEY_INVALID, detail=f"key {key.key_id} is revoked in the store, or expired")
            )
        return key

    def _entry(self, digest: bytes, ctx: Access) -> _Entry | None:
        """What the store says of the key."""
        data = ctx.live_keys.get(digest.hex())
        if data is None:
            return None
        entry = self._entries.get(data)
        if entry is None:
            entry = self._decoded(data)
            if len(self._entries) >= _ENTRIES_MAX:
                self._entries.clear()
            self._entries[data] = entry
        return entry

    def _decoded(self, data: bytes) -> _Entry:
        try:
            live = parse_live_key(data)
        except BadLiveKey as error:
            return _Entry(None, None, ended=True, expires_at_ns=None, problem=f"it can't be read: {error}")
        ended = live.disabled or live.revoked
        consumer = self._consumers.get(live.consumer)
        if live.consumer and consumer is None and not ended:
            problem = f"there is no consumer {live.consumer!r}"
            return _Entry(None, None, ended=True, expires_at_ns=None, problem=problem)
        holder = None if consumer is None else _narrowed(consumer, live.models)
        return _Entry(holder, live.id, ended, _nanoseconds(live.expires_at))

    def _signer(self, ctx: Access) -> tuple[_Pair, str]:
        """Whose key pair signed the request, and its id. Rejects what no pair has signed."""
        request = ctx.request
        try:
            presented = parse_authorization(request.headers)
        except AuthorizationError as error:
            ctx.reject(Fault(Cause.SIGNATURE_INVALID, detail=f"signature: {error.result.name}"))
        if presented is None:
            ctx.reject(Fault(Cause.SIGNATURE_INVALID, detail="a signature of another algorithm"))
        pair = self._pairs.get(presented.access_key_id)
        if pair is None or pair.disabled or _is_over(pair.expires_at_ns, ctx):
            ctx.reject(Fault(Cause.KEY_INVALID, detail="unknown, disabled or expired access key id"))
        result = pair.verifier.verify(
            presented, request.method, request.target, request.headers, request.body, ctx.wall_ns
        )
        if result is not VerifyResult.OK:
            ctx.reject(Fault(Cause.SIGNATURE_INVALID, detail=f"signature: {result.name}"))
        return pair, presented.access_key_id

    def _fault(self, cause: Cause) -> Fault:
        """A 401, which must say how to do better (RFC 9110, 15.5.2)."""
        return Fault(cause, headers=self._challenge)


def _narrowed(consumer: Consumer, models: list[str] | None) -> Consumer:
    """The consumer, as far as it may call with one of its keys."""
    if models is None:
        return consumer
    return msgspec.structs.replace(consumer, models=narrowed(consumer.models, models))


def _key_id(digest: bytes) -> str:
    """What logs show of a key that has no name."""
    return f"…{digest.hex()[-4:]}"


def _nanoseconds(time: datetime.datetime | None) -> int | None:
    """A time in nanoseconds since the epoch, whole seconds."""
    return None if time is None else int(time.timestamp()) * _SECOND


def _is_over(expires_at_ns: int | None, ctx: Access) -> bool:
    return expires_at_ns is not None and expires_at_ns <= ctx.wall_ns
