"""The log record as CloudWatch's Embedded Metric Format: a line of the log from which metrics are made.

The document is the record, and beside it the metrics' own members and `_aws`, which says which members are
metrics and which are their dimensions. So one line serves both: CloudWatch Logs Insights finds the request, a
graph counts it.

Rules:

- *Every reference has its target.* A metric that a request has no value for (a first byte that never came)
  is not named in its line.
- *Dimensions are strings, and bounded.* A value that is empty is `none`; what is not printable ASCII is
  escaped, since CloudWatch takes nothing else. `target` is what Bedrock knows: where it has said that a call
  was wrong or the model unknown, the caller may have invented the name, and it is `none`.
- *A line is at most `LINE_BYTES_MAX`*, the smaller of the sizes that AWS has given for log events. What is
  larger is cut to the metrics and the request's id.
- Names and units are CloudWatch's: CamelCase, `Count`, `Milliseconds`; there is no unit for money.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
(at most 100 metrics in a directive, 30 dimensions in a set, and 1 MB, formerly 256 KB).
"""

import datetime
from typing import Any, Final

import msgspec

from stargate_core.config.request_logger import Emf
from stargate_core.record import LogRecord, Outcome

LINE_BYTES_MAX: Final = 262_144
_DIMENSION_CHARS_MAX: Final = 1024
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html"""
_NONE: Final = "none"
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)
_UNITS: Final = (
    ("Requests", "Count"),
    ("ClientErrors", "Count"),
    ("ServerErrors", "Count"),
    ("InputTokens", "Count"),
    ("OutputTokens", "Count"),
    ("CacheReadTokens", "Count"),
    ("CacheWriteTokens", "Count"),
    ("CostUSD", "None"),
    ("TotalTime", "Milliseconds"),
)
_FIRST_BYTE: Final = ("FirstByteTime", "Milliseconds")
_KNOWN_TO_BEDROCK: Final = frozenset({"hit", "coalesced"})
_MODEL_AT_FAULT: Final = frozenset({0, 400, 403, 404})
"""Statuses of Bedrock, or of no answer, that leave it open whether there is such a model."""

_ENCODER: Final = msgspec.json.Encoder()


class EmfLines:
    """Makes the lines. settings: namespace and dimensions."""

    __slots__ = ("_directives", "_names")

    def __init__(self, settings: Emf) -> None:
        self._directives = tuple(_directive(settings, units) for units in (_UNITS, (*_UNITS, _FIRST_BYTE)))
        self._names = tuple(dict.fromkeys(name for names in settings.dimensions for name in names))

    def line(self, record: LogRecord, members: dict[str, Any]) -> bytes:
        """One line with its end. members: what of the record is written."""
        first_byte_ms = record.first_byte_ms
        arrived = datetime.datetime.fromisoformat(record.time)
        metrics = _metrics(record)
        if first_byte_ms:
            metrics["FirstByteTime"] = first_byte_ms
        metadata = {
            "Timestamp": (arrived - _EPOCH) // _MILLISECOND,
            "CloudWatchMetrics": self._directives[bool(first_byte_ms)],
        }
        of = {name: _dimension(record, name) for name in self._names}
        line = _ENCODER.encode({"_aws": metadata, **members, **of, **metrics}) + b"\n"
        if len(line) > LINE_BYTES_MAX:
            line = (
                _ENCODER.encode({"_aws": metadata, "request_id": record.request_id, **of, **metrics}) + b"\n"
            )
        return line


def _directive(settings: Emf, units: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    metrics = [{"Name": name, "Unit": unit} for name, unit in units]
    return [{"Namespace": settings.namespace, "Dimensions": settings.dimensions, "Metrics": metrics}]


def _metrics(record: LogRecord) -> dict[str, float]:
    refused = 400 <= record.status < 500
    failed = record.status >= 500 or (record.outcome is Outcome.FAILED and not refused)
    return {
        "Requests": 1,
        "ClientErrors": int(refused),
        "ServerErrors": int(failed),
        "InputTokens": record.input_tokens,
        "OutputTokens": record.output_tokens,
        "CacheReadTokens": record.cache_read_tokens,
        "CacheWriteTokens": record.cache_write_tokens,
        "CostUSD": record.cost_usd,
        "TotalTime": record.total_ms,
    }


def _dimension(record: LogRecord, name: str) -> str:
    """A dimension's value, as CloudWatch takes it."""
    value = getattr(record, name)
    if name == "outcome":
        value = record.outcome.value
    elif name == "target" and record.upstream_status in _MODEL_AT_FAULT:
        value = value if record.cache in _KNOWN_TO_BEDROCK else ""
    text = str(value).encode("unicode_escape").decode()[:_DIMENSION_CHARS_MAX].strip()
    # A colon at the beginning is refused.
    return text.lstrip(":") or _NONE
