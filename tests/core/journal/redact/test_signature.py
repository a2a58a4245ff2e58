"""Signatures: good ones are good again. The gateway's own verifier says so."""

import hashlib
from typing import Final

import pytest

from stargate_core.aws.credentials import Credentials, VerifyResult
from stargate_core.aws.sigv4 import Signer, parse_authorization, verify
from stargate_core.journal.redact.http_stream import Field, Head
from stargate_core.journal.redact.signature import rehash, sign_again
from stargate_core.secret import Secret
from support.machines import WALL_EPOCH_NS

BODY: Final = b'{"a": 1}'
HEADERS: Final = [(b"host", b"stargate"), (b"x-amz-meta", b"said  twice")]


def signed(*more: tuple[bytes, bytes]) -> Head:
    signer = Signer(Credentials("AKIDANN", Secret("life's secret")), "us-east-1", "bedrock")
    headers = [*HEADERS, *more]
    headers += signer.authorize(b"POST", b"/model/a%3A0/converse?x=y", headers, BODY, WALL_EPOCH_NS)
    fields = [Field(name, name + b": ", value, b"\r\n") for name, value in headers]
    return Head(Field(b"", b"", b"POST /model/a%3A0/converse?x=y HTTP/1.1", b"\r\n"), fields, b"\r\n")


def verdict(head: Head, body: bytes, secret: str = "placeholder1x") -> VerifyResult:
    headers = [(field.name, field.value) for field in head.fields]
    presented = parse_authorization(headers)
    assert presented is not None
    target = head.first.value.split(b" ")[1]
    return verify(
        presented, Secret(secret), b"POST", target, headers, body, WALL_EPOCH_NS, unsigned_payload=True
    )


def test_what_is_signed_again_is_good() -> None:
    head = signed()
    assert verdict(head, BODY) is VerifyResult.BAD_SIGNATURE
    head.fields[1].value = b"other  words"
    before = len(head.raw)
    sign_again(head, b'{"b": 2}', "placeholder1x")
    assert verdict(head, b'{"b": 2}') is VerifyResult.OK
    assert len(head.raw) == before


def test_a_body_has_its_own_hash() -> None:
    head = signed((b"x-amz-content-sha256", hashlib.sha256(BODY).hexdigest().encode()))
    sign_again(head, b'{"b": 2}', "placeholder1x")
    assert verdict(head, b'{"b": 2}') is VerifyResult.BODY_MISMATCH
    rehash(head, b'{"b": 2}')
    sign_again(head, b'{"b": 2}', "placeholder1x")
    assert verdict(head, b'{"b": 2}') is VerifyResult.OK


@pytest.mark.parametrize("name", [b"host", b"authorization", b"x-amz-date"])
def test_what_cannot_be_signed_stays(name: bytes) -> None:
    head = signed()
    head.fields = [field for field in head.fields if field.name != name]
    before = head.raw
    sign_again(head, BODY, "placeholder1x")
    assert head.raw == before


def test_a_body_that_is_not_signed_is_not_signed_again() -> None:
    head = signed((b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"))
    assert verdict(head, BODY) is VerifyResult.BAD_SIGNATURE
    sign_again(head, b'{"b": 2}', "placeholder1x")
    assert verdict(head, b"whatever") is VerifyResult.OK
