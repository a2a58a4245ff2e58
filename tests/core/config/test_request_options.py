"""What bedrock-proxy lets a request do, as a configuration writes it."""

from typing import Any

import msgspec
import pytest

from stargate_core.config.problems import Misfit
from stargate_core.config.request_options import (
    BETAS_DROPPED,
    BETAS_RENAMED,
    AnthropicBetas,
    Discovery,
    ImageUrls,
    misfit_discovery,
)
from support.config import examined, loaded, marked, places, said


def proxy(text: str) -> str:
    """A configuration with these lines in bedrock-proxy's config."""
    lines = "".join(f"      {line}\n" for line in text.splitlines())
    return f'_format_version: "3.0"\nplugins:\n  - name: bedrock-proxy\n    config:\n{lines}'


def read(text: str) -> Any:
    (plugin,) = loaded(proxy(text)).plugins
    return plugin.config


class TestDefaults:
    def test_nothing_is_fetched_and_nobody_is_asked(self) -> None:
        config = read("region: us-east-1")
        assert not config.image_urls.enabled
        assert not config.image_urls.plain_http
        assert not config.discovery.enabled

    def test_no_value_is_both_dropped_and_renamed(self) -> None:
        assert set(BETAS_DROPPED).isdisjoint(BETAS_RENAMED)
        assert AnthropicBetas().drop == list(BETAS_DROPPED)


class TestGood:
    def test_everything_can_be_said(self) -> None:
        config = read(
            "image_urls: {enabled: true, hosts: ['*.example.com', cdn?.test], plain_http: true, "
            "max_bytes: 1000, max_count: 3, timeout: 2.5}\n"
            "discovery: {enabled: true, ttl: 60, url: 'https://vpce-1.bedrock.eu-west-1.vpce.amazonaws.com'}\n"
            "anthropic_betas: {drop: [a-1], rename: {b-1: c-1}}\n"
            "prompt_caching: auto"
        )
        assert config.image_urls == ImageUrls(
            enabled=True,
            hosts=["*.example.com", "cdn?.test"],
            plain_http=True,
            max_bytes=1000,
            max_count=3,
            timeout=2.5,
        )
        assert config.discovery.ttl == 60
        assert (config.anthropic_betas.drop, config.anthropic_betas.rename) == (["a-1"], {"b-1": "c-1"})
        assert config.prompt_caching == "auto"


class TestBad:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("image_urls: {enabled: true, max_bytes: »0}", "max_bytes"),
            ("image_urls: {enabled: true, max_bytes: »25000001}", "max_bytes"),
            ("image_urls: {max_count: »0}", "max_count"),
            ("image_urls: {hosts: [»'https://a.test']}", "a host"),
            ("image_urls: {hosts: [»'a.test:8080']}", "a host"),
            ("image_urls: {hosts: [»'']}", "a host"),
            ("image_urls: {»host: [a.test]}", "hosts"),
            ("anthropic_betas: {drop: [»'a b']}", "drop"),
            ("prompt_caching: »always", "prompt_caching"),
            ("discovery: {enabled: true, ttl: »-1}", "ttl"),
            ("discovery: {enabled: true, url: »'ftp://x'}", "url"),
            ("discovery: {url: »'https://a.test'}", "nothing asks there"),
            (
                "models: {a: x.y}\nmodel: a\nallow_unlisted: false\ndiscovery: {enabled: »true}",
                "callers may use only what models names",
            ),
        ],
    )
    def test_what_is_wrong_is_said_where_it_stands(self, text: str, words: str) -> None:
        source = marked(proxy(text))
        problems = examined(source.text).problems
        assert places(problems) == source.places
        (message,) = said(problems)
        assert words in message

    def test_a_beta_is_not_both_dropped_and_renamed(self) -> None:
        with pytest.raises(Misfit) as caught:
            AnthropicBetas(drop=["a"], rename={"a": "b"})
        assert "dropped already" in caught.value.expected


@pytest.mark.parametrize(
    ("discovery", "allow_unlisted", "paths"),
    [
        (Discovery(), True, []),
        (Discovery(), False, []),
        (Discovery(enabled=True), True, []),
        (Discovery(enabled=True, url="https://a.test"), True, []),
        (Discovery(enabled=True), False, [("discovery", "enabled")]),
        (Discovery(url="https://a.test"), True, [("discovery", "url")]),
        (Discovery(url="https://a.test"), False, [("discovery", "url")]),
    ],
)
def test_what_contradicts_itself(discovery: Discovery, allow_unlisted: bool, paths: list[Any]) -> None:
    found = [misfit.path for misfit in misfit_discovery(discovery, allow_unlisted=allow_unlisted)]
    assert found == paths


def test_options_are_values() -> None:
    assert msgspec.convert({}, ImageUrls) == ImageUrls()
