"""What is going to happen on a connection, as a list of steps, and the cutter that tears it into pieces.

An answer is planned whole before its first byte leaves. A scenario is then no more than an edit of the
list: a frame is replaced, a wait put in, the end taken off. The connection performs the steps one by one
and knows nothing of scenarios.

Real HTTP chunks and event-stream frames do not line up: one chunk bears several frames, or a part of one.
The cutter sees to that, by the seeded chance of the connection: at full speed a few frames in a chunk, cut
anywhere; with pauses between the frames now and then a frame whose tail comes with the next.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec

from stargate.simulator.events import Headers, Kind

_CHUNK_BYTES: Final = 700
"""About how long the chunks are that frames without pauses are cut into."""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Do nothing for a while; the peer may leave meanwhile."""

    ns: int


class Head(msgspec.Struct, frozen=True):
    """Send the status line and the headers. Without a Content-Length the body is chunked."""

    status: int
    headers: Headers


class Body(msgspec.Struct, frozen=True):
    """Send a piece of the body: one frame of a stream, or (a part of) a document."""

    data: bytes
    kind: Kind = Kind.DOCUMENT
    events: int = 1
    """How many events are complete with this piece."""


class Flush(msgspec.Struct, frozen=True, gc=False):
    """What comes before and after are two writes."""


class End(msgspec.Struct, frozen=True, gc=False):
    """End the body as HTTP has it."""


class Raw(msgspec.Struct, frozen=True, gc=False):
    """Send bytes past HTTP's rules."""

    data: bytes


class Stall(msgspec.Struct, frozen=True, gc=False):
    """Say nothing more, until the peer leaves."""


class HangUp(msgspec.Struct, frozen=True, gc=False):
    """Close the connection (FIN), wherever HTTP is."""

    abrupt: bool = True
    """Without TLS's own goodbye."""


class Reset(msgspec.Struct, frozen=True, gc=False):
    """Break the connection (RST)."""


class CloseOnReuse(msgspec.Struct, frozen=True, gc=False):
    """Close the connection when the next request arrives on it, without an answer."""


Step: TypeAlias = Wait | Head | Body | Flush | End | Raw | Stall | HangUp | Reset | CloseOnReuse
Plan: TypeAlias = list[Step]


def document_plan(status: int, headers: Headers, body: bytes, wait_ns: int = 0) -> Plan:
    """An answer with a length."""
    head = Head(status, [*headers, (b"Content-Length", b"%d" % len(body))])
    pieces: Plan = [Body(body)] if body else []
    return [*([Wait(wait_ns)] if wait_ns else []), head, *pieces, End()]


def stream_plan(headers: Headers, frames: Iterable[tuple[Kind, bytes]], wait_ns: int = 0) -> Plan:
    """An event stream, chunked; `wait_ns` before its first event."""
    pieces: Plan = [Body(data, kind) for kind, data in frames]
    return [Head(200, headers), *([Wait(wait_ns)] if wait_ns else []), *pieces, End()]


def paced(plan: Plan, interval_ns: int) -> Plan:
    """The same with a wait before every event but the first."""
    steps: Plan = []
    first = True
    for step in plan:
        if isinstance(step, Body) and step.kind is not Kind.DOCUMENT:
            if not first:
                steps.append(Wait(interval_ns))
            first = False
        steps.append(step)
    return steps


def cut(plan: Plan, rng: random.Random) -> Plan:
    """The same bytes in other pieces: frames across chunks, chunks across frames."""
    steps: Plan = []
    run: list[Body] = []
    carried: list[Body] = []
    for step in plan:
        if isinstance(step, Body) and step.kind is not Kind.DOCUMENT:
            run.append(step)
            continue
        if isinstance(step, Wait) and len(run) == 1 and len(run[0].data) > 1 and rng.random() < 0.25:
            # This frame's tail will come with the next frame.
            head, carried_next = _halved(run[0], rng)
            steps += _pieces([*carried, head], rng)
            carried = [carried_next]
        else:
            steps += _pieces([*carried, *run], rng)
            carried = []
        run.clear()
        steps.append(step)
    return [*steps, *_pieces([*carried, *run], rng)]


def _halved(piece: Body, rng: random.Random) -> tuple[Body, Body]:
    at = rng.randrange(1, len(piece.data))
    return Body(piece.data[:at], piece.kind, 0), Body(piece.data[at:], piece.kind, piece.events)


def _pieces(frames: list[Body], rng: random.Random) -> Iterator[Body]:
    """The frames' bytes in pieces of random length; an event counts where its last byte is."""
    if len(frames) <= 1 and sum(len(frame.data) for frame in frames) <= _CHUNK_BYTES:
        yield from frames
        return
    data = b"".join(frame.data for frame in frames)
    ends: list[tuple[int, int]] = []
    end = 0
    for frame in frames:
        end += len(frame.data)
        ends.append((end, frame.events))
    at = 0
    while at < len(data):
        until = min(len(data), at + rng.randrange(1, 2 * _CHUNK_BYTES))
        events = 0
        while ends and ends[0][0] <= until:
            events += ends.pop(0)[1]
        yield Body(data[at:until], Kind.DELTA, events)
        at = until
