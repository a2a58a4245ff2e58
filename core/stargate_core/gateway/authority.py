"""Authority: who signs for which direction, with the credentials last told.

Credentials come in as facts, by the name of their account, and change while calls are made. A signer keeps a
day's key and more that can be kept, so all sessions of a plan have theirs from one place. Most connections
call one model in one region: the last signer is remembered beside the table.

Fixed credentials and API keys of the configuration need no telling.
"""

from collections.abc import Mapping

from stargate_core.aws.bearer import Bearer, BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.sigv4 import Signers
from stargate_core.direction import Direction
from stargate_core.gateway.upstream import Authorizer


class Authority:
    """The credentials of a session or a flight. kept: the signers that it shares with others."""

    __slots__ = ("_kept", "_last_direction", "_last_signer", "_signers", "credentials")

    def __init__(self, kept: Signers) -> None:
        self._kept = kept
        self.credentials: Mapping[str, Credentials | BearerToken | None] = {}
        """What was last told of each account. Another one when it changes, so it can be kept as it is."""
        self._signers: dict[tuple[str, str, str], Authorizer] = {}
        self._last_direction: Direction | None = None
        self._last_signer: Authorizer | None = None

    def change(self, account: str, credentials: Credentials | BearerToken | None) -> None:
        """The account's credentials are these now."""
        self.credentials = {**self.credentials, account: credentials}
        self._signers = {key: signer for key, signer in self._signers.items() if key[0] != account}
        self._last_direction = self._last_signer = None

    def signer(self, direction: Direction) -> Authorizer | None:
        """Whoever signs for this direction; None: there are no credentials."""
        if direction is self._last_direction:
            return self._last_signer
        signer = self._find(direction)
        self._last_direction, self._last_signer = (None, None) if signer is None else (direction, signer)
        return signer

    def access_key_id(self, account: str) -> str:
        """Which credentials the account has; '' where it has none, or a token."""
        credentials = self.credentials.get(account)
        return credentials.access_key_id if isinstance(credentials, Credentials) else ""

    def _find(self, direction: Direction) -> Authorizer | None:
        if direction.api_key is not None:
            return Bearer(direction.api_key)
        endpoint = direction.endpoint
        key = (direction.account, endpoint.signing_region, endpoint.signing_name)
        fixed = direction.credentials
        if fixed is not None:
            key = (f"fixed:{fixed.access_key_id}", *key[1:])
        signer = self._signers.get(key)
        if signer is None:
            credentials = fixed or self.credentials.get(direction.account)
            if credentials is None:
                return None
            self._signers[key] = signer = (
                Bearer(credentials.token)
                if isinstance(credentials, BearerToken)
                else self._kept.signer(credentials, endpoint.signing_region, endpoint.signing_name)
            )
        return signer
