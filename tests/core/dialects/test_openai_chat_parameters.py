"""The table of OpenAI's parameters, against openai-python's own list of them."""

from typing import get_type_hints

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from stargate_core.dialects.openai_chat_parameters import EXTENSIONS, PARAMETERS
from stargate_core.dialects.openai_chat_request import ChatRequest
from stargate_core.dialects.parameters import Fate
from support.bedrock_model import service_model

OPENAIS = set(get_type_hints(CompletionCreateParamsNonStreaming))


def test_every_parameter_has_its_row() -> None:
    assert set(PARAMETERS) == OPENAIS


def test_what_is_mapped_is_read_and_nothing_else() -> None:
    mapped = {name for name, parameter in PARAMETERS.items() if parameter.fate is Fate.MAPPED}
    assert mapped | set(EXTENSIONS) == set(ChatRequest.__struct_encode_fields__)


def test_what_is_bedrocks_own_is_not_openais() -> None:
    shape = service_model().operation_model("Converse").input_shape
    assert shape is not None
    assert set(EXTENSIONS) <= set(shape.members) - OPENAIS


def test_every_row_gives_its_reason() -> None:
    assert all(len(parameter.reason) > 10 for parameter in PARAMETERS.values())


def test_only_what_is_refused_has_harmless_values() -> None:
    assert [n for n, p in PARAMETERS.items() if p.harmless and p.fate is not Fate.REFUSED] == []


def test_what_an_operator_may_have_dropped_is_nothing_that_is_ignored_anyway() -> None:
    assert [n for n, p in PARAMETERS.items() if p.droppable and p.fate is Fate.IGNORED] == []
    assert not any(PARAMETERS[name].droppable for name in ("n", "functions", "function_call", "moderation"))
