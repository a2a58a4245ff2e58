"""Plugins by entry point: third parties' stand beside ours, and one that can't be used is told by name."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from stargate.plugins import BadPlugin, installed, schemas
from stargate_core.config.load import examine
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.gateway.plan import Plan
from support.third_party import install


@pytest.fixture(autouse=True)
def _modules() -> Generator[None]:
    """Forget what a test has imported: the next one installs another module of this name."""
    yield
    sys.modules.pop("stamps", None)


def test_ours_are_always_there() -> None:
    assert installed().keys() == BUILT_IN.keys()
    assert schemas(installed()) == BUILT_IN


def test_a_third_partys_stands_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, stamp="stamps:Stamp"))
    plugins = installed()
    assert plugins.keys() == {*BUILT_IN, "stamp"}
    text = "plugins: [{name: api-key-auth}, {name: stamp, config: {text: hi}}]\nconsumers: []\n"
    examined = examine(text, filename="f", environ={}, schemas=schemas(plugins))
    assert examined.problems == ()
    assert examined.config is not None
    assert Plan(examined.config, plugins).has("stamp")


def test_its_config_is_checked_like_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, stamp="stamps:Stamp"))
    text = "plugins:\n  - name: stamp\n    config: {txt: hi, wait_ms: soon}\n"
    examined = examine(text, filename="f", environ={}, schemas=schemas(installed()))
    told = [str(problem) for problem in examined.problems]
    assert any("did you mean text?" in line for line in told)
    assert any("wait_ms" in line for line in told)


@pytest.mark.parametrize(
    ("module", "value", "told"),
    [
        ("1 / 0", "stamps:Stamp", "the plugin 'x' (stamps:Stamp) cannot be loaded: division by zero"),
        ("", "stamps:Stamp", "the plugin 'x' (stamps:Stamp) cannot be loaded: .*Stamp"),
        ("", "no_such_module:X", "the plugin 'x' (no_such_module:X) cannot be loaded: No module"),
        ("class Stamp: NAME = 'stamp'", "stamps:Stamp", "has no PRIORITY, CONFIG, SCOPES"),
        (
            "class Stamp:\n NAME = 'api-key-auth'\n PRIORITY = 1\n CONFIG = int\n SCOPES = frozenset()",
            "stamps:Stamp",
            "takes the name 'api-key-auth', which is taken",
        ),
    ],
)
def test_one_that_cannot_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, value: str, told: str
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, module=module, x=value))
    with pytest.raises(BadPlugin, match=told.replace("(", r"\(").replace(")", r"\)")):
        installed()
