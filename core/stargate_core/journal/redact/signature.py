"""Requests that are signed by their callers (AWS SigV4), signed again.

A signature covers what redaction changes: a path, headers, the body's hash. So where life has taken it for
good, the redacted request is signed with what stands for the secret. Where life has not, the signature stays
another one, and so it stays bad.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from stargate_core.aws.canonical import canonical_request, signing_key, string_to_sign
from stargate_core.aws.sigv4 import UNSIGNED_PAYLOAD, AuthorizationError, Presented, parse_authorization
from stargate_core.journal.redact.http_stream import Head
from stargate_core.secret import Secret

_SIGNATURE: Final = re.compile(rb"(Signature=)[0-9a-f]{64}")


def rehash(head: Head, before: bytes, after: bytes) -> None:
    """What a request says of its body's hash is as true as it was."""
    told = hashlib.sha256(before).hexdigest().encode()
    for field in head.fields:
        if field.name == b"x-amz-content-sha256" and field.value == told:
            field.value = hashlib.sha256(after).hexdigest().encode()


def sign_again(head: Head, body: bytes, pairs: Mapping[str, str]) -> None:
    """Sign a redacted request. pairs: what stands for the secrets of key pairs, by their ids."""
    headers = [(field.name, field.value) for field in head.fields if field.name]
    presented = _presented(headers)
    if presented is None or presented.access_key_id not in pairs:
        return
    method, _, rest = head.first.value.partition(b" ")
    target = rest.rpartition(b" ")[0]
    payload = hashlib.sha256(body).hexdigest().encode()
    if (b"x-amz-content-sha256", UNSIGNED_PAYLOAD) in headers:
        payload = UNSIGNED_PAYLOAD
    try:
        canonical = canonical_request(method, target, headers, presented.signed_headers, payload)
    except KeyError:
        return
    scope = b"/".join((presented.day, presented.region, presented.service, b"aws4_request"))
    secret = Secret(pairs[presented.access_key_id])
    key = signing_key(secret, presented.day, presented.region, presented.service)
    signature = hmac.digest(key, string_to_sign(presented.date, scope, canonical), "sha256").hex().encode()
    for field in head.fields:
        if field.name == b"authorization":
            field.value = _SIGNATURE.sub(rb"\g<1>" + signature, field.value)


def _presented(headers: list[tuple[bytes, bytes]]) -> Presented | None:
    try:
        return parse_authorization(headers)
    except AuthorizationError:
        return None
