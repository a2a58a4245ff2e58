"""PromQL, as far as our alerts speak it: which series a query asks for, and what it makes of two scrapes.

The syntax is read by promql-parser, Prometheus' own grammar in Rust; evaluating it is ours. A rate is what a
series has grown by between the two scrapes, over the range; one that the first does not have has none, as
with a Prometheus server. What alerts do not use is refused, and not guessed.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import promql_parser as promql
from prometheus_client.samples import Sample

Labels: TypeAlias = frozenset[tuple[str, str]]
Vector: TypeAlias = dict[Labels, float]

_BINARY: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt, "<": operator.lt, "==": operator.eq, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_AGGREGATE: Final[dict[str, Callable[[list[float]], float]]] = {"sum": sum, "min": min, "max": max}


class Selected(NamedTuple):
    """A series that a query asks for, and the labels that it names."""

    metric: str
    labels: frozenset[str]


def selected(query: str) -> list[Selected]:
    """Every series that a query asks for. Labels to aggregate by count for all series below."""
    return list(_selected(promql.parse(query), frozenset()))


def _selected(node: Any, named: frozenset[str]) -> Iterator[Selected]:
    match node:
        case promql.VectorSelector():
            own = {matcher.name for matcher in node.matchers.matchers}
            yield Selected(node.name or "", named | own)
        case promql.MatrixSelector():
            yield from _selected(node.vector_selector, named)
        case promql.AggregateExpr():
            by = frozenset(node.modifier.labels) if node.modifier is not None else frozenset()
            yield from _selected(node.expr, named | by)
        case promql.BinaryExpr():
            yield from _selected(node.lhs, named)
            yield from _selected(node.rhs, named)
        case promql.ParenExpr():
            yield from _selected(node.expr, named)
        case promql.Call():
            for argument in node.args:
                yield from _selected(argument, named)
        case promql.NumberLiteral() | promql.StringLiteral():
            pass
        case _:
            raise NotImplementedError(type(node).__name__)


class Scrapes:
    """Two scrapes. now: of the second, in seconds since 1970."""

    def __init__(self, before: Iterable[Sample], after: Iterable[Sample], *, now: float) -> None:
        self._before = {(one.name, frozenset(one.labels.items())): one.value for one in before}
        self._after = list(after)
        self._now = now

    def ask(self, query: str) -> Vector | float:
        """What the query gives at the second."""
        found: Vector | float = self._value(promql.parse(query))
        return found

    def _value(self, node: Any) -> Any:
        match node:
            case promql.NumberLiteral():
                return node.val
            case promql.ParenExpr():
                return self._value(node.expr)
            case promql.VectorSelector():
                return self._vector(node)
            case promql.AggregateExpr():
                return self._aggregate(node)
            case promql.BinaryExpr():
                return _binary(str(node.op), self._value(node.lhs), self._value(node.rhs))
            case promql.Call():
                return self._call(node.func.name, node.args)
            case _:
                raise NotImplementedError(type(node).__name__)

    def _vector(self, node: Any) -> Vector:
        return {
            frozenset(one.labels.items()) | {("__name__", one.name)}: one.value
            for one in self._after
            if one.name == node.name and all(_matches(m, one.labels) for m in node.matchers.matchers)
        }

    def _call(self, name: str, arguments: Any) -> Any:
        match name:
            case "time":
                return self._now
            case "rate" | "increase":
                matrix = arguments[0]
                seconds = matrix.range.total_seconds() if name == "rate" else 1.0
                grown: Vector = {}
                for labels, value in self._vector(matrix.vector_selector).items():
                    bare = _nameless(labels)
                    before = self._before.get((dict(labels)["__name__"], bare))
                    if before is not None:
                        grown[bare] = (value - before) / seconds
                return grown
            case "histogram_quantile":
                return _quantile(arguments[0].val, self._value(arguments[1]))
            case _:
                raise NotImplementedError(name)

    def _aggregate(self, node: Any) -> Vector:
        by = set(node.modifier.labels) if node.modifier is not None else set()
        groups: dict[Labels, list[float]] = {}
        for labels, value in self._value(node.expr).items():
            key = frozenset(pair for pair in labels if pair[0] in by)
            groups.setdefault(key, []).append(value)
        gather = _AGGREGATE[str(node.op)]
        return {key: gather(values) for key, values in groups.items()}


def _nameless(labels: Labels) -> Labels:
    return frozenset(pair for pair in labels if pair[0] != "__name__")


def _matches(matcher: Any, labels: dict[str, str]) -> bool:
    value = labels.get(matcher.name, "")
    match matcher.op:
        case promql.MatchOp.Equal:
            return bool(value == matcher.value)
        case promql.MatchOp.NotEqual:
            return bool(value != matcher.value)
        case promql.MatchOp.Re:
            return re.fullmatch(matcher.value, value) is not None
        case _:
            return re.fullmatch(matcher.value, value) is None


def _binary(sign: str, left: Vector | float, right: Vector | float) -> Any:
    if not isinstance(left, dict) and not isinstance(right, dict):
        return _BINARY[sign](left, right)
    keys = left if isinstance(left, dict) else right
    assert isinstance(keys, dict)
    lefts = {_nameless(key): value for key, value in left.items()} if isinstance(left, dict) else None
    rights = {_nameless(key): value for key, value in right.items()} if isinstance(right, dict) else None
    found: Vector = {}
    for key in map(_nameless, keys):
        one = left if lefts is None else lefts.get(key)
        other = right if rights is None else rights.get(key)
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            continue
        if sign in _COMPARE:
            if _COMPARE[sign](one, other):
                found[key] = one
        elif sign != "/" or other:
            found[key] = _BINARY[sign](one, other)  # 0/0 is NaN, of which no comparison holds.
    return found


def _quantile(wanted: float, buckets: Vector) -> Vector:
    """By linear interpolation within the bucket, as Prometheus does."""
    series: dict[Labels, list[tuple[float, float]]] = {}
    for labels, value in buckets.items():
        bound = float(dict(labels)["le"])
        series.setdefault(frozenset(pair for pair in labels if pair[0] != "le"), []).append((bound, value))
    found: Vector = {}
    for labels, row in series.items():
        row.sort()
        rank, below = wanted * row[-1][1], (0.0, 0.0)
        if not row[-1][1]:
            continue
        for bound, count in row:
            if count >= rank:
                share = (rank - below[1]) / (count - below[1])
                top = below[0] if bound == float("inf") else below[0] + (bound - below[0]) * share
                found[labels] = top
                break
            below = (bound, count)
    return found
