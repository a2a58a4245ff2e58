"""Every model that a body brings in is found, however it is spelt; and nothing else is taken for one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.gateway.further_models import ANY, further_models

ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "opus"}
TASK = {"name": "task", "input_schema": {"type": "object", "properties": {"model": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("members", "models"),
    [
        ({}, ()),
        ({"model": "m", "tools": None, "fallbacks": None}, ()),
        ({"tools": [TASK]}, ()),
        ({"tools": [TASK, ADVISOR]}, ("opus",)),
        ({"fallbacks": []}, ()),
        ({"fallbacks": [{"model": "a"}, {"model": "b", "max_tokens": 1}, {"model": "a"}]}, ("a", "b")),
        ({"fallbacks": "default"}, (ANY,)),
        ({"fallbacks": ["a"]}, ("a",)),
        ({"fallbacks": [{"model": 1}, 2, [{"model": "x"}]], "tools": [{"model": None}, "x"]}, ()),
        ({"tools": {"model": "x"}}, ()),
        ({"messages": [{"role": "user", "content": [ADVISOR]}], "metadata": {"fallbacks": ["x"]}}, ()),
        (
            {"additionalModelRequestFields": {"fallbacks": [{"model": "a"}], "tools": [ADVISOR]}},
            ("a", "opus"),
        ),
        ({"additionalModelRequestFields": [ADVISOR]}, ()),
    ],
)
def test_what_names_a_model(members: Any, models: tuple[str, ...]) -> None:
    assert further_models(msgspec.json.encode(members)) == models


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (rb'{"f\u0061llbacks": [{"mod\u0065l": "\u0061"}]}', ("a",)),
        (b'{"fallbacks":[{"model":"a"}],"fallbacks":null}', ("a",)),
        (b'{"fallbacks":null,"fallbacks":[{"model":"a"}]}', ("a",)),
        (b'{"tools":[{"model":"a","model":"b"}]}', ("a", "b")),
        (b'{"tools":[{"model":"a"}', ()),
        (b"[1]", ()),
        (b"", ()),
        (b"\xff", ()),
        (b'{"tools":' + b"[" * 100_000, ()),
    ],
)
def test_however_it_is_written(body: bytes, models: tuple[str, ...]) -> None:
    assert further_models(body) == models


@given(st.binary(max_size=80))
def test_nothing_is_too_strange(body: bytes) -> None:
    further_models(body)


def test_other_members_inside_are_the_models_own_business() -> None:
    inside = {"top_k": 3, "model": "m", "tools": [ADVISOR]}
    body = msgspec.json.encode({"additionalModelRequestFields": inside, "top_k": 3})
    assert further_models(body) == ("opus",)
