"""The Redis of worlds, spoken to by the core's own words and read by its own reader."""

import random

from sim.agenda import Agenda
from sim.features import features_of
from sim.judge import Judge
from sim.redis_server import RedisServer
from stargate_core.gateway.redis_calls import LinkSettings, answer_of, greeting, words_of
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Verdict
from stargate_core.questions import Entry, ReadEntry, ReadKeys, Settle, Take, WriteEntry
from stargate_core.wire.resp import ErrorReply, ReplyReader, packed

WALL_NS = 1_800_000_000 * 10**9
CALLS = Bucket("calls:{a}", Algorithm.CONCURRENT, 1)


def a_server() -> RedisServer:
    rng = random.Random(1)
    agenda = Agenda(rng)
    features = features_of(rng, frozenset({"redis-faults"}))
    return RedisServer(agenda, rng, features, Judge(agenda), WALL_NS)


def said(server: RedisServer, words: tuple[bytes | str | int, ...]) -> object:
    """What the server says to a command, read as the link reads it."""
    commands, replies = ReplyReader(), ReplyReader()
    commands.receive_data(packed(words))
    heard = commands.next_reply()
    assert isinstance(heard, list)
    replies.receive_data(server.reply(heard))
    return replies.next_reply()


def greeted() -> RedisServer:
    server = a_server()
    for step in greeting(LinkSettings(), 3):
        assert not isinstance(said(server, step.words), ErrorReply)
    return server


def asked(server: RedisServer, question: Take | ReadEntry | ReadKeys) -> object:
    words = words_of(question, b"stargate:", server.wall_us)
    return answer_of(question, said(server, tuple(words)), server.wall_us)


def test_a_script_that_was_never_loaded_is_not_known() -> None:
    words = words_of(ReadKeys(""), b"stargate:", 0)
    reply = said(a_server(), tuple(words))
    assert isinstance(reply, ErrorReply)
    assert reply.code == "NOSCRIPT"


def test_what_is_taken_is_counted_and_what_is_settled_is_free_again() -> None:
    server = greeted()
    take = Take((Claim(CALLS, 1),), "one", 60_000_000)
    first = asked(server, take)
    assert isinstance(first, Verdict)
    assert first.allowed
    second = asked(server, Take((Claim(CALLS, 1),), "two", 60_000_000))
    assert isinstance(second, Verdict)
    assert not second.allowed
    settle = Settle((Charge(CALLS, 1, 1),), "one", first.at_us)
    said(server, tuple(words_of(settle, b"stargate:", server.wall_us)))
    third = asked(server, Take((Claim(CALLS, 1),), "two", 60_000_000))
    assert isinstance(third, Verdict)
    assert third.allowed


def test_entries_are_kept_for_their_time() -> None:
    server = greeted()
    assert asked(server, ReadEntry("k")) is None
    said(server, tuple(words_of(WriteEntry("k", b"value", 2_000_000), b"stargate:", server.wall_us)))
    assert asked(server, ReadEntry("k")) == Entry(b"value", 0)
    server.agenda.run(3 * 10**9)
    assert asked(server, ReadEntry("k")) is None
