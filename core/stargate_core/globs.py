"""Globs: model names with wild cards, as configurations and price lists write them.

`*` stands for any text and `?` for any character; everything else stands for itself. Callers choose the names
that are matched, so a pattern never goes back behind a star once the text after it was found: with plain `.*`
a few stars would take a name of some thousand characters hours.
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def pattern_of(globs: Iterable[str]) -> re.Pattern[str]:
    """One pattern that fully matches what any of the globs stands for; of no globs, nothing."""
    alternatives = [_regex(glob) for glob in globs]
    return re.compile("|".join(alternatives) if alternatives else "(?!)", re.DOTALL)


def _regex(glob: str) -> str:
    first, *rest = [re.escape(part).replace(r"\?", ".") for part in glob.split("*")]
    if not rest:
        return first
    *middle, last = rest
    return "".join((first, *(f"(?>.*?{part})" for part in middle), ".*", last))


class GlobTable(Generic[T]):
    """Values by glob. The first row that matches counts."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[tuple[str, T]]) -> None:
        self._rows = tuple((pattern_of((glob,)), value) for glob, value in rows)

    def find(self, *names: str) -> T | None:
        """The value for the first of these names that any row matches; None if none does."""
        for name in names:
            for pattern, value in self._rows:
                if pattern.fullmatch(name) is not None:
                    return value
        return None
