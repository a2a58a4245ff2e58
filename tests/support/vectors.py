"""Where the vectors lie, and the recorded Bedrock traffic among them; vectors/README.md names the sources."""

import functools
from pathlib import Path
from typing import Any, Final

import msgspec

VECTORS: Final = Path(__file__).parents[1] / "vectors"
RECORDED: Final = VECTORS / "recorded-bedrock"


class Recording(msgspec.Struct, frozen=True):
    """One recorded interaction with Bedrock."""

    repo: str
    license: str
    method: str
    uri: str
    status: int
    request_headers: dict[str, str]
    response_headers: dict[str, str]
    request_body: Any
    file: str

    @property
    def body(self) -> bytes:
        """The answer's body as recorded."""
        return (RECORDED / self.file).read_bytes()

    @property
    def is_stream(self) -> bool:
        """Whether the answer is an event stream."""
        return self.file.startswith("streams/")


@functools.lru_cache(maxsize=1)
def recordings() -> tuple[Recording, ...]:
    """All recorded interactions."""
    return tuple(msgspec.json.decode((RECORDED / "index.json").read_bytes(), type=list[Recording]))


def recorded_streams() -> list[Recording]:
    """The interactions answered by an event stream."""
    return [recording for recording in recordings() if recording.is_stream]
