"""Tokens of identity providers at the running gateway: its own secret, and keys that an issuer publishes."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Generator
from typing import Any, Final

import jwt
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from support.gateway import KEY, RunningGateway, running_gateway
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

SECRET: Final = "a-secret-that-is-long-enough-for-hs256"
AUDIENCE: Final = "stargate"


class Publisher(http.server.ThreadingHTTPServer):
    """An issuer's key page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.keys: list[dict[str, Any]] = []
        self.asked = 0


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The keys."""
        publisher = self.server
        assert isinstance(publisher, Publisher)
        publisher.asked += 1
        body = json.dumps({"keys": publisher.keys}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def published() -> Generator[Publisher]:
    """A publisher, until the block ends."""
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def publisher() -> Generator[Publisher]:
    """One for the module."""
    with published() as server:
        yield server


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """The issuer's key."""
    return generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def gateway(
    simulator: RunningSimulator, publisher: Publisher, key: RSAPrivateKey
) -> Generator[RunningGateway]:
    """A gateway that believes two issuers, and keys as well."""
    publish(publisher, key, "one")
    issuers = [
        {"issuer": "https://own", "audience": AUDIENCE, "secret": SECRET},
        {
            "issuer": "https://idp",
            "audience": AUDIENCE,
            "jwks_url": f"http://127.0.0.1:{publisher.server_port}/keys",
            "consumers": {"robot": "team-a"},
        },
    ]
    plugins = [{"name": "jwt-auth", "config": {"issuers": issuers}}]
    with running_gateway(simulator.url, plugins=plugins) as running:
        yield running


def publish(publisher: Publisher, key: RSAPrivateKey, key_id: str) -> None:
    """The issuer publishes this key, too."""
    page = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    publisher.keys.append({**page, "kid": key_id, "alg": "RS256", "use": "sig"})


def token(secret: Any, algorithm: str, issuer: str, subject: str, *, kid: str = "", **claims: Any) -> str:
    """A token that is good for five minutes, unless told otherwise."""
    told = {"iss": issuer, "aud": AUDIENCE, "sub": subject, "exp": int(time.time()) + 300, **claims}
    return jwt.encode(told, secret, algorithm=algorithm, headers={"kid": kid} if kid else None)


def status(gateway: RunningGateway, shown: str) -> tuple[int, str]:
    """What a chat request with this token, or key, is answered."""
    with connected(gateway.url) as raw:
        raw.send(request(body=chat("Hello"), key=shown))
        answer = raw.answer()
    return answer.status, answer.headers["x-request-id"]


def test_an_sdk_shows_a_token_as_its_api_key(gateway: RunningGateway) -> None:
    shown = token(SECRET, "HS256", "https://own", "team-a")
    with gateway.openai(api_key=shown) as client:
        answer = client.chat.completions.create(model="claude", messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].message.content
    bad = token("another-secret-that-is-long-enough", "HS256", "https://own", "team-a")
    with gateway.openai(api_key=bad) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="claude", messages=[{"role": "user", "content": "Hi"}])


def test_published_keys_are_fetched_once(
    gateway: RunningGateway, publisher: Publisher, key: RSAPrivateKey
) -> None:
    shown = token(key, "RS256", "https://idp", "robot", kid="one")
    answers = [status(gateway, shown) for _ in range(3)]
    assert [answered for answered, _ in answers] == [200] * 3
    assert gateway.record(request_id=answers[0][1])["consumer"] == "team-a"
    assert publisher.asked == 1


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": 1}, 401),
        ({"aud": "somebody-else"}, 401),
        ({"nbf": 9_999_999_999}, 401),
        ({"sub": "nobody"}, 403),
    ],
)
def test_claims_count(
    gateway: RunningGateway, key: RSAPrivateKey, claims: dict[str, Any], expected: int
) -> None:
    told = {"sub": "robot", **claims}
    shown = token(key, "RS256", "https://idp", told.pop("sub"), kid="one", **told)
    assert status(gateway, shown)[0] == expected


def test_another_key_than_the_published_one_proves_nothing(gateway: RunningGateway) -> None:
    shown = token(generate_private_key(65537, 2048), "RS256", "https://idp", "robot", kid="one")
    assert status(gateway, shown)[0] == 401


def test_keys_still_open_the_door(gateway: RunningGateway) -> None:
    assert status(gateway, KEY)[0] == 200
    assert status(gateway, "sk-nobody-has-this-one-0123")[0] == 403


def test_where_the_issuer_is_away_nobody_knows(simulator: RunningSimulator, key: RSAPrivateKey) -> None:
    with published() as publisher:
        url = f"http://127.0.0.1:{publisher.server_port}/keys"
    issuer = {"issuer": "https://idp", "audience": AUDIENCE, "jwks_url": url}
    plugins = [{"name": "jwt-auth", "config": {"issuers": [issuer]}}]
    with running_gateway(simulator.url, plugins=plugins) as gateway:
        shown = token(key, "RS256", "https://idp", "team-a", kid="one")
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello"), key=shown))
            answer = raw.answer()
        assert (answer.status, answer.headers["x-should-retry"]) == (503, "true")
        assert int(answer.headers["retry-after"]) >= 1
