"""Any bytes are a journal or Unreadable; whatever is a journal is written again as it was, and is lived again
and rendered, up to where it parts, or is Unreadable: never another exception.
"""

import itertools
import random
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from fuzz.json_mutator import Mutate, changed
from stargate_core.journal.format import MAGIC, Unreadable, read
from stargate_core.journal.render import render
from stargate_core.journal.replay import replay
from stargate_core.journal.write import encoded
from stargate_core.plugins.registry import BUILT_IN
from support.journals import SCENARIOS, journal

INPUT_BYTES_MAX: Final = 8000
_LINES_MAX: Final = 2000
_STEERING: Final = {"Cc", "Zl", "Zp", "Cs"}
"""Categories of characters that steer a terminal or break a line."""


def target(data: bytes) -> None:
    """Read it; if it can be read, live it."""
    try:
        found = read(data)
    except Unreadable as error:
        assert str(error)
        return
    assert read(encoded(found)) == found
    try:
        replay(found, BUILT_IN)
        for line in itertools.islice(render(found, BUILT_IN), _LINES_MAX):
            # Letters that this Python knows nothing of are no harm.
            assert _STEERING.isdisjoint(map(unicodedata.category, line))
    except Unreadable as error:
        assert str(error)


def mutated(data: bytes, size_max: int, seed: int, otherwise: Mutate) -> bytes:
    """Changes within a frame, or to the order of frames, that leave the rest whole."""
    chance = random.Random(seed)
    if chance.randrange(4) == 0:
        return otherwise(data, size_max)
    try:
        frames = list(_frames(data))
        at = chance.randrange(len(frames))
        match chance.randrange(6):
            case 0:
                frames.insert(at, chance.choice(frames))
            case 1:
                del frames[at]
            case _:
                frames[at] = changed(frames[at], chance)
        if isinstance(frames[-1], dict) and "entries" in frames[-1]:
            frames[-1]["entries"] = len(frames) - 2
        made = _written(frames)
    except (msgspec.MsgspecError, ValueError, IndexError, RecursionError, OverflowError, TypeError):
        return otherwise(data, size_max)
    return made if len(made) <= size_max else otherwise(data, size_max)


def _frames(data: bytes) -> Iterator[Any]:
    at = len(MAGIC)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        yield msgspec.msgpack.decode(data[at + 4 : at + 4 + size])
        at += 4 + size


def _written(frames: list[Any]) -> bytes:
    raw = map(msgspec.msgpack.encode, frames)
    return MAGIC + b"".join([len(each).to_bytes(4) + each for each in raw])


def seeds() -> Iterator[bytes]:
    """The lives that tests of journals are about."""
    for scenario in SCENARIOS.values():
        for life in scenario():
            data = encoded(journal(life))
            if len(data) < INPUT_BYTES_MAX:
                yield data
