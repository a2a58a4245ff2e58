"""A connection in memory: it tells its owner what a socket would, it is bounded, and it ends as one would."""

from collections.abc import Callable

import anyio
import pytest

from stargate.in_memory.channel import UNREAD_BYTES_MAX, MemoryChannel

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Notes:
    """An owner that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def heard(self, data: bytes) -> None:
        self.told.append(data)

    def lost(self) -> None:
        self.told.append("lost")

    def stalled(self) -> None:
        self.told.append("stalled")

    def drained(self) -> None:
        self.told.append("drained")


def a_channel() -> tuple[MemoryChannel, Notes]:
    channel, owner = MemoryChannel(), Notes()
    channel.start(owner)
    return channel, owner


class TestSaying:
    async def test_what_is_said_is_heard_at_once(self) -> None:
        channel, owner = a_channel()
        channel.send(b"one")
        channel.send(b"two")
        assert owner.told == [b"one", b"two"]

    async def test_what_is_said_before_the_start_is_heard_then(self) -> None:
        channel, owner = MemoryChannel(), Notes()
        channel.send(b"one")
        channel.send(b"two")
        channel.start(owner)
        assert owner.told == [b"one", b"two"]

    async def test_a_paused_channel_brings_nothing_until_it_goes_on(self) -> None:
        channel, owner = a_channel()
        channel.pause()
        channel.send(b"one")
        channel.send(b"two")
        assert owner.told == []
        channel.resume()
        assert owner.told == [b"one", b"two"]

    async def test_nothing_is_heard_behind_the_end(self) -> None:
        channel, owner = a_channel()
        channel.finish()
        channel.send(b"late")
        assert owner.told == []


class TestReading:
    async def test_everything_that_lies_there_is_taken_at_once(self) -> None:
        channel, _ = a_channel()
        channel.write(b"one ")
        channel.write(b"two")
        assert await channel.receive() == b"one two"

    async def test_a_reader_waits_for_what_comes(self) -> None:
        channel, _ = a_channel()
        read: list[bytes] = []

        async def reading() -> None:
            read.append(await channel.receive())

        async with anyio.create_task_group() as group:
            group.start_soon(reading)
            await anyio.wait_all_tasks_blocked()
            assert read == []
            channel.write(b"one")
        assert read == [b"one"]

    async def test_a_reader_that_is_cancelled_loses_nothing(self) -> None:
        channel, _ = a_channel()
        channel.write(b"one")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await channel.receive()
        assert await channel.receive() == b"one"


class TestBounds:
    async def test_up_to_the_bound_nobody_is_stalled(self) -> None:
        channel, owner = a_channel()
        channel.write(b"x" * UNREAD_BYTES_MAX)
        assert not channel.pending
        assert owner.told == []

    async def test_beyond_it_the_owner_is_told_once_until_all_is_taken(self) -> None:
        channel, owner = a_channel()
        channel.write(b"x" * UNREAD_BYTES_MAX)
        channel.write(b"y")
        channel.write(b"z")
        assert channel.pending
        assert owner.told == ["stalled"]
        assert len(await channel.receive()) == UNREAD_BYTES_MAX + 2
        assert not channel.pending
        assert owner.told == ["stalled", "drained"]

    async def test_a_reader_that_takes_the_last_of_an_ended_one_tells_nobody(self) -> None:
        channel, owner = a_channel()
        channel.write(b"x" * (UNREAD_BYTES_MAX + 1))
        channel.finish()
        assert len(await channel.receive()) == UNREAD_BYTES_MAX + 1
        assert owner.told == ["stalled"]


class TestEnds:
    async def test_what_was_written_before_the_end_is_read_and_then_the_end(self) -> None:
        channel, _ = a_channel()
        channel.write(b"last words")
        channel.finish()
        assert await channel.receive() == b"last words"
        assert await channel.receive() == b""
        assert await channel.receive() == b""

    @pytest.mark.parametrize("end", [MemoryChannel.finish, MemoryChannel.abort, MemoryChannel.dispose])
    async def test_a_waiting_reader_hears_of_every_end(self, end: Callable[[MemoryChannel], None]) -> None:
        channel, _ = a_channel()
        seen: list[object] = []

        async def reading() -> None:
            try:
                seen.append(await channel.receive())
            except ConnectionResetError:
                seen.append("broken")

        async with anyio.create_task_group() as group:
            group.start_soon(reading)
            await anyio.wait_all_tasks_blocked()
            end(channel)
        assert seen == [b"" if end is MemoryChannel.finish else "broken"]

    async def test_an_aborted_one_loses_what_was_not_read(self) -> None:
        channel, owner = a_channel()
        channel.write(b"never read")
        channel.abort()
        with pytest.raises(ConnectionResetError):
            await channel.receive()
        with pytest.raises(BrokenPipeError):
            channel.write(b"more")
        assert owner.told == []

    async def test_leaving_is_told_once(self) -> None:
        channel, owner = a_channel()
        channel.write(b"x" * (UNREAD_BYTES_MAX + 1))
        channel.leave()
        channel.leave()
        assert owner.told == ["stalled", "lost"]
        assert channel.closed
        assert not channel.pending

    async def test_leaving_behind_the_end_is_told_nobody(self) -> None:
        channel, owner = a_channel()
        channel.finish()
        channel.leave()
        assert owner.told == []

    @pytest.mark.parametrize(
        "end", [MemoryChannel.finish, MemoryChannel.abort, MemoryChannel.dispose, MemoryChannel.leave]
    )
    async def test_every_end_is_told_once_to_whoever_must_know(
        self, end: Callable[[MemoryChannel], None]
    ) -> None:
        channel, _ = a_channel()
        told: list[bool] = []
        channel.when_over(lambda: told.append(channel.closed))
        assert told == []
        for again in (end, MemoryChannel.dispose, MemoryChannel.finish, MemoryChannel.leave):
            again(channel)
        assert told == [True]
        channel.when_over(lambda: told.append(channel.closed))
        assert told == [True, True]  # It is over already.

    async def test_there_is_news_until_it_is_taken_and_for_ever_once_it_is_over(self) -> None:
        channel, _ = a_channel()
        assert not channel.has_news
        channel.write(b"some")
        assert channel.has_news
        await channel.receive()
        assert not channel.has_news
        channel.finish()
        assert channel.has_news
