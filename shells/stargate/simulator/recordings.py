"""Recorded answers of the real Bedrock, served byte for byte.

A folder of recordings has an `index.json` (a list of interactions: method, uri, request_body, status,
response_headers, file) and the bodies it names: `json/*.json` and `streams/*.bin`. A request gets a
recorded answer

- when its path and its body, compared as JSON, are a recorded request's; or
- when its model id is `recording.<file's stem>`, whatever its body: so that an answer can be fetched
  through a gateway that translates what it is asked.

The status, the headers (but those that frame the body, and values that were redacted) and every byte of the
body are the recorded ones. How a stream is cut into chunks was not recorded; the cutter decides.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from stargate.simulator.events import Headers, Kind
from stargate.simulator.service_model import Call, route

_PREFIX: Final = "recording."
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})
_REDACTED: Final = "REDACTED"
_STREAM: Final = b"application/vnd.amazon.eventstream"
_FRAME_BYTES_MIN: Final = 16


class Recording(msgspec.Struct, frozen=True):
    """One recorded answer."""

    name: str
    """Its file's stem."""
    status: int
    headers: Headers
    body: bytes

    @property
    def streaming(self) -> bool:
        """Whether it is an event stream."""
        return any(n == b"content-type" and v.startswith(_STREAM) for n, v in self.headers)

    def frames(self) -> Iterator[tuple[Kind, bytes]]:
        """A stream's frames as they stand; bytes that are no frame come as one piece."""
        at = 0
        while at < len(self.body):
            length = int.from_bytes(self.body[at : at + 4], "big")
            if not _FRAME_BYTES_MIN <= length <= len(self.body) - at:
                length = len(self.body) - at
            last = at + length == len(self.body)
            yield (
                Kind.START if at == 0 else Kind.METADATA if last else Kind.DELTA,
                self.body[at : at + length],
            )
            at += length


class Recordings:
    """The recordings of a folder."""

    def __init__(
        self, recordings: Mapping[str, Recording], by_request: Mapping[tuple[str, str, bytes], Recording]
    ):
        self._by_name = recordings
        self._by_request = by_request

    @classmethod
    def load(cls, folder: Path) -> "Recordings":
        """Read a folder. Raises OSError, and ValueError when its index is not one."""
        by_name: dict[str, Recording] = {}
        by_request: dict[tuple[str, str, bytes], Recording] = {}
        for item in msgspec.json.decode((folder / "index.json").read_bytes()):
            recording = _read(folder, item)
            by_name[recording.name] = recording
            call = route(item["method"].encode(), _path(item["uri"]))
            body = canonical(item["request_body"].encode())
            if call is not None and body is not None:
                by_request.setdefault((call.operation, call.model_id, body), recording)
        return cls(by_name, by_request)

    def find(self, call: Call, body: bytes) -> Recording | None:
        """The recorded answer to a request, if there is one."""
        if call.model_id.startswith(_PREFIX):
            return self._by_name.get(call.model_id.removeprefix(_PREFIX))
        canonical_body = canonical(body)
        if canonical_body is None:
            return None
        return self._by_request.get((call.operation, call.model_id, canonical_body))

    def __len__(self) -> int:
        return len(self._by_name)


def _read(folder: Path, item: Mapping[str, Any]) -> Recording:
    path = folder / item["file"]
    headers = [
        (name.lower().encode(), value.encode())
        for name, value in item["response_headers"].items()
        if name.lower() not in _FRAMING and _REDACTED not in value
    ]
    if not any(name == b"content-type" for name, _ in headers):
        # Some authors redacted every header's value; this one can be told from the file.
        headers.append((b"content-type", _STREAM if path.suffix == ".bin" else b"application/json"))
    return Recording(path.stem, item["status"], headers, path.read_bytes())


def _path(uri: str) -> bytes:
    return urlsplit(uri).path.encode()


def canonical(body: bytes) -> bytes | None:
    """A JSON body in one spelling; None if it is no JSON."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
