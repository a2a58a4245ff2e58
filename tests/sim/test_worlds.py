"""Some hundred worlds, and the world itself: equal seeds are equal worlds (and see test_determinism.py)."""

import os

import pytest

from sim.features import FEATURES, features_of
from sim.narrate import told
from sim.seeds import commit, seeds_of
from sim.shrink import shrunk
from sim.world import Report, Violation, World, run

WORLDS = 200
GROUPS = 10
BASE = "a fixed set" if os.environ.get("CI") else commit()


def lived(seed: int) -> Report:
    """A world; one that breaks an invariant fails the test with its last steps."""
    world = World(seed)
    try:
        return world.live()
    except Violation as violation:
        pytest.fail(told(seed, violation, world), pytrace=False)


@pytest.mark.parametrize("group", range(GROUPS))
def test_all_invariants_hold(group: int) -> None:
    seeds = seeds_of(BASE, group * (WORLDS // GROUPS))
    reports = [lived(next(seeds)) for _ in range(WORLDS // GROUPS)]
    assert sum(report.sessions for report in reports) >= WORLDS // GROUPS
    assert sum(report.good for report in reports) > 0


def test_what_happens_in_worlds_is_what_they_are_for() -> None:
    """A set of worlds in which nothing fails, or nothing succeeds, would prove nothing."""
    seeds = seeds_of("variety")
    reports = [lived(next(seeds)) for _ in range(40)]
    causes = {cause for report in reports for cause in report.causes}
    assert {
        "RATE_LIMITED",
        "STREAM_CUT",
        "UPSTREAM_LOST",
        "POOL_TIMEOUT",
        "CONNECT_FAILED",
        "KEY_MISSING",
    } <= causes
    assert sum(report.broken_off for report in reports) > 3
    assert sum(report.good for report in reports) > 50


def test_equal_seeds_are_equal_worlds() -> None:
    for _, seed in zip(range(8), seeds_of("twice"), strict=False):
        assert run(seed) == run(seed)


def test_seeds_that_differ_are_worlds_that_differ() -> None:
    seeds = [seed for _, seed in zip(range(8), seeds_of("twice"), strict=False)]
    assert len({run(seed).fingerprint for seed in seeds}) == len(seeds)


def test_a_feature_left_out_is_off_and_the_others_stay() -> None:
    import random

    for seed in range(50):
        whole, less = (
            features_of(random.Random(seed), without) for without in (frozenset(), frozenset({"cache"}))
        )
        assert less.on == whole.on - {"cache"}
        assert whole.on <= set(FEATURES)


def test_a_world_with_a_bug_is_shrunk_to_what_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from stargate_core.gateway.exchange import Exchange

    settle = Exchange.settle

    def twice(exchange: Exchange, now: int, outcome: object, out: list[object]) -> object:
        settle(exchange, now, outcome, out)  # type: ignore[arg-type]
        return settle(exchange, now, outcome, out)  # type: ignore[arg-type]

    monkeypatch.setattr(Exchange, "settle", twice)
    seed = next(seeds_of("shrunk"))
    with pytest.raises(Violation, match="two records of one exchange"):
        run(seed)
    assert shrunk(seed) == frozenset(FEATURES)
