"""Secrets: values that can be used but not shown.

A key or a credential lives in a `Secret` from the moment it is parsed until the moment a signature or a
comparison needs it. Printing, formatting, logging, pickling, copying into JSON: each either shows `Secret(…)`
or raises, so that a leak needs a deliberate `reveal()` — a word one can search for.

What people say to models, and models to them, travels as plain bytes and texts: it is what the gateway is
for. But it has no business in what a debugger, a traceback with its locals or a failed assertion shows. So
whatever carries it is `Private`: its `repr` tells of each field how much is in it, and not what.
"""

import enum
import hmac
from collections.abc import Sized
from typing import Any, ClassVar, Final, NoReturn, final

_SHOWN: Final = "Secret(…)"


@final
class Secret:
    """One secret text. `reveal()` is the only way out."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for a signer or a comparison and for nothing else."""
        return self._text

    def matches(self, other: str) -> bool:
        """Whether `other` is this secret, in time that does not depend on where they differ."""
        # A peer's text may hold what no UTF-8 has: it is merely another text.
        return hmac.compare_digest(*(text.encode("utf-8", "surrogatepass") for text in (self._text, other)))

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _SHOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._text)

    def __hash__(self) -> int:
        # A dictionary keyed by secrets would leak their equality through timing; key it by a digest instead.
        raise TypeError("a Secret cannot be hashed")

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


class Private:
    """A mixin for Structs that carry others' words. Shown are numbers, members of enumerations, what `SHOWN`
    names, and of all the rest the type and the length. They are encoded and compared like any others.
    """

    __slots__ = ()
    SHOWN: ClassVar[tuple[str, ...]] = ()
    """The fields whose texts are not private: ids and names of our own."""
    __struct_fields__: ClassVar[tuple[str, ...]]

    def __rich_repr__(self, /) -> list[tuple[str, Any]]:
        fields = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, value if name in self.SHOWN else _Sketch(value)) for name, value in fields]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


class _Sketch:
    """Stands for a value where it would be shown."""

    __slots__ = ("_text",)

    def __init__(self, value: object) -> None:
        if value is None or isinstance(value, int | float | enum.Enum | Secret | Private):
            self._text = repr(value)
        else:
            size = f" of {len(value)}" if isinstance(value, Sized) else ""
            self._text = f"<{type(value).__name__}{size}>"

    def __repr__(self) -> str:
        return self._text
