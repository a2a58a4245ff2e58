"""Changes to JSON that leave it JSON: what a fuzzer of bytes hardly ever finds by itself.

One place in the document is chosen and changed: a value becomes another of any type, a member is dropped,
doubled, or renamed to the name of another, a list grows. What is no JSON is left to libFuzzer's own changes,
and so is every fourth document that is.
"""

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

Mutate = Callable[[bytes, int], bytes]
"""libFuzzer's own change: the bytes, and how many there may be."""

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, 1e308, -0.0, 0.5, "", "a", "auto", "none"),
    *("text", "user", "assistant", "system", "tool", "\x00", "\ud83d\ude00", "é" * 70, [], {}, [[]], [{}]),
    *(
        {"type": "text", "text": "x"},
        [{"type": "text", "text": ""}],
        {"type": "auto"},
        "data:image/png;base64,AA==",
    ),
)


def mutated(data: bytes, size_max: int, seed: int, otherwise: Mutate) -> bytes:
    """Other bytes than these, at most `size_max`."""
    chance = random.Random(seed)
    if chance.randrange(4) == 0:
        return otherwise(data, size_max)
    try:
        document = msgspec.json.decode(data)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            document = changed(document, chance)
        made = msgspec.json.encode(document)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return otherwise(data, size_max)
    return made if len(made) <= size_max else otherwise(data, size_max)


def changed(value: Any, chance: random.Random) -> Any:
    """The value with one place in it changed."""
    if isinstance(value, dict) and value and chance.randrange(6):
        return _changed_object(value, chance)
    if isinstance(value, list) and value and chance.randrange(6):
        return _changed_list(value, chance)
    if isinstance(value, str) and chance.randrange(2):
        at = chance.randrange(len(value) + 1)
        return (
            value[:at]
            + chance.choice(("", "\x00", "é", '"', "\\", "\n", "{", ":", "0", value))
            + value[at + 1 :]
        )
    if type(value) is int and chance.randrange(2):
        return value + chance.choice((-1, 1, -value, 2**31, -(2**40)))
    return chance.choice(VALUES)


def _changed_object(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    name = chance.choice(sorted(value))
    made = dict(value)
    match chance.randrange(8):
        case 0:
            del made[name]
        case 1:
            made[chance.choice((*sorted(value), "type", "content", "cache_control", "name", name + "x"))] = (
                made.pop(name)
            )
        case 2:
            made[chance.choice(("type", "content", "text", "stream", "name", "x"))] = chance.choice(VALUES)
        case _:
            made[name] = changed(value[name], chance)
    return made


def _changed_list(value: list[Any], chance: random.Random) -> list[Any]:
    at = chance.randrange(len(value))
    match chance.randrange(8):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return [*value, value[at]]
        case 2:
            return [*value, chance.choice(VALUES)]
        case _:
            return [*value[:at], changed(value[at], chance), *value[at + 1 :]]
