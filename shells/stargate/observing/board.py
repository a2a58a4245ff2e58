"""The board: what a gateway's workers have done, in memory that all of them see.

`Boards` is made once, before workers are forked. Each worker writes its own `Board`; any of them can read
what all have written, so whichever answers a scrape tells of the whole gateway. What was counted survives the
worker that counted it, also one that was killed, and its successor goes on.

One settlement is one record, and one record is counted once, in one go on the loop of the worker: `observe`
neither waits nor fails. A worker that is killed within those microseconds may leave one request counted in
some tables and not in others.

What is read: sums over all lanes (`tables`, `totals`), the recent records (`recent`, `find`), and the last
word of each worker about itself (`statuses`).
"""

import os
import time
from bisect import bisect_left
from typing import Any, Final

import msgspec

from stargate.observing.lanes import (
    FAILED,
    FOLDED,
    PID,
    PLACE,
    RECORD_BYTES_MAX,
    STARTED_AT,
    STARTS,
    STATUS_BYTES_MAX,
    UNKEPT,
    Lane,
    Lanes,
)
from stargate.observing.memory import OTHER, Labels
from stargate.observing.shapes import (
    BOUNDS,
    CACHE_READ,
    CACHE_WRITE,
    ERRORS,
    ESTIMATED,
    INPUT,
    KEPT_INPUT,
    KEPT_OUTPUT,
    LEFT,
    NANO_USD,
    OFFSETS,
    OUTPUT,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
)
from stargate_core.record import LogRecord, Outcome

MODELS_MAX: Final = 200
"""Names of models that are labels. The second half is for those that have been answered well once: names come
from callers, and one who makes them up should not cost the others theirs.
"""
_TEXT_CHARS_MAX: Final = 200
"""Of a text in a record that would else be too long to be kept."""
_KEPT: Final = frozenset({"hit", "coalesced"})
_WORDS: Final = {number: str(number) for number in range(1000)}

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(LogRecord)


class Usage(msgspec.Struct):
    """What has been used, by somebody or of something."""

    requests: int = 0
    errors: int = 0
    """Those that failed, or were answered 400 or above."""
    client_left: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_nano_usd: int = 0
    estimated: int = 0
    """Requests whose tokens are not Bedrock's own count."""
    request_bytes: int = 0
    response_bytes: int = 0
    kept_input_tokens: int = 0
    """Of the tokens: those of answers that were kept or shared, and cost nothing."""
    kept_output_tokens: int = 0

    def add(self, numbers: tuple[int, ...]) -> None:
        """Add a series of the table `usage`."""
        for name, number in zip(self.__struct_fields__, numbers, strict=True):
            setattr(self, name, getattr(self, name) + number)

    @property
    def cost_usd(self) -> float:
        """In dollars."""
        return self.cost_nano_usd / 1e9


class Histogram(msgspec.Struct):
    """bounds_ms: upper bounds of all buckets but the last, which has none. counts: of each bucket alone."""

    bounds_ms: list[float]
    counts: list[int]
    sum_ms: float = 0.0


class Totals(msgspec.Struct):
    """What a page shows: cheap sums over all workers since the gateway has started."""

    usage: Usage
    consumers: dict[str, Usage]
    models: dict[str, Usage]
    total_ms: Histogram
    first_byte_ms: Histogram
    cache: dict[str, int]
    """How often the response cache had which answer: hit, miss, coalesced, bypass."""


class PlaceStatus(msgspec.Struct):
    """The last word of one worker about itself. status: what state.py makes; empty until it has spoken."""

    place: int
    pid: int
    started_at: float
    """Seconds since 1970, as `told_at`; that is 0 until it has spoken."""
    told_at: float
    alive: bool
    status: dict[str, Any]


class Board:
    """What one worker writes. shared: whether others can read it."""

    def __init__(self, boards: "Boards", lane: Lane, place: int, *, shared: bool) -> None:
        self.boards = boards
        self._lane = lane
        self._cells = lane.cells
        self.place = place
        self.shared = shared
        for table in lane.tables.values():
            table.take_over()
        self._requests = lane.tables["requests"]
        self._usage = lane.tables["usage"]
        self._latency = lane.tables["latency"]
        self._attempts = lane.tables["attempts"]
        self._counts = lane.tables["counts"]
        self._models: dict[str, str] = {}
        for labels in self._usage.slots:
            self._models.setdefault(labels[1], labels[1])
        lane.put(PLACE, place)
        lane.put(STARTED_AT, time.time_ns())
        lane.add(STARTS)
        lane.put(PID, os.getpid())

    # ------------------------------------------------------------------------------------------------ writing

    def observe(self, record: LogRecord) -> None:
        """Count an exchange that is settled, and keep its record for a while. Never raises."""
        try:
            self._count(record)
            self._keep(record)
        except Exception:  # noqa: BLE001  (a bug in counting must not cost anybody an answer; it is counted)
            self._lane.add(FAILED)

    def count(self, metric: str, label: str = "", much: int = 1) -> None:
        """Count something that is no exchange, by its short name in the catalogue."""
        self._cells[self._slot(self._counts, (metric, label))] += much

    def tell(self, status: bytes) -> None:
        """This worker's last word about itself, as JSON. Raises ValueError when it is too long."""
        if not self._lane.status.write(status, time.time_ns()):
            raise ValueError(f"a status of {len(status)} bytes; at most {STATUS_BYTES_MAX}")

    def leave(self) -> None:
        """This worker ends: what it has counted stays, and its state is nobody's any more."""
        if self._lane.number(PID) == os.getpid():
            self._lane.put(PID, 0)

    def _slot(self, table: Any, labels: Labels) -> int:
        slot, own = table.slot(labels)
        if not own:
            self._lane.add(FOLDED)
        return int(slot)

    def _model(self, record: LogRecord) -> str:
        """The model's name as a label, while there is room for names."""
        name, models = record.model, self._models
        well = record.status < 400 and record.outcome is Outcome.COMPLETE
        if len(models) < (MODELS_MAX if well else MODELS_MAX // 2):
            models[name] = name
            return name
        self._lane.add(FOLDED)
        return OTHER

    def _count(self, record: LogRecord) -> None:
        cells = self._cells
        model = self._models.get(record.model)
        if model is None:
            model = self._model(record)
        status, outcome = record.status, record.outcome._value_
        word = _WORDS.get(status) or str(status)
        key = (record.consumer, record.route, model, record.dialect, word, record.code, outcome)
        slot = self._requests.slots.get(key)
        cells[self._slot(self._requests, key) if slot is None else slot] += 1
        self._use(record, model)
        self._time(record, model, outcome)
        if record.attempts:
            self._attempt(record)
        if record.limited_by:
            self.count("refusals", record.limited_by)
        if record.cache:
            self.count("cache", record.cache)

    def _use(self, record: LogRecord, model: str) -> None:
        cells, key = self._cells, (record.consumer, model)
        slot = self._usage.slots.get(key)
        if slot is None:
            slot = self._slot(self._usage, key)
        cells[slot + REQUESTS] += 1
        if record.status >= 400 or record.outcome is Outcome.FAILED:
            cells[slot + ERRORS] += 1
        elif record.outcome is Outcome.CLIENT_LEFT:
            cells[slot + LEFT] += 1
        if record.input_tokens:
            cells[slot + INPUT] += record.input_tokens
        if record.output_tokens:
            cells[slot + OUTPUT] += record.output_tokens
        if record.cache_read_tokens:
            cells[slot + CACHE_READ] += record.cache_read_tokens
        if record.cache_write_tokens:
            cells[slot + CACHE_WRITE] += record.cache_write_tokens
        if record.cost_usd:
            cells[slot + NANO_USD] += round(record.cost_usd * 1e9)
        if record.usage_estimated:
            cells[slot + ESTIMATED] += 1
        cells[slot + REQUEST_BYTES] += record.request_bytes
        cells[slot + RESPONSE_BYTES] += record.response_bytes
        if record.cache in _KEPT:
            cells[slot + KEPT_INPUT] += record.input_tokens
            cells[slot + KEPT_OUTPUT] += record.output_tokens

    def _time(self, record: LogRecord, model: str, outcome: str) -> None:
        cells = self._cells
        key = (model, record.dialect, "true" if record.stream else "false", outcome)
        slot = self._latency.slots.get(key)
        if slot is None:
            slot = self._slot(self._latency, key)
        for name, seconds in durations(record):
            at = slot + OFFSETS[name]
            cells[at] += round(seconds * 1e6)
            cells[at + 1 + bisect_left(BOUNDS[name], seconds)] += 1

    def _attempt(self, record: LogRecord) -> None:
        for key in attempts(record):
            slot = self._attempts.slots.get(key)
            self._cells[self._slot(self._attempts, key) if slot is None else slot] += 1

    def _keep(self, record: LogRecord) -> None:
        data = _encoder.encode(record)
        if len(data) > RECORD_BYTES_MAX:
            data = _encoder.encode(_shortened(record))
        if not self._lane.ring.put(data):
            self._lane.add(UNKEPT)


def durations(record: LogRecord) -> list[tuple[str, float]]:
    """How long what of an exchange took, in seconds, by the histograms' names."""
    found = [("duration", record.total_ms / 1000), ("overhead", record.overhead_ms / 1000)]
    if record.first_byte_ms:
        found.append(("first_byte", record.first_byte_ms / 1000))
    if record.first_token_ms:
        found.append(("first_token", record.first_token_ms / 1000))
    if record.inter_token_ms:
        found.append(("between_tokens", record.inter_token_ms / 1000))
    if record.lease_ms:
        found.append(("lease", record.lease_ms / 1000))
    return found


def attempts(record: LogRecord) -> list[tuple[str, str]]:
    """Each attempt at Bedrock: its target, and how it ended."""
    if record.calls:
        return [(call.target, call.result) for call in record.calls]
    if not record.attempts:
        return []
    # They were made for several who share an answer, or for a batch: what is not told of went well.
    told: list[tuple[str, str]] = []
    for tried in record.tried:
        name, _, result = tried.rpartition(" ")[0].rpartition(" ")
        told.append((name, result))
    well = record.attempts - len(told) if record.outcome is Outcome.COMPLETE else 0
    return told + [(f"{record.region}/{record.target}", "OK")] * well


def _shortened(record: LogRecord) -> LogRecord:
    """The same, without what can be long."""
    cut = {
        name: value[:_TEXT_CHARS_MAX]
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str)
    }
    return msgspec.structs.replace(record, tried=(), calls=(), **cut)


class Boards:
    """The boards of all workers. places: how many workers there are to be."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._lanes = Lanes(places)

    def at(self, place: int) -> Board:
        """What the worker in this place writes, the first of which is 0. To be called in its own process."""
        lane, shared = self._lanes.claim(place)
        return Board(self, lane, place, shared=shared)

    # ------------------------------------------------------------------------------------------------ reading

    def table(self, name: str) -> dict[Labels, tuple[int, ...]]:
        """A table of shapes.py, summed over all workers that there have been."""
        sums: dict[Labels, tuple[int, ...]] = {}
        for lane in self._lanes.all:
            for labels, numbers in lane.tables[name].read():
                known = sums.get(labels)
                if known is not None:
                    numbers = tuple(map(sum, zip(known, numbers, strict=True)))
                sums[labels] = numbers
        return sums

    def number(self, which: int) -> int:
        """One of the numbers that lanes begin with, summed."""
        return sum(lane.number(which) for lane in self._lanes.all)

    @property
    def restarts(self) -> int:
        """How many workers have started in the place of another."""
        return max(0, self.number(STARTS) - self.places)

    def recent(self, count: int) -> list[LogRecord]:
        """The last so many records of all workers, the newest first; of each worker there are at most 256."""
        found: list[LogRecord] = []
        for lane in self._lanes.all:
            for _, data in zip(range(count), lane.ring.read(), strict=False):
                found.append(_decoder.decode(data))
        found.sort(key=lambda record: record.time, reverse=True)
        return found[:count]

    def find(self, request_id: str) -> LogRecord | None:
        """The record of this request, while it is recent."""
        wanted = request_id.encode()
        for lane in self._lanes.all:
            for data in lane.ring.read():
                if wanted in data:
                    record = _decoder.decode(data)
                    if record.request_id == request_id:
                        return record
        return None

    def statuses(self) -> list[PlaceStatus]:
        """The last word of each worker that lives, in the order of their places; the oldest worker first."""
        found: list[PlaceStatus] = []
        for lane in self._lanes.all:
            if not lane.is_alive:
                continue
            told = lane.status.read()
            started_ns = lane.number(STARTED_AT)
            status: dict[str, Any] = {}
            told_at = 0.0
            # What stands there may be its predecessor's.
            if told is not None and told[1] >= started_ns:
                status, told_at = msgspec.json.decode(told[0]), told[1] / 1e9
            place, pid = lane.number(PLACE), lane.number(PID)
            found.append(PlaceStatus(place, pid, started_ns / 1e9, told_at, alive=True, status=status))
        return sorted(found, key=lambda one: (one.place, one.started_at))

    def totals(self) -> Totals:
        """Sums, by consumer and by model."""
        whole, consumers, models = Usage(), dict[str, Usage](), dict[str, Usage]()
        for (consumer, model), numbers in self.table("usage").items():
            for usage in (
                whole,
                consumers.setdefault(consumer, Usage()),
                models.setdefault(model, Usage()),
            ):
                usage.add(numbers)
        latency = self.table("latency").values()
        cache = {
            labels[1]: numbers[0] for labels, numbers in self.table("counts").items() if labels[0] == "cache"
        }
        return Totals(
            whole,
            consumers,
            models,
            _histogram("duration", latency),
            _histogram("first_byte", latency),
            cache,
        )


def _histogram(name: str, latency: Any) -> Histogram:
    bounds, at = BOUNDS[name], OFFSETS[name]
    sums = [sum(series[at + number] for series in latency) for number in range(len(bounds) + 2)]
    return Histogram([bound * 1000 for bound in bounds], sums[1:], sums[0] / 1000)
