"""Lines for an HTTP collector: posted in batches, as `application/x-ndjson`.

Rules:

- *At least once.* A batch is done with when the collector has answered 2xx. What it has not answered may have
  reached it nevertheless, so it is sent again, with the same `x-stargate-batch`: a collector that wants each
  line once can tell by it.
- *Not for ever.* A batch that is refused (a 4xx other than 408 and 429, or a redirect, which is not followed)
  is dropped at once, since it would be refused again. Any other trouble is tried again after a pause that
  doubles, `retries` times; then the batch is dropped. What is dropped is counted.
- *Within the time.* Connecting, sending and the whole answer must be over within `timeout_seconds`, however
  slowly the other end drips; what it says beside its status is read up to a bound and thrown away.
- Certificates are verified, by the system's CAs or the configured one. No proxy, no cookie, no redirect.
- One connection is kept while the collector keeps it. One that was closed meanwhile is not trouble: the batch
  is sent again at once on a new one.

HTTP/1.1 is spoken by h11: https://h11.readthedocs.io.
"""

import contextlib
import secrets
import socket
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

import h11

from stargate.shell_common.lines import Done
from stargate.tls import BadTls, collector_context
from stargate_core.config.request_logger import Collector

_PAUSE_SECONDS: Final = 0.5
_PAUSE_SECONDS_MAX: Final = 30.0
_READ_BYTES: Final = 65_536
_ANSWER_BYTES_MAX: Final = 1_048_576
_AGAIN: Final = frozenset({408, 429})
_GONE: Final = "it closed the connection"


class HttpWriter:
    """Posts to one URL. settings: None for the usual ones."""

    __slots__ = (
        "_attempts", "_batch", "_connection", "_context", "_headers", "_settings", "_size", "_stopped",
        "_url", "gather_seconds", "progress",
    )  # fmt: skip

    def __init__(self, path: str, settings: Collector | None) -> None:
        self._url = urlsplit(path)
        self._settings = settings or Collector()
        self._context: ssl.SSLContext | None = None
        self._headers = [
            (b"host", self._url.netloc.encode()),
            (b"user-agent", b"stargate"),
            (b"content-type", b"application/x-ndjson"),
            *(
                (name.encode(), value.reveal().encode("latin-1"))
                for name, value in self._settings.headers.items()
            ),
        ]
        self._connection: _Connection | None = None
        self._attempts = 0
        """How often the batch at hand was sent in vain."""
        self._batch = ""
        self._size = 0
        self._stopped = False
        self.gather_seconds = 0.5
        self.progress = 0

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def write(self, data: bytes) -> Done:
        """Post one batch of it."""
        self.progress = 0
        if self._stopped:
            return Done(0, trouble="it was closed")
        if not self._attempts:
            self._batch = secrets.token_hex(8)
            self._size = _end(data, self._settings.batch_bytes)
        # What is sent again is the same batch, though more lines have come.
        batch = data[: self._size]
        status, trouble = self._post(batch)
        lines = batch.count(b"\n")
        if 200 <= status < 300:
            self._attempts = 0
            self.progress = len(batch)
            return Done(len(batch))
        refused = 0 < status < 500 and status not in _AGAIN
        if refused or self._attempts >= self._settings.retries:
            self._attempts = 0
            return Done(len(batch), lines, trouble, _PAUSE_SECONDS)
        self._attempts += 1
        return Done(0, 0, trouble, min(_PAUSE_SECONDS * 2 ** (self._attempts - 1), _PAUSE_SECONDS_MAX))

    def _post(self, batch: bytes) -> tuple[int, str]:
        """The status of the answer, 0 if there is none, and what to tell of it."""
        deadline = time.monotonic() + self._settings.timeout_seconds
        try:
            kept = self._connection
            self._connection = None
            if kept is not None:
                status = kept.post(self._head(batch), batch, deadline)
                if status:
                    return self._answered(kept, status)
            connection = self._connect(deadline)
            status = connection.post(self._head(batch), batch, deadline)
            if not status:
                return 0, _GONE
            return self._answered(connection, status)
        except TimeoutError:
            return 0, f"no answer within {self._settings.timeout_seconds:g} s"
        except BadTls as error:
            return 0, str(error)
        except h11.RemoteProtocolError:
            return 0, "what it answers is not HTTP"
        except OSError as error:  # ssl.SSLError is one
            return 0, getattr(error, "reason", None) or error.strerror or str(error)

    def _connect(self, deadline: float) -> "_Connection":
        secure = self._url.scheme == "https"
        if secure and self._context is None:
            self._context = collector_context(self._settings)
        port = self._url.port or (443 if secure else 80)
        return _Connection(self._url.hostname or "", port, self._context, deadline)

    def _answered(self, connection: "_Connection", status: int) -> tuple[int, str]:
        if connection.is_reusable:
            self._connection = connection
        else:
            connection.close()
        return status, f"it answers {status}"

    def _head(self, batch: bytes) -> h11.Request:
        query = f"?{self._url.query}" if self._url.query else ""
        numbers = [(b"content-length", b"%d" % len(batch)), (b"x-stargate-batch", self._batch.encode())]
        return h11.Request(
            method="POST", target=(self._url.path or "/") + query, headers=[*self._headers, *numbers]
        )


class _Connection:
    """One connection to the collector. Every wait ends at a deadline, with TimeoutError."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, deadline: float) -> None:
        self._h11 = h11.Connection(h11.CLIENT)
        self._socket = socket.create_connection((host, port), timeout=_left(deadline))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            plain = self._socket
            try:
                plain.settimeout(_left(deadline))
                self._socket = context.wrap_socket(plain, server_hostname=host)
            except OSError:
                plain.close()
                raise

    def post(self, head: h11.Request, body: bytes, deadline: float) -> int:
        """Send a request; the status of its answer, or 0 if the connection was closed before that."""
        try:
            return self._post(head, body, deadline)
        except (ConnectionError, ssl.SSLEOFError):
            self.close()
            return 0
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Be done with it."""
        self._socket.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # It may never have been opened.
            self.close()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent on it. To be asked once, after an answer."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def _post(self, head: h11.Request, body: bytes, deadline: float) -> int:
        sent = b"".join(filter(None, map(self._h11.send, (head, h11.Data(body), h11.EndOfMessage()))))
        rest = memoryview(sent)
        while rest:
            self._socket.settimeout(_left(deadline))
            rest = rest[self._socket.send(rest) :]
        status = received = 0
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
                return status
            elif event is h11.NEED_DATA:
                if status and received > _ANSWER_BYTES_MAX:
                    return status
                self._socket.settimeout(_left(deadline))
                data = self._socket.recv(_READ_BYTES)
                received += len(data)
                if not data and not status:
                    self.close()
                    return 0
                self._h11.receive_data(data)


def _left(deadline: float) -> float:
    """The seconds until then. Raises TimeoutError when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _end(data: bytes, bytes_max: int) -> int:
    """Where a batch ends: after as many whole lines as it takes, one at least."""
    if len(data) <= bytes_max:
        return len(data)
    return data.rfind(b"\n", 0, bytes_max) + 1 or data.find(b"\n") + 1 or len(data)
