"""The exposition: prometheus_client's own parsers read it, in both formats, and find what was counted."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import pytest
from prometheus_client import parser as plain
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.samples import Sample

from stargate.observing.board import Board, Boards
from stargate.observing.catalogue import GAUGES, METRICS, Metric
from stargate.observing.exposition import exposition
from stargate.observing.series import VERSION
from support.observing import REQUEST_ID, a_status, record

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
FORMATS: Final[dict[str, tuple[str, Callable[[str], Iterable[Any]]]]] = {
    "plain": ("text/plain", plain.text_string_to_metric_families),
    "openmetrics": (OPENMETRICS, openmetrics.text_string_to_metric_families),
}
"""What a scraper accepts, and who reads that."""


TROUBLED: Final[dict[str, Any]] = {
    "targets": [{"name": "us-east-1", "state": "open", "until": None}],
    "store": {"kind": "redis", "state": "down", "calls": 1, "backlog": 7},
    "sinks": [{"path": "/dev/stdout", "buffered": 11, "trouble": "no space", "written": 0, "dropped": 0}],
    "credentials_held": {"": True, "other": False},
}
"""What a worker tells that has trouble."""


def tell(board: Board, **changes: Any) -> None:
    board.tell(msgspec.json.encode(a_status(**changes)))


def busy_boards() -> Boards:
    """Boards on which there is something of everything."""
    boards = Boards(1)
    board = boards.at(0)
    board.observe(record())
    board.observe(record(cache="hit", cost_usd=0.0, model='quo"te\n\\'))
    for metric, label in (
        ("verdicts", "allowed"),
        ("refusals", "tokens_per_minute_by_consumer"),
        ("journals", "written"),
        ("lines_written", "/dev/stdout"),
        ("lines_dropped", "/dev/stdout"),
        ("spans", "exported"),
    ):
        board.count(metric, label)
    tell(board, **TROUBLED)
    return boards


def samples(boards: Boards, accepted: str = "openmetrics") -> list[Sample]:
    accept, parse = FORMATS[accepted]
    _, body = exposition(boards, accept)
    return [sample for family in parse(body.decode()) for sample in family.samples]


def value(found: list[Sample], name: str, **labels: str) -> float:
    """The one sample of this name with these labels, among others."""
    (sample,) = (one for one in found if one.name == name and labels.items() <= one.labels.items())
    return sample.value


@pytest.mark.parametrize("accepted", list(FORMATS))
class TestBothFormats:
    def test_every_metric_is_told_with_its_labels(self, accepted: str) -> None:
        accept, parse = FORMATS[accepted]
        kind, body = exposition(busy_boards(), accept)
        assert kind.startswith(accept.partition(";")[0])
        told = {family.name: family for family in parse(body.decode())}
        assert set(told) == {metric.name for metric in METRICS}
        for metric in METRICS:
            family = told[metric.name]
            assert (family.type, family.documentation) == (metric.kind, metric.help)
            assert family.samples, metric.name
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(metric.labels)

    def test_before_anything_has_happened_every_metric_is_there(self, accepted: str) -> None:
        accept, parse = FORMATS[accepted]
        _, body = exposition(Boards(1), accept)
        assert {family.name for family in parse(body.decode())} == {metric.name for metric in METRICS}

    def test_what_was_counted_is_told(self, accepted: str) -> None:
        found = samples(busy_boards(), accepted)
        assert value(found, "stargate_requests_total", model="claude", status="200", outcome="complete") == 1
        assert value(found, "stargate_tokens_total", model="claude", type="output") == 21
        assert value(found, "stargate_cost_usd_total", model="claude") == 0.000615
        assert value(found, "stargate_kept_tokens_total", model='quo"te\n\\', type="input") == 100
        assert value(found, "stargate_cache_requests_total", result="hit") == 1
        assert value(found, "stargate_request_duration_seconds_sum", model="claude") == 2.3005
        assert value(found, "stargate_request_duration_seconds_bucket", model="claude", le="2.56") == 1
        assert value(found, "stargate_request_duration_seconds_bucket", model="claude", le="1.28") == 0


class TestGauges:
    def test_a_worker_tells_how_it_stands(self) -> None:
        found = samples(busy_boards())
        assert value(found, "stargate_worker_up", worker="1", state="ready") == 1
        assert value(found, "stargate_client_connections", worker="1") == 5
        assert value(found, "stargate_requests_in_flight", worker="1") == 2
        assert value(found, "stargate_upstream_connections", worker="1", state="lent") == 2
        assert value(found, "stargate_breaker_state", worker="1", target="us-east-1") == 2
        assert value(found, "stargate_store_up", worker="1", kind="redis") == 0
        assert value(found, "stargate_limit_used_ratio", limit="tokens_per_minute", scope="team-a") == 0.5
        assert value(found, "stargate_log_sink_trouble", sink="/dev/stdout") == 1
        assert value(found, "stargate_credentials_held", account="other") == 0
        assert value(found, "stargate_spans_queued", worker="1") == 3
        assert value(found, "stargate_config_loaded_time_seconds", worker="1") == 1_767_323_045
        assert value(found, "stargate_config_last_reload_successful", worker="1") == 1
        assert value(found, "stargate_build_info", version=VERSION) == 1

    def test_a_refused_reload_shows(self) -> None:
        boards = Boards(1)
        tell(boards.at(0), reload_error=["stargate.yaml:1:1: no"])
        assert value(samples(boards), "stargate_config_last_reload_successful", worker="1") == 0

    def test_those_of_a_worker_that_has_left_are_gone_and_counters_stay(self) -> None:
        boards = Boards(2)
        board = boards.at(0)
        board.observe(record())
        tell(board)
        board.leave()
        names = {sample.name for sample in samples(boards)}
        assert names & {metric.name for metric in GAUGES.values()} == {"stargate_build_info"}
        assert "stargate_requests_total" in names

    def test_two_in_one_place_are_one(self) -> None:
        """The older one drains: what there is so many of is added, of states the newer one's counts."""
        boards = Boards(2)
        older, newer = boards.at(0), boards.at(0)
        tell(older, draining=True, generation=3)
        tell(newer, generation=4)
        found = samples(boards)
        assert value(found, "stargate_client_connections", worker="1") == 10
        assert value(found, "stargate_config_generation", worker="1") == 4
        assert value(found, "stargate_worker_up", state="draining") == 1
        assert value(found, "stargate_worker_up", state="ready") == 1


class TestExemplars:
    def test_a_buckets_exemplar_is_the_newest_request_in_it(self) -> None:
        boards = Boards(1)
        board = boards.at(0)
        for second, total_ms in enumerate((15.0, 16.0, 5000.0)):
            time = f"2026-01-02T03:04:0{second}.000Z"
            board.observe(record(request_id=f"{second}{REQUEST_ID[1:]}", time=time, total_ms=total_ms))
        found = {
            sample.labels["le"]: sample.exemplar
            for sample in samples(boards)
            if sample.name == "stargate_request_duration_seconds_bucket" and sample.exemplar is not None
        }
        assert set(found) == {"0.02", "5.12"}
        assert found["0.02"].labels["request_id"] == f"1{REQUEST_ID[1:]}"
        assert found["0.02"].value == 0.016
        assert float(str(found["5.12"].timestamp)) == 1_767_323_042.0

    def test_it_names_its_trace_where_there_is_one(self) -> None:
        boards = Boards(1)
        boards.at(0).observe(record(trace_id="f" * 32))
        exemplars = [sample.exemplar for sample in samples(boards) if sample.exemplar is not None]
        assert {tuple(one.labels.items()) for one in exemplars} == {
            (("request_id", REQUEST_ID), ("trace_id", "f" * 32))
        }

    def test_the_plain_format_has_none(self) -> None:
        _, body = exposition(busy_boards(), "text/plain")
        assert b"request_id" not in body


def test_a_gateway_that_nobody_scrapes_does_not_import_the_library() -> None:
    seen = "import stargate.cli.main, stargate.operations, sys; print('prometheus_client' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


class TestNames:
    @pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
    def test_they_are_as_prometheus_has_them(self, metric: Metric) -> None:
        assert re.fullmatch(r"stargate(_[a-z]+)+", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_created"))
        assert metric.help.endswith(".")
        for label in metric.labels:
            assert re.fullmatch(r"[a-z]+", label)
            assert label not in {"le", "quantile", "job", "instance"}, "these are the scraper's"

    def test_none_is_there_twice(self) -> None:
        assert len({metric.name for metric in METRICS}) == len(METRICS)
