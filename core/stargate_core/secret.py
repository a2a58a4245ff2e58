"""Secrets: values that can be used but not shown.

A key or a credential lives in a `Secret` from the moment it is parsed until the moment a signature or a
comparison needs it. Printing, formatting, logging, pickling, copying into JSON: each either shows `Secret(…)`
or raises, so that a leak needs a deliberate `reveal()` — a word one can search for.
"""

import hmac
from typing import Final, NoReturn, final

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
