"""The golden files: what each dialect answers to recorded traffic, written down to be looked at.

    python tests/golden/generate.py

writes them anew. tests/core/dialects/test_recorded_everywhere.py fails when an answer is another than it was:
look at the difference, and write them anew if it is meant.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def main() -> None:
    """Write all of them, and take away what is none any more."""
    sys.path.insert(0, str(TESTS))
    from support.recorded import GOLDEN, goldens

    kept: set[Path] = set()
    for path, body in goldens():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        kept.add(path)
    for ending in ("json", "sse"):
        for path in GOLDEN.glob(f"*/*.{ending}"):
            if path not in kept:
                path.unlink()


if __name__ == "__main__":
    main()
