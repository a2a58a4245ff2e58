"""jwt-auth: who is calling, by a token that an identity provider has signed?

A caller shows a JSON web token where others show a key. What is believed of it, in this order, so that the
cheap questions come first and the claims are believed only when all of them are answered:

1. It reads as a token in only one way (wire/jws.py).
2. Its issuer (`iss`) is one of the configuration's. From here on that entry decides, and not the token: which
   algorithms (RFC 8725, 3.1; an entry has a secret or public keys, so a public key never becomes a secret),
   and where the keys are. `none` is no algorithm that an entry could name.
3. It is for us (`aud`), it has not expired (`exp`, which must be there), it is valid already (`nbf`), and it
   is not from the future (`iat`), give or take the leeway.
4. It is signed. With a secret that is computed here; with public keys the process is asked, which has them or
   fetches them. Where they can't be had, the token may well be good: 503, and not 401.
5. Its holder is a consumer: the configuration's word for the claim, or a username or custom_id as it stands.
   Somebody with a good token who is no consumer is 403.

Who shows no token is 401, unless api-key-auth stands wherever this entry does: then it is asked next, and
refuses whoever has no key either. Who shows a token that is not accepted is 401 and gets no second try: the
caller is told whether it was its time, the rest is for the log. The challenge is RFC 6750's.

What logs and limits call the key is the claim, behind `jwt:`. The token itself goes no further.
"""

import hmac
from typing import Any, ClassVar, Final, cast

import msgspec

from stargate_core.config.jwt_auth import DIGEST_BYTES, Issuer, JwtAuth
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Config, Consumer, Scope
from stargate_core.faults import Cause, Fault
from stargate_core.questions import VerifyToken
from stargate_core.script import Script, WaitFailed
from stargate_core.views import Access, InitWorker
from stargate_core.wire.jws import BadToken, Token, looks_like_token, parse_token

_SECOND: Final = 1_000_000_000
_CLAIM_CHARS_MAX: Final = 256
_TIME_MAX: Final = 1 << 53
"""Beyond that seconds are no whole numbers to everybody, and no time that anybody means."""
_NOT_ACCEPTED: Final = "The token is not accepted"


class _Unacceptable(Exception):
    """A token that is not accepted: what the caller may know, and what is for the log."""

    def __init__(self, detail: str, message: str = _NOT_ACCEPTED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.message = message


class _Issuer:
    """An entry of the configuration, ready for use."""

    __slots__ = ("algorithms", "audiences", "config", "leeway_seconds", "secret")

    def __init__(self, config: Issuer) -> None:
        self.config = config
        self.algorithms = config.accepted
        self.audiences = config.audiences
        self.leeway_seconds = config.leeway_seconds
        self.secret = config.secret


class JwtAuthPlugin:
    """Finds the consumer whose token it is, or refuses."""

    NAME: ClassVar[str] = "jwt-auth"
    PRIORITY: ClassVar[int] = 1450
    CONFIG: ClassVar[type[msgspec.Struct]] = JwtAuth
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["jwt-auth"].scopes

    def __init__(self, config: JwtAuth) -> None:
        self._bytes_max = config.token_bytes_max
        self._names = tuple(dict.fromkeys(name.lower().encode() for name in config.header_names))
        self._issuers = {issuer.issuer: _Issuer(issuer) for issuer in config.issuers}
        self._by_username: dict[str, Consumer] = {}
        self._by_custom_id: dict[str, Consumer] = {}
        self._realm = f'Bearer realm="{config.realm}"'.encode()
        self._is_alone = True

    def init_worker(self, ctx: InitWorker) -> None:
        """Learn who there is, and whether keys open the same doors."""
        self._by_username = {consumer.username: consumer for consumer in ctx.consumers}
        self._by_custom_id = {
            consumer.custom_id: consumer for consumer in ctx.consumers if consumer.custom_id is not None
        }
        self._is_alone = not _asks_for_keys(ctx.config, ctx.place)

    def access(self, ctx: Access) -> Script[None]:
        """Identify the caller."""
        shown = self._shown(ctx)
        if shown is None:
            if self._is_alone:
                ctx.reject(self._fault(Cause.KEY_MISSING))
            return
        try:
            token = parse_token(shown, bytes_max=self._bytes_max)
            issuer = self._issuer(token)
            _check_claims(token.claims, issuer, ctx.wall_ns)
            if issuer.secret is not None:
                _check_code(token, issuer.secret.reveal().encode())
            else:
                yield from _check_signature(token, issuer, ctx)
        except BadToken as error:
            ctx.reject(self._fault(Cause.TOKEN_INVALID, str(error), _NOT_ACCEPTED))
        except _Unacceptable as error:
            ctx.reject(self._fault(Cause.TOKEN_INVALID, error.detail, error.message))
        except WaitFailed as error:
            ctx.reject(Fault(Cause.TOKEN_UNVERIFIED, detail=str(error)))
        self._identify(token, issuer.config, ctx)

    def _shown(self, ctx: Access) -> bytes | None:
        """The token the caller shows. Rejects two that differ."""
        shown: bytes | None = None
        for name, value in ctx.request.headers:
            if name not in self._names:
                continue
            if name == b"authorization":
                scheme, _, value = value.partition(b" ")
                if scheme.lower() != b"bearer":
                    continue
            value = value.strip()
            if not looks_like_token(value):
                continue
            if shown is not None and not hmac.compare_digest(shown, value):
                ctx.reject(self._fault(Cause.KEYS_DISAGREE))
            shown = value
        return shown

    def _issuer(self, token: Token) -> _Issuer:
        """Whose token it claims to be. Raises _Unacceptable."""
        name = token.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise _Unacceptable("the issuer (iss) is not among the configuration's")
        if token.algorithm not in issuer.algorithms:
            raise _Unacceptable("the algorithm (alg) is not among the issuer's")
        return issuer

    def _identify(self, token: Token, issuer: Issuer, ctx: Access) -> None:
        """The caller is whom the token names. Rejects somebody who is no consumer."""
        claim = token.claims.get(issuer.consumer_claim)
        name = claim if isinstance(claim, str) and len(claim) <= _CLAIM_CHARS_MAX else None
        username = issuer.consumer
        if username is None and name is not None:
            username = issuer.consumers.get(name)
        consumer = None
        if username is not None:
            consumer = self._by_username.get(username)
        elif name is not None:
            consumer = self._by_username.get(name) or self._by_custom_id.get(name)
        if consumer is None:
            detail = f"the claim {issuer.consumer_claim} names no consumer"
            ctx.reject(Fault(Cause.KEY_INVALID, "The token's holder may not use this gateway", detail=detail))
        ctx.identify(consumer, f"jwt:{name or ''}")

    def _fault(self, cause: Cause, detail: str = "", message: str = "") -> Fault:
        """A 401 with its challenge (RFC 6750, 3): no error where no token was shown."""
        challenge = self._realm
        if cause is Cause.TOKEN_INVALID:
            challenge += b', error="invalid_token", error_description="%s"' % message.encode()
        return Fault(cause, message, detail=detail, headers=((b"www-authenticate", challenge),))


def _asks_for_keys(config: Config, place: tuple[str | None, str | None, str | None]) -> bool:
    """Whether api-key-auth runs wherever a plugin at this place does."""
    service, route, _ = place
    entries = [(entry, entry.service, entry.route) for entry in config.plugins]
    for one in config.services:
        entries += [(entry, entry.service or one.name, entry.route) for entry in one.plugins]
    routes = [*config.routes, *(one for each in config.services for one in each.routes)]
    for way in routes:
        entries += [(entry, entry.service, entry.route or way.name) for entry in way.plugins]
    return any(
        entry.name == "api-key-auth" and entry.enabled and at in (None, service) and way in (None, route)
        for entry, at, way in entries
    )


def _check_claims(claims: dict[str, Any], issuer: _Issuer, wall_ns: int) -> None:
    """Whether the token is for us, and for now. Raises _Unacceptable."""
    audience: object = claims.get("aud")
    named = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if not any(one in issuer.audiences for one in named):
        raise _Unacceptable("the audience (aud) is not the configuration's")
    leeway_ns = issuer.leeway_seconds * _SECOND
    expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise _Unacceptable("the token never expires (no exp)")
    if expires + leeway_ns <= wall_ns:
        raise _Unacceptable("expired", "The token has expired")
    if begins is not None and begins - leeway_ns > wall_ns:
        raise _Unacceptable("not valid yet (nbf)", "The token is not valid yet")
    if issued is not None and issued - leeway_ns > wall_ns:
        raise _Unacceptable("issued in the future (iat)", "The token is not valid yet")
    if issued is not None and issued > expires:
        raise _Unacceptable("expired before it was issued (iat, exp)")


def _time(claims: dict[str, Any], name: str) -> int | None:
    """A time in nanoseconds since the epoch. Raises _Unacceptable."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _TIME_MAX:
        raise _Unacceptable(f"the claim {name} is no time")
    return int(value * _SECOND)


def _check_code(token: Token, secret: bytes) -> None:
    """Whether the secret has signed it. Raises _Unacceptable."""
    assert token.algorithm in DIGEST_BYTES
    digest = f"sha{token.algorithm[2:]}"
    if not hmac.compare_digest(hmac.digest(secret, token.signed, digest), token.signature):
        raise _Unacceptable("the signature does not match")


def _check_signature(token: Token, issuer: _Issuer, ctx: Access) -> Script[None]:
    """Whether one of the issuer's keys has signed it. Raises _Unacceptable, WaitFailed."""
    url = issuer.config.jwks_url
    assert url is not None
    question = VerifyToken(url, token.algorithm, token.key_id, token.signed, token.signature)
    why = yield from ctx.verify_token(question)
    if why:
        raise _Unacceptable(why)
