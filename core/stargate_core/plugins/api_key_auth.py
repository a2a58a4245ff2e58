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
- Credentials end here. The call to Bedrock is built from an allow list of headers, so none of them can travel
  on.
"""

import hashlib
import hmac
from typing import ClassVar, Final

import msgspec

from stargate_core.aws.sigv4 import AuthorizationError, Verifier, VerifyResult, parse_authorization
from stargate_core.config.plugin_configs import BUILT_IN, ApiKeyAuth
from stargate_core.config.schema import Consumer, Scope
from stargate_core.faults import Cause, Fault
from stargate_core.phases import Access, InitWorker

_SECOND: Final = 1_000_000_000


class _Key(msgspec.Struct, frozen=True):
    """What is known of a key: never the key itself."""

    digest: bytes
    consumer: Consumer
    key_id: str
    disabled: bool
    expires_at_ns: int | None


class _Pair(msgspec.Struct, frozen=True):
    """A key pair for signing callers."""

    consumer: Consumer
    verifier: Verifier
    disabled: bool
    expires_at_ns: int | None


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
        self._anonymous: Consumer | None = None
        self._challenge = ((b"www-authenticate", f'Bearer realm="{config.realm}"'.encode()),)

    def init_worker(self, ctx: InitWorker) -> None:
        """Learn everybody's keys."""
        for consumer in ctx.consumers:
            for key in consumer.keyauth_credentials:
                digest = bytes.fromhex(key.sha256)
                expires_at_ns = None if key.expires_at is None else int(key.expires_at.timestamp()) * _SECOND
                key_id = key.id or f"…{key.sha256[-4:]}"
                self._keys[digest] = _Key(digest, consumer, key_id, key.disabled, expires_at_ns)
            for pair in consumer.sigv4_credentials:
                expires_at_ns = (
                    None if pair.expires_at is None else int(pair.expires_at.timestamp()) * _SECOND
                )
                self._pairs[pair.access_key_id] = _Pair(
                    consumer, Verifier(pair.secret_access_key), pair.disabled, expires_at_ns
                )
            if consumer.username == self._config.anonymous:
                self._anonymous = consumer

    def access(self, ctx: Access) -> None:
        """Identify the caller."""
        shown, signs = self._shown(ctx)
        key = None if shown is None else self._key(shown, ctx)
        if signs:
            pair, key_id = self._signer(ctx)
            if key is not None and key.consumer is not pair.consumer:
                ctx.reject(self._fault(Cause.KEYS_DISAGREE))
            ctx.identify(pair.consumer, key_id)
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
            if not value:
                continue
            if shown is not None and not hmac.compare_digest(shown, value):
                ctx.reject(self._fault(Cause.KEYS_DISAGREE))
            shown = value
        return shown, signs

    def _key(self, shown: bytes, ctx: Access) -> _Key:
        """What is known of the key. Rejects one that opens nothing."""
        digest = hashlib.sha256(shown).digest()
        key = self._keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            ctx.reject(Fault(Cause.KEY_INVALID, detail="unknown key"))
        if key.disabled or (key.expires_at_ns is not None and key.expires_at_ns <= ctx.wall_ns):
            ctx.reject(Fault(Cause.KEY_INVALID, detail=f"key {key.key_id} is disabled or expired"))
        return key

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
        if (
            pair is None
            or pair.disabled
            or (pair.expires_at_ns is not None and pair.expires_at_ns <= ctx.wall_ns)
        ):
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
