"""A world's time line, for whoever wants to know what happened in it."""

from collections.abc import Iterator

from sim.world import Violation, World
from stargate_core.clock import SECOND

_WIDTH = 200


def time_line(world: World, last: int | None = None) -> Iterator[str]:
    """The steps that were kept, one a line; `last`: only so many of them."""
    steps = list(world.judge.steps)
    for now, who, what in steps if last is None else steps[-last:]:
        yield f"{now / SECOND:12.6f}  {who:<22} {what}"[:_WIDTH]


def told(seed: int, violation: Violation, world: World, last: int = 40) -> str:
    """What is to be known of a failure."""
    lines = [
        *time_line(world, last),
        "",
        f"seed       {seed}",
        f"violation  {violation.what}",
        *(f"           {line}" for line in violation.detail.splitlines()),
        f"features   {' '.join(sorted(world.features.on))}",
    ]
    return "\n".join(lines)
