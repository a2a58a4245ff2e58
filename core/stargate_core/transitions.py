"""Transition tables: which rule answers which event in which state.

A machine's states are types, each holding only what is valid in it, and its rules stand in a table keyed by
`(type(state), type(event))`. A rule takes the machine, its state, the time, the event and the list of
commands to add to, and returns the next state. The table is complete or the import fails: every cell has a
rule, or is ignored with a reason that a reader can weigh. `docs/states.md` is written from these tables.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

M = TypeVar("M")
R = TypeVar("R", bound=Callable[..., Any])
Rule: TypeAlias = Callable[..., Any]


class IncompleteTable(TypeError):
    """A (state, event) pair has neither a rule nor a reason to be ignored."""


class Table(Generic[M]):
    """The rules of one machine.

    states and events are all the types there are; `seal()` checks that the rules cover them all.
    """

    def __init__(self, name: str, states: tuple[type, ...], events: tuple[type, ...]) -> None:
        self.name = name
        self.states = states
        self.events = events
        self.rules: dict[tuple[type, type], Rule] = {}
        self.reasons: dict[tuple[type, type], str] = {}

    def on(self, state: type | tuple[type, ...], *events: type) -> Callable[[R], R]:
        """Register the decorated rule for these events in this state (or these states)."""

        def register(rule: R) -> R:
            for each in state if isinstance(state, tuple) else (state,):
                for event in events:
                    self._claim(each, event)
                    self.rules[each, event] = rule
            return rule

        return register

    def ignore(self, state: type | tuple[type, ...], *events: type, because: str) -> None:
        """These events change nothing in this state, for this reason."""
        for each in state if isinstance(state, tuple) else (state,):
            for event in events:
                self._claim(each, event)
                self.rules[each, event] = _stay
                self.reasons[each, event] = because

    def seal(self) -> dict[tuple[type, type], Rule]:
        """The finished table. Raises IncompleteTable naming every missing cell."""
        missing = [
            f"{s.__name__} x {e.__name__}"
            for s in self.states
            for e in self.events
            if (s, e) not in self.rules
        ]
        if missing:
            raise IncompleteTable(f"{self.name}: no rule for {', '.join(missing)}")
        return self.rules

    def _claim(self, state: type, event: type) -> None:
        if state not in self.states or event not in self.events:
            raise TypeError(f"{self.name}: {state.__name__} x {event.__name__} is not a cell of this table")
        if (state, event) in self.rules:
            raise TypeError(f"{self.name}: {state.__name__} x {event.__name__} has a rule already")


def _stay(_machine: object, state: Any, _now: int, _event: object, _out: list[Any]) -> Any:
    return state
