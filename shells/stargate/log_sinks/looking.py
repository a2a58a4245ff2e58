"""What can be told of a configuration's sinks before the first line: where none could be written.

It is looked at when a configuration is checked and when it is served, and is a warning only: the folder may
be mounted later, and a log that can't be written must not keep a gateway from its work. Nothing is written,
and nobody is spoken to: whether a collector answers is told once it is needed.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from stargate_core.config.request_logger import Collector, LogSink, RequestLogger, kind_of
from stargate_core.config.schema import Config, Consumer, ConsumerGroup, PluginEntry, Route, Service


def doubts(config: Config) -> list[str]:
    """Which sinks can't be written, and why."""
    return [f"the log's sink {sink.path}: {doubt}" for sink in _sinks(config) if (doubt := _doubt(sink))]


def _sinks(config: Config) -> Iterator[LogSink]:
    """Each of them once."""
    seen: set[str] = set()
    for entry in entries_of(config):
        if entry.enabled and isinstance(entry.config, RequestLogger):
            for sink in entry.config.every:
                if sink.path not in seen:
                    seen.add(sink.path)
                    yield sink


def entries_of(config: Config) -> Iterator[PluginEntry]:
    """Each entry of a plugin, wherever it stands."""
    yield from config.plugins
    routes = [*config.routes, *(route for service in config.services for route in service.routes)]
    owners: tuple[Service | Route | Consumer | ConsumerGroup, ...] = (
        *config.services, *routes, *config.consumers, *config.consumer_groups,
    )  # fmt: skip
    for owner in owners:
        yield from owner.plugins


def _doubt(sink: LogSink) -> str:
    """Why it can't be written; empty where nothing speaks against it."""
    match kind_of(sink.path):
        case "file":
            return _doubt_of_file(Path(sink.path), rotated=sink.rotate is not None)
        case "stream":
            there = sink.path in ("-", "/dev/stdout", "/dev/stderr") or os.access(sink.path, os.W_OK)
            return "" if there else "it is not there, or may not be written"
        case "http" if sink.path.startswith("https:") and sink.http is not None:
            return _doubt_of_tls(sink.http)
        case _:
            return ""


def _doubt_of_tls(settings: Collector) -> str:
    # Checking a file should not take what only a few files need.
    from stargate.tls import BadTls, collector_context

    try:
        collector_context(settings)
    except BadTls as error:
        return str(error)
    return ""


def _doubt_of_file(path: Path, *, rotated: bool) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if path.is_dir():
        return "it is a folder"
    if path.exists() and not os.access(path, os.W_OK):
        return "it may not be written"
    if (rotated or not path.exists()) and not os.access(folder, os.W_OK | os.X_OK):
        return f"nothing may be made in the folder {folder}"
    return ""
