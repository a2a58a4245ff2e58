"""What requests are signed with, and what a signature claims to have been made with, as values.

Signing and verifying are `sigv4`. Secrets are of a type that nothing prints.
"""

import enum

import msgspec

from stargate_core.secret import Secret


class Credentials(msgspec.Struct, frozen=True, tag=True):
    """AWS credentials, of long or short life."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None
    expires_at_ns: int | None = None
    """Wall time in nanoseconds; None when they do not expire."""


class Presented(msgspec.Struct, frozen=True):
    """What a caller's Authorization header says. Nothing of it is proven until `verify`."""

    access_key_id: str
    day: bytes
    region: bytes
    service: bytes
    signed_headers: tuple[bytes, ...]
    signature: bytes
    date: bytes
    """The `x-amz-date`, and the wall time it names."""
    signed_at_ns: int


class VerifyResult(enum.Enum):
    """What became of a signature presented to us."""

    OK = "OK"
    MALFORMED = "MALFORMED"
    """The Authorization header or the date cannot be read."""
    MISSING_HEADER = "MISSING_HEADER"
    """A header that was signed, or must be there, is not."""
    UNSIGNED_HEADER = "UNSIGNED_HEADER"
    """`host`, or an `x-amz-*` header that is there, was not signed."""
    WRONG_SCOPE = "WRONG_SCOPE"
    """Signed for another day or service, or not for AWS4."""
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    BODY_MISMATCH = "BODY_MISMATCH"
    """The body is not the one `x-amz-content-sha256` names, or that is not a hash."""
    UNSIGNED_PAYLOAD = "UNSIGNED_PAYLOAD"
    """The body is left out of the signature, and that is not allowed here."""
    BAD_SIGNATURE = "BAD_SIGNATURE"


class AuthorizationError(ValueError):
    """An Authorization header of SigV4 that cannot be read. `result` says why."""

    def __init__(self, result: VerifyResult, detail: str) -> None:
        super().__init__(detail)
        self.result = result
