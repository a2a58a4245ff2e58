"""Public keys: what an issuer has published, and whether one of its keys has signed something.

An issuer publishes a JWK Set (RFC 7517). A key of it serves only for what it is: its type and curve must be
the algorithm's, its `use` and `key_ops` must allow verifying, its `alg`, if it has one, must be the token's.
What nobody here understands is passed over, as section 5 wants. Symmetric keys are never used, whatever the
set says: what is published is no secret. RSA keys of less than 2048 bits are too weak (RFC 7518, 3.3).

The algorithms are PyJWT's, which are cryptography's: the extra `jwt`. Most gateways do without, and are told
so where they can't.
"""

import functools
from typing import Any, Final

import msgspec

from stargate_core.config.jwt_auth import JwtAuth
from stargate_core.config.schema import Config, Route, Service
from stargate_core.questions import VerifyToken

INSTALL: Final = "install stargate-gateway[jwt]"

_KEYS_MAX: Final = 256
_RSA_BITS_MIN: Final = 2048
_CURVES: Final = {
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "ES512": ("P-521",),
    "EdDSA": ("Ed25519", "Ed448"),
}


class Key(msgspec.Struct, frozen=True):
    """A key of an issuer's, ready for use."""

    key_id: str
    algorithms: tuple[str, ...]
    """What it serves for."""
    key: Any


class BadSet(Exception):
    """What came is no JWK Set; the text says why."""


class _Set(msgspec.Struct, frozen=True):
    """A JWK Set: all its keys, as they are written."""

    keys: list[dict[str, Any]]


def parse_key_set(data: bytes) -> tuple[Key, ...]:
    """The keys of a JWK Set that can verify something. Raises BadSet."""
    try:
        found = msgspec.json.decode(data, type=_Set).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSet(f"no JWK Set: {error}") from None
    if len(found) > _KEYS_MAX:
        raise BadSet(f"more than {_KEYS_MAX} keys")
    return tuple(key for jwk in found if (key := _key(jwk)) is not None)


def _key(jwk: dict[str, Any]) -> Key | None:
    """A key, if it can verify something. What nobody here understands is passed over (RFC 7517, 5)."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    serves = tuple(name for name in _fitting(jwk) if jwk.get("alg", name) == name)
    key_id = jwk.get("kid", "")
    if not serves or not isinstance(key_id, str):
        return None
    # The private part, if somebody has published it, is left out.
    public = {name: value for name, value in jwk.items() if name in ("kty", "crv", "n", "e", "x", "y")}
    try:
        key = algorithms()[serves[0]].from_jwk(public)
    except Exception:  # noqa: BLE001
        # A key whose numbers are none: PyJWT and cryptography each have several errors for that.
        return None
    if getattr(key, "key_size", _RSA_BITS_MIN) < _RSA_BITS_MIN and jwk.get("kty") == "RSA":
        return None
    return Key(key_id, serves, key)


def _fitting(jwk: dict[str, Any]) -> list[str]:
    """The algorithms that a key of this type and curve is for."""
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "RSA":
        return [name for name in algorithms() if name not in _CURVES]
    wanted = {"EC": "ES", "OKP": "Ed"}.get(kind) if isinstance(kind, str) else None
    return [
        name
        for name, curves in _CURVES.items()
        if wanted is not None and name.startswith(wanted) and curve in curves and name in algorithms()
    ]


def missing_for(config: Config) -> str:
    """What must be installed for what a configuration wants, in words; '' if nothing."""
    places: list[Config | Service | Route] = [config]
    places += [*config.services, *config.routes, *(r for one in config.services for r in one.routes)]
    wanted = any(
        isinstance(entry.config, JwtAuth)
        and entry.enabled
        and any(issuer.jwks_url is not None for issuer in entry.config.issuers)
        for place in places
        for entry in place.plugins
    )
    return (
        f"tokens signed with public keys can't be verified: {INSTALL}" if wanted and not algorithms() else ""
    )


@functools.lru_cache(maxsize=1)
def algorithms() -> dict[str, Any]:
    """PyJWT's algorithms by name; none where it, or what it needs for public keys, is not installed."""
    try:
        from jwt.algorithms import get_default_algorithms, has_crypto
    except ImportError:
        return {}
    known: dict[str, Any] = get_default_algorithms() if has_crypto else {}
    return {name: one for name, one in known.items() if name[:2] in ("RS", "PS") or name in _CURVES}


def verified(key: Key, question: VerifyToken) -> str:
    """Whether this key has signed it: '' or why not."""
    algorithm = algorithms()[question.algorithm]
    try:
        good: bool = algorithm.verify(question.signed, key.key, question.signature)
    except Exception as error:  # noqa: BLE001
        # Both libraries have errors of their own for signatures of a wrong form; none of them is a yes.
        return f"the signature can't be checked: {type(error).__name__}"
    return "" if good else "the signature does not match"
