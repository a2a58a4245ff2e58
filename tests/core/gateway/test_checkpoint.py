"""Checkpoints: a session that goes on from one orders what the original orders, whatever comes after."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.gateway.checkpoint import Checkpoint, checkpoint, is_quiet, resume
from stargate_core.gateway.session import Session
from stargate_core.messages import SessionCommand, SessionEvent
from support.happenings import ACTIONS, CODECS, PLANS, Codec, happen
from support.machines import Bench, chat


class Watched(Bench):
    """A bench that keeps what its session was told, and a checkpoint wherever one can be taken."""

    def __init__(self, codec: Codec) -> None:
        self.steps: list[tuple[int, SessionEvent, list[SessionCommand]]] = []
        self.checkpoints: list[tuple[int, Checkpoint]] = []
        """Before which step, and the checkpoint."""
        plans = PLANS[codec]
        super().__init__(plans[1], later=tuple(plans.values()))

    def tell(self, event: SessionEvent) -> list[SessionCommand]:
        """As any bench; and look before."""
        if is_quiet(self.session):
            self.checkpoints.append((len(self.steps), checkpoint(self.session)))
        commands = super().tell(event)
        self.steps.append((self.now, event, commands))
        return commands


def lived(codec: Codec, names: list[str]) -> Watched:
    """A bench to which all this has happened, as far as it could."""
    bench = Watched(codec)
    happen(bench, names)
    return bench


def replayed(bench: Watched, codec: Codec, at: int, begun: Checkpoint) -> None:
    """A session from this checkpoint on orders what the original has ordered, and waits for the same."""
    session = resume(begun, PLANS[codec], Session)
    for now, event, commands in bench.steps[at:]:
        assert session.handle(now, event) == commands
    assert session.deadline == bench.session.deadline
    assert session.closed == bench.session.closed
    if is_quiet(session):
        assert checkpoint(session) == checkpoint(bench.session)


class TestResume:
    @pytest.mark.parametrize("codec", CODECS)
    @given(names=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=30))
    def test_from_any_quiet_point_on_it_is_the_same_life(self, codec: Codec, names: list[str]) -> None:
        bench = lived(codec, names)
        for at, begun in bench.checkpoints:
            replayed(bench, codec, at, begun)

    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize("first", sorted(ACTIONS))
    def test_after_a_request_the_next_is_served_alike(self, codec: Codec, first: str) -> None:
        request_ = ["asks for a stream", "gets a lease", "is streamed to"]
        bench = lived(codec, [*request_, first, *request_, "waits a while", *request_])
        assert len(bench.checkpoints) > 1
        for at, begun in bench.checkpoints:
            replayed(bench, codec, at, begun)

    def test_it_may_have_been_written_down_between(self) -> None:
        bench = lived("fast", ["hears of keys", "hears of a breaker", "asks", "gets a lease", "is answered"])
        begun = checkpoint(bench.session)
        builtins = msgspec.to_builtins(msgspec.structs.replace(begun, credentials={}), str_keys=True)
        again = msgspec.convert(builtins, Checkpoint)
        assert again == msgspec.structs.replace(begun, credentials={})

    def test_a_checkpoint_does_not_change_with_its_session(self) -> None:
        bench = lived("fast", ["hears of credentials", "hears of a breaker"])
        begun, copy = checkpoint(bench.session), checkpoint(bench.session)
        for name in ("hears there are none", "hears of others", "hears of keys", "asks"):
            ACTIONS[name](bench)
        assert begun == copy
        assert begun.tickets == 0

    @pytest.mark.parametrize("name", ["asks", "sends half a head"])
    def test_within_a_request_there_is_none(self, name: str) -> None:
        bench = Watched("fast")
        bench.send(chat() if name == "asks" else b"POST / HT")
        assert not is_quiet(bench.session)
        with pytest.raises(AssertionError, match="a request is under way"):
            checkpoint(bench.session)
