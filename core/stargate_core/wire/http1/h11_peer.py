"""What h11 makes of a message, for the reference codecs.

The reference codecs are slow and plain on purpose: one bytearray, nothing clever, a fresh `h11.Connection`
for every message. Their use is to be believed: tests hold the fast codecs against them, and an operator who
suspects a parser can run on them.

Every message is judged by our own rules first, for h11 alone forgives too much (bare LF, obs-fold, equal
Content-Lengths, chunk extensions), and then by h11, whose opinion on each head and on every body byte must be
the same; if it isn't, the message is refused.

Source: https://h11.readthedocs.io/.
"""

from typing import Final

import h11

from stargate_core.wire.http1.events import RequestHead, ResponseHead
from stargate_core.wire.http1.head import disagree

_UNBOUNDED: Final = 2**62
"""For h11's own limit: ours have been applied before it sees anything."""


class H11Peer:
    """h11's reading of one message, head first."""

    __slots__ = ("_connection",)

    def __init__(self, *, request: bool) -> None:
        role = h11.SERVER if request else h11.CLIENT
        self._connection = connection = h11.Connection(role, max_incomplete_event_size=_UNBOUNDED)
        if not request:  # h11 reads no response without a request, and this one is like all of ours.
            headers = [("host", "upstream"), ("content-length", "0")]
            connection.send(h11.Request(method="POST", target="/", headers=headers))
            connection.send(h11.EndOfMessage())

    def confirm_request(self, raw: bytes, head: RequestHead) -> None:
        """Raise ProtocolError unless h11 reads the same from these bytes as we have."""
        seen = self._head(raw)
        # h11 writes the one coding it knows in lower case.
        headers = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in head.headers]
        ours = (head.method, head.target, head.version, headers)
        if not isinstance(seen, h11.Request) or ours != (
            seen.method,
            seen.target,
            seen.http_version,
            list(seen.headers),
        ):
            raise disagree()

    def confirm_response(self, raw: bytes, head: ResponseHead) -> None:
        """Raise ProtocolError unless h11 reads the same from these bytes as we have."""
        seen = self._head(raw)
        headers = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in head.headers]
        ours = (head.status, head.reason, head.version, headers)
        if isinstance(seen, h11.Request) or ours != (
            seen.status_code,
            seen.reason,
            seen.http_version,
            list(seen.headers),
        ):
            raise disagree()

    def _head(self, raw: bytes) -> h11.Request | h11.Response | h11.InformationalResponse:
        try:
            self._connection.receive_data(raw)
            event = self._connection.next_event()
        except h11.RemoteProtocolError:
            raise disagree() from None
        if not isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
            raise disagree()
        return event

    def body(self, raw: bytes, decoded: bytes, *, ended: bool) -> bytes:
        """h11's reading of some more of the body. Raises ProtocolError unless it is `decoded`, and as
        complete.
        """
        pieces: list[bytes] = []
        whole = False
        try:
            if raw:
                self._connection.receive_data(raw)
            while True:
                event = self._connection.next_event()
                if isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    whole = True
                    break
                else:
                    break
        except h11.RemoteProtocolError:
            raise disagree() from None
        data = b"".join(pieces)
        if data != decoded or whole != ended:
            raise disagree()
        return data

    def end(self) -> None:
        """The connection ended. Raises ProtocolError unless that ends the message for h11 too."""
        try:
            self._connection.receive_data(b"")
            event = self._connection.next_event()
        except h11.RemoteProtocolError:
            raise disagree() from None
        if not isinstance(event, h11.EndOfMessage):
            raise disagree()
