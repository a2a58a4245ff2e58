"""The transport, on clients of both lines of httpx: each gets its own types and its own errors.

(What it does with a Bedrock behind it stands in tests/e2e/test_embedding.py.)
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import httpx2
import pytest

from support.embedded import LOOPS, embedded

pytestmark = pytest.mark.anyio

CONFIGURATION: Final[dict[str, Any]] = {
    "gateway": {"drain_seconds": 0.2},
    "plugins": [
        {
            "name": "bedrock-proxy",
            "config": {
                "endpoint_url": "http://127.0.0.1:1",
                "credentials": {"access_key_id": "AKID", "secret_access_key": "secret"},
            },
        }
    ],
}


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"], name="library")
def _library(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestAnswers:
    async def test_they_are_the_librarys_own(self, library: Any) -> None:
        async with embedded(CONFIGURATION) as gateway:
            async with library.AsyncClient(transport=gateway.transport()) as client:
                answer = await client.get("http://anything.example/healthz")
        assert isinstance(answer, library.Response)
        assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
        assert answer.headers["x-request-id"]

    async def test_a_transport_is_one_to_both(self) -> None:
        transport = embedded(CONFIGURATION).transport()
        assert isinstance(transport, httpx.AsyncBaseTransport)
        assert isinstance(transport, httpx2.AsyncBaseTransport)

    async def test_a_path_stays_as_it_was_written(self, library: Any) -> None:
        async with embedded(CONFIGURATION) as gateway:
            async with library.AsyncClient(transport=gateway.transport()) as client:
                answer = await client.get("http://stargate/v1/models/arn%3Aaws%3Ax%2Fy")
        assert "arn:aws:x/y" in answer.text

    async def test_one_to_a_head_has_no_body(self, library: Any) -> None:
        async with embedded(CONFIGURATION) as gateway:
            async with library.AsyncClient(transport=gateway.transport()) as client:
                answer = await client.head("http://stargate/healthz")
        assert (answer.status_code, answer.content) == (200, b"")

    async def test_an_unknown_method_has_the_gateways_answer(self, library: Any) -> None:
        async with embedded(CONFIGURATION) as gateway:
            async with library.AsyncClient(transport=gateway.transport()) as client:
                answer = await client.request("BREW", "http://stargate/v1/models")
        assert answer.status_code == 501
        assert answer.json()["error"]["message"]

    async def test_a_body_in_pieces_arrives_whole(self, library: Any) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"model": 1, '
            yield b'"messages": []}'

        async with embedded(CONFIGURATION) as gateway:
            async with library.AsyncClient(transport=gateway.transport()) as client:
                answer = await client.post("http://stargate/v1/chat/completions", content=pieces())
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


class TestErrors:
    async def test_a_gateway_that_is_not_running_cannot_be_connected_to(self, library: Any) -> None:
        async with library.AsyncClient(transport=embedded(CONFIGURATION).transport()) as client:
            with pytest.raises(library.ConnectError, match="not running"):
                await client.get("http://stargate/healthz")

    async def test_a_header_that_can_be_none_is_a_local_error(self, library: Any) -> None:
        async with embedded(CONFIGURATION) as gateway:
            async with library.AsyncClient(transport=gateway.transport()) as client:
                with pytest.raises(library.LocalProtocolError, match="malformed"):
                    await client.get("http://stargate/healthz", headers={"x": "a\r\nb: c"})
