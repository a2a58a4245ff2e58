"""The table of a response's parameters, against openai-python's own list of them."""

from typing import get_type_hints

from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from stargate_core.dialects.openai_chat_parameters import EXTENSIONS
from stargate_core.dialects.openai_responses_parameters import PARAMETERS
from stargate_core.dialects.openai_responses_request import ResponsesRequest
from stargate_core.dialects.parameters import Fate

OPENAIS = set(get_type_hints(ResponseCreateParamsNonStreaming))
SAID_AGAIN = {"max_tool_calls", "prompt_cache_key", "truncation"}
"""What is read for no other reason than that its value is to be checked, or the answer says it again."""


def test_every_parameter_has_its_row() -> None:
    assert set(PARAMETERS) == OPENAIS


def test_what_is_mapped_is_read_and_nothing_else() -> None:
    mapped = {name for name, parameter in PARAMETERS.items() if parameter.fate is Fate.MAPPED}
    assert mapped | SAID_AGAIN | set(EXTENSIONS) == set(ResponsesRequest.__struct_encode_fields__)


def test_every_row_gives_its_reason() -> None:
    assert all(len(parameter.reason) > 10 for parameter in PARAMETERS.values())


def test_only_what_is_refused_has_harmless_values() -> None:
    assert [n for n, p in PARAMETERS.items() if p.harmless and p.fate is not Fate.REFUSED] == []


def test_what_leans_on_what_was_kept_is_never_dropped() -> None:
    kept = {"conversation", "prompt"}
    assert {n for n, p in PARAMETERS.items() if p.fate is Fate.REFUSED and not p.droppable} == {
        *kept,
        "moderation",
    }
