"""Series: what the boards say, as values of the catalogue's metrics. No text yet: exposition.py writes that.

Counters and histograms come from the tables, exactly. Gauges come from what the living workers have told of
themselves.

Exemplars (of each bucket the newest request in it, by its id and its trace's) are kept nowhere. They are
found in the recent records by the rule that has counted these, so a bucket's exemplar is in that bucket.
"""

import datetime
import platform
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Final

import msgspec

from stargate.observing import lanes, shapes
from stargate.observing.board import Boards, PlaceStatus, Usage, durations
from stargate.observing.catalogue import COUNTERS, GAUGES, HISTOGRAMS, Metric
from stargate.observing.memory import Labels
from stargate_core.record import LogRecord

VERSION: Final = metadata.version("stargate-gateway")
_BREAKER: Final = {"closed": 0, "half_open": 1, "open": 2}
_CONNECTIONS: Final = ("idle", "lent", "opening")
_ADDED: Final = frozenset(
    {"clients", "in_flight", "connections", "waiting", "store_calls", "store_backlog", "cache_entries",
     "cache_bytes", "sink_bytes", "spans_queued"}
)  # fmt: skip
"""Gauges that are amounts: of two workers in one place they are added."""
_TOKENS: Final = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
}


class Exemplar(msgspec.Struct, frozen=True):
    """A request that is in a bucket. at: when it had arrived, in seconds since 1970."""

    labels: dict[str, str]
    value: float
    at: float


class Series(msgspec.Struct, frozen=True):
    """The values of a histogram for some labels. sum: in seconds. counts: of each bucket alone."""

    labels: Labels
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    exemplars: dict[int, Exemplar]
    """By the bucket's place."""


# --------------------------------------------------------------------------------------------------- counters


def counters(boards: Boards) -> Iterator[tuple[Metric, dict[Labels, float]]]:
    """Every counter and its values."""
    found: dict[str, dict[Labels, float]] = {name: {} for name in COUNTERS}
    for name in ("requests", "attempts"):
        found[name] = {labels: values[0] for labels, values in boards.table(name).items()}
    for labels, numbers in boards.table("usage").items():
        _use(found, labels, Usage(*numbers))
    for (name, label), (count,) in boards.table("counts").items():
        if name in found:
            found[name][(label,)] = count
    found["restarts"][()] = boards.restarts
    found["folded"][()] = boards.number(lanes.FOLDED)
    found["failed"][()] = boards.number(lanes.FAILED)
    for name, values in found.items():
        yield COUNTERS[name], values


def _use(found: dict[str, dict[Labels, float]], labels: Labels, usage: Usage) -> None:
    for kind, member in _TOKENS.items():
        found["tokens"][(*labels, kind)] = getattr(usage, member)
    found["kept_tokens"][(*labels, "input")] = usage.kept_input_tokens
    found["kept_tokens"][(*labels, "output")] = usage.kept_output_tokens
    found["cost"][labels] = usage.cost_usd
    found["estimated"][labels] = usage.estimated
    found["request_bytes"][labels] = usage.request_bytes
    found["response_bytes"][labels] = usage.response_bytes


# ------------------------------------------------------------------------------------------------- histograms


def histograms(boards: Boards, *, exemplars: bool) -> Iterator[tuple[Metric, list[Series]]]:
    """Every histogram and its series; those that nothing was ever observed of are left out."""
    table = boards.table("latency")
    found = _exemplars(boards) if exemplars else {}
    for name, metric in HISTOGRAMS.items():
        bounds, at = shapes.BOUNDS[name], shapes.OFFSETS[name]
        series: list[Series] = []
        for labels, numbers in table.items():
            counts = numbers[at + 1 : at + 2 + len(bounds)]
            if any(counts):
                series.append(
                    Series(labels, bounds, counts, numbers[at] / 1e6, found.get((name, labels), {}))
                )
        yield metric, series


def _exemplars(boards: Boards) -> dict[tuple[str, Labels], dict[int, Exemplar]]:
    found: dict[tuple[str, Labels], dict[int, Exemplar]] = {}
    for record in boards.recent(lanes.RING_COUNT):
        labels = (record.model, record.dialect, "true" if record.stream else "false", record.outcome.value)
        at = datetime.datetime.fromisoformat(record.time).timestamp()
        for name, seconds in durations(record):
            bucket = bisect_left(shapes.BOUNDS[name], seconds)
            found.setdefault((name, labels), {}).setdefault(bucket, Exemplar(_ids(record), seconds, at))
    return found


def _ids(record: LogRecord) -> dict[str, str]:
    ids = {"request_id": record.request_id}
    return {**ids, "trace_id": record.trace_id} if record.trace_id else ids


# ----------------------------------------------------------------------------------------------------- gauges


def gauges(boards: Boards) -> Iterator[tuple[Metric, dict[Labels, float]]]:
    """Every gauge and its values."""
    found: dict[str, dict[Labels, float]] = {name: {} for name in GAUGES}
    found["build"][(VERSION, platform.python_version())] = 1
    for status in boards.statuses():
        for name, labels, value in _of_worker(status):
            known = found[name].get(labels, 0) if name in _ADDED else 0
            found[name][labels] = known + value
    for name, values in found.items():
        yield GAUGES[name], values


def _of_worker(one: PlaceStatus) -> Iterator[tuple[str, Labels, float]]:
    """What one worker has told, by the gauges' short names."""
    worker, status = str(one.place + 1), one.status
    yield "started", (worker,), one.started_at
    if not status:
        return
    yield "up", (worker, "draining" if status["draining"] else "ready"), 1
    yield "told", (worker,), one.told_at
    statistics: Mapping[str, int] = status["statistics"]
    yield "clients", (worker,), statistics["clients"]
    yield "in_flight", (worker,), statistics["exchanges"]
    for state in _CONNECTIONS:
        yield "connections", (worker, state), statistics[state]
    yield "waiting", (worker,), statistics["waiting"]
    yield "cache_entries", (worker,), status["cache"]["entries"]
    yield "cache_bytes", (worker,), status["cache"]["held_bytes"]
    yield "generation", (worker,), status["generation"]
    yield "loaded", (worker,), datetime.datetime.fromisoformat(status["loaded_at"]).timestamp()
    yield "reloaded", (worker,), float(status["reload_error"] is None)
    yield from _of_others(worker, status)


def _of_others(worker: str, status: Mapping[str, Any]) -> Iterator[tuple[str, Labels, float]]:
    """What it has told of what it uses."""
    for target in status["targets"]:
        yield "breaker", (worker, target["name"]), _BREAKER[target["state"]]
    store = status["store"]
    yield "store_up", (worker, store["kind"]), float(store["state"] == "up")
    yield "store_calls", (worker,), store.get("calls", 0)
    yield "store_backlog", (worker,), store.get("backlog", 0)
    for limit in status["limits"]:
        yield "limit", (worker, limit["name"], limit["scope"]), limit["used"] / limit["limit"]
    for sink in status["sinks"]:
        yield "sink_bytes", (worker, sink["path"]), sink["buffered"]
        yield "sink_trouble", (worker, sink["path"]), float(bool(sink["trouble"]))
    yield "spans_queued", (worker,), status["spans"].get("queued", 0)
    for account, held in status["credentials_held"].items():
        yield "credentials", (worker, account), float(held)
