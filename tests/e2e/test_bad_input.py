"""Bad input over sockets: the right 4xx in the caller's envelope, a safe connection, and nothing reaches
Bedrock.

A message whose end nobody knows ends its connection: what stands behind it may be a request that somebody has
smuggled in. A request that is merely wrong is answered, and the next one on the connection is served.
"""

import json
import ssl
from collections.abc import Generator
from typing import Any, Final

import pytest

from support.gateway import NARROW_KEY, RunningGateway, running_gateway
from support.http1_refusals import REQUESTS as REFUSALS
from support.raw import Answer, chat, connected, converse, request
from support.simulator import RunningSimulator, running_simulator

CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"
BODY_BYTES_MAX: Final = 64_000
HEAD_BYTES_MAX: Final = 4_000


@pytest.fixture(scope="module")
def counted() -> Generator[RunningSimulator]:
    """A Bedrock of this file's own, whose requests can be counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module", params=["fast", "reference"])
def strict(request: pytest.FixtureRequest, counted: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with small limits and a closed list of models."""
    gateway = {
        "max_body_bytes": BODY_BYTES_MAX,
        "max_head_bytes": HEAD_BYTES_MAX,
        "http_codec": request.param,
    }
    with running_gateway(counted.url, gateway=gateway, proxy={"allow_unlisted": False}) as running:
        yield running


@pytest.fixture
def untouched(counted: RunningSimulator) -> Generator[None]:
    """Nothing of what the test sends may get to Bedrock."""
    counted.clear()
    yield
    assert counted.requests() == []


def goes_on(gateway: RunningGateway) -> bool:
    """Whether it still serves."""
    with connected(gateway.url) as raw:
        raw.send(request("GET", "/v1/models"))
        return raw.answer().status == 200


def code_of(answer: Answer) -> str:
    """The code of an error in OpenAI's envelope, the name of one in AWS's."""
    assert answer.whole
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    if "x-amzn-errortype" in answer.headers:
        assert told.keys() == {"message"}
        return answer.headers["x-amzn-errortype"]
    assert told.keys() == {"error"}
    assert told["error"].keys() == {"message", "type", "param", "code"}
    code: str = told["error"]["code"]
    return code


@pytest.mark.usefixtures("untouched")
class TestFraming:
    """What is behind a broken message is never read as a request."""

    SMUGGLED: Final = request(body=chat("Smuggled in"), headers={"X-Smuggled": "1"})

    @pytest.mark.parametrize("name", REFUSALS)
    def test_a_broken_message_ends_its_connection(self, strict: RunningGateway, name: str) -> None:
        message, _, status = REFUSALS[name]
        with connected(strict.url) as raw:
            raw.send(message + self.SMUGGLED)
            answer = raw.answer()
            # A chunked body may be so broken that it is refused in its middle: still one answer.
            assert answer.status == status
            assert answer.headers["connection"] == "close"
            assert code_of(answer)
            assert raw.rest() == b""

    @pytest.mark.parametrize(
        ("path", "code"),
        [("/v1/chat/completions", "BAD_REQUEST"), (f"/model/{CLAUDE}/converse", "ValidationException")],
    )
    @pytest.mark.parametrize(
        "fields",
        [
            {"Content-Length": "5", "content-length": "50"},
            {"Content-Length": "5", "Transfer-Encoding": "chunked"},
            {"X-Folded": "a\r\n b"},
            {"X-Bare": "a\nb: c"},
            {"X-Bare": "a\rb: c"},
            {"X-Null": "a\0b"},
            {"Content-Length": "5, 5"},
        ],
        ids=lambda fields: " ".join(fields),
    )
    def test_smuggling_is_refused_in_the_envelope_of_the_path(
        self, strict: RunningGateway, path: str, code: str, fields: dict[str, str]
    ) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer k\r\n{lines}\r\n"
        with connected(strict.url) as raw:
            raw.send(head.encode() + b"0\r\n\r\n" + self.SMUGGLED)
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (400, code)
            assert raw.rest() == b""

    def test_a_broken_message_behind_a_good_one(self, strict: RunningGateway) -> None:
        with connected(strict.url) as raw:
            raw.send(request("GET", "/v1/models") + b"GET / HTTP/1.1\n\n" + self.SMUGGLED)
            assert raw.answer().status == 200
            assert raw.answer().status == 400
            assert raw.rest() == b""

    def test_other_protocols(self, strict: RunningGateway) -> None:
        for hello in (b"SSH-2.0-OpenSSH_9.6\r\n", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", bytes(64)):
            with connected(strict.url) as raw:
                raw.send(hello)
                assert (raw.answer().status, raw.rest()) == (400, b"")
        with connected(strict.url) as raw:
            raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert (raw.answer().status, raw.rest()) == (505, b"")
        assert goes_on(strict)

    def test_a_tls_hello_on_a_plain_port(self, strict: RunningGateway) -> None:
        with pytest.raises(ssl.SSLError):
            with connected(strict.url, tls=ssl.create_default_context()):
                pass
        assert goes_on(strict)


@pytest.mark.usefixtures("untouched")
class TestSizes:
    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/v1/chat/completions", "PAYLOAD_TOO_LARGE"),
            (f"/model/{CLAUDE}/converse", "ValidationException"),
            (f"/model/{CLAUDE}/invoke", "ValidationException"),
        ],
    )
    def test_a_body_too_large_is_refused_before_it_comes(
        self, strict: RunningGateway, path: str, code: str
    ) -> None:
        with connected(strict.url) as raw:
            raw.send(request(path=path, headers={"Content-Length": str(BODY_BYTES_MAX + 1)}))
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (413, code)
            assert raw.rest() == b""

    def test_a_body_too_large_in_chunks(self, strict: RunningGateway) -> None:
        head = request(headers={"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        with connected(strict.url) as raw:
            raw.send(head + b"%x\r\n%b\r\n" % (BODY_BYTES_MAX, b"a" * BODY_BYTES_MAX) + b"1\r\na\r\n")
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (413, "PAYLOAD_TOO_LARGE")
            assert raw.rest() == b""

    def test_who_sends_too_much_at_once_gets_the_answer_all_the_same(self, strict: RunningGateway) -> None:
        # The answer must not be destroyed by the reset that unread bytes would bring.
        body = b"a" * (5 * 1024 * 1024)
        with connected(strict.url) as raw:
            raw.send(request(headers={"Content-Length": str(len(body))}) + body[: 2 * 1024 * 1024])
            assert raw.answer().status == 413

    def test_a_body_as_large_as_it_may_be(self, strict: RunningGateway) -> None:
        body = b"[" + b" " * (BODY_BYTES_MAX - 2) + b"]"
        with connected(strict.url) as raw:
            raw.send(request(body=body))
            assert raw.answer().status == 400

    @pytest.mark.parametrize(
        ("path", "code"),
        [("/v1/chat/completions", "HEADERS_TOO_LARGE"), (f"/model/{CLAUDE}/converse", "ValidationException")],
    )
    def test_a_head_too_large(self, strict: RunningGateway, path: str, code: str) -> None:
        with connected(strict.url) as raw:
            raw.send(request(path=path, headers={"X-Filler": "a" * HEAD_BYTES_MAX}))
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (431, code)
            assert raw.rest() == b""

    def test_a_head_without_end(self, strict: RunningGateway) -> None:
        with connected(strict.url) as raw:
            raw.send(b"GET / HTTP/1.1\r\nX-Filler: " + b"a" * 2 * HEAD_BYTES_MAX)
            assert (raw.answer().status, raw.rest()) == (431, b"")

    def test_a_target_too_long(self, gateway: RunningGateway) -> None:
        with connected(gateway.url) as raw:
            raw.send(request("GET", "/v1/models?" + "a" * 40_000))
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (414, "URI_TOO_LONG")
            assert raw.rest() == b""


CHAT: Final = "/v1/chat/completions"
CONVERSE: Final = "/model/claude/converse"
BAD_BODIES: Final[dict[str, tuple[str, bytes, int, str, str | None]]] = {
    "no body": (CHAT, b"", 400, "BAD_REQUEST", None),
    "no JSON": (CHAT, b"{'model': 'claude'}", 400, "BAD_REQUEST", None),
    "half of it": (CHAT, chat("Hello")[:-10], 400, "BAD_REQUEST", None),
    "something behind it": (CHAT, chat("Hello") + b"{}", 400, "BAD_REQUEST", None),
    "bytes that are no UTF-8": (CHAT, chat("X").replace(b"X", b"\xff"), 400, "BAD_REQUEST", None),
    "half a surrogate": (CHAT, chat("X").replace(b"X", b"\\ud800"), 400, "BAD_REQUEST", None),
    "too deep": (
        CHAT, chat("Hello", unknown=7).replace(b"7", b"[" * 25_000 + b"]" * 25_000), 400, "BAD_REQUEST", None
    ),
    "a list": (CHAT, b"[]", 400, "INVALID_REQUEST", None),
    "no messages": (CHAT, b'{"model":"claude"}', 400, "INVALID_REQUEST", "messages"),
    "messages that are none": (
        CHAT, b'{"model":"claude","messages":"hi"}', 400, "INVALID_REQUEST", "messages"
    ),
    "an unknown role": (
        CHAT,
        b'{"model":"claude","messages":[{"role":"wizard","content":"hi"}]}',
        400,
        "INVALID_REQUEST",
        "messages[0].role",
    ),
    "content of a wrong type": (
        CHAT,
        b'{"model":"claude","messages":[{"role":"user","content":7}]}',
        400,
        "INVALID_REQUEST",
        "messages[0].content",
    ),
    "a model that is no text": (CHAT, chat("Hello", model=7), 400, "INVALID_REQUEST", "model"),
    "stream that is no boolean": (CHAT, chat("Hello", stream="yes"), 400, "INVALID_REQUEST", "stream"),
    "a hot temperature": (CHAT, chat("Hello", temperature="hot"), 400, "INVALID_REQUEST", "temperature"),
    "tools that are no list": (CHAT, chat("Hello", tools={}), 400, "INVALID_REQUEST", "tools"),
    "a negative limit": (CHAT, chat("Hello", max_tokens=-1), 400, "INVALID_REQUEST", "max_tokens"),
    "an unknown model": (CHAT, chat("Hello", model="gpt-4o"), 404, "model_not_found", "model"),
    "no JSON for converse": (CONVERSE, b"{'messages': []}", 400, "ValidationException", None),
    "a list for converse": (CONVERSE, b"[]", 400, "ValidationException", None),
    "no body for converse": (CONVERSE, b"", 400, "ValidationException", None),
    "an unknown model for converse": (
        "/model/gpt-4o/converse", converse("Hello"), 404, "ResourceNotFoundException", None
    ),
    "an unknown model for invoke": (
        "/model/gpt-4o/invoke", b"{}", 404, "ResourceNotFoundException", None
    ),
}  # fmt: skip


@pytest.mark.usefixtures("untouched")
class TestRequests:
    @pytest.mark.parametrize("name", BAD_BODIES)
    def test_a_wrong_request_is_answered_and_the_next_one_served(
        self, strict: RunningGateway, name: str
    ) -> None:
        path, body, status, code, param = BAD_BODIES[name]
        with connected(strict.url) as raw:
            raw.send(request(path=path, body=body))
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (status, code)
            if path == CHAT:
                assert answer.json()["error"]["param"] == param
            raw.send(request("GET", "/v1/models"))
            assert raw.answer().status == 200

    @pytest.mark.parametrize(
        ("method", "path", "status", "code", "allow"),
        [
            ("GET", "/", 404, "NOT_FOUND", None),
            ("POST", "/v1/chat/completion", 404, "NOT_FOUND", None),
            ("POST", "/v1/completions/", 404, "NOT_FOUND", None),
            ("POST", "/V1/chat/completions", 404, "NOT_FOUND", None),
            ("POST", "/v1/chat/../chat/completions", 404, "NOT_FOUND", None),
            ("POST", "/v1//chat/completions", 404, "NOT_FOUND", None),
            ("POST", "/v1/chat%2Fcompletions", 404, "NOT_FOUND", None),
            ("GET", "/v1/chat/completions", 405, "METHOD_NOT_ALLOWED", "POST"),
            ("DELETE", "/v1/models", 405, "METHOD_NOT_ALLOWED", "GET"),
            ("GET", "/model/claude/converse", 405, "UnknownOperationException", "POST"),
            ("POST", "/model/claude/conversation", 404, "UnknownOperationException", None),
            ("POST", "/model//converse", 404, "UnknownOperationException", None),
            # It needs HTTP/2.
            ("POST", "/model/claude/invoke-with-bidirectional-stream", 501, "ValidationException", None),
            ("GET", "/foundation-models/a/b", 404, "UnknownOperationException", None),
            ("POST", "/inference-profiles", 405, "UnknownOperationException", "GET"),
            ("POST", "/healthz", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"),
        ],
    )  # fmt: skip
    def test_what_is_nowhere(
        self, strict: RunningGateway, method: str, path: str, status: int, code: str, allow: str | None
    ) -> None:
        with connected(strict.url) as raw:
            raw.send(request(method, path, b"{}" if method == "POST" else b""))
            answer = raw.answer(method=method)
            assert (answer.status, code_of(answer), answer.headers.get("allow")) == (status, code, allow)
            raw.send(request("GET", "/v1/models"))
            assert raw.answer().status == 200

    @pytest.mark.parametrize(
        ("path", "body", "code"),
        [
            (CHAT, chat("Hello", model="nova"), "FORBIDDEN"),
            ("/model/nova/converse", converse("Hello"), "AccessDeniedException"),
            # By its other name it is the same model.
            ("/model/amazon.nova-lite-v1%3A0/converse", converse("Hello"), "AccessDeniedException"),
        ],
    )
    def test_a_model_the_key_may_not_use(
        self, strict: RunningGateway, path: str, body: bytes, code: str
    ) -> None:
        with connected(strict.url) as raw:
            raw.send(request(path=path, body=body, key=NARROW_KEY))
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (403, code)

    @pytest.mark.parametrize(
        ("path", "code"), [(CHAT, "invalid_api_key"), (CONVERSE, "UnrecognizedClientException")]
    )
    def test_a_wrong_key(self, strict: RunningGateway, path: str, code: str) -> None:
        with connected(strict.url) as raw:
            raw.send(request(path=path, body=converse("Hello"), key="sk-guessed"))
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (403, code)

    def test_no_key(self, strict: RunningGateway) -> None:
        body = chat("Hello")
        head = f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        with connected(strict.url) as raw:
            raw.send(head.encode() + body)
            answer = raw.answer()
            assert (answer.status, code_of(answer)) == (401, "invalid_api_key")

    def test_each_leaves_a_record_with_its_code(self, strict: RunningGateway) -> None:
        with connected(strict.url) as raw:
            raw.send(request(body=b"{}"))
            identifier = raw.answer().headers["x-request-id"]
        record = strict.record(request_id=identifier)
        assert (record["outcome"], record["status"], record["code"]) == ("failed", 400, "INVALID_REQUEST")
        assert "attempts" not in record


def test_what_was_wrong_is_said(strict: RunningGateway) -> None:
    """A person reads it: it names the place, and what was expected there."""
    with connected(strict.url) as raw:
        raw.send(request(body=chat("Hello", temperature="hot")))
        error: dict[str, Any] = json.loads(raw.answer().body)["error"]
    assert "temperature" in error["message"]
