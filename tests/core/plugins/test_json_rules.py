"""Rules for JSON fields, one by one, and in their order."""

from typing import Any

import msgspec
import pytest

from stargate_core.config.plugin_configs import Names, Renames, Values
from stargate_core.plugins.json_rules import JsonRules


def changed(payload: Any, **rules: Any) -> Any:
    """What the rules make of a payload."""
    every: dict[str, Any] = {
        "remove": Names(), "rename": Renames(), "replace": Values(), "add": Values(), "append": Values(),
        **rules,
    }  # fmt: skip
    made = JsonRules(**every)
    assert made.is_empty == (not rules)
    made.apply(payload)
    return payload


@pytest.mark.parametrize(
    ("before", "rules", "after"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": {"c": [1, 2]}}, {"remove": Names(json=["a", "b.c.0", "b.c.9", "x.y"])},
         {"b": {"c": [2]}}),
        ({"a": {"b": 1}}, {"rename": Renames(json=["a.b:c", "x:y"])}, {"a": {"c": 1}}),
        ({"a": [1]}, {"replace": Values(json=["a.0:x", "b:y", "a.1:z"])}, {"a": ["x"]}),
        ({"a": 1},
         {"add": Values(json=["a:2", "b: true", "c.d:1"], json_types=["number", "boolean", "string"])},
         {"a": 1, "b": True}),
        ({"a": [1], "b": 1}, {"append": Values(json=["a:x", "b:y", "c:z"])},
         {"a": [1, "x"], "b": [1, "y"], "c": ["z"]}),
        ({"a": 1}, {"rename": Renames(json=["a:b"]), "add": Values(json=["a:new"])}, {"a": "new", "b": 1}),
        ([1], {"remove": Names(json=["٣", "x", "0"])}, []),
        (5, {"remove": Names(json=["a"]), "add": Values(json=["a:1"])}, 5),
    ],
)  # fmt: skip
def test_rules(before: Any, rules: dict[str, Any], after: Any) -> None:
    assert changed(msgspec.json.decode(msgspec.json.encode(before)), **rules) == after
