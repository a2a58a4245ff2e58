"""What a run adds up to, as figures, as a table, as a picture."""

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from stargate.benching.answer import Answered, Failed
from stargate.benching.plot import drawing
from stargate.benching.report import About, as_json, as_text, reported
from stargate.benching.tally import BINS, KINDS_MAX, Tally

MS = 1_000_000
SECOND = 1_000 * MS
SVG = "{http://www.w3.org/2000/svg}"


def about(**changes: Any) -> About:
    known: dict[str, Any] = {
        "url": "http://x.test/v1/chat/completions",
        "model": "m",
        "is_streamed": True,
        "pattern": "constant",
        "per_second": 10.0,
        "seconds": 10.0,
        "concurrency_max": 4,
        "max_tokens": 9,
        "seed": 0,
    }
    return About(**{**known, **changes})


def answered(first_at: int | None, ended_at: int, *gaps: int, tokens: int = 5, told: bool = True) -> Answered:
    return Answered(
        first_at=first_at, gaps_ns=list(gaps), ended_at=ended_at, tokens=tokens, are_tokens_told=told
    )


def a_run(requests: int = 100) -> Tally:
    """Due every tenth of a second; each has its first token after 20 ms, and is whole after 60."""
    tally = Tally(10 * SECOND)
    for number in range(requests):
        due = number * 100 * MS
        tally.begin(due, 0)
        tally.end(due, due + 60 * MS, answered(due + 20 * MS, due + 60 * MS, 10 * MS, 30 * MS))
    return tally


class TestFigures:
    def test_durations_count_from_when_a_request_was_due(self) -> None:
        report = reported(about(), a_run(), elapsed_ns=11 * SECOND, was_interrupted=False)
        assert report.first_token_ms.p50 == pytest.approx(20, rel=0.004)
        assert report.whole_answer_ms.p99 == pytest.approx(60, rel=0.004)
        assert (report.between_events_ms.count, report.between_events_ms.mean) == (200, 20)
        assert (report.between_events_ms.max, report.whole_answer_ms.max) == (30, 60)

    def test_rates_are_over_the_duration(self) -> None:
        report = reported(about(), a_run(), elapsed_ns=11 * SECOND, was_interrupted=False)
        assert (report.due, report.answered, report.failed) == (100, 100, 0)
        assert (report.requests_per_second, report.output_tokens_per_second) == (10, 50)

    def test_or_longer_until_the_last_answer(self) -> None:
        tally = a_run()
        tally.begin(9 * SECOND, 0)
        tally.end(9 * SECOND, 20 * SECOND, answered(19 * SECOND, 20 * SECOND))
        report = reported(about(), tally, elapsed_ns=21 * SECOND, was_interrupted=False)
        assert (report.seconds, report.requests_per_second) == (20, 5.05)

    def test_or_until_it_was_interrupted(self) -> None:
        tally = a_run(requests=20)
        tally.begin(2 * SECOND, 0)
        report = reported(about(), tally, elapsed_ns=2 * SECOND, was_interrupted=True)
        assert (report.requests_per_second, report.under_way) == (10, 1)
        assert "1 under way when it was interrupted" in "\n".join(as_text(report))

    def test_failures_are_counted_by_kind_and_have_no_latency(self) -> None:
        tally = a_run(requests=1)
        for outcome in (Failed("timeout"), Failed("status 429", "slow"), Failed("status 429", "down")):
            tally.begin(SECOND, 0)
            tally.end(SECOND, 2 * SECOND, outcome)
        report = reported(about(), tally, elapsed_ns=SECOND, was_interrupted=False)
        errors = [(problem.kind, problem.count, problem.example) for problem in report.errors]
        assert errors == [("status 429", 2, "slow"), ("timeout", 1, "")]
        assert (report.failed, report.whole_answer_ms.count) == (3, 1)
        assert "       2  status 429: slow" in as_text(report)

    def test_kinds_are_bounded(self) -> None:
        tally = Tally(SECOND)
        for number in range(1_000):
            tally.begin(0, 0)
            tally.end(0, 1, Failed(f"status {number}"))
        assert len(tally.failures) == KINDS_MAX + 1
        assert sum(one.count for one in tally.failures.values()) == tally.failed == 1_000

    def test_every_moment_is_in_a_bin(self) -> None:
        tally = Tally(10 * SECOND)
        bins = [tally.bin_of(at) for at in (0, 10 * SECOND - 1, 10 * SECOND, 99 * SECOND)]
        assert [tally.bins.index(one) for one in bins] == [0, BINS - 1, BINS, BINS]


class TestTable:
    def test_it_has_what_was_measured(self) -> None:
        report = reported(about(), a_run(), elapsed_ns=11 * SECOND, was_interrupted=False)
        assert list(as_text(report)) == [
            "http://x.test/v1/chat/completions, model m, streamed",
            "10 requests/s (constant) for 10 s: 100 due, 100 answered, 0 failed",
            "",
            "                         p50       p90       p99       max",
            "first token          20.0 ms   20.0 ms   20.0 ms   20.0 ms",
            "between events       10.0 ms   29.9 ms   29.9 ms   30.0 ms",  # the middle of a bucket
            "whole answer         60.0 ms   60.0 ms   60.0 ms   60.0 ms",
            "",
            "requests/s              10.0",
            "output tokens/s         50.0",
        ]

    @pytest.mark.parametrize(
        ("duration", "shown"),
        [
            (0, "0 µs"),
            (999_000, "999 µs"),
            (99 * MS, "99.0 ms"),
            (500 * MS, "500 ms"),
            (250 * SECOND, "250 s"),
        ],
    )
    def test_durations_have_their_unit(self, duration: int, shown: str) -> None:
        tally = Tally(SECOND)
        tally.begin(0, 0)
        tally.end(0, duration, answered(duration, duration))
        report = reported(about(), tally, elapsed_ns=SECOND, was_interrupted=False)
        assert next(line for line in as_text(report) if line.startswith("whole")).endswith(f" {shown}")

    def test_what_must_be_known_is_noted(self) -> None:
        tally = Tally(SECOND)
        tally.begin(0, 20 * MS)
        tally.end(0, SECOND, answered(1, SECOND, told=False))
        tally.crowded = 7
        tally.miss(3)
        report = reported(about(), tally, elapsed_ns=SECOND, was_interrupted=False)
        text = list(as_text(report))
        assert "1 answered, 0 failed, 3 never sent" in text[1]
        notes = [line for line in text if line.startswith("note: ")]
        assert [note.split()[1] for note in notes] == ["7", "3", "this", "the"]

    def test_nothing_measured_is_no_zero(self) -> None:
        report = reported(about(), Tally(SECOND), elapsed_ns=SECOND, was_interrupted=False)
        assert "first token                -         -         -         -" in as_text(report)
        assert json.loads(as_json(report))["first_token_ms"]["p50"] is None

    def test_json_has_the_same_figures(self) -> None:
        report = reported(about(), a_run(), elapsed_ns=11 * SECOND, was_interrupted=False)
        found = json.loads(as_json(report))
        assert found["about"]["per_second"] == 10
        assert found["between_events_ms"] == {
            "count": 200,
            "mean": 20.0,
            "p50": report.between_events_ms.p50,
            "p90": report.between_events_ms.p90,
            "p99": report.between_events_ms.p99,
            "max": 30.0,
        }


class TestPicture:
    @staticmethod
    def drawn(tally: Tally, **changes: Any) -> ET.Element:
        report = reported(about(**changes), tally, elapsed_ns=SECOND, was_interrupted=False)
        return ET.fromstring(drawing(report, tally))

    def test_it_has_a_curve_for_each_latency_and_one_for_each_share_along_the_run(self) -> None:
        root = self.drawn(a_run())
        assert root.tag == f"{SVG}svg"
        assert len(root.findall(f"{SVG}polyline")) == 3 + 2
        texts = [one.text for one in root.findall(f"{SVG}text")]
        assert {"first token", "between events", "whole answer"} <= set(texts)

    def test_without_streams_it_has_the_whole_answer_alone(self) -> None:
        tally = Tally(10 * SECOND)
        for number in range(50):
            tally.begin(number, 0)
            tally.end(number, SECOND + number, answered(None, SECOND + number))
        root = self.drawn(tally, is_streamed=False)
        texts = [one.text for one in root.findall(f"{SVG}text")]
        assert "whole answer" in texts
        assert "first token" not in texts

    def test_a_bar_shows_each_part_of_the_run_in_which_something_was_answered_or_failed(self) -> None:
        tally = a_run()
        tally.begin(0, 0)
        tally.end(0, 5 * SECOND, Failed("timeout"))
        colours = [one.get("fill") for one in self.drawn(tally).findall(f"{SVG}rect")][1:]
        assert len(colours) == 20 + 1
        assert len(set(colours)) == 2

    @pytest.mark.parametrize("requests", [0, 1, 2, 7])
    def test_few_can_be_drawn(self, requests: int) -> None:
        self.drawn(a_run(requests))

    def test_everything_lies_within_it(self) -> None:
        root = self.drawn(a_run())
        for line in root.findall(f"{SVG}polyline"):
            for point in (line.get("points") or "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= 980
                assert 0 <= y <= 430

    def test_names_are_text_and_nothing_else(self) -> None:
        root = self.drawn(a_run(), model='<script>"&')
        assert root.findall(f".//{SVG}script") == []
        assert any((one.text or "").startswith('<script>"&,') for one in root.findall(f"{SVG}text"))
