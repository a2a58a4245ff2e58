"""Messages before and behind a conversation, in the form of each API; what is there stays as it is."""

import copy
import itertools
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.conversations import Form, Said, form_of_invoke, put_around, put_in

SYSTEM: Final = Said("system", "S")
USER: Final = Said("user", "U")
ANSWER: Final = Said("assistant", "A")
TAIL: Final = Said("system", "T")
CACHED: Final = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}


def plain(role: str, content: Any = "hi") -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("form", "members", "after"),
    [
        (
            Form.CHAT,
            {"messages": [plain("user")]},
            {"messages": [plain("system", "S"), plain("user", "U"), plain("user"), plain("assistant", "A"),
                          plain("system", "T")]},
        ),
        (
            Form.RESPONSES,
            {"input": "hi"},
            {"instructions": "S", "input": [plain("user", "U"), plain("user"), plain("assistant", "A"),
                                            plain("system", "T")]},
        ),
        (
            Form.RESPONSES,
            {"input": [plain("user")], "instructions": "I", "previous_response_id": "resp_1"},
            {"instructions": "S\n\nI", "previous_response_id": "resp_1",
             "input": [plain("user"), plain("assistant", "A"), plain("system", "T")]},
        ),
        (
            Form.ANTHROPIC,
            {"system": [CACHED], "messages": [plain("user", [CACHED])]},
            {"system": [{"type": "text", "text": "S"}, CACHED, {"type": "text", "text": "T"}],
             "messages": [plain("user", "U"), plain("user", [CACHED]), plain("assistant", "A")]},
        ),
        (
            Form.ANTHROPIC,
            {"system": "I", "messages": []},
            {"system": [{"type": "text", "text": text} for text in "SIT"],
             "messages": [plain("user", "U"), plain("assistant", "A")]},
        ),
        (
            Form.ANTHROPIC,
            {"system": 5, "messages": []},
            {"system": 5, "messages": [plain("user", "U"), plain("assistant", "A")]},
        ),
        (
            Form.CONVERSE,
            {"messages": [plain("user", [{"text": "hi"}, {"cachePoint": {"type": "default"}}])]},
            {"system": [{"text": "S"}, {"text": "T"}],
             "messages": [plain("user", [{"text": "U"}, {"text": "hi"}, {"cachePoint": {"type": "default"}}]),
                          plain("assistant", [{"text": "A"}])]},
        ),
    ],
)  # fmt: skip
def test_in_each_form(form: Form, members: dict[str, Any], after: dict[str, Any]) -> None:
    assert put_around(members, form, [SYSTEM, USER], [ANSWER, TAIL])
    assert members == after


def test_behind_a_turn_of_the_same_role() -> None:
    members: dict[str, Any] = {"system": "", "messages": [plain("user", [{"text": "hi"}])]}
    assert put_around(members, Form.CONVERSE, [ANSWER], [USER])
    turns = [plain("assistant", [{"text": "A"}]), plain("user", [{"text": "hi"}, {"text": "U"}])]
    assert members["messages"] == turns


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("members", [{}, {"messages": "x", "input": 5}, {"messages": None, "input": None}])
def test_where_there_is_no_conversation(form: Form, members: dict[str, Any]) -> None:
    before = copy.deepcopy(members)
    assert not put_around(members, form, [SYSTEM], [])
    assert members == before


def test_instructions_that_are_no_text_are_left_for_their_reader() -> None:
    members: dict[str, Any] = {"instructions": 5, "input": []}
    assert put_around(members, Form.RESPONSES, [SYSTEM], [])
    assert members == {"instructions": 5, "input": []}


SAID: Final = st.lists(
    st.builds(Said, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=9)), max_size=4
)


@given(SAID, SAID, st.lists(st.sampled_from(["user", "assistant"]), max_size=4))
def test_turns_of_converse_alternate_and_nothing_of_the_callers_is_lost(
    before: list[Said], behind: list[Said], roles: list[str]
) -> None:
    own = [plain(role, [{"text": f"own {at}"}]) for at, role in enumerate(roles)]
    own = [turn for at, turn in enumerate(own) if not at or turn["role"] != own[at - 1]["role"]]
    members: dict[str, Any] = {"messages": copy.deepcopy(own)}
    alternating = all(a["role"] != b["role"] for a, b in itertools.pairwise(own))
    assert put_around(members, Form.CONVERSE, before, behind)
    turns = members["messages"]
    if alternating:
        assert all(a["role"] != b["role"] for a, b in itertools.pairwise(turns))
    texts = [block["text"] for turn in turns for block in turn["content"]]
    said = [[one.text for one in every if one.role != "system"] for every in (before, behind)]
    assert texts == [*said[0], *(block["text"] for turn in own for block in turn["content"]), *said[1]]
    system = [one.text for one in (*before, *behind) if one.role == "system"]
    assert [block["text"] for block in members.get("system", [])] == system


class TestPutIn:
    MESSAGES: Final = (
        plain("system", "S"),
        plain("user", "one"),
        plain("user", "two"),
        plain("assistant", [{"text": "block"}]),
        "odd",
    )

    def test_in_each_form(self) -> None:
        messages = list(self.MESSAGES)
        members: dict[str, Any] = {}
        put_in(members, Form.CHAT, messages)
        assert members == {"messages": messages}
        members = {}
        put_in(members, Form.RESPONSES, messages)
        assert members == {"input": messages}
        members = {"system": "own"}
        put_in(members, Form.ANTHROPIC, messages)
        assert members == {
            "system": [{"type": "text", "text": "own"}, {"type": "text", "text": "S"}],
            "messages": messages[1:],
        }
        members = {}
        put_in(members, Form.CONVERSE, messages)
        assert members == {
            "system": [{"text": "S"}],
            "messages": [plain("user", [{"text": "one"}, {"text": "two"}]), *messages[3:]],
        }


@pytest.mark.parametrize(
    ("members", "form"),
    [
        ({"anthropic_version": "bedrock-2023-05-31"}, Form.ANTHROPIC),
        ({"schemaVersion": "messages-v1"}, Form.CONVERSE),
        ({"inferenceConfig": {}}, Form.CONVERSE),
        ({"messages": [plain("user", [{"text": "hi"}])]}, Form.CONVERSE),
        ({"messages": [plain("user", [{"type": "text", "text": "hi"}])]}, Form.CHAT),
        ({"messages": ["odd", plain("user"), plain("user", []), plain("user", [5])]}, Form.CHAT),
        ({"prompt": "hi"}, Form.CHAT),
    ],
)
def test_whose_body_it_is(members: dict[str, Any], form: Form) -> None:
    assert form_of_invoke(members) is form
