"""Automata: several patterns at once, one step a character.

Each character of a pattern is a *position* (Glushkov's construction), a bit of a number; a *state* is the set
of positions that the text so far may have ended in. From state to state it goes by looking up one character
in a dictionary; a transition that nobody has needed before is computed then and kept. So a character costs
one lookup, and never more than one pass over all positions.

What is kept is bounded: a text can be written that needs ever new states. When there are too many, all are
forgotten and made anew as they are needed. What is found never depends on what is kept.

Two ways to run: *anchored*, from a place where a match is to begin (`begin`), and *searching*, where a match
may begin anywhere (`search`), which tells only that there is one.
"""

import re
from collections.abc import Sequence
from typing import Final

from stargate_core.patterns.syntax import Chain, Chars, Choice, Node, Repeat

EDGE: Final = "\uffff"
"""Stands for a text's end where somebody puts it there: no class matches it that does not name it. It is no
character of any text (Unicode, 23.7).
"""
KEPT_MAX: Final = 20_000
"""Transitions of one automaton; each is about a hundred bytes."""


class State(dict[str, "State"]):
    """What the text so far may have ended in, and where each next character leads."""

    __slots__ = ("_automaton", "_searching", "accepts", "positions")

    def __init__(self, automaton: "Automaton", positions: int, *, searching: bool) -> None:
        super().__init__()
        self._automaton = automaton
        self._searching = searching
        self.positions = positions
        """As bits; 0: no match goes on from here."""
        self.accepts = automaton.accepted(positions)
        """The numbers of the patterns that may end here, in order."""

    def __missing__(self, character: str) -> "State":
        return self._automaton.step(self, character, searching=self._searching)


class Automaton:
    """Several patterns in one. nodes: theirs; ignore_case: for each, whether case counts for nothing."""

    def __init__(self, nodes: Sequence[Node], ignore_case: Sequence[bool]) -> None:
        self._tests: dict[tuple[str, bool], int] = {}
        """Each class of characters, and the positions that it stands at."""
        self._follow: list[int] = []
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for node, ignoring in zip(nodes, ignore_case, strict=True):
            _, first, last = self._add(node, ignoring)
            self._firsts.append(first)
            self._lasts.append(last)
        self._compiled = [
            ((source, ignoring), re.compile(source, re.IGNORECASE if ignoring else 0), mask)
            for (source, ignoring), mask in self._tests.items()
        ]
        self._kept = 0
        self._states: dict[tuple[int, bool], State] = {}
        self._begins: dict[int, State] = {}

    def begin(self, patterns: int) -> State:
        """The state in which a match of these patterns, as bits of their numbers, is about to begin."""
        state = self._begins.get(patterns)
        if state is None:
            # Its positions are not the text's: the step from here goes to the first ones.
            state = self._begins[patterns] = _Begin(self, patterns)
        return state

    def search(self) -> State:
        """The state in which a match of any pattern may begin anywhere."""
        return self._state(0, searching=True)

    def firsts(self, patterns: int) -> int:
        """The positions that a match of these patterns may begin at."""
        return _union(self._firsts, patterns)

    def accepted(self, positions: int) -> tuple[int, ...]:
        """The patterns that may end in one of these positions."""
        return tuple(number for number, last in enumerate(self._lasts) if last & positions)

    def step(self, state: State, character: str, *, searching: bool) -> State:
        """Where a character leads, which is kept from now on."""
        follow = _union(self._follow, state.positions)
        if searching:
            follow |= self.firsts((1 << len(self._firsts)) - 1)
        return self.keep(state, character, follow & self._at(character), searching=searching)

    def first_step(self, patterns: int, character: str) -> int:
        """The positions behind the first character."""
        return self.firsts(patterns) & self._at(character)

    def keep(self, state: State, character: str, positions: int, *, searching: bool) -> State:
        """Keep a transition."""
        if self._kept >= KEPT_MAX:
            self._forget()
        self._kept += 1
        target = state[character] = self._state(positions, searching=searching)
        return target

    def _forget(self) -> None:
        for state in (*self._states.values(), *self._begins.values()):
            state.clear()
        self._states.clear()
        self._kept = 0

    def _state(self, positions: int, *, searching: bool) -> State:
        key = (positions, searching)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State(self, positions, searching=searching)
        return state

    def _at(self, character: str) -> int:
        """The positions that a character may stand at."""
        mask = 0
        for (source, _), test, positions in self._compiled:
            if test.match(character) is not None and (character != EDGE or EDGE in source):
                mask |= positions
        return mask

    # ---------------------------------------------------------------------------------------------- building

    def _add(self, node: Node, ignoring: bool) -> tuple[bool, int, int]:
        """Whether the node may match nothing, and the positions it may begin and end at."""
        match node:
            case Chars(source):
                bit = 1 << len(self._follow)
                self._follow.append(0)
                key = (source, ignoring)
                self._tests[key] = self._tests.get(key, 0) | bit
                return False, bit, bit
            case Chain(nodes):
                return self._chain([self._add(one, ignoring) for one in nodes])
            case Choice(nodes):
                parts = [self._add(one, ignoring) for one in nodes]
                first = last = 0
                for _, one_first, one_last in parts:
                    first, last = first | one_first, last | one_last
                return any(nullable for nullable, _, _ in parts), first, last
            case Repeat(inner, least, most):
                return self._repeat(inner, least, most, ignoring)

    def _repeat(self, inner: Node, least: int, most: int | None, ignoring: bool) -> tuple[bool, int, int]:
        count = max(1, least) if most is None else most
        parts = [self._add(inner, ignoring) for _ in range(count)]
        parts = [(nullable or at >= least, first, last) for at, (nullable, first, last) in enumerate(parts)]
        if most is None and parts:
            _, first, last = parts[-1]
            self._link(last, first)
        return self._chain(parts)

    def _chain(self, parts: Sequence[tuple[bool, int, int]]) -> tuple[bool, int, int]:
        nullable, first, last = True, 0, 0
        for one_nullable, one_first, one_last in parts:
            self._link(last, one_first)
            first = first | one_first if nullable else first
            last = last | one_last if one_nullable else one_last
            nullable = nullable and one_nullable
        return nullable, first, last

    def _link(self, lasts: int, firsts: int) -> None:
        while lasts:
            lowest = lasts & -lasts
            self._follow[lowest.bit_length() - 1] |= firsts
            lasts ^= lowest


class _Begin(State):
    """Where a match of some patterns begins."""

    __slots__ = ("_patterns",)

    def __init__(self, automaton: Automaton, patterns: int) -> None:
        super().__init__(automaton, 0, searching=False)
        self._patterns = patterns

    def __missing__(self, character: str) -> State:
        automaton = self._automaton
        positions = automaton.first_step(self._patterns, character)
        return automaton.keep(self, character, positions, searching=False)


def _union(masks: Sequence[int], bits: int) -> int:
    """All masks whose numbers are in `bits`, together."""
    found = 0
    while bits:
        lowest = bits & -bits
        found |= masks[lowest.bit_length() - 1]
        bits ^= lowest
    return found
