"""Places: a request that no route has claimed stands nowhere in the configuration."""

from typing import Final

import pytest

from stargate_core.dialects.face import Request
from stargate_core.dialects.registry import OPENAI_CHAT
from stargate_core.gateway.places import NOWHERE, Match, Place

REQUEST: Final = Request(b"POST", b"/v1/chat", b"/v1/chat", b"", [], b"", "0" * 32, 0)


class TestPlaces:
    def test_nowhere_is_neither_a_service_nor_a_route(self) -> None:
        assert Place(None, None) == NOWHERE
        assert NOWHERE != Place("one", None) != Place(None, "one")

    def test_places_can_be_looked_up(self) -> None:
        assert {Place("s", "r"): 1}[Place("s", "r")] == 1

    def test_what_was_found_stays_so(self) -> None:
        match = Match(NOWHERE, "chat", OPENAI_CHAT, REQUEST)
        with pytest.raises(AttributeError):
            match.name = "another"  # type: ignore[misc]
