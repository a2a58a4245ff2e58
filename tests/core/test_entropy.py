"""Chance that comes from a seed: the same for the same, on every Python."""

from stargate_core.entropy import Entropy


class TestEntropy:
    def test_an_id_is_32_hexadecimal_digits(self) -> None:
        ids = [Entropy(seed).request_id() for seed in range(200)]
        assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)
        assert len(set(ids)) == 200

    def test_the_same_seed_gives_the_same(self) -> None:
        first, second = Entropy(7), Entropy(7)
        assert [first.request_id(), first.fraction()] == [second.request_id(), second.fraction()]
        assert first.request_id() != first.request_id()

    def test_what_a_journal_relies_on_does_not_change_between_versions(self) -> None:
        """Drawn on CPython 3.11, and the same on 3.13: a journal is replayed on either."""
        chance = Entropy(1)
        assert chance.request_id() == "bd010cee68375925580fc93e2a69d2f7"
        assert chance.fraction() == 0.7274694617543166

    def test_a_fraction_is_below_one(self) -> None:
        chance = Entropy(3)
        assert all(0 <= chance.fraction() < 1 for _ in range(1000))
