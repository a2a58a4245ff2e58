"""An instance for a JSON schema: what a model would fill into a tool's arguments, or into an answer that
must be JSON.

Not a general solver: it fills the required properties and obeys types, enumerations, ranges, lengths and the
usual formats; `$ref` within the schema, `allOf`, and the first branch of `anyOf` and `oneOf`. Patterns and
conditions are not solved.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stargate.simulator.json_tree import as_array, as_object, as_texts

_DEPTH_MAX: Final = 12
_ITEMS_MAX: Final = 100
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
    "duration": "PT1H",
}

Schema = Mapping[str, Any]


def instance(schema: Schema, hint: str, rng: random.Random) -> Any:
    """A value for `schema`; free texts become `hint`."""
    return _Filler(schema, hint, rng).fill(schema, 0)


class _Filler:
    """What stays the same while a schema is walked."""

    def __init__(self, root: Schema, hint: str, rng: random.Random) -> None:
        self._root = root
        self._hint = hint
        self._rng = rng

    def fill(self, given: Any, depth: int) -> Any:
        schema = self._resolved(as_object(given))
        if depth > _DEPTH_MAX:
            return None
        if "const" in schema:
            return schema["const"]
        if as_array(schema.get("enum")):
            return self._rng.choice(schema["enum"])
        for key in ("anyOf", "oneOf"):
            branches = as_array(schema.get(key))
            if branches:
                branch = self._branch(branches, depth)
                return self.fill({**schema, **branch, key: None}, depth + 1)
        kinds = as_texts(schema.get("type")) or ("object" if "properties" in schema else "string",)
        match next((kind for kind in kinds if kind != "null"), "null"):
            case "object":
                properties = as_object(schema.get("properties"))
                return {
                    name: self.fill(properties.get(name), depth + 1)
                    for name in as_texts(schema.get("required"))
                }
            case "array":
                length = min(max(schema.get("minItems", 1), 0), _ITEMS_MAX)
                return [self.fill(schema.get("items"), depth + 1) for _ in range(length)]
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return self._rng.random() < 0.5
            case "null":
                return None
            case _:
                return self._text(schema)

    def _branch(self, branches: Sequence[Any], depth: int) -> Schema:
        """The first of several; but deep down, where a schema may turn in circles, rather the null."""
        nulls = [branch for branch in map(as_object, branches) if branch.get("type") == "null"]
        return nulls[0] if nulls and depth > _DEPTH_MAX // 2 else as_object(branches[0])

    def _resolved(self, schema: Schema) -> Schema:
        """The schema with its reference followed and its `allOf` merged in."""
        for _ in range(_DEPTH_MAX):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            target: Any = self._root
            for part in reference[1:].split("/")[1:]:
                target = as_object(target).get(part)
            schema = {**as_object(target), **{key: value for key, value in schema.items() if key != "$ref"}}
        for part in as_array(schema.get("allOf")):
            inner = self._resolved(as_object(part))
            properties = {**as_object(schema.get("properties")), **as_object(inner.get("properties"))}
            required = (*as_texts(schema.get("required")), *as_texts(inner.get("required")))
            schema = {**schema, **inner, "allOf": None, "properties": properties, "required": required}
        return schema

    def _integer(self, schema: Schema) -> int:
        low, high = _range(schema)
        first = math.floor(low) + 1 if "exclusiveMinimum" in schema else math.ceil(low)
        last = math.ceil(high) - 1 if "exclusiveMaximum" in schema else math.floor(high)
        step = max(int(schema.get("multipleOf", 1)), 1)
        first = -(-first // step) * step
        return first + step * self._rng.randrange(max(last - first, 0) // step + 1)

    def _number(self, schema: Schema) -> float:
        low, high = _range(schema)
        step = schema.get("multipleOf")
        if step:
            return float(math.ceil(low / step) * step)
        return low + (high - low) * (0.25 + 0.5 * self._rng.random())

    def _text(self, schema: Schema) -> str:
        text = _FORMATS.get(schema.get("format", ""), self._hint)
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]


def _range(schema: Schema) -> tuple[float, float]:
    """The smallest and the largest number that a schema allows, or a decade of its own choice."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = float(low if low is not None else high - 10 if high is not None else 1)
    return low, float(high if high is not None else low + 10)
