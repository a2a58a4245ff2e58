"""jwt-auth's config: whose tokens are believed, and who their holders are.

An issuer is believed for its own tokens only, as far as its entry goes: for these audiences, these
algorithms, with these keys. Everything that tokens could be confused by is settled here and not by the token
(RFC 8725, sections 3.1, 3.8, 3.9):

- An entry has either a secret or a place where public keys are found, and its algorithms are of that kind: a
  public key can never serve as a secret.
- A secret is as long as its algorithm's digest at least (RFC 7518, section 3.2).
- An audience is required, so a token made for somebody else opens nothing here.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.addresses import is_local, parse_address
from stargate_core.config.problems import Misfit, refuse
from stargate_core.config.schema import HeaderName, Text
from stargate_core.secret import Secret

Algorithm: TypeAlias = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip

DIGEST_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms with a secret, and the least length of one."""
_DEFAULT_WITH_KEYS: Final[tuple[Algorithm, ...]] = ("RS256", "PS256", "ES256", "EdDSA")
_DEFAULT_WITH_SECRET: Final[tuple[Algorithm, ...]] = ("HS256",)


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whose tokens are believed."""

    issuer: Annotated[str, Meta(min_length=1, max_length=2048)]
    """The claim `iss`, to the letter."""
    audience: Text | Annotated[list[Text], Meta(min_length=1)]
    """The claim `aud` names this, or one of these."""
    jwks_url: Annotated[str, Meta(max_length=2048)] | None = None
    """Where the issuer's public keys are: https://…, or file:/path."""
    secret: Secret | None = None
    """Or the secret that its signatures are made with."""
    algorithms: Annotated[list[Algorithm], Meta(max_length=len(DIGEST_BYTES) + 10)] = field(
        default_factory=list[Algorithm]
    )
    """Those that are accepted. Empty: RS256, PS256, ES256 and EdDSA; with a secret HS256."""
    leeway_seconds: Annotated[int, Meta(ge=0, le=300)] = 30
    """How far the issuer's clock may be from ours."""
    consumer_claim: Text = "sub"
    """The claim that says who the holder is: a consumer's username or custom_id, or a name in `consumers`."""
    consumers: dict[Annotated[str, Meta(min_length=1, max_length=256)], Text] = field(
        default_factory=dict[str, str]
    )
    """What the claim says, to the username that is meant. What is not here is taken as it is."""
    consumer: Text | None = None
    """The consumer that everybody with such a token is, whatever the claim says."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if (self.jwks_url is None) == (self.secret is None):
            yield Misfit("", "expected exactly one of jwks_url and secret")
            return
        if self.jwks_url is not None and not _leads_to_keys(self.jwks_url):
            # The URL isn't quoted, it may hold a password.
            yield Misfit("jwks_url", "expected https://host/path without a user or a fragment, or file:/path")
        for index, algorithm in enumerate(self.algorithms):
            if (algorithm in DIGEST_BYTES) != (self.secret is not None):
                kind = "HS256, HS384 or HS512" if self.secret is not None else "one with a public key"
                yield Misfit(("algorithms", index), f"expected {kind}", algorithm, beside=("secret",))
        if self.secret is not None:
            needed = max(DIGEST_BYTES.get(algorithm, 0) for algorithm in self.accepted)
            if len(self.secret.reveal().encode()) < needed:
                yield Misfit("secret", f"expected at least {needed} bytes", beside=("algorithms",))
        if self.consumer is not None and self.consumers:
            yield Misfit("consumer", "expected either consumer or consumers, not both")

    @property
    def accepted(self) -> tuple[Algorithm, ...]:
        """The algorithms that are accepted."""
        default = _DEFAULT_WITH_SECRET if self.secret is not None else _DEFAULT_WITH_KEYS
        return tuple(self.algorithms) or default

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences, one or several."""
        return (self.audience,) if isinstance(self.audience, str) else tuple(self.audience)


class JwtAuth(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling, by a token that an identity provider has signed."""

    issuers: Annotated[list[Issuer], Meta(max_length=64)] = field(default_factory=list[Issuer])
    header_names: Annotated[list[HeaderName], Meta(min_length=1, max_length=16)] = field(
        default_factory=lambda: ["authorization", "x-api-key", "api-key"]
    )
    """The headers a token may come in, in any case. `authorization` carries it as `Bearer TOKEN`."""
    token_bytes_max: Annotated[int, Meta(ge=256, le=65_536)] = 8192
    """Longer ones are refused unread."""
    realm: Annotated[str, Meta(max_length=256, pattern=r'^[^"\\\x00-\x1f\x7f]*\Z')] = "stargate"
    """Named in WWW-Authenticate."""


def _leads_to_keys(url: str) -> bool:
    """Whether keys may be fetched there: over TLS, from a file, or from this very machine."""
    if re.fullmatch(r"file:(//)?/(?!/)[^\s?#]+", url):
        return True
    found = re.fullmatch(r"(https?)://([^\s/?#@]+)(/[^\s#]*)?", url)
    if found is None:
        return False
    host = found[2]
    try:
        address = parse_address(host if re.search(r":[0-9]+\Z", host) else f"{host}:443")
    except Misfit:
        return False
    return found[1] == "https" or is_local(address)
