"""Addresses, with the operating system as the oracle for what can be bound."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.addresses import TcpAddress, UnixAddress, is_local, parse_address
from stargate_core.config.problems import Misfit


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
            ("0.0.0.0:0", TcpAddress("0.0.0.0", 0)),
            ("localhost:65535", TcpAddress("localhost", 65535)),
            ("gate-1.internal:80", TcpAddress("gate-1.internal", 80)),
            ("[::1]:8080", TcpAddress("::1", 8080)),
            ("[::]:443", TcpAddress("::", 443)),
            ("unix:/run/stargate.sock", UnixAddress("/run/stargate.sock")),
            ("unix:/a:b", UnixAddress("/a:b")),
        ],
    )
    def test_the_three_forms(self, text: str, address: object) -> None:
        assert parse_address(text) == address

    @given(st.ip_addresses(v=4), st.integers(0, 65535))
    def test_every_ipv4_address(self, host: object, port: int) -> None:
        assert parse_address(f"{host}:{port}") == TcpAddress(str(host), port)

    @given(st.ip_addresses(v=6), st.integers(0, 65535))
    def test_every_ipv6_address(self, host: object, port: int) -> None:
        assert parse_address(f"[{host}]:{port}") == TcpAddress(str(host), port)

    def test_a_unix_path_is_as_long_as_the_system_allows(self) -> None:
        path = f"/nowhere/{'x' * 98}"
        parse_address(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as client:
            with pytest.raises(FileNotFoundError):  # short enough to be looked for
                client.connect(path)
            with pytest.raises(OSError, match="too long"):
                client.connect(f"{path}xx")
        with pytest.raises(Misfit, match="at most 107 bytes"):
            parse_address(f"unix:{path}x")


class TestRefusal:
    @pytest.mark.parametrize(
        ("text", "expected", "hint"),
        [
            ("", "expected host:port", ""),
            ("8080", "expected host:port", "write 127.0.0.1:8080"),
            ("localhost", "expected host:port", "write localhost:8080"),
            (":8080", "expected a host before the colon", "write 127.0.0.1:8080 for this machine only"),
            ("*:80", "expected a host before the colon", "0.0.0.0:80 for every interface"),
            ("h:", "expected a port from 0 to 65535", ""),
            ("h:65536", "expected a port from 0 to 65535", ""),
            ("h:http", "expected a port from 0 to 65535", ""),
            ("h:٣", "expected a port from 0 to 65535", ""),
            ("::1:8080", "expected host:port", "brackets"),
            ("[::1]", "expected host:port", "write [::1]:8080"),
            ("[127.0.0.1]:80", "expected an IPv6 address in the brackets", ""),
            ("256.0.0.1:80", "expected an IPv4 address", ""),
            ("1.2.3:80", "expected an IPv4 address", ""),
            ("http://h:80", "expected host:port", ""),
            ("a b:80", "expected a host name", ""),
            ("-a:80", "expected a host name", ""),
            ("a/b:80", "expected a host name", ""),
            ("unix:", "expected an absolute path", ""),
            ("unix:run/x", "expected an absolute path", ""),
        ],
    )
    def test_it_says_what_to_write(self, text: str, expected: str, hint: str) -> None:
        with pytest.raises(Misfit) as caught:
            parse_address(text, "listen")
        assert caught.value.path == ("listen",)
        assert expected in caught.value.expected
        assert hint in caught.value.hint

    @given(st.text(st.sampled_from("[]:.unix/-019af %\0\n*") | st.characters()))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        try:
            parse_address(text)
        except Misfit as misfit:
            assert misfit.expected


class TestReach:
    @pytest.mark.parametrize("text", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/x"])
    def test_only_this_machine(self, text: str) -> None:
        assert is_local(parse_address(text))

    @pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "gate.example:1", "127.example:1"])
    def test_others_too(self, text: str) -> None:
        assert not is_local(parse_address(text))
