"""What can be told of sinks before anything is written to them."""

import os
from pathlib import Path

import pytest

from stargate.log_sinks.looking import doubts
from stargate_core.config.schema import Config
from support.config import loaded


def a_config(*sinks: str) -> Config:
    return loaded(f"plugins: [{{name: request-logger, config: {{sinks: [{', '.join(sinks)}]}}}}]")


def test_good_ones_are_not_mentioned(tmp_path: Path) -> None:
    config = a_config(
        "{path: '-'}",
        "{path: /dev/stderr}",
        "{path: /dev/full}",
        f"{{path: {tmp_path}/log, rotate: {{}}}}",
        "{path: 'udp://nowhere.invalid:1'}",
        "{path: 'https://nowhere.invalid'}",
        "{path: 'https://nowhere.invalid/2', http: {}}",
    )
    assert doubts(config) == []
    assert list(tmp_path.iterdir()) == []


def test_each_that_cannot_be_written_is(tmp_path: Path) -> None:
    config = a_config(
        f"{{path: {tmp_path}/no/log}}",
        f"{{path: {tmp_path}}}",
        "{path: /dev/nothing}",
        f"{{path: 'https://h', http: {{ca: {tmp_path}/no.pem}}}}",
    )
    assert doubts(config) == [
        f"the log's sink {tmp_path}/no/log: there is no folder {tmp_path}/no",
        f"the log's sink {tmp_path}: it is a folder",
        "the log's sink /dev/nothing: it is not there, or may not be written",
        f"the log's sink https://h: http.ca: {tmp_path}/no.pem: No such file or directory",
    ]


def test_what_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may do everything, so the system's answer is stood in for."""
    (tmp_path / "old").write_bytes(b"")
    denied: set[str] = set()
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in denied)
    sinks = [f"{{path: {tmp_path}/old}}", f"{{path: {tmp_path}/new}}"]
    assert doubts(a_config(*sinks)) == []
    denied.add(str(tmp_path))
    nothing = f"nothing may be made in the folder {tmp_path}"
    assert doubts(a_config(*sinks)) == [f"the log's sink {tmp_path}/new: {nothing}"]
    rotated = f"{{path: {tmp_path}/old, rotate: {{}}}}"
    assert doubts(a_config(rotated)) == [f"the log's sink {tmp_path}/old: {nothing}"]
    denied.add(str(tmp_path / "old"))
    assert doubts(a_config(rotated)) == [f"the log's sink {tmp_path}/old: it may not be written"]
    assert os.access(tmp_path, os.W_OK) is False


def test_every_place_of_the_plugin_is_looked_at_once(tmp_path: Path) -> None:
    plugin = f"plugins: [{{name: request-logger, config: {{path: {tmp_path}/NAME/log}}}}]"
    places = {
        "plugins": plugin,
        "routes": f"routes: [{{name: r, paths: [/r], {plugin}}}]",
        "services": f"services: [{{name: s, url: 'https://h', {plugin}, "
        f"routes: [{{name: q, paths: [/q], {plugin.replace('NAME', 'inner')}}}]}}]",
        "consumers": f"consumers: [{{username: c, {plugin}}}]",
        "groups": f"consumer_groups: [{{name: g, {plugin}}}]",
    }
    text = "\n".join(line.replace("NAME", name) for name, line in places.items())
    found = {doubt.split()[3].split("/")[-2] for doubt in doubts(loaded(text))}
    assert found == {*places, "inner"}
    assert doubts(loaded(plugin.replace("config:", "enabled: false, config:"))) == []
    twice = loaded(places["plugins"] + "\n" + places["routes"])
    assert len(doubts(twice)) == 1
