"""AWS credentials for the gateway's own calls: botocore's chain, asked from a worker thread.

botocore knows every place AWS keeps credentials in, and its chain is the one users' other tools follow, so
the same environment gives the same identity. But it blocks, so it is asked in a thread, ahead of expiry, and
sessions are told of the result as a fact; no request ever waits for a refresh while the old credentials are
valid.

A temporary failure to refresh keeps the old credentials until they really expire.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import anyio
import anyio.to_thread
import msgspec

from stargate_core.aws.sigv4 import Credentials
from stargate_core.secret import Secret

REFRESH_AHEAD_SECONDS: Final = 15 * 60
"""botocore's own advisory window."""
_RETRY_SECONDS: Final = 30.0
_LONG_LIVED_CHECK_SECONDS: Final = 5 * 60.0
_SOON_SECONDS: Final = 1.0


class Found(msgspec.Struct, frozen=True):
    """What the chain gave for one account."""

    credentials: Credentials | None
    method: str
    """Where it found them, in botocore's words: env, shared-credentials-file, assume-role, iam-role …"""
    problem: str = ""


def find(account: str) -> Found:
    """Ask botocore's chain, blocking. account: '' for the default chain, else a profile's name."""
    # A third of what the gateway imports, and needed only where credentials are looked for.
    import botocore.session

    try:
        session = botocore.session.Session(profile=account or None)
        resolved = session.get_credentials()
        if resolved is None:
            return Found(None, "nowhere", "none of the usual AWS places has credentials")
        frozen = resolved.get_frozen_credentials()
        if not frozen.access_key or not frozen.secret_key:
            return Found(None, resolved.method or "unknown", "the credentials found are incomplete")
        expiry: datetime.datetime | None = getattr(resolved, "_expiry_time", None)
        return Found(
            Credentials(
                frozen.access_key,
                Secret(frozen.secret_key),
                Secret(frozen.token) if frozen.token else None,
                None if expiry is None else int(expiry.timestamp() * 1e9),
            ),
            resolved.method or "unknown",
        )
    except Exception as error:  # noqa: BLE001
        # Each of the places has failures of its own: a role that may not be assumed, a cache that is no JSON,
        # a process that is not there. None of them is a reason to end.
        return Found(None, "nowhere", f"{type(error).__name__}: {error}")


async def find_all(accounts: Iterable[str]) -> dict[str, Found]:
    """`find` for several accounts, each in a worker thread."""
    found: dict[str, Found] = {}

    async def one(account: str) -> None:
        found[account] = await anyio.to_thread.run_sync(find, account, abandon_on_cancel=True)

    async with anyio.create_task_group() as group:
        for account in accounts:
            group.start_soon(one, account)
    return found


async def keep_fresh(
    found: Mapping[str, Found],
    *,
    wall_ns: Callable[[], int],
    changed: Callable[[Mapping[str, Credentials | None]], None],
    note: Callable[[str, str], None],
) -> None:
    """Ask again ahead of each expiry, for ever, and tell `changed`."""
    async with anyio.create_task_group() as group:
        for account, first in found.items():
            group.start_soon(_keep_one, account, first, wall_ns, changed, note)


async def _keep_one(
    account: str,
    last: Found,
    wall_ns: Callable[[], int],
    changed: Callable[[Mapping[str, Credentials | None]], None],
    note: Callable[[str, str], None],
) -> None:
    name = account or "default"
    while True:
        await anyio.sleep(_wait_seconds(last, wall_ns()))
        fresh = await anyio.to_thread.run_sync(find, account, abandon_on_cancel=True)
        held = last.credentials
        if fresh.credentials is None and held is not None:
            expires = held.expires_at_ns
            if expires is None or expires > wall_ns():
                note(
                    "warning",
                    f"AWS credentials of {name} could not be refreshed, the old ones stay: {fresh.problem}",
                )
                await anyio.sleep(_RETRY_SECONDS)
                continue
        if fresh.credentials != held:
            note("info", f"AWS credentials of {name} are now from {fresh.method}")
            changed({account: fresh.credentials})
        last = fresh


def _wait_seconds(found: Found, wall_ns: int) -> float:
    if found.credentials is None:
        return _RETRY_SECONDS
    expires = found.credentials.expires_at_ns
    if expires is None:
        return _LONG_LIVED_CHECK_SECONDS
    left = (expires - wall_ns) / 1e9
    # Those that live no longer than that are asked for at half their time, not again and again.
    return max(_SOON_SECONDS, left - REFRESH_AHEAD_SECONDS, left / 2)
