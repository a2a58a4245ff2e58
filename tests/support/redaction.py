"""Lives that are redacted and lived again: what redaction is held to.

`held(life)` writes a life's journal with redaction and asserts what must hold for each: every length is
life's, and at each step the machine orders the same, with the same lengths. What a test gets back is the
journal, to look for words in it.
"""

import base64
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from stargate_core.gateway.plan import Plan
from stargate_core.journal.format import Entry, Journal, read
from stargate_core.journal.lives import Life
from stargate_core.journal.redact import redact
from stargate_core.journal.replay import Verdict, replay
from stargate_core.journal.write import encoded
from stargate_core.messages import AnswerSent, ClientSent, StoreSent, UpstreamSent
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.questions import Answer
from support.bedrock import LAST_CHUNK, chunk
from support.journals import KEY, RecordedBench, journal
from support.machines import request
from support.vectors import Recording

_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "content-encoding"})


def cut(data: bytes, chance: random.Random, cuts: int = 4) -> Iterator[bytes]:
    """The data in pieces, cut at chance."""
    at = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(cuts))})
    for begin, end in itertools.pairwise(at):
        yield data[begin:end]


def response(recording: Recording) -> bytes:
    """The HTTP answer that a recording is of."""
    fields = {
        name.lower(): value
        for name, value in recording.response_headers.items()
        if name.lower() not in _FRAMING
    }
    head = f"HTTP/1.1 {recording.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    body = recording.body
    if not recording.is_stream:
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    chunks = b"".join(chunk(body[at : at + 777]) for at in range(0, len(body), 777))
    return f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunks + LAST_CHUNK


def lives(
    plan: Plan,
    asked: bytes,
    answer: bytes,
    chance: random.Random,
    *,
    answers: Sequence[Answer] = (),
    breaks: bool = False,
) -> list[Life]:
    """A request and its answer, cut at chance. answers: to questions, in order. breaks: it breaks then."""
    bench = RecordedBench(plan)
    bench.client.methods.append(asked.partition(b" ")[0])
    for piece in cut(asked, chance):
        bench.send(piece)
    for each in answers:
        bench.reply(each)
    if bench.asked:
        bench.open()
        for piece in cut(answer, chance):
            if bench.held:
                bench.answer(piece)
        if bench.held:
            (bench.upstream_breaks if breaks else bench.upstream_ends)()
    return bench.lives


def held(life: Life, *, words_too: bool = True) -> Journal:
    """The life's redacted journal, which tells the same story in as many bytes. words_too: or without
    credentials only.
    """
    made = journal(life, redact if words_too else None)
    for (_, event, _), entry in zip(life.entries, made.entries, strict=True):
        for (place, before), (_, after) in zip(_bytes(event), _bytes(entry.event), strict=True):
            assert len(before) == len(after), place
    assert made.trailer.diverged_at is None, _told(life, made)
    assert made.header.redacted is words_too
    assert replay(read(encoded(made)), BUILT_IN) == Verdict(
        made.trailer.entries, made.trailer.commands, made.trailer.fingerprint, None
    )
    return made


def stays(life: Life) -> Journal:
    """The life's journal without credentials: the same story, in the same bytes but for the key."""
    made = held(life, words_too=False)
    for kind in (ClientSent, UpstreamSent, AnswerSent, StoreSent):
        before = b"".join(event.data for _, event, _ in life.entries if isinstance(event, kind))
        after = _joined(made.entries, kind)
        assert _without(before, KEY.encode(), before) == _without(after, KEY.encode(), before), kind
    return made


def _without(data: bytes, key: bytes, where: bytes) -> bytes:
    """The data without what stands where the key does elsewhere."""
    parts: list[bytes] = []
    at = 0
    while (found := where.find(key, at)) >= 0:
        parts.append(data[at:found])
        at = found + len(key)
    return b"".join([*parts, data[at:]])


def _told(life: Life, made: Journal) -> str:
    at = made.trailer.diverged_at
    assert at is not None
    return f"entry {at}: {life.entries[at][2]!r}"


def _bytes(value: Any) -> Iterator[tuple[str, bytes | str]]:
    """All bytes and texts of an event, with their places."""
    for name in value.__struct_fields__:
        inner = getattr(value, name)
        if isinstance(inner, msgspec.Struct):
            yield from _bytes(inner)
        elif isinstance(inner, bytes | str):
            yield name, inner


def holds(made: Journal, word: str) -> list[str]:
    """The ways in which a journal still has a word: as it is, escaped, percent-encoded, in base64, cut."""
    whole = encoded(made)
    streams = [_joined(made.entries, kind) for kind in (ClientSent, UpstreamSent, AnswerSent, StoreSent)]
    found: list[str] = []
    for data in (whole, *streams):
        found += [way for way, spelled in spellings(word).items() if spelled in data]
        found += ["base64"] * any(word in text for text in _unpacked(data))
    return found


def spellings(word: str) -> Mapping[str, bytes]:
    """A word as it may be written."""
    escaped = "".join(f"\\u{ord(character):04x}" for character in word if ord(character) < 0x10000)
    plain = word.encode()
    return {
        "plain": plain,
        "escaped": escaped.encode(),
        "escaped JSON": msgspec.json.encode(word)[1:-1],
        "percent": "".join(f"%{byte:02X}" for byte in plain).encode(),
        "quoted": quote(word, safe="").encode(),
        "UTF-16": word.encode("utf-16-le"),
        "hex": plain.hex().encode(),
    }


def _joined(entries: Sequence[Entry], kind: type[Any]) -> bytes:
    events: list[Any] = [entry.event for entry in entries if isinstance(entry.event, kind)]
    return b"".join(event.data for event in events)


def _unpacked(data: bytes, depth: int = 0) -> Iterator[str]:
    """All that is base64 in there, unpacked, and what is base64 in that."""
    run = bytearray()
    alphabet = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
    for byte in (*data, 0):
        if byte in alphabet:
            run.append(byte)
            continue
        if len(run) >= 8:
            text = bytes(run).translate(bytes.maketrans(b"-_", b"+/"))
            for begin in range(4):
                piece = text[begin:]
                inner = base64.b64decode(piece[: len(piece) // 4 * 4])
                yield inner.decode("utf-8", "replace")
                if depth < 1:
                    yield from _unpacked(inner, depth + 1)
        run.clear()


def asks(path: str, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """A request with JSON."""
    return request(path, msgspec.json.encode(body), headers=headers)
