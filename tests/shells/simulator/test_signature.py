"""Who is asking: the signature's check, held against botocore's own signer and the vectors made with it."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from stargate.simulator.errors import Refusal
from stargate.simulator.settings import ACCESS_KEY_ID, Credential, Settings
from stargate.simulator.signature import verify
from stargate_core.secret import Secret
from support.simulator import CLAUDE, WALL_EPOCH_NS, Wire, converse_request, settings, signed
from support.vectors import VECTORS

CASES: Final[list[dict[str, Any]]] = json.loads(
    (VECTORS / "sigv4-bedrock-generated" / "cases.json").read_text()
)["cases"]
PATH: Final = f"/model/{CLAUDE.replace(':', '%3A')}/converse"
BODY: Final = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
SECOND: Final = 1_000_000_000


class Arrived:
    """A vector's request as it would arrive, and settings that know its key."""

    def __init__(self, case: dict[str, Any]) -> None:
        url = urlsplit(case["url"])
        self.target = case["url"].partition(url.netloc)[2].encode()
        self.method = case["method"].encode()
        self.body = case["body"].encode()
        token = case["session_token"]
        headers = {**case["headers"], "Host": url.netloc, "X-Amz-Date": case["amz_date"]}
        headers["Authorization"] = case["authorization"]
        if token is not None:
            headers["X-Amz-Security-Token"] = token
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        secret = None if token is None else Secret(token)
        credential = Credential(case["access_key_id"], Secret(case["secret_access_key"]), secret)
        self.settings: Settings = settings(
            credentials=(credential,), region=case["region"], scheme=url.scheme
        )

    def verified(self) -> str:
        """The key id that is proven. Raises Refusal."""
        identity = verify(self.settings, self.method, self.target, self.headers, self.body, WALL_EPOCH_NS)
        return identity.access_key_id


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
class TestVectors:
    def test_a_request_signed_by_botocore_is_taken(self, case: dict[str, Any]) -> None:
        assert Arrived(case).verified() == case["access_key_id"]

    def test_another_body_is_refused(self, case: dict[str, Any]) -> None:
        arrived = Arrived(case)
        arrived.body += b" "
        with pytest.raises(Refusal, match="InvalidSignatureException"):
            arrived.verified()

    def test_another_path_is_refused(self, case: dict[str, Any]) -> None:
        arrived = Arrived(case)
        arrived.target = arrived.target.replace(b"/", b"/x", 1)
        with pytest.raises(Refusal, match="InvalidSignatureException"):
            arrived.verified()

    def test_the_canonical_request_in_the_refusal_is_the_vectors(self, case: dict[str, Any]) -> None:
        arrived = Arrived(case)
        headers = dict(arrived.headers)
        headers[b"Authorization"] = headers[b"Authorization"][:-1] + b"x"
        arrived.headers = list(headers.items())
        with pytest.raises(Refusal) as refused:
            arrived.verified()
        assert f"'{case['canonical_request']}'" in refused.value.error.message
        assert f"'{case['string_to_sign']}'" in refused.value.error.message


def error_of(request: bytes, wall_after_ns: int = 0, **changes: Any) -> tuple[int, str, str]:
    """Status, name and message of the error a request gets, some time after it was signed."""
    wire = Wire(wall_epoch_ns=WALL_EPOCH_NS + wall_after_ns, **changes)
    reply = wire.ask(request)
    assert not wire.ledger.requests()[0].verified
    body = reply.json()
    name = reply.headers["x-amzn-errortype"].partition(":")[0]
    return reply.status, name, body.get("message", body.get("Message"))


class TestRefusals:
    def test_no_authorization(self) -> None:
        request = signed(PATH, BODY)
        head, _, rest = request.partition(b"Authorization: ")
        bare = head + rest.partition(b"\r\n")[2]
        assert error_of(bare)[:2] == (403, "MissingAuthenticationTokenException")

    def test_an_unknown_key(self) -> None:
        status, name, message = error_of(signed(PATH, BODY, access_key_id="AKIDSOMEBODYELSE"))
        assert (status, name) == (403, "UnrecognizedClientException")
        assert message == "The security token included in the request is invalid."

    def test_a_wrong_secret(self) -> None:
        status, name, message = error_of(signed(PATH, BODY, secret_access_key="guessed"))
        assert (status, name) == (403, "InvalidSignatureException")
        assert "The Canonical String for this request should have been" in message

    @pytest.mark.parametrize(
        ("seconds", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)]
    )
    def test_five_minutes_of_skew(self, seconds: int, *, taken: bool) -> None:
        wire = Wire(wall_epoch_ns=WALL_EPOCH_NS + seconds * SECOND)
        assert (wire.ask(signed(PATH, BODY)).status == 200) is taken

    def test_the_words_of_an_expired_signature(self) -> None:
        status, name, message = error_of(signed(PATH, BODY), 301 * SECOND)
        assert (status, name) == (403, "InvalidSignatureException")
        assert message == (
            "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z "
            "(20260102T030906Z - 5 min.)"
        )

    def test_the_words_of_a_signature_from_the_future(self) -> None:
        message = error_of(signed(PATH, BODY), -301 * SECOND)[2]
        assert message.startswith("Signature not yet current: 20260102T030405Z is still later than")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"region": "eu-west-1"}, "Credential should be scoped to a valid region, not 'eu-west-1'. "),
            ({"service": "bedrock-runtime"}, "Credential should be scoped to correct service: 'bedrock'. "),
        ],
    )
    def test_a_wrong_scope(self, changes: dict[str, Any], words: str) -> None:
        assert error_of(signed(PATH, BODY, **changes))[1:] == ("InvalidSignatureException", words)

    @pytest.mark.parametrize(
        ("old", "new", "name"),
        [
            (b"Signature=", b"Sig=", "IncompleteSignatureException"),
            (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1", "IncompleteSignatureException"),
            (b"/aws4_request", b"/aws4", "IncompleteSignatureException"),
            (
                b"SignedHeaders=content-type;host;",
                b"SignedHeaders=content-type;",
                "InvalidSignatureException",
            ),
            (b"host;x-amz-date,", b"host,", "InvalidSignatureException"),
            (b"X-Amz-Date: 20260102T030405Z", b"X-Amz-Date: today", "IncompleteSignatureException"),
            (b"X-Amz-Date: 20260102T", b"X-Amz-Date: 20261302T", "InvalidSignatureException"),
            (b"X-Amz-Date: ", b"X-Amz-When: ", "IncompleteSignatureException"),
            (
                b"X-Amz-Date: ",
                b"X-Amz-Date: 20260102T030405Z\r\nX-Amz-Date: ",
                "IncompleteSignatureException",
            ),
            (b"/20260102/us-east-1/", b"/20260103/us-east-1/", "InvalidSignatureException"),
            (b"Host: ", b"Authorization: x\r\nHost: ", "IncompleteSignatureException"),
        ],
    )
    def test_a_header_that_was_tampered_with(self, old: bytes, new: bytes, name: str) -> None:
        request = signed(PATH, BODY)
        assert old in request
        assert error_of(request.replace(old, new, 1))[1] == name

    def test_a_body_hash_that_is_not_the_bodys(self) -> None:
        # botocore signs this header's value as it stands, so only the comparison with the body finds it out.
        hashed = {"X-Amz-Content-SHA256": "0" * 64}
        assert error_of(signed(PATH, BODY, headers=hashed))[1] == "InvalidSignatureException"


class TestSessionTokens:
    KNOWN: Final[dict[str, Any]] = {
        "credentials": (Credential(ACCESS_KEY_ID, Secret("simulated-secret-access-key"), Secret("token-1")),)
    }

    def test_the_right_token_is_taken(self) -> None:
        reply = Wire(**self.KNOWN).ask(signed(PATH, BODY, session_token="token-1"))
        assert reply.status == 200

    @pytest.mark.parametrize("token", [None, "token-2"])
    def test_another_or_none_is_not(self, token: str | None) -> None:
        refused = error_of(signed(PATH, BODY, session_token=token), **self.KNOWN)
        assert refused[1] == "UnrecognizedClientException"

    def test_a_token_for_a_key_that_has_none(self) -> None:
        assert error_of(signed(PATH, BODY, session_token="token-1"))[1] == "UnrecognizedClientException"

    def test_the_expired_one(self) -> None:
        status, name, message = error_of(signed(PATH, BODY, session_token="expired"), **self.KNOWN)
        assert (status, name) == (403, "ExpiredTokenException")
        assert message == "The security token included in the request is expired"

    def test_a_token_that_is_not_signed(self) -> None:
        request = signed(PATH, BODY).replace(b"Host: ", b"X-Amz-Security-Token: token-1\r\nHost: ", 1)
        assert error_of(request, **self.KNOWN)[1] == "InvalidSignatureException"


class TestApiKeys:
    def ask(self, authorization: str, *keys: str) -> Any:
        request = signed(PATH, BODY)
        head, _, rest = request.partition(b"Authorization: ")
        bearer = head + f"Authorization: {authorization}\r\n".encode() + rest.partition(b"\r\n")[2]
        return Wire(api_keys=tuple(map(Secret, keys))).ask(bearer)

    def test_a_known_key_is_taken(self) -> None:
        assert self.ask("Bearer ABSKone", "ABSKtwo", "ABSKone").status == 200

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("ABSKother", "Authentication failed: Please make sure your API Key is valid."),
            ("hunter2", "Invalid API Key format: Must start with pre-defined prefix"),
        ],
    )
    def test_another_is_refused_with_a_capital_message(self, key: str, words: str) -> None:
        reply = self.ask(f"Bearer {key}", "ABSKone")
        assert reply.status == 403
        assert reply.json() == {"Message": words}
        assert reply.headers["x-amzn-errortype"].startswith("AccessDeniedException:")


class TestTheMachine:
    def test_the_ledger_knows_who_asked(self) -> None:
        wire = Wire()
        wire.ask(converse_request("hello"))
        exchange = wire.ledger.requests()[0]
        assert (exchange.verified, exchange.access_key_id) == (True, ACCESS_KEY_ID)
