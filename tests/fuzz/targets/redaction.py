"""Whatever callers, Bedrock and Redis have sent, redaction raises nothing, keeps each entry's kind, time and
length, gives the same bytes however the stream was cut, and leaves no word of a body behind.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fuzz.choices import pieces
from stargate_core.journal.format import Entry, Header
from stargate_core.journal.redact import redact
from stargate_core.messages import ClientSent, StoreSent, UpstreamSent
from support.bedrock import chunk, converse_answer, converse_story, http, invoke_story, stream_head
from support.http1_refusals import REQUESTS, RESPONSES
from support.journals import SCENARIOS, journal
from support.machines import chat, converse, request

CANARY: Final = b"Qzxwvkjq"
"""No word of any format, so whatever holds it was said by somebody."""
WORDS: Final = (
    CANARY,
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"data: ",
    b'"text":"',
    b"content-type: text/event-stream\r\n",
    b"$3\r\n",
)
_HEADER: Final[Header] = journal(next(iter(SCENARIOS.values()))()[0]).header
_KINDS: Final = 5


def target(data: bytes) -> None:
    """By the first byte: a client's stream, an upstream's, Redis', or a body of either after a good head."""
    kind, said = (data[0] % _KINDS if data else 0), data[1:]
    if kind == 3:
        said = request("/v1/messages", said)
    elif kind == 4:
        said = http(said)
    if not said:
        return
    whole = _redacted(kind, [said])
    assert _redacted(kind, [piece for piece in pieces(said) if piece]) == whole, "the cut matters"
    if kind >= 3:
        assert CANARY not in whole, "something of it is left"


def _event(kind: int, data: bytes) -> Any:
    if kind in (0, 3):
        return ClientSent(data)
    return StoreSent(data) if kind == 2 else UpstreamSent(1, data)


def _redacted(kind: int, cut: Sequence[bytes]) -> bytes:
    entries = [Entry(_HEADER.began_ns + at, _event(kind, piece)) for at, piece in enumerate(cut)]
    _, made = redact(_HEADER, list(entries))
    assert len(made) == len(entries)
    for before, after in zip(entries, made, strict=True):
        assert (type(after.event), after.now) == (type(before.event), before.now)
        assert len(_data(after)) == len(_data(before)), "a length has changed"
    return b"".join(map(_data, made))


def _data(entry: Entry) -> bytes:
    event = entry.event
    assert isinstance(event, ClientSent | UpstreamSent | StoreSent)
    return event.data


def seeds() -> Iterator[bytes]:
    """What callers ask, what Bedrock answers, and what neither should say."""
    said = CANARY.decode()
    for asked in (chat(user=said), converse(), *(data for data, _, _ in list(REQUESTS.values())[::6])):
        yield b"\x00" + asked
    for story in (converse_story([said]), invoke_story([said])):
        yield b"\x01" + stream_head() + b"".join(map(chunk, story.frames)) + b"0\r\n\r\n"
    for answer in (converse_answer(said), *(data for data, _ in list(RESPONSES.values())[::4])):
        yield b"\x01" + answer
    yield b"\x02*2\r\n$8\r\n" + CANARY + b"\r\n-ERR " + CANARY + b"\r\n"
    for body in (
        b'{"text":"%b","n":[1,"%b"]}',
        b'data: %b\n\ndata: {"a":"%b"}\n\n',
        b"%b \\u0051 %b",
        b"[%b%b",
    ):
        yield b"\x03" + body % (CANARY, CANARY)
        yield b"\x04" + body % (CANARY, CANARY)
