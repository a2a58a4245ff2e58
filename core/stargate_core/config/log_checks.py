"""What several request-logger entries must agree on: how a sink is written to.

A part of checks.py. A sink is there once in a process, whoever writes to it; so entries of one path may
differ in what they write, and not in how the file is rotated or the collector spoken to.
"""

import re
from typing import Final

from stargate_core.config.addresses import TcpAddress, is_local
from stargate_core.config.problems import Path, path_text
from stargate_core.config.request_logger import LogSink, RequestLogger
from stargate_core.config.walk import Walk

_HOST: Final = re.compile(r"http://(\[[^\]]*\]|[^/:?]*)")


def check_logs(walk: Walk) -> None:
    """Note where two entries disagree, and what works and is probably not meant."""
    seen: dict[str, tuple[LogSink, Path]] = {}
    for path, config in walk.found:
        if not isinstance(config, RequestLogger):
            continue
        for index, sink in enumerate(config.every):
            where = (*path, "sinks", index) if config.sinks else path
            first, there = seen.setdefault(sink.path, (sink, where))
            if (first.rotate, first.http) != (sink.rotate, sink.http):
                at = f"{path_text(there)}, line {walk.place(there).line}"
                walk.problem(where, f"expected the same rotate and http as at {at}, which has the same path")
            _warn(walk, where, sink)


def _warn(walk: Walk, where: Path, sink: LogSink) -> None:
    found = _HOST.match(sink.path)
    if found is not None and not is_local(TcpAddress(found[1].strip("[]"), 80)):
        walk.warning((*where, "path"), "log records leave this machine unencrypted", "use https")
    if sink.http is not None and not sink.http.verify:
        walk.warning((*where, "http", "verify"), "whoever answers in the collector's place is believed")
