"""The form of a journal: what is written is read again, and what is none is an Unreadable and no more."""

import re
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stargate_core.journal import format as form
from stargate_core.journal.format import (
    FORMAT,
    MAGIC,
    SEALED_MAGIC,
    AnyEvent,
    Beginning,
    BreakerBeginning,
    Encoder,
    Entry,
    Header,
    Journal,
    Kind,
    Trailer,
    Unreadable,
    read,
)
from stargate_core.journal.machines import EVENTS
from stargate_core.journal.write import encoded
from stargate_core.messages import ClientSent, KeysChanged, Ticked
from stargate_core.secret import Secret
from support.journals import SCENARIOS, journal
from support.samples import samples

HEADER: Final = Header(package="0", beginning=BreakerBeginning(), began_ns=5)
SHORT: Final = Journal(
    HEADER,
    [Entry(5, Ticked(), b"12345678", ("Note",)), Entry(6, Ticked(), raised="AssertionError")],
    Trailer(entries=2, commands=1, fingerprint="f", shape="s"),
)
REAL: Final = encoded(journal(SCENARIOS["bad-crc"]()[0]))
ENCODER: Final = Encoder(Secret.reveal)


def of(header: Header, *entries: Entry) -> Journal:
    """A journal of these."""
    trailer = Trailer(entries=len(entries), commands=0, fingerprint="", shape="")
    return Journal(header, list(entries), trailer)


def frame(part: Any) -> bytes:
    """A frame of anything."""
    data = msgspec.msgpack.encode(part)
    return len(data).to_bytes(4, "big") + data


def written(*parts: Any) -> bytes:
    """A file of these frames."""
    return MAGIC + b"".join(map(frame, parts))


class TestRoundTrip:
    def test_a_journal_is_read_as_it_was_written(self) -> None:
        assert read(ENCODER.journal(SHORT)) == SHORT

    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_so_is_one_of_a_real_life(self, scenario: str) -> None:
        for life in SCENARIOS[scenario]():
            whole = journal(life)
            assert read(encoded(whole)) == whole

    @pytest.mark.parametrize("kind", get_args(Beginning), ids=lambda kind: kind.__name__)
    def test_every_beginning_is_read_again(self, kind: type[msgspec.Struct]) -> None:
        for beginning in samples(kind):
            header = msgspec.structs.replace(HEADER, beginning=beginning)
            assert read(ENCODER.journal(of(header))).header == header

    @pytest.mark.parametrize("kind", get_args(AnyEvent), ids=lambda kind: kind.__name__)
    def test_every_event_is_read_again(self, kind: type[msgspec.Struct]) -> None:
        entries = [Entry(index, event) for index, event in enumerate(samples(kind))]
        assert read(ENCODER.journal(of(HEADER, *entries))).entries == entries

    @pytest.mark.parametrize("kind", get_args(Beginning), ids=lambda kind: kind.__name__)
    def test_the_kind_of_a_beginning_is_that_of_its_journal(self, kind: type[msgspec.Struct]) -> None:
        header = msgspec.structs.replace(HEADER, beginning=next(samples(kind)))
        assert header.kind == kind.__struct_config__.tag

    def test_what_is_shared_and_not_to_be_changed_is_written_as_what_it_holds(self) -> None:
        """All sessions are told one mapping of keys: who gives them out may guard it against changes."""
        told = KeysChanged(MappingProxyType({"a" * 64: b"{}"}))
        (entry,) = read(ENCODER.journal(of(HEADER, Entry(5, told)))).entries
        assert entry.event == KeysChanged({"a" * 64: b"{}"})

    def test_any_machine_has_a_beginning_and_events(self) -> None:
        tags = {kind.__struct_config__.tag for kind in get_args(Beginning)}
        assert tags == set(get_args(Kind)) == set(EVENTS)
        assert set(get_args(AnyEvent)) == {event for events in EVENTS.values() for event in events}

    def test_what_stands_for_a_secret_is_the_writers_to_say(self) -> None:
        (beginning, *_) = samples(form.RedisLinkBeginning, secret="PLANTED")
        beginning = msgspec.structs.replace(
            beginning, settings=msgspec.structs.replace(beginning.settings, password=Secret("PLANTED"))
        )
        header = msgspec.structs.replace(HEADER, beginning=beginning)
        data = Encoder(lambda _: "instead").journal(of(header))
        assert b"PLANTED" not in data
        again: Any = read(data).header.beginning
        assert again.settings.password == Secret("instead")

    def test_what_a_journal_cannot_hold_is_refused_both_ways(self) -> None:
        with pytest.raises(NotImplementedError, match="a journal can't hold this: object"):
            ENCODER.again([object()], list[int])
        with pytest.raises(NotImplementedError, match="a journal can't hold this: Pattern"):
            ENCODER.again("text", re.Pattern)


class TestUnreadable:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "not a journal"),
            (b"{}", "not a journal"),
            (MAGIC[:-1], "not a journal"),
            (SEALED_MAGIC + b"x", "encrypted"),
            (MAGIC, "ends within its header"),
            (MAGIC + b"\xff\xff\xff\xff", "its header claims to have 4294967295 bytes"),
            (written({"format": FORMAT + 1}), "format 2, written by Stargate another version"),
            (
                written({"format": FORMAT + 1, "package": "9.9"}),
                "by Stargate 9.9; this version reads",
            ),
            (written({"format": FORMAT}), "its header is malformed: Object missing required field"),
            (written([]), "its header is malformed"),
            (written({"format": "1"}), "its header is malformed"),
            (ENCODER.journal(SHORT)[:-1], "ends within entry 2"),
            (ENCODER.journal(SHORT) + b"x", "something follows its end"),
        ],
    )
    def test_it_says_what_is_wrong(self, data: bytes, message: str) -> None:
        with pytest.raises(Unreadable, match=message):
            read(data)

    def test_a_wrong_count_is_noticed(self) -> None:
        short = Journal(SHORT.header, SHORT.entries[:1], SHORT.trailer)
        with pytest.raises(Unreadable, match="its end speaks of 2 entries, and there are 1"):
            read(ENCODER.journal(short))

    def test_an_entry_that_is_none_is_named(self) -> None:
        data = MAGIC + ENCODER.journal(SHORT)[len(MAGIC) :].partition(frame([5]))[0]
        at = data.index(b"Ticked")
        with pytest.raises(Unreadable, match="entry 0 is malformed"):
            read(data[:at] + b"Tacked" + data[at + 6 :])

    def test_there_is_a_bound_on_entries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(form, "ENTRIES_MAX", 1)
        with pytest.raises(Unreadable, match="more than 1 entries"):
            read(ENCODER.journal(SHORT))

    def test_a_torn_file_is_never_a_journal(self) -> None:
        for size in range(len(REAL)):
            with pytest.raises(Unreadable):
                read(REAL[:size])

    @given(st.binary(max_size=300))
    @example(b"\x90")
    @example(b"\xdc\xff\xff" + b"\x91" * 200)
    def test_garbage_in_a_frame_is_never_anything_else(self, data: bytes) -> None:
        for prefix in (MAGIC, MAGIC + frame(msgspec.to_builtins(HEADER, builtin_types=(bytes,)))):
            with pytest.raises(Unreadable):
                read(prefix + len(data).to_bytes(4, "big") + data)

    @given(st.data())
    def test_a_changed_byte_is_read_or_refused(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(REAL) - 1))
        byte = data.draw(st.integers(0, 255))
        try:
            read(REAL[:at] + bytes([byte]) + REAL[at + 1 :])
        except Unreadable:
            pass

    def test_deep_nesting_is_refused(self) -> None:
        deep = b"\x93\x05" + b"\x91" * 5000 + b"\xc0" * 2
        header = MAGIC + frame(msgspec.to_builtins(HEADER, builtin_types=(bytes,)))
        with pytest.raises(Unreadable, match="entry 0 is malformed"):
            read(header + len(deep).to_bytes(4, "big") + deep)


def test_an_entry_takes_little_room() -> None:
    """An array of the time, the event, its digest and its shape."""
    bare = len(ENCODER.journal(of(HEADER)))
    entry = Entry(10**15, ClientSent(b""), bytes(8), ("WriteClient 93",))
    one = len(ENCODER.journal(of(HEADER, entry)))
    assert one - bare < 90
