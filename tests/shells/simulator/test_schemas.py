"""Instances of JSON schemas, judged by pydantic: what fits a model's schema must be accepted by the model."""

import enum
import random
import uuid
from datetime import date, datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from stargate.simulator.schemas import instance


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


class Place(BaseModel):
    city: str
    country: Annotated[str, Field(min_length=2, max_length=2)]
    altitude: float | None


class Node(BaseModel):
    value: int
    child: "Node | None"


class Everything(BaseModel):
    place: Place
    unit: Unit
    kind: Literal["now", "tomorrow"]
    fixed: Literal[7]
    days: Annotated[int, Field(ge=1, le=14)]
    even: Annotated[int, Field(gt=2, lt=9, multiple_of=2)]
    ratio: Annotated[float, Field(gt=0, lt=1)]
    below: Annotated[int, Field(le=-5)]
    exact: bool
    names: Annotated[list[str], Field(min_length=3)]
    places: list[Place]
    when: datetime
    day: date
    id: uuid.UUID
    either: int | str
    nothing: None
    anything: Any
    counts: dict[str, int]
    tree: Node
    optional: str = "absent"


@pytest.mark.parametrize("model", [Everything, Place, Node, list[Place], dict[str, int], int | None, str])
@given(seed=st.integers(0, 2**32))
def test_an_instance_is_accepted(model: Any, seed: int) -> None:
    adapter = TypeAdapter[Any](model)
    schema = adapter.json_schema()
    # The only thing a schema may leave out of reach is a recursion without end.
    filled = instance(schema, "Zürich", random.Random(seed))
    adapter.validate_python(filled)


def test_only_what_is_required_is_filled() -> None:
    filled = instance(Everything.model_json_schema(), "x", random.Random(1))
    assert filled.keys() == Everything.model_fields.keys() - {"optional"}


def test_parts_that_are_merged() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"const": 1}},
        "required": ["a"],
        "allOf": [{"properties": {"b": {"$ref": "#/$defs/b"}}, "required": ["b"]}],
        "$defs": {"b": {"enum": ["only"]}},
    }
    assert instance(schema, "x", random.Random(1)) == {"a": 1, "b": "only"}


def test_a_reference_to_itself_ends() -> None:
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    assert isinstance(instance(endless, "x", random.Random(1)), dict)
    assert instance({"$ref": "#"}, "x", random.Random(1)) == "x"
