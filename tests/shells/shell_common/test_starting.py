"""What a process does as it begins to serve: room for as many connections as its configuration allows."""

import json
import subprocess
import sys
from typing import Any, Final

import pytest

PROGRAM: Final = """\
import json, resource, sys
import msgspec
from stargate.shell_common.starting import make_room
from stargate_core.config.gateway_block import Gateway
soft, hard, written = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
told = make_room(msgspec.convert(written, Gateway))
print(json.dumps([*resource.getrlimit(resource.RLIMIT_NOFILE), told]))
"""
"""Limits are a process's own, and a hard one is not raised again: so each case has a process."""


def room(soft: int, hard: int, **gateway: Any) -> tuple[int, int, str | None]:
    """What the limits are afterwards, and what is told."""
    case = json.dumps([soft, hard, gateway])
    ended = subprocess.run([sys.executable, "-c", PROGRAM, case], capture_output=True, text=True, check=True)
    soft, hard, told = json.loads(ended.stdout)
    return soft, hard, told


POOL: Final = {"max_connections_per_endpoint": 100}


class TestRoom:
    def test_the_soft_limit_becomes_the_hard_one(self) -> None:
        assert room(256, 2048, max_connections=1000, pool=POOL) == (2048, 2048, None)

    def test_also_where_it_would_do_for_a_reload_may_ask_for_more(self) -> None:
        assert room(256, 2048, max_connections=10) == (2048, 2048, None)

    def test_one_that_is_as_high_already_stays(self) -> None:
        assert room(2048, 2048, max_connections=1000, pool=POOL) == (2048, 2048, None)

    @pytest.mark.parametrize(
        ("clients", "upstream", "wanted"),
        [(1000, 100, 1164), (1000, 5000, 2064)],
        ids=["each endpoint's bound", "no more than clients have"],
    )
    def test_too_little_is_told_with_what_would_do(self, clients: int, upstream: int, wanted: int) -> None:
        pool = {"max_connections_per_endpoint": upstream}
        for hard, is_told in ((wanted - 1, True), (wanted, False)):
            soft, _, told = room(256, hard, max_connections=clients, pool=pool)
            assert soft == hard
            assert (told is not None) == is_told
            if told is not None:
                assert f"may have {hard} files open here" in told
                assert f"takes {wanted}:" in told
