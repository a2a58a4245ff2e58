"""Reading JSON whose shape nobody has promised: a value of the wrong type counts as an empty one."""

from collections.abc import Mapping, Sequence
from typing import Any, cast


def as_object(value: Any) -> Mapping[str, Any]:
    """A JSON object, or an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def as_array(value: Any) -> Sequence[Any]:
    """A JSON array, or an empty one."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def as_integer(value: Any) -> int | None:
    """A JSON integer, or none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_texts(value: Any) -> tuple[str, ...]:
    """A JSON array of texts; one text counts as an array of one."""
    return (
        (value,)
        if isinstance(value, str)
        else tuple(text for text in as_array(value) if isinstance(text, str))
    )
