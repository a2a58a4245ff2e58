"""Bench: it still runs, and it fails when an answer is wrong. Nothing is said here about speed.

Everything runs as it does for a person, as `python -m bench…` from the repository's root.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.bench import ROOT, SECONDS_MAX, Relay, bench, running_upstream

TARGETS: Final = {
    "nginx",
    "envoy",
    "stargate uvloop",
    "stargate asyncio",
    "stargate trio",
    "stargate uvloop redis",
    "stargate asyncio redis",
    "stargate trio redis",
    "portkey",
    "litellm",
    "stargate in-process",
    "asgi hypercorn trio",
    "asgi hypercorn asyncio",
    "asgi uvicorn",
    "asgi granian",
    "stargate trio h11",
    "stargate trio no limits",
    "stargate trio cache",
    "upstream itself",
}


def load(port: int, kind: str, dialect: str = "signed") -> tuple[int, dict[str, object]]:
    """Send 50 requests; the exit status and what was found."""
    arguments = ["--port", str(port), "--dialect", dialect, "--kind", kind, "--requests", "50"]
    ran = bench("bench.load", *arguments, "--connections", "4")
    assert ran.stdout, ran.stderr
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return ran.returncode, found


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with running_upstream() as port:
        yield port


@pytest.mark.parametrize(("kind", "events"), [("plain", 1), ("stream", 64), ("long", 1), ("tools", 1)])
def test_every_answer_comes_and_is_whole(upstream: int, kind: str, events: int) -> None:
    status, found = load(upstream, kind)
    assert (status, found["errors"]) == (0, [])
    assert (found["answers"], found["events"]) == (50, 50 * events)


def test_the_parts_of_a_load_come_in_turn(upstream: int) -> None:
    arguments = ["--port", str(upstream), "--dialect", "signed", "--kind", "mixed", "--connections", "1"]
    ran = bench("bench.load", *arguments, "--requests", "12")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Two of six are streams of 64 events.
    assert json.loads(ran.stdout)["events"] == 4 * 64 + 8


def test_a_run_lasts_until_an_answer_has_come(upstream: int) -> None:
    arguments = ["--port", str(upstream), "--dialect", "signed", "--kind", "stream", "--seconds", "0"]
    ran = bench("bench.load", *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["answers"] >= 1


@pytest.mark.parametrize("kind", ["plain", "stream"])
def test_an_unsigned_request_fails_the_run(upstream: int, kind: str) -> None:
    status, found = load(upstream, kind, dialect="converse")
    assert status == 1
    assert "403" in str(found["errors"])


def test_a_refusal_fails_the_run_of_callers_inside_too(upstream: int, tmp_path: Path) -> None:
    proxy = {"region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{upstream}"}
    config = tmp_path / "stargate.yaml"
    config.write_text(
        json.dumps(  # JSON is YAML.
            {
                "consumers": [
                    {"username": "other", "keyauth_credentials": [{"key": "sk-not-the-bench-s-own"}]}
                ],
                "plugins": [{"name": "api-key-auth"}, {"name": "bedrock-proxy", "config": proxy}],
            }
        )
    )
    ran = subprocess.run(
        [sys.executable, "-m", "bench.in_process", str(config)],
        cwd=ROOT,
        input=json.dumps({"to": {"port": 0, "dialect": "openai"}, "load": "plain", "requests": 5}),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS_MAX,
    )
    ready, found = ran.stdout.splitlines()
    assert ready == "ready"
    assert json.loads(found)["answers"] == 0
    assert json.loads(found)["errors"][0].startswith("403: ")


@pytest.fixture(scope="module")
def thief(upstream: int) -> Iterator[int]:
    """A gateway that keeps back one chunk of every stream but a connection's first."""

    def stolen(number: int, answer: bytes) -> bytes:
        if not number:
            return answer
        head, _, body = answer.partition(b"\r\n\r\n")
        size = int(body.partition(b"\r\n")[0], 16) + len(body.partition(b"\r\n")[0]) + 4
        return head + b"\r\n\r\n" + body[size:]

    with Relay(upstream, stolen) as relay:
        yield relay.port


def test_a_stolen_chunk_fails_the_run(thief: int) -> None:
    status, found = load(thief, "stream")
    assert status == 1
    assert "not the" in str(found["errors"])
    assert isinstance(found["answers"], int)
    assert found["answers"] >= 1, "the first stream of each connection was whole"


def test_an_answer_that_says_something_else_fails_the_run(upstream: int) -> None:
    with Relay(upstream, lambda _, answer: answer.replace(b"Vienna", b"Berlin")) as relay:
        for kind in ("plain", "tools"):
            status, found = load(relay.port, kind)
            assert (status, found["answers"]) == (1, 0)
            assert "Berlin" in str(found["errors"])


# ------------------------------------------------------------------------------------------------ a whole run


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Every target that comes as a wheel, each measured for a moment: what was printed, and what was kept."""
    output = tmp_path_factory.mktemp("bench") / "figures.json"
    arguments = ["--all", "--load", "mixed", "--rounds", "1", "--seconds", "0.1", "--connections", "4"]
    arguments += ["--folder", str(output.parent), "--output", str(output)]
    ran = bench("bench", *arguments, seconds_max=110)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(output.read_text())
    assert isinstance(found, dict)
    for name, reason in found["skipped"].items():
        assert f"{name}: skipped, {reason}" in ran.stderr
    return ran.stdout, found


def test_every_target_is_measured_or_skipped(everything: tuple[str, dict[str, Any]]) -> None:
    printed, found = everything
    measured = {one["target"] for one in found["figures"]}
    assert measured == TARGETS - found["skipped"].keys()
    assert all(f"| mixed, {name} " in printed for name in measured)
    # What the package itself brings is always there; nobody has brought peers to that folder.
    assert not found["skipped"].keys() & {"stargate trio", "stargate asyncio", "stargate in-process"}
    assert found["skipped"].keys() >= {"portkey", "litellm"}


def test_every_gateway_answered_and_was_looked_at(everything: tuple[str, dict[str, Any]]) -> None:
    _, found = everything
    for one in found["figures"]:
        assert one["per_second"] > 0, one
        if one["target"] == "upstream itself":
            assert (one["cpu_us"], one["resident_mib"]) == (None, None)
        else:
            assert one["cpu_us"] is not None, one  # It may be less than a tick of the kernel's clock.
            assert one["resident_mib"] > 5, one


def test_the_last_run_is_printed_again(everything: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    printed, found = everything
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(found))
    ran = bench("bench", "--markdown", "--output", str(path))
    assert (ran.returncode, ran.stdout) == (0, printed)
    if importlib.util.find_spec("matplotlib") is None:
        assert "there is no picture" in ran.stderr
    else:
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert "mixed, stargate trio" in path.with_suffix(".svg").read_text()


def test_a_choice_is_measured_alone(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    arguments = ["--only", "nobody's*,upstream*", "--load", "stream", "--rounds", "2", "--seconds", "0.1"]
    ran = bench("bench", *arguments, "--output", str(output))
    assert ran.returncode == 2
    assert "there is no target nobody's*" in ran.stderr
    ran = bench("bench", *arguments, "--only", "upstream*", "--output", str(output))
    assert ran.returncode == 0, ran.stderr
    samples = json.loads(output.read_text())["samples"]
    assert [(one["target"], one["kind"], one["round"]) for one in samples] == [
        ("upstream itself", "stream", 0),
        ("upstream itself", "stream", 1),
    ]


# ------------------------------------------------------------------------------------------------ the figures


def sample(target: str, number: int, answers: int, cpu_seconds: float, **result: Any) -> dict[str, Any]:
    """One second of plain requests."""
    found = {
        "answers": answers,
        "seconds": 1.0,
        "all_answers": 2 * answers,
        "all_seconds": 2.0,
        "events": answers,
        "errors": [],
        "unanswered": 0,
        "p50_ms": 3.0,
        "p99_ms": 9.0,
        **result,
    }
    of = {"target": target, "kind": "plain", "round": number}
    return {**of, "result": found, "cpu_seconds": cpu_seconds, "resident_mib": 40.0 + number}


def test_ratios_are_the_medians_of_those_within_a_round(tmp_path: Path) -> None:
    about = {
        "date": "2026-01-02",
        "cpu": "Abacus",
        "cores": 2,
        "kernel": "6.1",
        "versions": {"CPython": "3.11.0"},
        "connections": 32,
        "writes": 8,
        "rounds": 3,
        "seconds": 1.0,
        "others": 0.25,
    }
    samples = [
        # The machine halves its pace from round to round, and so does everybody on it.
        *(sample("envoy", number, 8000 >> number, 1.6) for number in range(3)),
        sample("stargate trio", 0, 4000, 1.6),
        sample("stargate trio", 1, 1000, 1.6, unanswered=3),
        sample("stargate trio", 2, 800, 1.6),
    ]
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"about": about, "skipped": {"asgi granian": "no"}, "samples": samples}))
    ran = bench("bench", "--markdown", "--output", str(path))
    assert ran.returncode == 0, ran.stderr
    caption, table, starved, goals, skipped = ran.stdout.split("\n\n")
    assert caption.startswith("2026-01-02, 2 cores of an Abacus, Linux 6.1; CPython 3.11.0;")
    assert "Other programs had 25% of the cores' time" in caption
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
    envoy, trio = (dict(zip(rows[0], row, strict=True)) for row in rows[2:])
    assert (envoy["per second"], envoy["of Envoy"], envoy["of Envoy, by CPU"]) == ("4,000", "1.00", "1.00")
    # Of 0.5, 0.25 and 0.4; the ratio of the medians would be 0.25.
    assert (trio["per second"], trio["min - max"], trio["of Envoy"]) == ("1,000", "800 - 4,000", "0.40")
    # 200, 800 and 1000 µs beside 100, 200 and 400.
    assert (trio["CPU µs each"], trio["of Envoy, by CPU"], trio["busy"]) == ("800", "0.40", "80%")
    assert trio["MiB"] == "42"
    assert starved == "Connections without any answer in a round: 3 (plain, stargate trio)."
    assert "| plain requests, trio, of Envoy | ≥ 0.70 |     0.40 |    no |" in goals
    assert skipped == "Skipped: asgi granian: no.\n"


WORKER: Final = """
import time
while time.process_time() < 0.5:
    pass
print(flush=True)
input()
"""
MASTER: Final = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
WATCHER: Final = """
import os, subprocess, sys
from bench.processes import Process, tree_cpu_seconds
command = [sys.executable, "-c", *sys.argv[1:]]
popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
popen.stdout.readline()
process = Process(0, popen)
print(process.worker() != popen.pid, process.cpu_seconds())
popen.communicate("end")
print(tree_cpu_seconds(os.getpid()))
"""


def test_what_a_servers_worker_costs_is_the_servers_cost() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WATCHER, MASTER, WORKER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS_MAX,
    )
    is_the_child, working_seconds, gone_seconds = ran.stdout.split()
    assert is_the_child == "True"
    # The kernel counts in ticks, and may miss a few.
    assert float(working_seconds) > 0.4
    assert float(gone_seconds) > 0.4, "what it has cost is not forgotten when it has gone"


# -------------------------------------------------------------------------------------------- other questions


@pytest.mark.parametrize("target", ["stargate trio", "stargate asyncio"])
def test_a_profile_names_where_the_time_goes(target: str) -> None:
    ran = bench("bench", "--profile", target, "--load", "stream", "--seconds", "1", "--connections", "4")
    assert ran.returncode == 0, ran.stderr
    assert "session.py" in ran.stdout
    assert "eventstream.py" in ran.stdout


def test_the_core_is_measured() -> None:
    ran = bench("bench", "core")
    assert ran.returncode == 0, ran.stderr
    rows = {row[:46].strip(): float(row[46:]) for row in ran.stdout.splitlines()[1:]}
    assert rows["plain request"] > rows["of which a signature"] > 0
