"""One target under libFuzzer: the process that the runner starts for each.

    python -m fuzz.engine TARGET [libFuzzer's own flags and corpus folders]

`.fuzz/TARGET/again`, which the runner writes, is the same for libFuzzer's own use.

Only the core is instrumented, as far as the target imports it: coverage of the tests' own code would lead the
fuzzer astray. A crash is saved by libFuzzer; what it was is written beside it, for people.
"""

import hashlib
import sys
import traceback
from pathlib import Path

import atheris

from fuzz.known import Target, load

SHOWN_BYTES_MAX = 4000


def describe(target: Target, data: bytes, folder: Path) -> None:
    """Write beside a crash's input what it is and how it failed."""
    name = f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    shown = repr(data[:SHOWN_BYTES_MAX])
    text = f"{target.name}: {target.invariant}\n\n{len(data)} bytes: {shown}\n\n{traceback.format_exc()}"
    (folder / f"{name}.txt").write_text(text)


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=["stargate_core"], enable_loader_override=False):
        target = load(name)
    crashes = Path(next((flag.removeprefix("-artifact_prefix=") for flag in flags if "=" in flag), "."))

    def one(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            describe(target, data, crashes)
            raise

    settings = {}
    mutated = target.mutated
    if mutated is not None:

        def change(data: bytes, size_max: int, seed: int) -> bytes:
            return mutated(data, size_max, seed, atheris.Mutate)

        settings["custom_mutator"] = change
    again = Path(".fuzz") / name / "again"
    atheris.Setup([str(again), *flags], one, **settings)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
