"""Patterns by name: what is found, what only looks like it, and where a match ends."""

import pytest

from stargate_core.config.guards import PiiRedactor
from stargate_core.patterns.finder import Finder, Pattern
from stargate_core.patterns.named import NAMES, aws_secret, iban, ip_address, luhn, named, phone, us_ssn

FINDER = Finder([one for each in named().values() for one in each])
SAMPLES = {
    "email": ["ann@example.com", "j.o'neil+tag@mail.example.co.uk", "jürgen@müller.de", "x_1%y@a-b.museum"],
    "phone": ["+49 30 1234567", "+14155550100", "+44 (0)20 7946 0958", "(415) 555-0100", "415-555-0100",
              "1 415 555 0100", "0049 30 1234567", "030 1234567 89", "+1 (415) 555-0100"],
    "credit_card": ["4111111111111111", "4111 1111 1111 1111", "3782-822463-10005", "6011000990139424"],
    "iban": ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "de89370400440532013000",
             "NO9386011117947"],
    "us_ssn": ["123-45-6789", "219 09 9999"],
    "ip_address": ["10.0.0.1", "192.168.255.254", "fe80::1ff:fe23:4567:890a", "2001:db8::8329"],
    "aws_access_key": ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w", "eyJhbGciOiJub25lIn0.eyJhIjoxfQ."],
    "api_key": ["sk-proj-abcdefghijklmnop1234", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
                "xoxb-1234567890-abcdefghijkl", "sk_live_abcdefghijklmnop12",
                "AIzaSyA1234567890abcdefghijklmnopqrstu"],
    "aws_secret": ["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
}  # fmt: skip
LOOKALIKES = [
    "2024-01-02T10:30:22Z", "3.14159265358979", "version 1.2", "std::cout << x", "4111111111111112",
    "123-00-4567", "666-12-3456", "900-12-3456", "000-12-3456", "123-45-0000", "999.999.999.999",
    "1,234,567", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "a@b", "@example.com", "user@localhost",
    "DE00370400440532013000", "00000000000000000", "dead::beef", "::1", "AKIA", "sk-short",
    "eyJhbGciOiJub25lIn0", "toolu_01A09q90qw90lq917835", "it's 5 o'clock", "call_abc123",
    "0123456789abcdef0123456789abcdef", "10:30", "1.2.3", "$1234.56",
]  # fmt: skip


def told(pattern: Pattern, text: str) -> str:
    return f"<{pattern.name}:{text}>"


CASES = [(name, text) for name, texts in SAMPLES.items() for text in texts]


class TestSamples:
    def test_each_name_has_some(self) -> None:
        assert tuple(SAMPLES) == NAMES == tuple(named()) == tuple(PiiRedactor().patterns)

    @pytest.mark.parametrize(("name", "text"), CASES)
    @pytest.mark.parametrize("around", ["{}", "x {} y", "({}).", "to:{},", "\n{}\n", "„{}“"])
    def test_it_is_found_whatever_stands_around(self, name: str, text: str, around: str) -> None:
        found = FINDER.replaced(around.format(text), told)
        before, after = around.split("{}")
        assert found.startswith(f"{before}<{name}:"), found
        # A token of base64 takes a full stop with it.
        assert found.replace(">.", ".>") == f"{before}<{name}:{text}>{after}".replace(">.", ".>"), found

    @pytest.mark.parametrize("text", LOOKALIKES)
    def test_what_looks_like_one_stays(self, text: str) -> None:
        assert FINDER.replaced(f"so {text} it", told) == f"so {text} it"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("4111 1111 1111 1111 22", "<credit_card:4111 1111 1111 1111> 22"),
            ("12 4111 1111 1111 1111", "12 <credit_card:4111 1111 1111 1111>"),
            ("ann@example.com-x", "<email:ann@example.com>-x"),
            ("GB29 NWBK 6016 1331 9268 19 AND", "<iban:GB29 NWBK 6016 1331 9268 19> AND"),
            ("10.0.0.1:8080", "<ip_address:10.0.0.1>:8080"),
        ],
    )
    def test_a_match_ends_where_it_ends(self, text: str, expected: str) -> None:
        assert FINDER.replaced(text, told) == expected


class TestChecks:
    def test_luhn(self) -> None:
        assert luhn("4111-1111-1111-1111")
        assert not luhn("4111-1111-1111-1112")
        assert not luhn("0000 0000 0000 0000")
        assert not luhn("18")

    def test_iban(self) -> None:
        assert iban("DE89 3704 0044 0532 0130 00")
        assert not iban("DE88 3704 0044 0532 0130 00")
        assert not iban("DE89")

    def test_us_ssn(self) -> None:
        assert us_ssn("123-45-6789")
        assert not us_ssn("901-45-6789")

    def test_phone(self) -> None:
        assert phone("+1234567")
        assert not phone("+123456")
        assert not phone("+1234567890123456")

    def test_ip_address(self) -> None:
        assert ip_address("::ffff:10.0.0.1")
        assert not ip_address("a::b")
        assert not ip_address("1::g")
        assert not ip_address("1:2:3")

    def test_aws_secret(self) -> None:
        assert aws_secret("aB1" * 13)
        assert not aws_secret("ab1")
        assert not aws_secret("AB1")
        assert not aws_secret("aB")
