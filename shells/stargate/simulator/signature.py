"""Who sent this request? The check of AWS Signature Version 4, and of Bedrock's API keys.

The signature is computed by botocore's own `SigV4Auth` over the request as it arrived, not by this
project's signer: a mistake in our signer must not be able to hide behind the same mistake in its judge.

What AWS checks, in AWS's words: that the header can be read; that the scope is this region, this service
(`bedrock`, and for the vendors' APIs at their own host `bedrock-mantle`) and the date's day; that `host` and
a session token are among the signed headers; that the date is within five minutes of now; that the key is
known and its session token good; at last the signature. The refusal of a wrong signature quotes the canonical
request, as AWS's does (so that a gateway which relays that text, and leaks the request, is found out).

Sources: botocore/auth.py; IAM User Guide, "Troubleshoot Signature Version 4 signing for AWS API requests".
"""

import datetime
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from botocore.auth import SigV4Auth
from botocore.credentials import Credentials

from stargate.simulator.errors import API_KEY_DENIED, Refusal, refuse
from stargate.simulator.settings import EXPIRED_SESSION_TOKEN, Credential, Settings
from stargate_core.secret import Secret

SERVICE: Final = "bedrock"
MANTLE: Final = "bedrock-mantle"
"""The name that the vendors' APIs at a host of their own are signed under."""
_VENDOR_PATHS: Final = (b"/openai/v1/", b"/v1/", b"/anthropic/v1/")
"""Paths that are served at both hosts."""
_SKEW_SECONDS: Final = 300
_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_TIMESTAMP_SHAPE: Final = re.compile(r"\d{8}T\d{6}Z")
_PARAMETERS: Final = ("Credential", "SignedHeaders", "Signature")
_API_KEY_PREFIXES: Final = ("ABSK", "bedrock-api-key-")


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who a request is from, once it is proven."""

    scheme: str
    """`sigv4` or `bearer`."""
    access_key_id: str = ""
    signing_name: str = ""


def signing_names(target: bytes) -> tuple[str, ...]:
    """The names that a request for this may be signed under: one simulator plays both hosts."""
    return (SERVICE, MANTLE) if target.startswith(_VENDOR_PATHS) else (SERVICE,)


def verify(
    settings: Settings,
    method: bytes,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    wall_ns: int,
) -> Identity:
    """Prove who sent the request; `headers` are as received, names in lower case.

    Raises Refusal with the error that AWS would answer with.
    """
    by_name: dict[str, list[str]] = {}
    for name, value in headers:
        by_name.setdefault(name.decode("ascii").lower(), []).append(_text(value))
    authorization = by_name.get("authorization")
    if authorization is None and target.startswith(_VENDOR_PATHS):
        # Anthropic's SDKs have a header of their own for a key.
        authorization = [f"Bearer {key}" for key in by_name.get("x-api-key", [])] or None
    if authorization is None:
        raise refuse("MissingAuthenticationTokenException")
    if len(authorization) > 1:
        raise refuse("IncompleteSignatureException", "Authorization header occurs more than once.")
    scheme, _, rest = authorization[0].strip().partition(" ")
    if scheme.lower() == "bearer":
        return _check_api_key(settings, rest.strip())
    if scheme != "AWS4-HMAC-SHA256":
        raise refuse("IncompleteSignatureException", f"Unsupported AWS 'algorithm': '{scheme}'.")
    claim = _Claim.parse(rest, authorization[0], by_name)
    claim.check_scope(settings, signing_names(target))
    claim.check_date(wall_ns)
    credential = _check_key(settings, claim)
    _check_signature(settings, claim, credential, _AsReceived(settings, method, target, claim, body))
    return Identity("sigv4", claim.access_key_id, claim.service)


def _check_api_key(settings: Settings, key: str) -> Identity:
    if any(known.matches(key) for known in settings.api_keys):
        return Identity("bearer")
    if not key.startswith(_API_KEY_PREFIXES):
        message = "Invalid API Key format: Must start with pre-defined prefix"
        raise Refusal(msgspec.structs.replace(API_KEY_DENIED, message=message))
    raise Refusal(API_KEY_DENIED)


class _Claim(msgspec.Struct, frozen=True):
    """What the Authorization header says, and the headers it says it covers."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_names: tuple[str, ...]
    signature: str
    timestamp: str
    headers: dict[str, list[str]]

    @classmethod
    def parse(cls, parameters: str, whole: str, headers: dict[str, list[str]]) -> "_Claim":
        found: dict[str, str] = {}
        for part in parameters.split(","):
            name, _, value = part.strip().partition("=")
            found[name] = value
        missing = [name for name in _PARAMETERS if not found.get(name)]
        if missing:
            needs = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
            raise refuse("IncompleteSignatureException", f"{needs} (Hashed with SHA-256: '{_sha256(whole)}')")
        timestamps = headers.get("x-amz-date", [])
        if len(timestamps) != 1:
            message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
            raise refuse("IncompleteSignatureException", message)
        if _TIMESTAMP_SHAPE.fullmatch(timestamps[0]) is None:
            message = f"Date must be in ISO-8601 'basic format'. Got '{timestamps[0]}'."
            raise refuse("IncompleteSignatureException", message)
        scope = found["Credential"].split("/")
        if len(scope) != 5 or scope[4] != "aws4_request":
            message = (
                "Credential must have exactly 5 slash-delimited elements, e.g. "
                f"keyid/date/region/service/term, got '{found['Credential']}'"
            )
            raise refuse("IncompleteSignatureException", message)
        names = tuple(found["SignedHeaders"].lower().split(";"))
        key_id, date, region, service, _ = scope
        return cls(key_id, date, region, service, names, found["Signature"], timestamps[0], headers)

    def check_scope(self, settings: Settings, services: tuple[str, ...]) -> None:
        """Refuse a scope that is not ours, and a signature that leaves out what must be signed."""
        problems: list[str] = []
        if self.region != settings.region:
            problems.append(f"Credential should be scoped to a valid region, not '{self.region}'. ")
        if self.service not in services:
            problems.append(f"Credential should be scoped to correct service: '{services[0]}'. ")
        if self.date != self.timestamp[:8]:
            problems.append(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{self.date}' != '{self.timestamp[:8]}', from '{self.timestamp}'."
            )
        if "host" not in self.signed_names:
            problems.append("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
        unsigned = [
            n
            for n in ("x-amz-date", "x-amz-security-token")
            if n in self.headers and n not in self.signed_names
        ]
        if unsigned:
            problems.append(
                f"There were headers present in the request which were not signed: {', '.join(unsigned)}"
            )
        if problems:
            raise refuse("InvalidSignatureException", "".join(problems))

    def check_date(self, wall_ns: int) -> None:
        """Refuse a date more than five minutes from now, either way."""
        now = datetime.datetime.fromtimestamp(wall_ns // 1_000_000_000, datetime.UTC)
        try:
            signed = datetime.datetime.strptime(self.timestamp, _TIMESTAMP).replace(tzinfo=datetime.UTC)
        except ValueError:
            message = f"Date must be in ISO-8601 'basic format'. Got '{self.timestamp}'."
            raise refuse("IncompleteSignatureException", message) from None
        skew = datetime.timedelta(seconds=_SKEW_SECONDS)
        if signed < now - skew:
            message = (
                f"Signature expired: {self.timestamp} is now earlier than {now - skew:{_TIMESTAMP}} "
                f"({now:{_TIMESTAMP}} - 5 min.)"
            )
        elif signed > now + skew:
            message = (
                f"Signature not yet current: {self.timestamp} is still later than {now + skew:{_TIMESTAMP}} "
                f"({now:{_TIMESTAMP}} + 5 min.)"
            )
        else:
            return
        raise refuse("InvalidSignatureException", message)


def _check_key(settings: Settings, claim: _Claim) -> Credential:
    tokens = claim.headers.get("x-amz-security-token", [])
    if EXPIRED_SESSION_TOKEN in tokens:
        raise refuse("ExpiredTokenException")
    for credential in settings.credentials:
        if credential.access_key_id != claim.access_key_id:
            continue
        match credential.session_token, tokens:
            case None, []:
                return credential
            case Secret() as expected, [token] if expected.matches(token):
                return credential
            case _:
                pass
    raise refuse("UnrecognizedClientException")


class _SignedHeaders(dict[str, list[str]]):
    """The signed headers, as much of an HTTPMessage as botocore's signer reads."""

    def get_all(self, name: str) -> list[str]:
        return self[name]


class _AsReceived:
    """The request as it arrived, as much of an AWSRequest as botocore's signer reads."""

    def __init__(self, settings: Settings, method: bytes, target: bytes, claim: _Claim, body: bytes) -> None:
        self.method = method.decode("ascii")
        # The authority does not enter the canonical request; the `host` header does.
        self.url = f"{settings.scheme}://simulator{_text(target)}"
        # botocore takes a body hash from this header on trust; whether it is true is checked here.
        claimed = claim.headers.get("x-amz-content-sha256")
        self.headers = {"X-Amz-Content-SHA256": claimed[0]} if claimed else {}
        self.signed_headers = _SignedHeaders(
            (name, claim.headers.get(name, [""])) for name in claim.signed_names
        )
        self.params: dict[str, str] = {}
        self.body = body
        self.context: dict[str, Any] = {"timestamp": claim.timestamp}


class _Judge(SigV4Auth):
    """botocore's signer, told which headers the client has signed rather than choosing them itself."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.signed_headers


def _check_signature(settings: Settings, claim: _Claim, credential: Credential, request: Any) -> None:
    secret = credential.secret_access_key.reveal()
    judge: Any = _Judge(Credentials(claim.access_key_id, secret), claim.service, settings.region)
    canonical: str = judge.canonical_request(request)
    to_sign: str = judge.string_to_sign(request, canonical)
    expected: str = judge.signature(to_sign, request)
    body_hash = request.headers.get("X-Amz-Content-SHA256")
    honest = body_hash is None or body_hash == hashlib.sha256(request.body).hexdigest()
    if hmac.compare_digest(expected.encode(), claim.signature.encode()) and honest:
        return
    message = (
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key "
        "and signing method. Consult the service documentation for details.\n\n"
        f"The Canonical String for this request should have been\n'{canonical}'\n\n"
        f"The String-to-Sign should have been\n'{to_sign}'\n"
    )
    raise refuse("InvalidSignatureException", message)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: bytes) -> str:
    """A header's value, or the target, as text: UTF-8 if it is that, else byte for byte."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
