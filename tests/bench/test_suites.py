"""Bench: fixed rates, crowds, memory, peers. Everything is small and short; nothing is said about speed.

What a figure must be is known without a clock: from gateways that keep something back, and from records that
are written by hand.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.bench import Relay, bench, running_upstream

TOGETHER: Final = 4
"""Connections, or streams at a time."""
TOO_MANY: Final = 70_000
"""Connections: a benchmark wants no more open files than 65,536, wherever it runs."""


def generated(kind: str, port: int, **task: object) -> dict[str, Any]:
    """What a load generator found."""
    whole = {"to": {"port": port, "dialect": "signed"}, **task}
    ran = bench("bench.generator", kind, json.dumps(whole))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with running_upstream() as port:
        yield port


class TestOpenLoop:
    @pytest.mark.parametrize("load", ["plain", "stream"])
    def test_every_request_that_is_due_is_sent_and_answered(self, upstream: int, load: str) -> None:
        found = generated("open", upstream, load=load, per_second=100, seconds=0.4, warm_up_seconds=0.1)
        assert (found["sent"], found["answers"], found["errors"]) == (50, 50, [])
        assert 0 < found["first_p50_ms"] <= found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]

    def test_who_is_due_while_a_gateway_stands_still_is_counted_as_waiting(self, upstream: int) -> None:
        """One connection, one slow answer in a hundred: a closed loop would count one. Here more than half
        of the requests are due in that time, and more than half have waited.
        """

        def slow(number: int, answer: bytes) -> bytes:
            if number == 10:
                threading.Event().wait(0.6)
            return answer

        with Relay(upstream, slow) as relay:
            found = generated("open", relay.port, load="plain", per_second=100, seconds=1, connections=1)
        assert (found["sent"], found["answers"]) == (100, 100)
        assert found["p50_ms"] > 50

    def test_a_rate_that_is_not_borne_is_told(self, upstream: int) -> None:
        held = threading.Event()

        def never(_: int, answer: bytes) -> bytes:
            held.wait()
            return answer

        with Relay(upstream, never) as relay:
            found = generated("open", relay.port, load="plain", per_second=50, seconds=5, connections=2)
            held.set()
        assert found["saturated"] is True
        assert found["answers"] == 0

    def test_a_wrong_answer_is_told(self, upstream: int) -> None:
        with Relay(upstream, lambda _, answer: answer.replace(b"Vienna", b"Berlin")) as relay:
            found = generated("open", relay.port, load="plain", per_second=50, seconds=5)
        assert "Berlin" in found["errors"][0]


class TestPaced:
    EVENTS: Final = 5

    def test_every_event_of_every_stream_comes(self, upstream: int) -> None:
        found = generated("paced", upstream, streams=TOGETHER, events=self.EVENTS, laps=2)
        assert (found["streams"], found["lost"], found["errors"]) == (3 * TOGETHER, 0, [])
        assert found["events"] == 3 * TOGETHER * (self.EVENTS + 4)
        assert found["first_p50_ms"] > 0

    def test_a_stream_that_is_cut_is_lost(self, upstream: int) -> None:
        def cut(number: int, answer: bytes) -> bytes:
            return answer.replace(b" word3", b" nothing", 1) if number else answer

        with Relay(upstream, cut) as relay:
            found = generated("paced", relay.port, streams=TOGETHER, events=self.EVENTS)
        assert (found["streams"], found["lost"]) == (2 * TOGETHER, TOGETHER)

    def test_with_a_connection_all_its_streams_are_lost(self, upstream: int) -> None:
        refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
        with Relay(upstream, lambda *_: refusal) as relay:
            found = generated("paced", relay.port, streams=TOGETHER, events=self.EVENTS)
        assert (found["streams"], found["lost"]) == (2 * TOGETHER, 2 * TOGETHER)
        assert found["errors"][0] == "HTTP/1.1 503 Service Unavailable: busy"


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """All suites of one shell: what was printed, and what was kept."""
    output = tmp_path_factory.mktemp("bench") / "figures.json"
    arguments = ["--load", "paced", "--curve", "--idle", "--soak", "--rounds", "1", "--seconds", "0.1"]
    arguments += [
        "--streams",
        "3,8",
        "--events",
        "5",
        "--sizes",
        f"2,8,{TOO_MANY}",
        "--idle-connections",
        "20",
    ]
    arguments += ["--soak-requests", "200", "--connections", "4"]
    arguments += ["--only", "stargate trio,upstream*", "--output", str(output)]
    ran = bench("bench", *arguments, seconds_max=110)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(output.read_text())
    assert isinstance(found, dict)
    return ran.stdout, found


class TestSuites:
    def test_crowds_of_streams(self, whole_run: tuple[str, dict[str, Any]]) -> None:
        _, found = whole_run
        crowds = [(one["target"], one["streams"], one["result"]["lost"]) for one in found["paced"]]
        assert crowds == [
            (target, streams, 0) for target in ("stargate trio", "upstream itself") for streams in (3, 8)
        ]

    def test_idle_connections_are_all_served_in_the_end(self, whole_run: tuple[str, dict[str, Any]]) -> None:
        _, found = whole_run
        (crowd,) = found["idle"]
        assert (crowd["target"], crowd["answers"], crowd["errors"]) == ("stargate trio", 20, [])

    def test_numbers_of_connections_but_not_more_than_files_may_be_open(
        self, whole_run: tuple[str, dict[str, Any]]
    ) -> None:
        printed, found = whole_run
        targets = ("stargate trio", "upstream itself")
        assert {(one["target"], one["connections"]) for one in found["curve"]} == {
            (target, connections) for target in targets for connections in (2, 8)
        }
        for target, files in zip(targets, ("74,296", "70,200"), strict=True):
            assert f"they need {files} open files" in found["failures"][f"{target}, {TOO_MANY:,} connections"]
        assert f"stargate trio, {TOO_MANY:,} connections: they need" in printed.replace("\n", " ")

    def test_memory_over_requests(self, whole_run: tuple[str, dict[str, Any]]) -> None:
        _, found = whole_run
        (soak,) = found["soak"]
        assert soak["requests"] == [100, 200]
        assert all(mib > 10 for mib in soak["resident_mib"])

    def test_each_has_its_table(self, whole_run: tuple[str, dict[str, Any]]) -> None:
        printed, _ = whole_run
        for begin in (
            "| 8, stargate trio ",
            "| idle connections",
            "| plain requests/s over",
            "| memory over",
        ):
            assert begin in printed


@pytest.mark.timeout(300)  # LiteLLM takes half a minute to start, and more on a busy machine
@pytest.mark.parametrize("peer", ["nginx", "portkey", "litellm"])
def test_a_peer_answers(peer: str, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    arguments = ["--only", peer, "--load", "plain,stream,tools", "--rounds", "1", "--seconds", "0.1"]
    ran = bench("bench", *arguments, "--connections", "2", "--output", str(output), seconds_max=280)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(output.read_text())
    if reason := found["skipped"].get(peer):
        pytest.skip(reason)
    assert found["failures"] == {}
    assert [one["kind"] for one in found["figures"]] == ["plain", "stream", "tools"]


def test_a_peer_that_does_not_start_ends_nothing(tmp_path: Path) -> None:
    program = tmp_path / "litellm" / "bin" / "litellm"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'the moon is in the wrong house' >&2\nexit 3\n")
    program.chmod(0o755)
    output = tmp_path / "figures.json"
    arguments = ["--only", "litellm,upstream*", "--load", "plain", "--rounds", "1", "--seconds", "0.1"]
    ran = bench("bench", *arguments, "--folder", str(tmp_path), "--output", str(output))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(output.read_text())
    assert [one["target"] for one in found["figures"]] == ["upstream itself"]
    assert found["failures"]["litellm, at the start"].endswith("the moon is in the wrong house")
    assert "Not borne: litellm, at the start: " in ran.stdout


# ------------------------------------------------------------------------------------------------ the figures

ABOUT: Final = {
    "date": "2026-01-02",
    "cpu": "Abacus",
    "cores": 2,
    "kernel": "6.1",
    "versions": {"CPython": "3.11.0"},
    "connections": 32,
    "writes": 8,
    "rounds": 2,
    "seconds": 1.0,
    "others": 0.0,
}


def printed(tmp_path: Path, **record: object) -> str:
    """The page of a record."""
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"about": ABOUT, "skipped": {}, "samples": [], **record}))
    ran = bench("bench", "--markdown", "--output", str(path))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def row(page: str, begin: str) -> list[str]:
    """The cells of the one row that begins so."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {begin} ")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_what_is_added_is_the_difference_within_a_round(tmp_path: Path) -> None:
    def at(target: str, number: int, rate: int, ms: float, *, saturated: bool = False) -> dict[str, Any]:
        result = {"sent": 100, "answers": 100, "saturated": saturated, "errors": []}
        times = dict.fromkeys(("p50_ms", "first_p50_ms"), ms) | dict.fromkeys(
            ("p99_ms", "first_p99_ms"), 2 * ms
        )
        whole = {**result, **times, "max_ms": 3 * ms}
        return {"target": target, "kind": "plain", "round": number, "per_second": rate, "result": whole}

    samples = [
        *(at("upstream itself", number, rate, 1.0 + number) for number in (0, 1) for rate in (100, 200)),
        at("envoy", 0, 100, 1.5),
        at("envoy", 1, 100, 2.7),
        at("envoy", 0, 200, 9.0),
        at("envoy", 1, 200, 900.0, saturated=True),
    ]
    page = printed(tmp_path, open_loop=samples)
    assert row(page, "plain, envoy") == ["0.60 / 1.20", "-"]


def test_goals_are_held_against_what_was_measured(tmp_path: Path) -> None:
    def crowd(target: str, lost: int, first_ms: float, kib: float | None) -> dict[str, Any]:
        result = {
            "streams": 4000,
            "lost": lost,
            "errors": [],
            "open_max": 2000,
            "events": 4000,
            "events_per_second": 40_000.0,
            **dict.fromkeys(("first_p50_ms", "first_p99_ms", "late_p50_ms", "late_p99_ms"), first_ms),
        }
        of = {
            "target": target,
            "streams": 2000,
            "per_second": 25.0,
            "cpu_seconds": None if kib is None else 0.04,
        }
        return {**of, "result": result, "kib_per_stream": kib}

    page = printed(
        tmp_path,
        paced=[
            crowd("upstream itself", 0, 2.0, None),
            crowd("stargate uvloop", 0, 11.0, 30.0),
            crowd("stargate trio", 3, 13.0, 41.0),
        ],
        soak=[{"target": "stargate trio", "requests": [500_000, 1_000_000], "resident_mib": [40.0, 41.0]}],
    )
    assert row(page, "2,000, stargate trio") == [
        *("3", "2,000", "40,000", "80%", "11.0", "11.0", "11.0", "10.0", "41.0"),
    ]
    assert row(page, "2,000 streams at 25 events/s: lost, all loops") == ["≤ 0", "3", "no"]
    added = "the same: added time to first token, p99"
    assert row(page, f"{added}, uvloop, ms") == ["≤ 10", "9", "yes"]
    assert row(page, f"{added}, trio, ms") == ["≤ 10", "11", "no"]
    assert row(page, "memory for an open stream, the worst loop, KiB") == ["≤ 40", "41", "no"]
    assert row(page, "growth of memory over a million requests, the worst loop") == ["≤ 5.0%", "2.5%", "yes"]
    assert "asyncio" not in page, "of what was not measured nothing is said"
