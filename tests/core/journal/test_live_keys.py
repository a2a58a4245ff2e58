"""Keys of the store in journals: those that were shown, and no others."""

from typing import Final

import pytest

from stargate_core.clock import SECOND
from stargate_core.config.live_key import LiveKey, write_live_key
from stargate_core.journal.format import BreakerBeginning, Entry, Header, SessionBeginning
from stargate_core.journal.live_keys import digest, only_shown
from stargate_core.journal.replay import replay
from stargate_core.journal.write import encoded
from stargate_core.messages import ClientSent, KeysChanged, Ticked
from stargate_core.plugins.registry import BUILT_IN
from support.journals import KEY, RecordedBench, a_guarded_plan, journal
from support.machines import chat

LIVE: Final = "sk-live-0123456789abcdef"
OTHERS: Final = {digest(b"other-%d" % number): b'{"consumer":"team-a"}' for number in range(1000)}
OPEN: Final = write_live_key(LiveKey(consumer="team-a"))
REVOKED: Final = write_live_key(LiveKey(consumer="team-a", revoked=True))


class TestOnlyShown:
    @pytest.mark.parametrize("line", [b"x-api-key: %b", b"x-api-key:%b ", b"authorization: Bearer  %b"])
    def test_a_key_that_was_shown_stays(self, line: bytes) -> None:
        head = b"GET / HTTP/1.1\r\n" + line % LIVE.encode() + b"\r\nhost: x\r\n\r\n"
        header = Header(package="0", beginning=BreakerBeginning(), began_ns=0)
        entries = [
            Entry(1, ClientSent(head[:30])),
            Entry(2, KeysChanged({**OTHERS, digest(LIVE.encode()): OPEN})),
            Entry(3, ClientSent(head[30:])),
            Entry(4, Ticked()),
        ]
        _, kept = only_shown(header, entries, {})
        assert kept[1].event == KeysChanged({digest(LIVE.encode()): OPEN})
        assert [kept[0], *kept[2:]] == [entries[0], *entries[2:]]

    def test_its_digest_is_that_of_what_stands_in_its_place(self) -> None:
        header = Header(package="0", beginning=BreakerBeginning(), began_ns=0)
        entries = [Entry(1, ClientSent(b"x-api-key: key\r\n")), Entry(2, KeysChanged({digest(b"key"): OPEN}))]
        _, kept = only_shown(header, entries, {b"key": b"xx1"})
        assert kept[1].event == KeysChanged({digest(b"xx1"): OPEN})


class TestLives:
    @pytest.mark.parametrize(
        ("key", "entries", "status"),
        [
            (LIVE, {digest(LIVE.encode()): OPEN}, 200),
            (KEY, {digest(KEY.encode()): REVOKED}, 403),
            (LIVE, {}, 403),
        ],
    )
    def test_who_was_let_in_is_and_who_was_not_is_not(
        self, key: str, entries: dict[str, bytes], status: int
    ) -> None:
        """A key of the store's; one of the file's that the store has revoked; one that nobody knows."""
        bench = RecordedBench(a_guarded_plan())
        bench.tell(KeysChanged({**OTHERS, **entries}))
        bench.ask(chat(headers={"x-api-key": key}))
        if status == 200:
            bench.advance(SECOND)
            bench.leave()
        else:
            assert bench.only.status == status
        whole = journal(bench.life)
        assert whole.trailer.diverged_at is None
        assert replay(whole, BUILT_IN).divergence is None
        assert isinstance(whole.header.beginning, SessionBeginning)
        assert len(whole.header.beginning.checkpoint.keys) == len(entries)
        assert not any(other.encode() in encoded(whole) for other in OTHERS)
