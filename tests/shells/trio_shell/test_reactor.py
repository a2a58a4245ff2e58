"""The reactor: news of every ready socket, of what is watched for and nothing else; one bug ends one
connection.
"""

import itertools
import socket
from collections.abc import Callable

import pytest
import trio

from stargate.trio_shell.reactor import READABLE, WRITABLE, Reactor
from support.channels import tcp_pair

pytestmark = pytest.mark.trio


class Watched:
    """A socket's owner that notes its news."""

    def __init__(self, sock: socket.socket, reactor: Reactor) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.news: list[int] = []
        self.aborted = False
        self.on_news: Callable[[int], None] = lambda _: None
        self._reactor = reactor
        self._interest = 0
        self._event = trio.Event()

    def watch(self, interest: int) -> None:
        self._reactor.watch(self.sock.fileno(), self, self._interest, interest)
        self._interest = interest

    def ready(self, events: int) -> None:
        self.news.append(events)
        self._event.set()
        self.on_news(events)

    def abort(self) -> None:
        self.aborted = True
        self.watch(0)
        self._event.set()

    async def wait(self) -> None:
        """Until the next news."""
        with trio.fail_after(10):
            await self._event.wait()
        self._event = trio.Event()


def take(watched: Watched) -> Callable[[int], None]:
    """Read what there is, as an owner must: who does not is told again and again."""

    def read(events: int) -> None:
        if events & READABLE:
            watched.sock.recv(100)

    return read


async def test_news_is_of_what_is_watched_for() -> None:
    failures: list[Exception] = []
    reactor = Reactor(failures.append)
    ours, theirs = tcp_pair()
    with ours, theirs:
        watched = Watched(ours, reactor)
        watched.on_news = take(watched)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            watched.watch(READABLE)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert watched.news == []  # It could be written all the time.
            theirs.send(b"hello")
            await watched.wait()
            assert watched.news == [READABLE]
            watched.on_news = lambda _: watched.watch(0)
            watched.watch(READABLE | WRITABLE)
            await watched.wait()
            assert watched.news == [READABLE, WRITABLE]
            theirs.send(b"nobody hears this")
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert watched.news == [READABLE, WRITABLE]
            nursery.cancel_scope.cancel()
    assert failures == []


async def test_a_bug_ends_one_connection_and_is_told() -> None:
    failures: list[Exception] = []
    reactor = Reactor(failures.append)
    pairs = [tcp_pair() for _ in range(3)]
    owners = [Watched(ours, reactor) for ours, _ in pairs]

    def fail(_: int) -> None:
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        for owner in owners:
            owner.on_news = take(owner)
            owner.watch(READABLE)
        owners[1].on_news = fail
        for _, theirs in pairs:
            theirs.send(b"hello")
        for owner in owners:
            await owner.wait()
        assert [owner.aborted for owner in owners] == [False, True, False]
        for _, theirs in pairs:
            theirs.send(b"again")
        await owners[0].wait()
        await owners[2].wait()
        nursery.cancel_scope.cancel()
    assert [len(owner.news) for owner in owners] == [2, 1, 2]
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    for pair in pairs:
        for sock in pair:
            sock.close()


async def test_other_tasks_get_their_turn_however_much_there_is() -> None:
    reactor = Reactor(lambda error: None)
    ours, theirs = tcp_pair()
    with ours, theirs:
        watched = Watched(ours, reactor)
        watched.watch(WRITABLE)  # And it always can be written.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            with trio.fail_after(10):
                turns = [0]
                while len(watched.news) < 50:
                    await trio.lowlevel.checkpoint()
                    turns.append(len(watched.news))
            watched.watch(0)
            nursery.cancel_scope.cancel()
    # New connections wait for such a turn, and a gateway under load has always more to hear. Tasks of one
    # batch run in any order, so two turns may lie between.
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 2


async def test_after_its_end_it_takes_what_it_is_told_in_silence() -> None:
    """Connections are closed when everything ends, in no particular order."""
    reactor = Reactor(lambda error: None)
    ours, theirs = tcp_pair()
    with ours, theirs:
        watched = Watched(ours, reactor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            watched.watch(READABLE)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        watched.watch(0)
        watched.watch(READABLE)
    assert watched.news == []
