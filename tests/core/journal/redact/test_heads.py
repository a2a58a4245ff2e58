"""Heads: what says how bytes are read stays, what somebody has said goes."""

from typing import Any, Final

import pytest

from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.heads import Heads
from stargate_core.journal.redact.http_stream import Head, redact_stream
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.words import Words

SCOPE: Final = "20270115/us-east-1/bedrock/aws4_request"
KNOWN: Final = frozenset({"/team-a/own", "placeholder1xx", "blue"})


def heads() -> Heads:
    words = Words(b"salt", KNOWN)
    return Heads(words, Secrets(words, KNOWN), Bodies(words), KNOWN, frozenset({b"x-gateway-key"}))


class Redacts:
    """Redacts heads, and leaves bodies."""

    def __init__(self, *, responses: bool) -> None:
        self._responses = responses

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        if self._responses:
            heads().response(head)
        else:
            heads().request(head)
        return body


def made(first: str, *lines: str, responses: bool = False) -> list[str]:
    raw = "\r\n".join([first, *lines, "", ""]).encode("latin-1")
    after = redact_stream(raw, Redacts(responses=responses), responses=responses)
    assert len(after) == len(raw)
    return after.decode("latin-1").split("\r\n")[:-2]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/chat/completions",
        "/model/anthropic.claude-3%3A0/converse-stream",
        "/v1/models/claude?limit=5",
        "/team-a/own/v1/messages",
        "/healthz",
    ],
)
def test_paths_of_apis_models_and_routes_stay(target: str) -> None:
    assert made(f"GET {target} HTTP/1.1", "host: stargate")[0] == f"GET {target} HTTP/1.1"


def test_other_paths_and_queries_go() -> None:
    line = made("GET /private/v1/x?X-Amz-Signature=private%21&name=private HTTP/1.1")[0]
    assert "private" not in line
    assert line.startswith("GET /")
    assert "/v1/" in line
    assert "%21" not in line


@pytest.mark.parametrize(
    "line",
    [
        "Content-Type: application/json",
        "user-agent: anthropic-sdk-python/1.0",
        "anthropic-beta: a-1,b-2",
        "x-stainless-lang: python",
        "Transfer-Encoding:chunked",
        "x-team: blue",
        "x-gateway-key: placeholder1xx",
        "x-amzn-bedrock-service-tier: flex",
        "x-amzn-bedrock-input-token-count: 12",
        "x-amz-content-sha256: UNSIGNED-PAYLOAD",
        "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    ],
)
def test_lines_that_stay(line: str) -> None:
    assert made("POST / HTTP/1.1", line)[1] == line


def test_of_what_nobody_could_read_only_credentials_go() -> None:
    """Lines that look like a head's, though they are none: a body that claimed to be chunked, say."""
    read = (
        b"5\r\nX-Api-Key:  secretly\r\nx-whatever: said\r\n\x00\xff x-api-key: said\r\nx-team-token: secretly"
    )
    made = heads().lines(read)
    assert len(made) == len(read)
    assert b"secretly" not in made
    lines = made.split(b"\r\n")
    assert lines[0] == b"5"
    assert lines[1].startswith(b"X-Api-Key:  ")
    assert lines[2:4] == [b"x-whatever: said", b"\x00\xff x-api-key: said"]
    assert lines[4].startswith(b"x-team-token: ")


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer secretly",
        "authorization: secretly",
        "x-api-key: secretly",
        "x-gateway-key: secretly",
        "cookie: a=secretly",
        "x-whatever: secretly",
        "x-amz-security-token: secretly",
        "x-amzn-bedrock-trace: secretly",
        'x-amzn-bedrock-request-metadata: {"secretly":"secretly"}',
        f"authorization: AWS4-HMAC-SHA256 Credential=secretly/{SCOPE}, SignedHeaders=a, Signature=secretly",
        " secretly folded",
        "secretly no field",
    ],
)
def test_lines_that_go(line: str) -> None:
    after = made("POST / HTTP/1.1", "host: a", line)[2]
    assert "secretly" not in after
    assert after.partition(":")[0] == line.partition(":")[0] or ":" not in line
    assert after.startswith("authorization: AWS4-HMAC-SHA256 Credential=") is ("AWS4" in line)


def test_an_answers_head() -> None:
    lines: list[Any] = made(
        "HTTP/1.1 400 Bad Request",
        "x-amzn-errortype: ValidationException:http://secretly/",
        "x-amzn-requestid: 5e8f1a2b-aaaa",
        "set-cookie: secretly",
        responses=True,
    )
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    assert lines[1].startswith("x-amzn-errortype: ValidationException:")
    assert lines[2] == "x-amzn-requestid: 5e8f1a2b-aaaa"
    assert "secretly" not in "".join(lines)
    assert "secretly" not in made("HTTP/1.1 400 secretly=1", responses=True)[0]


def test_a_first_line_that_ends_before_its_target_stays() -> None:
    """Nobody answers it; the method alone is nobody's secret."""
    assert redact_stream(b"DELETE", Redacts(responses=False), responses=False) == b"DELETE"
    assert redact_stream(b"GET /private", Redacts(responses=False), responses=False)[:5] == b"GET /"
