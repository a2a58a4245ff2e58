"""The flight recorder: what is written, what is not, and that nobody waits for it."""

import datetime
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from stargate import journals
from stargate.journal_keys import new_pair, opened
from stargate.journals import FLIGHTS_MAX, WAITING_MAX, Journals, Writer
from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ResponseCache
from stargate_core.config.schema import Config, Gateway, Journal, PluginEntry
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.journal.format import SessionBeginning, Unreadable, read
from stargate_core.journal.lives import Life
from stargate_core.journal.recorder import SessionRecorder
from stargate_core.journal.replay import replay
from stargate_core.messages import (
    AnswerFailed,
    ClientSent,
    CredentialsChanged,
    Follow,
    OpenUpstream,
    Ticked,
    UpstreamOpened,
    UpstreamSent,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.secret import Secret
from support.bedrock import aws_error, converse_answer
from support.embedded import LOOPS, embedded
from support.journals import SCENARIOS
from support.machines import LOG, a_plan, chat, proxy, request

NOBODY: Final[tuple[PluginEntry, ...]] = (proxy(), LOG)


class Told:
    """What was told to the operator."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def __call__(self, level: str, text: str) -> None:
        self.notes.append((level, text))


def settings(folder: Path, **changes: Any) -> Journal:
    """Settings for this folder; nothing is redacted unless that is asked for."""
    return Journal(directory=str(folder), **{"redact": False, **changes})


def a_plan_with(journal: Journal, *entries: PluginEntry) -> Plan:
    """A plan with these settings."""
    return a_plan(Config(gateway=Gateway(journal=journal), plugins=[*NOBODY, *entries]))


def files(folder: Path) -> list[str]:
    """The journals there are, without their dates."""
    return sorted(path.name.partition("-")[2] for path in folder.glob("*.journal"))


class Driven:
    """A session that some Journals have made, driven by hand."""

    def __init__(self, recording: Journals, plan: Plan) -> None:
        self.now = 1000 * SECOND
        self.session = recording.session(plan, {plan.generation: plan}, "192.0.2.7", self.now)
        self.tell(CredentialsChanged("", Credentials("AKID", Secret("secret"))))

    def tell(self, event: Any) -> list[Any]:
        """A fact."""
        self.now += SECOND // 1000
        return list(self.session.handle(self.now, event))

    def ask(self, answer: bytes, data: bytes | None = None) -> None:
        """A request that Bedrock answers like this."""
        for command in self.tell(ClientSent(data or chat())):
            if isinstance(command, OpenUpstream):
                self.tell(UpstreamOpened(command.ticket, 1, reused=False))
                self.tell(UpstreamSent(1, answer))


GOOD: Final = converse_answer()
BAD: Final = aws_error("InternalServerException", 500)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_life() -> Life:
    """A life that is over."""
    (life,) = SCENARIOS["bad-crc"]()
    return life


def a_writer(folder: Path, *, clock: Callable[[], float] = time.monotonic, **changes: Any) -> Writer:
    """A writer to this folder."""
    return Writer(settings(folder, **{"keep_days": 3650, **changes}), str(folder), BUILT_IN, clock=clock)


def drained(writer: Writer) -> None:
    """Wait until what was put has been looked at: by looking again, as it is another thread that does it."""
    give_up_at = time.monotonic() + 30
    while writer.waiting:
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


class TestWhatIsWritten:
    def run(self, folder: Path, *answers: bytes, **changes: Any) -> tuple[list[Path], Told]:
        """The files after these answers, and what was told."""
        told = Told()
        plan = a_plan_with(settings(folder, **changes))
        recording = Journals(plan, told)
        driven = Driven(recording, plan)
        for answer in answers:
            driven.ask(answer)
        recording.close()
        recording.last_notes()
        return sorted(folder.glob("*")), told

    def test_what_failed_is(self, tmp_path: Path) -> None:
        (path,), told = self.run(tmp_path, GOOD, BAD, GOOD)
        whole = read(path.read_bytes())
        assert whole.header.cause == "UPSTREAM_INTERNAL"
        assert replay(whole, BUILT_IN).divergence is None
        assert told.notes == []

    def test_its_name_says_when_and_which(self, tmp_path: Path) -> None:
        (path,), _ = self.run(tmp_path, BAD)
        header = read(path.read_bytes()).header
        assert path.name.partition("-")[2] == f"{header.request_id}.session.journal"
        assert isinstance(header.beginning, SessionBeginning)
        began = (header.beginning.checkpoint.wall_epoch_ns + header.began_ns) / 1e9
        moment = datetime.datetime.strptime(path.name.partition("-")[0] + "+0000", "%Y%m%dT%H%M%SZ%z")
        assert abs(moment.timestamp() - began) <= 1

    def test_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "folder"
        (path,), _ = self.run(folder, BAD)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_it_says_when_it_expires(self, tmp_path: Path) -> None:
        (path,), _ = self.run(tmp_path, BAD, keep_days=3)
        expires = datetime.datetime.fromisoformat(read(path.read_bytes()).header.expires_at)
        days = (expires - datetime.datetime.now(datetime.UTC)) / datetime.timedelta(days=1)
        assert 2.9 < days <= 3

    def test_with_all_every_request_is(self, tmp_path: Path) -> None:
        paths, _ = self.run(tmp_path, GOOD, BAD, GOOD, on=["all"])
        causes = [read(path.read_bytes()).header.cause for path in paths]
        assert sorted(causes) == ["", "", "UPSTREAM_INTERNAL"]

    def test_but_not_who_only_asks_how_the_gateway_is(self, tmp_path: Path) -> None:
        plan = a_plan_with(settings(tmp_path, on=["all"]))
        recording = Journals(plan, Told())
        driven = Driven(recording, plan)
        driven.ask(b"", request("/healthz", method="GET"))
        driven.ask(b"", request("/readyz", method="HEAD"))
        driven.ask(b"", request("/v1/models", method="GET"))
        recording.close()
        (path,) = tmp_path.glob("*.journal")
        assert b"GET /v1/models" in path.read_bytes()

    def test_what_met_a_bug_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = a_plan_with(settings(tmp_path))
        recording = Journals(plan, Told())
        driven = Driven(recording, plan)
        handle = Session.handle

        def buggy(session: Session, now: int, event: Any) -> Any:
            if isinstance(event, UpstreamSent):
                raise ZeroDivisionError
            return handle(session, now, event)

        monkeypatch.setattr(Session, "handle", buggy)
        with pytest.raises(ZeroDivisionError):
            driven.ask(GOOD)
        recording.close()
        (path,) = tmp_path.glob("*.journal")
        whole = read(path.read_bytes())
        assert whole.header.cause == "ZeroDivisionError"
        assert whole.entries[-1].raised == "ZeroDivisionError"

    def test_encrypted_it_is_for_the_keys_owner(self, tmp_path: Path) -> None:
        public, private = new_pair()
        (path,), _ = self.run(tmp_path, BAD, encrypt_to=public)
        with pytest.raises(Unreadable, match="encrypted"):
            read(path.read_bytes())
        assert read(opened(path.read_bytes(), private)).header.cause == "UPSTREAM_INTERNAL"


class TestFlights:
    def start(self, folder: Path, **changes: Any) -> tuple[Journals, Driven, Follow, Any]:
        """A session that has ordered an answer, and the flight that is to get it and has called Bedrock."""
        cache = PluginEntry(name="response-cache", config=ResponseCache())
        plan = a_plan_with(settings(folder, **changes), cache)
        recording = Journals(plan, Told())
        driven = Driven(recording, plan)
        (follow,) = [each for each in driven.tell(ClientSent(chat())) if isinstance(each, Follow)]
        flight = recording.flight(plan, follow.order, 1, driven.now)
        flight.handle(driven.now, CredentialsChanged("", Credentials("AKID", Secret("secret"))))
        (opening,) = flight.handle(driven.now, Ticked())
        assert isinstance(opening, OpenUpstream)
        flight.handle(driven.now, UpstreamOpened(opening.ticket, 1, reused=False))
        return recording, driven, follow, flight

    def fail(self, driven: Driven, follow: Follow) -> None:
        """The session hears that its answer has failed."""
        driven.tell(AnswerFailed(follow.ticket, Fault(Cause.UPSTREAM_INTERNAL)))

    def test_that_of_a_request_that_failed_is_written_beside_it(self, tmp_path: Path) -> None:
        recording, driven, follow, flight = self.start(tmp_path)
        flight.handle(driven.now, UpstreamSent(1, BAD))
        assert flight.closed
        self.fail(driven, follow)
        recording.close()
        session, other = sorted(tmp_path.glob("*.journal"), reverse=True)
        assert session.name.replace(".session.", ".flight-1.") == other.name
        whole = read(other.read_bytes())
        assert (whole.header.kind, whole.header.cause) == ("flight", "UPSTREAM_INTERNAL")
        assert replay(whole, BUILT_IN).divergence is None

    def test_one_that_is_still_running_is_written_as_far_as_it_is(self, tmp_path: Path) -> None:
        recording, driven, follow, flight = self.start(tmp_path)
        self.fail(driven, follow)
        flight.handle(driven.now, UpstreamSent(1, BAD))
        recording.close()
        (path,) = tmp_path.glob("*.flight-1.journal")
        whole = read(path.read_bytes())
        assert len(whole.entries) == 3
        assert replay(whole, BUILT_IN).divergence is None

    def test_it_is_written_once(self, tmp_path: Path) -> None:
        recording, driven, follow, flight = self.start(tmp_path)
        flight.handle(driven.now, UpstreamSent(1, BAD))
        self.fail(driven, follow)
        (again,) = [each for each in driven.tell(ClientSent(chat())) if isinstance(each, Follow)]
        assert again.order.key == follow.order.key
        self.fail(driven, again)
        recording.close()
        assert [name.partition(".")[2] for name in files(tmp_path)].count("flight-1.journal") == 1
        assert len(files(tmp_path)) == 3

    def test_of_many_the_first_are_those_that_failed(self, tmp_path: Path) -> None:
        """A batch follows hundreds."""
        recording, driven, follow, flight = self.start(tmp_path)
        plan = a_plan_with(settings(tmp_path))
        for number in range(2, 20):
            other = recording.flight(plan, follow.order, number, driven.now)
            other.handle(driven.now, CredentialsChanged("", Credentials("AKID", Secret("secret"))))
        flight.handle(driven.now, UpstreamSent(1, BAD))
        self.fail(driven, follow)
        recording.close()
        flights = sorted(tmp_path.glob("*.flight-*.journal"))
        assert len(flights) == FLIGHTS_MAX
        assert read(flights[0].read_bytes()).header.cause == "UPSTREAM_INTERNAL"
        assert {read(path.read_bytes()).header.cause for path in flights[1:]} == {""}

    def test_that_of_a_request_that_went_well_is_not(self, tmp_path: Path) -> None:
        recording, driven, _, flight = self.start(tmp_path)
        flight.handle(driven.now, UpstreamSent(1, BAD))
        driven.ask(b"", request("/nowhere", method="GET"))
        recording.close()
        assert files(tmp_path) == []

    def test_a_bug_in_one_is_written_whoever_follows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recording, driven, follow, flight = self.start(tmp_path)

        def buggy(_flight: Flight, _now: int, _event: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(Flight, "handle", buggy)
        with pytest.raises(ZeroDivisionError):
            flight.handle(driven.now, UpstreamSent(1, BAD))
        self.fail(driven, follow)
        recording.close()
        endings = [name.partition(".")[2] for name in files(tmp_path)]
        assert sorted(endings) == ["flight.journal", "session.journal"]


class TestWhatIsLeftOut:
    """The writer alone, with lives that are handed to it."""

    def test_what_the_directory_refuses_costs_one_note_each_way(self, tmp_path: Path) -> None:
        told, folder = Told(), tmp_path / "folder"
        folder.write_text("a file is no directory")
        writer = a_writer(folder)
        for number in range(3):
            writer.put(a_life(), f"{number}.session")
        drained(writer)
        folder.unlink()
        writer.put(a_life(), "3.session")
        writer.put(a_life(), "4.session")
        writer.close()
        writer.last_notes(told)
        assert told.notes == [
            ("error", f"cannot write journals to {folder}: File exists"),
            ("info", f"writing journals to {folder} again; 3 were lost"),
        ]
        assert files(folder) == ["3.session.journal", "4.session.journal"]

    def test_nothing_is_left_of_what_could_not_be_written_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_source: Path, _target: Path) -> None:
            raise OSError(28, "No space left on device")

        told = Told()
        monkeypatch.setattr(Path, "rename", full)
        writer = a_writer(tmp_path)
        writer.put(a_life(), "1.session")
        writer.close()
        writer.last_notes(told)
        assert told.notes == [("error", f"cannot write journals to {tmp_path}: No space left on device")]
        assert list(tmp_path.iterdir()) == []

    def test_more_than_so_many_a_minute_are_not_written(self, tmp_path: Path) -> None:
        told, clock = Told(), Clock()
        writer = a_writer(tmp_path, clock=clock, max_per_minute=2)
        for number in range(5):
            writer.put(a_life(), f"{number}.session")
            writer.tell(told)
        assert told.notes == []
        clock.now += 60
        writer.tell(told)
        writer.put(a_life(), "5.session")
        writer.close()
        assert told.notes == [("warning", "journals were left out: 3 beyond max_per_minute")]
        assert (writer.written, writer.skipped) == (3, {"beyond max_per_minute": 3})
        assert files(tmp_path) == ["0.session.journal", "1.session.journal", "5.session.journal"]

    def test_what_was_too_large_to_be_kept_is_told(self, tmp_path: Path) -> None:
        told, life = Told(), a_life()
        life.drop()
        writer = a_writer(tmp_path)
        writer.put(life, "1.session")
        writer.close()
        writer.last_notes(told)
        assert told.notes == [("warning", "journals were left out: 1 too large to be kept")]
        assert files(tmp_path) == []

    def test_what_comes_faster_than_it_is_written_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told, gate = Told(), threading.Event()
        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda source, target: (gate.wait(30), rename(source, target))[1])
        writer = a_writer(tmp_path, max_per_minute=1000)
        count = WAITING_MAX + 20
        for number in range(count):
            writer.put(a_life(), f"{number}.session")
        gate.set()
        writer.close()
        writer.last_notes(told)
        written = len(files(tmp_path))
        assert WAITING_MAX <= written <= WAITING_MAX + 2
        assert told.notes == [
            ("warning", f"journals were left out: {count - written} more than could be written")
        ]

    def test_nor_what_weighs_more_than_the_bound(self, tmp_path: Path) -> None:
        told, life = Told(), a_life()
        life.size = (1 << 20) + 1
        writer = a_writer(tmp_path, memory_bytes=1 << 20, max_journal_bytes=1 << 20)
        writer.put(life, "1.session")
        writer.close()
        writer.last_notes(told)
        assert told.notes == [("warning", "journals were left out: 1 more than could be written")]

    def test_a_life_that_cannot_be_written_down_is_told_and_the_next_one_is_written(
        self, tmp_path: Path
    ) -> None:
        told = Told()
        writer = Writer(settings(tmp_path), str(tmp_path), {})
        writer.put(a_life(), "1.session")
        writer.close()
        writer.last_notes(told)
        ((level, text),) = told.notes
        assert level == "error"
        assert text.startswith("a journal was not written, for it needs the plugin '")

    def test_a_bug_of_the_writers_costs_one_journal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told, life = Told(), a_life()
        life.entries[0] = (0, object(), [])
        writer = a_writer(tmp_path)
        writer.put(life, "1.session")
        writer.put(a_life(), "2.session")
        writer.close()
        writer.last_notes(told)
        ((level, text),) = told.notes
        assert level == "error"
        assert text.startswith("bug: ")
        assert text.endswith("; a journal was not written")
        assert files(tmp_path) == ["2.session.journal"]


class TestExpiry:
    def names(self, *days: int) -> list[str]:
        """Names of journals that are so many days old."""
        now = datetime.datetime.now(datetime.UTC)
        dates = [(now - datetime.timedelta(days=count)).strftime("%Y%m%dT%H%M%SZ") for count in days]
        return [f"{date}-{'a' * 32}.session.journal" for date in dates]

    def test_what_is_too_old_goes_at_once_though_nothing_is_written(self, tmp_path: Path) -> None:
        new, old, older = self.names(1, 4, 400)
        for name in (new, old, older):
            (tmp_path / name).write_bytes(b"")
        a_writer(tmp_path, keep_days=3).close()
        assert [path.name for path in tmp_path.iterdir()] == [new]

    def test_or_when_its_time_has_come(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journals, "_TIDY_SECONDS", 0.01)
        writer = a_writer(tmp_path, keep_days=3)
        (old,) = self.names(4)
        (tmp_path / old).write_bytes(b"")
        give_up_at = time.monotonic() + 30
        while (tmp_path / old).exists():
            assert time.monotonic() < give_up_at
            time.sleep(0.001)
        writer.close()

    def test_of_too_many_the_oldest_go(self, tmp_path: Path) -> None:
        names = self.names(5, 4, 3, 2, 1)
        for name in names:
            (tmp_path / name).write_bytes(b"")
        writer = a_writer(tmp_path, max_files=3)
        writer.put(a_life(), "1.session")
        writer.close()
        kept = {path.name for path in tmp_path.iterdir()}
        assert len(kept) == 3
        assert not kept & set(names[:3])
        assert kept > {names[4]}

    def test_what_is_none_of_ours_stays(self, tmp_path: Path) -> None:
        others = ["notes.txt", "old.journal", "20200101T000000Z-x.session.journal.gz", "20200101-a.journal"]
        for name in others:
            (tmp_path / name).write_bytes(b"")
        a_writer(tmp_path, keep_days=1, max_files=1).close()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


class TestOff:
    def test_without_a_directory_the_machines_are_bare(self) -> None:
        plan = a_plan(Config(plugins=[*NOBODY, PluginEntry(name="response-cache", config=ResponseCache())]))
        before = threading.active_count()
        recording = Journals(plan, Told())
        driven = Driven(recording, plan)
        (follow,) = [each for each in driven.tell(ClientSent(chat())) if isinstance(each, Follow)]
        assert type(driven.session) is Session
        assert type(recording.flight(plan, follow.order, 1, driven.now)) is Flight
        assert not recording.recording
        assert threading.active_count() == before

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", LOOPS)
    @pytest.mark.parametrize("on", [True, False])
    async def test_at_the_end_nobody_waits_for_a_writer_that_there_is_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str, *, on: bool
    ) -> None:
        closed: list[threading.Thread] = []
        close = Journals.close

        def look(recording: Journals) -> None:
            closed.append(threading.current_thread())
            close(recording)

        monkeypatch.setattr(Journals, "close", look)
        async with embedded({"gateway": {"journal": {"directory": str(tmp_path)} if on else {}}}):
            pass
        assert [thread is not threading.main_thread() for thread in closed] == [True] * on

    def test_with_one_they_are_recorded(self, tmp_path: Path) -> None:
        plan = a_plan_with(settings(tmp_path))
        recording = Journals(plan, Told())
        assert type(Driven(recording, plan).session) is SessionRecorder
        recording.close()


def test_seeds_and_epochs_are_each_machines_own(tmp_path: Path) -> None:
    plan = a_plan_with(settings(tmp_path))
    recording = Journals(plan, Told())
    sessions = [recording.session(plan, {1: plan}, "192.0.2.7", 5) for _ in range(3)]
    recording.close()
    seeds = {one.session.chance.seed for one in sessions if isinstance(one, SessionRecorder)}
    assert len(seeds) == 3
    epochs = [one.session.wall_epoch_ns for one in sessions if isinstance(one, SessionRecorder)]
    assert epochs == sorted(epochs)
    assert abs(epochs[0] + 5 - time.time_ns()) < 60 * SECOND
