r"""Searching a text for any of several patterns: one pass, whatever they are.

Unlike a finder this tells only that there is a match, so a match may be of any length, and a text that comes
in pieces is searched without holding anything back. `\b`, `^` and `$` are characters of their own here: a
sign that no text has stands before and behind it.
"""

from collections.abc import Sequence
from typing import Final

from stargate_core.patterns.automaton import EDGE, Automaton
from stargate_core.patterns.syntax import Chain, Chars, Node, Parsed

_OTHER: Final = "\ufffe"
"""What is read where a text has the sign all the same: another that is no character."""
_NO_WORD: Final = f"[\\W{EDGE}]"


class Search:
    """Looks for patterns."""

    def __init__(self, patterns: Sequence[Parsed]) -> None:
        assert patterns, "nothing to look for"
        self._automaton = Automaton([_edged(one) for one in patterns], [one.ignore_case for one in patterns])

    def found(self, text: str) -> bool:
        """Whether a whole text has a match of any."""
        return self.begin().feed(text, final=True)

    def begin(self) -> "Searching":
        """One text that comes in pieces, from its beginning."""
        return Searching(self._automaton)


class Searching:
    """One text that comes in pieces."""

    __slots__ = ("_found", "_state")

    def __init__(self, automaton: Automaton) -> None:
        self._state = automaton.search()[EDGE]
        self._found = False

    def feed(self, text: str, *, final: bool = False) -> bool:
        """More of the text; whether there has been a match. final: nothing follows."""
        if self._found:
            return True
        if EDGE in text:
            text = text.replace(EDGE, _OTHER)
        if final:
            text += EDGE
        state = self._state
        for character in text:
            state = state[character]
            if state.accepts:
                self._found = True
                return True
        self._state = state
        return False


def _edged(parsed: Parsed) -> Node:
    nodes: list[Node] = [parsed.node]
    if parsed.at_start or parsed.word_before:
        nodes.insert(0, Chars(EDGE if parsed.at_start else _NO_WORD))
    if parsed.at_end or parsed.word_after:
        nodes.append(Chars(EDGE if parsed.at_end else _NO_WORD))
    return Chain(tuple(nodes))
