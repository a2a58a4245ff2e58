"""Tables of transitions: complete or no table at all, and nothing in them twice."""

from typing import Any

import pytest

from stargate_core.transitions import IncompleteTable, Table


class On:
    """A lamp that shines."""


class Off:
    """A lamp that doesn't."""


class Pressed:
    """The button was pressed."""


class Burnt:
    """The filament went."""


class Lamp:
    """A machine with two states."""

    def __init__(self) -> None:
        self.state: Any = Off()


def lamps() -> Table[Lamp]:
    return Table("Lamp", states=(On, Off), events=(Pressed, Burnt))


def press(lamp: Lamp, state: object, now: int, event: object, out: list[Any]) -> object:
    """The lamp changes."""
    out.append(now)
    return On() if isinstance(state, Off) else Off()


class TestTable:
    def test_a_whole_table_says_what_follows(self) -> None:
        table = lamps()
        table.on((On, Off), Pressed)(press)
        table.ignore((On, Off), Burnt, because="there is no filament")
        rules = table.seal()
        lamp = Lamp()
        out: list[Any] = []
        for event in (Pressed(), Burnt(), Pressed(), Pressed()):
            lamp.state = rules[type(lamp.state), type(event)](lamp, lamp.state, 7, event, out)
        assert isinstance(lamp.state, On)
        assert out == [7, 7, 7]
        assert table.reasons[On, Burnt] == "there is no filament"

    def test_a_state_that_ignores_an_event_stays_the_same_object(self) -> None:
        table = lamps()
        table.ignore((On, Off), Pressed, Burnt, because="it is glued")
        state = On()
        assert table.seal()[On, Pressed](Lamp(), state, 0, Pressed(), []) is state

    def test_what_is_missing_is_named(self) -> None:
        table = lamps()
        table.on(On, Pressed)(press)
        with pytest.raises(
            IncompleteTable, match=r"^Lamp: no rule for On x Burnt, Off x Pressed, Off x Burnt$"
        ):
            table.seal()

    def test_a_cell_is_filled_once(self) -> None:
        table = lamps()
        table.on(On, Pressed)(press)
        with pytest.raises(TypeError, match=r"^Lamp: On x Pressed has a rule already$"):
            table.on((Off, On), Pressed)(press)
        with pytest.raises(TypeError, match=r"^Lamp: On x Pressed has a rule already$"):
            table.ignore(On, Pressed, because="twice")

    @pytest.mark.parametrize(("state", "event"), [(Lamp, Pressed), (On, Lamp), (Pressed, On)])
    def test_what_is_no_cell_is_refused(self, state: type, event: type) -> None:
        said = f"^Lamp: {state.__name__} x {event.__name__} is not a cell of this table$"
        with pytest.raises(TypeError, match=said):
            lamps().on(state, event)(press)

    def test_a_rule_may_be_registered_for_many_and_stays_itself(self) -> None:
        table = lamps()
        assert table.on((On, Off), Pressed, Burnt)(press) is press
        assert len(table.seal()) == 4
