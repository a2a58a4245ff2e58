"""The runner.

    python -m fuzz TARGET… --seconds 60      these, one after the other; "all": every one
    python -m fuzz all --jobs 2              so many at the same time
    python -m fuzz all --minimise            keep what reaches most with the fewest bytes

A target begins from the corpus in the repository, from its seeds, and from whatever was found in earlier
runs, which is kept under `.fuzz/` and not in the repository. Crashes stay there too, each with a text that
says what it is. The exit status is 1 if there was any.
"""

import argparse
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from fuzz.known import CORPUS, NAMES, Target, load

WORK: Final = Path(".fuzz")
KEPT_FILES_MAX: Final = 20
KEPT_BYTES_MAX: Final = 48 * 1024
"""Of one target's corpus in the repository."""
_STATUS: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")


class Outcome(msgspec.Struct, frozen=True):
    """How one run went."""

    name: str
    seconds: float
    processor_seconds: float
    """What the machine gave it: on one that is busy otherwise, far less."""
    executions: int
    edges: int
    features: int
    crashes: int

    def __str__(self) -> str:
        rate = self.executions / max(self.processor_seconds, 1)
        return (
            f"{self.name:14} {self.seconds:7.0f} s {self.processor_seconds:7.0f} s of processor time "
            f"{self.executions:10,} runs {rate:8.0f}/s "
            f"{self.edges:6,} edges {self.features:7,} features {self.crashes:3} crashes"
        )


def prepared(target: Target) -> Path:
    """The target's folder, with its corpus, seeds and dictionary in it."""
    folder = WORK / target.name
    found = folder / "found"
    for each in (found, folder / "seeds", folder / "crashes"):
        each.mkdir(parents=True, exist_ok=True)
    (WORK / ".gitignore").write_text("*\n")
    for data in target.seeds():
        (folder / "seeds" / _name(data)).write_bytes(data)
    words = ['"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words]
    (folder / "words").write_text("".join(words))
    # libFuzzer starts itself again to merge, by the name it was started with.
    again = folder / "again"
    again.write_text(f'#!/bin/sh\nexec {sys.executable} -m fuzz.engine {target.name} "$@"\n')
    again.chmod(0o755)
    return folder


def _name(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]


class Run(msgspec.Struct, frozen=True):
    """libFuzzer's, when it is over."""

    said: str
    status: int
    processor_seconds: float


def engine(name: str, *flags: str) -> Run:
    """Run libFuzzer on a target."""
    command = [str(WORK / name / "again"), *flags]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        # Waited for here, because only so one learns what it has used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Run(said, process.returncode, used.ru_utime + used.ru_stime)


def fuzzed(name: str, seconds: int) -> Outcome:
    """Fuzz a target for so long."""
    target = load(name)
    folder = prepared(target)
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    run = engine(
        name,
        f"-artifact_prefix={folder / 'crashes'}/",
        f"-max_total_time={seconds}",
        f"-max_len={target.input_bytes_max}",
        *([f"-dict={folder / 'words'}"] if target.words else []),
        *("-timeout=30", "-rss_limit_mb=3000", "-print_final_stats=1", "-verbosity=1"),
        str(folder / "found"),
        *(str(corpus), str(folder / "seeds")),
    )
    (folder / "log").write_text(run.said)
    status = _STATUS.findall(run.said)
    executions, edges, features = map(int, status[-1]) if status else (0, 0, 0)
    counted = re.search(r"stat::number_of_executed_units:\s+(\d+)", run.said)
    executions = int(counted[1]) if counted else executions
    crashes = [path for path in (folder / "crashes").iterdir() if path.suffix != ".txt"]
    if run.status and not crashes:
        sys.stderr.write(run.said[-3000:])
    return Outcome(
        name,
        time.monotonic() - began,
        run.processor_seconds,
        executions,
        edges,
        features,
        len(crashes) or bool(run.status),
    )


def minimise(name: str) -> str:
    """Make the repository's corpus anew, of everything that is known."""
    target = load(name)
    folder = prepared(target)
    merged = folder / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    sources = [folder / "found", CORPUS / name, folder / "seeds"]
    flags = ["-merge=1", f"-max_len={target.input_bytes_max}", "-timeout=30", "-rss_limit_mb=3000"]
    engine(name, *flags, str(merged), *(str(source) for source in sources if source.is_dir()))
    return kept(name, merged)


def kept(name: str, merged: Path) -> str:
    """Put some of these inputs into the repository, small and large ones, in the place of those before."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*"):
        if not path.name.startswith("finding-"):
            path.unlink()
    inputs = sorted(merged.iterdir(), key=lambda each: (each.stat().st_size, each.name))
    room = KEPT_BYTES_MAX
    for path in inputs[:: -(-len(inputs) // KEPT_FILES_MAX) or 1]:
        data = path.read_bytes()
        room -= len(data)
        if room < 0:
            break
        (folder / _name(data)).write_bytes(data)
    return f"{name:14} {len(list(folder.iterdir())):4} files of {len(inputs)}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the core.")
    parser.add_argument("targets", nargs="+", choices=(*NAMES, "all"), metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--minimise", action="store_true", help="make the repository's corpus anew")
    arguments = parser.parse_args()
    names = NAMES if "all" in arguments.targets else arguments.targets
    failed = False
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        if arguments.minimise:
            for line in pool.map(minimise, names):
                sys.stdout.write(f"{line}\n")
            return 0
        for outcome in pool.map(lambda name: fuzzed(name, arguments.seconds), names):
            sys.stdout.write(f"{outcome}\n")
            failed = failed or outcome.crashes > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
