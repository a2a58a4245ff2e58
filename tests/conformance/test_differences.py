"""What hosts do not do alike stands in docs/embedding.md, every row of it and no other."""

from pathlib import Path
from typing import Final

import pytest

from support.differences import DIFFERENCES, table
from support.hosts import HOSTS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "embedding.md"


def test_the_document_has_this_table() -> None:
    section = DOCUMENT.read_text().partition("\n## Where hosts differ\n")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == table()


@pytest.mark.parametrize("key", DIFFERENCES)
def test_a_difference_is_one_between_hosts_that_there_are(key: str) -> None:
    without = DIFFERENCES[key].without
    assert without
    assert without < set(HOSTS)


@pytest.mark.parametrize("key", DIFFERENCES)
def test_each_is_measured(key: str) -> None:
    suite = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    measured = f'hosts_without("{key}")'
    assert any(measured in text for text in suite)
