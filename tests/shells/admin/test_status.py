"""The state, put together from workers that differ: the worse is told."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stargate.admin.status import limits_of, targets_of
from stargate.observing.board import PlaceStatus


def place(number: int, **status: Any) -> PlaceStatus:
    return PlaceStatus(number, 100 + number, 0.0, 1.0, alive=True, status=status)


def limit(used: int, seen_at: str, **changes: Any) -> dict[str, Any]:
    return {"name": "minute", "scope": "a", "used": used, "limit": 10, "seen_at": seen_at, **changes}


class TestLimits:
    WORDS: Final[Sequence[Mapping[str, Any]]] = (
        {"limits": [limit(9, "2026-01-01")]},
        {"limits": [limit(4, "2026-01-02")]},
        {},
    )

    def test_of_one_that_is_shared_the_newest_word_counts(self) -> None:
        (told,) = limits_of(self.WORDS, shared=True)
        assert (told["used"], told["fraction"]) == (4, 0.4)

    def test_of_one_that_each_counts_the_fullest_does(self) -> None:
        (told,) = limits_of(self.WORDS, shared=False)
        assert (told["used"], told["fraction"]) == (9, 0.9)

    def test_the_fullest_come_first(self) -> None:
        told = limits_of([{"limits": [limit(1, "x"), limit(5, "x", scope="b")]}], shared=True)
        assert [one["scope"] for one in told] == ["b", "a"]


class TestTargets:
    def test_the_worst_state_counts_with_its_places(self) -> None:
        def target(state: str) -> dict[str, Any]:
            return {"name": "us-east-1", "state": state, "until": None}

        told = targets_of(
            [
                place(0, targets=[target("closed")]),
                place(1, targets=[target("open")]),
                place(2, targets=[target("half_open")]),
                place(3, targets=[target("open")]),
                place(4),
            ]
        )
        assert told == [{"name": "us-east-1", "state": "open", "until": None, "places": [2, 4]}]
