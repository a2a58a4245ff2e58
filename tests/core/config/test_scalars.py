"""One scalar: what it means, what it is accepted as, and what is advised instead."""

import datetime
import enum
from typing import Annotated, Any, Literal

import msgspec.inspect as inspect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from stargate_core.config.expand import ExpansionError
from stargate_core.config.nodes import Scalar
from stargate_core.config.problems import Place
from stargate_core.config.scalars import FAILED, Leaf, advice, converted, leaf
from stargate_core.config.schema import KeyCredential
from stargate_core.secret import Secret

ENVIRON = {"N": "60000", "T": "true", "E": "", "S": "a b", "Y": "~"}


class Colour(enum.Enum):
    RED = "red"


def scalar(text: str) -> Leaf:
    """A scalar as it stands in a file; one in quotes is quoted."""
    is_plain = not text.startswith('"')
    return leaf(Scalar(Place(1, 1), text.strip('"'), is_plain), ENVIRON)


class TestLeaf:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("12", 12),
            ('"12"', "12"),
            ("${N}", 60000),
            ('"${N}"', "60000"),
            ("${N}0", 600000),
            ("${X:-1.5}", 1.5),
            ("${T}", True),
            ("${E}", None),
            ('"${E}"', ""),
            ("${E:-}", None),
            ("${S}", "a b"),
            ("${X:-memory:}", "memory:"),
            ("$${N}", "${N}"),
        ],
    )
    def test_its_type_is_that_of_the_expanded_text(self, text: str, value: object) -> None:
        found = scalar(text).value
        assert (found, type(found)) == (value, type(value))

    def test_text_that_is_no_unicode_is_refused(self) -> None:
        with pytest.raises(ExpansionError, match=r"what \$\{B\} gives is not UTF-8"):
            leaf(Scalar(Place(1, 1), "${B}", True), {"B": b"\xff".decode("utf-8", "surrogateescape")})


ACCEPTED: list[tuple[Any, str, object]] = [
    (str, "a", "a"),
    (str, '"12"', "12"),
    (str, "no", "no"),
    (str, "${N}", "60000"),
    (str, "${T}", "true"),
    (str, '"${E}"', ""),
    (int, "12", 12),
    (int, "${N}", 60000),
    (float, "12", 12.0),
    (float, ".5", 0.5),
    (bool, "true", True),
    (bool, "${T}", True),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 2], "2", 2),
    (Colour, "red", Colour.RED),
    (None, "~", None),
    (datetime.datetime, "2027-01-01T00:00:00Z", datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)),
    (datetime.datetime, '"2027-01-01T00:00:00+00:00"', datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)),
]

REFUSED: list[tuple[Any, str, str]] = [
    (str, "12", "write it in quotes"),
    (str, "true", "write it in quotes"),
    (str, "~", "leave the setting out for its default"),
    (str, "${E}", "leave the setting out for its default"),
    (str, "${Y}", "leave the setting out for its default"),
    (Secret, "12", "write it in quotes"),
    (Secret, '""', ""),
    (int, '"12"', "write it without quotes"),
    (int, '"${N}"', "write it without quotes"),
    (int, "12.0", ""),
    (int, "12ms", "write the bare number, without a unit"),
    (int, "true", ""),
    (float, ".nan", ""),
    (float, ".inf", ""),
    (float, "true", ""),
    (bool, "1", ""),
    (bool, "yes", "write true"),
    (bool, "Off", "write false"),
    (bool, '"true"', "write it without quotes"),
    (Annotated[int, Meta(ge=1)], '"0"', "write the bare number, without a unit"),
    (Literal["fast", "reference"], "fats", "did you mean fast?"),
    (Literal["3.0"], "3.0", "write it in quotes"),
    (Colour, "rad", "did you mean red?"),
    (datetime.datetime, "2027-01-01", "write 2027-01-01T00:00:00Z"),
    (datetime.datetime, "2027-01-01T00:00:00", "end it with Z for UTC"),
    (datetime.datetime, "tomorrow", ""),
]


def bare(kind: Any) -> inspect.Type:
    found = inspect.type_info(kind)
    return found.type if isinstance(found, inspect.Metadata) else found


class TestConversion:
    @pytest.mark.parametrize(("kind", "text", "value"), ACCEPTED)
    def test_what_fits_is_accepted(self, kind: Any, text: str, value: object) -> None:
        found = converted(bare(kind), scalar(text))
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize(("kind", "text", "hint"), REFUSED)
    def test_what_does_not_fit_is_refused_with_advice(self, kind: Any, text: str, hint: str) -> None:
        assert converted(bare(kind), scalar(text)) is FAILED
        assert advice(bare(kind), scalar(text)) == hint

    def test_a_secret_stays_one(self) -> None:
        found = converted(inspect.CustomType(Secret), scalar("${N}"))
        assert isinstance(found, Secret)
        assert found.reveal() == "60000"

    @pytest.mark.parametrize(
        ("kind", "good", "bad"),
        [
            (Annotated[str, Meta(min_length=2, max_length=3)], ["ab", "abc"], ["a", "abcd"]),
            (Annotated[str, Meta(pattern="^a+\\Z")], ["a", "aa"], ["b", "ab"]),
            (Annotated[int, Meta(ge=1, le=3)], ["1", "3"], ["0", "4"]),
            (Annotated[int, Meta(gt=1, lt=3)], ["2"], ["1", "3"]),
            (Annotated[float, Meta(gt=0, le=1)], ["0.1", "1"], ["0", "1.1", "-1"]),
            (Annotated[float, Meta(ge=0, lt=1)], ["0", "0.9"], ["1"]),
        ],
    )
    def test_bounds(self, kind: Any, good: list[str], bad: list[str]) -> None:
        assert all(converted(bare(kind), scalar(text)) is not FAILED for text in good)
        assert all(converted(bare(kind), scalar(text)) is FAILED for text in bad)

    @given(st.datetimes(), st.integers(-23 * 60, 23 * 60))
    def test_every_time_with_an_offset(self, naive: datetime.datetime, minutes: int) -> None:
        moment = naive.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes)))
        found = converted(inspect.DateTimeType(), Leaf(moment.isoformat(), (), None))
        assert isinstance(found, datetime.datetime)
        assert found.isoformat() == moment.isoformat()

    def test_a_type_that_no_setting_has_is_the_authors_error(self) -> None:
        with pytest.raises(TypeError, match="can't have a BytesType"):
            converted(inspect.BytesType(), scalar("x"))


@pytest.mark.parametrize("kind", [list[int], tuple[int, ...], dict[str, int], KeyCredential])
def test_no_collection_comes_of_a_scalar(kind: Any) -> None:
    assert converted(inspect.type_info(kind), scalar("1")) is FAILED
