"""Frames and events are values: they can be compared and not changed, and a frame shows nobody's words."""

import itertools
from typing import Any, Final

import pytest

from stargate_core.wire.frames import (
    Corruption,
    EventStreamError,
    Frame,
    FrameKind,
    Int8,
    Int16,
    Int32,
    Int64,
    ServerEvent,
    Timestamp,
    Uuid,
)

NUMBERS: Final = [kind(7) for kind in (Int8, Int16, Int32, Int64, Timestamp)]


def a_frame() -> Frame:
    """A frame of one event, with somebody's words in it."""
    return Frame(FrameKind.EVENT, "contentBlockDelta", {"x": Int8(7)}, b'{"text":"PLANTED"}', b"-PLANTED-")


class TestValues:
    @pytest.mark.parametrize(("one", "other"), list(itertools.permutations([*NUMBERS, 7], 2)))
    def test_a_number_of_one_type_is_none_of_another(self, one: object, other: object) -> None:
        assert one != other

    @pytest.mark.parametrize(
        ("value", "field"),
        [
            *((number, "epoch_ms" if isinstance(number, Timestamp) else "value") for number in NUMBERS),
            (Uuid(bytes(16)), "octets"),
            (a_frame(), "payload"),
            (ServerEvent("message", "hi"), "data"),
        ],
    )
    def test_nobody_changes_one(self, value: Any, field: str) -> None:
        with pytest.raises(AttributeError):
            setattr(value, field, getattr(value, field))

    def test_kinds_are_called_as_the_wire_calls_them(self) -> None:
        assert [kind.value for kind in FrameKind] == ["event", "exception", "error", "other"]

    def test_an_event_whose_id_was_never_told_has_an_empty_one(self) -> None:
        assert ServerEvent("message", "hi") == ServerEvent("message", "hi", "")


class TestShowing:
    def test_a_frame_shows_its_name_and_how_much_is_in_it(self) -> None:
        shown = repr(a_frame())
        assert "contentBlockDelta" in shown
        assert "PLANTED" not in shown


class TestErrors:
    @pytest.mark.parametrize("reason", list(Corruption))
    def test_one_says_what_is_wrong_in_a_word_and_in_words(self, reason: Corruption) -> None:
        error = EventStreamError(reason, "at 7")
        assert (error.reason, error.detail, str(error)) == (reason, "at 7", f"{reason.value}: at 7")
