"""Whatever messages a client and a server exchange, however they are cut and pipelined: each side reads
what the other wrote, in order, and both know whether the connection lives on.
"""

from collections.abc import Iterator
from typing import Final

from core.wire.http1.test_codec_stateful import ClientAndServer
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(ClientAndServer)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
