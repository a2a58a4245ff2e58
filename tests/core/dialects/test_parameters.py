"""The rows of all tables: each says one thing, and says it to people."""

import pytest

from stargate_core.dialects import (
    anthropic_converse_parameters,
    openai_chat_parameters,
    openai_responses_parameters,
)
from stargate_core.dialects.parameters import Fate, Parameter

TABLES = {
    "chat": openai_chat_parameters.PARAMETERS,
    "responses": openai_responses_parameters.PARAMETERS,
    "messages": anthropic_converse_parameters.PARAMETERS,
    "tools of messages": anthropic_converse_parameters.TOOL_MEMBERS,
}
ROWS = [(table, name, row) for table, rows in TABLES.items() for name, row in rows.items()]


@pytest.mark.parametrize(
    ("table", "name", "row"), ROWS, ids=lambda value: value if isinstance(value, str) else ""
)
class TestRows:
    def test_a_row_says_why(self, table: str, name: str, row: Parameter) -> None:
        assert row.reason
        assert not row.reason.endswith(".")

    def test_only_what_is_refused_has_values_that_ask_for_nothing(
        self, table: str, name: str, row: Parameter
    ) -> None:
        assert not row.harmless or row.fate is Fate.REFUSED

    def test_what_is_ignored_need_not_be_dropped(self, table: str, name: str, row: Parameter) -> None:
        assert not (row.droppable and row.fate is Fate.IGNORED)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_sorted(table: str) -> None:
    assert list(TABLES[table]) == sorted(TABLES[table])
