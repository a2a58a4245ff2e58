"""The schema's Structs: what they refuse when they are built in code, and what they never show."""

import datetime
import hashlib

import msgspec
import pytest

from stargate_core.config.plugin_configs import AwsCredentials, BedrockProxy
from stargate_core.config.problems import Misfit
from stargate_core.config.schema import (
    Certificate,
    Config,
    Consumer,
    Gateway,
    KeyCredential,
    Listener,
    PluginEntry,
    Route,
    Service,
    Sigv4Credential,
    Store,
    Tls,
)
from stargate_core.secret import Secret

UTC = datetime.UTC


class TestConfig:
    def test_everything_has_a_default(self) -> None:
        config = Config()
        assert (config.format_version, config.gateway) == ("3.0", Gateway())
        lists = (config.services, config.routes, config.consumers, config.plugins, config.certificates)
        assert lists == ([], [], [], [], [])

    def test_it_is_frozen(self) -> None:
        with pytest.raises(AttributeError):
            Config().gateway = Gateway()  # type: ignore[misc]

    def test_it_shows_no_secret(self) -> None:
        secret = Secret("sk-live-1")
        config = Config(
            gateway=Gateway(
                listen=[Listener("127.0.0.1:1", Tls(cert="c.pem", key=secret))],
                admin_token=secret,
                store=Store(Secret("redis://:sk-live-1@h")),
            ),
            consumers=[
                Consumer(
                    username="a",
                    keyauth_credentials=[KeyCredential(key=secret)],
                    sigv4_credentials=[Sigv4Credential(access_key_id="AKID", secret_access_key=secret)],
                )
            ],
            plugins=[
                PluginEntry(name="x", config=BedrockProxy(api_key=secret)),
                PluginEntry(
                    name="y",
                    config=BedrockProxy(
                        credentials=AwsCredentials(
                            access_key_id="AKID", secret_access_key=secret, session_token=secret
                        )
                    ),
                ),
            ],
            certificates=[Certificate(cert="c.pem", key=secret)],
        )
        assert "sk-live-1" not in repr(config) + str(config) + f"{config}"
        with pytest.raises(TypeError):
            msgspec.json.encode(config)


class TestKeyCredential:
    DIGEST = hashlib.sha256(b"sk-live-1").hexdigest()

    def test_a_key_and_its_digest_are_the_same(self) -> None:
        assert KeyCredential(key=Secret("sk-live-1")).sha256 == self.DIGEST
        assert KeyCredential(key_sha256=self.DIGEST.upper()).sha256 == self.DIGEST

    def test_exactly_one_of_both_is_needed(self) -> None:
        for both in ({}, {"key": Secret("sk-live-1"), "key_sha256": self.DIGEST}):
            with pytest.raises(Misfit, match="exactly one of key and key_sha256"):
                KeyCredential(**both)  # type: ignore[arg-type]

    @pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "ü", "a" * 4097])
    def test_a_key_must_fit_into_a_header(self, text: str) -> None:
        with pytest.raises(Misfit, match="key: expected 1 to 4096 visible ASCII"):
            KeyCredential(key=Secret(text))

    def test_a_key_may_be_as_long_as_a_token(self) -> None:
        assert len(KeyCredential(key=Secret("~" * 4096)).sha256) == 64

    def test_a_time_needs_an_offset(self) -> None:
        naive = datetime.datetime(2027, 1, 1)  # noqa: DTZ001
        with pytest.raises(Misfit, match="expires_at: expected a time with an offset"):
            KeyCredential(key=Secret("k"), expires_at=naive)
        with pytest.raises(Misfit, match="expires_at: expected a time with an offset"):
            Sigv4Credential(access_key_id="AKID", secret_access_key=Secret("s"), expires_at=naive)
        KeyCredential(key=Secret("k"), expires_at=naive.replace(tzinfo=UTC))

    def test_a_secret_is_not_empty(self) -> None:
        with pytest.raises(Misfit, match="secret_access_key"):
            Sigv4Credential(access_key_id="AKID", secret_access_key=Secret(""))


class TestRoute:
    @pytest.mark.parametrize(
        "route",
        [
            {"paths": ["/v1", "~/v\\d+/(?P<rest>.*)$"]},
            {"methods": ["POST"]},
            {"hosts": ["a.example", "*.a.example", "a.*", "a.example:8080"]},
            {"headers": {"x-team": ["a"]}},
        ],
    )
    def test_one_thing_to_match_is_enough(self, route: dict[str, list[str]]) -> None:
        Route(**route)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("route", "message"),
        [
            ({}, "at least one of paths, methods, hosts and headers"),
            ({"paths": ["/ok", "v1"]}, r"paths\[1\]: expected a path that starts with /"),
            ({"paths": ["~/(", "/"]}, r"paths\[0\]: expected a regular expression"),
            ({"paths": ["~/ü\\N{DIGIT ONE}"]}, r"paths\[0\]: expected a regular expression"),
            ({"hosts": ["a", "a.*.b"]}, r"hosts\[1\]: expected a host name"),
            ({"paths": ["/"], "plugins": [PluginEntry(name="x")]}, "expected a name"),
        ],
    )
    def test_what_can_match_nothing_is_refused(self, route: dict[str, list[str]], message: str) -> None:
        with pytest.raises(Misfit, match=message):
            Route(**route)  # type: ignore[arg-type]

    def test_all_that_is_wrong_is_said(self) -> None:
        with pytest.raises(Misfit) as caught:
            Route(paths=["a", "/", "~("], hosts=["*"])
        assert [misfit.path for misfit in caught.value.others] == [("paths", 2), ("hosts", 0)]

    def test_the_hint_for_a_group_that_pcre_would_name(self) -> None:
        with pytest.raises(Misfit) as caught:
            Route(paths=["~/(?<model>.*)"])
        assert caught.value.hint == "name a group as (?P<name>…)"


class TestService:
    @pytest.mark.parametrize(
        ("parts", "url"),
        [
            ({}, None),
            ({"url": "https://bedrock.example:8443/base"}, "https://bedrock.example:8443/base"),
            ({"host": "h"}, "http://h"),
            ({"protocol": "https", "host": "h", "port": 8443, "path": "/p"}, "https://h:8443/p"),
        ],
    )
    def test_its_url_may_be_written_in_parts(self, parts: dict[str, str], url: str | None) -> None:
        assert Service(name="s", **parts).endpoint_url == url  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            ({"url": "bedrock.example"}, "expected http"),
            ({"url": "ftp://h"}, "expected http"),
            ({"url": "http://h?x=1"}, "without a user, a query or a fragment"),
            ({"url": "http://h:99999"}, "port from 0 to 65535"),
            ({"url": "http://h/", "port": 1}, "not both"),
            ({"port": 1}, "expected host beside"),
        ],
    )
    def test_a_url_that_leads_nowhere_is_refused(self, parts: dict[str, str], message: str) -> None:
        with pytest.raises(Misfit, match=message):
            Service(name="s", **parts)  # type: ignore[arg-type]

    def test_a_password_in_a_url_is_refused_and_not_shown(self) -> None:
        with pytest.raises(Misfit) as caught:
            Service(name="s", url="https://user:hunter2@h")
        assert "hunter2" not in f"{caught.value}{caught.value.hint}"
