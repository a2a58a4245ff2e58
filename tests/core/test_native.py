"""What only a compiler reads has no effect at run time."""

from stargate_core.native import mypyc_attr


class TestStandIn:
    def test_a_class_stays_what_it_is(self) -> None:
        class Kind:
            pass

        assert mypyc_attr(allow_interpreted_subclasses=True)(Kind) is Kind
