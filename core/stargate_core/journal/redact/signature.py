"""Requests that are signed by their callers (AWS SigV4), signed again.

A signature covers what redaction changes: a path, headers, the body's hash. So where it was good
(verdicts.py), the redacted request is signed with what stands for the secret. Where it was not, the signature
stays another one, and so it stays bad.
"""

import hashlib
import hmac
import re
from typing import Final

from stargate_core.aws.canonical import canonical_request, signing_key, string_to_sign
from stargate_core.aws.credentials import AuthorizationError, Presented
from stargate_core.aws.sigv4 import UNSIGNED_PAYLOAD, parse_authorization
from stargate_core.journal.redact.http_stream import Head
from stargate_core.secret import Secret

HASH: Final = b"x-amz-content-sha256"
"""The field in which a request says what its body's hash is."""
_SIGNATURE: Final = re.compile(rb"(Signature=)[0-9a-f]{64}")


def rehash(head: Head, body: bytes) -> None:
    """Have a redacted request say its redacted body's hash."""
    for field in head.fields:
        if field.name == HASH:
            field.value = hashlib.sha256(body).hexdigest().encode()


def sign_again(head: Head, body: bytes, placeholder: str) -> None:
    """Sign a redacted request, with what stands for the secret that has signed it."""
    presented = presented_in(head)
    made = None if presented is None else signature(head, body, presented, Secret(placeholder))
    for field in head.fields:
        if made is not None and field.name == b"authorization":
            field.value = _SIGNATURE.sub(rb"\g<1>" + made, field.value)


def presented_in(head: Head) -> Presented | None:
    """What a request's head says of its signature; None if it says nothing that can be read."""
    try:
        return parse_authorization(_fields(head))
    except AuthorizationError:
        return None


def signature(head: Head, body: bytes, presented: Presented, secret: Secret) -> bytes | None:
    """The signature that this secret gives; None where a header is missing that it is said to cover."""
    headers = _fields(head)
    method, _, rest = head.first.value.partition(b" ")
    target = rest.rpartition(b" ")[0]
    payload = hashlib.sha256(body).hexdigest().encode()
    if (HASH, UNSIGNED_PAYLOAD) in headers:
        payload = UNSIGNED_PAYLOAD
    try:
        canonical = canonical_request(method, target, headers, presented.signed_headers, payload)
    except KeyError:
        return None
    scope = b"/".join((presented.day, presented.region, presented.service, b"aws4_request"))
    key = signing_key(secret, presented.day, presented.region, presented.service)
    return hmac.digest(key, string_to_sign(presented.date, scope, canonical), "sha256").hex().encode()


def _fields(head: Head) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in head.fields if field.name]
