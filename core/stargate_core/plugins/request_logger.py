"""request-logger: one line of JSON for each request.

The line is the log record and nothing besides: metadata, in a closed schema, without prompts, completions or
keys. It is handed to the shell as a line for a sink; a sink that is slow or full costs the line, never the
request.
"""

from typing import ClassVar

import msgspec

from stargate_core.config.plugin_configs import BUILT_IN, RequestLogger
from stargate_core.config.schema import Scope
from stargate_core.views import Log

_ENCODER = msgspec.json.Encoder()


class RequestLoggerPlugin:
    """Writes the record."""

    NAME: ClassVar[str] = "request-logger"
    PRIORITY: ClassVar[int] = 9
    CONFIG: ClassVar[type[msgspec.Struct]] = RequestLogger
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["request-logger"].scopes

    def __init__(self, config: RequestLogger) -> None:
        self._sink = config.path

    def log(self, ctx: Log) -> None:
        """Emit the line."""
        ctx.emit(self._sink, _ENCODER.encode(ctx.record) + b"\n")
