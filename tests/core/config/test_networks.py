"""Networks: what is among them, against the standard library's own answer, and what is no network."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.networks import Networks, misfits_of, parse_ip

IPV4 = st.ip_addresses(v=4)
WRITTEN = st.lists(
    st.one_of(
        st.builds(
            lambda ip, n: str(ipaddress.ip_network(f"{ip}/{n}", strict=False)), IPV4, st.integers(0, 32)
        ),
        st.builds(
            lambda ip, n: str(ipaddress.ip_network(f"{ip}/{n}", strict=False)),
            st.ip_addresses(v=6),
            st.integers(0, 128),
        ),
    ),
    max_size=5,
)


class TestHas:
    @given(WRITTEN, st.ip_addresses())
    def test_what_the_standard_library_says(
        self, written: list[str], address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        address = parse_ip(str(address))
        # Networks of mapped addresses are ours to translate: see below.
        networks = [ipaddress.ip_network(text) for text in written if not text.startswith("::ffff:")]
        told = Networks(str(network) for network in networks)
        assert told.has(address) == any(address in network for network in networks)

    @given(IPV4, IPV4, st.integers(0, 32))
    def test_ipv4_in_ipv6_is_ipv4(
        self, address: ipaddress.IPv4Address, base: ipaddress.IPv4Address, length: int
    ) -> None:
        network = ipaddress.ip_network(f"{base}/{length}", strict=False)
        mapped = f"::ffff:{network.network_address}/{96 + length}"
        told = address in network
        assert Networks([mapped]).has(parse_ip(str(address))) == told
        assert Networks([str(network)]).has(parse_ip(f"::ffff:{address}")) == told
        assert Networks([mapped]).has(parse_ip(f"::ffff:{address}")) == told

    def test_a_socket_without_an_address(self) -> None:
        assert Networks(["unix:"]).has(None)
        assert not Networks(["0.0.0.0/0", "::/0"]).has(None)

    def test_none_at_all(self) -> None:
        assert Networks([]).is_empty
        assert not Networks(["unix:"]).is_empty
        assert not Networks([]).has(parse_ip("192.0.2.1"))

    def test_a_long_prefix_that_maps_nothing_is_ipv6(self) -> None:
        assert Networks(["2001:db8::1"]).has(parse_ip("2001:db8::1"))
        assert not Networks(["2001:db8::1"]).has(parse_ip("2001:db8::2"))


class TestParseIp:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]:1", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ],
    )
    def test_forms(self, text: str, address: str) -> None:
        assert parse_ip(text) == ipaddress.ip_address(address)

    @pytest.mark.parametrize(
        "text", ["", "unknown", "_hidden", "192.0.2", "1.2.3.4.5", "192.0.2.1:x", "0x7f.1"]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".*"):
            parse_ip(text)


class TestMisfits:
    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("10.0.0.1/8", "write 10.0.0.0/8, or the address alone"),
            ("10.1.*", "write 10.1.0.0/16"),
            ("10.*.*.*", "write 10.0.0.0/8"),
            ("10.0.0.0/33", ""),
            ("example.com", ""),
        ],
    )
    def test_a_cure_where_one_can_be_guessed(self, text: str, hint: str) -> None:
        (misfit,) = misfits_of(["192.0.2.0/24", "unix:", text], "allow")
        assert (misfit.path, misfit.found, misfit.hint) == (("allow", 2), text, hint)
