"""What is said of a bug: what it was and where, and nothing that a peer may have sent."""

from typing import get_args

from stargate.shell_common.facts import LAST, SharedFact, bug


def test_a_bug_is_told_by_its_kind_and_place_alone() -> None:
    try:
        dict[str, int]()["a caller's own words"]
    except KeyError as error:
        told = bug(error)
    assert told.startswith(f"bug: KeyError at {__file__}:")
    assert "words" not in told


def test_the_last_facts_of_an_answer_are_facts_of_an_answer() -> None:
    assert set(LAST) < set(get_args(SharedFact))
