"""Metrics of a real gateway, scraped as a Prometheus server does, and read by prometheus_client's parser."""

import urllib.request
from collections import Counter
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from support.gateway import RunningGateway

ACCEPT = "application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4; q=0.5"


def admin_url(gateway: RunningGateway) -> str:
    """Where the gateway's admin listener is, as it has told."""
    (line,) = (line for line in gateway.told if "admin" in line and "http" in line)
    return next(word for word in line.split() if word.startswith("http"))


class Scrape:
    """All samples of one moment."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def sums(self, name: str, *labels: str, **having: str) -> Counter[tuple[str, ...]]:
        """The values of a metric's samples that have these labels, summed by those; what is 0 is left out."""
        found: Counter[tuple[str, ...]] = Counter()
        for sample in self.samples:
            if sample.name == name and having.items() <= sample.labels.items():
                found[tuple(sample.labels[label] for label in labels)] += sample.value  # type: ignore[assignment]
        return Counter({key: value for key, value in found.items() if value})

    def total(self, name: str, **having: str) -> float:
        """Their sum."""
        return float(self.sums(name, **having)[()])


def scraped(gateway: RunningGateway) -> Scrape:
    """What the gateway tells now, whichever of its workers answers."""
    asked = urllib.request.Request(f"{admin_url(gateway)}/metrics", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        text = answer.read().decode()
    parsed: Iterable[Metric] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return Scrape(sample for family in parsed for sample in family.samples)
