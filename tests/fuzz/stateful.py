"""hypothesis' state machines as targets: the same rules, models and invariants as in the ordinary suite, with
a fuzzer's bytes in the place of hypothesis' own choices, and with coverage to guide it.

The bytes mean what hypothesis' version makes of them. Another version plays other games from the same corpus;
what a finding was is therefore kept as a test of its own.
"""

from collections.abc import Callable
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test


def played(machine: type[RuleBasedStateMachine]) -> Callable[[bytes], object]:
    """A target: one game of this machine, decided by the bytes."""
    test: Any = get_state_machine_test(machine)
    play: Callable[[bytes], object] = test.hypothesis.fuzz_one_input
    return play
