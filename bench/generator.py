"""The load generators as one program: it does the task it is given, and prints what came of it.

    python -m bench.generator closed|open|paced|idle TASK

The task and the result are lines of JSON (`Task`, `OpenTask`, `PacedTask`, `IdleTask`, and their results).
"""

import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import uvloop

from bench.idle import IdleTask, hold
from bench.load import Task, measure
from bench.open_loop import OpenTask, measure_open
from bench.paced import PacedTask, measure_paced

_KINDS: Final[dict[str, tuple[type[Any], Callable[[Any], Awaitable[Any]]]]] = {
    "closed": (Task, measure),
    "open": (OpenTask, measure_open),
    "paced": (PacedTask, measure_paced),
    "idle": (IdleTask, hold),
}


async def _do(kind: str, line: str) -> None:
    type_, perform = _KINDS[kind]
    result = await perform(msgspec.json.decode(line, type=type_))
    print(msgspec.json.encode(result).decode(), flush=True)


def main() -> None:
    """Do the task."""
    gc.disable()  # a pause of ours would look like one of the gateway's
    uvloop.run(_do(sys.argv[1], sys.argv[2]))


if __name__ == "__main__":
    main()
