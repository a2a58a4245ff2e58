"""A journal without what people said, and without what they showed to be let in.

What is put in its place is as long, and decisions come out the same. This file knows where in a journal words
are; the others of this package know what to do with them. First come the connections' streams, for callers'
keys are met there, then everything else that was told, then the header.
"""

import hashlib
from functools import partial
from typing import Any

import msgspec

from stargate_core.dialects.face import Fetched
from stargate_core.journal.format import (
    Beginning,
    Entry,
    FlightBeginning,
    Header,
    SessionBeginning,
)
from stargate_core.journal.placeholders import Placeholders
from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.configured import Configured, configured, redact_configuration
from stargate_core.journal.redact.credentials import Credentials, Verbatim
from stargate_core.journal.redact.heads import Heads
from stargate_core.journal.redact.http_stream import Head, Messages, redact_stream
from stargate_core.journal.redact.resp import redact_replies
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.signature import rehash, sign_again
from stargate_core.journal.redact.streams import Stream, redact_in_place, streams_of
from stargate_core.journal.redact.values import Values
from stargate_core.journal.redact.verdicts import NONE, NOTHING, Verdicts
from stargate_core.journal.redact.vocabulary import WORDS
from stargate_core.journal.redact.words import Words
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerFailed,
    AnswerOrdered,
    ConnectionFailed,
    CredentialsChanged,
    EntryFound,
    FlightBegan,
    FlightEnded,
    KeysChanged,
    KeysRead,
    StoreAsked,
    StoreLost,
    StoreTold,
    Unanswered,
    UpstreamFailed,
)
from stargate_core.questions import Entry as Kept
from stargate_core.questions import Keys, ReadEntry, WriteEntry


def redact(
    header: Header, entries: list[Entry], verdicts: Verdicts = NONE, salt: bytes = b""
) -> tuple[Header, list[Entry]]:
    """A journal's header and entries, redacted.

    verdicts: what is true of the signatures in it. salt: what nobody else knows, and nobody keeps. All that
    was said salts it too; but without a salt whoever knows everything but one word could find that word by
    trying.
    """
    found = configured(header.configurations)
    words = Words(_all_that_was_said(entries, salt), WORDS | found.texts)
    secrets = Secrets(words, found.texts, verdicts.tokens)
    header, entries = _Redaction(header, entries, verdicts, found, words, secrets).redacted()
    return msgspec.structs.replace(header, redacted=True), entries


def without_credentials(
    header: Header, entries: list[Entry], verdicts: Verdicts, placeholders: Placeholders
) -> tuple[Header, list[Entry]]:
    """The same, where only what callers have shown to be let in goes, and secrets wherever they stand.

    placeholders: of the secrets that were met so far.
    """
    found = configured(header.configurations)
    secrets = Credentials(placeholders, found.texts, verdicts.tokens)
    redaction = _Redaction(header, entries, verdicts, found, Verbatim(placeholders), secrets)
    redaction.look_at_heads()
    return redaction.redacted()


def _all_that_was_said(entries: list[Entry], salt: bytes) -> bytes:
    whole = hashlib.blake2b(salt)
    for stream in streams_of(entries):
        for piece in stream.pieces:
            whole.update(piece)
    return whole.digest()


class _Redaction:
    """One journal's."""

    def __init__(
        self,
        header: Header,
        entries: list[Entry],
        verdicts: Verdicts,
        found: Configured,
        words: Words,
        secrets: Secrets,
    ) -> None:
        self._header = header
        self._verdicts = verdicts
        self._entries = list(entries)
        self._streams = streams_of(entries)
        self._words = words
        self._secrets = secrets
        self._bodies = bodies = Bodies(words)
        self._heads = Heads(words, secrets, bodies, found.texts, found.key_headers)
        self._values = Values(words, secrets, bodies, self._heads)

    def redacted(self) -> tuple[Header, list[Entry]]:
        for stream in self._streams:
            redact_in_place(self._entries, stream, partial(self._stream, stream), self._words.blank)
        for number, entry in enumerate(self._entries):
            event = self._event(entry.event)
            if event is not entry.event:
                self._entries[number] = msgspec.structs.replace(entry, event=event)
        configurations = {
            generation: redact_configuration(config, self._secrets)
            for generation, config in self._header.configurations.items()
        }
        beginning = self._beginning(self._header.beginning)
        header = msgspec.structs.replace(self._header, beginning=beginning, configurations=configurations)
        return header, self._entries

    def look_at_heads(self) -> None:
        """Meet all that callers have shown, to find it in what was said before."""
        for stream in self._streams:
            if stream.source[0] == "client":
                redact_stream(b"".join(stream.pieces), _Heads(self._heads), responses=False)

    # ------------------------------------------------------------------------------------------------ streams

    def _stream(self, stream: Stream, data: bytes) -> bytes:
        match stream.source[0]:
            case "client":
                return self._connection(data, _Requests(self), responses=False)
            case "upstream":
                return self._connection(data, _Responses(self), responses=True)
            case "store":
                return redact_replies(data, self._words, self._values.stored)
            case _:
                return self._bodies.redact(data, stream.content_type)

    def _connection(self, data: bytes, messages: Messages, *, responses: bool) -> bytes:
        if not isinstance(self._words, Verbatim):
            return redact_stream(data, messages, responses=responses)
        return redact_stream(data, messages, responses=responses, framing=self._rest, unread=self._rest)

    def _rest(self, data: bytes) -> bytes:
        """What is no part of a message that can be read, without what was shown in it."""
        return self._words.blank(self._heads.lines(data))

    def request(self, head: Head, body: bytes, end: int) -> bytes:
        """Redact a request's head; its body, redacted. end: where in the stream it ends."""
        verdict = self._verdicts.requests.get(end, NOTHING)
        kind, coding = head.value(b"content-type"), head.value(b"content-encoding")
        self._heads.request(head)
        made = self._bodies.redact(body, kind, coding)
        if verdict.hashed:
            rehash(head, made)
        if verdict.signer:
            sign_again(head, made, verdict.signer)
        return made

    def response(self, head: Head, body: bytes) -> bytes:
        """Redact an answer's head; its body, redacted."""
        kind, coding = head.value(b"content-type"), head.value(b"content-encoding")
        self._heads.response(head)
        return self._bodies.redact(body, kind, coding)

    # ------------------------------------------------------------------------------------------------- events

    def _event(self, event: Any) -> Any:
        values, word, replace = self._values, self._words.word, msgspec.structs.replace
        match event:
            case Answered(_, answer):
                return replace(event, answer=self._answer(answer))
            case Unanswered(_, why):
                return replace(event, why=word(why))
            case UpstreamFailed() | ConnectionFailed() | StoreLost():
                return replace(event, detail=word(event.detail))
            case CredentialsChanged():
                return replace(event, credentials=values.authority(event.credentials))
            case KeysChanged(entries):
                return replace(event, entries=values.keys(entries))
            case AnswerBegan() | FlightBegan():
                return replace(event, headers=values.headers(event.headers))
            case AnswerFailed():
                return replace(event, fault=values.fault(event.fault))
            case FlightEnded():
                return event if event.fault is None else replace(event, fault=values.fault(event.fault))
            case _:
                return self._event_of_stores(event)

    def _event_of_stores(self, event: Any) -> Any:
        values, replace = self._values, msgspec.structs.replace
        match event:
            case EntryFound(key, value):
                return replace(
                    event, key=values.key(key), value=None if value is None else values.kept(value)
                )
            case AnswerOrdered():
                return replace(event, order=values.order(event.order))
            case StoreAsked(_, ReadEntry(key)):
                return replace(event, question=ReadEntry(values.key(key)))
            case StoreTold(WriteEntry(key, value)):
                written = replace(event.statement, key=values.key(key), value=values.kept(value))
                return replace(event, statement=written)
            case KeysRead(Keys() as keys):
                return replace(event, keys=replace(keys, entries=values.keys(keys.entries)))
            case _:
                return event

    def _answer(self, answer: Any) -> Any:
        match answer:
            case Kept(value):
                return msgspec.structs.replace(answer, value=self._values.kept(value))
            case Keys(_, entries):
                return msgspec.structs.replace(answer, entries=self._values.keys(entries))
            case Fetched():
                return self._values.fetched(answer)
            case str():
                return self._words.word(answer)
            case _:
                return answer

    def _beginning(self, beginning: Beginning) -> Beginning:
        match beginning:
            case SessionBeginning(begun):
                authorities = {
                    account: self._values.authority(authority)
                    for account, authority in begun.credentials.items()
                }
                checkpoint = msgspec.structs.replace(
                    begun,
                    client=self._words.word(begun.client),
                    credentials=authorities,
                    keys=self._values.keys(begun.keys),
                )
                return SessionBeginning(checkpoint)
            case FlightBeginning():
                return msgspec.structs.replace(beginning, order=self._values.order(beginning.order))
            case _:
                return beginning


class _Heads:
    """What a client has sent, of which only the heads are redacted."""

    def __init__(self, heads: Heads) -> None:
        self._heads = heads

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        """A request."""
        self._heads.request(head)
        return body


class _Requests:
    """What a client has sent."""

    def __init__(self, redaction: _Redaction) -> None:
        self._redaction = redaction

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        """A request."""
        return self._redaction.request(head, body, end)


class _Responses:
    """What an upstream has sent."""

    def __init__(self, redaction: _Redaction) -> None:
        self._redaction = redaction

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        """An answer."""
        return self._redaction.response(head, body)
