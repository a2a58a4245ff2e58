"""A failing world made smaller: features are left out one by one, as long as it fails in the same way.

What is left out changes what chance draws afterwards, so a smaller world is another one. It is worth looking
at all the same, where it breaks the same invariant.
"""

from sim.features import FEATURES
from sim.world import Violation, World


def fails(seed: int, without: frozenset[str]) -> str:
    """Which invariant this world breaks; '': none."""
    try:
        World(seed, without=without).live()
    except Violation as violation:
        return violation.what
    return ""


def shrunk(seed: int) -> frozenset[str]:
    """The features without which the world fails in the same way."""
    what = fails(seed, frozenset())
    without: frozenset[str] = frozenset()
    for feature in FEATURES:
        if fails(seed, without | {feature}) == what:
            without |= {feature}
    return without
