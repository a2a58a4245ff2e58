"""A client and a server of ours on one connection, with pipelining and any cut of the bytes.

Requests are written by `request` and read by one server codec; its responses are read by a client codec
each, and both codecs of each side take part. What either side wrote is what the other reads, in order; nobody
waits for what has come; and as long as the server says that the connection lives, so does every client.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stargate_core.wire.http1 import (
    NEED_DATA,
    PAUSED,
    Body,
    ClientCodec,
    CodecKind,
    EndOfMessage,
    RequestBody,
    RequestHead,
    ResponseHead,
    client_codec,
    request,
    server_codec,
)
from support.http1 import KINDS

BODIES = st.binary(max_size=60)
METHODS = st.sampled_from([b"POST", b"GET", b"PUT", b"DELETE"])


class ClientAndServer(RuleBasedStateMachine):
    """Both ends; what is under way lies in between, and moves a piece at a time."""

    @initialize(server=st.sampled_from(KINDS), client=st.sampled_from(KINDS))
    def begin(self, server: CodecKind, client: CodecKind) -> None:
        self.server = server_codec(codec=server)
        self.kind = client
        self.to_server = bytearray()
        self.to_client = bytearray()
        self.sent: deque[tuple[bytes, bytes, bytes]] = deque()
        """Requests that the server has not read."""
        self.head: RequestHead | None = None
        self.read: tuple[bytes, bytes, bytes] | None = None
        """The request that waits for its answer."""
        self.streaming: bytes | None = None
        """The body so far of the answer that is being written."""
        self.answers: deque[tuple[int, bytes]] = deque()
        """Answers that have been written and not read."""
        self.client: ClientCodec | None = None
        self.status = 0
        self.body = b""
        self.over = False

    @precondition(lambda self: self.over and not self.to_client)
    @rule(server=st.sampled_from(KINDS), client=st.sampled_from(KINDS))
    def connect_again(self, server: CodecKind, client: CodecKind) -> None:
        assert not self.answers, "an answer was lost"
        self.begin(server, client)

    # -------------------------------------------------------------------------------------------- the client

    @precondition(lambda self: not self.over and len(self.to_server) < 2000)
    @rule(method=METHODS, path=st.sampled_from([b"/", b"/a%2Fb?c=d"]), body=BODIES)
    def ask(self, method: bytes, path: bytes, body: bytes) -> None:
        self.to_server += request(method, path, [(b"host", b"h")], body)
        self.sent.append((method, path, body))

    @precondition(lambda self: self.to_client)
    @rule(count=st.integers(1, 80))
    def the_client_reads(self, count: int) -> None:
        for byte in bytes(self.to_client[:count]):
            self.client = self.client or client_codec(codec=self.kind)
            self.client.receive_data(bytes((byte,)))
            self.client_listens(self.client)
        del self.to_client[:count]

    def client_listens(self, client: ClientCodec) -> None:
        while (event := client.next_event()) is not NEED_DATA:
            match event:
                case ResponseHead(status):
                    self.status = status
                case Body(data):
                    self.body += data
                case EndOfMessage():
                    assert (self.status, self.body) == self.answers.popleft()
                    assert client.reusable is (not self.over or bool(self.answers))
                    self.client, self.body = None, b""
                    return
                case _:
                    raise AssertionError(event)

    # -------------------------------------------------------------------------------------------- the server

    @precondition(lambda self: self.to_server)
    @rule(count=st.integers(1, 200))
    def the_server_reads(self, count: int) -> None:
        self.server.receive_data(bytes(self.to_server[:count]))
        del self.to_server[:count]
        self.server_listens()

    def server_listens(self) -> None:
        while (event := self.server.next_event()) not in (NEED_DATA, PAUSED):
            match event:
                case RequestHead():
                    assert self.read is None, "two requests at once"
                    self.head = event
                case RequestBody(data):
                    assert self.head is not None
                    self.read = (self.head.method, self.head.target, data)
                    assert self.read == self.sent.popleft()
                case _:
                    raise AssertionError(event)
        assert self.server.next_event() is (PAUSED if self.read else NEED_DATA)

    @precondition(lambda self: self.read and self.streaming is None)
    @rule(status=st.sampled_from([200, 404, 529]), body=BODIES, close=st.booleans())
    def answer(self, status: int, body: bytes, close: bool) -> None:
        close = close and not self.to_server and not self.sent
        self.to_client += self.server.response(status, [(b"x-a", b"b")], body, close=close)
        self.answers.append((status, body))
        self.answered()

    @precondition(lambda self: self.read and self.streaming is None)
    @rule()
    def begin_a_stream(self) -> None:
        self.to_client += self.server.response_head(200, [])
        self.streaming = b""

    @precondition(lambda self: self.streaming is not None)
    @rule(data=BODIES)
    def go_on(self, data: bytes) -> None:
        assert self.streaming is not None
        self.to_client += self.server.chunk(data)
        self.streaming += data

    @precondition(lambda self: self.streaming is not None)
    @rule()
    def end_the_stream(self) -> None:
        assert self.streaming is not None
        self.to_client += self.server.end()
        self.answers.append((200, self.streaming))
        self.streaming = None
        self.answered()

    def answered(self) -> None:
        self.read = None
        self.over = not self.server.keep_alive
        if not self.over:
            self.server.start_next_cycle()
            self.server_listens()

    @invariant()
    def nobody_keeps_what_has_come(self) -> None:
        if hasattr(self, "server") and not self.to_server and not self.over and self.read is None:
            assert not self.sent, "a whole request has come and was not read"
            assert not self.server.has_partial_request


TestClientAndServer = ClientAndServer.TestCase
TestClientAndServer.settings = settings(max_examples=40)
