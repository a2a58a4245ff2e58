"""State: what one worker says of itself, once a second.

Everything is read off what the gateway keeps anyway; nothing is asked of anybody. The value is JSON and
bounded, since it has to fit into the worker's place in the shared memory: lists are cut to their first so
many, the healthy targets before those that are not.
"""

import datetime
import time
from typing import Any, Final

from stargate.shell_common.beside import Running
from stargate_core.messages import Health, HealthChanged

TARGETS_MAX: Final = 100
LIMITS_MAX: Final = 100
SINKS_MAX: Final = 20
ACCOUNTS_MAX: Final = 50
TEXT_CHARS_MAX: Final = 200
STATES: Final = {Health.CLOSED: "closed", Health.HALF_OPEN: "half_open", Health.OPEN: "open"}


def rfc3339(seconds: float) -> str:
    """A moment in UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_of(running: Running) -> dict[str, Any]:
    """The state of the gateway that runs here, to be told as JSON. Times are RFC 3339 in UTC."""
    gateway = running.gateway
    plan, enquiries = gateway.plan, gateway.enquiries
    store = enquiries.store()
    # A store of this process's own is always up.
    is_up = store.get("up", 1)
    found = list(running.keeper.found().items())[:ACCOUNTS_MAX]
    written = gateway.journals.statistics()
    return {
        "generation": plan.generation,
        "draining": gateway.standing.draining is not None,
        "statistics": {
            "exchanges": sum(client.busy for client in gateway.clients),
            **gateway.statistics(),
        },
        "targets": _targets(enquiries.targets()),
        "store": {"kind": plan.config.gateway.store.kind, "state": "up" if is_up else "down", **store},
        "limits": _limits(running),
        "cache": gateway.flights.statistics(),
        "journals": {
            "directory": plan.config.gateway.journal.directory,
            "written": written.pop("written", 0),
            "skipped": sum(written.values()),
            "reasons": written,
        },
        "sinks": [
            {
                "path": sink.path[:TEXT_CHARS_MAX],
                "buffered": sink.buffered_bytes,
                "written": sink.written_lines,
                "dropped": sink.dropped_lines,
                "trouble": sink.trouble[:TEXT_CHARS_MAX],
            }
            for sink in gateway.sinks.statistics()[:SINKS_MAX]
        ],
        "credentials": {
            name: (f"from {one.method}" if one.credentials is not None else one.problem)[:TEXT_CHARS_MAX]
            for name, one in found
        },
        "credentials_held": {name: one.credentials is not None for name, one in found},
    }


def _targets(states: list[HealthChanged]) -> list[dict[str, Any]]:
    # Those that are not healthy stand last, and are not to be cut off.
    kept = states[-TARGETS_MAX:]
    now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    return [
        {
            "name": one.target[:TEXT_CHARS_MAX],
            "state": STATES[one.health],
            "until": rfc3339((wall_ns + one.until_ns - now_ns) / 1e9) if one.until_ns else None,
        }
        for one in kept
    ]


def _limits(running: Running) -> list[dict[str, Any]]:
    levels = running.gateway.enquiries.levels
    return [] if levels is None else [
        {
            "name": one.name,
            "scope": one.scope[:TEXT_CHARS_MAX],
            "used": one.used,
            "limit": one.limit,
            "window_seconds": one.window_seconds,
            "seen_at": rfc3339(one.seen_at),
        }
        for one in levels.all()[-LIMITS_MAX:]
    ]  # fmt: skip
