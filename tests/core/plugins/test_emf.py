"""CloudWatch's format: every line fits the specification, and its references have targets.

SCHEMA says in JSON Schema what the specification asks of a document, and `check` what no schema can.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html (units, dimensions)
"""

import datetime
from typing import Any, Final, get_args

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.request_logger import Dimension, Emf, Fields, LogSink
from stargate_core.plugins.emf import LINE_BYTES_MAX
from stargate_core.plugins.request_logger import line_maker
from stargate_core.record import LogRecord, Outcome

_RATES: Final = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits")
UNITS: Final = (
    "Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None",
    "Gigabits", "Terabits", "Gigabits/Second", "Terabits/Second",
    *_RATES, *(f"{unit}/Second" for unit in _RATES),
)  # fmt: skip
NAME: Final = {"type": "string", "minLength": 1, "maxLength": 255}
METRIC: Final = {
    "type": "object",
    "required": ["Name"],
    "properties": {"Name": NAME, "Unit": {"enum": list(UNITS)}, "StorageResolution": {"enum": [1, 60]}},
    "additionalProperties": False,
}
DIRECTIVE: Final = {
    "type": "object",
    "required": ["Namespace", "Dimensions", "Metrics"],
    "properties": {
        "Namespace": NAME,
        "Dimensions": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "maxItems": 9, "items": NAME, "uniqueItems": True},
        },
        "Metrics": {"type": "array", "minItems": 1, "maxItems": 100, "items": METRIC},
    },
    "additionalProperties": False,
}
SCHEMA: Final = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 0},
                "CloudWatchMetrics": {"type": "array", "items": DIRECTIVE},
            },
            "additionalProperties": False,
        }
    },
}
VALIDATOR: Final = jsonschema.Draft202012Validator(SCHEMA)
TIME: Final = "2027-01-15T08:00:02.345Z"
DIMENSIONS: Final = get_args(Dimension)


def a_record(**fields: Any) -> LogRecord:
    """A good answer, unless told otherwise."""
    usual: dict[str, Any] = {"time": TIME, "request_id": "id", "generation": 1, "outcome": Outcome.COMPLETE}
    usual |= {"status": 200, "upstream_status": 200, "consumer": "ann", "target": "model", "total_ms": 20.5}
    return LogRecord(**(usual | fields))


def document(record: LogRecord, *, fields: Fields | None = None, **settings: Any) -> dict[str, Any]:
    """The line that is made of a record, read and checked."""
    sink = LogSink(path="-", format="emf", emf=Emf(**settings), fields=fields or Fields())
    line = line_maker(sink)(record)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert len(line) <= LINE_BYTES_MAX
    read: dict[str, Any] = msgspec.json.decode(line)
    check(read)
    return read


def check(read: dict[str, Any]) -> None:
    """Hold a document against the specification."""
    VALIDATOR.validate(read)
    for directive in read["_aws"]["CloudWatchMetrics"]:
        names = [metric["Name"] for metric in directive["Metrics"]]
        assert len(set(names)) == len(names)
        for name in names:
            assert isinstance(read[name], int | float)
        for name in {name for names in directive["Dimensions"] for name in names}:
            value = read[name]
            assert isinstance(value, str)
            assert value.isascii()
            assert value.isprintable()
            assert 1 <= len(value.strip()) <= 1024
            assert not value.startswith(":")


texts = st.text(max_size=40)
counts = st.integers(0, 10**9)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "outcome": st.sampled_from(Outcome),
            "status": st.sampled_from([0, 200, 400, 429, 500, 503]),
            "upstream_status": st.sampled_from([0, 200, 404, 429, 500]),
            "cache": st.sampled_from(["", "hit", "miss", "coalesced", "bypass"]),
            **dict.fromkeys(("consumer", "target", "region", "route", "dialect", "operation", "code"), texts),
            **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens"), counts),
            "first_byte_ms": st.floats(0, 1e6),
            "cost_usd": st.floats(0, 1e6),
        },
    ),
    st.lists(st.lists(st.sampled_from(DIMENSIONS), max_size=9, unique=True), min_size=1, max_size=10),
)
def test_every_line_fits_the_specification(fields: dict[str, Any], dimensions: list[list[Any]]) -> None:
    document(a_record(**fields), dimensions=dimensions)


class TestCheck:
    """The check itself finds what is wrong."""

    @pytest.mark.parametrize(
        "broken",
        [
            {"_aws": {"Timestamp": 1}},
            {"_aws": {"CloudWatchMetrics": []}},
            {
                "_aws": {
                    "Timestamp": 1,
                    "CloudWatchMetrics": [{"Namespace": "", "Dimensions": [[]], "Metrics": []}],
                }
            },
        ],
    )
    def test_a_schema_breach(self, broken: dict[str, Any]) -> None:
        with pytest.raises(jsonschema.ValidationError):
            check(broken)

    def test_a_missing_target(self) -> None:
        read = document(a_record())
        del read["Requests"]
        with pytest.raises(KeyError):
            check(read)


class TestDocument:
    def test_it_is_the_record_and_its_metrics(self) -> None:
        record = a_record(
            model="claude", input_tokens=10, output_tokens=5, cost_usd=0.25, first_byte_ms=12.5, total_ms=20.5
        )
        read = document(record)
        assert read.pop("_aws") == {
            "Timestamp": int(datetime.datetime.fromisoformat(TIME).timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": "Stargate",
                    "Dimensions": [["consumer", "target"], ["target"], []],
                    "Metrics": [
                        {"Name": "Requests", "Unit": "Count"},
                        {"Name": "ClientErrors", "Unit": "Count"},
                        {"Name": "ServerErrors", "Unit": "Count"},
                        {"Name": "InputTokens", "Unit": "Count"},
                        {"Name": "OutputTokens", "Unit": "Count"},
                        {"Name": "CacheReadTokens", "Unit": "Count"},
                        {"Name": "CacheWriteTokens", "Unit": "Count"},
                        {"Name": "CostUSD", "Unit": "None"},
                        {"Name": "TotalTime", "Unit": "Milliseconds"},
                        {"Name": "FirstByteTime", "Unit": "Milliseconds"},
                    ],
                }
            ],
        }
        metrics = {name: read.pop(name) for name in tuple(read) if name[0].isupper()}
        assert metrics == {
            "Requests": 1, "ClientErrors": 0, "ServerErrors": 0, "InputTokens": 10, "OutputTokens": 5,
            "CacheReadTokens": 0, "CacheWriteTokens": 0, "CostUSD": 0.25, "TotalTime": 20.5,
            "FirstByteTime": 12.5,
        }  # fmt: skip
        assert read == msgspec.to_builtins(record)

    def test_what_is_left_out_stays_out_and_dimensions_stay_in(self) -> None:
        read = document(a_record(client="192.0.2.1"), fields=Fields(include=["request_id"]))
        assert {name for name in read if name.islower()} == {"_aws", "request_id", "consumer", "target"}

    @pytest.mark.parametrize(
        ("fields", "errors"),
        [
            ({}, (0, 0)),
            ({"outcome": Outcome.FAILED, "status": 429}, (1, 0)),
            ({"outcome": Outcome.FAILED, "status": 503}, (0, 1)),
            # It broke off within its answer.
            ({"outcome": Outcome.FAILED}, (0, 1)),
            ({"outcome": Outcome.CLIENT_LEFT, "status": 0}, (0, 0)),
        ],
    )
    def test_whose_error_it_was(self, fields: dict[str, Any], errors: tuple[int, int]) -> None:
        read = document(a_record(**fields))
        assert (read["ClientErrors"], read["ServerErrors"]) == errors

    def test_what_would_be_too_large_is_cut_to_the_metrics(self) -> None:
        read = document(a_record(detail="x" * LINE_BYTES_MAX))
        assert "detail" not in read
        assert (read["request_id"], read["consumer"], read["Requests"]) == ("id", "ann", 1)


class TestDimensions:
    @pytest.mark.parametrize(
        ("fields", "target"),
        [
            ({}, "model"),
            ({"upstream_status": 429}, "model"),
            ({"upstream_status": 404}, "none"),
            ({"upstream_status": 0}, "none"),
            ({"upstream_status": 0, "cache": "hit"}, "model"),
            ({"target": ""}, "none"),
        ],
    )
    def test_a_target_is_what_bedrock_knows(self, fields: dict[str, Any], target: str) -> None:
        assert document(a_record(**fields))["target"] == target

    @pytest.mark.parametrize(
        ("consumer", "value"),
        [
            ("", "none"),
            ("::a", "a"),
            ("bü", r"b\xfc"),
            ("  ", "none"),
            ("x" * 2000, "x" * 1024),
            (":", "none"),
        ],
    )
    def test_a_value_is_what_cloudwatch_takes(self, consumer: str, value: str) -> None:
        assert document(a_record(consumer=consumer))["consumer"] == value

    def test_a_status_is_a_text(self) -> None:
        read = document(a_record(), dimensions=[["status", "outcome"]])
        assert (read["status"], read["outcome"]) == ("200", "complete")
