"""Replay: living a journal again, and comparing each step with what it says.

Where it parts from the journal for the first time, it stops: all that comes later may be a consequence. The
journal does not hold what was ordered then, but the shape of it, so both sides can be told.
"""

from collections.abc import Mapping

import msgspec

from stargate_core.gateway.session import Session
from stargate_core.journal.configurations import plans_of
from stargate_core.journal.format import Journal
from stargate_core.journal.living import Living, Step, check
from stargate_core.journal.machines import Machine, made
from stargate_core.views import Plugin


class Divergence(msgspec.Struct, frozen=True):
    """Where a replay has parted from its journal."""

    step: Step
    why: str
    """In words: which two things differ."""

    @property
    def number(self) -> int:
        """Of the entry, counted from 0."""
        return self.step.number


class Verdict(msgspec.Struct, frozen=True):
    """How a replay went."""

    entries: int
    """How many were lived, the one at which it parted included."""
    commands: int
    fingerprint: str
    """Of what was ordered so far."""
    divergence: Divergence | None
    """None: it was the same from beginning to end."""


def machine_of(
    journal: Journal, plugins: Mapping[str, type[Plugin]], kind: type[Session] = Session
) -> Machine:
    """The machine that a journal is of, as it began. kind: of a session. Raises Unreadable."""
    check(journal.header, journal.entries)
    return made(journal.header.beginning, plans_of(journal.header, plugins), kind)


def replay(journal: Journal, plugins: Mapping[str, type[Plugin]]) -> Verdict:
    """Live a journal again, up to the first divergence. Raises Unreadable."""
    living = Living(machine_of(journal, plugins), journal.entries)
    divergence: Divergence | None = None
    entries = 0
    for step in living:
        entries += 1
        why = difference(step)
        if why:
            divergence = Divergence(step, why)
            break
    return Verdict(entries, living.digest.commands, living.digest.fingerprint, divergence)


def difference(step: Step) -> str:
    """In what a step differs from its entry; empty: in nothing."""
    entry = step.entry
    if step.raised != entry.raised:
        then, now = entry.raised or "nothing", step.raised or "nothing"
        return f"then the machine raised {then}, and now {now}"
    if step.fold == entry.fold:
        return ""
    if step.shape != entry.shape:
        then, now = "; ".join(entry.shape) or "nothing", "; ".join(step.shape) or "nothing"
        return f"then it ordered {then}; now {now}"
    return f"it orders the same ({'; '.join(step.shape) or 'nothing'}) with other contents"
