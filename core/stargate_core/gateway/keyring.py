"""The keyring: the keys that live in the store, as far as this process knows them.

Keys that are added or revoked while the gateway runs live in the shared store. One keyring a process asks for
them, and tells all sessions when they have changed, so a request finds its key at hand and waits for nothing.

- The store is asked for all keys at once, every `interval_ns` from its last answer, and answers with nothing
  where they are still those of the version that is known here. So a change takes effect within that interval
  everywhere, and costs one small question a second otherwise.
- Where the store does not answer, the keys last known stay: a store that is down must lock nobody out. Nor
  does the keyring say anything about that: whoever speaks to the store tells of it already. A revocation
  waits until the store is back.
- An answer that never comes is not waited for: after `patience_ns` the question is asked again. One that
  comes late is as good as any.
- More keys than `keys_max` are not taken, and that is told once: a store that somebody else has filled must
  not fill this process. The old ones stay until there are fewer again.

It is bookkeeping rather than a life-cycle, so it has methods for its events and no table of states.
"""

from typing import Final

from stargate_core.clock import SECOND
from stargate_core.messages import (
    AskKeys,
    KeyringCommand,
    KeyringEvent,
    KeysChanged,
    KeysRead,
    KeysUnread,
    Note,
    TellKeys,
    Ticked,
)
from stargate_core.questions import Keys

INTERVAL_NS: Final = SECOND
PATIENCE_NS: Final = 10 * SECOND
KEYS_MAX: Final = 100_000
"""Some 30 MB of entries; a team with more keys than that has an identity provider (jwt-auth)."""


class Keyring:
    """Knows the keys of the store.

    now: monotonic nanoseconds; the store is asked for the first time right then.
    """

    def __init__(
        self,
        now: int,
        *,
        interval_ns: int = INTERVAL_NS,
        patience_ns: int = PATIENCE_NS,
        keys_max: int = KEYS_MAX,
    ) -> None:
        self._interval_ns = interval_ns
        self._patience_ns = patience_ns
        self._keys_max = keys_max
        self._version = ""
        self._has_complained = False
        self._due = now

    def handle(self, now: int, event: KeyringEvent) -> list[KeyringCommand]:
        """Take in a fact; what is to be done about it."""
        match event:
            case Ticked():
                if now < self._due:
                    return []
                self._due = now + self._patience_ns
                return [AskKeys(self._version)]
            case KeysUnread():
                self._due = now + self._interval_ns
                return []
            case KeysRead(keys):
                self._due = now + self._interval_ns
                return [] if keys is None or keys.version == self._version else self._changed(keys)

    @property
    def deadline(self) -> int:
        """When the store is to be asked, for the first time or again."""
        return self._due

    def _changed(self, keys: Keys) -> list[KeyringCommand]:
        self._version = keys.version
        number = len(keys.entries)
        if number > self._keys_max:
            if self._has_complained:
                return []
            self._has_complained = True
            text = f"keys: {number} live in the store, more than {self._keys_max}: the ones before stay"
            return [Note("error", text)]
        self._has_complained = False
        text = f"keys: {number} {'lives' if number == 1 else 'live'} in the store"
        return [TellKeys(KeysChanged(keys.entries)), Note("info", text)]
