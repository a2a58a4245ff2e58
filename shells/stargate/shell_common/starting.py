"""What a process does once as it begins to serve, on whatever loop."""

import gc
from typing import Final

from stargate.credentials import Found

_COLLECT_AFTER_OBJECTS: Final = 20_000
"""New objects before the youngest generation is looked at; Python's own 700 are a dozen requests."""
CREDENTIALS_SECONDS: Final = 5.0
"""How long start-up waits for credentials: a slow metadata service must not keep health checks from being
answered.
"""


class Started:
    """What the caller of `serve` may want to tell its user."""

    def __init__(self, urls: list[str], credentials: dict[str, Found]) -> None:
        self.urls = urls
        self.credentials = credentials


def settle_memory() -> None:
    """Keep the collector off what lives as long as the process, and from looking after every few requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS, 20, 50)
