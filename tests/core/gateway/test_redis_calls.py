"""Words and answers of the link: each against a real server, which must take the one and give the other."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from stargate_core.clock import MILLISECOND
from stargate_core.config.store_url import parse_store_url
from stargate_core.gateway.redis_calls import (
    LinkSettings,
    answer_of,
    given_back,
    greeting,
    in_full,
    settings_for,
    words_of,
)
from stargate_core.limits.buckets import Charge, Level, Verdict
from stargate_core.questions import Entry, Keys, ReadEntry, ReadKeys, Settle, Take, WriteEntry
from stargate_core.secret import Secret
from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import ErrorReply, Reply, ReplyReader, packed
from support.redis import RunningRedis, running_redis
from support.redis_peer import CALLS, REQUESTS, a_take

PREFIX = b"x:"
NOW_US = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


class Connection:
    """A blocking connection that says what the link says."""

    def __init__(self, server: RunningRedis) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.reader = ReplyReader()

    def run(self, *words: Any) -> Reply:
        self.sock.sendall(packed(words))
        while (reply := self.reader.next_reply()) is NEED_DATA:
            data = self.sock.recv(65_536)
            assert data, "closed"
            self.reader.receive_data(data)
        return reply

    def say(self, asked: Take | ReadEntry | ReadKeys | Settle | WriteEntry, wall_us: int = NOW_US) -> Reply:
        return self.run(*words_of(asked, PREFIX, wall_us))


@pytest.fixture(params=[2, 3])
def connection(server: RunningRedis, request: pytest.FixtureRequest) -> Iterator[Connection]:
    one = Connection(server)
    one.run("FLUSHALL")
    for step in greeting(LinkSettings(prefix="x:"), request.param):
        assert not isinstance(one.run(*step.words), ErrorReply)
    yield one
    one.sock.close()


class TestTaking:
    def test_what_is_taken_is_there_again_when_it_is_given_back(self, connection: Connection) -> None:
        take = a_take()
        decided = answer_of(take, connection.say(take), NOW_US)
        assert isinstance(decided, Verdict)
        assert decided.allowed
        assert [level.remaining for level in decided.levels] == [9, 4]
        assert connection.say(given_back(take, decided)) == 1
        again = answer_of(take, connection.say(take), NOW_US)
        assert isinstance(again, Verdict)
        assert [level.remaining for level in again.levels] == [9, 4]

    def test_keys_bear_the_prefix(self, connection: Connection) -> None:
        connection.say(a_take())
        names = connection.run("KEYS", "*")
        assert isinstance(names, list)
        assert sorted(names) == [b"x:calls:{team-a}", b"x:link", b"x:requests:{team-a}"]

    def test_a_forgotten_script_is_said_in_full_once(self, connection: Connection) -> None:
        take = a_take()
        connection.run("SCRIPT", "FLUSH")
        forgotten = connection.say(take)
        assert isinstance(forgotten, ErrorReply)
        assert forgotten.code == "NOSCRIPT"
        assert isinstance(connection.run(*in_full(words_of(take, PREFIX, 0))), list)
        assert isinstance(connection.say(take), list)

    def test_what_is_given_back_is_all_of_it(self) -> None:
        decided = Verdict(True, 7, (Level(1, 1), Level(1, 1)))
        assert given_back(a_take("l"), decided) == Settle(
            (Charge(REQUESTS, 1, 0), Charge(CALLS, 1, 0)), "l", 7
        )

    @pytest.mark.parametrize("reply", [None, b"OK", [], [1, 2, -1, 0, 5, 6], {}])
    def test_nonsense_is_no_verdict(self, reply: Reply) -> None:
        with pytest.raises(ValueError):
            answer_of(a_take(), reply, NOW_US)


class TestEntries:
    def test_what_is_written_is_found_with_its_age(self, connection: Connection) -> None:
        assert connection.say(WriteEntry("k", b"\x00value", 60_000_000)) == b"OK"
        reply = connection.say(ReadEntry("k"))
        assert answer_of(ReadEntry("k"), reply, NOW_US + 5) == Entry(b"\x00value", 5)

    def test_another_gateways_clock_may_be_ahead(self, connection: Connection) -> None:
        connection.say(WriteEntry("k", b"", 60_000_000), NOW_US + 9)
        assert answer_of(ReadEntry("k"), connection.say(ReadEntry("k")), NOW_US) == Entry(b"", 0)

    def test_it_expires(self, connection: Connection) -> None:
        connection.say(WriteEntry("k", b"v", 90_000_000))
        left = connection.run("PTTL", "x:entry:k")
        assert isinstance(left, int)
        assert 80_000 < left <= 90_000
        assert connection.say(WriteEntry("short", b"v", 1)) == b"OK"

    def test_nothing_is_none(self, connection: Connection) -> None:
        assert answer_of(ReadEntry("n"), connection.say(ReadEntry("n")), NOW_US) is None

    @pytest.mark.parametrize("reply", [b"short", 1, [], b""])
    def test_nonsense_is_no_entry(self, reply: Reply) -> None:
        with pytest.raises(ValueError):
            answer_of(ReadEntry("k"), reply, NOW_US)


class TestKeys:
    def ask(self, connection: Connection, version: str) -> object:
        question = ReadKeys(version)
        return answer_of(question, connection.say(question), NOW_US)

    def test_they_are_read_once_for_each_version(self, connection: Connection) -> None:
        assert self.ask(connection, "") is None
        connection.run("HSET", "x:keys", "a" * 64, b'{"consumer": "team-a"}')
        connection.run("SET", "x:keys:version", "1")
        assert self.ask(connection, "") == Keys("1", {"a" * 64: b'{"consumer": "team-a"}'})
        assert self.ask(connection, "1") is None
        connection.run("DEL", "x:keys")
        connection.run("INCR", "x:keys:version")
        assert self.ask(connection, "1") == Keys("2", {})

    def test_a_store_that_was_emptied_has_none(self, connection: Connection) -> None:
        assert self.ask(connection, "7") == Keys("", {})

    @pytest.mark.parametrize("reply", [b"x", [b"1"], [b"1", [b"a"]], [b"1", [b"\xff", b"x"]], [1, []]])
    def test_nonsense_is_no_keys(self, reply: Reply) -> None:
        with pytest.raises(ValueError):
            answer_of(ReadKeys(""), reply, NOW_US)


class TestGreeting:
    def test_each_version_has_its_way_to_say_who_one_is(self) -> None:
        settings = LinkSettings(username="me", password=Secret("pw"), database=3)
        third = [step.words[:5] for step in greeting(settings, 3)]
        second = [step.words[:3] for step in greeting(settings, 2)]
        assert third[:2] == [("HELLO", 3, "AUTH", "me", "pw"), ("SELECT", 3)]
        assert second[:2] == [("AUTH", "me", "pw"), ("SELECT", 3)]

    def test_a_password_alone_is_the_default_users(self) -> None:
        settings = LinkSettings(password=Secret("pw"))
        assert greeting(settings, 3)[0].words == ("HELLO", 3, "AUTH", "default", "pw")
        assert greeting(settings, 2)[0].words == ("AUTH", "pw")

    def test_without_one_nothing_is_said_of_it(self) -> None:
        assert greeting(LinkSettings(), 3)[0].words == ("HELLO", 3)
        assert greeting(LinkSettings(), 2)[0].name == "CLIENT"

    def test_what_is_forgiven(self) -> None:
        steps = {step.name: step for step in greeting(LinkSettings(), 3)}
        assert steps["SET"].forgives("OOM")
        assert not steps["SET"].forgives("READONLY")
        assert steps["CLIENT"].forgives("NOPERM")
        assert not steps["HELLO"].forgives("WRONGPASS")


def test_the_settings_of_a_configured_server() -> None:
    url = Secret("redis://me:pw@h/2?protocol=2")
    settings = settings_for(parse_store_url(url, timeout_ms=70, ca=None, verify=True), "p:")
    assert settings == LinkSettings(
        username="me",
        password=Secret("pw"),
        database=2,
        protocol=2,
        prefix="p:",
        deadline_ns=70 * MILLISECOND,
    )
