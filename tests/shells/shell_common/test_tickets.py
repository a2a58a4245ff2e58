"""Tickets: every question has one owner, and one end, whichever comes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.shell_common.tickets import Tickets


class Caller:
    """Somebody who asks."""

    def __init__(self) -> None:
        self.tickets: dict[int, int] = {}


class TestTickets:
    def test_one_numbering_for_all_who_number_by_themselves(self) -> None:
        tickets, one, other = Tickets[Caller](), Caller(), Caller()
        numbers = [tickets.issue(caller, ticket) for caller in (one, other) for ticket in (1, 2)]
        assert len(set(numbers)) == 4
        assert [tickets.owner(number) for number in numbers] == [(one, 1), (one, 2), (other, 1), (other, 2)]
        assert all(number > 0 for number in numbers), "the shell's own questions have the others"

    def test_an_answer_ends_it(self) -> None:
        tickets, caller = Tickets[Caller](), Caller()
        number = tickets.issue(caller, 7)
        assert caller.tickets == {7: number}
        assert tickets.redeem(number) == (caller, 7)
        assert (tickets.redeem(number), tickets.owner(number), tickets.withdraw(caller, 7)) == (None,) * 3
        assert (len(tickets), caller.tickets) == (0, {})

    def test_its_owner_may_end_it_first(self) -> None:
        tickets, caller = Tickets[Caller](), Caller()
        number = tickets.issue(caller, 7)
        assert tickets.withdraw(caller, 7) == number
        assert (tickets.withdraw(caller, 7), tickets.redeem(number)) == (None, None)
        assert (len(tickets), caller.tickets) == (0, {})

    def test_looking_ends_nothing(self) -> None:
        tickets, caller = Tickets[Caller](), Caller()
        number = tickets.issue(caller, 7)
        assert tickets.owner(number) == tickets.owner(number) == (caller, 7)
        assert len(tickets) == 1

    def test_nobody_withdraws_anothers(self) -> None:
        tickets, one, other = Tickets[Caller](), Caller(), Caller()
        number = tickets.issue(one, 7)
        assert tickets.withdraw(other, 7) is None
        assert tickets.owner(number) == (one, 7)

    @pytest.mark.parametrize("end", ["redeem", "withdraw"])
    def test_a_number_is_never_used_again(self, end: str) -> None:
        """What comes late for the old one must find nothing."""
        tickets, caller = Tickets[Caller](), Caller()
        old = tickets.issue(caller, 7)
        if end == "redeem":
            tickets.redeem(old)
        else:
            tickets.withdraw(caller, 7)
        new = tickets.issue(caller, 7)
        assert new != old
        assert tickets.owner(old) is None
        assert tickets.owner(new) == (caller, 7)

    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from(["issue", "redeem", "withdraw"]))
        )
    )
    def test_whatever_happens_both_sides_know_the_same(self, steps: list[tuple[int, int, str]]) -> None:
        tickets, callers = Tickets[Caller](), [Caller() for _ in range(3)]
        waiting: dict[tuple[int, int], int] = {}
        for who, ticket, step in steps:
            caller, number = callers[who], waiting.get((who, ticket))
            if step == "issue" and number is None:
                waiting[who, ticket] = tickets.issue(caller, ticket)
            elif step == "withdraw":
                assert tickets.withdraw(caller, ticket) == waiting.pop((who, ticket), None)
            elif step == "redeem" and number is not None:
                assert tickets.redeem(number) == (caller, ticket)
                del waiting[who, ticket]
        assert len(tickets) == len(waiting)
        for who, caller in enumerate(callers):
            mine = {ticket: number for (owner, ticket), number in waiting.items() if owner == who}
            assert caller.tickets == mine
