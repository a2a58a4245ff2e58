"""Directions: where a call may go, with whose authority, and how persistently.

A plugin gives an exchange one direction or several. They are tried in their order; what makes the next one
worth trying, and how long to wait before it, is `Persistence` and the fault table's business.
"""

import msgspec

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import SECOND
from stargate_core.dialects.face import Call, Target
from stargate_core.secret import Secret


class Role(msgspec.Struct, frozen=True):
    """A role to be assumed (STS AssumeRole), in another AWS account as a rule."""

    arn: str
    session_name: str = "stargate"
    external_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    """Session tags: keys and values."""
    duration_seconds: int = 3600


class Account(msgspec.Struct, frozen=True):
    """Whose credentials sign: where they are to be looked for. Described by the plan, found by the shell."""

    name: str
    """What directions call it: '' for the usual AWS chain's."""
    profile: str | None = None
    """A profile of the AWS configuration files; None: the usual chain."""
    role: Role | None = None
    """Assumed with the credentials of the profile, or of the usual chain."""
    region: str = ""
    """Where STS is asked."""


class BreakerPolicy(msgspec.Struct, frozen=True):
    """When a target is left alone, and how much may be repeated there."""

    failures: int = 10
    """Failures in a row that open its breaker; 0: however many."""
    ratio: float = 0.5
    """Or this share of the calls of `window_ns`, where they were `calls_min` at least; more than 1: never,
    and not for failing much more often than the others of its group either.
    """
    calls_min: int = 20
    window_ns: int = 30 * SECOND
    open_ns: int = 10 * SECOND
    """How long it is left alone the first time; doubled each time it fails its trial, up to `open_max_ns`."""
    open_max_ns: int = 120 * SECOND
    probes: int = 1
    """Calls on trial at a time, once that is over. As many must go well before it counts as healthy."""
    group: str = ""
    """The targets that can stand in for each other bear the same name of a group; '' is no group."""
    group_size: int = 1
    """How many they are."""
    ejected_max: float = 1.0
    """The greatest share of them that may be left alone at once; one always may."""
    retry_ratio: float = 0.2
    """The retry budget: repetitions as a share of first attempts …"""
    retry_min_per_second: int = 3
    """… and this many beside, so that a quiet target may be tried again too."""


class Direction(msgspec.Struct, frozen=True):
    """Where a call goes, with whose authority, and how long it may take."""

    endpoint: Endpoint
    target: Target
    region: str
    account: str = ""
    """Whose credentials: '' the usual AWS chain's, else the name of an account that the plan describes."""
    credentials: Credentials | None = None
    """Fixed credentials from the configuration, instead of an account's."""
    api_key: Secret | None = None
    """A Bedrock API key, sent as a bearer token instead of a signature."""
    total_ns: int | None = None
    """The limit on the whole exchange, where it is stricter than the gateway's."""
    name: str = ""
    """What the breaker, the log and the operator call this target."""
    breaker: BreakerPolicy = BreakerPolicy()


class Persistence(msgspec.Struct, frozen=True):
    """How often, and after how long, a call that failed before its first byte is made again."""

    count: int = 0
    """Attempts beside the first."""
    delay_ns: int = SECOND
    """The base of the backoff: before the n-th repetition at one target up to delay * 2**(n-1) is waited."""
    tell_attempts: bool = False
    """Whether answers bear a header that names the attempts."""


class Sharing(msgspec.Struct, frozen=True):
    """In what way an exchange's answer may be kept, and shared with others."""

    scope: str
    """Only those with the same scope share: a consumer's name, or '' for all."""
    ttl_us: int
    """How long a good answer is kept; 0: it is not."""
    max_age_us: int
    """How old a kept answer may be; 0: none is looked for."""
    share: bool = True
    """Whether to join a call that is being made already."""


class Order(msgspec.Struct, frozen=True):
    """A call whose answer may be kept, and shared by all who ask the same at the same time."""

    key: str
    """The SHA-256, in hexadecimal digits, of the canonical call and the scope in which it may be shared."""
    call: Call
    directions: tuple[Direction, ...]
    persistence: Persistence
    total_ns: int
    """How long the call may take, if it is made."""
    sharing: Sharing
    others: tuple[tuple[Target, Call], ...] = ()
    """The same call as composed for the other targets among the directions; one that is not there cannot be
    called.
    """
    request_id: str = ""
    """Of the exchange that orders it, for notes."""
