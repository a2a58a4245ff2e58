"""`stargate replay`: live a journal again, and tell what happened.

What is printed is the conversation, as the core renders it (journal/render.py). It stops where the machine
does something else than it did when the journal was written, and the exit status says so.

`--against PYTHON` has another interpreter's Stargate live the same journal, and compares the two step by
step: which of my releases does it otherwise? `--to-test DIR` makes a test of it, to be kept.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Final

import click
import msgspec

from stargate.cli.examples import examples
from stargate.plugins import BadPlugin, installed
from stargate_core.journal.format import SEALED_MAGIC, Journal, Unreadable, read
from stargate_core.journal.living import Living
from stargate_core.journal.readable import plain
from stargate_core.journal.render import render
from stargate_core.journal.replay import machine_of, replay
from stargate_core.journal.words import Words
from stargate_core.journal.write import encoded, lived
from stargate_core.views import Plugin

DIVERGED: Final = 1
UNREADABLE: Final = 2
_AGAINST_SECONDS: Final = 600
_TEST: Final = '''\
"""A request that was recorded, as a test: {cause}."""

from pathlib import Path
from typing import Final

from stargate.plugins import installed
from stargate_core.journal.format import read
from stargate_core.journal.replay import replay

JOURNAL: Final = Path(__file__).with_name("{name}.journal")


def test_what_happened_then_happens_again() -> None:
    journal = read(JOURNAL.read_bytes())
    verdict = replay(journal, installed())
    assert verdict.divergence is None, verdict.divergence.why
    assert verdict.fingerprint == journal.trailer.fingerprint == "{fingerprint}"
'''


class Folded(msgspec.Struct, frozen=True):
    """One step, as `--folds` writes it: what two interpreters are compared by."""

    entry: int
    event: str
    fold: str
    orders: list[str]
    raised: str


@click.command(
    "replay",
    epilog=examples(
        "stargate replay journals/20260102T030405Z-0123.session.journal",
        "stargate replay --key journal.key sealed.journal",
        "stargate replay --against /opt/old/bin/python failed.journal",
        "stargate replay --to-test tests/regressions failed.journal",
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
@click.option("--whole", is_flag=True, help="Print long streams whole.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the private key, for a journal that is encrypted.",
)
@click.option(
    "--against", metavar="PYTHON", help="Another interpreter, whose Stargate lives it too, to be compared."
)
@click.option(
    "--to-test",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a regression test there, with the journal beside it.",
)
@click.option("--folds", is_flag=True, hidden=True, help="For --against: the steps, a line of JSON each.")
def replay_command(
    file: Path,
    quiet: bool,
    whole: bool,
    key_file: Path | None,
    against: str | None,
    folder: Path | None,
    folds: bool,
) -> None:
    """Live a journal again, and tell what happened. FILE may be - for standard input.

    Exit status: 0 if it went as it did in life, 1 if not, 2 if the journal can't be read.
    """
    try:
        data = _opened(file, key_file)
        journal = read(data)
        plugins = installed()
        if folds:
            for step in _steps(journal, plugins):
                click.echo(msgspec.json.encode(step))
        elif against is not None:
            sys.exit(_compare(journal, data, plugins, against))
        elif folder is not None:
            _write_test(lived(journal.header, journal.entries, plugins, anew=True), folder)
        else:
            sys.exit(_tell(journal, plugins, quiet=quiet, whole=whole))
    except (Unreadable, BadPlugin) as error:
        click.echo(f"error: {file}: {error}", err=True)
        sys.exit(UNREADABLE)


def _opened(file: Path, key_file: Path | None) -> bytes:
    """The journal's bytes, decrypted if need be. Raises Unreadable."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        if not data.startswith(SEALED_MAGIC):
            return data
        if key_file is None:
            raise Unreadable("it is encrypted: give the file with its private key as --key")
        from stargate.journal_keys import opened  # An optional library.

        return opened(data, key_file.read_text())
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    except (ImportError, ValueError) as error:
        raise Unreadable(str(error)) from None


def _tell(journal: Journal, plugins: Mapping[str, type[Plugin]], *, quiet: bool, whole: bool) -> int:
    """Print the conversation and the verdict; the exit status."""
    if not quiet:
        for line in render(journal, plugins, whole=whole):
            click.echo(line)
        click.echo()
    verdict = replay(journal, plugins)
    divergence = verdict.divergence
    if divergence is None:
        click.echo(f"same: {verdict.entries} entries, fingerprint {verdict.fingerprint}")
        return 0
    known = journal.trailer.diverged_at == divergence.number
    click.echo(
        f"diverged at entry {divergence.number} of {len(journal.entries)}: {plain(divergence.why)}"
        + ("; so it did when it was written, without secrets and words" if known else "")
    )
    return DIVERGED


def _steps(journal: Journal, plugins: Mapping[str, type[Plugin]]) -> list[Folded]:
    """Every step, whether it agrees with the journal or not."""
    words = Words()
    steps: list[Folded] = []
    for step in Living(machine_of(journal, plugins), journal.entries):
        event, _ = words.event(step.entry.event)
        orders = [line for command in step.commands for line in _all_of(words, command)]
        steps.append(Folded(step.number, event, step.fold.hex(), orders, step.raised))
    return steps


def _all_of(words: Words, command: msgspec.Struct) -> list[str]:
    order, details = words.command(command)
    return [order, *(f"    {line}" for line in details)]


def _compare(journal: Journal, data: bytes, plugins: Mapping[str, type[Plugin]], python: str) -> int:
    """Print where another interpreter's Stargate parts from this one; the exit status. Raises Unreadable."""
    try:
        ran = subprocess.run(  # noqa: S603  (the operator names the interpreter)
            [python, "-m", "stargate", "replay", "--folds", "-"],
            input=data,
            capture_output=True,
            timeout=_AGAINST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreadable(f"{python} could not be asked: {error}") from None
    try:
        theirs = [msgspec.json.decode(line, type=Folded) for line in ran.stdout.splitlines()]
    except msgspec.MsgspecError:
        theirs = []
    if ran.returncode or not theirs:
        told = plain(ran.stderr.decode("utf-8", "replace").strip()[-500:])
        raise Unreadable(f"{python} can't live it: {told or 'it says nothing'}")
    ours = _steps(journal, plugins)
    for mine, other in zip_longest(ours, theirs):
        if mine != other:
            _tell_difference(mine, other, python)
            return DIVERGED
    click.echo(f"same: {len(ours)} entries, here and with {python}")
    return 0


def _tell_difference(mine: Folded | None, other: Folded | None, python: str) -> None:
    step = mine or other
    assert step is not None
    click.echo(f"diverged at entry {step.entry}: {step.event}")
    for name, one in (("here", mine), (python, other)):
        click.echo(f"{name}:")
        if one is None:
            click.echo("    nothing: it had ended before")
            continue
        orders = [*one.orders, *([f"it failed by a bug of its own: {one.raised}"] if one.raised else [])]
        for line in orders or ["nothing"]:
            click.echo(f"    {line}")


def _write_test(journal: Journal, folder: Path) -> None:
    """Write a journal as it is lived now, and a test that holds the next release to it."""
    # The file is to be run, and what stands in a journal may be anybody's.
    cause = re.sub(r"[^A-Za-z0-9_]", "", journal.header.cause) or "nothing went wrong"
    request = re.sub(r"[^0-9a-f]", "", journal.header.request_id)[:8] or journal.header.kind
    name = re.sub(r"[^a-z0-9_]", "_", f"{cause.lower()}_{request}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.journal").write_bytes(encoded(journal))
    test = folder / f"test_{name}.py"
    test.write_text(_TEST.format(cause=cause, name=name, fingerprint=journal.trailer.fingerprint))
    click.echo(f"wrote {test}, and {name}.journal beside it")
