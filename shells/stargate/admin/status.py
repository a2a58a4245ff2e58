"""The gateway's state in one value, for the page, `stargate top` and whoever asks.

It is put together from what all workers have told of themselves (their last word, on the boards), from what
this one has seen of late (history.py), and from what this one knows by itself: its configuration, and how the
last reload went. So whichever worker answers tells the same but for what happened within the last second.

Where workers differ, the worse is told: of a target the state furthest from closed, with the places that have
it; of a limit that each counts for itself the fullest. A limit that all share is told as it was seen last.
Places are counted from 1, as the supervisor names its workers.
"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Final

from stargate.admin.history import History
from stargate.observing.board import PlaceStatus
from stargate.observing.state import rfc3339
from stargate.shell_common.beside import Running

LIMITS_MAX: Final = 200
"""The fullest."""
_STATES: Final = ("closed", "half_open", "open")
"""Of targets, the worst last."""
_GUARDS: Final = ("api-key-auth", "jwt-auth")
_SILENT_SECONDS: Final = 10.0
"""A worker that has said nothing for so long is not alive, whatever its process is."""
VERSION: Final = metadata.version("stargate-gateway")


def status_of(
    running: Running,
    history: History,
    places: Sequence[PlaceStatus],
    *,
    now: float,
    started_at: float,
) -> dict[str, Any]:
    """The state. now, started_at: of this answer and of the gateway, in seconds since 1970."""
    plan, reloader = running.gateway.plan, running.reloader
    refused = None if reloader is None else reloader.refused
    consumers, models = history.tables()
    words = [place.status for place in places]
    own = next((place.status for place in places if place.status.get("pid")), dict[str, Any]())
    workers = [_worker(place, now) for place in places]
    shared = plan.config.gateway.store.is_shared
    return {
        "now": rfc3339(now),
        "version": VERSION,
        "started_at": rfc3339(started_at),
        "generation": plan.generation,
        "loaded_at": rfc3339(started_at if reloader is None else reloader.loaded_at_ns / 1e9),
        "reload_error": None if refused is None else list(refused.lines),
        "reload_failed_at": None if refused is None else rfc3339(refused.at_ns / 1e9),
        "workers": workers,
        "in_flight": sum(worker["in_flight"] for worker in workers),
        "series": history.series(),
        "window_seconds": round(history.window_seconds(), 1),
        "latency": history.latency(),
        "consumers": consumers,
        "models": models,
        "limits": limits_of(words, shared=shared),
        "targets": targets_of(places),
        "store": own.get("store", {"kind": plan.config.gateway.store.kind, "state": "unknown"}),
        "cache": {name: history.newest.cache.get(name, 0) for name in ("hit", "miss", "coalesced", "bypass")},
        "journals": _journals(words, plan.config.gateway.journal.directory),
        "logs": {"dropped": sum(_number(sink, "dropped") for word in words for sink in _list(word, "sinks"))},
        "credentials": own.get("credentials", {}),
        "plugins": list(plan.switched_on),
        "open": not any(plan.has(guard) for guard in _GUARDS),
    }


def _worker(place: PlaceStatus, now: float) -> dict[str, Any]:
    statistics = place.status.get("statistics", {})
    idle, lent = _number(statistics, "idle"), _number(statistics, "lent")
    return {
        "place": place.place + 1,
        "pid": place.pid,
        "started_at": rfc3339(place.started_at),
        "seen_at": rfc3339(place.told_at) if place.told_at else None,
        "alive": place.alive and now - (place.told_at or place.started_at) < _SILENT_SECONDS,
        "generation": place.status.get("generation", 0),
        "draining": bool(place.status.get("draining", False)),
        "clients": _number(statistics, "clients"),
        "in_flight": _number(statistics, "exchanges"),
        "connections": {"open": idle + lent + _number(statistics, "opening"), "idle": idle},
    }


def limits_of(words: Sequence[Mapping[str, Any]], *, shared: bool) -> list[dict[str, Any]]:
    """Each limit once, the fullest first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for word in words:
        for limit in _list(word, "limits"):
            most = max(_number(limit, "limit"), 1)
            told = {**limit, "fraction": round(_number(limit, "used") / most, 4)}
            key = (str(limit.get("name")), str(limit.get("scope")))
            known = found.get(key)
            rank = "seen_at" if shared else "fraction"
            if known is None or known[rank] < told[rank]:
                found[key] = told
    return sorted(found.values(), key=lambda one: (-one["fraction"], one["name"], one["scope"]))[:LIMITS_MAX]


def targets_of(places: Sequence[PlaceStatus]) -> list[dict[str, Any]]:
    """Each target once, in the order in which they were told first."""
    found: dict[str, dict[str, Any]] = {}
    for place in places:
        for target in _list(place.status, "targets"):
            known = found.get(target["name"])
            if known is None or _STATES.index(target["state"]) > _STATES.index(known["state"]):
                found[target["name"]] = {**target, "places": [place.place + 1]}
            elif known["state"] == target["state"]:
                known["places"].append(place.place + 1)
    return list(found.values())


def _journals(words: Sequence[Mapping[str, Any]], directory: str | None) -> dict[str, Any]:
    told = [word.get("journals", {}) for word in words]
    return {
        "directory": directory,
        "written": sum(_number(one, "written") for one in told),
        "skipped": sum(_number(one, "skipped") for one in told),
    }


def _list(word: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] | None = word.get(name)
    return found or []


def _number(word: Mapping[str, Any], name: str) -> int:
    found: int | None = word.get(name)
    return found or 0
