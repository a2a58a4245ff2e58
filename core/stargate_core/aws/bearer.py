"""Bearer tokens: Bedrock API keys, an alternative to signing.

A call bears `Authorization: Bearer KEY` and neither date nor signature; hosts and paths are the same. Keys
of long life begin with `ABSK`, those of short life are a presigned URL in disguise and die with the session
that made them; for us both are opaque.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html
"""

import msgspec

from stargate_core.aws.canonical import Headers
from stargate_core.secret import Secret


class BearerToken(msgspec.Struct, frozen=True, tag=True):
    """A Bedrock API key, in the place of credentials."""

    token: Secret
    expires_at_ns: int | None = None
    """Wall time in nanoseconds; None when that is not known."""


class Bearer:
    """Authorizes with a token. Has the face of a `Signer`."""

    __slots__ = ("_header",)

    def __init__(self, token: Secret) -> None:
        self._header = (b"authorization", b"Bearer " + token.reveal().encode())

    def authorize(
        self, method: bytes, target: bytes, headers: Headers, body: bytes, wall_ns: int
    ) -> list[tuple[bytes, bytes]]:
        """The headers to add: the same for every call."""
        return [self._header]
