"""Kong's configurations, made ours: whole files against what a person has found right, and parts of them.

The golden files were read by eye; `python tests/shells/kong/test_convert.py` writes them anew.
"""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stargate.kong.convert import Converted, convert
from stargate.kong.document import NotKong
from stargate.kong.plugins import CONVERTERS
from stargate.plugins import installed, schemas
from stargate_core.config.load import examine

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "kong"
FILES: Final = sorted(path.name.removesuffix(".kong.yaml") for path in GOLDEN.glob("*.kong.yaml"))


def told(converted: Converted) -> str:
    """A conversion as it is kept: the notes, and the configuration."""
    notes = "".join(f"# {note}\n" for note in converted.notes)
    return notes + yaml.safe_dump(converted.config, sort_keys=False, allow_unicode=True, width=110)


def plugin(name: str, **config: Any) -> Converted:
    """What becomes of one plugin of Kong's that stands everywhere."""
    return convert(yaml.safe_dump({"plugins": [{"name": name, "config": config}]}))


def only(converted: Converted) -> Any:
    """The config of the one plugin that came of it."""
    (entry,) = converted.config["plugins"]
    return entry["config"]


def notes(converted: Converted) -> str:
    return "\n".join(map(str, converted.notes))


@pytest.mark.parametrize("name", FILES)
class TestWholeFiles:
    def test_become_what_a_person_has_read(self, name: str) -> None:
        converted = convert((GOLDEN / f"{name}.kong.yaml").read_text())
        assert told(converted) == (GOLDEN / f"{name}.stargate.yaml").read_text()

    def test_are_good_configurations(self, name: str) -> None:
        environ = dict.fromkeys(
            ("DECK_AWS_ACCESS_KEY_ID", "DECK_AWS_SECRET_ACCESS_KEY", "DECK_KEY2"), "value1234"
        )
        environ |= {
            "DECK_AWS_REGION": "eu-west-1",
            "REDIS_PASSWORD": "a%20b",
            "BEDROCK_API_KEY": "k",
            "DECK_LOG_TOKEN": "t",
        }
        text = (GOLDEN / f"{name}.stargate.yaml").read_text()
        found = examine(text, filename=name, environ=environ, schemas=schemas(installed()))
        assert not found.problems


class TestAiProxy:
    MODEL: Final = {"provider": "bedrock", "name": "m", "options": {"bedrock": {"aws_region": "us-east-1"}}}

    def test_a_role_goes_over(self) -> None:
        arn = "arn:aws:iam::123456789012:role/llm"
        bedrock = {"aws_region": "us-east-1", "aws_assume_role_arn": arn, "aws_role_session_name": "kong"}
        converted = plugin("ai-proxy", model={**self.MODEL, "options": {"bedrock": bedrock}})
        assert only(converted)["role"] == {"arn": arn, "session_name": "kong"}

    def test_a_role_beside_keys_is_for_a_person_to_look_at(self) -> None:
        bedrock = {"aws_assume_role_arn": "arn:aws:iam::123456789012:role/llm"}
        auth = {"aws_access_key_id": "AKID", "aws_secret_access_key": "s"}
        converted = plugin("ai-proxy", auth=auth, model={**self.MODEL, "options": {"bedrock": bedrock}})
        assert "credentials" not in only(converted)
        assert "check: ai-proxy: a role is assumed with the usual AWS credentials" in notes(converted)

    def test_other_providers_go(self) -> None:
        converted = plugin("ai-proxy", model={"provider": "openai", "name": "gpt-4o"})
        assert "plugins" not in converted.config
        assert "provider 'openai': only Bedrock is called here" in notes(converted)

    def test_two_places_with_the_same_authority_share_an_account(self) -> None:
        auth = {"aws_access_key_id": "AKID", "aws_secret_access_key": "s"}
        targets = [
            {"model": {**self.MODEL, "options": {"bedrock": {"aws_region": region}}}, "auth": auth}
            for region in ("us-east-1", "us-west-2")
        ]
        config = only(plugin("ai-proxy-advanced", targets=targets))
        assert list(config["accounts"]) == ["kong-1"]
        assert [place["region"] for place in config["models"]["m"]["targets"]] == ["us-east-1", "us-west-2"]

    @pytest.mark.parametrize(
        ("form", "kind", "dialect"),
        [
            ("openai", "llm/v1/chat", "openai_chat"),
            ("openai", "llm/v1/responses", "openai_responses"),
            ("bedrock", "llm/v1/chat", "bedrock_native"),
            ("openai", "preserve", None),
        ],
    )
    def test_what_callers_speak_is_told_at_the_route(self, form: str, kind: str, dialect: str | None) -> None:
        entry = {"name": "ai-proxy", "config": {"llm_format": form, "route_type": kind, "model": self.MODEL}}
        service = {"name": "s", "routes": [{"name": "r", "paths": ["/"]}], "plugins": [entry]}
        (route,) = convert(yaml.safe_dump({"services": [service]})).config["services"][0]["routes"]
        assert route.get("dialect") == dialect


class TestLimits:
    def test_kongs_window_is_fixed_and_its_store_may_fail(self) -> None:
        converted = plugin("rate-limiting", minute=5, policy="redis", redis={"host": "r", "password": "a/b"})
        assert only(converted) == {
            "minute": 5, "by": "consumer", "window_type": "fixed", "on_store_failure": "allow",
        }  # fmt: skip
        assert converted.config["gateway"] == {"store": "redis://:a%2Fb@r:6379/0"}

    def test_kongs_older_way_to_name_the_redis(self) -> None:
        converted = plugin("rate-limiting", minute=5, policy="redis", redis_host="r", redis_port=1)
        assert converted.config["gateway"] == {"store": "redis://r:1/0"}

    def test_cost_is_money(self) -> None:
        providers = [{"name": "bedrock", "limit": [2.5], "window_size": [3600]}]
        config = only(
            plugin("ai-rate-limiting-advanced", tokens_count_strategy="cost", llm_providers=providers)
        )
        assert config["limits"] == [{"unit": "usd", "limit": 2.5, "window": 3600}]

    def test_two_at_one_place_are_one(self) -> None:
        entries = [
            {"name": "rate-limiting", "config": {"minute": 5}},
            {
                "name": "rate-limiting-advanced",
                "config": {"limit": [9], "window_size": [30], "strategy": "local"},
            },
        ]
        config = only(convert(yaml.safe_dump({"plugins": entries})))
        assert config["minute"] == 5
        assert config["limits"] == [{"unit": "requests", "limit": 9, "window": 30, "algorithm": "sliding"}]

    def test_a_limit_that_is_nothing_is_gone(self) -> None:
        converted = plugin("rate-limiting", year=5)
        assert "plugins" not in converted.config
        assert "no limit is left of it" in notes(converted)


class TestWhatIsNoKong:
    @pytest.mark.parametrize("text", ["", "[]", "a: [", "just words", "{}", "services: 7", "plugins: [x]"])
    def test_is_refused(self, text: str) -> None:
        with pytest.raises(NotKong):
            convert(text)

    def test_so_is_what_is_too_deep(self) -> None:
        with pytest.raises(NotKong):
            convert("plugins: " + "[" * 500 + "]" * 500)

    def test_a_bomb_of_aliases_is(self) -> None:
        lines = ["_format_version: '3.0'", "a0: &a0 [x,x]"]
        lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        with pytest.raises(NotKong):
            convert("\n".join(lines))


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES: Final = (
    "model", "auth", "targets", "balancer", "limit", "window_size", "minute", "redis", "llm_providers",
    "policies", "key_names", "path", "logging", "options", "provider", "name", "weight", "host",
)  # fmt: skip


@given(st.sampled_from(sorted(CONVERTERS)), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4))
def test_no_config_breaks_it(name: str, config: dict[str, Any]) -> None:
    """Whatever stands in a plugin's config, it goes over, or is noted."""
    converted = convert(yaml.safe_dump({"plugins": [{"name": name, "config": config}]}))
    assert converted.config.get("plugins") or converted.notes


def main() -> None:
    """Write the golden files anew."""
    for name in FILES:
        converted = convert((GOLDEN / f"{name}.kong.yaml").read_text())
        (GOLDEN / f"{name}.stargate.yaml").write_text(told(converted))


if __name__ == "__main__":
    main()
