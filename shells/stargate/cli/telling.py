"""What `stargate serve` tells as it starts: where it listens, what is switched on, and what wants attention.

One line a fact, with a label in front, so that the eye finds it; a line that wants attention says the cure.
What is not switched on stands together in one line. On a terminal labels have a colour, which says nothing
that the label does not.

Workers send their part of it to the supervisor as text, so a line is a text from the beginning.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import click

from stargate.operations import Operations
from stargate.shell_common.starting import Started
from stargate_core.config.rate_limiter import Limit, RateLimiter, dimensions
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Config
from stargate_core.gateway.plan import Plan

ATTENTION: Final = "attention"
_LABEL_CELLS: Final = 17
"""As long as `admin listens on `."""
_NAMES_MAX: Final = 12
_LIMITS_MAX: Final = 4
_ANYBODY: Final = (
    "the admin listener asks for no token: every program on this machine may use it; "
    "gateway.admin_token changes that"
)
PROBE_SECONDS: Final = 1.0
"""How long start-up waits to see whether the store answers."""


def labelled(label: str, text: str) -> str:
    """A line."""
    return f"{label:<{_LABEL_CELLS}}{text}"


def tell(lines: Sequence[str]) -> None:
    """Tell them on standard error."""
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        if colours:
            label, text = line[:_LABEL_CELLS], line[_LABEL_CELLS:]
            line = click.style(label, fg="yellow" if label.startswith(ATTENTION) else "cyan") + text
        click.echo(f"stargate: {line}", err=True, color=colours)


def of_worker(plan: Plan, started: Started) -> list[str]:
    """What a worker knows."""
    lines = [labelled("listening on", url) for url in started.urls]
    for account, found in started.credentials.items():
        whose = f" of account {account}" if account else ""
        if found.credentials is None:
            text = f"no AWS credentials{whose}: {found.problem}; calls are answered 503 until there are some"
            lines.append(labelled(ATTENTION, text))
        else:
            lines.append(labelled("credentials", f"from {found.method}{whose}"))
    if not plan.has("bedrock-proxy"):
        lines.append(labelled(ATTENTION, "calls have nowhere to go: add the plugin bedrock-proxy"))
    return [*lines, *_store(plan.config)]


def of_gateway(plan: Plan, operations: Operations) -> list[str]:
    """What is known of all workers."""
    config, off = plan.config, list[str]()
    lines: list[str] = []
    admin = operations.admin
    if admin is None:
        off.append("admin listener (gateway.admin_listen)")
    else:
        lines += [
            labelled("admin listens on", f"{url} (page, API, metrics; stargate top{_where(url)})")
            for url in admin.urls
        ]
        if config.gateway.admin_token is None:
            lines.append(labelled(ATTENTION, _ANYBODY))
    lines.append(labelled("plugins", _some(plan.switched_on, _NAMES_MAX) or "none"))
    limits = [
        text
        for entry in plan.entries
        if isinstance(entry.config, RateLimiter)
        for text in _limits(entry.config)
    ]
    kept = [entry.config for entry in plan.entries if isinstance(entry.config, ResponseCache)]
    for label, text, cure in (
        ("limits", _some(tuple(dict.fromkeys(limits)), _LIMITS_MAX, "; "), "limits (rate-limiter)"),
        ("cache", _cache(config, kept), "cache (response-cache)"),
        ("journals", _journals(config), "journals (gateway.journal)"),
        ("tracing", _tracing(config), "tracing (gateway.tracing)"),
    ):
        if text:
            lines.append(labelled(label, text))
        else:
            off.append(cure)
    if off:
        lines.append(labelled("off", ", ".join(off)))
    return lines


def _where(url: str) -> str:
    return "" if url == "http://127.0.0.1:8001" else f" {url}"


def _some(names: Sequence[str], most: int, between: str = ", ") -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def _limits(config: RateLimiter) -> Iterator[str]:
    """Those that are counted for the same together."""
    counted: dict[tuple[str, ...], list[str]] = {}
    for limit in config.every:
        counted.setdefault(dimensions(limit.by), []).append(_amount(limit))
    for by, amounts in counted.items():
        yield f"{', '.join(amounts)} for {'each ' + ' and '.join(by) if by else 'all together'}"


def _amount(limit: Limit) -> str:
    amount = f"{limit.limit:,.12g}"
    if limit.unit == "concurrency":
        return f"{amount} at a time"
    window = f"in {limit.window} s" if isinstance(limit.window, int) else f"a {limit.window}"
    return (
        f"${amount} {window}" if limit.unit == "usd" else f"{amount} {limit.unit.replace('_', ' ')} {window}"
    )


def _cache(config: Config, kept: Iterable[ResponseCache]) -> str:
    seconds = sorted({one.cache_ttl for one in kept})
    times = ", ".join(f"{one:g} s" for one in seconds)
    return (
        f"answers for {times}, in {config.gateway.cache.memory_bytes >> 20} MiB of each worker"
        if seconds
        else ""
    )


def _journals(config: Config) -> str:
    journal = config.gateway.journal
    if journal.directory is None:
        return ""
    how = "encrypted" if journal.encrypt_to else "redacted" if journal.redact else "in the clear"
    return f"{', '.join(journal.on)}, {how}, in {journal.directory}"


def _tracing(config: Config) -> str:
    tracing = config.gateway.tracing
    if tracing is None:
        return ""
    # Without what of a URL may be a secret.
    host = "the environment's collector" if tracing.endpoint is None else urlsplit(tracing.endpoint).hostname
    return f"{tracing.sample:.4g} of traces to {host}"


def _store(config: Config) -> Iterator[str]:
    """Where counters are, and whether anybody is there."""
    store = config.gateway.store
    if not store.is_shared:
        return
    server, cluster = store.server, store.cluster
    if server is not None:
        places = [(server.host, server.port)]
    else:
        assert cluster is not None
        places = [(address.host, address.port) for address in cluster.hosts]
    said = ", ".join(f"{host}:{port}" for host, port in places[:3])
    yield labelled("store", f"{store.kind} {said}")
    trouble = unreachable(places)
    if trouble:
        text = f"the store does not answer at {said}: {trouble}; "
        text += "until it does, limits follow on_store_failure: is gateway.store right, and the server up?"
        yield labelled(ATTENTION, text)


def unreachable(places: Sequence[tuple[str, int]]) -> str:
    """Why none of them takes a connection; empty: one does, or nobody knows within the time for it."""
    found: list[str] = []

    def look() -> None:
        for place in places:
            try:
                socket.create_connection(place, PROBE_SECONDS).close()
            except OSError as error:
                found.append(error.strerror or str(error))
            else:
                found.append("")
                return

    # Resolving a name has no limit of its own, so it is a thread's; in a worker, which forks no more.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if "" in found:
        return ""
    return found[0] if found else f"nothing within {PROBE_SECONDS:g} s"


def ready(config: Config) -> str:
    """That it runs."""
    consumers, workers = len(config.consumers), config.gateway.workers
    beside = f", {workers} workers" if workers > 1 else ""
    return f"ready ({consumers} consumer{'' if consumers == 1 else 's'}{beside})"
