"""JSON where it stands: the same tokens, other words."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.json_text import Fragments, JsonText, Place
from stargate_core.journal.redact.vocabulary import WORDS
from stargate_core.journal.redact.words import Words

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "input", "type", "schema", "properties", "required", "secretly"])
            # What can't be seen is all alike afterwards, in names too.
            | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def json() -> JsonText:
    return JsonText(Words(b"salt", WORDS))


def shape(value: Any) -> Any:
    """What stays of a value: its kinds, and how many there are."""
    if isinstance(value, dict):
        return [shape(each) for each in value.values()]
    if isinstance(value, list):
        return [shape(each) for each in value]
    return len(value) if isinstance(value, str) else type(value)


@given(values, st.sampled_from(Place))
def test_whatever_is_json_stays_json_of_the_same_shape(value: Any, place: Place) -> None:
    text = msgspec.json.encode(value).decode()
    made = json().redact(text, place)
    assert [len(one.encode()) for one in made] == [len(one.encode()) for one in text]
    assert shape(msgspec.json.decode(made)) == shape(value)


@given(st.text(st.sampled_from('{}[]",:\\u00e9dDab019.-+ \n\udcff'), max_size=60), st.sampled_from(Place))
def test_whatever_is_none_is_as_long_and_raises_nothing(text: str, place: Place) -> None:
    assert len(json().redact(text, place)) == len(text)


@given(values, st.integers(0, 200))
def test_what_is_cut_off_is_as_the_whole_is_there(value: Any, size: int) -> None:
    text = msgspec.json.encode(value).decode()
    assert len(json().redact(text[:size])) == len(text[:size])


def redacted(value: Any) -> Any:
    return msgspec.json.decode(json().redact(msgspec.json.encode(value).decode()))


def test_structure_stays_and_words_go() -> None:
    made = redacted(
        {"model": "claude", "role": "user", "content": "hello", "max_tokens": 5, "oddity": {"type": "text"}}
    )
    assert list(made)[:4] == ["model", "role", "content", "max_tokens"]
    assert (made["model"], made["role"], made["max_tokens"]) == ("claude", "user", 5)
    assert made["content"] != "hello"
    (name,) = list(made)[4:]
    assert name != "oddity"
    assert list(made[name]) != ["type"]


def test_what_a_schema_requires_is_what_its_properties_and_its_inputs_are_called() -> None:
    made = redacted(
        {
            "tools": [
                {
                    "name": "t",
                    "input_schema": {"properties": {"city": {"$ref": "#/$defs/Place"}}, "required": ["city"]},
                }
            ],
            "content": [{"type": "tool_use", "name": "t", "input": {"city": 1}}],
            "arguments": '{"city": 2}',
        }
    )
    schema = made["tools"][0]["input_schema"]
    (name,) = schema["properties"]
    assert name != "city"
    assert schema["required"] == [name]
    assert list(made["content"][0]["input"]) == [name]
    assert list(msgspec.json.decode(made["arguments"])) == [name]
    assert schema["properties"][name]["$ref"].startswith("#/$defs/")


@pytest.mark.parametrize("cuts", [1, 3, 7, 100])
def test_pieces_are_redacted_as_the_whole_is(cuts: int) -> None:
    said = '{"city": "Paris \\u00e9", "n": 12}'
    pieces = [said[at : at + cuts] for at in range(0, len(said), cuts)]
    reader = json()
    fragments = Fragments(reader)
    events = [
        msgspec.json.encode({"delta": {"partial_json": piece}, "index": 1}).decode() for piece in pieces
    ]
    for event in events:
        reader.redact(event, Place.KNOWN, fragments)
    fragments.settle()
    made = [msgspec.json.decode(reader.redact(event, Place.KNOWN, fragments)) for event in events]
    assert "".join(event["delta"]["partial_json"] for event in made) == reader.open_text(said)


def test_json_in_json_in_json_is_found_up_to_a_depth() -> None:
    value: Any = {"city": "Paris"}
    for _ in range(9):
        value = {"arguments": msgspec.json.encode(value).decode()}
    text = msgspec.json.encode(value).decode()
    made = json().redact(text)
    assert len(made) == len(text)
    assert "Paris" not in made


def test_escapes_stay_escapes() -> None:
    made = json().redact(r'{"text":"a\u00e9\ud83d\ude00\n\/\"\\b"}')
    decoded = msgspec.json.decode(made)["text"]
    assert len(decoded) == 8
    assert decoded[3:7] == '\n/"\\'
    assert made.count("\\u") == 3


def test_an_escape_that_json_has_not_stays() -> None:
    """The text is none of JSON's, and stays none; what stands around the escape goes."""
    made = json().redact(r'{"te\xt":"secret\ly"}')
    assert len(made) == len(r'{"te\xt":"secret\ly"}')
    assert (made[4:6], made[16:18]) == (r"\x", r"\l")
    assert "secret" not in made


@pytest.mark.parametrize("told", ["ExpiredToken", "com.amazon.secretly#ExpiredToken:http://secretly/"])
def test_the_name_of_an_error_stays(told: str) -> None:
    made = redacted({"__type": told})["__type"]
    assert made.partition(":")[0].rpartition("#")[2] == "ExpiredToken"
    assert "secretly" not in made


def test_words_that_tell_what_went_wrong_stay() -> None:
    made = redacted({"message": "Sorry: prompt is too long, Ann"})
    assert "prompt is too long" in made["message"]
    assert "Ann" not in made["message"]


def test_of_a_schema_the_types_stay_and_the_words_go() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"type": {"type": "string", "description": "secretly"}},
    }
    made = redacted({"tools": [{"input_schema": schema}]})["tools"][0]["input_schema"]
    assert (made["$schema"], made["type"]) == (schema["$schema"], "object")
    ((_, inner),) = made["properties"].items()
    assert inner["type"] == "string"
    assert inner["description"] != "secretly"


def base64_of(value: Any) -> str:
    return base64.b64encode(msgspec.json.encode(value)).decode()


@pytest.mark.parametrize("name", ["signature", "encrypted_content"])
def test_what_the_gateway_has_sealed_stays_readable_to_it(name: str) -> None:
    """`sg1.` and base64url without padding: a thought with its signature, in JSON (reasoning.py)."""
    sealed = "sg1." + base64_of({"type": "thinking", "thinking": "secretly!"}).rstrip("=")
    made = redacted({name: sealed})[name]
    assert len(made) == len(sealed)
    assert made.startswith("sg1.")
    inside = msgspec.json.decode(base64.b64decode(made[4:] + "=" * (-len(made) % 4)))
    assert (inside["type"], len(inside["thinking"])) == ("thinking", len("secretly!"))
    assert inside["thinking"] != "secretly!"


def test_what_is_sealed_and_no_document_is_a_word() -> None:
    sealed = "sg1." + base64.b64encode(b"secretly").decode().rstrip("=")
    made = redacted({"signature": sealed})["signature"]
    assert made.startswith("sg1.")
    inside = base64.b64decode(made[4:] + "=")
    assert (len(inside), inside.isalpha(), inside) == (8, True, inside.lower())
    assert inside != b"secretly"


def test_other_base64_is_redacted_as_what_is_inside() -> None:
    made = base64.b64decode(redacted({"data": base64_of({"city": "Paris", "n": 1})})["data"])
    inside = msgspec.json.decode(made)
    assert [type(value) for value in inside.values()] == [str, int]
    assert b"Paris" not in made


def test_in_the_bytes_of_a_stream_there_is_a_document_of_the_models() -> None:
    """InvokeModelWithResponseStream: its events are base64 in `bytes`, and bring pieces of texts."""
    pieces = ["Say it ", "secretly."]
    events = [
        msgspec.json.encode({"bytes": base64_of({"type": "text_delta", "text": piece})}).decode()
        for piece in pieces
    ]
    reader = json()
    fragments = Fragments(reader)
    for event in events:
        reader.redact(event, Place.KNOWN, fragments)
    fragments.settle()
    made = [msgspec.json.decode(reader.redact(event, Place.KNOWN, fragments)) for event in events]
    documents = [msgspec.json.decode(base64.b64decode(each["bytes"])) for each in made]
    assert [each["type"] for each in documents] == ["text_delta"] * 2
    assert "".join(each["text"] for each in documents) == reader.open_text("".join(pieces))


def test_base64_whose_slashes_are_escaped_keeps_them_there() -> None:
    """PHP escapes them. No other character can be written like that: so it is a word, which keeps them."""
    encoded = base64.b64encode(b"\xff\xfe?" * 9).decode()
    assert "/" in encoded
    text = f'{{"data":"{encoded}"}}'.replace("/", "\\/")
    made = json().redact(text)
    assert [len(one.encode()) for one in made] == [len(one.encode()) for one in text]
    after = msgspec.json.decode(made)["data"]
    assert [at for at, one in enumerate(after) if one == "/"] == [
        at for at, one in enumerate(encoded) if one == "/"
    ]
    assert after != encoded


def test_of_a_text_there_are_as_many_pieces_as_there_were() -> None:
    fragments = Fragments(json())
    fragments.next(("text",), "Hello")
    fragments.settle()
    assert len(fragments.next(("text",), "Hello")) == 5
    with pytest.raises(StopIteration):
        fragments.next(("text",), "Hello")
