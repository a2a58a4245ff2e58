"""`stargate prices`: the list as it counts, its date, and which row a model's price is from."""

import datetime
import json
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from stargate.cli import prices as module
from stargate.cli.prices import prices
from stargate_core.config.gateway_block import ModelPrice
from stargate_core.dialects.face import Usage
from stargate_core.prices import AS_OF, SHIPPED, Prices, cost_nano_usd

FILE: Final = """
gateway:
  prices:
    "*sonnet-4-2025*": {input: 2.5, output: 12}
plugins:
  - name: bedrock-proxy
    config:
      models:
        claude: us.anthropic.claude-sonnet-4-20250514-v1:0
        fast: {target: amazon.nova-lite-v1:0}
        own: arn:aws:bedrock:us-east-1:123456789012:prompt-router/abc
        both: {target: amazon.nova-pro-v1:0, targets: [{}, {target: amazon.nova-micro-v1:0}]}
"""


def printed(*args: str) -> str:
    result = CliRunner().invoke(prices, args)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> str:
    path = tmp_path / "stargate.yaml"
    path.write_text(FILE)
    return str(path)


def read(*args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed("--json", *args))
    return found


def test_the_whole_list_with_its_date_and_source() -> None:
    text = printed()
    assert f"https://aws.amazon.com/bedrock/pricing/, us-east-1, as of {AS_OF}" in text
    lines = [line for line in text.splitlines() if line.endswith("  shipped")]
    assert [line.split()[0] for line in lines] == [glob for glob, _ in SHIPPED]
    assert "anthropic.claude-haiku-4-5*" in text


def test_own_rows_come_first_and_names_are_priced_by_them(file: str) -> None:
    told = read("-c", file)
    assert told["as_of"] == AS_OF
    assert told["rows"][0] == {
        "name": "*sonnet-4-2025*", "input": 2.5, "output": 12.0, "cache_read": 2.5, "cache_write": 2.5,
        "from": "own",
    }  # fmt: skip
    assert len(told["rows"]) == len(SHIPPED) + 1
    found = {(model["name"], model["target"]): (model["from"], model.get("row")) for model in told["models"]}
    assert found == {
        ("claude", "us.anthropic.claude-sonnet-4-20250514-v1:0"): ("own", "*sonnet-4-2025*"),
        ("fast", "amazon.nova-lite-v1:0"): ("shipped", "amazon.nova-lite*"),
        ("own", "arn:aws:bedrock:us-east-1:123456789012:prompt-router/abc"): (
            "unknown",
            None,
        ),
        ("both", "amazon.nova-pro-v1:0"): ("shipped", "amazon.nova-pro*"),
        ("both", "amazon.nova-micro-v1:0"): ("shipped", "amazon.nova-micro*"),
    }


@pytest.mark.parametrize("model", ["claude", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", "some.model"])
def test_what_is_shown_is_what_is_charged(file: str, model: str) -> None:
    told = read("-c", file, model)
    assert told["rows"] == []
    (shown,) = told["models"]
    own = {"*sonnet-4-2025*": ModelPrice(input=2.5, output=12)}
    price = Prices(own).of(shown.get("target", model))
    million = 1_000_000
    charged = [
        cost_nano_usd(price, usage) / 1e9
        for usage in (Usage(million), Usage(0, million), Usage(0, 0, million), Usage(0, 0, 0, million))
    ]
    assert [shown[name] for name in ("input", "output", "cache_read", "cache_write")] == charged


def test_a_table_names_the_row(file: str) -> None:
    (_, _, line) = printed("-c", file, "claude").strip().rsplit("\n", 2)
    assert line.startswith("claude = us.anthropic.claude-sonnet-4-20250514-v1:0 ")
    assert line.split()[-6:] == ["2.5", "12", "2.5", "2.5", "own:", "*sonnet-4-2025*"]
    assert printed("some.model").rstrip().endswith("unknown: as the dearest")


@pytest.mark.parametrize(("months", "old"), [(0, False), (6, False), (7, True), (30, True)])
def test_old_prices_are_called_old(monkeypatch: pytest.MonkeyPatch, months: int, old: bool) -> None:
    monkeypatch.setattr(module, "_months_old", lambda _today: months)
    assert (f"That is {months} months ago" in printed()) is old


def test_months_are_counted_by_the_calendar() -> None:
    year, month = map(int, AS_OF.split("-"))
    assert module._months_old(datetime.date(year, month, 28)) == 0
    assert module._months_old(datetime.date(year + 1, month, 1)) == 12
    assert module._months_old(datetime.date(year + 1, 1, 1)) == 13 - month


def test_a_bad_configuration_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("gateway: {price: {}}")
    result = CliRunner().invoke(prices, ["-c", str(path)])
    assert result.exit_code == 1
    assert "did you mean prices?" in result.stderr
