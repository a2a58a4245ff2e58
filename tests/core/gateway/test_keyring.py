"""The keyring: when the store is asked, and what sessions are told of its answers."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.gateway.keyring import Keyring
from stargate_core.messages import AskKeys, KeysChanged, KeysRead, KeysUnread, Note, TellKeys, Ticked
from stargate_core.questions import Keys

ANN: Final = {"aa" * 32: b'{"consumer":"ann"}'}
BOTH: Final = {**ANN, "bb" * 32: b'{"consumer":"bob"}'}
START: Final = 7 * SECOND


def keyring(**limits: int) -> Keyring:
    """A keyring that has just asked for the first time."""
    machine = Keyring(START, **limits)
    assert machine.deadline == START
    assert machine.handle(START, Ticked()) == [AskKeys("")]
    return machine


class TestAsking:
    def test_a_second_after_each_answer_the_store_is_asked_again(self) -> None:
        machine = keyring()
        machine.handle(START + 5, KeysRead(None))
        assert machine.deadline == START + 5 + SECOND
        assert machine.handle(machine.deadline - 1, Ticked()) == []
        assert machine.handle(machine.deadline, Ticked()) == [AskKeys("")]

    def test_it_says_which_keys_it_knows(self) -> None:
        machine = keyring()
        machine.handle(START, KeysRead(Keys("41", ANN)))
        assert machine.handle(machine.deadline, Ticked()) == [AskKeys("41")]

    def test_only_one_question_is_under_way(self) -> None:
        machine = keyring()
        assert machine.handle(START + 5 * SECOND, Ticked()) == []

    def test_an_answer_that_never_comes_is_not_waited_for(self) -> None:
        machine = keyring()
        assert machine.deadline == START + 10 * SECOND
        assert machine.handle(machine.deadline, Ticked()) == [AskKeys("")]


class TestTelling:
    def test_sessions_are_told_of_what_is_new(self) -> None:
        machine = keyring()
        told = machine.handle(START, KeysRead(Keys("1", ANN)))
        assert told == [TellKeys(KeysChanged(ANN)), Note("info", "keys: 1 lives in the store")]
        told = machine.handle(START, KeysRead(Keys("2", BOTH)))
        assert told == [TellKeys(KeysChanged(BOTH)), Note("info", "keys: 2 live in the store")]
        told = machine.handle(START, KeysRead(Keys("3", {})))
        assert told == [TellKeys(KeysChanged({})), Note("info", "keys: 0 live in the store")]

    def test_of_what_they_know_they_are_not_told_again(self) -> None:
        machine = keyring()
        machine.handle(START, KeysRead(Keys("1", ANN)))
        assert machine.handle(START, KeysRead(None)) == []
        assert machine.handle(START, KeysRead(Keys("1", ANN))) == []

    def test_while_the_store_is_down_the_keys_stay_and_nothing_is_said(self) -> None:
        machine = keyring()
        machine.handle(START, KeysRead(Keys("1", ANN)))
        for _ in range(3):
            assert machine.handle(machine.deadline, Ticked()) == [AskKeys("1")]
            assert machine.handle(machine.deadline, KeysUnread()) == []
        assert machine.handle(machine.deadline, Ticked()) == [AskKeys("1")]

    def test_a_store_that_was_wiped_has_no_keys(self) -> None:
        machine = keyring()
        machine.handle(START, KeysRead(Keys("1", ANN)))
        assert TellKeys(KeysChanged({})) in machine.handle(START, KeysRead(Keys("", {})))

    def test_too_many_keys_are_not_taken_and_that_is_told_once(self) -> None:
        machine = keyring(keys_max=1)
        machine.handle(START, KeysRead(Keys("1", ANN)))
        (note,) = machine.handle(START, KeysRead(Keys("2", BOTH)))
        assert isinstance(note, Note)
        assert note.level == "error"
        assert note.text == "keys: 2 live in the store, more than 1: the ones before stay"
        assert machine.handle(START, KeysRead(Keys("3", BOTH))) == []
        # It is known, though not taken: the store need not send it again and again.
        assert machine.handle(machine.deadline, Ticked()) == [AskKeys("3")]
        machine.handle(START, KeysRead(Keys("4", ANN)))
        assert len(machine.handle(START, KeysRead(Keys("5", BOTH)))) == 1


EVENTS: Final = st.one_of(
    st.just(Ticked()),
    st.just(KeysUnread()),
    st.just(KeysRead(None)),
    st.builds(KeysRead, st.builds(Keys, st.sampled_from(["", "1", "2"]), st.sampled_from([{}, ANN, BOTH]))),
)


class TestAlways:
    @given(st.lists(st.tuples(st.integers(0, 3 * SECOND), EVENTS), max_size=30))
    def test_the_store_is_asked_again_within_its_patience(
        self, steps: list[tuple[int, Ticked | KeysUnread | KeysRead]]
    ) -> None:
        machine = Keyring(0)
        now = 0
        for duration_ns, event in steps:
            now += duration_ns
            machine.handle(now, event)
        due = machine.deadline
        assert due <= now + 10 * SECOND
        (asked,) = machine.handle(max(due, now), Ticked())
        assert isinstance(asked, AskKeys)
