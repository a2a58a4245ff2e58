"""Signing and verifying, against AWS's classic suite, signatures made for every kind of Bedrock request, the
fixtures of openai-python, and botocore's signer on random requests.
"""

import base64
import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.credentials import AuthorizationError, Credentials, Presented, VerifyResult
from stargate_core.aws.sigv4 import (
    UNSIGNED_PAYLOAD,
    Headers,
    Signer,
    Signers,
    Verifier,
    amz_date,
    canonical_request,
    parse_authorization,
    read_amz_date,
    signable,
    signing_key,
    string_to_sign,
    verify,
)
from stargate_core.secret import Secret
from support.sigv4_suite import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SUITE, read_request
from support.vectors import VECTORS

SECOND: Final = 1_000_000_000
DAY: Final = 86_400 * SECOND
NOON: Final = 20_500 * DAY + DAY // 2
"""A wall time in 2026, far from midnight."""

BEDROCK: Final[list[dict[str, Any]]] = msgspec.json.decode(
    (VECTORS / "sigv4-bedrock-generated" / "cases.json").read_bytes()
)["cases"]
OPENAI: Final = VECTORS / "openai-python-bedrock"
OPENAI_CASES: Final[list[dict[str, Any]]] = [
    case
    for case in msgspec.json.decode((OPENAI / "bedrock_auth/v1/cases.json").read_bytes())["cases"]
    if case["kind"] == "sigv4"
]

CREDENTIALS: Final = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
TARGET: Final = b"/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"
HEADERS: Final = [
    (b"host", b"bedrock-runtime.us-east-1.amazonaws.com"),
    (b"content-type", b"application/json"),
]
BODY: Final = b'{"messages":[]}'


def wire_time(date: str | bytes) -> int:
    """The wall time of an `x-amz-date`."""
    wall_ns = read_amz_date(date.encode() if isinstance(date, str) else date)
    assert wall_ns is not None
    return wall_ns


def target_of(url: str) -> bytes:
    parts = urlsplit(url)
    return (parts.path + (f"?{parts.query}" if parts.query else "")).encode()


def credentials_of(key_id: str, secret: str, token: str | None) -> Credentials:
    return Credentials(key_id, Secret(secret), Secret(token) if token is not None else None)


def signed(
    body: bytes = BODY, *more: tuple[bytes, bytes], service: str = "bedrock"
) -> list[tuple[bytes, bytes]]:
    """Headers of a POST to TARGET, signed at NOON."""
    headers = [*HEADERS, *more]
    return [
        *headers,
        *Signer(CREDENTIALS, "us-east-1", service).authorize(b"POST", TARGET, headers, body, NOON),
    ]


def check(headers: Headers, body: bytes = BODY, wall_ns: int = NOON, **options: Any) -> VerifyResult:
    """The verdict over a POST to TARGET."""
    presented = parse_authorization(headers)
    assert presented is not None
    return verify(presented, SECRET_ACCESS_KEY, b"POST", TARGET, headers, body, wall_ns, **options)


class TestSigningVectors:
    @pytest.mark.parametrize("case", SUITE, ids=lambda case: case.name)
    def test_the_classic_suite(self, case: Path) -> None:
        request = read_request(case)
        headers = [(name, value) for name, value in request.headers if name.lower() != b"x-amz-date"]
        token = request.session_token
        credentials = credentials_of(
            ACCESS_KEY_ID, SECRET_ACCESS_KEY.reveal(), token.decode() if token is not None else None
        )
        signer = Signer(credentials, "us-east-1", "service")
        added = signer.authorize(
            request.method, request.target, headers, request.body, wire_time(b"20150830T123600Z")
        )
        assert dict(added)[b"authorization"] == case.with_suffix(".authz").read_bytes()

    @pytest.mark.parametrize("case", BEDROCK, ids=lambda case: case["name"])
    def test_every_kind_of_bedrock_request(self, case: dict[str, Any]) -> None:
        method, target, body = case["method"].encode(), target_of(case["url"]), (case["body"] or "").encode()
        headers = [(b"Host", urlsplit(case["url"]).netloc.encode())]
        headers += [(name.encode(), value.encode()) for name, value in case["headers"].items()]
        credentials = credentials_of(case["access_key_id"], case["secret_access_key"], case["session_token"])
        signer = Signer(credentials, case["region"], case["service"])
        wall_ns = wire_time(case["amz_date"])
        added = signer.authorize(method, target, headers, body, wall_ns)
        assert dict(added)[b"x-amz-date"].decode() == case["amz_date"]
        assert dict(added)[b"authorization"].decode() == case["authorization"]
        # The steps on the way, and the signature seen from the other side.
        received = [*headers, *added]
        payload_hash = case["payload_sha256"].encode()
        canonical = canonical_request(method, target, received, signable(received), payload_hash)
        assert canonical.decode() == case["canonical_request"]
        scope = f"{case['amz_date'][:8]}/{case['region']}/{case['service']}/aws4_request".encode()
        assert string_to_sign(case["amz_date"].encode(), scope, canonical).decode() == case["string_to_sign"]
        presented = parse_authorization(received)
        assert presented is not None
        assert presented.access_key_id == case["access_key_id"]
        secret = credentials.secret_access_key
        verdict = verify(presented, secret, method, target, received, body, wall_ns)
        assert verdict is VerifyResult.OK

    @pytest.mark.parametrize("case", OPENAI_CASES, ids=lambda case: case["id"])
    def test_openai_python(self, case: dict[str, Any]) -> None:
        given_, expected = case["given"], case["expected"]["headers"]
        request, signing = given_["request"], given_["signing"]
        body = base64.b64decode(request["body_base64"])
        headers = [(name.encode(), value.encode()) for name, value in request["headers"].items()]
        headers.append((b"x-amz-content-sha256", expected["x-amz-content-sha256"].encode()))
        keys = given_["credentials"]
        credentials = credentials_of(
            keys["access_key_id"], keys["secret_access_key"], keys.get("session_token")
        )
        signer = Signer(credentials, signing["region"], signing["service"])
        wall_ns = wire_time(expected["x-amz-date"])
        method, target = request["method"].encode(), target_of(request["url"])
        added = signer.authorize(method, target, headers, body, wall_ns)
        received = [*headers, *added]
        assert dict(received) == {
            **dict(headers),
            **{name.encode(): value.encode() for name, value in expected.items()},
        }
        presented = parse_authorization(received)
        assert presented is not None
        secret = credentials.secret_access_key
        verdict = verify(presented, secret, method, target, received, body, wall_ns)
        assert verdict is VerifyResult.OK

    def test_openai_python_with_a_session_token(self) -> None:
        case: dict[str, Any] = msgspec.json.decode((OPENAI / "bedrock/v1/sigv4.json").read_bytes())
        request, expected, keys = case["request"], case["expected"], case["credentials"]
        body = request["body"].encode()
        assert hashlib.sha256(body).hexdigest() == expected["payloadHash"]
        headers = [
            (b"host", urlsplit(request["url"]).netloc.encode()),
            (b"content-type", request["contentType"].encode()),
            (b"x-amz-content-sha256", expected["payloadHash"].encode()),
        ]
        credentials = credentials_of(keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
        signer = Signer(credentials, case["region"], case["service"])
        added = signer.authorize(
            b"POST", target_of(request["url"]), headers, body, wire_time(expected["date"])
        )
        assert dict(added)[b"authorization"].decode() == expected["authorization"]


# What may stand in a request: targets as they are on the wire, header values with all the blanks there are.
PIECES: Final = st.sampled_from(["a", "Z", "0", "-", ".", "_", "~", "%3A", "%2F", "%25", ":", "+", "="])
SEGMENT: Final = st.lists(PIECES, max_size=6).map("".join)
PATHS: Final = st.lists(st.one_of(SEGMENT, st.sampled_from(["", ".", "..", "model"])), max_size=6).map(
    lambda segments: "/" + "/".join(segments)
)
QUERIES: Final = st.lists(st.tuples(SEGMENT, SEGMENT), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
VALUES: Final = st.text(st.sampled_from("abcXYZ019 \t;,:=/\"'%"), max_size=20)
NAMES: Final = st.sampled_from(
    [
        "Content-Type",
        "Accept",
        "X-Amzn-Bedrock-Trace",
        "x-amzn-bedrock-accept",
        "User-Agent",
        "TE",
        "X-Custom",
        "Expect",
    ]
)
TOKENS: Final = st.none() | st.text(st.sampled_from("aZ0+/= "), min_size=1, max_size=40)
SECRETS: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=50)


class Signed(msgspec.Struct, frozen=True):
    """A request that botocore has signed, as a server receives it."""

    method: bytes
    target: bytes
    before: list[tuple[bytes, bytes]]
    after: list[tuple[bytes, bytes]]
    body: bytes
    credentials: Credentials
    region: str

    @property
    def wall_ns(self) -> int:
        return wire_time({name.lower(): value for name, value in self.after}[b"x-amz-date"])


@st.composite
def signed_by_botocore(draw: st.DrawFn) -> Signed:
    """A random request, signed by botocore at the time its own clock shows."""
    method = draw(st.sampled_from(["GET", "POST", "PUT"]))
    path, query = draw(PATHS), draw(QUERIES)
    target = f"{path}?{query}" if query else path
    host = draw(st.sampled_from(["bedrock-runtime.eu-west-1.amazonaws.com", "localhost:8080", "[::1]:9000"]))
    headers = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    body = draw(st.binary(max_size=100) | st.text(max_size=50).map(str.encode))
    secret, token = draw(SECRETS), draw(TOKENS)
    region = draw(st.sampled_from(["us-east-1", "eu-central-1"]))
    request: Any = AWSRequest(method, f"https://{host}{target}", data=body)
    for name, value in headers:
        request.headers[name] = value
    SigV4Auth(BotocoreCredentials("AKID", secret, token), "bedrock", region).add_auth(request)
    before = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers)]
    after = [(b"host", host.encode())]
    after += [(name.encode(), value.encode()) for name, value in request.headers.items()]
    credentials = credentials_of("AKID", secret, token)
    return Signed(method.encode(), target.encode(), before, after, body, credentials, region)


class TestAgainstBotocore:
    @given(signed_by_botocore())
    def test_the_same_headers_on_any_request(self, request: Signed) -> None:
        signer = Signer(request.credentials, request.region, "bedrock")
        added = signer.authorize(
            request.method, request.target, request.before, request.body, request.wall_ns
        )
        theirs = {name.lower(): value for name, value in request.after}
        assert dict(added) == {name: theirs[name] for name, _ in added}
        assert (b"x-amz-security-token" in dict(added)) is (b"x-amz-security-token" in theirs)

    @given(signed_by_botocore())
    def test_what_botocore_signs_is_accepted(self, request: Signed) -> None:
        presented = parse_authorization(request.after)
        assert presented is not None
        secret = request.credentials.secret_access_key
        for skew_ns in (-290 * SECOND, 0, 290 * SECOND):
            verdict = verify(
                presented,
                secret,
                request.method,
                request.target,
                request.after,
                request.body,
                request.wall_ns + skew_ns,
            )
            assert verdict is VerifyResult.OK
        verdict = verify(
            presented,
            Secret("other"),
            request.method,
            request.target,
            request.after,
            request.body,
            request.wall_ns,
        )
        assert verdict is VerifyResult.BAD_SIGNATURE


class TestSigner:
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3 * DAY),
                st.sampled_from([b"/a", b"/b%25?x=%"]),
                st.permutations(
                    [(b"Host", b"h"), (b"accept", b" a  b "), (b"x-two", b"1"), (b"X-Two", b"2%b")]
                ),
                st.binary(max_size=10),
            ),
            max_size=8,
        ),
        TOKENS,
    )
    def test_what_it_has_signed_before_makes_no_difference(
        self, requests: list[tuple[int, bytes, list[tuple[bytes, bytes]], bytes]], token: str | None
    ) -> None:
        credentials = credentials_of("AKID", "secret", token)
        signer = Signer(credentials, "us-east-1", "bedrock")
        for offset_ns, target, headers, body in requests:
            fresh = Signer(credentials, "us-east-1", "bedrock")
            assert signer.authorize(b"POST", target, headers, body, NOON + offset_ns) == fresh.authorize(
                b"POST", target, headers, body, NOON + offset_ns
            )

    def test_more_targets_than_it_keeps(self) -> None:
        signer = Signer(CREDENTIALS, "us-east-1", "bedrock")
        first = signer.authorize(b"GET", b"/0", HEADERS, b"", NOON)
        for number in range(3_000):
            signer.authorize(b"GET", b"/%d" % number, HEADERS, b"", NOON)
            assert len(signer._plans) <= 1024
        assert signer.authorize(b"GET", b"/0", HEADERS, b"", NOON) == first

    def test_what_it_keeps_it_uses(self) -> None:
        signer = Signer(CREDENTIALS, "us-east-1", "bedrock")
        signer.authorize(b"GET", b"/", HEADERS, b"", NOON)
        (kept,) = signer._plans.values()
        signer.authorize(b"GET", b"/", HEADERS, b"", NOON + DAY)
        assert [plan is kept for plan in signer._plans.values()] == [True]

    def test_a_second_lasts_to_its_last_nanosecond(self) -> None:
        signer = Signer(CREDENTIALS, "us-east-1", "bedrock")
        dates = [
            dict(signer.authorize(b"GET", b"/", HEADERS, b"", NOON + offset_ns))[b"x-amz-date"]
            for offset_ns in (-1, 0, SECOND - 1, SECOND)
        ]
        assert [wire_time(date) - NOON for date in dates] == [-SECOND, 0, 0, SECOND]

    @pytest.mark.parametrize("token", ["a  b", " a", "a ", "%b"])
    def test_a_session_token_is_signed_as_any_header_and_sent_as_it_is(self, token: str) -> None:
        signer = Signer(credentials_of("AKID", "secret", token), "us-east-1", "bedrock")
        added = signer.authorize(b"POST", TARGET, HEADERS, BODY, NOON)
        assert dict(added)[b"x-amz-security-token"] == token.encode()
        received = [*HEADERS, *added]
        presented = parse_authorization(received)
        assert presented is not None
        verdict = verify(presented, Secret("secret"), b"POST", TARGET, received, BODY, NOON)
        assert verdict is VerifyResult.OK

    @pytest.mark.parametrize("name", [b"Authorization", b"x-amz-date", b"X-Amz-Security-Token"])
    def test_it_adds_its_headers_itself(self, name: bytes) -> None:
        with pytest.raises(ValueError, match="already there"):
            Signer(CREDENTIALS, "us-east-1", "bedrock").authorize(
                b"GET", b"/", [*HEADERS, (name, b"")], b"", NOON
            )

    def test_it_does_not_sign_without_a_host(self) -> None:
        with pytest.raises(ValueError, match=r"^a request without a host header cannot be signed$"):
            Signer(CREDENTIALS, "us-east-1", "bedrock").authorize(b"GET", b"/", HEADERS[1:], b"", NOON)

    def test_it_shows_no_secret(self) -> None:
        credentials = credentials_of("AKID", "the-secret", "the-token")
        shown = f"{credentials!r} {credentials} {Signer(credentials, 'us-east-1', 'bedrock')!r}"
        assert "the-secret" not in shown
        assert "the-token" not in shown


class TestVerification:
    def test_any_change_of_a_byte_is_noticed(self) -> None:
        headers = signed(BODY, (b"x-amzn-bedrock-trace", b"ENABLED"))
        authorization = headers[-1][1]
        presented = parse_authorization(headers)
        assert presented is not None

        def verdict(target: bytes, headers: Headers, body: bytes) -> VerifyResult:
            return verify(presented, SECRET_ACCESS_KEY, b"POST", target, headers, body, NOON)

        assert verdict(TARGET, headers, BODY) is VerifyResult.OK
        changes = (1, 2, 0x20, 0x80)
        for at, change in itertools.product(range(len(TARGET)), changes):
            assert verdict(changed(TARGET, at, change), headers, BODY) is not VerifyResult.OK
        for at, change in itertools.product(range(len(BODY)), changes):
            assert verdict(TARGET, headers, changed(BODY, at, change)) is VerifyResult.BAD_SIGNATURE
        for place, (name, value) in enumerate(headers[:-1]):
            for at, change in itertools.product(range(len(value)), changes):
                other = [*headers[:place], (name, changed(value, at, change)), *headers[place + 1 :]]
                assert check_fully(other) is not VerifyResult.OK
            assert check_fully([*headers[:place], *headers[place + 1 :]]) is not VerifyResult.OK
        # The key's id stands outside the signature: it says which secret to take.
        start = authorization.index(ACCESS_KEY_ID.encode())
        for at, change in itertools.product(range(len(authorization)), changes):
            if not start <= at < start + len(ACCESS_KEY_ID):
                other = [*headers[:-1], (b"authorization", changed(authorization, at, change))]
                assert check_fully(other) is not VerifyResult.OK

    def test_another_method_or_a_query(self) -> None:
        headers = signed()
        presented = parse_authorization(headers)
        assert presented is not None
        for method, target in ((b"PUT", TARGET), (b"POST", TARGET + b"?x=1"), (b"post", TARGET)):
            verdict = verify(presented, SECRET_ACCESS_KEY, method, target, headers, BODY, NOON)
            assert verdict is VerifyResult.BAD_SIGNATURE

    def test_blanks_around_values_do_not_count(self) -> None:
        headers = signed()
        assert check(
            [(name.upper(), b"  " + value + b"\t") for name, value in headers[:-1]] + headers[-1:]
        ) is (VerifyResult.OK)

    def test_headers_that_were_not_signed_may_come_along(self) -> None:
        more = [(b"user-agent", b"x"), (b"amz-sdk-request", b"attempt=1"), (b"x-forwarded-for", b"::1")]
        assert check(signed() + more) is VerifyResult.OK

    @pytest.mark.parametrize(
        ("offset_ns", "verdict"),
        [
            (0, VerifyResult.OK),
            (300 * SECOND, VerifyResult.OK),
            (300 * SECOND + 1, VerifyResult.EXPIRED),
            (-300 * SECOND, VerifyResult.OK),
            (-300 * SECOND - 1, VerifyResult.NOT_YET_VALID),
            (DAY, VerifyResult.EXPIRED),
        ],
    )
    def test_five_minutes(self, offset_ns: int, verdict: VerifyResult) -> None:
        assert check(signed(), wall_ns=NOON + offset_ns) is verdict
        assert check(signed(), wall_ns=NOON + offset_ns, skew_ns=2 * DAY) is VerifyResult.OK

    def test_the_scope(self) -> None:
        assert check(signed(service="bedrock-mantle")) is VerifyResult.OK
        assert check(signed(service="s3")) is VerifyResult.WRONG_SCOPE
        assert check(signed(service="s3"), services=(b"s3",)) is VerifyResult.OK
        yesterday = amz_date(NOON - DAY)[:8]
        headers = signed()
        moved = headers[-1][1].replace(amz_date(NOON)[:8], yesterday)
        assert check([*headers[:-1], (b"authorization", moved)]) is VerifyResult.WRONG_SCOPE

    def test_the_body_that_the_caller_claims(self) -> None:
        claim = (b"x-amz-content-sha256", hashlib.sha256(BODY).hexdigest().encode())
        assert check(signed(BODY, claim)) is VerifyResult.OK
        assert check(signed(BODY, claim), b"other") is VerifyResult.BODY_MISMATCH
        for value in (
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            b"",
            b"x",
        ):
            headers = signed(BODY, (b"x-amz-content-sha256", value))
            assert check(headers) is VerifyResult.BODY_MISMATCH
            assert check(headers, unsigned_payload=True) is VerifyResult.BODY_MISMATCH

    def test_a_body_left_out_of_the_signature(self) -> None:
        # botocore signs so over https when asked to; here the rest of the request is signed by hand.
        request: Any = AWSRequest("POST", "https://" + HEADERS[0][1].decode() + TARGET.decode(), data=BODY)
        request.context["payload_signing_enabled"] = False
        SigV4Auth(
            BotocoreCredentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY.reveal()), "bedrock", "us-east-1"
        ).add_auth(request)
        headers = [HEADERS[0], *((name.encode(), value.encode()) for name, value in request.headers.items())]
        assert (b"X-Amz-Content-SHA256", UNSIGNED_PAYLOAD) in headers
        wall_ns = wire_time(request.headers["X-Amz-Date"])
        assert check(headers, wall_ns=wall_ns) is VerifyResult.UNSIGNED_PAYLOAD
        presented = parse_authorization(headers)
        assert presented is not None
        verdict = Verifier(SECRET_ACCESS_KEY).verify(presented, b"POST", TARGET, headers, BODY, wall_ns)
        assert verdict is VerifyResult.UNSIGNED_PAYLOAD
        assert check(headers, b"any", wall_ns, unsigned_payload=True) is VerifyResult.OK

    def test_what_must_be_signed(self) -> None:
        assert check([*signed(), (b"x-amz-target", b"x")]) is VerifyResult.UNSIGNED_HEADER
        assert check(signed()[1:]) is VerifyResult.MISSING_HEADER
        without_host = [(name, value) for name, value in signed() if name != b"host"]
        authorization = without_host[-1][1].replace(b"host;", b"")
        headers = [HEADERS[0], *without_host[:-1], (b"authorization", authorization)]
        assert check(headers) is VerifyResult.UNSIGNED_HEADER

    def test_a_signature_that_would_cover_itself_is_bad_and_nothing_is_missing(self) -> None:
        headers = signed()
        authorization = headers[-1][1].replace(b"=content-type;", b"=authorization;content-type;")
        assert check([*headers[:-1], (b"authorization", authorization)]) is VerifyResult.BAD_SIGNATURE

    def test_a_second_header_of_a_signed_name(self) -> None:
        for name, value in signed()[:-2]:
            assert check([*signed(), (name, value)]) is VerifyResult.BAD_SIGNATURE


def changed(text: bytes, at: int, change: int) -> bytes:
    return text[:at] + bytes((text[at] ^ change,)) + text[at + 1 :]


def check_fully(headers: Headers) -> VerifyResult | None:
    """The verdict, parsing included; None when the header is not one of SigV4 any more."""
    try:
        presented = parse_authorization(headers)
    except AuthorizationError as error:
        return error.result
    if presented is None:
        return None
    return verify(presented, SECRET_ACCESS_KEY, b"POST", TARGET, headers, BODY, NOON)


class TestVerifier:
    def test_it_remembers_only_scopes_in_which_it_was_right(self) -> None:
        verifier = Verifier(SECRET_ACCESS_KEY)
        headers = signed()
        presented = parse_authorization(headers)
        assert presented is not None
        for number in range(100):
            forged = msgspec.structs.replace(presented, region=b"region-%d" % number)
            verdict = verifier.verify(forged, b"POST", TARGET, headers, BODY, NOON)
            assert verdict is VerifyResult.BAD_SIGNATURE
        assert len(verifier._keys) == 0
        for _ in range(3):
            assert verifier.verify(presented, b"POST", TARGET, headers, BODY, NOON) is VerifyResult.OK
        key = signing_key(SECRET_ACCESS_KEY, presented.day, b"us-east-1", b"bedrock")
        assert list(verifier._keys.values()) == [key]

    def test_what_it_remembers_it_uses(self) -> None:
        verifier = Verifier(SECRET_ACCESS_KEY)
        headers = signed()
        presented = parse_authorization(headers)
        assert presented is not None
        assert verifier.verify(presented, b"POST", TARGET, headers, BODY, NOON) is VerifyResult.OK
        (scope,) = verifier._keys
        verifier._keys[scope] = b"the key of somebody else"
        verdict = verifier.verify(presented, b"POST", TARGET, headers, BODY, NOON)
        assert verdict is VerifyResult.BAD_SIGNATURE

    def test_more_scopes_than_it_keeps(self) -> None:
        verifier = Verifier(SECRET_ACCESS_KEY)
        for number in [*range(40), *range(40)]:
            signer = Signer(CREDENTIALS, f"region-{number}", "bedrock")
            headers = [*HEADERS, *signer.authorize(b"POST", TARGET, HEADERS, BODY, NOON)]
            presented = parse_authorization(headers)
            assert presented is not None
            assert verifier.verify(presented, b"POST", TARGET, headers, BODY, NOON) is VerifyResult.OK
            assert len(verifier._keys) <= 16


class TestParsing:
    GOOD: Final = (
        b"AWS4-HMAC-SHA256 Credential=AKID/20260102/us-east-1/bedrock/aws4_request, "
        b"SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64
    )
    DATE: Final = (b"X-Amz-Date", b"20260102T030405Z")

    @pytest.mark.parametrize(
        "authorization",
        [
            GOOD,
            GOOD.replace(b", ", b","),
            GOOD.replace(b", ", b" ,  "),
            b"AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date,Signature="
            + b"0" * 64
            + b",Credential=AKID/20260102/us-east-1/bedrock/aws4_request",
        ],
    )
    def test_what_sdks_write(self, authorization: bytes) -> None:
        assert parse_authorization([(b"Authorization", authorization), self.DATE]) == Presented(
            access_key_id="AKID",
            day=b"20260102",
            region=b"us-east-1",
            service=b"bedrock",
            signed_headers=(b"host", b"x-amz-date"),
            signature=b"0" * 64,
            date=b"20260102T030405Z",
            signed_at_ns=1_767_323_045 * SECOND,
        )

    def test_a_key_id_may_have_an_equals_sign(self) -> None:
        authorization = self.GOOD.replace(b"AKID/", b"AK=ID/")
        presented = parse_authorization([(b"Authorization", authorization), self.DATE])
        assert presented is not None
        assert presented.access_key_id == "AK=ID"

    @pytest.mark.parametrize(
        "headers", [[], [(b"authorization", b"Bearer AWS4-HMAC-SHA256")], [(b"x-api-key", GOOD)]]
    )
    def test_no_signature(self, headers: Headers) -> None:
        assert parse_authorization(headers) is None

    NOT_THREE: Final = "not AWS4-HMAC-SHA256 with its three parameters"
    NO_CREDENTIAL: Final = "Credential is not key/day/region/service/aws4_request"
    NO_NAMES: Final = "SignedHeaders is not lower case, sorted and unique"
    NO_SIGNATURE: Final = "Signature is not 64 hexadecimal digits"

    @pytest.mark.parametrize(
        ("authorization", "detail"),
        [
            (b"AWS4-HMAC-SHA256", NOT_THREE),
            (b"AWS4-HMAC-SHA256-X" + GOOD[16:], NOT_THREE),
            (GOOD.replace(b"Credential=", b"credential="), NOT_THREE),
            (GOOD.replace(b", Signature", b", X=1, Signature"), NOT_THREE),
            (GOOD + b", Signature=" + b"0" * 64, NOT_THREE),
            (GOOD + b",", NOT_THREE),
            (GOOD.partition(b", Signature")[0], NOT_THREE),
            (GOOD.replace(b"0" * 64, b"0" * 63), NO_SIGNATURE),
            (GOOD.replace(b"0" * 64, b"0" * 63 + b"G"), NO_SIGNATURE),
            (GOOD.replace(b"aws4_request", b"aws5_request"), NO_CREDENTIAL),
            (GOOD.replace(b"AKID/", b"/"), NO_CREDENTIAL),
            (GOOD.replace(b"AKID/", b"A KID/"), NO_CREDENTIAL),
            (GOOD.replace(b"AKID/", b"AKID/x/"), NO_CREDENTIAL),
            (GOOD.replace(b"20260102", b"2026010"), NO_CREDENTIAL),
            (GOOD.replace(b"us-east-1", b""), NO_CREDENTIAL),
            (GOOD.replace(b"host;x-amz-date", b"x-amz-date;host"), NO_NAMES),
            (GOOD.replace(b"host;x-amz-date", b"Host;x-amz-date"), NO_NAMES),
            (GOOD.replace(b"host;x-amz-date", b"host;host"), NO_NAMES),
            (GOOD.replace(b"host;x-amz-date", b"host;"), NO_NAMES),
            (GOOD.replace(b"host;x-amz-date", b""), NO_NAMES),
            # One is missing, and another is there twice: three all the same.
            (GOOD.replace(b"Credential=AKID", b"Signature=AKID"), NO_CREDENTIAL),
            (GOOD.replace(b"SignedHeaders=", b"Signature="), NO_NAMES),
            (GOOD.replace(b"Signature=" + b"0" * 64, b"SignedHeaders=host"), NO_SIGNATURE),
        ],
    )
    def test_what_cannot_be_read(self, authorization: bytes, detail: str) -> None:
        with pytest.raises(AuthorizationError) as caught:
            parse_authorization([(b"Authorization", authorization), self.DATE])
        assert caught.value.result is VerifyResult.MALFORMED
        assert str(caught.value) == detail

    NOT_ONE_DATE: Final = "x-amz-date is not one date YYYYMMDDTHHMMSSZ"

    @pytest.mark.parametrize(
        ("more", "result", "detail"),
        [
            ([], VerifyResult.MISSING_HEADER, "no x-amz-date"),
            ([(b"x-amz-date", b"yesterday")], VerifyResult.MALFORMED, NOT_ONE_DATE),
            ([DATE, DATE], VerifyResult.MALFORMED, NOT_ONE_DATE),
            (
                [DATE, (b"AUTHORIZATION", GOOD)],
                VerifyResult.MALFORMED,
                "more than one Authorization header",
            ),
            (
                [DATE, (b"authorization", b"Bearer x")],
                VerifyResult.MALFORMED,
                "more than one Authorization header",
            ),
        ],
    )
    def test_dates_and_second_headers(
        self, more: list[tuple[bytes, bytes]], result: VerifyResult, detail: str
    ) -> None:
        with pytest.raises(AuthorizationError) as caught:
            parse_authorization([(b"authorization", self.GOOD), *more])
        assert caught.value.result is result
        assert str(caught.value) == detail

    @given(st.binary(max_size=100))
    def test_rubbish_raises_nothing_else(self, rubbish: bytes) -> None:
        with pytest.raises(AuthorizationError):
            parse_authorization([(b"authorization", b"AWS4-HMAC-SHA256 " + rubbish), self.DATE])


class TestSigners:
    """Signers are kept for whoever shares them: equal credentials, region and service have one."""

    @staticmethod
    def signed(signer: Signer) -> bytes:
        return dict(signer.authorize(b"POST", TARGET, HEADERS, b"{}", NOON))[b"authorization"]

    def test_equal_ones_have_one_signer(self) -> None:
        signers = Signers()
        again = Credentials(ACCESS_KEY_ID, Secret(SECRET_ACCESS_KEY.reveal()))
        signer = signers.signer(CREDENTIALS, "us-east-1", "bedrock")
        assert signers.signer(CREDENTIALS, "us-east-1", "bedrock") is signer
        assert signers.signer(again, "us-east-1", "bedrock") is signer

    def test_another_region_or_service_has_another(self) -> None:
        signers = Signers()
        signatures = {
            self.signed(signers.signer(CREDENTIALS, region, service))
            for region in ("us-east-1", "eu-west-1")
            for service in ("bedrock", "bedrock-mantle")
        }
        assert signatures == {
            self.signed(Signer(CREDENTIALS, region, service))
            for region in ("us-east-1", "eu-west-1")
            for service in ("bedrock", "bedrock-mantle")
        }
        assert len(signatures) == 4

    @pytest.mark.parametrize(
        "changed",
        [
            Credentials(ACCESS_KEY_ID, Secret("another")),
            Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, Secret("token")),
        ],
    )
    def test_changed_credentials_of_the_same_id_never_sign_as_before(self, changed: Credentials) -> None:
        signers = Signers()
        before = signers.signer(CREDENTIALS, "us-east-1", "bedrock")
        after = signers.signer(changed, "us-east-1", "bedrock")
        assert self.signed(after) == self.signed(Signer(changed, "us-east-1", "bedrock"))
        assert self.signed(after) != self.signed(before)

    def test_there_is_a_bound(self) -> None:
        signers = Signers()
        first = signers.signer(CREDENTIALS, "us-east-1", "bedrock")
        for number in range(256):
            signers.signer(CREDENTIALS, f"region-{number}", "bedrock")
        assert signers.signer(CREDENTIALS, "us-east-1", "bedrock") is not first


def test_signers_of_several_threads_mix_no_two_seconds() -> None:
    """A plan may be shared by gateways on the loops of several threads."""
    signer = Signers().signer(CREDENTIALS, "us-east-1", "bedrock")
    expected = {
        wall_ns: Signer(CREDENTIALS, "us-east-1", "bedrock").authorize(b"POST", TARGET, HEADERS, b"", wall_ns)
        for wall_ns in (NOON, NOON + SECOND, NOON + DAY)
    }

    def sign(wall_ns: int) -> bool:
        return all(
            signer.authorize(b"POST", TARGET, HEADERS, b"", wall_ns) == expected[wall_ns] for _ in range(300)
        )

    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(sign, expected))
