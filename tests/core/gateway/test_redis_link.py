"""The link to Redis: beside a server that answers as it is told, at times of the test's choosing; against any
events in any order; and with a real server's bytes.
"""

import socket
from typing import Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.gateway.redis_calls import given_back, words_of
from stargate_core.limits.buckets import Bucket, Charge, Claim, Verdict
from stargate_core.limits.script import SETTLE, TAKE
from stargate_core.messages import (
    Draining,
    FailStore,
    Note,
    OpenStore,
    StoreAsked,
    StoreEvent,
    StoreLost,
    StoreOpened,
    StoreSent,
    StoreTold,
    StoreUnasked,
    Ticked,
    WriteStore,
)
from stargate_core.questions import Entry, Keys, ReadEntry, ReadKeys, Settle, Take, WriteEntry
from stargate_core.secret import Secret
from support.redis import running_redis
from support.redis_peer import (
    ALLOWED,
    CALLS,
    DEADLINE_NS,
    OK,
    REFUSED,
    REQUESTS,
    WALL_EPOCH_NS,
    LinkBench,
    a_take,
)

GREETING: Final = [b"HELLO", b"CLIENT", b"SCRIPT", b"SCRIPT", b"SCRIPT", b"SET"]
LOST: Final = StoreLost("ConnectionResetError: reset")


def a_settle(lease: str = "lease") -> Settle:
    return Settle((Charge(REQUESTS, 1, 1), Charge(CALLS, 1, 0)), lease, 1_800_000_000_000_000)


def leases(bench: LinkBench) -> list[bytes]:
    """Of the settlements that are not answered."""
    return [words[6] for words in bench.said if words[1:2] == [SETTLE.sha1]]


class TestConnecting:
    def test_it_connects_by_itself_and_greets_in_one_write(self) -> None:
        bench = LinkBench()
        assert bench.link.deadline == 0
        assert bench.tell(Ticked()) == [OpenStore()]
        bench.open()
        assert bench.names == GREETING
        assert not bench.link.up
        bench.greet()
        assert bench.link.up
        assert bench.notes == []

    def test_it_says_who_it_is_and_where_it_wants_to_go(self) -> None:
        bench = LinkBench(username="me", password=Secret("pw"), database=3)
        bench.tick()
        bench.open()
        assert bench.said[:2] == [[b"HELLO", b"3", b"AUTH", b"me", b"pw"], [b"SELECT", b"3"]]

    @pytest.mark.parametrize("error", [b"-ERR unknown command `HELLO`, with args\r\n", b"-NOPROTO no\r\n"])
    def test_a_server_that_is_too_old_is_spoken_to_in_its_way(self, error: bytes) -> None:
        bench = LinkBench(password=Secret("pw"))
        bench.tick()
        bench.open()
        bench.greet(lambda words: error if words[0] == b"HELLO" else b"-NOAUTH Authentication required.\r\n")
        assert bench.connection == "open"
        assert bench.said[0] == [b"AUTH", b"pw"]
        bench.greet()
        assert bench.link.up
        assert bench.notes == []

    @pytest.mark.parametrize(
        ("command", "error", "why"),
        [
            (
                b"HELLO",
                b"-WRONGPASS invalid username-password pair hunter2\r\n",
                "it answers -WRONGPASS to HELLO",
            ),
            (b"SELECT", b"-ERR DB index is out of range\r\n", "it answers -ERR to SELECT"),
            (b"SCRIPT", b"-NOPERM no\r\n", "it answers -NOPERM to SCRIPT"),
            (b"SET", b"-READONLY You can't\r\n", "it answers -READONLY to SET"),
            (b"SET", b"-MOVED 1 127.0.0.1:1\r\n", "it answers -MOVED to SET"),
        ],
    )
    def test_a_greeting_that_went_wrong_is_no_connection(
        self, command: bytes, error: bytes, why: str
    ) -> None:
        bench = LinkBench(database=99)
        bench.tick()
        bench.open()
        bench.greet(lambda words: error if words[0] == command else OK)
        assert bench.connection == "closed"
        assert bench.notes == [("warning", f"the store is down: {why}")]

    @pytest.mark.parametrize(
        ("command", "error"), [(b"CLIENT", b"-NOPERM no\r\n"), (b"SET", b"-OOM full\r\n")]
    )
    def test_some_of_it_does_no_harm(self, command: bytes, error: bytes) -> None:
        bench = LinkBench()
        bench.tick()
        bench.open()
        bench.greet(lambda words: error if words[0] == command else OK)
        assert bench.link.up

    def test_a_greeting_must_be_answered_within_the_deadline(self) -> None:
        bench = LinkBench()
        bench.tick()
        bench.open()
        assert bench.link.deadline == DEADLINE_NS
        bench.tick()
        assert bench.connection == "closed"
        assert bench.notes == [("warning", "the store is down: its greeting was not answered within 50 ms")]

    def test_a_connection_may_take_so_long(self) -> None:
        bench = LinkBench(connect_ns=SECOND)
        bench.tick()
        bench.wait(SECOND)
        assert bench.connection == "closed"
        assert bench.notes == [("warning", "the store is down: no connection within 1 s")]

    def test_the_pauses_grow_up_to_a_bound_and_it_is_told_once(self) -> None:
        bench = LinkBench()
        for _ in range(200):
            bench.tick()
            bench.tell(StoreLost("ConnectionRefusedError: refused"))
        pauses = [after - before for before, after in zip(bench.opened_at, bench.opened_at[1:], strict=False)]
        for number, pause in enumerate(pauses):
            assert pause <= min(100 * MILLISECOND << min(number, 10), 5 * SECOND)
        assert max(pauses) > 4 * SECOND, "drawn from the whole range"
        assert min(pauses[10:]) < SECOND
        assert bench.notes == [("warning", "the store is down: ConnectionRefusedError: refused")]

    def test_they_do_not_start_anew_when_a_connection_does_not_last(self) -> None:
        bench = LinkBench()
        for _ in range(30):
            bench.up()
            bench.tell(LOST)
        assert bench.opened_at[-1] > 20 * SECOND
        bench.up()
        bench.wait(4 * SECOND)
        bench.wait(2 * SECOND)
        lost_at = bench.now
        bench.tell(LOST)
        bench.tick()
        assert bench.now - lost_at <= 100 * MILLISECOND


class TestAsking:
    def test_an_answer(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        assert bench.said == [words_of(a_take("lease-1"), b"stargate:", 0)]
        bench.answer(ALLOWED)
        answer = bench.answers[1]
        assert isinstance(answer, Verdict)
        assert (answer.allowed, answer.at_us) == (True, 1_800_000_000_000_000)

    def test_answers_come_in_the_order_of_the_questions(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.ask(2, ReadEntry("k"))
        bench.ask(3, ReadKeys("7"))
        written = WALL_EPOCH_NS // 1000
        bench.now = 3000
        bench.answer(
            REFUSED,
            b"$9\r\n" + written.to_bytes(8, "big") + b"v\r\n",
            b"*2\r\n$1\r\n8\r\n*2\r\n$1\r\na\r\n$2\r\n{}\r\n",
        )
        assert isinstance(bench.answers[1], Verdict)
        assert bench.answers[2] == Entry(b"v", 3)
        assert bench.answers[3] == Keys("8", {"a": b"{}"})

    def test_what_is_asked_while_it_connects_is_said_at_once_when_it_stands(self) -> None:
        bench = LinkBench()
        bench.ask(1)
        bench.tick()
        bench.open()
        bench.ask(2)
        bench.greet()
        assert bench.names == [b"EVALSHA", b"EVALSHA"]
        bench.answer(ALLOWED, ALLOWED)
        assert sorted(bench.answers) == [1, 2]

    def test_while_it_connects_the_deadline_holds_too(self) -> None:
        bench = LinkBench()
        bench.tick()
        bench.ask(1)
        bench.wait(DEADLINE_NS)
        assert bench.failures == {1: "the store has not answered within 50 ms"}
        bench.open()
        bench.greet()
        assert bench.said == []

    def test_a_late_answer_is_nobodys_and_the_next_one_is_the_next_ones(self) -> None:
        bench = LinkBench().up()
        bench.ask(1, ReadEntry("a"))
        bench.wait(DEADLINE_NS - 1)
        assert bench.failures == {}
        bench.ask(2, ReadEntry("b"))
        bench.wait(1)
        assert sorted(bench.failures) == [1]
        bench.answer(b"$8\r\n12345678\r\n", b"_\r\n")
        assert bench.answers == {2: None}

    def test_an_error_is_its_calls_alone(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.ask(2)
        bench.answer(b"-OOM command not allowed\r\n", ALLOWED)
        assert bench.failures == {1: "the store has answered -OOM"}
        assert list(bench.answers) == [2]
        assert bench.link.up

    def test_the_operator_is_told_of_such_errors_once_a_minute(self) -> None:
        bench = LinkBench().up()
        for ticket in range(120):
            bench.ask(ticket)
            bench.answer(b"-OOM command not allowed\r\n")
            bench.wait(SECOND)
        assert bench.notes == [("warning", "the store refuses what it is asked: it answers -OOM")] * 2

    def test_what_nobody_can_write_fails_alone(self) -> None:
        bench = LinkBench().up()
        bench.ask(1, Take((Claim(Bucket("\ud800", CALLS.algorithm, 1), 1),), "l", 1))
        bench.ask(2, ReadEntry("\udfff"))
        bench.tell(StoreTold(WriteEntry("\udfff", b"", 1)))
        assert sorted(bench.failures) == [1, 2]
        bench.ask(3)
        bench.answer(ALLOWED)
        assert list(bench.answers) == [3]

    def test_what_the_server_says_unasked_is_no_answer(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.tell(StoreSent(b">2\r\n+invalidate\r\n*0\r\n" + ALLOWED))
        assert list(bench.answers) == [1]


class TestForgottenScripts:
    def test_a_call_is_repeated_once_in_full(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.ask(2)
        bench.answer(b"-NOSCRIPT No matching script.\r\n", ALLOWED)
        assert list(bench.answers) == [2]
        assert [words[:2] for words in bench.said] == [[b"EVAL", TAKE.text]]
        bench.answer(ALLOWED)
        assert list(bench.answers) == [2, 1]

    def test_but_not_twice(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        for _ in range(2):
            bench.answer(b"-NOSCRIPT No matching script.\r\n")
        assert bench.failures == {1: "the store has answered -NOSCRIPT"}
        assert bench.said == []

    def test_its_deadline_is_still_the_asks(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.wait(40 * MILLISECOND)
        bench.answer(b"-NOSCRIPT No matching script.\r\n")
        bench.wait(10 * MILLISECOND)
        assert sorted(bench.failures) == [1]

    def test_a_settlement_too_and_what_nobody_waits_for_is_not(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.tell(StoreUnasked(1))
        bench.tell(StoreTold(a_settle()))
        bench.answer(*[b"-NOSCRIPT No matching script.\r\n"] * 2)
        assert [words[:2] for words in bench.said] == [[b"EVAL", SETTLE.text]]
        assert bench.notes == [], "a script that is forgotten is nobody's trouble"


class TestGivingBack:
    @pytest.mark.parametrize("how", ["unasked", "late"])
    def test_what_was_taken_for_nobody_is_given_back(self, how: str) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        if how == "late":
            bench.wait(DEADLINE_NS)
        else:
            bench.tell(StoreUnasked(1))
        bench.answer(ALLOWED)
        verdict = Verdict(True, 1_800_000_000_000_000, ())
        assert bench.said == [words_of(given_back(a_take("lease-1"), verdict), b"stargate:", 0)]
        assert bench.answers == {}

    def test_what_was_refused_is_not(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.tell(StoreUnasked(1))
        bench.answer(REFUSED)
        assert bench.said == []

    def test_what_was_not_said_yet_is_not_said(self) -> None:
        bench = LinkBench()
        bench.ask(1)
        bench.tell(StoreUnasked(1))
        del bench.asked[1]
        bench.up()
        assert bench.said == []

    def test_late_and_unknown_withdrawals_change_nothing(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.answer(ALLOWED)
        assert bench.tell(StoreUnasked(1)) == []
        assert bench.tell(StoreUnasked(99)) == []


class TestGoingDown:
    def test_three_misses_in_a_row(self) -> None:
        bench = LinkBench().up()
        for ticket in range(3):
            assert bench.connection == "open"
            bench.ask(ticket)
            bench.wait(DEADLINE_NS)
        assert bench.connection == "closed"
        why = "the store is down: 3 calls in a row were not answered within 50 ms"
        assert bench.notes == [("warning", why)]
        assert bench.failures[2] == "the store has not answered within 50 ms"

    def test_then_nobody_waits(self) -> None:
        bench = LinkBench().up()
        bench.tell(LOST)
        for ticket in range(3):
            bench.now += 1
            bench.ask(ticket)
            assert bench.failures[ticket] == "the store is down: ConnectionResetError: reset"
        bench.tick()
        bench.ask(4)
        bench.open()
        bench.ask(5)
        assert sorted(bench.failures) == [0, 1, 2, 4, 5]

    def test_an_answer_in_time_ends_the_row(self) -> None:
        bench = LinkBench().up()
        for ticket in range(0, 20, 2):
            bench.ask(ticket, ReadEntry("k"))
            bench.wait(DEADLINE_NS)
            bench.ask(ticket + 1, ReadEntry("k"))
            bench.answer(b"_\r\n", b"_\r\n")
        assert bench.connection == "open"
        assert bench.notes == []

    def test_a_late_one_does_not(self) -> None:
        bench = LinkBench().up()
        for ticket in range(3):
            bench.ask(ticket, ReadEntry("k"))
            bench.wait(DEADLINE_NS)
            if bench.connection == "open":
                bench.answer(b"_\r\n")
        assert bench.connection == "closed"

    def test_a_hiccup_counts_once_however_many_it_hits(self) -> None:
        bench = LinkBench().up()
        for ticket in range(100):
            bench.ask(ticket, ReadEntry("k"))
            bench.wait(100_000)
        bench.wait(DEADLINE_NS)
        assert len(bench.failures) == 100
        assert bench.connection == "open"
        bench.answer(*[b"_\r\n"] * 100)
        assert bench.notes == []

    @pytest.mark.parametrize(
        "reply",
        [
            b"-READONLY You can't write against a read only replica.\r\n",
            b"-ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY no\r\n",
            b"-LOADING Redis is loading the dataset in memory\r\n",
            b"-NOAUTH Authentication required.\r\n",
            b"-MOVED 3999 127.0.0.1:6381\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"+OK\r\n",
            ALLOWED + ALLOWED,
        ],
    )
    def test_what_says_that_this_is_not_the_one_to_ask(self, reply: bytes) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.ask(2, ReadEntry("k"))
        bench.tell(StoreSent(reply))
        assert bench.connection == "closed"
        assert sorted([*bench.failures, *bench.answers]) == [1, 2]
        assert [level for level, _ in bench.notes] == ["warning"]

    def test_a_lost_connection_fails_all_that_wait(self) -> None:
        bench = LinkBench().up()
        bench.ask(1)
        bench.ask(2)
        assert bench.tell(LOST) == [
            Note("warning", "the store is down: ConnectionResetError: reset"),
            FailStore(1, "the store is down: ConnectionResetError: reset"),
            FailStore(2, "the store is down: ConnectionResetError: reset"),
        ]

    def test_it_comes_back_and_says_so_once(self) -> None:
        bench = LinkBench().up()
        bench.tell(LOST)
        lost_at = bench.now
        bench.tick()
        bench.tell(StoreLost("refused"))
        bench.now = lost_at + 1_234 * MILLISECOND
        bench.tell(Ticked())
        bench.open()
        bench.greet()
        assert bench.notes[1:] == [("info", "the store is up again after 1.2 s")]
        bench.ask(1)
        bench.answer(ALLOWED)
        assert list(bench.answers) == [1]

    def test_where_none_can_connect_nobody_waits_for_long(self) -> None:
        bench = LinkBench()
        bench.tick()
        for ticket in range(3):
            bench.ask(ticket)
            bench.wait(DEADLINE_NS)
        assert bench.notes == [("warning", "the store is down: no connection within 50 ms")]
        assert bench.connection == "opening", "it may still come"
        bench.ask(4)
        assert sorted(bench.failures) == [0, 1, 2, 4]
        bench.open()
        bench.greet()
        assert [level for level, _ in bench.notes] == ["warning", "info"]

    def test_a_silent_link_is_asked_whether_it_lives(self) -> None:
        bench = LinkBench().up()
        bench.wait(15 * SECOND - 1)
        assert bench.said == []
        bench.wait(1)
        assert bench.said == [[b"PING"]]
        bench.answer(b"+PONG\r\n")
        bench.wait(14 * SECOND)
        assert bench.said == []
        for _ in range(3):
            bench.wait(15 * SECOND + DEADLINE_NS)
        assert [level for level, _ in bench.notes] == ["warning"]

    @pytest.mark.parametrize("event", [StoreOpened(), StoreSent(OK), LOST])
    def test_facts_of_a_connection_that_is_over_change_nothing(self, event: StoreEvent) -> None:
        bench = LinkBench()
        assert bench.link.handle(0, event) == []
        assert bench.link.deadline == 0


class TestSettlingLater:
    def test_what_is_told_while_it_is_down_is_said_afterwards(self) -> None:
        bench = LinkBench()
        bench.tell(StoreTold(a_settle("a")))
        bench.tick()
        bench.tell(StoreTold(a_settle("b")))
        bench.tell(StoreTold(WriteEntry("k", b"v", 1)))
        bench.open()
        bench.greet()
        assert leases(bench) == [b"a", b"b"]
        assert len(bench.said) == 2, "an entry is not kept"

    def test_some_at_a_time_and_in_their_order(self) -> None:
        bench = LinkBench()
        for number in range(1000):
            bench.tell(StoreTold(a_settle(str(number))))
        bench.up()
        said: list[bytes] = []
        while bench.said:
            assert len(bench.said) <= 100
            said += leases(bench)[:1]
            bench.answer(b":1\r\n")
        assert said == [b"%d" % number for number in range(1000)]

    def test_the_oldest_go_and_it_is_told_once(self) -> None:
        bench = LinkBench(backlog_max=3)
        for name in "abcde":
            bench.tell(StoreTold(a_settle(name)))
        assert bench.notes == [
            ("warning", "more than 3 settlements wait for the store: the oldest are dropped")
        ]
        bench.up()
        assert leases(bench) == [b"c", b"d", b"e"]

    def test_one_whose_fate_is_unknown_is_not_said_again(self) -> None:
        bench = LinkBench().up()
        bench.tell(StoreTold(a_settle("a")))
        bench.tell(LOST)
        bench.tell(StoreTold(a_settle("b")))
        bench.up()
        assert leases(bench) == [b"b"]

    def test_one_that_was_refused_is(self) -> None:
        bench = LinkBench().up()
        bench.tell(StoreTold(a_settle("a")))
        bench.answer(b"-READONLY You can't write against a read only replica.\r\n")
        bench.up()
        assert leases(bench) == [b"a"]

    def test_a_process_that_ends_says_all_of_them(self) -> None:
        bench = LinkBench()
        for number in range(250):
            bench.tell(StoreTold(a_settle(str(number))))
        bench.up()
        bench.tell(Draining(SECOND))
        assert len(bench.said) == 250

    def test_and_does_not_pause_before(self) -> None:
        bench = LinkBench()
        bench.tick()
        bench.tell(LOST)
        bench.tell(Draining(SECOND))
        assert bench.link.deadline == bench.now

    def test_an_entry_that_is_too_large_is_not_kept(self) -> None:
        bench = LinkBench(entry_bytes_max=10).up()
        bench.tell(StoreTold(WriteEntry("k", b"x" * 11, 1_000_000)))
        assert bench.said == []
        bench.tell(StoreTold(WriteEntry("k", b"x" * 10, 1_000_000)))
        assert bench.names == [b"SET"]


# ------------------------------------------------------------------------------------------------ any events


class AnyEvents(RuleBasedStateMachine):
    """Any facts in any order. The bench judges each step; here stands what must hold over a life."""

    @initialize()
    def begin(self) -> None:
        self.bench = LinkBench()
        self.tickets = 0

    @rule(kind=st.sampled_from(["take", "entry", "keys"]))
    def ask(self, kind: str) -> None:
        self.tickets += 1
        question = {"take": None, "entry": ReadEntry("k"), "keys": ReadKeys("")}[kind]
        self.bench.ask(self.tickets, question)

    @precondition(lambda self: self.bench.asked)
    @rule(data=st.data())
    def unask(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.bench.asked)))
        del self.bench.asked[ticket]
        self.bench.tell(StoreUnasked(ticket))

    @rule(statement=st.sampled_from([a_settle(), WriteEntry("k", b"v", 1000)]))
    def tell(self, statement: Settle | WriteEntry) -> None:
        self.bench.tell(StoreTold(statement))

    @rule(nanoseconds=st.sampled_from([1, MILLISECOND, 20 * MILLISECOND, DEADLINE_NS, SECOND, 16 * SECOND]))
    def wait(self, nanoseconds: int) -> None:
        self.bench.wait(nanoseconds)

    @precondition(lambda self: self.bench.connection == "opening")
    @rule()
    def open(self) -> None:
        self.bench.open()
        self.bench.greet()
        assert self.bench.link.up

    @precondition(lambda self: self.bench.said)
    @rule(refuses=st.booleans(), cut=st.integers(0, 60))
    def serve(self, refuses: bool, cut: int) -> None:
        words = self.bench.said[0]
        is_take = words[0] in (b"EVALSHA", b"EVAL") and words[1] in (TAKE.sha1, TAKE.text)
        reply = b"_\r\n"
        if is_take:
            reply = REFUSED if refuses else ALLOWED
        elif words[0] == b"EVALSHA" and words[1] == SETTLE.sha1:
            reply = b":1\r\n"
        ticket = int(words[6].removeprefix(b"lease-")) if is_take else 0
        heard = ticket in self.bench.asked
        before = leases(self.bench)
        del self.bench.said[0]
        self.bench.tell(StoreSent(reply[:cut]))
        self.bench.tell(StoreSent(reply[cut:]))
        if is_take:
            given = [lease for lease in leases(self.bench)[len(before) :] if lease == words[6]]
            assert len(given) == (not heard and not refuses), "given back if and only if nobody has it"
            assert heard == (ticket in self.bench.answers)

    @precondition(lambda self: self.bench.said)
    @rule(
        error=st.sampled_from([b"-NOSCRIPT x\r\n", b"-OOM x\r\n", b"-READONLY x\r\n", b"-ERR\r\n", b"?\r\n"])
    )
    def refuse(self, error: bytes) -> None:
        del self.bench.said[0]
        self.bench.tell(StoreSent(error))

    @precondition(lambda self: self.bench.connection != "closed")
    @rule()
    def lose(self) -> None:
        self.bench.tell(LOST)

    @rule()
    def drain(self) -> None:
        self.bench.tell(Draining(SECOND))

    @invariant()
    def notes_alternate(self) -> None:
        levels = [level for level, text in self.bench.notes if "refuses" not in text]
        assert levels == ["warning", "info"] * (len(levels) // 2) + ["warning"] * (len(levels) % 2)

    @invariant()
    def nobody_waits_beyond_the_deadline(self) -> None:
        for since in self.bench.asked.values():
            assert self.bench.now < since + DEADLINE_NS

    @invariant()
    def nothing_piles_up(self) -> None:
        if self.bench.connection == "open":
            assert self.bench.link.statistics()["calls"] == len(self.bench.said)


TestAnyEvents = AnyEvents.TestCase


# --------------------------------------------------------------------------------------------- a real server


class TestRealServer:
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_a_life_with_a_real_servers_bytes(self, protocol: int) -> None:
        """Everything once: greeted, taken, settled, kept, read; scripts forgotten in between."""
        with running_redis("--requirepass", "pw") as server:
            bench = LinkBench(protocol=protocol, password=Secret("pw"), database=2)
            bench.tick()
            bench.connection = "open"
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:

                def run(event: StoreEvent) -> None:
                    """Carry bytes until nothing is left to be answered."""
                    commands = bench.tell(event)
                    for command in commands:
                        if isinstance(command, WriteStore):
                            sock.sendall(command.data)
                    while bench.link.statistics()["calls"] or not bench.link.up:
                        for command in bench.tell(StoreSent(sock.recv(13))):
                            if isinstance(command, WriteStore):
                                sock.sendall(command.data)

                run(StoreOpened())
                assert bench.link.up
                bench.asked = dict.fromkeys(range(1, 6), 0)
                run(StoreAsked(1, a_take("one")))
                with server.client(password="pw", db=2) as client:
                    client.script_flush()
                run(StoreAsked(2, a_take("two")))
                first, second = bench.answers[1], bench.answers[2]
                assert isinstance(first, Verdict)
                assert isinstance(second, Verdict)
                assert [level.remaining for level in first.levels] == [9, 4]
                assert [level.remaining for level in second.levels] == [8, 3]
                run(StoreTold(given_back(a_take("one"), first)))
                run(StoreAsked(3, a_take("three")))
                third = bench.answers[3]
                assert isinstance(third, Verdict)
                assert [level.remaining for level in third.levels] == [8, 3]
                run(StoreTold(WriteEntry("k", b"value", 60_000_000)))
                run(StoreAsked(4, ReadEntry("k")))
                assert bench.answers[4] == Entry(b"value", 0)
                run(StoreAsked(5, ReadKeys("")))
                assert bench.answers[5] is None
                assert bench.notes == []


class TestOddServers:
    def test_an_answer_to_nothing_is_the_end_of_the_connection(self) -> None:
        """Whatever comes next would be taken for the answer to another question."""
        bench = LinkBench().up()
        bench.tell(StoreSent(OK))
        assert bench.connection == "closed"
        assert ("warning", "the store is down: it answers what was not asked") in bench.notes

    def test_one_that_is_over_is_passed_by_when_the_one_before_it_is_missed(self) -> None:
        bench = LinkBench()
        for ticket in (1, 2):
            bench.tell(StoreAsked(ticket, ReadEntry("key")))
        bench.tell(StoreUnasked(2))
        bench.wait(DEADLINE_NS)
        assert list(bench.failures) == [1]
