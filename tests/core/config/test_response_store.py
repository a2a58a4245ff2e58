"""response-store's config, as a file gives it."""

import pytest

from stargate_core.config.response_store import ResponseStore
from support.config import examined, loaded, said


def test_its_defaults_and_all_of_it() -> None:
    text = "plugins:\n  - name: response-store\n    config: {}\n"
    assert loaded(text).plugins[0].config == ResponseStore() == ResponseStore(ttl=3600.0, max_bytes=1_048_576)
    assert loaded(text.replace("{}", "{ttl: 1.5, max_bytes: 2048}")).plugins[0].config == ResponseStore(
        ttl=1.5, max_bytes=2048
    )


@pytest.mark.parametrize("config", ["{ttl: 0}", "{ttl: 3000000}", "{max_bytes: 10}", "{max_bytes: x}"])
def test_what_makes_no_sense_is_refused(config: str) -> None:
    found = examined(f"plugins:\n  - name: response-store\n    config: {config}\n")
    assert len(said(found.problems)) == 1
