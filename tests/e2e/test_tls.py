"""TLS on both sides of the running gateway, every certificate made by a CA of the test's own."""

import contextlib
import socket
import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from support.gateway import RunningGateway, eventually, running_gateway
from support.raw import chat, connected, deltas, request
from support.simulator import RunningSimulator, running_simulator
from support.tls import Authority

OWN: Final = "gateway.test"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom clients trust."""
    return Authority()


@pytest.fixture(scope="module")
def gateway(simulator: RunningSimulator, authority: Authority) -> Generator[RunningGateway]:
    """A gateway with a certificate of its own and two for other names."""
    certificates = [
        {**authority.issue("one.test"), "snis": ["one.test"]},
        {**authority.issue("*.wild.test"), "snis": ["*.wild.test"]},
    ]
    settings = {"listen": [{"address": "127.0.0.1:0", "tls": authority.issue(OWN)}]}
    with running_gateway(simulator.url, gateway=settings, certificates=certificates) as running:
        yield running


def names_shown(gateway: RunningGateway, authority: Authority, name: str | None) -> list[str]:
    """The names in the certificate that a client gets which asks for this one."""
    context = authority.client_context()
    context.check_hostname = name is not None
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as sock:
        with context.wrap_socket(sock, server_hostname=name) as tls:
            shown: Any = tls.getpeercert()
    return [value for kind, value in shown["subjectAltName"] if kind == "DNS"]


class TestListening:
    @pytest.mark.parametrize(
        ("asked_for", "shown"),
        [
            (OWN, OWN),
            ("one.test", "one.test"),
            ("ONE.test", "one.test"),
            ("any.wild.test", "*.wild.test"),
            (None, OWN),
        ],
    )
    def test_the_certificate_is_the_one_for_the_name(
        self, gateway: RunningGateway, authority: Authority, asked_for: str | None, shown: str
    ) -> None:
        # Python's own check of the host's name has accepted it before we look.
        assert names_shown(gateway, authority, asked_for) == [shown]

    def test_an_unknown_name_gets_the_listeners_own(
        self, gateway: RunningGateway, authority: Authority
    ) -> None:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            names_shown(gateway, authority, "other.test")

    @pytest.mark.parametrize("name", [OWN, "one.test"])
    def test_answers_and_streams_come_through(
        self, gateway: RunningGateway, authority: Authority, name: str
    ) -> None:
        with connected(gateway.url, tls=authority.client_context(), name=name) as raw:
            for number in range(3):
                raw.send(request(body=chat(f"Number {number}")))
                whole = raw.answer().json()["choices"][0]["message"]["content"]
                raw.send(request(body=chat(f"Number {number}", stream=True)))
                assert deltas(raw.answer().body) == whole

    def test_large_bodies_come_through(self, gateway: RunningGateway, authority: Authority) -> None:
        with connected(gateway.url, tls=authority.client_context(), name=OWN) as raw:
            raw.send(request(body=chat("[[simulator: words=30000]]" + " filler" * 400_000)))
            answer = raw.answer()
            assert (answer.status, answer.whole) == (200, True)
            assert answer.json()["usage"]["completion_tokens"] == 30_000

    def test_it_says_goodbye_as_tls_does(self, gateway: RunningGateway, authority: Authority) -> None:
        """An end without close_notify could be anybody's cut."""
        with connected(gateway.url, tls=authority.client_context(), name=OWN) as raw:
            raw.send(request("GET", "/healthz", headers={"Connection": "close"}))
            assert raw.answer().status == 200
            assert raw.rest() == b""  # Python raises SSLEOFError where the goodbye is missing.

    @pytest.mark.parametrize("polite", [True, False])
    def test_a_client_that_leaves_is_noticed(
        self, gateway: RunningGateway, simulator: RunningSimulator, authority: Authority, polite: bool
    ) -> None:
        model = f"simulator.slow:ms.50:words.{403 + polite}"
        with connected(gateway.url, tls=authority.client_context(), name=OWN) as raw:
            raw.send(request(body=chat("Hello", model=model, stream=True)))
            raw.read_until(b"data: ")
            if polite:
                assert isinstance(raw.sock, ssl.SSLSocket)
                raw.sock.settimeout(0)
                with contextlib.suppress(ssl.SSLError):
                    raw.sock.unwrap()  # Says goodbye; the answer to it would come after the stream.
        assert gateway.record(model=model)["outcome"] == "client_left"
        calls = [call for call in simulator.requests() if call["model_id"] == model]
        eventually(
            lambda: [c["outcome"] for c in simulator.requests() if c["id"] == calls[0]["id"]] == ["cancelled"]
        )

    def test_only_http_1_1_is_offered(self, gateway: RunningGateway, authority: Authority) -> None:
        context = authority.client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with connected(gateway.url, tls=context, name=OWN) as raw:
            assert isinstance(raw.sock, ssl.SSLSocket)
            assert raw.sock.selected_alpn_protocol() == "http/1.1"
            assert raw.sock.version() == "TLSv1.3"

    def test_nothing_but_tls_is_taken(self, gateway: RunningGateway, authority: Authority) -> None:
        with connected(gateway.url) as raw:
            raw.send(request("GET", "/healthz"))
            assert b"HTTP" not in raw.rest()
        assert names_shown(gateway, authority, OWN) == [OWN]

    def test_old_versions_are_refused(self, gateway: RunningGateway) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with connected(gateway.url, tls=context, name=OWN):
                pass


class TestClientCertificates:
    @pytest.fixture(scope="class")
    @classmethod
    def mutual(cls, simulator: RunningSimulator, authority: Authority) -> Generator[RunningGateway]:
        """A gateway that wants to see a certificate."""
        tls = {**authority.issue(OWN), "client_ca": authority.text}
        certificates = [{**authority.issue("one.test"), "snis": ["one.test"]}]
        settings = {"listen": [{"address": "127.0.0.1:0", "tls": tls}]}
        with running_gateway(simulator.url, gateway=settings, certificates=certificates) as running:
            yield running

    @staticmethod
    def context(authority: Authority, signed_by: Authority | None, folder: Path) -> ssl.SSLContext:
        """A client's, with a certificate by `signed_by` or without one."""
        context = authority.client_context()
        if signed_by is not None:
            context.load_cert_chain(*signed_by.write(folder, "client.test"))
        return context

    @pytest.mark.parametrize("name", [OWN, "one.test"])
    def test_who_has_one_is_served(
        self, mutual: RunningGateway, authority: Authority, tmp_path: Path, name: str
    ) -> None:
        context = self.context(authority, authority, tmp_path)
        with connected(mutual.url, tls=context, name=name) as raw:
            raw.send(request("GET", "/healthz"))
            assert raw.answer().status == 200

    @pytest.mark.parametrize("name", [OWN, "one.test"])
    @pytest.mark.parametrize("stranger", [None, Authority()], ids=["none", "a stranger's"])
    def test_who_has_none_is_not(
        self, mutual: RunningGateway, authority: Authority, tmp_path: Path, name: str, stranger: Any
    ) -> None:
        context = self.context(authority, stranger, tmp_path)
        # Under TLS 1.3 a client is done before the server has judged it, and learns of it when it reads.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with connected(mutual.url, tls=context, name=name) as raw:
                raw.send(request("GET", "/healthz"))
                assert raw.sock.recv(1) == b"", "somebody without a certificate was served"
                raise ConnectionResetError


class TestCalling:
    @pytest.fixture(scope="class")
    @classmethod
    def simulator(
        cls, authority: Authority, tmp_path_factory: pytest.TempPathFactory
    ) -> Generator[RunningSimulator]:
        """A Bedrock behind TLS."""
        cert, key = authority.write(tmp_path_factory.mktemp("tls"), "localhost")
        with running_simulator("--tls-cert", str(cert), "--tls-key", str(key)) as running:
            # The certificate is for a name, so it must be called by it.
            running.url = running.url.replace("127.0.0.1", "localhost")
            yield running

    @pytest.fixture(scope="class")
    @classmethod
    def calling(cls, simulator: RunningSimulator, authority: Authority) -> Generator[RunningGateway]:
        """A gateway that trusts it."""
        with running_gateway(simulator.url, gateway={"upstream_tls": {"ca": authority.text}}) as running:
            yield running

    def test_a_trusted_upstream_is_called(self, simulator: RunningSimulator, authority: Authority) -> None:
        with running_gateway(simulator.url, gateway={"upstream_tls": {"ca": authority.text}}) as gateway:
            with gateway.openai() as client:
                question: Any = [{"role": "user", "content": "[[simulator: words=3000]]"}]
                whole = client.chat.completions.create(model="claude", messages=question)
                stream = client.chat.completions.create(model="claude", messages=question, stream=True)
                pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(pieces) == whole.choices[0].message.content

    @pytest.mark.parametrize(
        ("scenario", "outcome"),
        [
            # Over TLS an end without a goodbye is a cut, with one it is an end.
            ("cut-mid-frame", "upstream_stream_broken"),
            ("cut-between-frames", "upstream_stream_broken"),
            ("reset-mid-stream", "upstream_stream_broken"),
            ("stream-throttlingException", "rate_limit_exceeded"),
            ("close-after-answer", "stop"),
            ("close-on-reuse", "stop"),
            ("drip", "stop"),
        ],
    )
    def test_faults_are_what_they_are_without_it(
        self, calling: RunningGateway, scenario: str, outcome: str
    ) -> None:
        question: Any = [{"role": "user", "content": "Hello"}]
        seen: list[str | None] = []
        with calling.openai() as client:
            try:
                for chunk in client.chat.completions.create(
                    model=f"simulator.{scenario}", messages=question, stream=True
                ):
                    seen += [choice.finish_reason for choice in chunk.choices]
                seen = [reason for reason in seen if reason is not None]
            except openai.APIError as error:
                seen = [error.code]
            # And the next call is served, be it on a new connection.
            assert client.chat.completions.create(model="claude", messages=question).choices
        assert seen == [outcome]

    def test_a_ca_file_will_do(
        self, simulator: RunningSimulator, authority: Authority, tmp_path: Path
    ) -> None:
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        settings = {"upstream_tls": {"ca": str(tmp_path / "ca.pem")}}
        with running_gateway(simulator.url, gateway=settings) as gateway, connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello")))
            assert raw.answer().status == 200

    @pytest.mark.parametrize("why", ["an unknown CA", "another CA", "another name"])
    def test_an_upstream_that_cannot_be_trusted_is_not(
        self, simulator: RunningSimulator, authority: Authority, why: str
    ) -> None:
        url = simulator.url
        settings: dict[str, Any] = {}
        if why == "another CA":
            settings = {"upstream_tls": {"ca": Authority().text}}
        elif why == "another name":
            url = url.replace("localhost", "127.0.0.1")
            settings = {"upstream_tls": {"ca": authority.text}}
        with running_gateway(url, gateway=settings) as gateway, connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", stream=True)))
            answer = raw.answer()
            assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_tls_failed")
            assert answer.headers["x-should-retry"] == "false"
            record = gateway.record(cause="TLS_FAILED")
            assert "CERTIFICATE_VERIFY_FAILED" in record["detail"]

    def test_unless_it_was_told_to(self, simulator: RunningSimulator) -> None:
        settings = {"upstream_tls": {"verify": False}}
        with running_gateway(simulator.url, gateway=settings, tells="verif") as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                assert raw.answer().status == 200

    def test_an_upstream_that_speaks_no_tls(self) -> None:
        with running_simulator() as plain:
            with running_gateway(plain.url.replace("http://", "https://")) as gateway:
                with connected(gateway.url) as raw:
                    raw.send(request(body=chat("Hello")))
                    answer = raw.answer()
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_tls_failed")

    def test_an_upstream_that_is_silent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"https://127.0.0.1:{server.getsockname()[1]}"
            with running_gateway(url, gateway={"time_limits": {"connect": 0.3}}) as gateway:
                with connected(gateway.url) as raw:
                    raw.send(request(body=chat("Hello")))
                    answer = raw.answer()
        assert (answer.status, answer.json()["error"]["code"]) == (504, "CONNECT_TIMEOUT")
