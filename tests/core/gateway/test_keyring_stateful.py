"""The keyring told anything in any order, beside a model that is one version and one moment.

The model knows what any keyring must: whoever is told of keys is told of all of them, once for each version,
and the store is asked exactly when the last answer is old enough or the last question was waited for in vain.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stargate_core.clock import SECOND
from stargate_core.gateway.keyring import Keyring
from stargate_core.messages import (
    AskKeys,
    KeyringCommand,
    KeysChanged,
    KeysRead,
    KeysUnread,
    Note,
    TellKeys,
    Ticked,
)
from stargate_core.questions import Keys

KEYS_MAX = 3


class KeyringAgainstModel(RuleBasedStateMachine):
    """Any answers at any time, also to questions that nobody has asked."""

    @initialize(start=st.integers(0, 5), interval=st.sampled_from([1, 3]), patience=st.sampled_from([1, 10]))
    def begin(self, start: int, interval: int, patience: int) -> None:
        self.now = start * SECOND
        self.interval_ns, self.patience_ns = interval * SECOND, patience * SECOND
        self.keyring = Keyring(
            self.now, interval_ns=self.interval_ns, patience_ns=self.patience_ns, keys_max=KEYS_MAX
        )
        self.due = self.now
        self.version = ""
        self.told: dict[str, bytes] = {}
        """What sessions know."""
        self.last: dict[str, bytes] = {}
        """What the store has said last."""
        self.complaints = 0
        self.crowded = False

    def judge(self, commands: list[KeyringCommand]) -> None:
        for command in commands:
            match command:
                case TellKeys(KeysChanged(keys)):
                    self.told = dict(keys)
                case Note("error"):
                    self.complaints += 1
                case Note(level):
                    assert level == "info"
                case AskKeys(version):
                    assert version == self.version

    @rule(nanoseconds=st.sampled_from([0, 1, SECOND - 1, SECOND, 10 * SECOND]))
    def time_passes(self, nanoseconds: int) -> None:
        self.now += nanoseconds

    @rule()
    def it_is_told_the_time(self) -> None:
        commands = self.keyring.handle(self.now, Ticked())
        assert commands == ([AskKeys(self.version)] if self.now >= self.due else [])
        if commands:
            self.due = self.now + self.patience_ns

    @rule()
    def nobody_answers(self) -> None:
        assert self.keyring.handle(self.now, KeysUnread()) == []
        self.due = self.now + self.interval_ns

    @rule()
    def nothing_is_new(self) -> None:
        assert self.keyring.handle(self.now, KeysRead(None)) == []
        self.due = self.now + self.interval_ns

    @rule(version=st.sampled_from("abc"), count=st.integers(0, KEYS_MAX + 2))
    def the_store_answers(self, version: str, count: int) -> None:
        keys = {f"{version}{number}": b"{}" for number in range(count)}
        before = self.complaints
        commands = self.keyring.handle(self.now, KeysRead(Keys(version, keys)))
        self.due = self.now + self.interval_ns
        self.judge(commands)
        if version == self.version:
            assert commands == []
            return
        self.version, self.last = version, keys
        if count > KEYS_MAX:
            assert self.complaints - before == (not self.crowded), "said once"
            self.crowded = True
        else:
            assert self.told == keys
            self.crowded = False

    @invariant()
    def it_waits_as_long_as_the_model(self) -> None:
        if hasattr(self, "keyring"):
            assert self.keyring.deadline == self.due

    @invariant()
    def sessions_know_what_the_store_has_said_unless_it_is_too_much(self) -> None:
        if hasattr(self, "keyring") and not self.crowded:
            assert self.told == self.last


TestKeyring = KeyringAgainstModel.TestCase
