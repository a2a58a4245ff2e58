"""The flight recorder: sessions and flights are recorded where that is wanted, and some are written out.

What is recorded is references, kept within a bound (the core's journal/lives.py). When a request has ended,
it is decided whether its life is written: with `on: [error]`, whether it was answered 5xx, broke off within
its answer, or met a bug of ours. The life, and those of the flights it has followed, then go to a thread that
takes out secrets and words, lives it once, and writes the file. Nobody waits for that thread. What comes
faster than it writes, or more often than `max_per_minute`, is left out, and the operator is told so.

A directory that cannot be written is told once, and once more when it can be again. Notes are made by the
thread, and told when the next request ends, since only the event loop may tell them. The thread also deletes
what is too old, whether or not anything new is written.

Without a directory nothing is recorded: the machines are given out bare.
"""

import bisect
import contextlib
import datetime
import os
import queue
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from stargate.shell_common.facts import bug
from stargate_core.config.gateway_block import Journal as Settings
from stargate_core.direction import Order
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.journal.format import Entry, FlightBeginning, Header, SessionBeginning, Unreadable
from stargate_core.journal.lives import Life, Ring
from stargate_core.journal.recorder import FlightRecorder, SessionRecorder
from stargate_core.journal.redact import redact
from stargate_core.journal.redact.verdicts import Verdicts
from stargate_core.journal.write import encoded, journal_of, request_of
from stargate_core.messages import ClientSent
from stargate_core.views import Plugin

Note = Callable[[str, str], None]

WAITING_MAX: Final = 64
"""Lives that wait to be written."""
FLIGHTS_MAX: Final = 8
"""Of those that one request has followed: a batch has hundreds, of which the first to fail tell enough."""
_TOO_FAST: Final = "more than could be written"
_UNWRITABLE: Final = "could not be written"
_MINUTE_SECONDS: Final = 60.0
_SALT_BYTES: Final = 32
_LAST_WORDS_SECONDS: Final = 5.0
_TIDY_SECONDS: Final = 3600.0
_DATE: Final = "%Y%m%dT%H%M%SZ"
_DAY: Final = datetime.timedelta(days=1)
_PROBE: Final = re.compile(rb"(GET|HEAD) /(healthz|readyz) ")
NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9A-Za-z-]{1,80}\.(session|flight(-[0-9]+)?)\.journal")


class Journals:
    """Makes sessions and flights, recorded where the configuration has a directory for journals.

    note: tells the operator something; called from the loop only.
    """

    def __init__(self, plan: Plan, note: Note) -> None:
        settings = plan.config.gateway.journal
        self._all = "all" in settings.on
        self._note = note
        self._ring: Ring | None = None
        if settings.directory is not None:
            self._ring = Ring(settings.memory_bytes, settings.max_journal_bytes)
            self._writer = Writer(settings, settings.directory, plan.plugins)

    # ------------------------------------------------------------------------------------------- the machines

    def session(
        self, plan: Plan, plans: Mapping[int, Plan], address: str, now: int
    ) -> Session | SessionRecorder:
        """A session for a new connection."""
        session = Session(
            plan, wall_epoch_ns=_wall_epoch_ns(now), seed=_seed(), now=now, client=address, plans=plans
        )
        ring = self._ring
        return session if ring is None else SessionRecorder(session, plans, ring, self._session_ended)

    def flight(self, plan: Plan, order: Order, number: int, now: int) -> Flight | FlightRecorder:
        """A flight for an order."""
        seed, wall_epoch_ns = _seed(), _wall_epoch_ns(now)
        flight = Flight(plan, order, flight=number, wall_epoch_ns=wall_epoch_ns, seed=seed, now=now)
        ring = self._ring
        if ring is None:
            return flight
        beginning = FlightBeginning(plan.generation, order, number, wall_epoch_ns, f"{seed:x}", now)
        return FlightRecorder(flight, beginning, ring, self._flight_ended, now=now)

    @property
    def recording(self) -> bool:
        """Whether anything is recorded, and there is a writer to be closed."""
        return self._ring is not None

    def statistics(self) -> dict[str, int]:
        """How many were written, and left out by each reason, since the process began; empty where nothing is
        recorded.
        """
        if self._ring is None:
            return {}
        return {"written": self._writer.written, **self._writer.skipped}

    def close(self) -> None:
        """Write what waits, within a bound. Blocks. Only where it is recording."""
        self._writer.close()

    def last_notes(self) -> None:
        """Tell what the writer has to tell. Only where it is recording."""
        self._writer.last_notes(self._note)

    # ------------------------------------------------------------------------------------------- lives' ends

    def _session_ended(self, life: Life) -> None:
        self._writer.tell(self._note)
        if life.failed is None and not life.raised and not (self._all and not _is_probe(life)):
            return
        assert self._ring is not None
        request_id = request_of(life)
        self._writer.put(life, f"{request_id}.session")
        followed = [one for one in self._ring.flights(life.orders) if _is_of(one, life)]
        followed.sort(key=_went_well)
        for number, flight in enumerate(followed[:FLIGHTS_MAX], 1):
            flight.written = True
            self._writer.put(flight.snapshot(), f"{request_id}.flight-{number}")

    def _flight_ended(self, life: Life) -> None:
        self._writer.tell(self._note)
        if life.raised:
            # Whoever follows it hears of an internal error, and is written as well.
            life.written = True
            self._writer.put(life.snapshot(), f"{request_of(life)}.flight")


def _is_probe(life: Life) -> bool:
    """Whether nothing was asked but how the gateway is."""
    asked = [event.data for _, event, _ in life.entries if isinstance(event, ClientSent)]
    return all(_PROBE.match(data) for data in asked)


def _is_of(flight: Life, session: Life) -> bool:
    """Whether a flight that had the same order was in the air when the session followed it, and is new."""
    return not flight.written and bool(flight.entries) and flight.entries[-1][0] >= session.began_ns


def _went_well(flight: Life) -> bool:
    return flight.failed is None and not flight.raised


def _seed() -> int:
    return int.from_bytes(os.urandom(16), "big")


def _wall_epoch_ns(now: int) -> int:
    """Told anew to each machine: clocks are set, and monotonic time stands still while a computer sleeps."""
    return time.time_ns() - now


# ------------------------------------------------------------------------------------------------- the writer


class _Waiting(msgspec.Struct, frozen=True):
    """A life to be written, and what its file is called behind the date."""

    life: Life
    name: str


class Writer:
    """Writes journals, in a thread of its own. `put`, `tell` and `close` are the loop's to call."""

    def __init__(
        self,
        settings: Settings,
        directory: str,
        plugins: Mapping[str, type[Plugin]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._directory = Path(directory)
        self._plugins = plugins
        self._clock = clock
        self._redact = _redacted if settings.redact else None
        self._seal = None if settings.encrypt_to is None else _sealer(settings.encrypt_to)
        self._package = metadata.version("stargate-gateway")
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(WAITING_MAX)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._notes: deque[tuple[str, str]] = deque()
        self._left_out: Counter[str] = Counter()
        """Why, and how many, since it was told last."""
        self._minute = clock()
        """When the present one began; below: how many were taken in it."""
        self._taken = 0
        self._trouble = ""
        self._lost = 0
        self.written = 0
        """Journals, since the process began."""
        self.skipped = Counter[str]()
        """Why, and how many, since the process began."""
        self._thread = threading.Thread(target=self._run, name="stargate-journals", daemon=True)
        self._thread.start()

    # ----------------------------------------------------------------------------------------------- the loop

    def put(self, life: Life, name: str) -> None:
        """Have a life written, if there is time and room for it."""
        why = self._refusal(life)
        if not why:
            self._count(life.size)
            try:
                self._queue.put_nowait(_Waiting(life, name))
            except queue.Full:
                self._count(-life.size)
                why = _TOO_FAST
        if why:
            self._left_out[why] += 1
            self.skipped[why] += 1
        else:
            self._taken += 1

    def tell(self, note: Note) -> None:
        """Pass on what there is to tell."""
        while self._notes:
            note(*self._notes.popleft())
        if self._clock() - self._minute >= _MINUTE_SECONDS:
            self._minute, self._taken = self._clock(), 0
            self._tell_left_out(note)

    @property
    def waiting(self) -> bool:
        """Whether something is not written yet."""
        return self._waiting_bytes > 0

    def close(self) -> None:
        """Write what waits, within a bound. Blocks."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=_LAST_WORDS_SECONDS)
        self._thread.join(_LAST_WORDS_SECONDS)

    def last_notes(self, note: Note) -> None:
        """Pass on everything, after the end."""
        self.tell(note)
        self._tell_left_out(note)

    def _tell_left_out(self, note: Note) -> None:
        if self._left_out:
            whys = ", ".join(f"{count} {why}" for why, count in self._left_out.items())
            note("warning", f"journals were left out: {whys}")
            self._left_out.clear()

    def _count(self, size: int) -> None:
        """So much more waits; called by both threads."""
        with self._lock:
            self._waiting_bytes += size

    def _refusal(self, life: Life) -> str:
        """Why a life is not written; empty: it is."""
        if life.cut:
            return "too large to be kept"
        if self._taken >= self._settings.max_per_minute:
            return "beyond max_per_minute"
        if self._waiting_bytes + life.size > self._settings.memory_bytes:
            return _TOO_FAST
        return ""

    # --------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        """Write until there is nothing more to be expected."""
        self._tidy()
        while True:
            try:
                waiting = self._queue.get(timeout=_TIDY_SECONDS)
            except queue.Empty:
                self._tidy()
                continue
            if waiting is None:
                return
            try:
                self._write(waiting)
            except Unreadable as unreadable:
                self.skipped[_UNWRITABLE] += 1
                self._notes.append(("error", f"a journal was not written, for {unreadable}"))
            except Exception as error:  # noqa: BLE001  (a bug of ours must cost no more than this journal)
                self.skipped[_UNWRITABLE] += 1
                self._notes.append(("error", f"{bug(error)}; a journal was not written"))
            self._count(-waiting.life.size)

    def _write(self, waiting: _Waiting) -> None:
        expires = datetime.datetime.now(datetime.UTC) + self._settings.keep_days * _DAY
        journal = journal_of(
            waiting.life,
            package=self._package,
            plugins=self._plugins,
            redact=self._redact,
            expires_at=expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        data = encoded(journal)
        if self._seal is not None:
            data = self._seal(data)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _put(self._directory / f"{_date(waiting.life)}-{waiting.name}.journal", data)
        except OSError as error:
            self._lost += 1
            self.skipped[_UNWRITABLE] += 1
            if not self._trouble:
                self._notes.append(("error", f"cannot write journals to {self._directory}: {error.strerror}"))
            self._trouble = error.strerror or str(error)
            return
        self.written += 1
        if self._trouble:
            text = f"writing journals to {self._directory} again; {self._lost} were lost"
            self._notes.append(("info", text))
            self._trouble, self._lost = "", 0
        self._tidy()

    def _tidy(self) -> None:
        """Delete what is too old, and the oldest of what is too much; other workers do the same."""
        with contextlib.suppress(OSError):  # There is no directory yet, or somebody else was quicker.
            names = sorted(name for name in os.listdir(self._directory) if NAME.fullmatch(name))
            oldest = datetime.datetime.now(datetime.UTC) - self._settings.keep_days * _DAY
            too_old = bisect.bisect(names, oldest.strftime(_DATE))
            for name in names[: max(too_old, len(names) - self._settings.max_files)]:
                (self._directory / name).unlink(missing_ok=True)


def _put(path: Path, data: bytes) -> None:
    """A whole file, or none: whoever copies journals away must not find half of one."""
    part = path.with_name(f".{path.name}.part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        part.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _date(life: Life) -> str:
    """When the life began, as files are named."""
    beginning = life.beginning
    if isinstance(beginning, SessionBeginning):
        wall_epoch_ns = beginning.checkpoint.wall_epoch_ns
    else:
        assert isinstance(beginning, FlightBeginning)
        wall_epoch_ns = beginning.wall_epoch_ns
    seconds = (wall_epoch_ns + life.began_ns) // 1_000_000_000
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(_DATE)


def _redacted(header: Header, entries: list[Entry], verdicts: Verdicts) -> tuple[Header, list[Entry]]:
    """Redacted with a salt that nobody keeps."""
    return redact(header, entries, verdicts, os.urandom(_SALT_BYTES))


def _sealer(public: str) -> Callable[[bytes], bytes]:
    """What encrypts to this key. Raises ImportError where the library is missing."""
    from stargate.journal_keys import sealed  # An optional library.

    return lambda data: sealed(data, public)
