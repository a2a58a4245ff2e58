"""A fake of the admin listener: the page's own files under the real policy, and states that are rare.

It serves the page as the real listener does, and tells whatever state a test has put into it, so that a dead
worker or a refused reload need not be brought about. It can ask for a token, fall silent, end its streams and
break an answer off. What a real gateway can show is tested against one (test_real.py).
"""

import contextlib
import json
import queue
import threading
import time
import urllib.parse
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final

from stargate.admin.files import INDEX, page_files, serve_file
from stargate.admin.messages import Request
from stargate_core.wire.http1 import RequestHead
from support import admin_states

_FILES: Final = page_files()
STREAM_ENDED: Final = "[DONE]"
WAIT_SECONDS: Final = 20
_EXPLAINED: Final = (
    "POST /v1/chat/completions: would be sent",
    "",
    "time        2026-03-14T09:26:53Z, request id req_0123, generation 12",
    "route       openai-chat, a built-in path; speaks openai-chat",
    "plugins     access: api-key-auth (1250), rate-limiter (910), response-cache (100)",
    "            log: request-logger (10)",
    "caller      checkout-assistant, by key …3f9c",
    "asks for    model claude, as a stream (ConverseStream); at most 512 tokens of output",
    "goes to     1. us-east-1: https://bedrock-runtime.us-east-1.amazonaws.com/model/…/converse-stream",
    "takes       1 of 600 in 60 s (sliding), requests a minute; 385 left",
    "",
    "POST https://bedrock-runtime.us-east-1.amazonaws.com/model/…/converse-stream",
    "content-type: application/json",
    "",
    '{"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}',
)


class FakeAdmin:
    """What it tells, and how it behaves; a test changes it at any time."""

    def __init__(self) -> None:
        self.url = ""
        self._watchers: list[queue.Queue[bytes | None]] = []
        self._going_on = threading.Event()
        self.forget()

    def forget(self) -> None:
        """All that a test has put into it, or asked of it: it is as new."""
        self.status: dict[str, Any] = admin_states.busy()
        self.records: list[dict[str, Any]] = admin_states.records()
        self.token: str | None = None
        self.ends_streams = False
        """Whether a stream of statuses ends at once, and none is begun."""
        self.answer: list[str] = []
        """The data of the events that a chat is answered with; the stream ends with them."""
        self.pace_seconds = 0.0
        """How long it waits before each of them."""
        self.waits_before_end = False
        """Whether an answer stays open until the client leaves or `go_on` is called."""
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.asked: list[str] = []
        """What was asked for: method, path and query."""
        self.chats: list[dict[str, Any]] = []
        self.left = threading.Event()
        """A client has left an answer."""

    def tell(self, **members: Any) -> None:
        """The status has changed, and every watcher hears it."""
        self.status = {**self.status, **members}
        for watcher in list(self._watchers):
            watcher.put(self._event())

    def end_streams(self) -> None:
        """All watchers lose their stream, and may not come again."""
        self.ends_streams = True
        for watcher in list(self._watchers):
            watcher.put(None)

    def go_on(self) -> None:
        """An answer that waits goes on to its end."""
        self._going_on.set()

    def watch(self) -> Iterator[bytes]:
        """The events of one watcher."""
        mine: queue.Queue[bytes | None] = queue.Queue()
        self._watchers.append(mine)
        try:
            yield self._event()
            while not self.ends_streams:
                try:
                    # As a real one does: each second, whether anything has changed or not.
                    event = mine.get(timeout=1)
                except queue.Empty:
                    event = self._event()
                if event is None:
                    return
                yield event
        finally:
            self._watchers.remove(mine)

    def chat(self) -> Iterator[bytes]:
        """The events of one answer."""
        self._going_on.clear()
        for data in self.answer:
            if data == STREAM_ENDED and self.waits_before_end:
                self._pause()
            if self.pace_seconds:
                time.sleep(self.pace_seconds)
            yield f"data: {data}\n\n".encode()
        if self.waits_before_end and STREAM_ENDED not in self.answer:
            self._pause()

    def _pause(self) -> None:
        self._going_on.wait(WAIT_SECONDS)

    def _event(self) -> bytes:
        return f"event: status\ndata: {json.dumps(self.status)}\n\n".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    admin: ClassVar[FakeAdmin]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its base's name)
        """Nothing is said."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.admin.asked.append(f"GET {self.path}")
        if path == "/" or path.startswith("/page/"):
            self._file(INDEX if path == "/" else path.removeprefix("/page/"))
        elif self._is_let_in():
            self._get(path, {name: values[0] for name, values in urllib.parse.parse_qs(query).items()})

    def _get(self, path: str, parameters: dict[str, str]) -> None:
        admin = self.admin
        name = urllib.parse.unquote(path.rpartition("/")[2])
        if path == "/api/stream":
            if admin.ends_streams:
                self._json(503, {"error": {"message": "the gateway is ending"}})
            else:
                self._stream(admin.watch())
        elif path == "/api/requests":
            self._json(200, {"requests": list(_chosen(admin.records, parameters))})
        elif path.startswith("/api/requests/"):
            found = next((record for record in admin.records if record["request_id"] == name), None)
            if found is None:
                self._json(404, {"error": {"message": "no such request among the recent ones"}})
            else:
                journal = "fault-0001.journal" if found["outcome"] == "failed" else None
                told = {"request": found, "explanation": admin_states.story(found), "journal": journal}
                self._json(200, told)
        elif path.startswith("/api/journals/"):
            self._bytes(200, "application/octet-stream", b"a journal")
        elif path == "/v1/models":
            self._json(200, {"data": [{"id": row["name"]} for row in admin.status["models"]]})
        else:
            self._json(404, {"error": {"message": "nothing is at this path"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self.admin.asked.append(f"POST {self.path}")
        if not self._is_let_in():
            return
        told = json.loads(body)
        if self.path == "/api/explain":
            self._json(200, {"ending": "sent", "lines": _EXPLAINED, "explanation": {}})
        elif self.admin.refusal is not None:
            self._json(*self.admin.refusal)
        else:
            self.admin.chats.append({"headers": dict(self.headers), "body": told})
            self._stream(self.admin.chat())

    # ------------------------------------------------------------------------------------------ what is said

    def _is_let_in(self) -> bool:
        if self.admin.token is None or self.headers.get("authorization") == f"Bearer {self.admin.token}":
            return True
        text = "missing or wrong admin token"
        body = json.dumps({"error": {"message": text}}).encode()
        self._bytes(401, "application/json", body, {"www-authenticate": 'Bearer realm="stargate admin"'})
        return False

    def _file(self, name: str) -> None:
        file = _FILES.get(name)
        if file is None:
            self._json(404, {"error": {"message": "nothing is at this path"}})
            return
        head = RequestHead(b"GET", self.path.encode(), b"1.1", [], True, False, None, False)
        reply = serve_file(file, Request(head, b"", self.path, {}))
        headers = {key.decode(): value.decode() for key, value in reply.headers}
        self._bytes(reply.status, headers.pop("content-type"), reply.body, headers)

    def _json(self, status: int, told: Any) -> None:
        self._bytes(status, "application/json", json.dumps(told).encode())

    def _bytes(self, status: int, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"content-type": kind, "content-length": str(len(body)), "x-request-id": "req_fake"}
        for name, value in {**headers, "x-content-type-options": "nosniff", **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("x-request-id", self.admin.records[0]["request_id"])
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for event in events:
                self.wfile.write(event)
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.admin.left.set()


def _chosen(records: list[dict[str, Any]], parameters: dict[str, str]) -> Iterator[dict[str, Any]]:
    for record in records[: int(parameters.get("limit", "100"))]:
        wanted = {name: parameters[name] for name in ("consumer", "model", "outcome") if name in parameters}
        if wanted.items() <= record.items():
            yield record


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle is no fault."""


@contextlib.contextmanager
def fake_admin() -> Generator[FakeAdmin, None, None]:
    """One that listens, until the end of the block."""
    admin = FakeAdmin()
    handler = type("Handler", (_Handler,), {"admin": admin})
    with _Server(("127.0.0.1", 0), handler) as server:
        admin.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield admin
        finally:
            admin.end_streams()
            admin.go_on()
            server.shutdown()
            thread.join()
