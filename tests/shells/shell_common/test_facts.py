"""What is said of a bug: what it was and where, and nothing that a peer may have sent."""

from typing import Any, get_args

import pytest

from stargate.shell_common.facts import LAST, SharedFact, bug


def test_a_bug_is_told_by_its_kind_and_place_alone() -> None:
    nothing: dict[str, Any] = {}
    with pytest.raises(KeyError) as caught:
        nothing["a caller's own words"]
    told = bug(caught.value)
    assert told.startswith(f"bug: KeyError at {__file__}:")
    assert "words" not in told


def test_the_last_facts_of_an_answer_are_facts_of_an_answer() -> None:
    assert set(LAST) < set(get_args(SharedFact))
