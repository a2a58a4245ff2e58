"""What requests are signed with, and what a signature claims to have been made with, as values.

Signing and verifying are `sigv4`. Secrets are of a type that nothing prints.
"""

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
