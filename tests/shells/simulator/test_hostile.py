"""Whatever a peer sends: an answer or a refusal, never an exception. Recorded requests, each with a wound."""

import json
import shlex
from typing import Any, Final
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from stargate.simulator.directives import COMMON_OPTIONS
from stargate.simulator.messages import Ended
from stargate.simulator.scenarios import SCENARIOS
from support.simulator import Wire, converse_request, signed
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


OPTIONS: Final = sorted({option for scenario in SCENARIOS.values() for option in scenario.options})


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(SCENARIOS)),
    st.dictionaries(
        st.sampled_from([*OPTIONS, *COMMON_OPTIONS]),
        st.one_of(
            st.text(max_size=5),
            st.integers(-(2**70), 2**70).map(str),
            st.sampled_from(["0", "start", "stop", "x\ny", "9" * 400, "٣", "é"]),
        ),
        max_size=3,
    ),
    st.sampled_from(["converse", "converse-stream"]),
)
def test_no_directive_breaks_the_machine(name: str, options: dict[str, str], operation: str) -> None:
    allowed = {*SCENARIOS[name].options, *COMMON_OPTIONS}
    kept = {option: value for option, value in options.items() if option in allowed}
    if len(kept.get("words", "")) > 3:
        del kept["words"]  # a hundred thousand words are allowed, and take their time
    wish = shlex.join([name, *(f"{option}={value}" for option, value in kept.items())])
    wire = Wire()
    wire.ask(converse_request(f"[[simulator: {wish}]]", operation=operation))
    wire.tell(Ended())
    assert wire.closed
    assert wire.ledger.statistics()["running"] == 0
