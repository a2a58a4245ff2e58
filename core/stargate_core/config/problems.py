"""What is wrong with a configuration, and exactly where.

A person who has written a file wants three things from an error: the place (line, column, and the path
through the settings), what was expected against what was found, and the name they probably meant. And they
want all errors at once, so problems are collected, and raised together at the end.

Two rules keep secrets out of them. A value is shown only if it stands in the file itself and its field
holds no secret: what came from an environment variable is described, never quoted. A name that no schema
knows is shown only if it looks like a name, because `{key:sk-live-1}` (no space after the colon) makes a
secret into a name.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

Path: TypeAlias = tuple[str | int, ...]
"""The way through the settings: ("plugins", 0, "config", "timeout")."""

HIDDEN: Final = {"hidden": True}
"""`Meta(extra=HIDDEN)`: a field that is no secret, but where people put one by mistake; never shown."""

PROBLEMS_MAX: Final = 200
"""After so many the loader gives up; nobody reads on, and a hostile file must not cost more."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NAME_CHARS_MAX: Final = 40
_SHOWN_CHARS_MAX: Final = 60
_NEAR: Final = 0.6
"""difflib's own cutoff; it finds `timeuot`, `rate-limitter` and `key-auth`, and leaves strangers alone."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """A position in a file; line and column count from 1, as editors do."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True, gc=False):
    """One thing that is wrong, or (as a warning) that the author should know."""

    file: str
    line: int
    column: int
    path: str
    """The settings' way there, as `plugins[0].config.timeout`; empty for the file as a whole."""
    message: str
    """What was expected, and what was found."""
    hint: str = ""
    """What to write instead, where that can be guessed."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{path}{self.message}{hint}"


class ConfigProblems(Exception):
    """A configuration that can't be used; `problems` has everything that is wrong with it, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Misfit(ValueError):
    """A value its Struct refuses: raised by `__post_init__`, so that a Config built in code is checked too.

    A plugin's own config Struct may raise it, or any ValueError. A Struct with several things to check yields
    one for each and hands them to `refuse`.
    """

    def __init__(
        self,
        field: str | Path,
        expected: str,
        found: str | None = None,
        hint: str = "",
        *,
        beside: tuple[str, ...] = (),
    ) -> None:
        self.path: Path = field if isinstance(field, tuple) else (field,) if field else ()
        """The setting at fault, from the Struct on, where the loader then points; () for the whole Struct."""
        self.expected: str = expected
        """What the setting should be: "expected …". Never with a value in it."""
        self.found: str | None = found
        """The value, if it may be shown. The loader leaves it out if it came from the environment."""
        self.hint: str = hint
        """What to write instead. May have the value in it, and is left out with it."""
        self.beside: tuple[str, ...] = beside
        """The other settings this depends on; where one of them is broken, nothing is said."""
        self.others: tuple[Misfit, ...] = ()
        message = expected if found is None else f"{expected}, found {quoted(found)}"
        super().__init__(f"{path_text(self.path)}: {message}" if self.path else message)


def refuse(misfits: Iterable[Misfit]) -> None:
    """Raise the first of these, with the others beside it; nothing happens if there are none."""
    every = tuple(misfits)
    if every:
        every[0].others = every[1:]
        raise every[0]


def path_text(path: Path) -> str:
    """A path as it is shown: `plugins[0].config.timeout`, `models["my model"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _NAME.fullmatch(step) and "." not in step:
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


def quoted(text: str) -> str:
    """A text as it is shown in a message: in quotes, on one line, and not too long."""
    if len(text) > _SHOWN_CHARS_MAX:
        text = text[: _SHOWN_CHARS_MAX - 1] + "…"
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return f'"{shown}"'


def looks_like_name(text: str) -> bool:
    """Whether a key is a name that may be shown, not something else that slipped into its place."""
    return len(text) <= _NAME_CHARS_MAX and _NAME.fullmatch(text) is not None


def nearest(wrong: str, names: Iterable[str]) -> str | None:
    """The right name that `wrong` was probably meant to be; None if none is near."""
    if len(wrong) > _NAME_CHARS_MAX:
        return None
    folded = {name.lower().replace("-", "_"): name for name in names}
    close = difflib.get_close_matches(wrong.lower().replace("-", "_"), folded, n=1, cutoff=_NEAR)
    return folded[close[0]] if close else None
