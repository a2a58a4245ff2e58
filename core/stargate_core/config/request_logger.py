"""request-logger's config: where log records go, in which form, and which of them.

A *sink* is named by its path, and the path says what it is:

    /dev/stdout, /dev/stderr    a standard stream; - is standard output too
    udp://host:port             one datagram a line
    http(s)://…                 batches of lines, posted to a collector
    anything else               a file, which may be rotated here

One entry of the plugin writes to one sink, with its options beside `path`; to several, each with its own
options, it writes by `sinks`. How a sink is written to belongs to its path, since several entries may write
to one file: there they must agree (log_checks.py).

Rules that types can't say:

- Sampling chooses by the request's id, so a journal that is lived again chooses alike, and two sinks of one
  rate have the same requests. It is not for metrics, which would count a part only.
- Dimensions of CloudWatch metrics are paid for by each value they ever had, so only what the operator's own
  configuration bounds can be one; never a name that callers choose.

Sources: the limits of namespaces and dimensions,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.addresses import parse_address
from stargate_core.config.problems import Misfit, nearest, refuse
from stargate_core.record import LogRecord
from stargate_core.secret import Secret

SinkPath: TypeAlias = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*\Z",
        description="a path, udp://host:port or http(s)://…",
    ),
]
Rate: TypeAlias = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Dimension: TypeAlias = Literal[
    "consumer", "target", "region", "route", "dialect", "operation", "outcome", "status", "code", "cache"
]
_Header: TypeAlias = Annotated[
    str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z", description="the name of a header")
]

STDOUT: Final = "/dev/stdout"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_URL: Final = re.compile(r"https?://([^/?#\s]*)([/?][!-~]*)?")
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"}
)
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """Which fields of the record are written: all, only some, or all but some."""

    include: list[str] = field(default_factory=list[str])
    exclude: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        known = LogRecord.__struct_fields__
        for name, listed in (("include", self.include), ("exclude", self.exclude)):
            for index, one in enumerate(listed):
                if one not in known:
                    near = nearest(one, known)
                    hint = f"did you mean {near}?" if near else ""
                    yield Misfit((name, index), "expected a field of the log record", one, hint)
        if self.include and self.exclude:
            yield Misfit("exclude", "expected no exclude beside include", beside=("include",))

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are written, in the record's order."""
        chosen, left_out = frozenset(self.include), frozenset(self.exclude)
        fields = LogRecord.__struct_fields__
        return tuple(name for name in fields if (name in chosen or not chosen) and name not in left_out)


class Emf(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics that CloudWatch makes of each line."""

    namespace: Annotated[
        str,
        Meta(
            max_length=255,
            pattern=r"^[A-Za-z0-9._/#-][A-Za-z0-9._/#:-]*\Z",
            description="up to 255 letters, digits and any of . _ / # : -",
        ),
    ] = "Stargate"
    dimensions: Annotated[
        list[Annotated[list[Dimension], Meta(max_length=9)]], Meta(min_length=1, max_length=10)
    ] = field(default_factory=lambda: [["consumer", "target"], ["target"], []])
    """Each list is one way to tell metrics apart; of an empty one there is one for all requests together."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if self.namespace.startswith("AWS/"):
            yield Misfit("namespace", "expected another beginning than AWS/, which is AWS's own")
        for index, names in enumerate(self.dimensions):
            if len(set(names)) < len(names):
                yield Misfit(("dimensions", index), "expected each dimension once")


class Rotate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When a file is put aside for a new one: FILE.1, FILE.2 and so on, the newest first."""

    max_bytes: Annotated[int, Meta(ge=4096, le=1 << 40)] = 104_857_600
    keep: Annotated[int, Meta(ge=1, le=1000)] = 5
    """How many are kept beside the file itself."""
    compress: bool = False
    """Whether those are packed with gzip: FILE.1.gz."""


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """How lines are posted to an HTTP collector."""

    headers: dict[_Header, Secret] = field(default_factory=dict[str, Secret])
    """Sent with each batch: whom the collector should take us for."""
    ca: str | None = None
    """A file of CA certificates to trust instead of the system's."""
    verify: bool = True
    """Whether the collector must show a good certificate (https://)."""
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="seconds, more than 0 and at most 60")
    ] = 5.0
    """For a whole post: to connect, to send, and to be answered."""
    batch_bytes: Annotated[int, Meta(ge=4096, le=4_194_304)] = 262_144
    """The most that is sent at a time."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 4
    """How often a batch is sent again, before its lines are dropped and counted."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for name, value in self.headers.items():
            if name.lower() in _OURS:
                yield Misfit(("headers", name), "expected another header: the gateway sets this one")
            if not _VALUE.fullmatch(value.reveal()):
                yield Misfit(("headers", name), "expected a header's value in Latin-1, on one line")


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of a sink beside its path."""

    format: Literal["json", "emf"] = "json"
    """json: the record. emf: the record, with what CloudWatch needs to make metrics of it."""
    sample: Rate = 1.0
    """Which part of the requests that went well is logged."""
    sample_failures: Rate = 1.0
    """Which part of all others: errors, refusals, callers that left."""
    fields: Fields = field(default_factory=Fields)
    emf: Emf | None = None
    rotate: Rotate | None = None
    """None: the file grows, or somebody else rotates it."""
    http: Collector | None = None


class LogSink(_Options, frozen=True, kw_only=True):
    """One place where records go."""

    path: SinkPath

    def __post_init__(self) -> None:
        refuse(_misfits(self.path, self))


class RequestLogger(_Options, frozen=True, kw_only=True):
    """Where log records go: metadata only, a line each."""

    path: SinkPath | None = None
    """Standard output, if there are no `sinks` either."""
    sinks: Annotated[list[LogSink], Meta(max_length=8)] = field(default_factory=list[LogSink])
    """Several, each with its own options."""

    def __post_init__(self) -> None:
        refuse(self._all_misfits())

    def _all_misfits(self) -> Iterator[Misfit]:
        if not self.sinks:
            yield from _misfits(self.path or STDOUT, self)
            return
        plain = _Options()
        for name in ("path", *_Options.__struct_fields__):
            if getattr(self, name) != getattr(plain, name, None):
                yield Misfit(name, "expected it in one of the sinks, since there are several")
        seen: set[str] = set()
        for index, sink in enumerate(self.sinks):
            if sink.path in seen:
                yield Misfit(("sinks", index, "path"), "expected each sink once")
            seen.add(sink.path)

    @property
    def every(self) -> tuple[LogSink, ...]:
        """The sinks, one at least."""
        if self.sinks:
            return tuple(self.sinks)
        options = {name: getattr(self, name) for name in _Options.__struct_fields__}
        return (LogSink(path=self.path or STDOUT, **options),)


def kind_of(path: str) -> str:
    """What a sink's path names: stream, file, udp or http."""
    if path.startswith("udp://"):
        return "udp"
    if path.startswith(("http://", "https://")):
        return "http"
    return "stream" if path == "-" or path.startswith("/dev/") else "file"


def _misfits(path: str, options: _Options) -> Iterator[Misfit]:
    yield from _misfits_of_path(path)
    kind = kind_of(path)
    if options.rotate is not None and kind != "file":
        yield Misfit("rotate", "expected a file as path: nothing else is rotated", beside=("path",))
    if options.http is not None and kind != "http":
        yield Misfit("http", "expected an http:// or https:// path beside it", beside=("path",))
    if options.emf is not None and options.format != "emf":
        yield Misfit("emf", "expected format: emf beside it", beside=("format",))
    if options.format == "emf":
        for name in ("sample", "sample_failures"):
            if getattr(options, name) < 1:
                yield Misfit(name, "expected 1: metrics of a part would be wrong", beside=("format",))


def _misfits_of_path(path: str) -> Iterator[Misfit]:
    scheme = _SCHEME.match(path)
    if scheme is None:
        return
    match scheme[1]:
        case "udp":
            try:
                address = parse_address(path.removeprefix("udp://"), "path")
            except Misfit as misfit:
                yield misfit
            else:
                if not getattr(address, "port", 0):
                    yield Misfit("path", "expected a host and a port after udp://", path)
        case "http" | "https":
            url = _URL.fullmatch(path)
            if url is None or not url[1] or url[1].startswith(":"):
                yield Misfit("path", "expected a URL of visible ASCII without a fragment", path)
            elif "@" in url[1]:
                yield Misfit("path", "expected no user name in the URL", hint="put it into http.headers")
        case _:
            message = "expected a path, udp://, http:// or https://"
            yield Misfit("path", message, path)
