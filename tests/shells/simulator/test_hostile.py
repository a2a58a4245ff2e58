"""Whatever a peer sends: an answer or a refusal, never an exception. Recorded requests, each with a wound."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from support.simulator import Wire, signed
from support.vectors import recordings

BODIES: Final[list[tuple[str, Any]]] = [
    (urlsplit(item.uri).path, json.loads(item.request_body))
    for item in recordings()
    if not item.request_body.startswith("<")
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(
        ["user", "assistant", "text", "[[simulator: slow", "[[simulator: words=1 stop=x]]", "AAAA"]
    ),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["text", "role", "content", "toolUse", "type", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def wounded(body: Any, draw: Any) -> Any:
    """The body with one of its subtrees replaced, taken out, or with a member more."""
    if isinstance(body, dict) and body and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(body)))
        match draw(st.integers(0, 5)):
            case 0:
                return {key: value for key, value in body.items() if key != name}
            case 1:
                return {**body, draw(st.text(max_size=4)): draw(values)}
            case _:
                return {**body, name: wounded(body[name], draw)}
    if isinstance(body, list) and body and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(body) - 1))
        return [*body[:index], wounded(body[index], draw), *body[index + 1 :]]
    return draw(values)


@settings(max_examples=300)
@given(st.data())
def test_a_wounded_request_is_answered(data: st.DataObject) -> None:
    path, body = data.draw(st.sampled_from(BODIES))
    raw = json.dumps(wounded(body, data.draw)).encode()
    wire = Wire()
    reply = wire.ask(signed(path, raw))
    # A directive may be found in a wound; none of those on offer breaks the answer's HTTP.
    assert reply.whole
    assert reply.status in (200, 400)
    assert wire.ledger.statistics()["running"] == 0
