"""Which worlds are lived: those of a base, by default the commit at hand.

So each commit meets worlds that no other one has met, and meets the same ones each time.
"""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]


def commit() -> str:
    """The commit at hand; `no commit` outside of a repository."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "no commit"


def seeds_of(base: str, first: int = 0) -> Iterator[int]:
    """The seeds of a base, without end."""
    number = first
    while True:
        yield int.from_bytes(hashlib.blake2b(f"{base}:{number}".encode(), digest_size=6).digest())
        number += 1
