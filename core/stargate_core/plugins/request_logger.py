"""request-logger: one line for each request, in each of its sinks.

The line is the log record and nothing besides: metadata, in a closed schema, without prompts, completions or
keys. It is handed to the shell as a line for a sink; a sink that is slow or full costs the line, never the
request.

Which requests are written is chosen by a checksum of the request's id: the same request is chosen again when
a journal is lived again, and by every sink of at least the same rate. A record that stands for others says
so (`sample`), so that whoever counts can divide by it.
"""

import zlib
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from stargate_core.config.plugin_configs import BUILT_IN, LogSink, RequestLogger
from stargate_core.config.request_logger import Emf
from stargate_core.config.schema import Scope
from stargate_core.plugins.emf import EmfLines
from stargate_core.record import LogRecord, Outcome
from stargate_core.views import Log

_ENCODER: Final = msgspec.json.Encoder()
_CHECKSUMS: Final = 1 << 32


class RequestLoggerPlugin:
    """Writes the record."""

    NAME: ClassVar[str] = "request-logger"
    PRIORITY: ClassVar[int] = 9
    CONFIG: ClassVar[type[msgspec.Struct]] = RequestLogger
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["request-logger"].scopes

    def __init__(self, config: RequestLogger) -> None:
        self._sinks = tuple((sink.path, line_maker(sink)) for sink in config.every)

    def log(self, ctx: Log) -> None:
        """Emit the lines."""
        record = ctx.record
        for path, make in self._sinks:
            line = make(record)
            if line:
                ctx.emit(path, line)


def line_maker(sink: LogSink) -> Callable[[LogRecord], bytes]:
    """What makes a sink's line of a record; b"" where the record is not for it."""
    names = sink.fields.names
    if sink.format == "emf":
        make = _emf(sink.emf or Emf(), names)
    else:
        make = _whole if names == LogRecord.__struct_fields__ else _some(names)
    return make if sink.sample >= 1 and sink.sample_failures >= 1 else _sampled(sink, make)


def _whole(record: LogRecord) -> bytes:
    return _ENCODER.encode(record) + b"\n"


def _some(names: tuple[str, ...]) -> Callable[[LogRecord], bytes]:
    picked = _picked(names)

    def make(record: LogRecord) -> bytes:
        return _ENCODER.encode(picked(*[getattr(record, name) for name in names])) + b"\n"

    return make


def _emf(settings: Emf, names: tuple[str, ...]) -> Callable[[LogRecord], bytes]:
    picked = _picked(names)
    lines = EmfLines(settings)

    def make(record: LogRecord) -> bytes:
        members: dict[str, Any] = msgspec.to_builtins(picked(*[getattr(record, name) for name in names]))
        return lines.line(record, members)

    return make


def _picked(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A record of these fields alone, which leaves out what the whole one does."""
    known = {field.name: field for field in msgspec.structs.fields(LogRecord)}
    # What has no default is always there; one that no field ever has stands for that.
    fields = [
        (name, Any, None if known[name].default is msgspec.NODEFAULT else known[name].default)
        for name in names
    ]
    return msgspec.defstruct("Picked", fields, omit_defaults=True, frozen=True)


def _sampled(sink: LogSink, make: Callable[[LogRecord], bytes]) -> Callable[[LogRecord], bytes]:
    def sample(record: LogRecord) -> bytes:
        good = record.outcome is Outcome.COMPLETE and record.status < 400
        rate = sink.sample if good else sink.sample_failures
        if rate >= 1:
            return make(record)
        if zlib.crc32(record.request_id.encode()) >= rate * _CHECKSUMS:
            return b""
        line = make(record).removesuffix(b"}\n")
        comma = b"," if len(line) > 1 else b""
        return b'%b%b"sample":%b}\n' % (line, comma, _ENCODER.encode(rate))

    return sample
