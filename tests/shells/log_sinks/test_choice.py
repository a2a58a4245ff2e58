"""Which writer a path has."""

import pytest

from stargate.log_sinks.choice import writer_for
from stargate_core.config.request_logger import Collector, LogSink, Rotate


@pytest.mark.parametrize(
    ("sink", "kind"),
    [
        (LogSink(path="-"), "FileWriter"),
        (LogSink(path="/tmp/log"), "FileWriter"),
        (LogSink(path="/tmp/log", rotate=Rotate()), "RotatingWriter"),
        (LogSink(path="udp://127.0.0.1:9"), "UdpWriter"),
        (LogSink(path="http://127.0.0.1:9"), "HttpWriter"),
        (LogSink(path="https://127.0.0.1:9", http=Collector()), "HttpWriter"),
    ],
)
def test_it_is_told_by_the_path(sink: LogSink, kind: str) -> None:
    assert type(writer_for(sink.path, sink)).__name__ == kind


def test_a_path_that_the_configuration_does_not_know_has_one_too() -> None:
    assert type(writer_for("http://127.0.0.1:9")).__name__ == "HttpWriter"
