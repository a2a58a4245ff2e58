"""Sessions, their cache and its flights together, and anything may happen to any of them.

The benches hold each session and each flight to their own rules at each step. What only the whole can break
is held here: a caller gets the model's whole answer, or a beginning of it and an error, and never another
text; no flight goes on that nobody waits for; when all callers have left, nothing is left of anything.
"""

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.gateway.test_flight import a_crowd, text_of
from stargate_core.clock import SECOND
from stargate_core.messages import ClientDrained, ClientStalled, Trouble
from support.bedrock import LAST_CHUNK, chunk, converse_answer, converse_story, exception, stream_head
from support.flights import FlightBench
from support.machines import Answer, chat, sse

STORY: Final = converse_story(("Hel", "lo."))
STREAM: Final = (stream_head(), *map(chunk, STORY.frames), LAST_CHUNK)
MEMBERS: Final = 3
TEXT: Final = "Hello."


def text_so_far(answer: Answer) -> str:
    """What a stream has said; keep-alives, and the error at a bad end, say nothing."""
    events = [each for each in sse(answer.body) if each != "[DONE]" and each.get("choices")]
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in events)


class CrowdOfCallers(RuleBasedStateMachine):
    """Callers that ask the same, stall, and leave; calls that go well, badly, or nowhere."""

    @initialize(shared=st.booleans())
    def begin(self, shared: bool) -> None:
        self.crowd = a_crowd(MEMBERS, shared=shared, total=60)
        self.sent: dict[int, int] = {}
        """How many pieces each flight's call has been answered by, by the flight's number."""

    def callers(self, *, busy: bool) -> list[int]:
        members = self.crowd.members
        return [
            at
            for at, member in enumerate(members)
            if member.closed is None and bool(member.followed or not member.client.whole) is busy
        ]

    def flights(self, *, held: bool) -> list[FlightBench]:
        return [f for f in self.crowd.flights if not f.flight.closed and (f.held if held else f.asked)]

    # ------------------------------------------------------------------------------------------- the callers

    @precondition(lambda self: self.callers(busy=False))
    @rule(data=st.data(), stream=st.booleans())
    def somebody_asks(self, data: st.DataObject, stream: bool) -> None:
        at = data.draw(st.sampled_from(self.callers(busy=False)))
        self.crowd.members[at].ask(chat(stream=stream))

    @precondition(lambda self: self.callers(busy=True))
    @rule(data=st.data(), lost=st.booleans())
    def somebody_leaves(self, data: st.DataObject, lost: bool) -> None:
        at = data.draw(st.sampled_from(self.callers(busy=True)))
        self.crowd.members[at].leave(lost=lost)

    @precondition(lambda self: self.callers(busy=True))
    @rule(data=st.data(), stalls=st.booleans())
    def somebody_stalls_or_reads_on(self, data: st.DataObject, stalls: bool) -> None:
        at = data.draw(st.sampled_from(self.callers(busy=True)))
        self.crowd.members[at].tell(ClientStalled() if stalls else ClientDrained())

    # --------------------------------------------------------------------------------------------- the calls

    @precondition(lambda self: self.flights(held=False))
    @rule(data=st.data(), fails=st.sampled_from([False, False, True]))
    def a_connection_is_there_or_not(self, data: st.DataObject, fails: bool) -> None:
        flight = data.draw(st.sampled_from(self.flights(held=False)))
        self.sent[flight.number] = 0
        if fails:
            flight.refuse(Trouble.REFUSED)
        else:
            flight.open()
        self.crowd.collect()

    @precondition(lambda self: self.flights(held=True))
    @rule(data=st.data(), pieces=st.integers(1, len(STREAM)))
    def bedrock_goes_on(self, data: st.DataObject, pieces: int) -> None:
        flight = data.draw(st.sampled_from(self.flights(held=True)))
        if flight.calls[-1].target.endswith("/converse"):
            self.crowd.step(flight, converse_answer(TEXT))
            return
        for _ in range(pieces):
            if flight.held:
                self.crowd.step(flight, STREAM[self.sent[flight.number]])
                self.sent[flight.number] += 1

    @precondition(lambda self: self.flights(held=True))
    @rule(data=st.data(), how=st.sampled_from(["ends", "breaks", "throttles"]))
    def a_call_goes_wrong(self, data: st.DataObject, how: str) -> None:
        flight = data.draw(st.sampled_from(self.flights(held=True)))
        if how == "throttles" and self.sent[flight.number]:
            flight.answer(chunk(exception("throttlingException")))
        else:
            (flight.upstream_ends if how == "ends" else flight.upstream_breaks)()
        self.crowd.collect()

    @precondition(lambda self: any(f.questions for f in self.crowd.flights))
    @rule(yes=st.booleans())
    def the_breaker_answers(self, yes: bool) -> None:
        next(f for f in self.crowd.flights if f.questions).reply(yes)
        self.crowd.collect()

    @rule(seconds=st.sampled_from([1, 3]))
    def time_passes(self, seconds: int) -> None:
        self.crowd.advance(seconds * SECOND)

    # ------------------------------------------------------------------------------------- what always holds

    @invariant()
    def nobody_is_told_anything_else(self) -> None:
        for answer in self.answers():
            if answer.status == 200 and answer.body:
                if answer.body.startswith((b"data: ", b":")):
                    assert TEXT.startswith(text_so_far(answer))
                else:
                    assert text_of(answer) == TEXT
            if answer.whole and answer.body.endswith(b"data: [DONE]\n\n"):
                assert text_so_far(answer) == TEXT, "a good end before the whole was told"

    @invariant()
    def no_call_goes_on_for_nobody(self) -> None:
        if hasattr(self, "crowd") and not any(member.followed for member in self.crowd.members):
            assert all(flight.flight.closed for flight in self.crowd.flights)
            assert self.crowd.cache.statistics()["flights"] == 0

    def answers(self) -> list[Answer]:
        if not hasattr(self, "crowd"):
            return []
        return [answer for member in self.crowd.members for answer in member.client.answers]

    def teardown(self) -> None:
        if not hasattr(self, "crowd"):
            return
        for member in self.crowd.members:
            if member.closed is None:
                member.leave()
            member.settle()
        self.no_call_goes_on_for_nobody()
        for flight in self.crowd.flights:
            assert not flight.held


TestCrowd = CrowdOfCallers.TestCase
TestCrowd.settings = settings(max_examples=60, stateful_step_count=40)
