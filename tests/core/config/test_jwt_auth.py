"""jwt-auth's config: defaults, and every way to believe too much refused."""

from typing import Any, Final

import pytest

from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.problems import Misfit
from stargate_core.secret import Secret
from support.config import examined, loaded, said

LONG: Final = Secret("s" * 64)
ISSUER: Final = "https://idp.test"


def issuer(**members: Any) -> Issuer:
    """An issuer with public keys, or what these make of it."""
    given = {"issuer": ISSUER, "audience": "stargate", "jwks_url": "https://idp.test/keys", **members}
    return Issuer(**{name: value for name, value in given.items() if value is not None})


class TestDefaults:
    def test_of_the_plugin(self) -> None:
        config = JwtAuth()
        assert config.issuers == []
        assert config.header_names == ["authorization", "x-api-key", "api-key"]
        assert config.token_bytes_max == 8192

    def test_of_an_issuer(self) -> None:
        found = issuer()
        assert (found.leeway_seconds, found.consumer_claim) == (30, "sub")
        assert found.accepted == ("RS256", "PS256", "ES256", "EdDSA")
        assert issuer(jwks_url=None, secret=LONG).accepted == ("HS256",)

    def test_it_is_written_like_this(self) -> None:
        config = loaded(
            """
            consumers: [{username: ann}]
            plugins:
              - name: jwt-auth
                config:
                  realm: the house
                  issuers:
                    - issuer: https://idp.test/
                      audience: stargate
                      jwks_url: https://idp.test/.well-known/jwks.json
                      algorithms: [ES256]
                      consumers: {u-7: ann}
                    - issuer: own
                      audience: [stargate, llm]
                      secret: ${SECRET}
                      leeway_seconds: 0
                      consumer: ann
            """,
            SECRET="s" * 32,
        )
        auth = config.plugins[0].config
        assert isinstance(auth, JwtAuth)
        first, second = auth.issuers
        assert (first.audiences, first.accepted) == (("stargate",), ("ES256",))
        assert second.audiences == ("stargate", "llm")
        assert second.secret == Secret("s" * 32)


class TestIssuers:
    @pytest.mark.parametrize(
        "url",
        [
            "https://idp.test",
            "https://idp.test:8443/a/b?c=d",
            "https://[::1]:1/keys",
            "file:/etc/stargate/keys.json",
            "file:///etc/stargate/keys.json",
            "http://127.0.0.1:9000/keys",
            "http://localhost/keys",
        ],
    )
    def test_keys_come_over_tls_from_a_file_or_from_this_machine(self, url: str) -> None:
        assert issuer(jwks_url=url).jwks_url == url

    @pytest.mark.parametrize(
        "url",
        [
            "http://idp.test/keys",
            "http://127.0.0.1.idp.test/keys",
            "http://localhost@idp.test/keys",
            "ftp://idp.test/keys",
            "file:keys.json",
            "file://host/keys.json",
            "/etc/keys.json",
            "https://",
            "https://user:pass@idp.test/keys",
            "https://idp.test/keys#a",
            "https://idp.test/ke ys",
            "https://idp.test:99999/keys",
            "",
        ],
    )
    def test_and_from_nowhere_else(self, url: str) -> None:
        with pytest.raises(Misfit, match="jwks_url: expected https"):
            issuer(jwks_url=url)

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"jwks_url": None}, "exactly one of jwks_url and secret"),
            ({"secret": LONG}, "exactly one of jwks_url and secret"),
            ({"algorithms": ["HS256"]}, "expected one with a public key"),
            ({"algorithms": ["RS256", "HS512"]}, "expected one with a public key"),
            ({"jwks_url": None, "secret": LONG, "algorithms": ["RS256"]}, "expected HS256, HS384 or HS512"),
            ({"jwks_url": None, "secret": Secret("s" * 31)}, "at least 32 bytes"),
            ({"jwks_url": None, "secret": Secret("s" * 47), "algorithms": ["HS256", "HS384"]}, "at least 48"),
            ({"jwks_url": None, "secret": Secret("s" * 63), "algorithms": ["HS512"]}, "at least 64 bytes"),
            ({"consumer": "a", "consumers": {"b": "c"}}, "either consumer or consumers"),
        ],
    )
    def test_what_does_not_fit_together(self, members: dict[str, Any], message: str) -> None:
        with pytest.raises(Misfit, match=message):
            issuer(**members)

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ("{issuer: a, jwks_url: 'https://h'}", "audience: this setting is required, and missing"),
            ("{issuer: a, audience: [], jwks_url: 'https://h'}", "audience: expected"),
            (
                "{issuer: a, audience: b, jwks_url: 'https://h', algorithms: [none]}",
                "algorithms[0]: expected one of",
            ),
            (
                "{issuer: a, audience: b, jwks_url: 'https://h', leeway_seconds: 301}",
                "an integer from 0 to 300",
            ),
            ("{issuer: a, audience: b, jwks_url: 'http://h'}", "jwks_url: expected https://host/path"),
        ],
    )
    def test_what_a_file_is_told(self, written: str, message: str) -> None:
        text = f"plugins: [{{name: jwt-auth, config: {{issuers: [{written}]}}}}]"
        assert any(message in one for one in said(examined(text).problems))

    def test_a_secret_is_never_shown(self) -> None:
        text = "plugins: [{name: jwt-auth, config: {issuers: [{issuer: a, audience: b, secret: hunter2}]}}]"
        problems = said(examined(text).problems)
        assert any("at least 32 bytes" in one for one in problems)
        assert "hunter2" not in "".join(problems)
