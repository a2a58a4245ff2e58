"""AWS Signature Version 4: signing what we send to AWS, verifying what AWS SDKs send to us.

*Signing.* Time comes in as an argument: every attempt is signed with the time of that attempt. What can be
kept is kept: the signing key per day, the date per second, and everything but the values per (method,
target, header names), so that a call costs two short SHA-256 runs and one HMAC over a key that is already
set up. Setting up costs more than signing does, and a connection may live for one request: so `Signers` keeps
signers for all who share them.

*Verification* rebuilds the canonical request from the signed headers as received, and hashes the body again:
what the caller claims in `x-amz-content-sha256` must be true. As at AWS, `host` must be signed, and every
`x-amz-*` header that is there; the scope's day must be the date's; the clocks may differ by five minutes.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html;
botocore/auth.py (SigV4Auth) is the oracle in the tests.
"""

import hashlib
import hmac
import re
from collections.abc import Collection
from typing import Final, NamedTuple, Protocol, Self

from stargate_core.aws.canonical import (
    ALGORITHM,
    UNSIGNED_PAYLOAD,
    Headers,
    amz_date,
    canonical_path,
    canonical_query,
    canonical_request,
    read_amz_date,
    signable,
    signing_key,
    string_to_sign,
)
from stargate_core.aws.credentials import AuthorizationError, Credentials, Presented, VerifyResult
from stargate_core.secret import Secret

__all__ = [
    "ALGORITHM",
    "SERVICES",
    "SKEW_NS",
    "UNSIGNED_PAYLOAD",
    "Headers",
    "Signer",
    "Signers",
    "Verifier",
    "amz_date",
    "canonical_request",
    "parse_authorization",
    "read_amz_date",
    "signable",
    "signing_key",
    "string_to_sign",
    "verify",
]

SKEW_NS: Final = 5 * 60 * 1_000_000_000
"""How far AWS lets clocks differ."""
SERVICES: Final = (b"bedrock", b"bedrock-mantle")
"""The signing names that a caller of Bedrock may have signed for."""

_SECOND_NS: Final = 1_000_000_000
_PLANS_MAX: Final = 1024
_SIGNERS_MAX: Final = 256
_SHA256_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER_PAD: Final = bytes(octet ^ 0x5C for octet in range(256))
_KEYS_MAX: Final = 16
_ADDED: Final = frozenset({b"authorization", b"x-amz-date", b"x-amz-security-token"})


class _Plan(NamedTuple):
    """What all requests of one (method, target, header names) have in common."""

    template: bytes
    """The canonical request, with %b where a header's value and the payload's hash go."""
    columns: tuple[int, ...]
    """Which header gives each value; -1 is the date."""
    signed: bytes


class _Hash(Protocol):
    """What hashlib's objects can do, as far as it is needed here."""

    def copy(self) -> Self: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


class _Moment(NamedTuple):
    """What all requests of one second have in common. One value, so that no two threads can mix two."""

    second: int
    date: bytes
    scope: bytes
    inner: _Hash
    """The two hashes of RFC 2104, begun with the day's key; copying an hmac object would cost three calls a
    request.
    """
    outer: _Hash


class Signer:
    """Signs with one set of credentials, for one region and service (its *signing* name: `bedrock`)."""

    __slots__ = ("_moment", "_plans", "_region", "_service", "_token", "credentials")

    def __init__(self, credentials: Credentials, region: str, service: str) -> None:
        self.credentials = credentials
        self._region = region.encode()
        self._service = service.encode()
        token = credentials.session_token
        self._token = token.reveal().encode() if token is not None else None
        self._plans: dict[tuple[bytes, bytes, tuple[bytes, ...]], _Plan] = {}
        self._moment: _Moment | None = None

    def authorize(
        self, method: bytes, target: bytes, headers: Headers, body: bytes, wall_ns: int
    ) -> list[tuple[bytes, bytes]]:
        """The headers to add: `x-amz-date`, `x-amz-security-token` when there is one, `authorization`.

        `target` is the request target exactly as it will be sent, `headers` what will be sent with it, `host`
        included; all of them are signed but those that never are. `wall_ns` is the wall time of this attempt.
        Raises ValueError when `host` is missing or a header is there that this function adds.
        """
        second = wall_ns // _SECOND_NS
        moment = self._moment
        if moment is None or second != moment.second:
            moment = self._moment = self._begin(second, moment)
        _, date, scope, inner, outer = moment
        key = (method, target, tuple([name for name, _ in headers]))
        plan = self._plans.get(key) or self._plan(key)
        values = [date if at < 0 else b" ".join(headers[at][1].split()) for at in plan.columns]
        canonical = plan.template % (*values, hashlib.sha256(body).hexdigest().encode())
        inner, outer = inner.copy(), outer.copy()
        inner.update(string_to_sign(date, scope, canonical))
        outer.update(inner.digest())
        authorization = b"%b Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
            ALGORITHM,
            self.credentials.access_key_id.encode(),
            scope,
            plan.signed,
            outer.hexdigest().encode(),
        )
        if self._token is None:
            return [(b"x-amz-date", date), (b"authorization", authorization)]
        return [
            (b"x-amz-date", date),
            (b"x-amz-security-token", self._token),
            (b"authorization", authorization),
        ]

    def _begin(self, second: int, before: _Moment | None) -> _Moment:
        """The date of this second, and the signing key of its day."""
        date = amz_date(second * _SECOND_NS)
        day = date[:8]
        if before is not None and before.scope.startswith(day):
            return before._replace(second=second, date=date)
        scope = b"/".join((day, self._region, self._service, b"aws4_request"))
        key = signing_key(self.credentials.secret_access_key, day, self._region, self._service)
        block = key.ljust(_SHA256_BLOCK_BYTES, b"\0")
        inner, outer = (hashlib.sha256(block.translate(pad)) for pad in (_INNER_PAD, _OUTER_PAD))
        return _Moment(second, date, scope, inner, outer)

    def _plan(self, key: tuple[bytes, bytes, tuple[bytes, ...]]) -> _Plan:
        method, target, names = key
        lower = [name.lower() for name in names]
        if b"host" not in lower:
            raise ValueError("a request without a host header cannot be signed")
        if not _ADDED.isdisjoint(lower):
            raise ValueError(f"already there: {_ADDED.intersection(lower)}")
        added = [(b"x-amz-date", b"")]
        if self._token is not None:
            added.append((b"x-amz-security-token", b""))
        signed = signable([*((name, b"") for name in lower), *added])
        lines: list[bytes] = []
        columns: list[int] = []
        for name in signed:
            if name == b"x-amz-security-token":
                lines.append(name + b":" + _escaped(b" ".join((self._token or b"").split())))
                continue
            places = [at for at, other in enumerate(lower) if other == name] or [-1]
            columns += places
            lines.append(_escaped(name) + b":" + b",".join([b"%b"] * len(places)))
        path, _, query = target.partition(b"?")
        before = [method, canonical_path(path), canonical_query(query)]
        after = [b"", _escaped(b";".join(signed)), b"%b"]
        template = b"\n".join([*map(_escaped, before), *lines, *after])
        if len(self._plans) >= _PLANS_MAX:
            self._plans.clear()
        plan = self._plans[key] = _Plan(template, tuple(columns), b";".join(signed))
        return plan


class Signers:
    """Signers, kept for all who sign with the same credentials: for the sessions of a process, say, each of
    which may sign one request and end. When credentials change, theirs replace the ones before.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], Signer] = {}

    def signer(self, credentials: Credentials, region: str, service: str) -> Signer:
        """Whoever signs with these credentials for this region and service."""
        key = (credentials.access_key_id, region, service)
        signer = self._kept.get(key)
        if signer is None or (signer.credentials is not credentials and signer.credentials != credentials):
            if len(self._kept) >= _SIGNERS_MAX:
                self._kept.clear()
            signer = self._kept[key] = Signer(credentials, region, service)
        return signer


def _escaped(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


_CREDENTIAL: Final = re.compile(
    rb"([!-+\--.0-~]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request"
)
_SIGNED_HEADERS: Final = re.compile(rb"[!#-+\--:<-@\[-~]+(;[!#-+\--:<-@\[-~]+)*")
_SIGNATURE: Final = re.compile(rb"[0-9a-f]{64}")


def parse_authorization(headers: Headers) -> Presented | None:
    """The signature presented in the request's headers; None when there is none of SigV4.

    Raises AuthorizationError when there is one that cannot be read.
    """
    presented = [value for name, value in headers if name.lower() == b"authorization"]
    if not any(value.startswith(ALGORITHM) for value in presented):
        return None
    if len(presented) > 1:
        raise AuthorizationError(VerifyResult.MALFORMED, "more than one Authorization header")
    scheme, _, parameters = presented[0].partition(b" ")
    parts = [part.strip().partition(b"=") for part in parameters.split(b",")]
    fields = {name: value for name, _, value in parts}
    credential = _CREDENTIAL.fullmatch(fields.pop(b"Credential", b""))
    names = fields.pop(b"SignedHeaders", b"")
    signature = fields.pop(b"Signature", b"")
    if scheme != ALGORITHM or fields or len(parts) != 3:
        raise AuthorizationError(VerifyResult.MALFORMED, "not AWS4-HMAC-SHA256 with its three parameters")
    if credential is None:
        raise AuthorizationError(
            VerifyResult.MALFORMED, "Credential is not key/day/region/service/aws4_request"
        )
    signed = tuple(names.split(b";"))
    if not _SIGNED_HEADERS.fullmatch(names) or list(signed) != sorted({name.lower() for name in signed}):
        raise AuthorizationError(VerifyResult.MALFORMED, "SignedHeaders is not lower case, sorted and unique")
    if not _SIGNATURE.fullmatch(signature):
        raise AuthorizationError(VerifyResult.MALFORMED, "Signature is not 64 hexadecimal digits")
    dates = [value.strip() for name, value in headers if name.lower() == b"x-amz-date"]
    if not dates:
        raise AuthorizationError(VerifyResult.MISSING_HEADER, "no x-amz-date")
    signed_at_ns = read_amz_date(dates[0])
    if len(dates) > 1 or signed_at_ns is None:
        raise AuthorizationError(VerifyResult.MALFORMED, "x-amz-date is not one date YYYYMMDDTHHMMSSZ")
    key_id, day, region, service = credential.groups()
    return Presented(key_id.decode(), day, region, service, signed, signature, dates[0], signed_at_ns)


class Verifier:
    """Verifies requests signed with one secret key; keeps the signing keys of scopes it has seen good use of.

    `services` are the signing names to accept; `unsigned_payload` allows signatures that leave the body out.
    """

    __slots__ = ("_keys", "_secret", "_services", "_unsigned_payload")

    def __init__(
        self, secret: Secret, *, services: Collection[bytes] = SERVICES, unsigned_payload: bool = False
    ) -> None:
        self._secret = secret
        self._services = services
        self._unsigned_payload = unsigned_payload
        self._keys: dict[bytes, bytes] = {}

    def verify(
        self,
        presented: Presented,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        wall_ns: int,
        skew_ns: int = SKEW_NS,
    ) -> VerifyResult:
        """Whether the secret's holder signed this request, within `skew_ns` of `wall_ns`.

        `target` and `headers` are as received; `presented` is what `parse_authorization` made of the headers.
        """
        claim = _check_claims(presented, headers, wall_ns, skew_ns, self._services)
        if claim is not VerifyResult.OK:
            return claim
        payload_hash = hashlib.sha256(body).hexdigest().encode()
        claimed = [value.strip() for name, value in headers if name.lower() == b"x-amz-content-sha256"]
        if claimed == [UNSIGNED_PAYLOAD]:
            if not self._unsigned_payload:
                return VerifyResult.UNSIGNED_PAYLOAD
            payload_hash = UNSIGNED_PAYLOAD
        elif claimed and claimed != [payload_hash]:
            return VerifyResult.BODY_MISMATCH
        canonical = canonical_request(method, target, headers, presented.signed_headers, payload_hash)
        scope = b"/".join((presented.day, presented.region, presented.service, b"aws4_request"))
        key = self._keys.get(scope) or signing_key(
            self._secret, presented.day, presented.region, presented.service
        )
        expected = hmac.digest(key, string_to_sign(presented.date, scope, canonical), "sha256").hex().encode()
        if not hmac.compare_digest(expected, presented.signature):
            return VerifyResult.BAD_SIGNATURE
        # Only now: a caller who cannot sign must not be able to push out the keys of those who can.
        if scope not in self._keys:
            if len(self._keys) >= _KEYS_MAX:
                self._keys.clear()
            self._keys[scope] = key
        return VerifyResult.OK


def verify(
    presented: Presented,
    secret: Secret,
    method: bytes,
    target: bytes,
    headers: Headers,
    body: bytes,
    wall_ns: int,
    skew_ns: int = SKEW_NS,
    *,
    services: Collection[bytes] = SERVICES,
    unsigned_payload: bool = False,
) -> VerifyResult:
    """`Verifier.verify`, once."""
    verifier = Verifier(secret, services=services, unsigned_payload=unsigned_payload)
    return verifier.verify(presented, method, target, headers, body, wall_ns, skew_ns)


def _check_claims(
    presented: Presented, headers: Headers, wall_ns: int, skew_ns: int, services: Collection[bytes]
) -> VerifyResult:
    """Everything that can be refused before the signature itself is computed."""
    if presented.day != presented.date[:8] or presented.service not in services:
        return VerifyResult.WRONG_SCOPE
    names = {name.lower() for name, _ in headers}
    signed = set(presented.signed_headers)
    if not signed <= names:
        return VerifyResult.MISSING_HEADER
    if any(name == b"host" or name.startswith(b"x-amz-") for name in names - signed):
        return VerifyResult.UNSIGNED_HEADER
    if wall_ns - presented.signed_at_ns > skew_ns:
        return VerifyResult.EXPIRED
    if presented.signed_at_ns - wall_ns > skew_ns:
        return VerifyResult.NOT_YET_VALID
    return VerifyResult.OK
