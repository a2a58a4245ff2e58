"""Exposition: all metrics as text, in Prometheus' format or in OpenMetrics', as the scraper accepts.

prometheus_client writes the text; the catalogue says which metrics there are, and series.py their values. A
metric that has no values yet is told as well, so that a query can be written before its first event.

Exemplars are in OpenMetrics' format only; a Prometheus server keeps them where it is started with
`--enable-feature=exemplar-storage`.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import exposition as text
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Told

from stargate.observing.board import Boards
from stargate.observing.catalogue import Metric
from stargate.observing.series import Series, counters, gauges, histograms

_OPENMETRICS = "application/openmetrics-text"


def exposition(boards: Boards, accept: str) -> tuple[str, bytes]:
    """The content type and the text, for what a scraper accepts (its Accept header)."""
    encode, kind = text.choose_encoder(accept)
    return kind, encode(_Boards(boards, exemplars=kind.startswith(_OPENMETRICS)))


class _Boards(Collector):
    """The boards, as prometheus_client collects."""

    def __init__(self, boards: Boards, *, exemplars: bool) -> None:
        self._boards = boards
        self._exemplars = exemplars

    def collect(self) -> Iterable[Family]:
        """Every metric of the catalogue."""
        return families(self._boards, exemplars=self._exemplars)


def families(boards: Boards, *, exemplars: bool = False) -> Iterator[Family]:
    """Every metric of the catalogue with its values, in the catalogue's order."""
    for metric, values in counters(boards):
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in values.items():
            counter.add_metric(labels, value)
        yield counter
    for metric, all_series in histograms(boards, exemplars=exemplars):
        yield _histogram(metric, all_series)
    for metric, values in gauges(boards):
        gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in values.items():
            gauge.add_metric(labels, value)
        yield gauge


def _histogram(metric: Metric, all_series: list[Series]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for series in all_series:
        bounds = (*map(str, series.bounds), "+Inf")
        buckets: list[tuple[str, float] | tuple[str, float, Told]] = []
        for place, (bound, count) in enumerate(zip(bounds, accumulate(series.counts), strict=True)):
            told = series.exemplars.get(place)
            if told is None:
                buckets.append((bound, count))
            else:
                buckets.append((bound, count, Told(told.labels, told.value, told.at)))
        family.add_metric(series.labels, buckets, series.sum)
    return family
