"""The dashboard and the alerts: what they ask for exists, and each alert fires when it should, and only then.

Names and labels are held against the catalogue, whose every metric the exposition tells (its own tests), and
against the exposition itself. An alert is tried on two scrapes of boards that have counted made-up records:
of a healthy gateway, and of one in the trouble that the alert is for. The queries are evaluated by
support/promql.py: there is no promtool to be had as a wheel, so templates in annotations are not rendered.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from prometheus_client.samples import Sample

from stargate.observing.board import Board, Boards
from stargate.observing.catalogue import METRICS
from stargate.observing.exposition import families
from stargate_core.faults import Cause
from stargate_core.record import Attempt, Outcome
from support.observing import a_status, record
from support.promql import Scrapes, selected

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
DASHBOARD: Final = json.loads((DEPLOY / "grafana" / "stargate.json").read_text())
RULES: Final = {
    rule["alert"]: rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
}


def known() -> dict[str, set[str]]:
    """Every series that can be asked for, and its labels."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = set(metric.labels)
        if metric.kind == "histogram":
            found |= {
                f"{metric.name}_bucket": labels | {"le"},
                f"{metric.name}_sum": labels,
                f"{metric.name}_count": labels,
            }
        else:
            found[metric.told] = labels
    return found


KNOWN: Final = known()


def queries() -> Iterator[Any]:
    """Each query of the dashboard and of the alerts, with what Grafana fills in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield pytest.param(filled(target["expr"]), id=f"{panel['title']}-{target['refId']}")
    for annotation in DASHBOARD["annotations"]["list"]:
        yield pytest.param(filled(annotation["expr"]), id=annotation["name"])
    for name, rule in RULES.items():
        yield pytest.param(rule["expr"], id=name)


def filled(expression: str) -> str:
    """A query as Grafana sends it."""
    for name, value in (("$__rate_interval", "5m"), ("$consumer", ".*"), ("$model", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize("query", list(queries()))
def test_what_it_asks_for_exists(query: str) -> None:
    asked = selected(query)
    assert asked
    for one in asked:
        assert one.metric in KNOWN
        assert one.labels <= KNOWN[one.metric]


def test_a_label_that_does_not_exist_would_be_seen() -> None:
    (one,) = selected('sum by (modle) (rate(stargate_requests_total{status=~"5.."}[5m]))')
    assert one.labels == {"modle", "status"}
    assert not one.labels <= KNOWN[one.metric]


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    """Those of one worker's life are for whoever asks."""
    asked = {one.metric.removesuffix("_bucket") for query in queries() for one in selected(query.values[0])}
    left_out = {metric.told for metric in METRICS} - asked
    assert left_out == {
        "stargate_worker_start_time_seconds",
        "stargate_config_loaded_time_seconds",
    }


def test_panels_do_not_overlap_and_have_what_grafana_needs() -> None:
    places: set[tuple[int, int]] = set()
    ids: set[int] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= cells
        assert panel["id"] not in ids
        ids.add(panel["id"])
    for variable in DASHBOARD["templating"]["list"][1:]:
        metric, label = variable["definition"].removeprefix("label_values(").removesuffix(")").split(", ")
        assert label in KNOWN[metric]


def test_causes_that_alerts_name_exist() -> None:
    assert {"UPSTREAM_THROTTLED", "UPSTREAM_QUOTA"} <= {cause.name for cause in Cause}


# ----------------------------------------------------------------------------------------------------- alerts

Trouble = Callable[[Board], None]


def many(count: int = 100, **changes: Any) -> Trouble:
    """So many requests of this kind."""

    def happen(board: Board) -> None:
        for _ in range(count):
            board.observe(record(**changes))

    return happen


def counted(metric: str, label: str) -> Trouble:
    return lambda board: board.count(metric, label, 5)


def told(**changes: Any) -> Trouble:
    """The worker says this of itself."""
    return lambda board: board.tell(msgspec.json.encode(a_status(**changes)))


def limit(used: float) -> list[dict[str, Any]]:
    return [{"name": "usd_per_month", "scope": "team-a", "used": used, "limit": 10}]


STATISTICS: Final = a_status()["statistics"]
FAILED: Final[dict[str, Any]] = {"status": 502, "code": "UPSTREAM_ERROR", "outcome": Outcome.FAILED}
THROTTLED: Final = (Attempt("us-east-1/claude", "UPSTREAM_THROTTLED", 0.0, 5.0),)
TROUBLES: Final[dict[str, Trouble]] = {
    "StargateErrors": many(**FAILED),
    "StargateModelFails": many(**FAILED),
    "StargateThrottledByBedrock": many(calls=THROTTLED),
    "StargateTargetLeftAlone": told(targets=[{"name": "us-east-1", "state": "open", "until": None}]),
    "StargateSlowFirstToken": many(first_token_ms=20_000.0),
    "StargateSlowItself": many(overhead_ms=400.0),
    "StargateStoreDown": told(store={"kind": "redis", "state": "down"}),
    "StargateLimitsUnanswered": counted("verdicts", "unanswered"),
    "StargateLimitNearlyFull": told(limits=limit(9.5)),
    "StargateNoCredentials": told(credentials_held={"": True, "other": False}),
    "StargateReloadRefused": told(reload_error=["stargate.yaml:1:1: no"]),
    "StargatePoolExhausted": told(statistics={**STATISTICS, "waiting": 50}),
    "StargateLogLinesLost": counted("lines_dropped", "/dev/stdout"),
    "StargateSpendsFast": many(cost_usd=50.0),
}
"""What sets an alert off that takes no more than one worker and one kind of event; the others follow."""


def samples(boards: Boards) -> list[Sample]:
    return [sample for family in families(boards) for sample in family.samples]


def healthy(board: Board) -> None:
    """What a gateway counts on a good day; of what can go wrong there was something, once."""
    many(count=100)(board)
    told()(board)


def scrapes(trouble: Trouble) -> Scrapes:
    """Before and after: a good day, and another on which this happened, too."""
    boards = Boards(1)
    board = boards.at(0)
    healthy(board)
    trouble(board)  # A series is there before it grows, or nothing can be said of its growth.
    told()(board)
    before = samples(boards)
    healthy(board)
    trouble(board)
    return Scrapes(before, samples(boards), now=time.time())


@pytest.mark.parametrize("name", list(RULES))
def test_on_a_good_day_no_alert_fires(name: str) -> None:
    assert scrapes(lambda _: None).ask(RULES[name]["expr"]) == {}


@pytest.mark.parametrize("name", list(TROUBLES))
def test_it_fires_in_the_trouble_it_is_for(name: str) -> None:
    assert scrapes(TROUBLES[name]).ask(RULES[name]["expr"])


def test_made_up_models_are_told_of() -> None:
    def made_up(board: Board) -> None:
        for number in range(300):
            board.observe(record(model=f"made-up-{number}", outcome=Outcome.FAILED))

    assert scrapes(made_up).ask(RULES["StargateSeriesFolded"]["expr"])


def test_different_generations_are_told_of() -> None:
    boards = Boards(2)
    for place, generation in enumerate((3, 4)):
        told(generation=generation)(boards.at(place))
    asked = Scrapes([], samples(boards), now=time.time())
    assert asked.ask(RULES["StargateGenerationsDiffer"]["expr"])


def test_workers_that_die_are_told_of() -> None:
    boards = Boards(4)
    for place in range(4):
        boards.at(place)
    before = samples(boards)
    for place in range(3):
        boards.at(place)
    asked = Scrapes(before, samples(boards), now=time.time())
    assert asked.ask(RULES["StargateWorkersDie"]["expr"])


def test_a_silent_worker_is_told_of() -> None:
    boards = Boards(1)
    told()(boards.at(0))
    later = Scrapes([], samples(boards), now=time.time() + 60)
    assert later.ask(RULES["StargateWorkerSilent"]["expr"])


def test_every_alert_is_tried() -> None:
    apart = {
        "StargateGenerationsDiffer",
        "StargateSeriesFolded",
        "StargateWorkersDie",
        "StargateWorkerSilent",
    }
    assert set(TROUBLES) | apart == set(RULES)
