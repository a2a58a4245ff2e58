"""Where a gateway can listen: several addresses at once, unix sockets, IPv6."""

import os
import socket
from pathlib import Path

import pytest

from support.gateway import running_gateway
from support.raw import chat, connected, deltas, request
from support.simulator import RunningSimulator


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_several_at_once(simulator: RunningSimulator, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    listen = ["127.0.0.1:0", f"unix:{path}", {"address": "localhost:0"}]
    with running_gateway(simulator.url, gateway={"listen": listen}) as gateway:
        assert len(gateway.urls) >= 3
        assert gateway.urls[1] == f"unix:{path}"
        for url in gateway.urls:
            with connected(url) as raw:
                raw.send(request(body=chat("Hello", stream=True)))
                assert "“Hello”" in deltas(raw.answer().body)


class TestUnix:
    def test_the_log_names_no_address(self, simulator: RunningSimulator, tmp_path: Path) -> None:
        path = tmp_path / "gateway.sock"
        with running_gateway(simulator.url, gateway={"listen": [f"unix:{path}"]}) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                identifier = raw.answer().headers["x-request-id"]
            assert gateway.record(request_id=identifier)["client"] == "unix"

    def test_what_a_dead_process_has_left_is_replaced(
        self, simulator: RunningSimulator, tmp_path: Path
    ) -> None:
        path = tmp_path / "gateway.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        assert path.exists()
        with running_gateway(simulator.url, gateway={"listen": [f"unix:{path}"]}) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request("GET", "/healthz"))
                assert raw.answer().status == 200

    @pytest.mark.parametrize("kind", ["a file", "a live socket"])
    def test_what_is_somebodys_is_not(self, simulator: RunningSimulator, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "gateway.sock"
        with socket.socket(socket.AF_UNIX) as live:
            if kind == "a file":
                path.write_text("mine")
            else:
                live.bind(str(path))
                live.listen()
            with pytest.raises(AssertionError, match="Address already in use"):
                with running_gateway(simulator.url, gateway={"listen": [f"unix:{path}"]}):
                    pass
            assert path.exists()
            assert os.path.isfile(path) == (kind == "a file")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(simulator: RunningSimulator) -> None:
    with running_gateway(simulator.url, gateway={"listen": ["[::1]:0"]}) as gateway:
        assert gateway.url.startswith("http://[::1]:")
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello")))
            identifier = raw.answer().headers["x-request-id"]
        assert gateway.record(request_id=identifier)["client"] == "::1"
