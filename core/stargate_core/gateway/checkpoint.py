"""Checkpoints: a session between two requests, as plain values, and made again from them.

A connection that is kept open may have been there for days, and what it was told in them is of no interest to
anybody who asks why its last request failed. Between two requests a session holds nothing of the past but
what stands here: how things were last told to be (credentials, health, keys, which configuration counts), and
how far its two sources of numbers have come. So a journal begins at a checkpoint, and what lies before it is
not kept.

It must be asked for where the session `is_quiet`, and not elsewhere: a part of a request is in the codec, or
an exchange in the air, and neither can be written down.

It is taken once for each request that is recorded, so it is cheap: nothing is copied that never changes.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.entropy import Entropy
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session, Timer, Waiting
from stargate_core.messages import HealthChanged
from stargate_core.secret import Private

_Kind = TypeVar("_Kind", bound=Session)


class Checkpoint(Private, msgspec.Struct, frozen=True):
    """A session between two requests."""

    generation: int
    """Of the configuration that counts from the next request on."""
    wall_epoch_ns: int
    seed: str
    """In hexadecimal digits."""
    drawn: int
    """How often the seed has been drawn from."""
    tickets: int
    """The last one that was given away."""
    client: str
    stalled: bool
    timers: tuple[int, int, int]
    """When each is due: the client's, the stall's, the grace's."""
    credentials: Mapping[str, Credentials | BearerToken | None]
    health: tuple[HealthChanged, ...]
    keys: Mapping[str, bytes]


def is_quiet(session: Session) -> bool:
    """Whether nothing of a next request has come, and none is being answered."""
    return type(session.state) is Waiting


def checkpoint(session: Session) -> Checkpoint:
    """The session as it is now; it must be quiet."""
    assert is_quiet(session), "a request is under way"
    timers, chance = session.timers, session.chance
    return Checkpoint(
        session.plan.generation,
        session.wall_epoch_ns,
        f"{chance.seed:x}",
        chance.count,
        session.tickets,
        session.client,
        session.stalled,
        (timers.when(Timer.CLIENT), timers.when(Timer.STALL), timers.when(Timer.GRACE)),
        session.authority.credentials,
        tuple(session.health.values()),
        session.keys,
    )


def resume(begun: Checkpoint, plans: Mapping[int, Plan], kind: type[_Kind]) -> _Kind:
    """A session that goes on from there. plans: by generation, the one that counts and those to come.

    kind: Session, or a kind of it that can be watched.
    """
    seed = int(begun.seed, 16)
    session = kind(
        plans[begun.generation],
        wall_epoch_ns=begun.wall_epoch_ns,
        seed=seed,
        now=0,
        client=begun.client,
        plans=plans,
    )
    session.chance = Entropy(seed, begun.drawn)
    session.tickets = begun.tickets
    session.stalled = begun.stalled
    for timer, when in enumerate(begun.timers):
        session.timers.arm(timer, when)
    for account, credentials in begun.credentials.items():
        session.authority.change(account, credentials)
    session.health = {health.target: health for health in begun.health}
    session.keys = begun.keys
    return session
