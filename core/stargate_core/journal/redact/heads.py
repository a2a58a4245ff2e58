"""Heads: which lines of a request's or an answer's stay, and what becomes of the others.

What says how bytes are to be read stays, and what names software: media types, lengths, versions, the words
of an API. Everything else becomes other words of the same form, and so do the parts of a path that are no
API's and no configuration's, and whatever a query says.

A credential is no word: `Secrets` has it. Where one may come is known of some headers by their names, of
others by a word in their names; and so with members of a query.
"""

import re
from typing import Final

from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.http_stream import Head
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.vocabulary import WORDS
from stargate_core.journal.redact.words import Words

_STAY: Final = frozenset(
    {
        b"accept", b"accept-encoding", b"amz-sdk-invocation-id", b"amz-sdk-request", b"anthropic-beta",
        b"anthropic-dangerous-direct-browser-access", b"anthropic-version", b"cache-control", b"connection",
        b"content-encoding", b"content-length", b"content-type", b"date", b"expect", b"keep-alive",
        b"openai-beta", b"retry-after", b"server", b"te", b"traceparent", b"transfer-encoding", b"upgrade",
        b"user-agent", b"x-amz-date", b"x-amz-target", b"x-amzn-requestid", b"x-should-retry",
    }
)  # fmt: skip
_STAY_PREFIXES: Final = (b"x-stainless-", b"x-ratelimit-")
_SAID: Final = re.compile(r"[\x20-\x7e]{0,400}")
"""What a line that stays may look like."""
CREDENTIALS: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-amz-security-token", b"cookie"}
)
"""Headers in which callers show what lets them in."""
_SECRET: Final = re.compile(rb"auth|token|secret|passw|api[_-]?key|signature|credential|cookie")
"""What the names of other such headers have in them."""
_SECRET_MEMBER: Final = re.compile(r"(?i)auth|token|secret|passw|key|sig|cred|session")
"""And of such members of a query."""
_LINE: Final = re.compile(rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(:[ \t]*)([^\r\n]*)")
_CHOICE: Final = re.compile(r"[0-9.]{1,20}")
_SEGMENTS: Final = frozenset(
    {
        "anthropic", "apply", "async-invoke", "chat", "completions", "converse", "converse-stream",
        "count-tokens", "count_tokens", "embeddings", "foundation-model-availability", "foundation-models",
        "guardrail", "guardrail-checks", "healthz", "inference-profiles", "invoke",
        "invoke-with-response-stream", "messages", "model", "models", "openai", "readyz", "responses", "v1",
        "version",
    }
)  # fmt: skip
_NAMES_MODEL: Final = frozenset({"model", "models", "foundation-models", "inference-profiles"})
_MODEL: Final = re.compile(r"[A-Za-z0-9._:%/@+-]{1,512}")
_ERROR: Final = re.compile(r"[A-Za-z0-9_.#-]{1,128}")


class Heads:
    """Redacts heads, in place. known: texts of the configuration. keys: more headers that keys come in."""

    def __init__(
        self, words: Words, secrets: Secrets, bodies: Bodies, known: frozenset[str], keys: frozenset[bytes]
    ) -> None:
        self._words = words
        self._secrets = secrets
        self._bodies = bodies
        self._known = known
        self._credentials = CREDENTIALS | keys
        self._segments = (
            _SEGMENTS | {part for text in known if "/" in text for part in text.split("/")} | known
        )

    def request(self, head: Head) -> None:
        """A request's."""
        line = head.first.value.decode("utf-8", "surrogateescape").split(" ")
        if len(line) > 1:
            line[1] = self._target(line[1])
        head.first.value = " ".join(line).encode("utf-8", "surrogateescape")
        self._fields(head)

    def response(self, head: Head) -> None:
        """An answer's. Its reason says what its status does, or nothing."""
        version, blank, rest = head.first.value.partition(b" ")
        status, another, reason = rest.partition(b" ")
        stays = reason.replace(b" ", b"").isalpha() and len(reason) <= 40
        head.first.value = version + blank + status + another + (reason if stays else self._other(reason))
        self._fields(head)

    def _fields(self, head: Head) -> None:
        for field in head.fields:
            # What is no field is a folded line, or half of one.
            named = self.value(field.name, field.value)
            field.value = named if field.name else self._other(field.value)

    def value(self, name: bytes, value: bytes) -> bytes:
        """A field's value."""
        text = value.decode("latin-1")
        if self._is_credential(name):
            return self._credential(name, text).encode("latin-1", "replace")
        if text in self._known:
            return value
        if name == b"x-amzn-errortype":
            told, colon, where = text.partition(":")
            kept = told if _ERROR.fullmatch(told) else self._words.word(told)
            return (kept + colon + self._words.word(where)).encode("latin-1", "replace")
        stays = name in _STAY or name.startswith(_STAY_PREFIXES)
        if name.startswith(b"x-amzn-bedrock-"):
            stays = text.lower() in WORDS or _CHOICE.fullmatch(text) is not None
        if name == b"x-amz-content-sha256" and text.startswith(("UNSIGNED-", "STREAMING-")):
            stays = True
        return value if stays and _SAID.fullmatch(text) else self._other(value)

    def _credential(self, name: bytes, text: str) -> str:
        if text[:5].upper() == "AWS4-":
            return _AUTHORITY.sub(self._part_of_signature, text)
        return self._secrets.other(text) if b"cookie" in name else self._secrets.shown(text)

    def _is_credential(self, name: bytes) -> bool:
        stays = name in _STAY or name.startswith((*_STAY_PREFIXES, b"x-amzn-"))
        return name in self._credentials or (not stays and _SECRET.search(name) is not None)

    def lines(self, data: bytes) -> bytes:
        """What nobody could read as HTTP, without the credentials in what looks like lines of a head."""

        def line(found: re.Match[bytes]) -> bytes:
            name = found[1].lower()
            made = self.value(name, found[3]) if self._is_credential(name) else found[3]
            return found[1] + found[2] + made

        return _LINE.sub(line, data)

    def _part_of_signature(self, found: re.Match[str]) -> str:
        named = found[1] == "Credential="
        return found[1] + (self._secrets.key_id(found[2]) if named else self._secrets.signature(found[2]))

    def _target(self, target: str) -> str:
        """A request's target: paths of APIs and routes stay, and models' names."""
        path, mark, query = target.partition("?")
        made: list[str] = []
        before = ""
        for segment in path.split("/"):
            stays = (
                not segment
                or segment in self._segments
                or (before in _NAMES_MODEL and _MODEL.fullmatch(segment) is not None)
            )
            made.append(segment if stays else self._words.quoted(segment))
            before = segment
        return "/".join(made) + mark + "&".join(map(self._pair, query.split("&")))

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if name in _QUERIES:
            return name + equals + (value if value.isdigit() else self._words.quoted(value))
        hides = _SECRET_MEMBER.search(name) is not None
        made = self._secrets.quoted(value) if hides else self._words.quoted(value)
        return self._words.quoted(name) + equals + made

    def _other(self, value: bytes) -> bytes:
        text = value.decode("utf-8", "surrogateescape")
        return self._bodies.text(text).encode("utf-8", "surrogateescape")


_QUERIES: Final = frozenset(
    {"after_id", "api-version", "before_id", "beta", "limit", "maxResults", "nextToken", "stream"}
)
_AUTHORITY: Final = re.compile(r"(Credential=|Signature=)([^/,\s]*)")
