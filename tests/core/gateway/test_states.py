"""The states of an exchange: all are known to the table, and those in which an answer comes are alike."""

from typing import get_args

from stargate_core.aws.operations import Operation
from stargate_core.dialects.face import Call
from stargate_core.gateway.exchange import TABLE
from stargate_core.gateway.states import (
    SETTLED,
    Awaiting,
    Collecting,
    Peeking,
    Settled,
    State,
    Streaming,
    Tailing,
)
from stargate_core.gateway.upstream import SharedAnswer
from support.compiled import interpreted_only


class TestStates:
    def test_the_table_has_a_rule_for_each_of_them(self) -> None:
        assert {state for state, _ in TABLE.rules} == set(get_args(State))

    @interpreted_only("its classes have other means than slots")
    def test_none_of_them_can_be_given_what_it_does_not_know(self) -> None:
        for state in get_args(State):
            assert "__slots__" in vars(state), state

    def test_over_is_one_state_and_not_many(self) -> None:
        assert isinstance(SETTLED, Settled)

    def test_whatever_an_answer_has_become_its_call_is_known(self) -> None:
        call = SharedAnswer(1, Call(Operation.CONVERSE, b"POST", b"/", [], b"", stream=False))
        states = (
            Awaiting(call),
            Collecting(call),
            Peeking(call),
            Streaming(call),
            Tailing(call, passing=True),
        )
        assert {id(state.call) for state in states} == {id(call)}
