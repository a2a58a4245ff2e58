"""Which writer a sink has: they are told apart by how a path begins."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stargate.log_sinks.collector import HttpWriter
from stargate.log_sinks.datagrams import UdpWriter
from stargate.log_sinks.files import FileWriter
from stargate.log_sinks.rotation import RotatingWriter
from stargate.shell_common.lines import Writer
from stargate_core.config.request_logger import LogSink, kind_of

NO_SETTINGS: Final[Mapping[str, LogSink]] = MappingProxyType({})
"""Of no sink is anything said."""


def writer_for(path: str, settings: LogSink | None = None) -> Writer:
    """What writes to this path. settings: what the configuration says of it, if anything."""
    kind = kind_of(path)
    if kind == "udp":
        return UdpWriter(path)
    if kind == "http":
        return HttpWriter(path, None if settings is None else settings.http)
    if settings is not None and settings.rotate is not None:
        return RotatingWriter(path, settings.rotate)
    return FileWriter(path)
