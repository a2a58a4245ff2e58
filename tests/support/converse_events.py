"""Converse's stream events in any order whatever, and the law that holds for every translator of them."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from stargate_core.dialects.face import BadAnswer, Translator
from stargate_core.faults import Cause, Fault
from stargate_core.wire.frames import Frame
from support.dialects import USAGE, Event


def random_events() -> SearchStrategy[list[Event]]:
    """Events in any order whatever, of the right shape and of wrong ones."""
    index = st.integers(0, 3)
    text = st.text(max_size=8)
    fragment = text | st.sampled_from(["{}", '{"a"', ":1}"])
    starts = st.one_of(
        st.builds(
            lambda kind: {"toolUse": {"toolUseId": "t", "name": "f", **kind}},
            st.sampled_from([{}, {"type": "tool_use"}, {"type": "server_tool_use"}]),
        ),
        st.just({"toolResult": {"toolUseId": "t"}}),
        st.just({"hologram": {}}),
    )
    delta = st.one_of(
        text.map(lambda value: {"text": value}),
        fragment.map(lambda value: {"toolUse": {"input": value}}),
        text.map(lambda value: {"reasoningContent": {"text": value}}),
        st.sampled_from(
            [
                {"reasoningContent": {"signature": "s"}},
                {"reasoningContent": {"text": "t", "signature": "s"}},
                {"reasoningContent": {"redactedContent": "RXRr"}},
                {"reasoningContent": {"redactedContent": "no base64"}},
                {"toolResult": [{"text": "x"}]},
                {"citation": {"title": "x", "location": {"web": {"url": "https://a.example"}}}},
                {"citation": {"title": "x"}},
                {"text": 5},
                {},
            ]
        ),
    )
    stops = st.sampled_from(["end_turn", "tool_use", "max_tokens", "malformed_tool_use", "unheard_of"])
    event: SearchStrategy[Event] = st.one_of(
        st.just(("messageStart", {"role": "assistant"})),
        st.builds(lambda i, s: ("contentBlockStart", {"contentBlockIndex": i, "start": s}), index, starts),
        st.builds(lambda i, d: ("contentBlockDelta", {"contentBlockIndex": i, "delta": d}), index, delta),
        st.builds(lambda i: ("contentBlockStop", {"contentBlockIndex": i}), index),
        st.builds(lambda reason: ("messageStop", {"stopReason": reason}), stops),
        st.sampled_from(
            [("metadata", {"usage": USAGE}), ("metadata", {}), ("messageStop", {}), ("news", {"a": 1})]
        ),
    )
    return st.lists(event, max_size=20)


def assert_frame_equals_parts(made: Callable[[], Translator], stream: list[Frame]) -> None:
    """`frame` and `parts` + `render` write the same bytes, raise the same faults, and know the same."""
    fast, slow = made(), made()
    for frame in stream:
        outcomes: list[bytes | Fault] = []
        for way in (fast.frame, lambda one: b"".join([slow.render(part) for part in slow.parts(one)])):
            try:
                outcomes.append(way(frame))
            except BadAnswer as bad:
                outcomes.append(bad.fault)
        assert outcomes[0] == outcomes[1]
        for name in ("complete", "meaningful", "stop_reason", "usage"):
            assert getattr(fast, name) == getattr(slow, name)
        if isinstance(outcomes[0], Fault):
            break
    assert fast.broken(Fault(Cause.STREAM_CUT)) == slow.broken(Fault(Cause.STREAM_CUT))
