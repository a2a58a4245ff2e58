"""The verifier against PyJWT's tokens, and against issuers that change their keys, stall, lie and go away.

Keys are served by a real server on this machine; its answers and the verifier's clock are the test's.
"""

import http.server
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from stargate import key_fetch, public_keys
from stargate.public_keys import missing_for
from stargate.verifier import CannotVerify, Verifier
from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.schema import Config, PluginEntry, Route, Service
from stargate_core.questions import VerifyToken
from stargate_core.secret import Secret
from support.tls import Authority

RSA: Final = rsa.generate_private_key(65_537, 2048)
OTHER_RSA: Final = rsa.generate_private_key(65_537, 2048)
PRIVATE: Final[dict[str, Any]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(private: Any, **members: Any) -> dict[str, Any]:
    """The public key, as an issuer publishes it."""
    public = private.public_key()
    writer: Any = (
        RSAAlgorithm
        if isinstance(private, rsa.RSAPrivateKey)
        else ECAlgorithm
        if isinstance(private, ec.EllipticCurvePrivateKey)
        else OKPAlgorithm
    )
    return {**writer.to_jwk(public, as_dict=True), **members}


def token(algorithm: str, key_id: str = "", private: Any = None) -> str:
    """A token that PyJWT has written."""
    headers = {"kid": key_id} if key_id else None
    return jwt.encode({"sub": "ann"}, private or PRIVATE[algorithm], algorithm=algorithm, headers=headers)


def asked(url: str, text: str, **members: Any) -> VerifyToken:
    """The core's question about a token."""
    header = jwt.get_unverified_header(text)
    signed, _, signature = text.encode().rpartition(b".")
    given: dict[str, Any] = {
        "jwks_url": url,
        "algorithm": header["alg"],
        "key_id": header.get("kid", ""),
        "signed": signed,
        "signature": jwt.utils.base64url_decode(signature),
    }
    return VerifyToken(**{**given, **members})


class Server(http.server.ThreadingHTTPServer):
    """An issuer's server: `answer` says what it does, `asked` counts how often."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = 0
        self.keys: list[dict[str, Any]] = []
        self.answer: Callable[[_Handler], None] = lambda handler: handler.say(200, self.body)
        self.scheme = "http"

    @property
    def body(self) -> bytes:
        """Its keys."""
        return msgspec.json.encode({"keys": self.keys})

    @property
    def url(self) -> str:
        """Where its keys are."""
        return f"{self.scheme}://localhost:{self.server_address[1]}/keys"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        self.server.answer(self)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def issuer(*keys: dict[str, Any], tls: ssl.SSLContext | None = None) -> Generator[Server]:
    """An issuer that publishes these keys."""
    with Server() as server:
        server.keys = list(keys)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            server.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Clock:
    """Seconds, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asking:
    """A verifier with a clock of the test's, and how it answers."""

    def __init__(self, **members: Any) -> None:
        self.clock = Clock()
        self.verifier = Verifier(clock=self.clock, **members)

    def __call__(self, url: str, text: str, **members: Any) -> str:
        """Its answer, waited for if need be."""
        question = asked(url, text, **members)
        answer = self.verifier.verify_now(question)
        return trio.run(self.verifier.verify, question) if answer is None else answer

    def why_not(self, url: str, text: str) -> str:
        """Why nobody can tell."""
        assert self.verifier.verify_now(asked(url, text)) is None
        with pytest.raises(CannotVerify) as caught:
            trio.run(self.verifier.verify, asked(url, text))
        return str(caught.value)


class TestAlgorithms:
    @pytest.mark.parametrize("algorithm", PRIVATE)
    def test_what_the_issuer_has_signed_is_good_and_nothing_else(self, algorithm: str) -> None:
        with issuer(jwk(PRIVATE[algorithm], kid="k1")) as server:
            ask = Asking()
            text = token(algorithm, "k1")
            assert ask(server.url, text) == ""
            good = asked(server.url, text)
            assert ask.verifier.verify_now(good) == ""
            assert ask(server.url, text, signed=good.signed + b"x") == "the signature does not match"
            for signature in (
                b"",
                b"x",
                good.signature[:-1],
                good.signature + b"x",
                bytes(len(good.signature)),
            ):
                assert ask(server.url, text, signature=signature) != ""
            assert server.asked == 1

    @pytest.mark.parametrize("algorithm", PRIVATE)
    def test_another_key_of_the_same_kind_is_not_the_issuers(self, algorithm: str) -> None:
        private = PRIVATE[algorithm]
        other: Any
        if isinstance(private, rsa.RSAPrivateKey):
            other = OTHER_RSA
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            other = ec.generate_private_key(private.curve)
        else:
            other = ed25519.Ed25519PrivateKey.generate()
        with issuer(jwk(private, kid="k1")) as server:
            assert Asking()(server.url, token(algorithm, "k1", other)) == "the signature does not match"

    def test_the_other_edwards_curve(self) -> None:
        private = ed448.Ed448PrivateKey.generate()
        with issuer(jwk(private)) as server:
            assert Asking()(server.url, token("EdDSA", "", private)) == ""

    @pytest.mark.parametrize("algorithm", ["HS256", "none", "ES256K", "RS1", ""])
    def test_an_algorithm_that_is_none_of_these_has_no_key(self, algorithm: str) -> None:
        keys = [jwk(PRIVATE["ES256"]), jwk(RSA), {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]
        with issuer(*keys) as server:
            assert Asking()(server.url, token("RS256"), algorithm=algorithm) == "the issuer has no such key"

    def test_a_key_of_one_algorithm_is_none_of_another(self) -> None:
        with issuer(*(jwk(PRIVATE[name], kid=name) for name in ("RS256", "ES256", "EdDSA"))) as server:
            ask = Asking()
            for algorithm, key_id in ("ES384", "ES256"), ("ES256", "EdDSA"), ("RS256", "ES256"):
                assert ask(server.url, token(algorithm, key_id)) == "the issuer has no such key"


class TestWhichKey:
    @pytest.mark.parametrize(
        "members",
        [
            {"use": "enc"},
            {"use": None},
            {"key_ops": ["encrypt"]},
            {"key_ops": "verify"},
            {"alg": "RS512"},
            {"alg": 1},
            {"kid": 1},
            {"kid": "k2"},
            {"kty": "EC"},
            {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": ["RSA"]},
            {"n": "!!"},
            {"n": None},
            {"e": ""},
        ],
        ids=str,
    )
    def test_one_that_is_not_for_this_is_passed_over(self, members: dict[str, Any]) -> None:
        with issuer(jwk(RSA, **{"kid": "k1", **members}), {}, jwk(PRIVATE["ES256"], kid="e")) as server:
            ask = Asking()
            assert ask(server.url, token("RS256", "k1")) == "the issuer has no such key"
            assert ask(server.url, token("ES256", "e")) == ""

    @pytest.mark.parametrize(
        "members",
        [{"use": "sig"}, {"key_ops": ["verify"]}, {"alg": "RS256"}, {"x5t": "x", "unknown": {}}],
        ids=str,
    )
    def test_one_that_is_for_this_serves(self, members: dict[str, Any]) -> None:
        with issuer(jwk(RSA, kid="k1", **members)) as server:
            assert Asking()(server.url, token("RS256", "k1")) == ""

    def test_a_weak_one_is_passed_over(self) -> None:
        weak = rsa.generate_private_key(65_537, 1024)
        with issuer(jwk(weak, kid="k1")) as server:
            text = token("RS256", "k1")
            assert Asking()(server.url, text) == "the issuer has no such key"

    def test_a_published_private_key_serves_as_the_public_one(self) -> None:
        private: Any = RSAAlgorithm.to_jwk(RSA, as_dict=True)
        with issuer({**private, "key_ops": ["sign", "verify"]}) as server:
            assert Asking()(server.url, token("RS256")) == ""

    def test_a_token_without_a_name_needs_a_single_key(self) -> None:
        with issuer(jwk(RSA, kid="k1"), jwk(PRIVATE["ES256"], kid="k2")) as server:
            ask = Asking()
            assert ask(server.url, token("RS256")) == ""
            server.keys.append(jwk(OTHER_RSA, kid="k3"))
            ask.clock.now += 600
            assert ask(server.url, token("RS256")) == "the token does not say which of the issuer's keys"


class TestRotation:
    def test_a_new_key_is_believed_at_once(self) -> None:
        with issuer(jwk(RSA, kid="k1")) as server:
            ask = Asking()
            assert ask(server.url, token("RS256", "k1")) == ""
            server.keys.append(jwk(OTHER_RSA, kid="k2"))
            ask.clock.now += 30
            assert ask(server.url, token("RS256", "k2", OTHER_RSA)) == ""
            assert ask(server.url, token("RS256", "k1")) == ""
            assert server.asked == 2

    def test_made_up_names_are_no_nuisance_to_the_issuer(self) -> None:
        with issuer(jwk(RSA, kid="k1")) as server:
            ask = Asking()
            for number in range(20):
                assert ask(server.url, token("RS256", f"x{number}")) == "the issuer has no such key"
            assert server.asked == 1
            ask.clock.now += 30
            for number in range(20):
                assert ask(server.url, token("RS256", f"x{number}")) == "the issuer has no such key"
            assert server.asked == 2

    def test_an_old_key_is_gone_within_ten_minutes(self) -> None:
        with issuer(jwk(RSA, kid="k1")) as server:
            ask = Asking()
            assert ask(server.url, token("RS256", "k1")) == ""
            server.keys = [jwk(OTHER_RSA, kid="k2")]
            ask.clock.now += 599
            assert ask(server.url, token("RS256", "k1")) == ""
            ask.clock.now += 1
            assert ask(server.url, token("RS256", "k1")) == "the issuer has no such key"

    def test_one_fetch_serves_all_that_wait(self) -> None:
        with issuer(jwk(RSA, kid="k1")) as server:
            gate = threading.Event()

            def slowly(handler: _Handler) -> None:
                gate.wait(10)
                handler.say(200, server.body)

            server.answer = slowly
            ask = Asking()
            question = asked(server.url, token("RS256", "k1"))
            answers: list[str] = []

            async def one() -> None:
                answers.append(await ask.verifier.verify(question))

            async def all_of_them() -> None:
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(one)
                    await trio.testing.wait_all_tasks_blocked()
                    gate.set()

            trio.run(all_of_them)
            assert answers == [""] * 10
            assert server.asked == 1

    def test_whoever_leaves_keeps_nobody_waiting(self) -> None:
        with issuer(jwk(RSA, kid="k1")) as server:
            gate = threading.Event()

            def slowly(handler: _Handler) -> None:
                gate.wait(10)
                handler.say(200, server.body)

            server.answer = slowly
            ask = Asking()
            question = asked(server.url, token("RS256", "k1"))

            async def leave() -> None:
                with trio.move_on_after(0.01) as scope:
                    await ask.verifier.verify(question)
                assert scope.cancelled_caught
                gate.set()
                assert await ask.verifier.verify(question) == ""

            trio.run(leave)


class TestTrouble:
    def test_old_keys_serve_while_the_issuer_is_away(self) -> None:
        ask = Asking()
        with issuer(jwk(RSA, kid="k1")) as server:
            url = server.url
            assert ask(url, token("RS256", "k1")) == ""
        ask.clock.now += 3600
        assert ask.verifier.verify_now(asked(url, token("RS256", "k1"))) is None
        assert ask(url, token("RS256", "k1")) == ""
        # For half a minute nobody is made to wait for it again.
        assert ask.verifier.verify_now(asked(url, token("RS256", "k1"))) == ""
        assert "refused" in ask.why_not(url, token("RS256", "new"))

    def test_but_not_for_ever(self) -> None:
        ask = Asking()
        with issuer(jwk(RSA, kid="k1")) as server:
            url = server.url
            assert ask(url, token("RS256", "k1")) == ""
        ask.clock.now += 86_400
        assert "refused" in ask.why_not(url, token("RS256", "k1"))

    def test_a_failure_is_not_repeated_for_everybody(self) -> None:
        with issuer() as server:
            server.answer = lambda handler: handler.say(503)
            ask = Asking()
            for _ in range(5):
                assert (
                    ask.why_not(server.url, token("RS256"))
                    == "the keys of localhost can't be had: the answer is 503"
                )
            assert server.asked == 1
            ask.clock.now += 5
            server.answer = lambda handler: handler.say(200, server.body)
            server.keys = [jwk(RSA)]
            assert ask(server.url, token("RS256")) == ""

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b"", "no JWK Set"),
            (b"<html>", "no JWK Set"),
            (b"[]", "no JWK Set"),
            (b'{"keys": {}}', "no JWK Set"),
            (b'{"keys": ["x"]}', "no JWK Set"),
            (b'{"keys": [' + b"{}," * 256 + b"{}]}", "more than 256 keys"),
            (b'{"keys": [], "x": "' + b"x" * 1_048_576 + b'"}', "more than 1048576 bytes"),
            (b"[" * 100_000, "no JWK Set"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_what_is_no_set_of_keys(self, body: bytes, why: str) -> None:
        with issuer() as server:
            server.answer = lambda handler: handler.say(200, body)
            assert why in Asking().why_not(server.url, token("RS256"))

    def test_an_endless_answer_ends(self) -> None:
        def endless(handler: _Handler) -> None:
            handler.send_response(200)
            handler.end_headers()
            try:
                while True:
                    handler.wfile.write(b" " * 65_536)
            except OSError:
                pass

        with issuer() as server:
            server.answer = endless
            assert "more than 1048576 bytes" in Asking().why_not(server.url, token("RS256"))

    def test_silence_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(key_fetch, "_TIMEOUT_SECONDS", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
            assert "timed out" in Asking().why_not(url, token("RS256"))

    def test_an_answer_in_drops_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(key_fetch, "_FETCH_SECONDS", 0.0)
        with issuer(jwk(RSA)) as server:
            assert "not there within 0 s" in Asking().why_not(server.url, token("RS256"))


class TestFetching:
    def test_over_tls_whom_it_trusts(self) -> None:
        authority = Authority()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.configure(context, "localhost")
        with issuer(jwk(RSA), tls=context) as server:
            assert Asking(context=authority.client_context())(server.url, token("RS256")) == ""
            assert "CERTIFICATE_VERIFY_FAILED" in Asking().why_not(server.url, token("RS256"))

    @pytest.mark.parametrize("form", ["file:{}", "file://{}"])
    def test_from_a_file(self, tmp_path: Path, form: str) -> None:
        path = tmp_path / "keys.json"
        url = form.format(path)
        ask = Asking()
        assert "No such file" in ask.why_not(url, token("RS256"))
        path.write_bytes(msgspec.json.encode({"keys": [jwk(RSA)]}))
        ask.clock.now += 5
        assert ask(url, token("RS256")) == ""

    def test_a_redirect_is_followed(self) -> None:
        with issuer(jwk(RSA)) as server:

            def moved(handler: _Handler) -> None:
                if handler.path == "/keys":
                    handler.say(302, location="/elsewhere")
                else:
                    handler.say(200, server.body)

            server.answer = moved
            assert Asking()(server.url, token("RS256")) == ""

    @pytest.mark.parametrize(
        ("location", "why"),
        [
            ("file:///etc/passwd", "the answer is 302"),
            ("ftp://localhost/keys", "over https only"),
            ("http://192.0.2.1/keys", "over https only"),
            ("https://localhost:1/keys", "another scheme"),
            ("/keys", "the answer is 302"),
        ],
    )
    def test_but_only_to_where_keys_may_come_from(self, location: str, why: str) -> None:
        with issuer(jwk(RSA)) as server:
            server.answer = lambda handler: handler.say(302, location=location)
            assert why in Asking().why_not(server.url, token("RS256"))

    @pytest.mark.parametrize(
        "url", ["http://192.0.2.1/keys", "http://idp.test/keys", "ftp://localhost/k", "http:/x"]
    )
    def test_nothing_is_asked_in_the_clear(self, url: str) -> None:
        assert "over https only" in Asking().why_not(url, token("RS256"))


def configured(*issuers: Issuer, where: str = "everywhere", enabled: bool = True) -> Config:
    """A configuration with jwt-auth somewhere."""
    entry = PluginEntry(name="jwt-auth", config=JwtAuth(issuers=list(issuers)), enabled=enabled)
    at = {where: [entry]}
    nested = Route(name="n", paths=["/n"], plugins=at.get("nested route", []))
    return Config(
        plugins=at.get("everywhere", []),
        routes=[Route(name="r", paths=["/"], plugins=at.get("route", []))],
        services=[Service(name="s", routes=[nested], plugins=at.get("service", []))],
    )


class TestInstallation:
    PUBLIC: Final = Issuer(issuer="a", audience="b", jwks_url="https://a.test/keys")
    OWN: Final = Issuer(issuer="c", audience="b", secret=Secret("s" * 32))

    @pytest.fixture
    def bare(self, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
        """Without PyJWT, as most are installed."""
        monkeypatch.setitem(sys.modules, "jwt.algorithms", None)
        public_keys.algorithms.cache_clear()
        yield
        public_keys.algorithms.cache_clear()

    @pytest.mark.usefixtures("bare")
    def test_without_the_extra_the_answer_is_how_to_get_it(self) -> None:
        with issuer(jwk(RSA)) as server:
            assert Asking().why_not(server.url, token("RS256")) == "install stargate-gateway[jwt]"
            assert server.asked == 0

    @pytest.mark.usefixtures("bare")
    @pytest.mark.parametrize("where", ["everywhere", "route", "nested route", "service"])
    def test_what_a_configuration_lacks_is_told(self, where: str) -> None:
        assert "install stargate-gateway[jwt]" in missing_for(configured(self.OWN, self.PUBLIC, where=where))
        assert missing_for(configured(self.OWN, where=where)) == ""
        assert missing_for(configured(self.PUBLIC, where=where, enabled=False)) == ""

    def test_nothing_is_lacking_here(self) -> None:
        assert missing_for(configured(self.PUBLIC)) == ""
