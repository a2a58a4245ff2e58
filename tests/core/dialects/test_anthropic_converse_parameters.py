"""The tables of Anthropic's parameters, against anthropic-sdk-python's own lists of them."""

from typing import get_type_hints

from anthropic.types import ToolParam
from anthropic.types.beta import BetaToolParam
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Params

from stargate_core.dialects.anthropic_converse_parameters import PARAMETERS, TOOL_MEMBERS
from stargate_core.dialects.anthropic_converse_types import MessagesRequest, Tool
from stargate_core.dialects.parameters import Fate

EARLIER = {"temperature", "top_k", "top_p", "output_format"}
"""What the SDK has had in earlier versions."""
BEDROCKS = {
    "additionalModelResponseFieldPaths",
    "anthropic_beta",
    "anthropic_version",
    "guardrailConfig",
    "performanceConfig",
    "requestMetadata",
}
"""What callers of Bedrock's say in the body."""
ROWS = [*PARAMETERS.values(), *TOOL_MEMBERS.values()]


def test_every_parameter_has_its_row() -> None:
    assert (
        set(PARAMETERS) == set(get_type_hints(Params)) | set(get_type_hints(BetaParams)) | EARLIER | BEDROCKS
    )


def test_every_member_of_a_tool_has_its_row() -> None:
    assert set(TOOL_MEMBERS) == set(get_type_hints(ToolParam)) | set(get_type_hints(BetaToolParam))


def test_what_is_mapped_is_read_and_nothing_else() -> None:
    mapped = {name for name, row in PARAMETERS.items() if row.fate is Fate.MAPPED}
    # The path and the operation say these; and a guardrail may be named in headers too.
    assert mapped - {"model", "stream", "guardrailConfig"} == set(MessagesRequest.__struct_encode_fields__)
    assert {name for name, row in TOOL_MEMBERS.items() if row.fate is Fate.MAPPED} == set(
        Tool.__struct_fields__
    )


def test_every_row_gives_its_reason() -> None:
    assert all(len(row.reason) > 5 for row in ROWS)


def test_only_what_is_refused_has_harmless_values() -> None:
    assert [row for row in ROWS if row.harmless and row.fate is not Fate.REFUSED] == []
