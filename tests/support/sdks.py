"""The official SDKs, with nothing patched, speaking to a dialect instead of a network."""

import functools
import io
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import anthropic
import boto3
import httpx2
import openai
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from stargate_core.dialects.face import Reply, Request
from support.dialects import a_request

Gateway = Callable[[Request], Reply]
"""Whatever answers a request."""


@contextmanager
def openai_client(gateway: Gateway) -> Generator[openai.OpenAI]:
    """openai-python, its HTTP requests answered by `gateway`."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        reply = gateway(a_request(request.read(), request.url.raw_path, request.method.encode(), headers))
        return httpx2.Response(reply.status, headers=reply.headers, content=reply.body)

    with openai.OpenAI(
        api_key="k",
        base_url="http://gateway/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(handle)),
    ) as client:
        yield client


@contextmanager
def anthropic_client(gateway: Gateway) -> Generator[anthropic.Anthropic]:
    """anthropic-sdk-python, its HTTP requests answered by `gateway`."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        reply = gateway(a_request(request.read(), request.url.raw_path, request.method.encode(), headers))
        return httpx2.Response(reply.status, headers=reply.headers, content=reply.body)

    with anthropic.Anthropic(
        api_key="k",
        base_url="http://gateway",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(handle)),
    ) as client:
        yield client


def _octets(value: Any) -> bytes:
    """A header's value: the signer leaves some as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


class _Body(io.BytesIO):
    """A body as urllib3 gives it to botocore."""

    def stream(self, amt: int = 1024, **_: Any) -> Iterator[bytes]:
        while piece := self.read(amt):
            yield piece


class Bedrock(NamedTuple):
    """A boto3 client, and what it has sent."""

    client: Any
    sent: list[Request]


@functools.lru_cache(maxsize=1)
def _session() -> boto3.Session:
    """One session for all clients: reading the service model is what takes time."""
    return boto3.Session()


def bedrock_client(gateway: Gateway) -> Bedrock:
    """boto3's bedrock-runtime, its HTTP requests answered by `gateway` (a hook of botocore's own)."""
    client = _session().client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url="http://gateway",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    sent: list[Request] = []

    def handle(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        headers = [(name.lower().encode(), _octets(value)) for name, value in request.headers.items()]
        body = request.body or b""
        assert isinstance(body, bytes | bytearray)
        assert request.method is not None
        path = request.url.removeprefix("http://gateway").encode()
        asked = a_request(bytes(body), path, request.method.encode(), headers)
        sent.append(asked)
        reply = gateway(asked)
        told: Any = {name.decode(): value.decode() for name, value in reply.headers}
        return AWSResponse(request.url, reply.status, told, _Body(reply.body))

    client.meta.events.register("before-send.bedrock-runtime", handle)
    return Bedrock(client, sent)
