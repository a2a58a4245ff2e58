"""`stargate bench` as a person runs it: the command in a process of its own, and the real gateway.

No figure is judged here but for what must hold on any machine; whether figures are right is tested in virtual
time (tests/shells/benching).
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from support.gateway import KEY, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.simulator import running_simulator
from support.tls import Authority

PATIENCE_SECONDS: Final = 60
SHORT: Final = ("--rate", "20", "--duration", "1")


def command(url: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "stargate", "bench", url, "--model", "claude", *options]


def environment(key: str = KEY, **more: str) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if name != "STARGATE_KEY"}
    return {**known, "OPENAI_API_KEY": key, **more}


def bench(url: str, *options: str, key: str = KEY, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(url, *options),
        env=environment(key, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def measured(url: str, *options: str, **more: Any) -> dict[str, Any]:
    """The report of a run in which everything was answered."""
    ran = bench(url, *SHORT, "--json", "-", *options, **more)
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    assert report["answered"] == report["due"] > 0, report["errors"]
    return report


class TestMeasuring:
    def test_streams(self, gateway: RunningGateway) -> None:
        report = measured(gateway.url, "--max-tokens", "30")
        first, between, whole = (
            report[name] for name in ("first_token_ms", "between_events_ms", "whole_answer_ms")
        )
        assert first["count"] == whole["count"] == report["answered"]
        assert 0 < first["p50"] <= whole["p50"] <= whole["p99"] <= whole["max"]
        assert between["count"] > report["answered"]
        assert report["are_tokens_told"]
        assert 0 < report["output_tokens"] <= 30 * report["answered"]

    def test_a_server_that_tells_no_usage(self, gateway: RunningGateway) -> None:
        report = measured(gateway.url, "--body", '{"stream_options": null}')
        assert not report["are_tokens_told"]
        assert report["output_tokens"] == report["between_events_ms"]["count"] + report["answered"]

    def test_whole_answers(self, gateway: RunningGateway) -> None:
        report = measured(f"{gateway.url}/v1", "--no-stream", "--arrivals", "constant")
        assert (report["due"], report["first_token_ms"]["count"]) == (20, 0)
        assert report["output_tokens"] > 0

    def test_what_a_model_takes_is_in_the_figures(self) -> None:
        """A model that thinks first: nobody can have had a token before, however fast the machine is."""
        with (
            running_simulator("--first-token-ms", "200") as simulator,
            running_gateway(simulator.url) as gateway,
        ):
            report = measured(gateway.url)
        assert report["first_token_ms"]["p50"] >= 199, "within 0.4 %"
        assert report["whole_answer_ms"]["p50"] >= 199

    def test_requests_reach_the_gateway_as_told(self) -> None:
        """One more than was measured: whether it works at all was asked first."""
        with running_simulator() as simulator, running_gateway(simulator.url) as gateway:
            report = measured(f"{gateway.url}/v1/chat/completions", "--prompt-tokens", "200")
            records = eventually(lambda: len(gateway.records()) == report["due"] + 1 and gateway.records())
            assert {record["status"] for record in records} == {200}
            asked = simulator.requests()
            assert len(asked) == len(records)

    def test_a_table_and_a_picture(self, gateway: RunningGateway, tmp_path: Path) -> None:
        picture, figures = tmp_path / "run.svg", tmp_path / "run.json"
        ran = bench(gateway.url, *SHORT, "--plot", str(picture), "--json", str(figures))
        assert (ran.returncode, ran.stderr) == (0, "")
        names = [line.split("  ")[0] for line in ran.stdout.splitlines()]
        assert {"first token", "between events", "whole answer", "requests/s", "output tokens/s"} <= set(
            names
        )
        assert ET.parse(picture).getroot().tag.endswith("svg")
        assert json.loads(figures.read_text())["answered"] > 0
        assert KEY not in ran.stdout + figures.read_text() + picture.read_text()

    def test_failures_are_told_by_kind(self) -> None:
        with (
            running_simulator() as simulator,
            running_gateway(
                simulator.url, plugins=[{"name": "rate-limiter", "config": {"minute": 6}}]
            ) as gateway,
        ):
            ran = bench(gateway.url, *SHORT, "--arrivals", "constant")
        assert ran.returncode == 0, ran.stderr
        assert ": 20 due, 5 answered, 15 failed" in ran.stdout
        [line] = [line for line in ran.stdout.splitlines() if "status 429" in line]
        assert line.split()[:3] == ["15", "status", "429:"]


class TestMistakes:
    """One line, and a status, and nothing is sent beyond one request."""

    @staticmethod
    def refused(*arguments: str, **more: Any) -> str:
        ran = bench(*arguments, **more)
        assert (ran.returncode, ran.stdout) == (1, "")
        [line] = ran.stderr.splitlines()
        assert line.startswith("Error: ")
        return line

    def test_a_wrong_key(self, gateway: RunningGateway) -> None:
        assert "it refuses the key (--key)" in self.refused(gateway.url, key="sk-nobodys")

    def test_a_key_that_is_said_again_is_not_shown(self) -> None:
        body = b'{"error": {"message": "Incorrect API key provided: %b. Ask for another."}}' % KEY.encode()
        with answering(b"HTTP/1.1 401 No\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)) as url:
            assert self.refused(url).endswith("Incorrect API key provided: …. Ask for another.")

    def test_a_key_for_other_models(self, gateway: RunningGateway) -> None:
        line = self.refused(gateway.url, "--model", "nova", key=NARROW_KEY)
        assert "(--model): status 40" in line

    def test_a_path_without_an_endpoint(self, gateway: RunningGateway) -> None:
        assert "it knows no such path, or no such model (--model)" in self.refused(f"{gateway.url}/nowhere")

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        assert "it cannot be reached: cannot connect: " in self.refused(f"http://127.0.0.1:{port}")

    def test_something_else_is_there(self) -> None:
        with answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as url:
            assert "bad answer" in self.refused(url)

    def test_nobody_who_speaks_tls(self, gateway: RunningGateway) -> None:
        assert "speaks no TLS" in self.refused(gateway.url.replace("http://", "https://"))

    def test_nobody_who_answers(self) -> None:
        with answering(b"") as url:
            assert "it does not answer in time (--timeout)" in self.refused(url, "--timeout", "0.2")

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["127.0.0.1:8080"], "URL"),
            (["http://127.0.0.1:9", "--rate", "0"], "--rate"),
            (["http://127.0.0.1:9", "--rate", "nan"], "--rate"),
            (["http://127.0.0.1:9", "--duration", "1e-9"], "--duration"),
            (["http://127.0.0.1:9", "--timeout", "inf"], "--timeout"),
            (["http://127.0.0.1:9", "--model", "m", "--prompt-tokens", "0"], "--prompt-tokens"),
            (["http://127.0.0.1:9", "--json", "/nowhere/at/all.json"], "--json"),
            (["http://127.0.0.1:9", "--plot", "/nowhere/at/all.svg"], "--plot"),
            (["http://127.0.0.1:9", "--key", "sk\nx"], "--key"),
            (["http://127.0.0.1:9", "--body", "[1]"], "--body"),
        ],
    )
    def test_wrong_options(self, arguments: list[str], word: str) -> None:
        ran = bench(*arguments)
        assert ran.returncode == 2
        assert word in ran.stderr.splitlines()[-1]


class TestTls:
    def test_a_certificate_that_the_system_trusts(self, tmp_path: Path) -> None:
        """`SSL_CERT_FILE` says whom to trust."""
        authority = Authority()
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        body = b'{"choices": [], "usage": {"completion_tokens": 3}}'
        with answering(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body), authority
        ) as url:
            report = measured(url, "--no-stream", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
            assert report["output_tokens"] == 3 * report["answered"]
            ran = bench(url, "--no-stream")
            assert ran.returncode == 1
            assert "its certificate is not accepted" in ran.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals to look like here")
class TestWatching:
    def test_ctrl_c_tells_what_was_measured_so_far(self, gateway: RunningGateway) -> None:
        running = subprocess.Popen(
            command(gateway.url, "--rate", "50", "--duration", "3600"),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        before = len(gateway.records())
        eventually(lambda: len(gateway.records()) > before + 5 or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE_SECONDS)
        assert (running.returncode, err) == (130, "")
        answered = next(line for line in out.splitlines() if " answered, 0 failed, " in line)
        assert "under way when it was interrupted" in answered
        assert int(answered.split(" answered")[0].rpartition(" ")[2].replace(",", "")) > 0

    def test_ctrl_c_before_there_is_anything(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(PATIENCE_SECONDS)
            running = subprocess.Popen(
                command(f"http://127.0.0.1:{server.getsockname()[1]}"),
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            connection, _ = server.accept()
            with connection:
                assert connection.recv(65_536)
                running.send_signal(signal.SIGINT)
                out, err = running.communicate(timeout=PATIENCE_SECONDS)
        assert (running.returncode, err) == (130, "")
        assert ": 0 due, 0 answered, 0 failed, 0 under way when it was interrupted" in out

    def test_a_terminal_shows_how_far_it_is(self, gateway: RunningGateway) -> None:
        ours, theirs = os.openpty()
        shown = bytearray()

        def read() -> None:
            try:
                while data := os.read(ours, 65_536):
                    shown.extend(data)
            except OSError:
                pass  # how Linux tells that nobody holds the other end

        reader = threading.Thread(target=read)
        reader.start()
        running = subprocess.Popen(
            command(gateway.url, *SHORT), env=environment(), stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)
        out, _ = running.communicate(timeout=PATIENCE_SECONDS)
        reader.join(PATIENCE_SECONDS)
        os.close(ours)
        assert running.returncode == 0
        assert b" of 1 s: " in shown
        assert b" answered, 0 failed, " in shown
        assert "\r" not in out


@contextmanager
def answering(answer: bytes, authority: Authority | None = None) -> Generator[str]:
    """A server that says the same to everybody, whatever they ask; nothing: it never answers."""
    context: ssl.SSLContext | None = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.configure(context, "127.0.0.1")

    def serve(connection: socket.socket) -> None:
        try:
            with connection if context is None else context.wrap_socket(connection, server_side=True) as peer:
                while peer.recv(65_536):
                    peer.sendall(answer)
        except OSError:
            pass  # the client has seen enough

    def accept() -> None:
        try:
            while True:
                connection, _ = server.accept()
                threading.Thread(target=serve, args=[connection], daemon=True).start()
        except OSError:
            pass  # the test is over

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http{'s' if authority is not None else ''}://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
