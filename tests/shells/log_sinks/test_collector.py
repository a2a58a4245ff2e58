"""Batches for an HTTP collector: at least once, not for ever, and what is given up is counted."""

import ssl
from pathlib import Path

import pytest

from stargate.log_sinks.collector import HttpWriter
from stargate.shell_common.lines import Done
from stargate_core.config.request_logger import Collector
from stargate_core.secret import Secret
from support.collectors import BROKEN, CLOSING, dead_port, http_collector
from support.tls import Authority

LINES = b"one\ntwo\n"


class TestGood:
    def test_a_batch_is_a_post(self) -> None:
        headers = {"Authorization": Secret("Bearer planted"), "x-scope": Secret("t\u00e4")}
        with http_collector() as collector:
            writer = HttpWriter(collector.url, Collector(headers=headers))
            assert writer.write(LINES) == Done(8)
            (batch,) = collector.batches
        assert batch.body == LINES
        assert batch.target == "/logs?index=a"
        assert batch.headers["authorization"] == "Bearer planted"
        assert batch.headers["x-scope"] == "t\u00e4"
        assert batch.headers["content-type"] == "application/x-ndjson"
        assert batch.headers["host"] == collector.url.split("/")[2]
        assert len(batch.headers["x-stargate-batch"]) == 16

    def test_one_connection_is_kept_and_another_made_where_it_was_closed(self) -> None:
        with http_collector() as collector:
            writer = HttpWriter(collector.url, None)
            for _ in range(3):
                writer.write(LINES)
            assert collector.connections == 1
            collector.answers = [CLOSING]
            assert [writer.write(LINES) for _ in range(2)] == [Done(8)] * 2
            assert collector.connections == 2
        assert len({batch.headers["x-stargate-batch"] for batch in collector.batches}) == 5

    def test_a_connection_that_was_closed_silently_is_no_trouble(self) -> None:
        with http_collector() as collector:
            writer = HttpWriter(collector.url, None)
            collector.closes = True
            assert [writer.write(LINES) for _ in range(3)] == [Done(8)] * 3
            assert collector.connections == 3

    def test_a_batch_has_a_bound_and_whole_lines(self) -> None:
        line = b"x" * 999 + b"\n"
        with http_collector() as collector:
            writer = HttpWriter(collector.url, Collector(batch_bytes=4096))
            data = line * 10 + b"y" * 5000 + b"\n"
            sizes: list[int] = []
            while data:
                done = writer.write(data)
                sizes.append(done.bytes)
                data = data[done.bytes :]
        assert sizes == [4000, 4000, 2000, 5001]
        assert all(batch.body.endswith(b"\n") for batch in collector.batches)


class TestTrouble:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 301])
    def test_what_is_refused_is_dropped_at_once(self, status: int) -> None:
        with http_collector() as collector:
            collector.answer = b"HTTP/1.1 %d No\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n" % status
            done = HttpWriter(collector.url, None).write(LINES)
        assert (done.bytes, done.lost, done.trouble) == (8, 2, f"it answers {status}")
        assert len(collector.batches) == 1

    @pytest.mark.parametrize("status", [500, 503, 429, 408])
    def test_what_may_pass_is_tried_again_after_growing_pauses_and_then_dropped(self, status: int) -> None:
        with http_collector() as collector:
            collector.answer = BROKEN.replace(b"500", b"%d" % status)
            writer = HttpWriter(collector.url, Collector(retries=3))
            told = f"it answers {status}"
            done = [writer.write(LINES + b"more\n" * number) for number in range(4)]
        assert done[:3] == [Done(0, 0, told, pause) for pause in (0.5, 1.0, 2.0)]
        assert (done[3].bytes, done[3].lost) == (8, 2)
        # The same batch, although more lines have come meanwhile.
        assert {batch.body for batch in collector.batches} == {LINES}
        assert len({batch.headers["x-stargate-batch"] for batch in collector.batches}) == 1

    def test_after_it_has_passed_the_batch_arrives(self) -> None:
        with http_collector() as collector:
            collector.answers = [BROKEN]
            writer = HttpWriter(collector.url, None)
            assert writer.write(LINES).bytes == 0
            assert writer.write(LINES) == Done(8)
            assert collector.taken == [b"one", b"two"]

    def test_a_collector_that_is_dead(self) -> None:
        done = HttpWriter(f"http://127.0.0.1:{dead_port()}", None).write(LINES)
        assert (done.bytes, done.trouble) == (0, "Connection refused")

    def test_one_that_says_nothing_is_not_waited_for(self) -> None:
        with http_collector() as collector:
            collector.answer = None
            done = HttpWriter(collector.url, Collector(timeout_seconds=0.1)).write(LINES)
        assert (done.bytes, done.trouble) == (0, "no answer within 0.1 s")

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.6 close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nx",
        ],
        ids=["another protocol", "half an answer"],
    )
    def test_one_that_speaks_something_else(self, answer: bytes) -> None:
        with http_collector() as collector:
            collector.answer = answer
            done = HttpWriter(collector.url, None).write(LINES)
        assert (done.bytes, done.trouble) == (0, "what it answers is not HTTP")

    def test_a_long_answer_is_not_read_to_its_end(self) -> None:
        with http_collector() as collector:
            collector.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n" + b"x" * 2_000_000
            writer = HttpWriter(collector.url, None)
            assert [writer.write(LINES) for _ in range(2)] == [Done(8)] * 2
            assert collector.connections == 2

    def test_who_is_told_to_stop_begins_nothing_more(self) -> None:
        with http_collector() as collector:
            writer = HttpWriter(collector.url, None)
            writer.stop()
            assert writer.write(LINES) == Done(0, trouble="it was closed")
            assert collector.connections == 0


class TestTls:
    def test_a_certificate_is_verified(self, tmp_path: Path) -> None:
        authority = Authority()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.configure(context, "localhost")
        ca = tmp_path / "ca.pem"
        ca.write_bytes(authority.pem)
        with http_collector(context) as collector:
            done = HttpWriter(collector.url, None).write(LINES)
            assert (done.bytes, done.trouble) == (0, "CERTIFICATE_VERIFY_FAILED")
            elsewhere = collector.url.replace("localhost", "127.0.0.1")
            assert HttpWriter(elsewhere, Collector(ca=str(ca))).write(LINES).bytes == 0
            assert collector.batches == []
            writer = HttpWriter(collector.url, Collector(ca=str(ca)))
            assert [writer.write(LINES) for _ in range(2)] == [Done(8)] * 2
            assert HttpWriter(elsewhere, Collector(verify=False)).write(LINES) == Done(8)
            assert collector.taken == [b"one", b"two"] * 3

    def test_a_ca_that_cannot_be_read_is_trouble_and_no_more(self, tmp_path: Path) -> None:
        path = tmp_path / "no.pem"
        done = HttpWriter("https://localhost:9/", Collector(ca=str(path))).write(LINES)
        assert (done.bytes, done.trouble) == (0, f"http.ca: {path}: No such file or directory")
