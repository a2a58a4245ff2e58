"""The catalogue: every metric there is, its labels, and what it means. docs/metrics.md is printed from it.

Names follow Prometheus' rules: the unit is the base unit and stands in the name, counters end in `_total`
(here without it; the exposition adds it). Where OpenTelemetry's conventions for generative AI have a metric
for the same, its name stands beside: what is told in attributes there is told in labels here.

- *Counters and histograms are sums over all workers*, those that have died included: they have no label for
  the worker, and never go back while the gateway runs.
- *Gauges are a worker's own*, as it has told within the last second, and go with it. Two workers in one
  place, one of which drains, are one: amounts are added, and of states the newer worker's counts.

Sources: https://prometheus.io/docs/practices/naming/,
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """One metric. otel: OpenTelemetry's name for the same, where it has one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    otel: str = ""

    @property
    def told(self) -> str:
        """Its name in queries; of a histogram what its series begin with."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_WHOSE: Final = ("consumer", "model")
_LATENCY: Final = ("model", "dialect", "stream", "outcome")


def _counter(name: str, text: str, *labels: str, otel: str = "") -> Metric:
    return Metric(f"stargate_{name}", "counter", text, labels, otel)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"stargate_{name}", "gauge", text, labels)


def _histogram(name: str, text: str, otel: str = "") -> Metric:
    return Metric(f"stargate_{name}", "histogram", text, _LATENCY, otel)


COUNTERS: Final[dict[str, Metric]] = {
    "requests": _counter(
        "requests",
        "Requests that were settled, each once. status: what the client was given, 0 where it left before; "
        "code: of the fault, empty where there was none; outcome: complete, failed or client_left.",
        "consumer", "route", "model", "dialect", "status", "code", "outcome",
    ),
    "tokens": _counter(
        "tokens",
        "Tokens of answers, as Bedrock counts them. type: input, output, cache_read or cache_write; the four "
        "do not overlap.",
        *_WHOSE, "type",
        otel="gen_ai.client.token.usage",
    ),
    "kept_tokens": _counter(
        "kept_tokens",
        "Of these: tokens of answers that the response cache gave or shared, which have cost nothing.",
        *_WHOSE, "type",
    ),
    "cost": _counter("cost_usd", "What tokens have cost, in US dollars, by the gateway's prices.", *_WHOSE),
    "estimated": _counter(
        "estimated_requests",
        "Requests whose tokens are the gateway's estimate, since they broke off before Bedrock's count.",
        *_WHOSE,
    ),
    "request_bytes": _counter("request_bytes", "Bytes of requests' bodies.", *_WHOSE),
    "response_bytes": _counter("response_bytes", "Bytes of answers to clients.", *_WHOSE),
    "attempts": _counter(
        "attempts",
        "Attempts at Bedrock that are over. target: as the configuration names it, or its region; result: "
        "OK, or the fault's cause.",
        "target", "result",
    ),
    "cache": _counter(
        "cache_requests",
        "Requests that the response cache had to do with. result: hit, miss, coalesced or bypass.",
        "result",
    ),
    "verdicts": _counter(
        "limiter_verdicts",
        "Answers of the store to the rate limiter. verdict: allowed, refused, or unanswered where the store "
        "gave none in time.",
        "verdict",
    ),
    "refusals": _counter(
        "limiter_refusals",
        "Requests that the rate limiter has refused. limit: the one that was reached first.",
        "limit",
    ),
    "journals": _counter(
        "journals",
        "Journals. result: written, or why one was left out.",
        "result",
    ),
    "lines_written": _counter("log_lines_written", "Lines that a sink of the log has written.", "sink"),
    "lines_dropped": _counter("log_lines_dropped", "Lines that a sink of the log had no room for.", "sink"),
    "spans": _counter(
        "spans",
        "Spans of traces. result: exported, failed where the collector did not take them in time, or dropped "
        "where there was no room in the queue.",
        "result",
    ),
    "restarts": _counter("worker_restarts", "Workers that have started in the place of another."),
    "folded": _counter(
        "folded_observations",
        "Observations that were counted under a label value of `other`, since there was no room for theirs.",
    ),
    "failed": _counter("failed_observations", "Requests that could not be counted, by a bug."),
}  # fmt: skip
"""By short names."""

HISTOGRAMS: Final[dict[str, Metric]] = {
    "duration": _histogram(
        "request_duration_seconds",
        "From a request's arrival to its settlement.",
        otel="gen_ai.server.request.duration",
    ),
    "first_byte": _histogram(
        "time_to_first_byte_seconds", "Until the first byte of the answer was given to the client."
    ),
    "first_token": _histogram(
        "time_to_first_token_seconds",
        "Of streams: until the first event that carries something of the answer.",
        otel="gen_ai.server.time_to_first_token",
    ),
    "between_tokens": _histogram(
        "time_per_output_token_seconds",
        "Of streams: between two events of the answer, on average over the request.",
        otel="gen_ai.server.time_per_output_token",
    ),
    "overhead": _histogram(
        "overhead_seconds",
        "The gateway's own time: without waiting for Bedrock, or for a client that takes nothing.",
    ),
    "lease": _histogram("connection_wait_seconds", "How long a call waited for its upstream connection."),
}
"""By the names in shapes.py."""

GAUGES: Final[dict[str, Metric]] = {
    "up": _gauge("worker_up", "1 for each worker that lives. state: ready or draining.", "worker", "state"),
    "started": _gauge("worker_start_time_seconds", "When the worker started, since 1970.", "worker"),
    "told": _gauge("worker_told_time_seconds", "When it last told how it stands, since 1970.", "worker"),
    "clients": _gauge("client_connections", "Clients that are connected.", "worker"),
    "in_flight": _gauge("requests_in_flight", "Requests that are being answered.", "worker"),
    "connections": _gauge(
        "upstream_connections", "Connections to Bedrock. state: idle, lent or opening.", "worker", "state"
    ),
    "waiting": _gauge("upstream_waiting", "Calls that wait for a connection.", "worker"),
    "breaker": _gauge(
        "breaker_state",
        "What the breaker says of a target: 0 closed, 1 half-open, 2 open.",
        "worker", "target",
    ),
    "store_up": _gauge("store_up", "Whether the store could be asked.", "worker", "kind"),
    "store_calls": _gauge("store_calls", "Questions that a shared store has not answered yet.", "worker"),
    "store_backlog": _gauge(
        "store_backlog", "Settlements that are kept until a shared store is back.", "worker"
    ),
    "limit": _gauge(
        "limit_used_ratio",
        "How full a limit was when it was last asked: 1 is full. Each worker tells those asked last.",
        "worker", "limit", "scope",
    ),
    "cache_entries": _gauge("cache_entries", "Answers that are kept.", "worker"),
    "cache_bytes": _gauge("cache_held_bytes", "What the cache holds, shared calls included.", "worker"),
    "sink_bytes": _gauge("log_buffered_bytes", "Lines that wait to be written.", "worker", "sink"),
    "sink_trouble": _gauge("log_sink_trouble", "Whether a sink cannot be written.", "worker", "sink"),
    "spans_queued": _gauge("spans_queued", "Spans that wait to be exported.", "worker"),
    "credentials": _gauge(
        "credentials_held", "Whether there are credentials of an account; its name is empty for AWS's usual.",
        "worker", "account",
    ),
    "generation": _gauge("config_generation", "The generation of the configuration.", "worker"),
    "loaded": _gauge("config_loaded_time_seconds", "Since when it runs, since 1970.", "worker"),
    "reloaded": _gauge(
        "config_last_reload_successful", "0 where the last file could not run, and the one before stays.",
        "worker",
    ),
    "build": _gauge("build_info", "Always 1: of which version the gateway is.", "version", "python"),
}  # fmt: skip
"""By short names."""

METRICS: Final[tuple[Metric, ...]] = (*COUNTERS.values(), *HISTOGRAMS.values(), *GAUGES.values())
