"""Crowds: thousands of streams at once, ten thousand connections that say nothing, slow readers among fast.

Nobody is lost and nobody waits for a stranger, on every shell, with every bound on numbers at its default:
the configuration's, and the soft limit on open files that most systems have.

What memory each of a crowd costs is told (`pytest --log-cli-level=info`). The suite runs the crowds in full
number, at a pace that leaves two busy processors room for other tests; `STARGATE_TEST_SCALE=full` runs them
at the pace and with the traffic that the figures in docs/operating.md were taken with.
"""

import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from support.crowd import (
    FEW_DESCRIPTORS,
    Crowd,
    CrowdUpstream,
    crowd_of,
    crowd_upstream,
    few_descriptors,
    needs_descriptors,
    peak_bytes,
    processor_seconds,
)
from support.gateway import RunningGateway, configuration, eventually, on_linux, running_gateway
from support.hosts import SHELLS, params
from support.raw import chat, connected, request

pytestmark = [on_linux, pytest.mark.timeout(300)]

FULL: Final = os.environ.get("STARGATE_TEST_SCALE") == "full"
FIGURES: Final = logging.getLogger("figures")
WARM_UP: Final = 4
"""Connections that have asked before memory is measured: what is made once is not a crowd's."""

STREAMS: Final = 2_000
EVENTS_PER_SECOND: Final = 25 if FULL else 4
WORDS: Final = 250 if FULL else 12
STREAM_BYTES_MAX: Final = 40 * 1024
"""Of resident memory, for a stream that is open; from its first word to its last."""

IDLE: Final = 9_900
"""Nearly all of `max_connections`, with some room for who looks on."""
TALKERS_STEP: Final = 1 if FULL else 10
"""Of those that will be idle every so manieth has asked something before."""
SAMPLE_STEP: Final = 50
IDLE_BYTES_MAX: Final = 15 * 1024

WISH: Final = "crowd number=1 words=1 padding=0 pace=0 together=1 wait=0"
"""One answer, asked for without a crowd."""

READERS: Final = 50
"""Of each kind, slow and fast."""
SLOW_BYTES_PER_SECOND: Final = 1024
PADDING: Final = 1_000
"""Of each word: it is bytes that slow readers hold up."""
SLOW_WORDS: Final = 1_600
"""Some 2 MB for a client: more than the kernel keeps for one that does not read."""
FAST_WORDS: Final = 400
SLOW_READER_BYTES_MAX: Final = 256 * 1024
"""What is read from upstream at a time, translated, and what allocators keep beside it. A gateway that
buffered a slow reader's stream would need a megabyte and more.
"""


@pytest.fixture(name="upstream", scope="module")
def _upstream() -> Generator[CrowdUpstream]:
    with crowd_upstream() as running:
        yield running


@pytest.fixture(name="shell", params=params(*SHELLS))
def _shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(name="gateway")
def _gateway(shell: str, upstream: CrowdUpstream) -> Generator[RunningGateway]:
    """A gateway with its bounds as they come, and time for all: how fast a machine is, is not the matter."""
    with contextlib.ExitStack() as stack:
        with few_descriptors():
            options = (*SHELLS[shell], "--log-level", "warning")
            names = ("client_idle", "client_stall", "client_head", "connect", "pool", "first_token", "idle")
            limits = dict.fromkeys(names, 600)
            gateway = stack.enter_context(
                running_gateway(upstream.url, options=options, gateway={"time_limits": limits})
            )
        yield gateway


@pytest.fixture(name="crowd")
def _crowd(gateway: RunningGateway) -> Generator[Crowd]:
    """Clients, of whom a few have asked already."""
    with crowd_of(gateway) as crowd:
        crowd.connect(WARM_UP)
        crowd.send(stream=True, words=3)
        assert_whole(crowd.wait("all"), WARM_UP)
        yield crowd


def assert_whole(told: dict[str, Any], count: int) -> None:
    """So many answers have come by now, each with all of its words in their order, and nothing else came."""
    assert told["wrong"] == []
    assert told["whole"] == count


@needs_descriptors(2 * STREAMS + 1_000)
def test_two_thousand_streams_at_once(
    gateway: RunningGateway, upstream: CrowdUpstream, crowd: Crowd, shell: str
) -> None:
    """Each gets every event, whole and in its order, and none of anybody else's."""
    before = gateway.resident_bytes()
    crowd.connect(STREAMS)
    crowd.send(first=WARM_UP, stream=True, words=WORDS, pace=EVENTS_PER_SECOND, wait=True)
    assert crowd.wait("begun")["begun"] == STREAMS
    assert upstream.open_streams() == STREAMS, "all of them are open, and wait for their second word"
    opened, began = gateway.resident_bytes(), processor_seconds(gateway.process.pid)
    upstream.go()
    assert_whole(crowd.wait("all"), WARM_UP + STREAMS)
    spent = processor_seconds(gateway.process.pid) - began
    assert upstream.open_streams() == 0
    each, most = (opened - before) // STREAMS, (peak_bytes(gateway.process.pid) - before) // STREAMS
    FIGURES.info("%s: a stream: %.1f KB once open, %.1f at most", shell, each / 1024, most / 1024)
    FIGURES.info("%s: an event: %.0f us of a processor", shell, spent / (STREAMS * (WORDS - 1)) * 1e6)
    assert most <= STREAM_BYTES_MAX
    records = eventually(lambda: (found := gateway.records())[WARM_UP + STREAMS - 1 :] and found)
    assert {record["outcome"] for record in records} == {"complete"}


@needs_descriptors(IDLE + 1_000)
def test_ten_thousand_connections_that_say_nothing(gateway: RunningGateway, crowd: Crowd, shell: str) -> None:
    """All are accepted and kept, and each is served when it speaks again."""
    before = gateway.resident_bytes()
    open_before = gateway.descriptors()
    crowd.connect(IDLE)
    eventually(lambda: gateway.descriptors() - open_before >= IDLE, seconds=60)
    silent = gateway.resident_bytes()
    crowd.send(first=WARM_UP, step=TALKERS_STEP, stream=False, words=3, at_once=64)
    talkers = len(range(0, IDLE, TALKERS_STEP))
    assert_whole(crowd.wait("all"), WARM_UP + talkers)
    idle = gateway.resident_bytes()
    crowd.send(first=WARM_UP, step=SAMPLE_STEP, stream=True, words=3, at_once=64)
    assert_whole(crowd.wait("all"), WARM_UP + talkers + len(range(0, IDLE, SAMPLE_STEP)))
    each, asked = (silent - before) / IDLE, (idle - before) / IDLE
    FIGURES.info("%s: a connection: %.1f KB, %.1f after a request", shell, each / 1024, asked / 1024)
    assert asked <= IDLE_BYTES_MAX


def test_slow_readers_hold_up_nobody(gateway: RunningGateway, upstream: CrowdUpstream, crowd: Crowd) -> None:
    """All who read fast are done while the slow ones are still at it, and those cost a bounded amount: of
    the gateway's memory, and of what kernels keep, so that upstream is slowed.
    """
    crowd.connect(READERS, slow_bytes_per_second=SLOW_BYTES_PER_SECOND)
    crowd.send(first=WARM_UP, stream=True, words=SLOW_WORDS, padding=PADDING, together=10)
    crowd.wait("begun")
    before = gateway.resident_bytes()
    crowd.connect(READERS)
    crowd.send(first=WARM_UP + READERS, stream=True, words=FAST_WORDS, padding=PADDING, together=10)
    told = crowd.wait("fast")
    assert_whole(told, WARM_UP + READERS)
    assert (told["fast_awaited"], told["slow_awaited"]) == (0, READERS)
    assert upstream.open_streams() == READERS, "nobody has read ahead for the slow ones"
    assert gateway.resident_bytes() - before < READERS * SLOW_READER_BYTES_MAX
    crowd.hurry()
    assert_whole(crowd.wait("all"), WARM_UP + 2 * READERS)
    assert gateway.resident_bytes() - before < READERS * SLOW_READER_BYTES_MAX


class TestDescriptors:
    """What happens where there are fewer than connections need."""

    def test_too_few_for_the_configuration_are_told_at_start(
        self, upstream: CrowdUpstream, tmp_path: Path
    ) -> None:
        file = tmp_path / "stargate.yaml"
        file.write_text(json.dumps(configuration(upstream.url, tmp_path / "log")))
        limited = ["sh", "-c", f'ulimit -n {FEW_DESCRIPTORS} && exec "$@"', "sh"]
        command = [*limited, sys.executable, "-m", "stargate", "serve", "-c", str(file)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            gateway = RunningGateway(process, tmp_path / "log")
            try:
                gateway.wait_until_ready()
                process.send_signal(signal.SIGTERM)
                assert gateway.wait_until_ended() == 0
            finally:
                process.kill()
        assert f"attention        a process may have {FEW_DESCRIPTORS} files open here" in gateway.told[0]
        assert "gateway.max_connections: 10000" in gateway.told[0]

    def test_a_call_that_finds_none_fails_and_the_next_one_is_made(self, gateway: RunningGateway) -> None:
        with connected(gateway.url) as raw:
            raw.send(request("GET", "/healthz"))
            assert raw.answer().status == 200
            _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
            limit = (gateway.descriptors(), hard)
            resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, limit)
            raw.send(request(body=chat(WISH)))
            assert raw.answer().status == 502
            resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
            raw.send(request(body=chat(WISH)))
            assert raw.answer().status == 200
