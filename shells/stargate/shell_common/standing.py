"""How things stand: what all sessions and flights of a process have been told, and whoever begins must be.

Credentials by their accounts, targets that are not healthy, the store's keys, and whether the process ends.
Of each only the last word counts.
"""

from collections.abc import Iterator
from typing import TypeAlias

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.messages import CredentialsChanged, Draining, HealthChanged, KeysChanged

Told: TypeAlias = CredentialsChanged | HealthChanged | KeysChanged | Draining


class Standing:
    """What was last told of everything."""

    def __init__(self) -> None:
        self.credentials: dict[str, Credentials | BearerToken | None] = {}
        """By the account's name."""
        self.draining: Draining | None = None
        self._health: dict[str, HealthChanged] = {}
        self._keys: KeysChanged | None = None

    def keep(self, told: Told) -> None:
        """This is told to all there are."""
        match told:
            case CredentialsChanged(account, credentials):
                self.credentials[account] = credentials
            case HealthChanged():
                told.keep_in(self._health)
            case KeysChanged():
                self._keys = told
            case Draining():
                self.draining = told

    def all(self) -> Iterator[Told]:
        """What one who begins must be told, in this order."""
        for account, credentials in tuple(self.credentials.items()):
            yield CredentialsChanged(account, credentials)
        yield from tuple(self._health.values())
        if self._keys is not None:
            yield self._keys
        if self.draining is not None:
            yield self.draining
