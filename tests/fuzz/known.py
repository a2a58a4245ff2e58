"""The targets by name, and what each module of targets/ may hold.

target(data)        one input; raises where the invariant of the module's docstring doesn't hold
seeds()             inputs to begin with
WORDS               what libFuzzer may put in: the words of the format
INPUT_BYTES_MAX     how long an input may become, where the default is too little
mutated(…)          changes that keep the format (json_mutator.py)
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from fuzz.json_mutator import Mutate

FOLDER: Final = Path(__file__).parent
CORPUS: Final = FOLDER / "corpus"
INPUT_BYTES_MAX: Final = 4096
NAMES: Final = tuple(sorted(path.stem for path in (FOLDER / "targets").glob("[a-z]*.py")))


class Target(msgspec.Struct, frozen=True):
    """One target."""

    name: str
    invariant: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]
    words: Sequence[bytes]
    input_bytes_max: int
    mutated: Callable[[bytes, int, int, Mutate], bytes] | None

    @property
    def corpus(self) -> list[Path]:
        """The inputs that are kept."""
        return sorted(path for path in (CORPUS / self.name).glob("*") if path.is_file())


def load(name: str) -> Target:
    """A target by its name: its module is imported now, and the code under test with it."""
    module = importlib.import_module(f"fuzz.targets.{name}")
    return Target(
        name,
        " ".join((module.__doc__ or "").split()),
        module.target,
        getattr(module, "seeds", _no_seeds),
        getattr(module, "WORDS", ()),
        getattr(module, "INPUT_BYTES_MAX", INPUT_BYTES_MAX),
        getattr(module, "mutated", None),
    )


def _no_seeds() -> Iterator[bytes]:
    return iter(())
