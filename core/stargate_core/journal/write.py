"""Writing: from a life to the bytes of a journal.

    1. Secrets become placeholders, in the configuration, in what the machine was told, in callers' bytes.
    2. What callers showed to be let in becomes something else of the same length; and what people said, if it
       is to be redacted.
    3. The result is lived, once, here and now.

The third step is what makes a journal trustworthy. A signature over other bytes is another signature, so the
folds of life are not those of the journal; it gets its own. And whether it still tells the same story is not
hoped for but tried: its shape is compared with life's, event by event. Where they part, the journal is
written nevertheless and says where: up to there it is as good as any.

All of it is done where nobody waits for it: it takes as long as the life took, without the waiting.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from stargate_core.entropy import Entropy
from stargate_core.journal.configurations import plans_of, written
from stargate_core.journal.digests import shape, shape_digest
from stargate_core.journal.format import (
    Encoder,
    Entry,
    FlightBeginning,
    Header,
    Journal,
    SessionBeginning,
    Trailer,
)
from stargate_core.journal.live_keys import only_shown
from stargate_core.journal.lives import Life
from stargate_core.journal.living import Living
from stargate_core.journal.machines import made
from stargate_core.journal.placeholders import Placeholders
from stargate_core.journal.redact import without_credentials
from stargate_core.journal.redact.verdicts import Verdicts, judged
from stargate_core.secret import Secret
from stargate_core.views import Plugin

Redact: TypeAlias = Callable[[Header, list[Entry], Verdicts], tuple[Header, list[Entry]]]
"""Takes away what people said, and keeps every length."""


def journal_of(
    life: Life,
    *,
    package: str,
    plugins: Mapping[str, type[Plugin]],
    redact: Redact | None,
    expires_at: str = "",
) -> Journal:
    """The journal of a life. redact: None where an operator wants it as it was, but for secrets and
    credentials.

    Raises Unreadable where the configuration can't be written down so that it can be read again.
    """
    secret = Placeholders()
    encoder = Encoder(secret)
    header, entries = only_shown(*_taken_down(life, secret, package, expires_at), secret.in_place)
    verdicts = judged(header, entries, secret.behind)
    header = encoder.again(header, Header)
    entries = secret.in_bytes([encoder.again(entry, Entry) for entry in entries])
    if redact is None:
        header, entries = without_credentials(header, entries, verdicts, secret)
    else:
        header, entries = redact(header, entries, verdicts)
        header = msgspec.structs.replace(header, redacted=True)
    return lived(header, entries, plugins)


def lived(
    header: Header, entries: list[Entry], plugins: Mapping[str, type[Plugin]], *, anew: bool = False
) -> Journal:
    """The journal of these, with the folds that they have when they are lived now. Raises Unreadable.

    anew: what happens now counts, and not what happened in life: it is the next one's measure.
    """
    living = Living(made(header.beginning, plans_of(header, plugins)), entries)
    again: list[Entry] = []
    diverged_at: int | None = None
    for step in living:
        entry = step.entry
        if anew:
            entry = msgspec.structs.replace(entry, shape=step.shape, raised=step.raised)
        elif diverged_at is None and (step.shape, step.raised) != (entry.shape, entry.raised):
            diverged_at = step.number
        again.append(msgspec.structs.replace(entry, fold=step.fold))
    # Where the machine fails only now, the rest can't be lived; it was heard all the same.
    if not anew:
        again += entries[len(again) :]
    trailer = Trailer(
        entries=len(again),
        commands=living.digest.commands,
        fingerprint=living.digest.fingerprint,
        shape=shape_digest(entry.shape for entry in again),
        diverged_at=diverged_at,
    )
    return Journal(header, again, trailer)


def encoded(journal: Journal) -> bytes:
    """A journal's bytes. Its Secrets are placeholders by now, and are written as they are."""
    return Encoder(Secret.reveal).journal(journal)


def request_of(life: Life) -> str:
    """The id of the request that a life is about."""
    if life.failed is not None:
        return life.failed.request_id
    if isinstance(life.beginning, SessionBeginning):
        begun = life.beginning.checkpoint
        # The first thing that is drawn for a request is its id.
        return Entropy(int(begun.seed, 16), begun.drawn).request_id()
    if isinstance(life.beginning, FlightBeginning):
        return life.beginning.order.request_id
    return ""


def _taken_down(
    life: Life, secret: Placeholders, package: str, expires_at: str
) -> tuple[Header, list[Entry]]:
    """The life as frames. But for the configuration's, its secrets are still in them."""
    configurations = {
        generation: written(config, secret) for generation, config in sorted(life.configs.items())
    }
    header = Header(
        package=package,
        beginning=life.beginning,
        began_ns=life.began_ns,
        configurations=configurations,
        request_id=request_of(life),
        cause=life.raised or (life.failed.cause if life.failed is not None else ""),
        expires_at=expires_at,
    )
    entries = [Entry(now, event, shape=shape(commands)) for now, event, commands in life.entries]
    if life.raised:
        entries[-1] = msgspec.structs.replace(entries[-1], raised=life.raised)
    return header, entries
