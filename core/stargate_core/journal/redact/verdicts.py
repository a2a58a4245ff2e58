"""Verdicts: whose secret has signed what callers have sent, found out while the secrets are still there.

A signature (AWS SigV4, a token's HMAC) covers bytes that are other ones afterwards, and the secret is a
placeholder by then. Whoever signs again must know whether life has found it good. From outside that can't be
seen: somebody may have a good signature and be refused for another reason. But it is no opinion either. It is
arithmetic over bytes that the journal's writer has, and a machine of the core has no other answers than
these. So it is computed once more, on the bytes as they came and with the secrets themselves.

What comes out names the placeholders of secrets, and no secret.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from stargate_core.journal.format import Entry, Header
from stargate_core.journal.redact.configured import Configured, configured
from stargate_core.journal.redact.heads import CREDENTIALS
from stargate_core.journal.redact.http_stream import Head, redact_stream
from stargate_core.journal.redact.secrets import bare, code, parts_of
from stargate_core.journal.redact.signature import HASH, presented_in, signature
from stargate_core.journal.redact.streams import streams_of
from stargate_core.secret import Private, Secret


class OfRequest(Private, msgspec.Struct, frozen=True):
    """What is true of one request."""

    signer: str = ""
    """The placeholder of the secret that has signed it; empty: none that the configuration has."""
    hashed: bool = False
    """It says what its body's hash is, and that is so."""


class Verdicts(Private, msgspec.Struct, frozen=True):
    """What is true of all that callers have sent."""

    requests: Mapping[int, OfRequest] = {}
    """By where in the client's stream a request ends: redaction moves no ends."""
    tokens: Mapping[str, str] = {}
    """The placeholders of the secrets that have signed tokens, by the tokens."""


NOTHING: Final = OfRequest()
NONE: Final = Verdicts()


def judged(header: Header, entries: Sequence[Entry], secrets: Mapping[str, Secret]) -> Verdicts:
    """The verdicts on what callers have sent. entries: as they came. secrets: by their placeholders."""
    judge = _Judge(configured(header.configurations), secrets)
    for stream in streams_of(entries):
        if stream.source[0] == "client":
            redact_stream(b"".join(stream.pieces), judge, responses=False)
    return Verdicts(judge.requests, judge.tokens)


class _Judge:
    """Reads requests, and leaves them as they are."""

    def __init__(self, found: Configured, secrets: Mapping[str, Secret]) -> None:
        self._found = found
        self._secrets = secrets
        self._headers = CREDENTIALS | found.key_headers
        self.requests: dict[int, OfRequest] = {}
        self.tokens: dict[str, str] = {}

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        """A request, whole or not."""
        told = hashlib.sha256(body).hexdigest().encode()
        verdict = OfRequest(self._signer(head, body), told in head.values(HASH))
        if verdict != NOTHING:
            self.requests[end] = verdict
        for field in head.fields:
            if field.name in self._headers:
                self._token(bare(field.value.decode("latin-1")))
        return body

    def _signer(self, head: Head, body: bytes) -> str:
        """The placeholder of the secret that has signed a request; empty: of none."""
        presented = presented_in(head)
        if presented is None:
            return ""
        for placeholder, secret in self._known(self._found.pairs.get(presented.access_key_id, ())):
            made = signature(head, body, presented, secret)
            if made is not None and hmac.compare_digest(made, presented.signature):
                return placeholder
        return ""

    def _token(self, text: str) -> None:
        token = parts_of(text)
        if token is None:
            return
        for placeholder, secret in self._known(self._found.codes.get(token.issuer, ())):
            made = code(secret.reveal(), token.signed, token.algorithm)
            if made is not None and hmac.compare_digest(made, token.signature):
                self.tokens[text] = placeholder

    def _known(self, placeholders: Sequence[str]) -> Iterator[tuple[str, Secret]]:
        """Of these, those whose secrets there are. One that has changed has two: both may have counted."""
        return ((each, self._secrets[each]) for each in placeholders if each in self._secrets)
