"""The codec around the scripts: what is sent, what is understood, and which claims may go together."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Level, Verdict
from stargate_core.limits.rule import AMOUNT_MAX
from stargate_core.limits.script import groups, settle_arguments, take_arguments, verdict
from stargate_core.questions import Settle, Take

MINUTE_US: Final = 60_000_000
FIXED: Final = Bucket("{t}:fixed", Algorithm.FIXED, 5, MINUTE_US)
SLIDING: Final = Bucket("{t}:sliding", Algorithm.SLIDING, 5, MINUTE_US)
GCRA: Final = Bucket("{t}:gcra", Algorithm.GCRA, 5, MINUTE_US, 3)


class TestArguments:
    def test_a_take(self) -> None:
        take = Take((Claim(FIXED, 2), Claim(GCRA, 10**40)), "é", 7)
        assert take_arguments(take) == [
            *(b"2", b"{t}:fixed", b"{t}:gcra", b"", "é".encode(), b"7"),
            *(b"f", b"5", b"60000000", b"0", b"2"),
            *(b"g", b"5", b"60000000", b"3", b"%d" % (AMOUNT_MAX + 1)),
        ]
        assert take_arguments(take, now_us=9)[3] == b"9"

    def test_a_settlement(self) -> None:
        settle = Settle((Charge(SLIDING, 10**30, 3),), "x", 7)
        assert settle_arguments(settle, now_us=9) == [
            *(b"1", b"{t}:sliding", b"9", b"x", b"7"),
            *(b"s", b"5", b"60000000", b"0", b"%d" % AMOUNT_MAX, b"3"),
        ]


class TestVerdict:
    def test_yes(self) -> None:
        assert verdict([1, 5, -1, 0, 3, 4]) == Verdict(True, 5, (Level(3, 4),))

    def test_no(self) -> None:
        assert verdict([0, 5, 1, 9, 3, 4, 0, 6]) == Verdict(False, 5, (Level(3, 4), Level(0, 6)), 1, 9)

    @pytest.mark.parametrize(
        "nonsense",
        [
            *(
                None,
                b"OK",
                1,
                [],
                [1],
                [1, 2, 3],
                [1, 5, -1, 0, 3],
                [b"1", b"5", b"-1", b"0"],
                [1.5, 5, -1, 0],
            ),
            *([1, 5, 0, 0, 3, 4], [0, 5, -1, 9, 3, 4], [0, 5, 1, 9, 3, 4], [2, 5, -1, 0], [0, 5, 0, 0, 3, 4]),
            *(
                [0, 5, 0, -2, 3, 4],
                [1, 5, -1, 9, 3, 4],
                [1, -5, -1, 0],
                [1, 5, -1, 0, -3, 4],
                [[1], 5, -1, 0],
            ),
        ],
    )
    def test_nonsense(self, nonsense: object) -> None:
        with pytest.raises(ValueError, match="no verdict"):
            verdict(nonsense)

    @given(st.recursive(st.none() | st.integers() | st.binary(), st.lists))
    def test_nothing_else_is_ever_raised(self, reply: object) -> None:
        try:
            said = verdict(reply)
        except ValueError:
            return
        assert said.allowed == (said.refused < 0)


class TestGroups:
    def test_by_hash_tag_in_order(self) -> None:
        keys = ["p:{a}:1", "p:{b}:1", "q:{a}:2", "plain", "{}a", "{}b", "x{b}y}", "{a", "p}{a}"]
        claims = [Claim(Bucket(key, Algorithm.FIXED, 1, 1), 1) for key in keys]
        assert groups(claims) == [[0, 2, 8], [1, 6], [3], [4], [5], [7]]

    def test_of_nothing(self) -> None:
        assert groups([]) == []

    @given(st.lists(st.text("{}ab", max_size=6), min_size=2, max_size=2))
    def test_two_keys_go_together_as_a_cluster_has_it(self, keys: list[str]) -> None:
        crc = pytest.importorskip("redis.crc", reason="redis-py is the oracle of cluster slots")
        hashed: list[bytes] = []

        def hash_of(data: bytes, _: int) -> int:
            hashed.append(data)
            return 0

        with pytest.MonkeyPatch.context() as patch:
            # What is hashed, and not the slot: two may have the same by chance.
            patch.setattr(crc, "crc_hqx", hash_of)
            for key in keys:
                crc.key_slot(key.encode())
        same = hashed[0] == hashed[1]
        claims = [Claim(Bucket(key, Algorithm.FIXED, 1, 1), 1) for key in keys]
        assert (len(groups(claims)) == 1) == same
