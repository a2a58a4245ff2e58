"""Verdicts: whoever was let in is let in again, whoever was refused is refused for the same reason, and
what they have shown is gone.
"""

import base64
import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
import msgspec
import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.sigv4 import Signer
from stargate_core.clock import SECOND
from stargate_core.config.jwt_auth import Issuer, JwtAuth
from stargate_core.config.live_key import LiveKey, write_live_key
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry, Sigv4Credential
from stargate_core.gateway.plan import Plan
from stargate_core.journal.lives import Life
from stargate_core.messages import KeysChanged, Reconfigured, WriteClient
from stargate_core.secret import Secret
from support.bedrock import LAST_CHUNK, chunk, converse_answer
from support.journals import GUARD, RecordedBench
from support.machines import LOG, MODEL, WALL_EPOCH_NS, a_config, a_plan, chat, proxy, request
from support.redaction import held, holds, lives

ANN: Final = "secret-of-ann-0123456789"
NEXT: Final = "ann's next secret 0123456"
BOB: Final = "secret-of-bob-0123456789"
KEY: Final = "sk-key-of-ann-0123456789"
HASHED: Final = "sk-hashed-key-0123456789"
LIVE: Final = "sk-live-key-of-ann-01234567"
SESSION: Final = "IQoJb3JpZ2luX2VjEJr//session-token"
SIGNS: Final = "the-secret-that-tokens-are-signed-with-0123456789" + "." * 20
CANARIES: Final = (ANN, NEXT, BOB, KEY, HASHED, LIVE, SESSION, SIGNS, "strangers-secret-0123")
NOW: Final = WALL_EPOCH_NS // SECOND
TARGET: Final = f"/model/{MODEL.replace(':', '%3A')}/converse"
OWN: Final = Issuer(
    issuer="https://own.test", audience="stargate", secret=Secret(SIGNS), algorithms=["HS256", "HS512"]
)
IDP: Final = Issuer(issuer="https://idp.test", audience="stargate", jwks_url="https://idp.test/keys")
TOKENS: Final = PluginEntry(name="jwt-auth", config=JwtAuth(issuers=[OWN, IDP]))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def plan(*entries: PluginEntry, secret: str = ANN, generation: int = 1) -> Plan:
    """Ann has a key, another one by its digest, and a key pair; so has Bob, whose models are others."""
    ann = Consumer(
        username="ann",
        keyauth_credentials=[KeyCredential(key=Secret(KEY)), KeyCredential(key_sha256=digest(HASHED))],
        sigv4_credentials=[Sigv4Credential(access_key_id="AKIDANN", secret_access_key=Secret(secret))],
    )
    bob = Consumer(
        username="bob",
        models=["nova-*"],
        sigv4_credentials=[Sigv4Credential(access_key_id="AKIDBOB", secret_access_key=Secret(BOB))],
    )
    plugins = [*(entries or (GUARD,)), proxy(), LOG]
    return a_plan(a_config(plugins=plugins, consumers=[ann, bob]), generation=generation)


def signed(
    secret: str = ANN,
    key_id: str = "AKIDANN",
    said: str = "hi",
    headers: Mapping[bytes, bytes] | None = None,
    beside: Mapping[str, str] | None = None,
    session: str = "",
) -> bytes:
    """A request of Bedrock's own API, signed. headers: what is signed too. beside: what is not."""
    body = msgspec.json.encode({"messages": [{"role": "user", "content": [{"text": said}]}]})
    keys = Credentials(key_id, Secret(secret), Secret(session) if session else None)
    signer = Signer(keys, "us-east-1", "bedrock")
    told = [(b"host", b"stargate"), (b"content-type", b"application/json"), *(headers or {}).items()]
    told += signer.authorize(b"POST", TARGET.encode(), told, body, WALL_EPOCH_NS)
    lines = {name.decode(): value.decode() for name, value in told}
    return request(TARGET, body, headers={**lines, **(beside or {})})


def hashed(said: str, true: bool) -> dict[bytes, bytes]:
    """The field in which it says its body's hash."""
    body = msgspec.json.encode({"messages": [{"role": "user", "content": [{"text": said}]}]})
    return {b"x-amz-content-sha256": hashlib.sha256(body if true else b"another").hexdigest().encode()}


def in_chunks(whole: bytes) -> bytes:
    """The same request, its body in chunks: what is signed is the body."""
    head, _, body = whole.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    pieces = b"".join(chunk(body[at : at + 20]) for at in range(0, len(body), 20))
    return b"\r\n".join([*lines, b"transfer-encoding: chunked"]) + b"\r\n\r\n" + pieces + LAST_CHUNK


def token(secret: str = SIGNS, algorithm: str = "HS256", **claims: Any) -> str:
    """A token."""
    told = {"iss": "https://own.test", "aud": "stargate", "exp": NOW + 100, "sub": "ann", **claims}
    return jwt.encode(told, secret, algorithm=algorithm)


def loose(text: str) -> str:
    """The same token, spelled in the way that nobody reads."""
    last = base64.urlsafe_b64decode(text.rpartition(".")[2] + "=")[-1]
    for other in "BCDFGHJKLNOPRSTVWXZabdefhijlmnpqrtuvxyz123567":
        if base64.urlsafe_b64decode(text.rpartition(".")[2][:-1] + other + "=")[-1] == last:
            return text[:-1] + other
    raise AssertionError("there is no other spelling")


def foreign(**claims: Any) -> str:
    """A token that another one's public key is asked about."""
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"key-one"}').rstrip(b"=").decode()
    return ".".join((head, *token(iss="https://idp.test", **claims).split(".")[1:]))


def asks(**headers: str) -> bytes:
    return chat(headers={name.replace("_", "-"): value for name, value in headers.items()})


def bearer(text: str) -> bytes:
    return asks(authorization=f"Bearer {text}")


CALLERS: Final[Mapping[str, tuple[bytes, int]]] = {
    "a key": (bearer(KEY), 200),
    "a key twice": (asks(authorization=f"bearer  {KEY}", x_api_key=KEY), 200),
    "a key that is known by its digest": (asks(x_api_key=HASHED), 200),
    "a key that nobody has": (asks(api_key="strangers-secret-0123"), 403),
    "two keys": (asks(authorization=f"Bearer {HASHED}", x_api_key=KEY), 401),
    "no key": (chat(), 401),
    "another scheme": (asks(authorization="Basic strangers-secret-0123"), 401),
    "a cookie beside it": (asks(x_api_key=KEY, cookie=f"a={SESSION}; b={HASHED}"), 200),
    "a signature": (signed(), 200),
    "a signature in chunks": (in_chunks(signed()), 200),
    "a signature over what is hashed": (signed(headers=hashed("hi", true=True)), 200),
    "a signature over what is hashed falsely": (signed(headers=hashed("hi", true=False)), 403),
    "a signature over a session's token": (signed(session=SESSION), 200),
    "a signature over a secret": (signed(said=f"my secret is {ANN}"), 200),
    "a signature over a secret that is hashed": (
        signed(said=f"it is {ANN}", headers=hashed(f"it is {ANN}", true=True)),
        200,
    ),
    "another one's signature": (signed(BOB), 403),
    "a signature of a stranger": (signed("strangers-secret-0123", "AKIDWHO"), 403),
    "a signature that is none": (signed().replace(b"Signature=", b"Signature=Z"), 403),
    "a signature beside another one's key": (signed(BOB, "AKIDBOB", beside={"x-api-key": KEY}), 401),
    "a signature beside one's own key": (signed(beside={"x-api-key": HASHED}), 200),
    "a signature of somebody who may not": (signed(BOB, "AKIDBOB"), 403),
}
"""What callers send to a gateway that wants keys or signatures, and the status that they get."""
HOLDERS: Final[Mapping[str, tuple[bytes, int]]] = {
    "a token": (bearer(token()), 200),
    "a token of more bits": (bearer(token(algorithm="HS512")), 200),
    "a token of another secret": (bearer(token("strangers-secret-0123" * 4)), 401),
    "a token that is over": (bearer(token(exp=NOW - 100)), 401),
    "a token of a stranger": (bearer(token(sub="stranger")), 403),
    "a token of another issuer": (bearer(token(iss="https://who.test")), 401),
    "a token that is spelled otherwise": (bearer(loose(token())), 401),
    "a token that is signed with nothing": (bearer(token().rpartition(".")[0] + "."), 401),
    "two tokens": (
        asks(authorization=f"Bearer {token()}", x_api_key=token("strangers-secret-0123" * 4)),
        401,
    ),
    "a token where others show a key": (asks(x_api_key=token()), 200),
}
"""The same, for one that wants tokens."""


def of_store() -> list[Life]:
    """A key of the store's."""
    bench = RecordedBench(plan())
    bench.tell(KeysChanged({digest(LIVE): write_live_key(LiveKey(consumer="ann"))}))
    bench.ask(asks(x_api_key=LIVE))
    bench.open()
    bench.answer(converse_answer())
    return bench.lives


def revoked() -> list[Life]:
    """Keys that the store has ended: one that the file knows too, one by its digest."""
    ended = write_live_key(LiveKey(consumer="ann", revoked=True))
    bench = RecordedBench(plan())
    bench.tell(KeysChanged({digest(KEY): ended, digest(HASHED): ended}))
    bench.ask(asks(x_api_key=KEY))
    bench.ask(asks(x_api_key=HASHED))
    assert [status(life) for life in bench.lives] == [403, 403]
    return bench.lives


def changed() -> list[Life]:
    """A secret is another one from the second request on; the third is signed with the old one still."""
    plans = plan(), plan(secret=NEXT, generation=2)
    bench = RecordedBench(plans[0], later=plans[1:])
    bench.client.methods += [b"POST"] * 3
    bench.send(signed() + signed(NEXT) + signed())
    bench.open()
    bench.tell(Reconfigured(2))
    bench.answer(converse_answer())
    bench.open()
    bench.answer(converse_answer())
    assert [record["status"] for record in bench.records] == [200, 200, 403]
    return bench.lives


def told(good: bool) -> Callable[[], list[Life]]:
    """A token whose signature only its issuer's public key can judge."""

    def live() -> list[Life]:
        answer = "" if good else "the signature does not match"
        found = lives(plan(TOKENS), bearer(foreign()), converse_answer(), random.Random(4), answers=[answer])
        assert status(found[0]) == (200 if good else 401)
        return found

    return live


STORIES: Final[Mapping[str, Callable[[], list[Life]]]] = {
    "a key of the store's": of_store,
    "keys that the store has ended": revoked,
    "a secret that changes": changed,
    "a token that a public key is good for": told(good=True),
    "a token that no public key is good for": told(good=False),
}
"""What takes more than one request, or a question."""


def status(life: Life) -> int:
    """What the caller was told first."""
    data = next(one.data for _, _, given in life.entries for one in given if isinstance(one, WriteClient))
    return int(data[9:12])


def lived(name: str) -> list[Life]:
    """The lives of a story."""
    if name in STORIES:
        return STORIES[name]()
    asked, wanted = {**CALLERS, **HOLDERS}[name]
    way = plan(TOKENS) if name in HOLDERS else plan()
    found = lives(way, asked, converse_answer(), random.Random(name))
    assert [status(life) for life in found] == [wanted]
    return found


def shown_in(asked: bytes) -> list[str]:
    """Signatures of a request, in hexadecimal digits or base64."""
    _, _, of_request = asked.partition(b"Signature=")
    return [part.decode() for part in (of_request[:64],) if part]


@pytest.mark.parametrize("words_too", [True, False])
@pytest.mark.parametrize("name", [*CALLERS, *HOLDERS, *STORIES])
def test_each_is_who_it_was_and_nothing_it_has_shown_is_left(name: str, *, words_too: bool) -> None:
    for life in lived(name):
        made = held(life, words_too=words_too)
        assert [word for word in CANARIES if holds(made, word)] == []
        for word in shown_in(CALLERS.get(name, (b"", 0))[0]):
            assert not holds(made, word)
