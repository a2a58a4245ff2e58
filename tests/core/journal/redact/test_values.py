"""Values: what was kept, found or went wrong, as long as it was."""

from typing import Final

import msgspec
import pytest

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.operations import Operation
from stargate_core.config.live_key import LiveKey, write_live_key
from stargate_core.dialects.face import Call, Fetched
from stargate_core.direction import Direction, Order, Persistence, Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.cache_entries import VERSION, Entry, pack, unpack
from stargate_core.journal.redact.bodies import Bodies
from stargate_core.journal.redact.heads import Heads
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.values import Values
from stargate_core.journal.redact.words import Words
from stargate_core.secret import Secret
from support.samples import samples

DIGEST: Final = "0123456789abcdef" * 4
BODY: Final = b'{"role":"user","text":"secretly"}'


def values() -> Values:
    words, none = Words(b"salt"), frozenset[str]()
    secrets, bodies = Secrets(words, none), Bodies(words)
    return Values(words, secrets, bodies, Heads(words, secrets, bodies, none, frozenset()))


def test_a_kept_answer_is_one_afterwards() -> None:
    kept = pack(
        Entry(VERSION, "us-east-1", [(b"content-type", b"application/json"), (b"x-a", b"secretly")], BODY)
    )
    made = values().kept(kept)
    assert len(made) == len(kept)
    assert b"secretly" not in made
    entry = unpack(made)
    assert entry is not None
    assert entry.target == "us-east-1"
    assert msgspec.json.decode(entry.body)["role"] == "user"


@pytest.mark.parametrize("value", [BODY, b"\x00\xffsecretly", b""])
def test_what_else_was_kept_is_as_long(value: bytes) -> None:
    made = values().kept(value)
    assert len(made) == len(value)
    assert b"secretly" not in made


def test_a_key_of_the_store_stays_whose_it_is_and_goes_itself() -> None:
    live = write_live_key(LiveKey(consumer="ann", models=["claude-*"]))
    ((digest, value),) = values().keys({DIGEST: live}).items()
    assert digest != DIGEST
    assert value == live
    more = b'{"consumer":"ann","said":"secretly"}'
    assert b"secretly" not in values().stored(more)
    assert values().stored(b"1700000000") == b"1700000000"
    assert values().stored(DIGEST.encode()) == digest.encode()


def test_the_name_of_what_is_kept_has_another_digest() -> None:
    assert values().key(f"stargate:cache:{DIGEST}")[:15] == "stargate:cache:"
    assert DIGEST not in values().key(f"stargate:cache:{DIGEST}")


def test_what_was_fetched_is_as_long_and_of_the_same_kind() -> None:
    for kind, data in (
        ("text/plain", b"secretly"),
        ("", b"\x89PNG\r\n\x1a\nsecretly"),
        ("a/b", b"%PDF-secretly"),
    ):
        made = values().fetched(Fetched(kind, data))
        assert len(made.data) == len(data)
        assert made.data[:4] == data[:4] or kind == "text/plain"
        assert b"secretly" not in made.data


def test_a_fault_keeps_its_cause_and_its_place() -> None:
    fault = Fault(
        Cause.BODY_INVALID, "said secretly", detail="secretly", param="messages[12].secretly.content"
    )
    made = values().fault(fault)
    assert made.cause is fault.cause
    assert made.param is not None
    assert made.param.startswith("messages[12].")
    assert made.param.endswith(".content")
    assert "secretly" not in f"{made.message}{made.detail}{made.param}"
    assert values().fault(Fault(Cause.BODY_INVALID)).param is None


def test_credentials_keep_what_kind_of_id_they_have() -> None:
    made = values().authority(Credentials("AKIAIOSFODNN7EXAMPLE", Secret("x")))
    assert made.access_key_id.startswith("AKIA")
    assert made.access_key_id != "AKIAIOSFODNN7EXAMPLE"
    token = BearerToken(Secret("x"))
    assert values().authority(token) == token
    assert values().authority(None) is None


def test_an_order_is_of_another_call_in_the_same_form() -> None:
    call = Call(
        Operation.CONVERSE, b"POST", b"/model/a/converse", [(b"x-a", b"secretly")], BODY, False, (BODY,)
    )
    order = Order(DIGEST, call, (), Persistence(), 5, Sharing("ann", 1, 1))
    made = values().order(order)
    assert made.key != DIGEST
    assert made.call.target == call.target
    assert [len(body) for body in (made.call.body, *made.call.more_bodies)] == [len(BODY)] * 2
    assert b"secretly" not in made.call.body + made.call.more_bodies[0] + made.call.headers[0][1]


def test_what_is_no_text_is_no_key() -> None:
    made = values().stored(b"\xffsecretly")
    assert len(made) == 9
    assert b"secretly" not in made


def test_a_direction_keeps_what_kind_of_id_its_credentials_have() -> None:
    own = Credentials("AKIAIOSFODNN7EXAMPLE", Secret("x"))
    call = Call(Operation.CONVERSE, b"POST", b"/model/a/converse", [], BODY, False)
    directions = tuple(
        msgspec.structs.replace(next(samples(Direction)), credentials=each) for each in (None, own)
    )
    made = values().order(Order(DIGEST, call, directions, Persistence(), 5, Sharing("ann", 1, 1)))
    without, with_ = made.directions
    assert without == directions[0]
    assert with_ == msgspec.structs.replace(directions[1], credentials=values().authority(own))
    assert with_ != directions[1]
