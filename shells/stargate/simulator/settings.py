"""What a simulator is told when it starts. All of it is fixed from then on, so that a seed means one
behaviour.
"""

from typing import Final

import msgspec

from stargate.simulator.recordings import Recordings
from stargate_core.secret import Secret

ACCESS_KEY_ID: Final = "AKIDSIMULATOR"
SECRET_ACCESS_KEY: Final = "simulated-secret-access-key"  # noqa: S105  (a stand-in's, printed at start)
EXPIRED_SESSION_TOKEN: Final = "expired"  # noqa: S105
"""A session token that counts as expired, whoever sends it."""


class Credential(msgspec.Struct, frozen=True):
    """A key pair the simulator knows; a session token, as roles' credentials have, must be sent along."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A simulator's settings."""

    wall_epoch_ns: int
    """Nanoseconds from 1970 to the machine's `now` 0: the date that signatures are held against."""
    credentials: tuple[Credential, ...] = (Credential(ACCESS_KEY_ID, Secret(SECRET_ACCESS_KEY)),)
    api_keys: tuple[Secret, ...] = ()
    """Bedrock API keys that are taken as bearer tokens."""
    region: str = "us-east-1"
    scheme: str = "http"
    events_per_second: float = 0.0
    """The pace of a stream; 0: as fast as possible, several events a write."""
    first_token_ns: int = 0
    """How long the first event of a stream, or the whole of another answer, takes."""
    scenario: str = ""
    """What happens when a request names no scenario: `stall-mid-stream after=3`."""
    listing_fault: str = ""
    """What happens when models or inference profiles are asked for: a scenario, written likewise."""
    recordings: Recordings | None = None
    seed: int = 0
    body_bytes_max: int = 25_000_000
    """The service model's limit on a body."""
    requests_kept: int = 200
    """How many requests `/_simulator/requests` remembers."""
    kept_body_bytes_max: int = 262_144
    """A longer body is remembered by its length only."""
