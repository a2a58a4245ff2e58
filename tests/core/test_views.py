"""Views: each phase's protocol promises exactly what the table of capabilities allows there."""

from typing import Final

import pytest

from stargate_core.phases import CAPABILITIES, Phase
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.views import Access, BodyFilter, HeaderFilter, Log, Rewrite, schema_of

ALWAYS: Final = {"now", "wall_ns", "note", "consumer", "key_id", "route"}


@pytest.mark.parametrize(
    ("view", "phase"),
    [
        (Rewrite, Phase.REWRITE),
        (Access, Phase.ACCESS),
        (HeaderFilter, Phase.HEADER_FILTER),
        (BodyFilter, Phase.BODY_FILTER),
        (Log, Phase.LOG),
    ],
)
def test_the_views_promise_exactly_what_the_table_allows(view: type, phase: Phase) -> None:
    """An author types a hook with a view; both checkers then say what this table says."""
    members = {
        name
        for each in view.__mro__
        for name in vars(each)
        if not name.startswith("_") and each.__module__ == view.__module__
    }
    allowed = {name for name, phases in CAPABILITIES.items() if phase & phases}
    assert members - ALWAYS == allowed
    assert members >= ALWAYS


def test_a_plugins_schema_is_its_own() -> None:
    for name, plugin in BUILT_IN.items():
        schema = schema_of(plugin)
        assert (schema.name, schema.config_type, schema.scopes) == (name, plugin.CONFIG, plugin.SCOPES)
