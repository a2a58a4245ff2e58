"""Pictures that callers name by URL: what the running gateway refuses to fetch, in either API, and what it
tells them; and, in this process, a picture's whole way from its server to the model.

No test leaves this machine: where something is fetched, the test says that loopback is public.
"""

import base64
import contextlib
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import Any, Final

import anthropic
import openai
import pytest
import trio

from stargate.fetcher import Fetcher
from stargate.simulator.server import Simulator
from stargate.trio_shell.gateway import Gateway
from stargate.trio_shell.sinks import Sinks
from stargate_core.config.load import examine
from stargate_core.config.plugin_configs import BUILT_IN as SCHEMAS
from stargate_core.gateway.plan import Plan
from stargate_core.plugins.registry import BUILT_IN
from support.channels import tcp_pair
from support.gateway import KEY, RunningGateway, running_gateway
from support.raw import Answer, Raw, request
from support.simulator import RunningSimulator, start_simulator
from support.tls import Authority

FETCHING: Final = {"enabled": True, "plain_http": True, "timeout": 5}


def png() -> bytes:
    """A picture of one point."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixels) + part(b"IEND", b"")


def chat(*urls: str) -> dict[str, Any]:
    """A chat completion's body."""
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [{"type": "text", "text": "What is this?"}, *pictures]
    return {"model": "claude", "max_tokens": 300, "messages": [{"role": "user", "content": content}]}


def message(*urls: str) -> dict[str, Any]:
    """The same for Anthropic's messages."""
    pictures = [{"type": "image", "source": {"type": "url", "url": url}} for url in urls]
    content = [{"type": "text", "text": "What is this?"}, *pictures]
    return {"model": "claude", "max_tokens": 300, "messages": [{"role": "user", "content": content}]}


Refusal = Callable[[RunningGateway, tuple[str, ...]], str]


def chat_refused(gateway: RunningGateway, urls: tuple[str, ...]) -> str:
    """Why openai-python is refused."""
    with gateway.openai() as sdk, pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(**chat(*urls))
    return str(caught.value)


def message_refused(gateway: RunningGateway, urls: tuple[str, ...]) -> str:
    """Why anthropic-sdk-python is refused."""
    client = anthropic.Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=20)
    with client as sdk, pytest.raises(anthropic.BadRequestError) as caught:
        sdk.messages.create(**message(*urls))
    return str(caught.value)


@pytest.fixture(params=[chat_refused, message_refused], ids=["chat", "messages"])
def refusal(request: pytest.FixtureRequest) -> Refusal:
    """Either API."""
    asking: Refusal = request.param
    return asking


@pytest.fixture(scope="module")
def fetching(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that fetches, http included."""
    with running_gateway(simulator.url, proxy={"image_urls": FETCHING}) as running:
        yield running


@pytest.fixture
def inside() -> Generator[socket.socket]:
    """A server on this machine, which nobody may be made to talk to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


class TestRefused:
    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://127.0.0.1/x.png", "its host is not on the public internet"),
            ("https://127.0.0.1/x.png", "its host is not on the public internet"),
            ("http://[::1]/x.png", "its host is not on the public internet"),
            ("http://[::ffff:127.0.0.1]/x.png", "its host is not on the public internet"),
            ("http://[64:ff9b::7f00:1]/x.png", "its host is not on the public internet"),
            ("http://169.254.169.254/latest/meta-data/", "its host is not on the public internet"),
            ("http://169.254.170.2/v2/credentials/", "its host is not on the public internet"),
            ("http://[fd00:ec2::254]/latest/meta-data/", "its host is not on the public internet"),
            ("http://10.0.0.1/x.png", "its host is not on the public internet"),
            ("http://localhost/x.png", "its host is not on the public internet"),
            ("http://LOCALHOST./x.png", "its host is not on the public internet"),
            ("http://2130706433/x.png", "it names no host"),
            ("http://0x7f000001/x.png", "it names no host"),
            ("http://0177.0.0.1/x.png", "it names no host"),
            ("http://127.1/x.png", "it names no host"),
            ("http://0/x.png", "it names no host"),
            ("http://user:pw@127.0.0.1/x.png", "it must not hold a user name or password"),
            ("http://example.com@127.0.0.1/x.png", "it must not hold a user name or password"),
            ("http://127.0.0.1:6379/x.png", "its port must be 80 or 443"),
            ("https://127.0.0.1:22/x.png", "its port must be 80 or 443"),
            ("http:///x.png", "it names no host"),
            ("http://127.0.0.1\\@example.com/", "it holds blanks, control characters or backslashes"),
        ],
    )
    def test_what_leads_inside(self, fetching: RunningGateway, refusal: Refusal, url: str, why: str) -> None:
        assert why in refusal(fetching, (url,))

    def test_no_connection_is_made(
        self, fetching: RunningGateway, refusal: Refusal, inside: socket.socket
    ) -> None:
        port = inside.getsockname()[1]
        assert "its port must be 80 or 443" in refusal(fetching, (f"http://127.0.0.1:{port}/x.png",))

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x.png", "gopher://127.0.0.1/"])
    def test_other_schemes_are_nothing_to_fetch(
        self, fetching: RunningGateway, refusal: Refusal, url: str
    ) -> None:
        assert refusal(fetching, (url,))

    def test_nothing_reaches_bedrock(
        self, fetching: RunningGateway, refusal: Refusal, simulator: RunningSimulator
    ) -> None:
        before = len(simulator.requests())
        refusal(fetching, ("http://127.0.0.1/x.png",))
        assert len(simulator.requests()) == before

    def test_more_than_may_be(self, simulator: RunningSimulator, refusal: Refusal) -> None:
        options = {**FETCHING, "max_count": 2, "hosts": ["*.example.com"]}
        with running_gateway(simulator.url, proxy={"image_urls": options}) as gateway:
            urls = tuple(f"http://a.example.com/{number}.png" for number in range(3))
            assert "At most 2 URLs" in refusal(gateway, urls)
            assert "its host is not one that may be asked" in refusal(gateway, ("http://localhost/x.png",))

    def test_where_it_is_switched_off_it_says_so(self, gateway: RunningGateway, refusal: Refusal) -> None:
        said = refusal(gateway, ("https://127.0.0.1/x.png",))
        assert "URL" in said
        assert "send" in said, "it says what to do instead"
        assert "public" not in said

    def test_http_where_only_https_will_do(self, simulator: RunningSimulator, refusal: Refusal) -> None:
        with running_gateway(simulator.url, proxy={"image_urls": {"enabled": True}}) as gateway:
            assert "only https is fetched" in refusal(gateway, ("http://127.0.0.1/x.png",))


# ------------------------------------------------------------------------------------------- the whole way

CONFIGURATION: Final = """\
plugins:
  - name: bedrock-proxy
    config:
      endpoint_url: {url}
      credentials: {{access_key_id: AKIDSIMULATOR, secret_access_key: simulated-secret-access-key}}
      models: {{claude: us.anthropic.claude-sonnet-4-20250514-v1:0, nova: amazon.nova-lite-v1:0}}
      image_urls: {{enabled: true, hosts: [pictures.test], max_bytes: 5000}}
"""


class Pictures:
    """A server of pictures, a gateway that may ask it, and a client of the gateway's."""

    def __init__(
        self, gateway: Gateway, simulator: Simulator, nursery: trio.Nursery, port: int, asked: list[str]
    ) -> None:
        self.gateway = gateway
        self.simulator = simulator
        self.asked = asked
        self._nursery = nursery
        self._port = port

    def url(self, path: str) -> str:
        return f"https://pictures.test:{self._port}/{path}"

    async def ask(self, path: str, body: dict[str, Any]) -> Answer:
        """One question and its answer."""
        ours, theirs = tcp_pair()
        theirs.settimeout(10)
        self._nursery.start_soon(self.gateway.serve, ours, "test")

        def ask() -> Answer:
            with theirs:
                raw = Raw(theirs)
                raw.send(request(path=path, body=json.dumps(body).encode()))
                return raw.answer()

        return await trio.to_thread.run_sync(ask)


@contextlib.asynccontextmanager
async def pictures() -> AsyncGenerator[Pictures]:
    """All of them."""
    authority = Authority()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure(context, "pictures.test")
    asked: list[str] = []

    async def serve(stream: trio.abc.Stream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += bytes(await secure.receive_some())
        path = head.split(b" ")[1].decode()
        asked.append(path)
        answers = {
            "/red.png": (200, "Content-Type: image/png", png()),
            "/moved.png": (302, "Location: /red.png", b""),
            "/large.png": (200, "Content-Type: image/png", bytes(5001)),
            "/inside.png": (302, "Location: https://169.254.169.254/", b""),
        }
        status, line, body = answers.get(path, (404, "X: y", b""))
        head_out = f"HTTP/1.1 {status} X\r\n{line}\r\nContent-Length: {len(body)}\r\n\r\n"
        await secure.send_all(head_out.encode() + body)
        await secure.aclose()

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with trio.open_nursery() as nursery:
        simulator, url = await start_simulator(nursery)
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        port = listener.socket.getsockname()[1]
        examined = examine(CONFIGURATION.format(url=url), filename="f", environ={}, schemas=SCHEMAS)
        assert examined.config is not None, examined.problems
        fetcher = Fetcher(
            allowed=lambda address: address == "127.0.0.1",
            resolve=resolve,
            ports={port, 443},
            context=authority.client_context(),
        )
        gateway = Gateway(
            Plan(examined.config, BUILT_IN),
            nursery,
            sinks=Sinks(nursery),
            tls=lambda _: authority.client_context(),
            fetcher=fetcher,
        )
        yield Pictures(gateway, simulator, nursery, port, asked)
        nursery.cancel_scope.cancel()


PATHS: Final = [("/v1/chat/completions", chat), ("/v1/messages", message)]


@pytest.mark.trio
@pytest.mark.parametrize(("path", "body"), PATHS)
@pytest.mark.parametrize("model", ["claude", "nova"])
async def test_the_model_sees_what_is_at_the_url(path: str, body: Any, model: str) -> None:
    async with pictures() as at:
        answer = await at.ask(path, {**body(at.url("red.png"), at.url("moved.png")), "model": model})
        assert answer.status == 200, answer.body
        (received,) = at.simulator.ledger.requests()
        assert json.dumps(received.body).count(base64.b64encode(png()).decode()) == 2
        assert at.asked == ["/red.png", "/moved.png", "/red.png"]


@pytest.mark.trio
@pytest.mark.parametrize(("path", "body"), PATHS)
@pytest.mark.parametrize(
    ("picture", "why"),
    [
        ("gone.png", "its server answered 404"),
        ("large.png", "it is larger than 5000 bytes"),
        ("inside.png", "its host is not one that may be asked"),
    ],
)
async def test_why_it_cannot_be_had_is_told(path: str, body: Any, picture: str, why: str) -> None:
    async with pictures() as at:
        answer = await at.ask(path, body(at.url(picture)))
        assert answer.status == 400
        assert f"cannot be used: {why}" in answer.json()["error"]["message"]
