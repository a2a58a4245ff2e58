"""An HTTP/2 client on one connection, with every stream in the test's hands: many at once, one of them left,
one of them not read.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable, Generator, Mapping
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events

from support.raw import READ_BYTES, TIMEOUT_SECONDS

_WIDE: Final = 1 << 30


class Wire:
    """One connection. What comes for any stream is kept until it is asked for."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.bodies: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._sock = sock
        self._h2.initiate_connection()
        # The connection's own window bounds nothing here: only a stream's does, which is 64 KiB at first.
        self._h2.increment_flow_control_window(_WIDE)
        self._flush()

    def ask(self, path: str, headers: Mapping[str, str], body: bytes, *, taking: bool = True) -> int:
        """A POST; its stream. taking: whether the server may send all of the answer."""
        stream = self._h2.get_next_available_stream_id()
        pseudo = {":method": "POST", ":path": path, ":scheme": "https", ":authority": "gateway"}
        self._h2.send_headers(stream, list({**pseudo, **headers}.items()))
        self._h2.send_data(stream, body, end_stream=True)
        self.bodies[stream] = bytearray()
        if taking:
            self.take(stream)
        self._flush()
        return stream

    def take(self, stream: int) -> None:
        """From now on the server may send all of this answer."""
        self._h2.increment_flow_control_window(_WIDE, stream)
        self._flush()

    def leave(self, stream: int) -> None:
        """Nothing more of it is wanted."""
        self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def read(self, stream: int) -> bytes:
        """The whole body of an answer."""
        self._until(lambda: stream in self.ended)
        return bytes(self.bodies[stream])

    def read_until(self, stream: int, wanted: bytes) -> None:
        """Read until these bytes have come on a stream."""
        self._until(lambda: wanted in self.bodies[stream])

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            data = self._sock.recv(READ_BYTES)
            assert data, "the connection has ended"
            for event in self._h2.receive_data(data):
                self._take_note(event)
            self._flush()

    def _take_note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived(stream_id=int(stream), data=bytes(data)):
                self.bodies[stream] += data
            case h2.events.StreamEnded(stream_id=int(stream)):
                self.ended.add(stream)
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise AssertionError(event)
            case _:
                pass

    def _flush(self) -> None:
        self._sock.sendall(self._h2.data_to_send())


@contextlib.contextmanager
def wired(url: str, context: ssl.SSLContext) -> Generator[Wire]:
    """A connection to a server, as its URL says."""
    context.set_alpn_protocols(["h2"])
    host, _, port = url.partition("://")[2].rpartition(":")
    with (
        socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        yield Wire(secured)
