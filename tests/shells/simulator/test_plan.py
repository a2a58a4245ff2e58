"""The cutter: the same bytes in other pieces, the same waits, the same count of events."""

import random

from hypothesis import given
from hypothesis import strategies as st

from stargate.simulator.events import Kind
from stargate.simulator.plan import Body, End, Head, Plan, Stall, Wait, cut, document_plan, paced, stream_plan

frames = st.lists(st.binary(min_size=1, max_size=3000), max_size=30)
intervals = st.sampled_from([0, 5])


def bodies(plan: Plan) -> list[Body]:
    """The plan's pieces of the body."""
    return [step for step in plan if isinstance(step, Body)]


@given(frames, intervals, st.integers())
def test_no_byte_is_lost_or_moved(datas: list[bytes], interval: int, seed: int) -> None:
    plan = stream_plan([], [(Kind.DELTA, data) for data in datas], 7)
    plan = paced(plan, interval) if interval else plan
    pieces = cut(plan, random.Random(seed))
    assert b"".join(piece.data for piece in bodies(pieces)) == b"".join(datas)
    assert sum(piece.events for piece in bodies(pieces)) == len(datas)
    assert [step for step in pieces if not isinstance(step, Body)] == [
        step for step in plan if not isinstance(step, Body)
    ]


@given(frames, st.integers())
def test_an_event_counts_where_its_last_byte_is(datas: list[bytes], seed: int) -> None:
    pieces = bodies(cut(stream_plan([], [(Kind.DELTA, data) for data in datas]), random.Random(seed)))
    for index in range(len(pieces) + 1):
        sent = sum(len(piece.data) for piece in pieces[:index])
        whole = 0
        while sum(map(len, datas[: whole + 1])) <= sent and whole < len(datas):
            whole += 1
        assert sum(piece.events for piece in pieces[:index]) == whole


@given(st.integers())
def test_what_comes_before_a_stall_has_all_left(seed: int) -> None:
    one, two = Body(b"a" * 90, Kind.DELTA), Body(b"b" * 90, Kind.DELTA)
    pieces = cut([one, Wait(3), two, Wait(3), Stall()], random.Random(seed))
    assert pieces[-1] == Stall()
    assert b"".join(piece.data for piece in bodies(pieces)) == one.data + two.data


def test_frames_and_chunks_do_not_line_up() -> None:
    datas = [bytes([index]) * 150 for index in range(64)]
    pieces = bodies(cut(stream_plan([], [(Kind.DELTA, data) for data in datas]), random.Random(1)))
    assert len(pieces) < len(datas) / 2
    ends = {150 * count for count in range(1, 64)}
    at = 0
    inside = 0
    for piece in pieces[:-1]:
        at += len(piece.data)
        inside += at not in ends
    assert inside > len(pieces) / 2


def test_pauses_split_frames_now_and_then() -> None:
    datas = [bytes([index]) * 150 for index in range(64)]
    plan = paced(stream_plan([], [(Kind.DELTA, data) for data in datas]), 5)
    sizes = {len(piece.data) for piece in bodies(cut(plan, random.Random(1)))}
    assert 150 in sizes
    assert sizes - {150}


def test_a_document_stays_as_it_is() -> None:
    plan = document_plan(200, [], b"x" * 100_000)
    assert cut(plan, random.Random(1)) == plan


def test_pace_puts_a_wait_before_every_event_but_the_first() -> None:
    plan = stream_plan([], [(Kind.START, b"a"), (Kind.DELTA, b"b"), (Kind.METADATA, b"c")], 9)
    assert [type(step) for step in paced(plan, 5)] == [Head, Wait, Body, Wait, Body, Wait, Body, End]
