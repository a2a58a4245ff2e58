"""A simulated Bedrock for tests: in a process of its own, in trio in this process, or as a bare machine.

`running_simulator` starts the real command and yields where it listens; its ledger is read over HTTP.
`start_simulator` runs one in a nursery of the test's. `Wire` drives the machine without sockets, in whatever
time the test says it is. `signed` makes a request as botocore would send it.
"""

import contextlib
import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

import boto3
import h11
import msgspec
import trio
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from stargate.simulator.connection import SimulatedConnection
from stargate.simulator.ledger import Ledger
from stargate.simulator.messages import Abort, Close, Command, Event, Received, Ticked, Write
from stargate.simulator.server import Simulator, listen, url_of, wall_epoch_ns
from stargate.simulator.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Settings

CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"
REGION: Final = "us-east-1"
STOP_SECONDS: Final = 10


class RunningSimulator:
    """A simulator in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process = process
        self.url = url

    def requests(self) -> list[dict[str, Any]]:
        """What it has received, oldest first."""
        return self._page("GET", "/_simulator/requests")  # type: ignore[no-any-return]

    def statistics(self) -> dict[str, Any]:
        """Its counts."""
        return self._page("GET", "/_simulator/statistics")  # type: ignore[no-any-return]

    def clear(self) -> None:
        """Make it forget."""
        self._page("DELETE", "/_simulator/requests")

    def fail_listings(self, scenario: str) -> None:
        """Make it fail those who ask which models or profiles there are; "": no longer."""
        self._page("PUT", "/_simulator/listing-fault", scenario.encode())

    def _page(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + path, body, method=method)
        with urllib.request.urlopen(request, timeout=STOP_SECONDS) as answer:
            return json.load(answer)

    def client(self, **options: Any) -> Any:
        """A boto3 client of it, without retries."""
        return bedrock_client(self.url, **options)


@contextlib.contextmanager
def running_simulator(*options: str) -> Generator[RunningSimulator, None, None]:
    """`stargate simulate` on a free port, with these options; stopped by SIGTERM at the end."""
    ours, theirs = os.pipe()
    command = [
        sys.executable,
        "-m",
        "stargate.cli.simulate",
        "--listen",
        "127.0.0.1:0",
        "--ready-fd",
        str(theirs),
    ]
    process = subprocess.Popen([*command, *options], pass_fds=(theirs,), stdout=subprocess.DEVNULL)
    os.close(theirs)
    try:
        with os.fdopen(ours) as ready:
            url = ready.readline().strip()
        assert url, "the simulator did not start"
        yield RunningSimulator(process, url)
    finally:
        process.terminate()
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status == 0


def bedrock_client(
    url: str,
    *,
    access_key_id: str = ACCESS_KEY_ID,
    secret_access_key: str = SECRET_ACCESS_KEY,
    session_token: str | None = None,
    region: str = REGION,
    retries: int = 0,
    read_timeout: float = 20,
    **options: Any,
) -> Any:
    """A boto3 client for an endpoint that speaks as Bedrock does."""
    return boto3.session.Session().client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
        config=Config(
            retries={"total_max_attempts": 1 + retries, "mode": "standard"},
            read_timeout=read_timeout,
            connect_timeout=5,
        ),
        **options,
    )


def user(text: str) -> dict[str, Any]:
    """A user's message for Converse."""
    return {"role": "user", "content": [{"text": text}]}


async def start_simulator(
    nursery: trio.Nursery, tls: ssl.SSLContext | None = None, **changes: Any
) -> tuple[Simulator, str]:
    """A simulator in this process, and where it listens; it ends with the nursery."""
    scheme = "http" if tls is None else "https"
    given = Settings(wall_epoch_ns=wall_epoch_ns(), scheme=scheme)
    simulator = Simulator(msgspec.structs.replace(given, **changes))
    [listener] = await listen("127.0.0.1", 0)
    await nursery.start(simulator.serve, [listener], tls)
    return simulator, url_of(listener, scheme)


# ---------------------------------------------------------------------- without sockets

WALL_EPOCH_NS: Final = 1_767_323_045_000_000_000
"""2026-01-02T03:04:05Z"""
TIMESTAMP: Final = "20260102T030405Z"


def settings(**changes: Any) -> Settings:
    """Settings whose clock stands at `TIMESTAMP` when the machine's `now` is 0."""
    return msgspec.structs.replace(Settings(wall_epoch_ns=WALL_EPOCH_NS), **changes)


def signed(
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    access_key_id: str = ACCESS_KEY_ID,
    secret_access_key: str = SECRET_ACCESS_KEY,
    session_token: str | None = None,
    region: str = REGION,
    service: str = "bedrock",
    timestamp: str = TIMESTAMP,
) -> bytes:
    """A request's bytes, signed by botocore at a time of the test's choice."""
    everything = {"Host": "bedrock.test", "Content-Type": "application/json", **(headers or {})}
    request = AWSRequest(method, f"http://bedrock.test{path}", data=body, headers=everything)
    request.context["timestamp"] = timestamp
    signer = SigV4Auth(Credentials(access_key_id, secret_access_key, session_token), service, region)
    # `add_auth` would take the time of day; its steps are public.
    request.headers["X-Amz-Date"] = timestamp
    if session_token is not None:
        request.headers["X-Amz-Security-Token"] = session_token
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    request.headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Reply(msgspec.Struct):
    """An answer as h11 reads it on the client's side."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Wire:
    """The simulator's machine with a test for its peer: no sockets, and time stands still unless told."""

    def __init__(self, seed: int = 1, ledger: Ledger | None = None, **changes: Any) -> None:
        self.ledger = ledger if ledger is not None else Ledger()
        self.machine = SimulatedConnection(settings(**changes), seed, self.ledger)
        self.now_ns = 0
        self.commands: list[Command] = []
        self._client = h11.Connection(h11.CLIENT)

    def tell(self, event: Event) -> list[Command]:
        """Tell the machine something, and keep what it orders."""
        commands = self.machine.handle(self.now_ns, event)
        self.commands += commands
        return commands

    def run(self) -> None:
        """Let time pass from deadline to deadline until there is none."""
        while self.machine.deadline is not None:
            self.now_ns = max(self.now_ns, self.machine.deadline)
            self.tell(Ticked())

    def written(self) -> bytes:
        """All bytes so far."""
        return b"".join(command.data for command in self.commands if isinstance(command, Write))

    @property
    def closed(self) -> bool:
        """Whether the machine has closed the connection, either way."""
        return any(isinstance(command, Close | Abort) for command in self.commands)

    def ask(self, request: bytes) -> Reply:
        """Send a request, let all time pass, and read the answer."""
        before = len(self.written())
        self.tell(Received(request))
        self.run()
        return read_reply(self.written()[before:], closed=self.closed)


def read_reply(data: bytes, *, closed: bool) -> Reply:
    """Read one answer out of bytes; one that is cut off, or is no HTTP, is not `whole`."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=10_000_000)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "bedrock.test")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    if closed:
        client.receive_data(b"")
    reply = Reply(0, {}, b"", whole=False)
    with contextlib.suppress(h11.RemoteProtocolError):
        while not reply.whole:
            event = client.next_event()
            if isinstance(event, h11.Response):
                reply.status = event.status_code
                reply.headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                reply.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                reply.whole = True
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                break
    return reply


def converse_request(
    text: str, *, model_id: str = CLAUDE, operation: str = "converse", more: Mapping[str, Any] | None = None
) -> bytes:
    """A signed Converse request of one user message."""
    body = json.dumps({"messages": [user(text)], **(more or {})}, ensure_ascii=False).encode()
    return signed(f"/model/{model_id.replace(':', '%3A').replace('/', '%2F')}/{operation}", body)


def texts_of(stream: Sequence[Mapping[str, Any]]) -> str:
    """The text of a ConverseStream's events."""
    deltas = [event["contentBlockDelta"]["delta"] for event in stream if "contentBlockDelta" in event]
    return "".join(delta.get("text", "") for delta in deltas)
