"""Tokens: who is let in, who is not, and what each is told. PyJWT writes them, as the oracle."""

import base64
from typing import Any, Final

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stargate_core.clock import SECOND
from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.schema import (
    Config,
    Consumer,
    Gateway,
    KeyCredential,
    PluginEntry,
    Route,
    Service,
    TimeLimits,
)
from stargate_core.questions import VerifyToken
from stargate_core.secret import Secret
from support.machines import LOG, WALL_EPOCH_NS, Bench, a_plan, chat, converse, proxy

NOW: Final = WALL_EPOCH_NS // SECOND
SECRET: Final = "a-secret-that-has-64-bytes-for-the-longest-of-the-three-algorithms"
JWKS: Final = "https://idp.test/keys"

CONSUMERS: Final = [
    Consumer(
        username="ann",
        custom_id="user-1",
        keyauth_credentials=[KeyCredential(key=Secret("key-ann"))],
        models=["anthropic.*"],
    ),
    Consumer(username="bob", keyauth_credentials=[KeyCredential(key=Secret("key-bob"))]),
]


def own(**members: Any) -> Issuer:
    """An issuer with a secret."""
    return Issuer(
        **{"issuer": "https://own.test", "audience": "stargate", "secret": Secret(SECRET), **members}
    )


def idp(**members: Any) -> Issuer:
    """An issuer with public keys."""
    return Issuer(
        **{"issuer": "https://idp.test", "audience": ["stargate", "llm"], "jwks_url": JWKS, **members}
    )


def jwt_auth(*issuers: Issuer, **members: Any) -> PluginEntry:
    config = JwtAuth(issuers=list(issuers) or [own(), idp()], **members)
    return PluginEntry(name="jwt-auth", config=config)


API_KEY_AUTH: Final = PluginEntry(name="api-key-auth", config=ApiKeyAuth())


def bench(*entries: PluginEntry, **members: Any) -> Bench:
    """A gateway with these plugins."""
    gateway = Gateway(time_limits=TimeLimits(client_idle=86_400))
    plugins = [proxy(), LOG, *(entries or (jwt_auth(),))]
    return Bench(a_plan(Config(consumers=CONSUMERS, plugins=plugins, gateway=gateway, **members)))


def signed(algorithm: str = "HS256", secret: Any = SECRET, headers: Any = None, **claims: Any) -> str:
    """A token of the issuer with a secret; claims of None are left out."""
    given = {"iss": "https://own.test", "aud": "stargate", "sub": "ann", "exp": NOW + 600, **claims}
    given = {name: value for name, value in given.items() if value is not None}
    # PyJWT has opinions of its own about claims, so it gets the bytes.
    return jwt.api_jws.encode(msgspec.json.encode(given), secret, algorithm=algorithm, headers=headers)


def part(value: Any) -> str:
    """A part of a token, from JSON."""
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).rstrip(b"=").decode()


def shown(machine: Bench, *headers: str) -> Bench:
    """The gateway is asked with these header lines beside the usual ones."""
    head, _, rest = chat().partition(b"\r\n\r\n")
    lines = "".join(f"\r\n{line}" for line in headers).encode()
    machine.ask(head + lines + b"\r\n\r\n" + rest)
    return machine


def bearing(token: str, machine: Bench | None = None) -> Bench:
    """The gateway is asked with this token."""
    return shown(machine or bench(), f"authorization: Bearer {token}")


def let_in(machine: Bench) -> str:
    """The consumer whose call is on its way."""
    assert len(machine.asked) == 1
    machine.leave()
    return str(machine.record["consumer"])


def refused(machine: Bench, status: int, cause: str, detail: str = "") -> None:
    """The caller was refused, for this reason."""
    assert machine.opened == []
    assert "consumer" not in machine.record
    assert (machine.only.status, machine.record["cause"]) == (status, cause)
    assert detail in machine.record.get("detail", "")


class TestSecret:
    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_what_its_secret_has_signed_is_believed(self, algorithm: str) -> None:
        machine = bench(jwt_auth(own(algorithms=["HS256", "HS384", "HS512"])))
        assert let_in(bearing(signed(algorithm), machine)) == "ann"
        assert machine.record["key_id"] == "jwt:ann"

    @pytest.mark.parametrize(
        "header",
        ["authorization: bearer {}", "Authorization: BEARER  {}", "x-api-key: {}", "api-key: {}"],
    )
    def test_in_each_header_that_programs_use(self, header: str) -> None:
        assert let_in(shown(bench(), header.format(signed()))) == "ann"

    def test_one_token_in_two_headers_is_one_token(self) -> None:
        token = signed()
        assert let_in(shown(bench(), f"authorization: Bearer {token}", f"x-api-key: {token}")) == "ann"

    @pytest.mark.parametrize("header", ["authorization: Basic {}", "authorization: {}", "x-token: {}"])
    def test_and_nowhere_else(self, header: str) -> None:
        refused(shown(bench(), header.format(signed())), 401, "KEY_MISSING")

    def test_two_tokens_prove_nothing(self) -> None:
        lines = f"authorization: Bearer {signed()}", f"x-api-key: {signed(sub='bob')}"
        refused(shown(bench(), *lines), 401, "KEYS_DISAGREE")

    @pytest.mark.parametrize("secret", ["another-secret-that-is-long-enough-for-it", SECRET[:-1]])
    def test_what_another_has_signed_is_not(self, secret: str) -> None:
        refused(bearing(signed(secret=secret)), 401, "TOKEN_INVALID", "signature does not match")

    def test_what_was_changed_on_its_way_is_not(self) -> None:
        header, claims, signature = signed().split(".")
        forged = part({**jwt.decode(signed(), options={"verify_signature": False}), "sub": "bob"})
        refused(bearing(f"{header}.{forged}.{signature}"), 401, "TOKEN_INVALID", "signature does not match")
        refused(bearing(f"{header}.{claims}.{signature[:-4]}"), 401, "TOKEN_INVALID")

    def test_what_the_consumer_may_not_call_is_still_forbidden(self) -> None:
        machine = bench()
        machine.ask(chat(headers={"authorization": f"Bearer {signed()}"}, model="amazon.nova-lite-v1:0"))
        assert (machine.only.status, machine.record["cause"]) == (403, "MODEL_FORBIDDEN")

    def test_a_token_goes_no_further(self) -> None:
        token = signed()
        machine = bearing(token)
        machine.open()
        assert token not in str(machine.call.headers)


class TestClaims:
    @pytest.mark.parametrize(
        ("claims", "detail"),
        [
            ({"iss": None}, "iss"),
            ({"iss": "https://own.test/"}, "iss"),
            ({"iss": ["https://own.test"]}, "iss"),
            ({"aud": None}, "aud"),
            ({"aud": "Stargate"}, "aud"),
            ({"aud": ["a", "b"]}, "aud"),
            ({"aud": []}, "aud"),
            ({"aud": {"stargate": 1}}, "aud"),
            ({"aud": [["stargate"]]}, "aud"),
            ({"exp": None}, "exp"),
            ({"exp": "2100-01-01"}, "exp is no time"),
            ({"exp": True}, "exp is no time"),
            ({"exp": -1}, "exp is no time"),
            ({"exp": 2**60}, "exp is no time"),
            ({"nbf": "soon"}, "nbf is no time"),
            ({"iat": [1]}, "iat is no time"),
            ({"iat": NOW + 29, "exp": NOW + 28}, "iat, exp"),
        ],
    )
    def test_one_that_is_wrong_is_401(self, claims: dict[str, Any], detail: str) -> None:
        refused(bearing(signed(**claims)), 401, "TOKEN_INVALID", detail)

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": ["other", "stargate"]},
            {"exp": NOW + 0.5},
            {"exp": NOW - 29},
            {"nbf": NOW + 30},
            {"iat": NOW + 30},
            {"iat": NOW - 86_400 * 365},
            {"nbf": 0},
            {"jti": "x", "scope": "y", "nested": {"a": [1]}},
        ],
    )
    def test_one_that_is_right_or_nearly_so_is_believed(self, claims: dict[str, Any]) -> None:
        assert let_in(bearing(signed(**claims))) == "ann"

    @pytest.mark.parametrize(
        ("claims", "message"),
        [
            ({"exp": NOW - 30}, "The token has expired"),
            ({"exp": 0}, "The token has expired"),
            ({"nbf": NOW + 31}, "The token is not valid yet"),
            ({"iat": NOW + 31}, "The token is not valid yet"),
            ({"aud": "other"}, "The token is not accepted"),
        ],
    )
    def test_the_caller_is_told_of_its_time_and_of_nothing_else(
        self, claims: dict[str, Any], message: str
    ) -> None:
        machine = bearing(signed(**claims))
        refused(machine, 401, "TOKEN_INVALID")
        assert machine.only.json["error"]["message"] == message
        assert machine.only.header("www-authenticate") == (
            f'Bearer realm="stargate", error="invalid_token", error_description="{message}"'
        )

    def test_a_token_ends_with_its_time(self) -> None:
        machine = bench(jwt_auth(own(leeway_seconds=0)))
        machine.advance(600 * SECOND - 1)
        bearing(signed(), machine)
        assert len(machine.asked) == 1
        machine = bench(jwt_auth(own(leeway_seconds=0)))
        machine.advance(600 * SECOND)
        refused(bearing(signed(), machine), 401, "TOKEN_INVALID", "expired")

    def test_the_header_may_ask_for_nothing_special(self) -> None:
        refused(bearing(signed(headers={"crit": ["exp"]})), 401, "TOKEN_INVALID", "crit")

    def test_a_member_stands_once(self) -> None:
        text = b'{"iss":"https://own.test","aud":"stargate","sub":"bob","sub":"ann","exp":%d}' % (NOW + 600)
        token = jwt.api_jws.encode(text, SECRET, algorithm="HS256")
        refused(bearing(token), 401, "TOKEN_INVALID", "stands twice")

    @pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
    def test_nothing_is_no_time(self, name: str) -> None:
        claims = {"iss": "https://own.test", "aud": "stargate", "sub": "ann", "exp": NOW + 600, name: None}
        token = jwt.api_jws.encode(msgspec.json.encode(claims), SECRET, algorithm="HS256")
        refused(bearing(token), 401, "TOKEN_INVALID", f"{name} is no time")

    def test_a_long_one_is_not_read(self) -> None:
        refused(bearing(signed(filler="x" * 8192)), 401, "TOKEN_INVALID", "longer than 8192 bytes")


@pytest.fixture(scope="module")
def rsa() -> RSAPrivateKey:
    return generate_private_key(65_537, 2048)


class TestAlgorithms:
    def test_none_is_none(self) -> None:
        claims = part({"iss": "https://own.test", "aud": "stargate", "sub": "ann", "exp": NOW + 600})
        for name in ("none", "None", "NONE", "nOnE"):
            header = part({"alg": name})
            refused(bearing(f"{header}.{claims}."), 401, "TOKEN_INVALID")
            refused(bearing(f"{header}.{claims}.AAAA"), 401, "TOKEN_INVALID", "alg")

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_one_that_the_issuer_does_not_use_is_not_believed(self, algorithm: str) -> None:
        refused(bearing(signed(algorithm)), 401, "TOKEN_INVALID", "alg")

    @pytest.mark.parametrize("name", ["hs256", "HS256 ", "HS2567", "RS256", "ES256K", ""])
    def test_nor_is_one_that_looks_like_it(self, name: str) -> None:
        _, claims, signature = signed().split(".")
        refused(bearing(f"{part({'alg': name})}.{claims}.{signature}"), 401, "TOKEN_INVALID", "alg")

    def test_a_public_key_is_no_secret(self, rsa: RSAPrivateKey) -> None:
        """The classic: HS256 with the public key, which everybody knows, as its secret."""
        pem = rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signer = jwt.api_jws.PyJWS()
        signer._algorithms["HS256"].prepare_key = lambda key: key  # type: ignore[method-assign]
        claims = {"iss": "https://idp.test", "aud": "stargate", "sub": "ann", "exp": NOW + 600}
        token = signer.encode(msgspec.json.encode(claims), pem, algorithm="HS256")
        machine = bearing(token)
        refused(machine, 401, "TOKEN_INVALID", "alg")
        assert machine.questions == {}

    def test_one_issuers_secret_signs_for_no_other(self) -> None:
        other = own(issuer="https://other.test", secret=Secret("f" * 64))
        machine = bench(jwt_auth(own(), other))
        refused(bearing(signed(iss="https://other.test"), machine), 401, "TOKEN_INVALID", "signature")


class TestPublicKeys:
    def signed(self, rsa: RSAPrivateKey, **claims: Any) -> str:
        return signed(
            "RS256", rsa, headers={"kid": "k1"}, **{"iss": "https://idp.test", "sub": "user-1", **claims}
        )

    def test_the_process_is_asked_for_whom_the_configuration_names(self, rsa: RSAPrivateKey) -> None:
        token = self.signed(rsa)
        machine = bearing(token)
        assert machine.opened == []
        question = machine.reply("")
        assert isinstance(question, VerifyToken)
        assert (question.jwks_url, question.algorithm, question.key_id) == (JWKS, "RS256", "k1")
        assert question.signed == token.rpartition(".")[0].encode()
        public = jwt.get_algorithm_by_name("RS256")
        assert public.verify(question.signed, rsa.public_key(), question.signature)
        assert let_in(machine) == "ann"
        assert machine.record["key_id"] == "jwt:user-1"

    def test_what_the_process_does_not_believe_is_401(self, rsa: RSAPrivateKey) -> None:
        machine = bearing(self.signed(rsa))
        machine.reply("no key of that name")
        refused(machine, 401, "TOKEN_INVALID", "no key of that name")
        assert machine.only.json["error"]["message"] == "The token is not accepted"

    def test_what_nobody_can_tell_is_503(self, rsa: RSAPrivateKey) -> None:
        machine = bearing(self.signed(rsa))
        machine.fail_question("idp.test: timed out")
        refused(machine, 503, "TOKEN_UNVERIFIED", "idp.test: timed out")
        assert "idp" not in machine.only.json["error"]["message"]
        assert machine.only.header("retry-after") == "5"

    @pytest.mark.parametrize("claims", [{"exp": NOW - 31}, {"aud": "x"}, {"iss": "https://eve.test"}])
    def test_nobody_is_asked_about_a_token_that_is_no_good_anyway(
        self, rsa: RSAPrivateKey, claims: dict[str, Any]
    ) -> None:
        machine = bearing(self.signed(rsa, **claims))
        assert machine.questions == {}
        refused(machine, 401, "TOKEN_INVALID")

    def test_a_caller_that_leaves_is_not_waited_for(self, rsa: RSAPrivateKey) -> None:
        machine = bearing(self.signed(rsa))
        machine.leave()
        assert machine.questions == {}
        machine.settle()


class TestHolders:
    def test_what_is_logged_of_it_is_bounded(self) -> None:
        machine = bearing(signed(sub="a" * 257), bench(jwt_auth(own(consumer="bob"))))
        assert let_in(machine) == "bob"
        assert machine.record["key_id"] == "jwt:"

    @pytest.mark.parametrize(
        ("issuer", "claims", "consumer"),
        [
            ({}, {"sub": "bob"}, "bob"),
            ({}, {"sub": "user-1"}, "ann"),
            ({"consumer_claim": "https://x/team"}, {"https://x/team": "bob"}, "bob"),
            ({"consumers": {"u-7": "bob"}}, {"sub": "u-7"}, "bob"),
            ({"consumers": {"bob": "ann"}}, {"sub": "bob"}, "ann"),
            ({"consumers": {"u-7": "bob"}}, {"sub": "ann"}, "ann"),
            ({"consumer": "bob"}, {"sub": "somebody"}, "bob"),
            ({"consumer": "bob"}, {"sub": None}, "bob"),
        ],
    )
    def test_the_claim_says_who_it_is(
        self, issuer: dict[str, Any], claims: dict[str, Any], consumer: str
    ) -> None:
        machine = bearing(signed(**claims), bench(jwt_auth(own(**issuer))))
        assert let_in(machine) == consumer

    @pytest.mark.parametrize(
        "claims",
        [
            {"sub": "eve"},
            {"sub": None},
            {"sub": ["ann"]},
            {"sub": 1},
            {"sub": ""},
            {"sub": "ANN"},
            {"sub": "a" * 300},
        ],
    )
    def test_whoever_is_no_consumer_is_403(self, claims: dict[str, Any]) -> None:
        machine = bearing(signed(**claims))
        refused(machine, 403, "KEY_INVALID", "the claim sub names no consumer")
        assert machine.only.json["error"]["message"] == "The token's holder may not use this gateway"


class TestBesideKeys:
    def test_alone_it_refuses_whoever_shows_no_token(self) -> None:
        for headers in (
            (),
            ("x-api-key: key-ann",),
            ("authorization: Basic a.b.c",),
            ("authorization: Bearer a.b",),
        ):
            machine = shown(bench(jwt_auth(realm="the house")), *headers)
            refused(machine, 401, "KEY_MISSING")
            assert machine.only.header("www-authenticate") == 'Bearer realm="the house"'

    def test_beside_api_key_auth_either_will_do(self) -> None:
        assert let_in(bearing(signed(), bench(jwt_auth(), API_KEY_AUTH))) == "ann"
        assert let_in(shown(bench(jwt_auth(), API_KEY_AUTH), "x-api-key: key-bob")) == "bob"
        assert let_in(bearing("key-bob", bench(jwt_auth(), API_KEY_AUTH))) == "bob"

    def test_neither_will_not(self) -> None:
        refused(shown(bench(jwt_auth(), API_KEY_AUTH)), 401, "KEY_MISSING")
        refused(bearing("a.b.c", bench(jwt_auth(), API_KEY_AUTH)), 403, "KEY_INVALID", "unknown key")

    def test_a_token_that_is_not_accepted_gets_no_second_try(self) -> None:
        machine = bench(jwt_auth(), API_KEY_AUTH)
        lines = f"authorization: Bearer {signed(exp=0)}", "x-api-key: key-ann"
        refused(shown(machine, *lines), 401, "TOKEN_INVALID")

    def test_a_key_beside_the_token_must_be_the_same_consumers(self) -> None:
        token = signed()
        bearer = f"authorization: Bearer {token}"
        machine = bench(jwt_auth(), API_KEY_AUTH)
        shown(machine, bearer, "x-api-key: key-ann", f"api-key: {token}")
        assert let_in(machine) == "ann"
        assert machine.record["key_id"] == "jwt:ann"
        machine = shown(bench(jwt_auth(), API_KEY_AUTH), bearer, "x-api-key: key-bob")
        assert machine.only.status == 401
        machine = shown(bench(jwt_auth(), API_KEY_AUTH), bearer, "x-api-key: key-eve")
        assert machine.only.status == 403

    def test_the_anonymous_consumer_is_for_those_who_show_nothing(self) -> None:
        anonymous = PluginEntry(name="api-key-auth", config=ApiKeyAuth(anonymous="bob"))
        assert let_in(shown(bench(jwt_auth(), anonymous))) == "bob"
        assert let_in(bearing(signed(), bench(jwt_auth(), anonymous))) == "ann"

    @pytest.mark.parametrize(
        ("guard", "where", "asks"),
        [
            (API_KEY_AUTH, "everywhere", True),
            (API_KEY_AUTH, "service", False),
            (API_KEY_AUTH, "route", False),
            (msgspec.structs.replace(API_KEY_AUTH, enabled=False), "everywhere", False),
            (msgspec.structs.replace(API_KEY_AUTH, service="s"), "everywhere", False),
            (msgspec.structs.replace(API_KEY_AUTH, route="r"), "everywhere", False),
        ],
    )
    def test_nobody_gets_in_where_keys_are_asked_for_only_elsewhere(
        self, guard: PluginEntry, where: str, asks: bool
    ) -> None:
        """A route without api-key-auth stays shut to whoever shows nothing."""
        at = {where: [guard]}
        routes = [
            Route(name="r", paths=["/r"], plugins=at.get("route", [])),
            Route(name="other", paths=["/"]),
        ]
        service = Service(name="s", routes=[Route(name="t", paths=["/t"])], plugins=at.get("service", []))
        machine = bench(jwt_auth(), *at.get("everywhere", []), routes=routes, services=[service])
        shown(machine, "x-api-key: key-bob")
        if asks:
            assert let_in(machine) == "bob"
        else:
            refused(machine, 401, "KEY_MISSING")

    @pytest.mark.parametrize("where", ["service", "route", "everywhere"])
    def test_on_one_route_either_will_do_too(self, where: str) -> None:
        plugins = {"route": [jwt_auth(), API_KEY_AUTH]}
        if where == "everywhere":
            plugins = {"route": [jwt_auth()], "everywhere": [API_KEY_AUTH]}
        elif where == "service":
            plugins = {"service": [jwt_auth(), API_KEY_AUTH]}
        route = Route(name="r", paths=["/"], plugins=plugins.get("route", []))
        service = Service(name="s", routes=[route], plugins=plugins.get("service", []))
        config = Config(
            consumers=CONSUMERS, plugins=[proxy(), LOG, *plugins.get("everywhere", [])], services=[service]
        )
        assert let_in(shown(Bench(a_plan(config)), "x-api-key: key-bob")) == "bob"
        assert let_in(bearing(signed(), Bench(a_plan(config)))) == "ann"

    def test_an_aws_caller_is_refused_in_its_own_words(self) -> None:
        machine = bench()
        machine.ask(converse(headers={"authorization": f"Bearer {signed(exp=0)}"}))
        assert machine.only.status == 401
        assert machine.only.header("x-amzn-errortype") == "UnrecognizedClientException"
