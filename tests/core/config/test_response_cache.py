"""response-cache's config, as a file gives it."""

import pytest

from stargate_core.config.gateway_block import Cache, Gateway
from stargate_core.config.problems import Misfit
from stargate_core.config.response_cache import ResponseCache
from support.config import examined, loaded, said


def written(text: str) -> ResponseCache:
    """The config that a file's text gives."""
    config = loaded(f"plugins:\n  - name: response-cache\n    config: {text}\n").plugins[0].config
    assert isinstance(config, ResponseCache)
    return config


class TestDefaults:
    def test_they_are_kong_s_where_kong_has_them(self) -> None:
        assert ResponseCache().cache_ttl == 300

    def test_an_answer_is_its_consumer_s_own(self) -> None:
        assert ResponseCache().scope == "consumer"

    def test_everything_that_can_be_cached_is(self) -> None:
        config = written("{}")
        assert config == ResponseCache()
        assert len(config.operations) == 4
        assert config.max_temperature is None

    def test_nothing_is_shared_between_two(self) -> None:
        ResponseCache().operations.clear()
        assert ResponseCache().operations


class TestWritten:
    def test_all_of_it(self) -> None:
        config = written(
            "{cache_ttl: 1.5, scope: key, max_temperature: 0, operations: [converse, invoke_model]}"
        )
        assert config == ResponseCache(
            cache_ttl=1.5, scope="key", max_temperature=0, operations=["converse", "invoke_model"]
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{cache_ttl: 0}", "cache_ttl: expected seconds, more than 0 and at most 2592000 (30 days)"),
            ("{cache_ttl: 2592001}", "cache_ttl: expected seconds"),
            ("{scope: route}", "scope: expected "),
            ("{max_temperature: 3}", "max_temperature: expected a number from 0 to 2"),
            ("{operations: []}", "operations: expected"),
            ("{operations: [count_tokens]}", "operations[0]: expected"),
            ("{ttl: 3}", "ttl"),
        ],
    )
    def test_what_is_refused(self, text: str, problem: str) -> None:
        lines = said(examined(f"plugins:\n  - name: response-cache\n    config: {text}\n").problems)
        assert len(lines) == 1
        assert problem in lines[0]


class TestMemory:
    """gateway.cache: it belongs to the whole gateway."""

    def test_its_defaults(self) -> None:
        assert Gateway().cache == Cache(memory_bytes=64 * 1024 * 1024, max_entry_bytes=4 * 1024 * 1024)

    def test_written(self) -> None:
        config = loaded("gateway:\n  cache: {memory_bytes: 1048576, max_entry_bytes: 1024}\n")
        assert config.gateway.cache == Cache(memory_bytes=1_048_576, max_entry_bytes=1024)

    def test_an_answer_must_fit_into_it(self) -> None:
        with pytest.raises(Misfit, match="max_entry_bytes: expected at most memory_bytes: 1048576"):
            Cache(memory_bytes=1_048_576)
        lines = said(examined("gateway:\n  cache: {memory_bytes: 1048576}\n").problems)
        assert len(lines) == 1
        assert "memory_bytes: 1048576" in lines[0]

    def test_none_at_all_is_no_size(self) -> None:
        """Who wants no cache leaves the plugin out; what is shared has to be held in any case."""
        assert said(examined("gateway:\n  cache: {memory_bytes: 0, max_entry_bytes: 0}\n").problems)
