"""Where records go: what a path may be, which options belong to it, and that mistakes are named."""

from typing import Any, Final

import pytest

from stargate_core.config.problems import Misfit
from stargate_core.config.request_logger import (
    Collector,
    Emf,
    Fields,
    LogSink,
    RequestLogger,
    Rotate,
    kind_of,
)
from stargate_core.record import LogRecord
from stargate_core.secret import Secret
from support.config import examined, said

URL: Final = "https://logs.example/in"


def misfit(make: Any, **options: Any) -> str:
    with pytest.raises(Misfit) as caught:
        make(**options)
    return str(caught.value)


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("-", "stream"),
            ("/dev/stdout", "stream"),
            ("/dev/full", "stream"),
            ("/var/log/stargate.jsonl", "file"),
            ("stargate.jsonl", "file"),
            ("udp://127.0.0.1:5140", "udp"),
            ("udp://[::1]:5140", "udp"),
            ("http://localhost:9000", "http"),
            (URL, "http"),
            ("https://logs.example:8443?index=a", "http"),
        ],
    )
    def test_a_path_says_what_it_is(self, path: str, kind: str) -> None:
        assert RequestLogger(path=path).every == (LogSink(path=path),)
        assert kind_of(path) == kind

    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("tcp://h:1", "path: expected a path, udp://, http:// or https://, found 'tcp://h:1'"),
            ("udp://h", "path: expected host:port, [ipv6]:port or unix:/path, found 'h'"),
            ("udp://h:0", "path: expected a host and a port after udp://, found 'udp://h:0'"),
            ("udp://unix:/x", "path: expected a host and a port after udp://, found 'udp://unix:/x'"),
            ("http:///in", "path: expected a URL of visible ASCII without a fragment, found 'http:///in'"),
            ("http://:80/", "path: expected a URL of visible ASCII without a fragment, found 'http://:80/'"),
            ("https://u:p@h/", "path: expected no user name in the URL"),
        ],
    )
    def test_another_one_is_refused(self, path: str, problem: str) -> None:
        assert misfit(RequestLogger, path=path).replace('"', "'") == problem
        assert misfit(LogSink, path=path).replace('"', "'") == problem

    def test_without_one_it_is_standard_output(self) -> None:
        assert RequestLogger().every == (LogSink(path="/dev/stdout"),)


class TestSeveral:
    def test_each_has_its_own_options(self) -> None:
        sinks = [LogSink(path="a", sample=0.5), LogSink(path=URL)]
        assert RequestLogger(sinks=sinks).every == tuple(sinks)

    @pytest.mark.parametrize("option", [{"path": "b"}, {"sample": 0.5}, {"format": "emf"}])
    def test_options_beside_them_belong_to_none(self, option: dict[str, Any]) -> None:
        (name,) = option
        told = misfit(RequestLogger, sinks=[LogSink(path="a")], **option)
        assert told == f"{name}: expected it in one of the sinks, since there are several"

    def test_each_is_there_once(self) -> None:
        told = misfit(RequestLogger, sinks=[LogSink(path="a"), LogSink(path="a")])
        assert told == "sinks[1].path: expected each sink once"


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"path": "-", "rotate": Rotate()}, "rotate: expected a file as path: nothing else is rotated"),
            ({"path": "a", "http": Collector()}, "http: expected an http:// or https:// path beside it"),
            ({"path": "a", "emf": Emf()}, "emf: expected format: emf beside it"),
            ({"format": "emf", "sample": 0.5}, "sample: expected 1: metrics of a part would be wrong"),
            (
                {"format": "emf", "sample_failures": 0.5},
                "sample_failures: expected 1: metrics of a part would be wrong",
            ),
        ],
    )
    def test_what_has_no_effect_is_refused(self, options: dict[str, Any], problem: str) -> None:
        assert misfit(RequestLogger, **options) == problem

    def test_what_has_one_is_not(self) -> None:
        RequestLogger(path="a", rotate=Rotate())
        RequestLogger(path=URL, http=Collector())
        RequestLogger(format="emf", emf=Emf())


class TestFields:
    def test_all_of_them_in_the_records_order(self) -> None:
        assert Fields().names == LogRecord.__struct_fields__
        assert Fields(include=["status", "time"]).names == ("time", "status")
        left = Fields(exclude=["client"]).names
        assert set(LogRecord.__struct_fields__) - set(left) == {"client"}

    def test_an_unknown_one_is_named(self) -> None:
        told = misfit(Fields, include=["time", "clientt"])
        assert told == 'include[1]: expected a field of the log record, found "clientt"'
        with pytest.raises(Misfit) as caught:
            Fields(exclude=["clientt", "zzzzzzzzz"])
        assert [one.hint for one in (caught.value, *caught.value.others)] == ["did you mean client?", ""]

    def test_one_of_both(self) -> None:
        assert misfit(Fields, include=["time"], exclude=["client"]) == (
            "exclude: expected no exclude beside include"
        )


class TestEmf:
    def test_namespaces_of_aws_are_its_own(self) -> None:
        assert "AWS/" in misfit(Emf, namespace="AWS/Bedrock")

    def test_a_dimension_once(self) -> None:
        assert misfit(Emf, dimensions=[[], ["consumer", "consumer"]]) == (
            "dimensions[1]: expected each dimension once"
        )


class TestCollector:
    @pytest.mark.parametrize("name", ["Host", "content-length", "User-Agent"])
    def test_some_headers_are_the_gateways(self, name: str) -> None:
        told = misfit(Collector, headers={name: Secret("x")})
        assert told.endswith("expected another header: the gateway sets this one")

    def test_a_value_is_one_line_and_is_not_shown(self) -> None:
        told = misfit(Collector, headers={"authorization": Secret("se\ncret")})
        assert told == "headers.authorization: expected a header's value in Latin-1, on one line"


def test_in_a_file_mistakes_have_their_places() -> None:
    text = """\
plugins:
  - name: request-logger
    config:
      sinks:
        - path: tcp://collector:514
        - path: log
          fields: {exclude: [codes]}
          format: jsom
        - path: log2
          rotate: {max_bytes: 1}
          sample: 2
"""
    assert said(examined(text).problems) == [
        f"plugins[0].config.sinks{problem}"
        for problem in (
            '[0].path: expected a path, udp://, http:// or https://, found "tcp://collector:514"',
            '[1].fields.exclude[0]: expected a field of the log record, found "codes" (did you mean code?)',
            '[1].format: expected one of "emf" and "json", found the string "jsom" (did you mean json?)',
            "[2].rotate.max_bytes: expected an integer from 4096 to 1099511627776, found 1",
            "[2].sample: expected a number from 0 to 1, found 2",
        )
    ]
