"""Questions: what an exchange asks of the process it runs in, and what it merely tells.

A *question* has one answer and somebody who waits for it, a *statement* has neither. What a session knows of
the world outside its own connection, it knows from such answers: nothing is shared by reference, so a
journal of a session holds all it was ever told. Who answers is the shell's to route, by type: the store
(memory or Redis), the breaker, the verifier of tokens, the keeper of credentials, the fetcher of URLs, the
scout for models.
"""

from typing import ClassVar, TypeAlias

import msgspec

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.dialects.face import Fetched
from stargate_core.direction import BreakerPolicy
from stargate_core.limits.buckets import Charge, Claim, Verdict
from stargate_core.secret import Private, Secret

# ------------------------------------------------------------------------------------------------- the store


class Take(msgspec.Struct, frozen=True, tag=True):
    """Take from all these buckets, or from none. Answer: Verdict."""

    claims: tuple[Claim, ...]
    lease: str
    """What is taken from CONCURRENT buckets is held under this name; unique."""
    lease_us: int
    """For how long, unless it is settled before."""
    local: bool = False
    """Of this process's own store, though there is a shared one."""


class Settle(msgspec.Struct, frozen=True, tag=True):
    """A statement: this is what was really used of what was taken."""

    charges: tuple[Charge, ...]
    lease: str
    at_us: int
    """The Verdict's."""
    local: bool = False
    """Where it was taken."""


class ReadEntry(msgspec.Struct, frozen=True, tag=True):
    """What is kept under a key. Answer: Entry, or None where there is nothing."""

    key: str


class Entry(Private, msgspec.Struct, frozen=True, tag=True):
    """Something kept."""

    value: bytes
    age_us: int
    """How long ago it was written."""


class WriteEntry(Private, msgspec.Struct, frozen=True, tag=True):
    """A statement: keep this for `ttl_us`."""

    SHOWN: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    value: bytes
    ttl_us: int


class ReadKeys(msgspec.Struct, frozen=True, tag=True):
    """The keys that live in the store, unless they are still those of `version`. Answer: Keys, or None."""

    version: str


class Keys(msgspec.Struct, frozen=True, tag=True):
    """All keys of the store: each one's SHA-256 in lower-case hexadecimal digits to its JSON."""

    version: str
    entries: dict[str, bytes]


StoreQuestion: TypeAlias = Take | ReadEntry | ReadKeys
StoreStatement: TypeAlias = Settle | WriteEntry
StoreAnswer: TypeAlias = Verdict | Entry | Keys | None

# ----------------------------------------------------------------------------------------------- the breaker


class Turn(msgspec.Struct, frozen=True, tag=True):
    """May a call be made at this target now: a repetition, or the first one at a target on trial?
    Answer: bool.
    """

    target: str
    policy: BreakerPolicy
    repeats: bool


class CallEnded(msgspec.Struct, frozen=True, tag=True):
    """A statement: how a call at a target went, as far as the target's health is concerned."""

    target: str
    policy: BreakerPolicy
    ok: bool
    """Failed only where the target is to blame: not by what it thought of the request, nor by the caller."""
    first: bool
    """The exchange's first attempt: these pay into the retry budget."""


# ---------------------------------------------------------------------------------- the verifier, the keeper


class VerifyToken(Private, msgspec.Struct, frozen=True, tag=True):
    """Has the holder of one of this issuer's keys signed that? Answer: str, '' for yes, else why not."""

    SHOWN: ClassVar[tuple[str, ...]] = ("algorithm",)

    jwks_url: str
    """https://…, or file:/path."""
    algorithm: str
    """RS256 and its like, ES256 and its like, EdDSA."""
    key_id: str
    """The token's `kid`; '' if it has none."""
    signed: bytes
    signature: bytes


class RefreshCredentials(msgspec.Struct, frozen=True, tag=True):
    """AWS says that these are no good: find newer ones. Answer: True once they were looked for, and the
    session has been told of them.
    """

    account: str
    access_key_id: str
    """The ones AWS refused: where others have come since, there is nothing to be done."""


# ------------------------------------------------------------------------------------- the fetcher, the scout


class FetchUrl(Private, msgspec.Struct, frozen=True, tag=True):
    """What is at this http(s) URL, which a caller has named? It is fetched from public addresses only, and
    never with anybody's authority. Answer: Fetched; str: why not, in words for the caller.
    """

    url: str
    bytes_max: int
    timeout_ns: int
    """For the whole of it, redirects included."""
    hosts: tuple[str, ...]
    """Globs of the hosts that may be asked."""
    plain: bool = False
    """Whether http without TLS will do."""


class ListModels(Private, msgspec.Struct, frozen=True, tag=True):
    """Which models and inference profiles may be called in this region? Answer: Models; unanswered where
    AWS does not say.
    """

    endpoint: Endpoint
    """Of Bedrock's control plane."""
    account: str
    credentials: Credentials | None
    """Fixed ones, instead of the account's."""
    api_key: Secret | None
    kept_ns: int
    """How old an answer may be."""


class Models(msgspec.Struct, frozen=True, tag=True):
    """The ids of text and embedding models and inference profiles, in the order AWS names them."""

    ids: tuple[str, ...]


Question: TypeAlias = StoreQuestion | Turn | VerifyToken | RefreshCredentials | FetchUrl | ListModels
Statement: TypeAlias = StoreStatement | CallEnded
Answer: TypeAlias = StoreAnswer | bool | str | Fetched | Models
