"""Credentials alone: whatever lets somebody in goes, wherever it stands, and no other byte does."""

import base64
import json
import random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.credentials import Credentials as KeyPair
from stargate_core.journal.format import Entry, Header
from stargate_core.journal.placeholders import Placeholders
from stargate_core.journal.redact import without_credentials
from stargate_core.journal.redact.credentials import Credentials, Verbatim
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.verdicts import NONE
from stargate_core.messages import ClientSent, CredentialsChanged, StoreSent, UpstreamSent
from stargate_core.secret import Secret
from support.bedrock import LAST_CHUNK, chunk, converse_story, event, http, inner, stream_head
from support.journals import SCENARIOS, journal
from support.machines import request
from support.redaction import cut, holds

CANARY: Final = "sk-Canary-0123456789-ABCDEF"
ODD: Final = "Canary+/with=odd~signs==0123"
(_LIFE,) = SCENARIOS["plain-ok"]()
HEADER: Final[Header] = journal(_LIFE).header

SHOWN: Final = {
    "authorization": "Bearer @",
    "proxy-authorization": "Basic @",
    "x-api-key": "@",
    "api-key": "@",
    "cookie": "session=@; a=b",
    "x-amz-security-token": "@",
    "x-auth-token": "@",
    "x-goog-api-key": "@",
    "client-secret": "@",
    "authorization-beside": "AWS4-HMAC-SHA256 Credential=AKID/20270115/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=host, Signature=@",
}
"""Headers that let somebody in, and how."""


def without(*events: Any, known: str = "") -> list[Any]:
    """What becomes of these. known: a secret of the configuration."""
    placeholders = Placeholders()
    if known:
        placeholders(Secret(known))
    entries = [Entry(0, event) for event in events]
    header, made = without_credentials(HEADER, entries, NONE, placeholders)
    assert header == HEADER
    whole = msgspec.structs.replace(journal(_LIFE), entries=made)
    assert [word for word in (CANARY, ODD) if holds(whole, word)] == []
    return [entry.event for entry in made]


def of_client(data: bytes, seed: int = 1) -> bytes:
    """What a client sends, cut at chance."""
    made = without(*map(ClientSent, cut(data, random.Random(seed))))
    return b"".join(each.data for each in made)


def of_upstream(data: bytes, *before: Any, known: str = "") -> bytes:
    """What an upstream sends, cut at chance."""
    pieces = [UpstreamSent(1, piece) for piece in cut(data, random.Random(1))]
    made = without(*before, *pieces, known=known)[len(before) :]
    return b"".join(each.data for each in made)


def told_in_pieces(said: str, size: int) -> bytes:
    """A stream that tells this, in Converse's deltas and in Claude's own."""
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"text": piece}} for piece in pieces]
    frames = [*converse_story(pieces).frames, *map(inner, deltas)]
    return stream_head() + b"".join(map(chunk, frames)) + LAST_CHUNK


class TestShown:
    @pytest.mark.parametrize("word", [CANARY, ODD, "f" * 64 + CANARY])
    @pytest.mark.parametrize("name", SHOWN)
    def test_it_goes_and_nothing_else_does(self, name: str, word: str) -> None:
        line = f"{name.removesuffix('-beside')}: {SHOWN[name]}\r\n"
        whole = f"GET /v1/models HTTP/1.1\r\nhost: a\r\n{line}user-agent: b/1\r\n\r\n"
        before, after = whole.split("@")
        made = of_client(whole.replace("@", word).encode()).decode()
        if name == "cookie":
            before, after = before.removesuffix("session="), after.removeprefix("; a=b")
        assert made.startswith(before)
        assert made.endswith(after)
        assert len(made) == len(before + word + after) + 13 * (name == "cookie")

    def test_a_signature_stays_one_and_others_stay_others(self) -> None:
        head = "GET / HTTP/1.1\r\nauthorization: AWS4-HMAC-SHA256 Credential=AKID/x, Signature=%s\r\n\r\n"
        made = of_client(b"".join((head % (digit * 64)).encode() for digit in "aba"))
        first, second, third = (part[:64] for part in made.split(b"Signature=")[1:])
        assert (first, third) == (b"0" * 63 + b"1",) * 2
        assert second == b"0" * 63 + b"2"
        assert b"Credential=AKID/x" in made, "whose it is may be known"

    def test_of_a_query_what_is_called_so(self) -> None:
        target = f"/v1/models?X-Amz-Signature={CANARY}&limit=5&api_key={CANARY}&after=here%21&key={CANARY}"
        made = of_client(request(target, method="GET")).decode()
        assert "&limit=5&" in made
        assert "&after=here%21&" in made

    def test_it_goes_from_all_that_was_said(self) -> None:
        """In the body, in one that came before, and in the answer."""
        body = {"messages": [{"role": "user", "content": f"My key is {CANARY}, 'tis."}], "user": CANARY}
        asked = request("/v1/chat/completions", msgspec.json.encode(body))
        shown = request("/v1/chat/completions", msgspec.json.encode(body), headers={"x-api-key": CANARY})
        made = of_client(asked + shown)
        assert b"My key is placeholder1xxxxxxxxxxxxxxx, 'tis." in made
        answer = http(msgspec.json.encode({"text": f"You said {CANARY}."}))
        assert of_upstream(answer, ClientSent(shown)) == answer.replace(
            CANARY.encode(), b"placeholder1xxxxxxxxxxxxxxx"
        )

    @pytest.mark.parametrize("size", [1, 3, 7, 40])
    def test_it_goes_from_streams_however_they_cut_it(self, size: int) -> None:
        """The frames' checksums are right afterwards: they are made anew."""
        said = f"I know {CANARY} and {ODD}, I do."
        shown = request("/", headers={"x-api-key": CANARY, "api-key": ODD}, method="GET")
        made = of_upstream(told_in_pieces(said, size), ClientSent(shown))
        one, other = ("placeholder1".ljust(len(CANARY), "x"), "placeholder2".ljust(len(ODD), "x"))
        assert made == told_in_pieces(f"I know {one} and {other}, I do.", size)

    def test_a_short_one_goes_where_it_was_shown_and_not_elsewhere(self) -> None:
        whole = request("/v1/chat", b'{"a": "a test of it"}', headers={"x-api-key": "test"})
        assert of_client(whole) == whole.replace(b"key: test", b"key: xxx1")

    def test_it_may_be_no_text_at_all(self) -> None:
        whole = b"GET / HTTP/1.1\r\nx-api-key: \xff\xfecl\xc3\xa9\xf0\x9f\x98\x80-0123\r\n\r\n"
        assert of_client(whole) == b"GET / HTTP/1.1\r\nx-api-key: placeholder1xxx\r\n\r\n"
        body = '{"a": "clé-0123-😀"}'.encode()
        said = of_client(request("/v1", body, headers={"x-api-key": "clé-0123-😀"}))
        assert "clé" not in said.decode("utf-8", "replace")
        assert len(json.loads(said.partition(b"\r\n\r\n")[2])["a"]) == len("clé-0123-😀")

    @pytest.mark.parametrize(
        "whole",
        [
            f"GET / HTTP/9.9\r\nAuthorization: Bearer {CANARY}\r\nhost: a\r\n\r\n",
            f"\x16\x03\x01\r\nx-api-key:{CANARY}",
            f"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-api-key: {CANARY}\r\n\r\n",
            f"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx-api-key: {CANARY}\r\n",
        ],
    )
    def test_it_goes_from_what_nobody_can_read(self, whole: str) -> None:
        made = of_client(whole.encode())
        assert made.count(b"placeholder1") == 1
        assert len(made) == len(whole)


class TestSecrets:
    def test_one_of_the_configuration_goes_from_answers(self) -> None:
        answer = http(f"<p>{CANARY}</p>".encode(), content_type="text/html")
        assert b"<p>placeholder1xx" in of_upstream(answer, known=CANARY)

    def test_one_goes_from_what_is_in_base64(self) -> None:
        sealed = base64.b64encode(f"of {CANARY}".encode()).decode()
        answer = http(msgspec.json.encode({"bytes": sealed, "b64_json": "AAECAwQ="}))
        made = of_upstream(answer, known=CANARY).partition(b"\r\n\r\n")[2]
        told = msgspec.json.decode(made)
        assert base64.b64decode(told["bytes"]).startswith(b"of placeholder1")
        assert told["b64_json"] == "AAECAwQ="

    def test_a_pairs_id_stays_as_its_name(self) -> None:
        changed = CredentialsChanged("", KeyPair("AKIDNAME", Secret("placeholder1")))
        assert without(changed) == [changed]

    def test_a_stores_value_stays(self) -> None:
        told = StoreSent(b"$5\r\nhello\r\n-ERR what he said\r\n*1\r\n:1\r\n")
        assert without(told) == [told]


class TestToken:
    def test_without_its_signature_it_stays(self) -> None:
        claims = base64.urlsafe_b64encode(b'{"iss":"a","email":"ann@example.test"}').decode().rstrip("=")
        made = [
            of_client(request("/", headers={"authorization": f"Bearer eyJ9.{claims}.{signature}"}))
            for signature in ("c2lnbmF0dXJlLW9m", "c2lnbmF0dXJlLW9mLQ", "c2lnbmF0dXJlLW9mLTE", "")
        ]
        ends = (b"placeholder1xxxx", b"placeholder1xxxxxA", b"placeholder1xxxxxxA", b"")
        assert all(b".%b.%b\r\n" % (claims.encode(), end) in one for one, end in zip(made, ends, strict=True))

    def test_digests_that_nobody_has_shown_are_others(self) -> None:
        secrets: Secrets = Credentials(Placeholders(), frozenset(), {})
        one, other = "a" * 64, "b" * 64
        assert [secrets.digest(each) for each in (one, other, one)] == [f"{n:064x}" for n in (1, 2, 1)]


text = st.text(st.characters(codec="utf-8") | st.sampled_from('\\"{}[],:\r\n\0'), max_size=60)
documents = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


class TestAllElse:
    @given(documents, st.booleans(), st.integers(0, 60))
    def test_documents_stay(self, document: Any, escaped: bool, size: int) -> None:
        body = json.dumps(document, ensure_ascii=escaped).encode()
        for whole in (body, body[: len(body) - size]):
            asked = request("/v1/chat/completions", whole)
            assert of_client(asked) == asked
            answer = http(whole)
            assert of_upstream(answer) == answer

    @given(st.binary(max_size=200))
    def test_bytes_stay(self, data: bytes) -> None:
        for whole in (data, stream_head() + data, http(data), http(data, content_type="text/event-stream")):
            assert of_upstream(whole) == whole

    @given(st.lists(documents, max_size=4), st.integers(0, 400))
    def test_streams_stay(self, said: list[Any], size: int) -> None:
        frames = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": each}) for each in said]
        frames += [inner({"index": 0, "delta": each}) for each in said]
        whole = stream_head() + b"".join(map(chunk, frames)) + LAST_CHUNK
        assert of_upstream(whole) == whole
        assert of_upstream(whole[: len(whole) - size]) == whole[: len(whole) - size]
        lines = b"".join(b"event: a\ndata: %b\n\n: b\n" % json.dumps(each).encode() for each in said)
        vendors = http(lines, content_type="text/event-stream")
        assert of_upstream(vendors) == vendors

    def test_percent_and_numbers_and_what_is_no_base64_stay(self) -> None:
        words = Verbatim(Placeholders())
        assert words.quoted("a%C3%A9") == "a%C3%A9"
        assert words.number("-1.50e10") == "-1.50e10"
        assert words.base64("not base64!") == "not base64!"
        assert words.base64("bm8=") == "bm8="
