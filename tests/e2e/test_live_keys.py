"""Keys that come and go while the gateway runs: `stargate keys` on one side of a Redis, `stargate serve` on
the other.

A gateway asks the store for its keys once a second, so what the command says holds in the next second; the
time that is tested leaves room for a busy machine.
"""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from support.gateway import KEY, NARROW_KEY, RunningGateway, configuration, eventually, running_gateway
from support.raw import Answer, chat, connected, request
from support.redis import RunningRedis, running_redis
from support.simulator import RunningSimulator

SECONDS: Final = 5.0
INVALID: Final = 403
TELLS: Final = (
    r"info: keys: |(warning|info): the store is |opens nothing: there is no consumer 'nobody-knows'"
)


@pytest.fixture(scope="module")
def redis() -> Generator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(simulator: RunningSimulator, redis: RunningRedis) -> Generator[RunningGateway]:
    """A gateway whose keys live in the file and in Redis."""
    with running_gateway(simulator.url, gateway={"store": redis.url}, tells=TELLS) as running:
        yield running


def keys(*arguments: str, said: str = "") -> str:
    """What `stargate keys` prints."""
    command = [sys.executable, "-m", "stargate", "keys", *arguments]
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_key(redis: RunningRedis, *options: str, consumer: str = "team-a") -> tuple[str, str]:
    """A new key, and its digest."""
    printed = keys("new", "--consumer", consumer, "--store", redis.url, *options)
    found = re.search(r"^key +(\S+)\nkey_sha256 +([0-9a-f]{64})$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[1], found[2]


def ask(gateway: RunningGateway, key: str, **more: Any) -> Answer:
    with connected(gateway.url) as raw:
        raw.send(request(body=chat("Hello", **more), key=key))
        return raw.answer()


def becomes(gateway: RunningGateway, key: str, status: int, **more: Any) -> Answer:
    """The answer with this key, as soon as it has this status."""
    (answer,) = eventually(
        lambda: [one for one in [ask(gateway, key, **more)] if one.status == status], seconds=SECONDS
    )
    return answer


def test_a_key_comes_and_goes(gateway: RunningGateway, redis: RunningRedis) -> None:
    key, digest = new_key(redis, "--id", "for-a-day")
    answer = becomes(gateway, key, 200)
    record = gateway.record(request_id=answer.headers["x-request-id"])
    assert (record["consumer"], record["key_id"]) == ("team-a", "for-a-day")
    # A connection that stands learns of it too.
    with connected(gateway.url) as raw:
        raw.send(request(body=chat("Hello"), key=key))
        assert raw.answer().status == 200
        keys("revoke", "for-a-day", "--store", redis.url)
        becomes(gateway, key, INVALID)
        raw.send(request(body=chat("Hello"), key=key))
        assert raw.answer().status == INVALID
    assert re.search("team-a +for-a-day +store +revoked", keys("list", "--store", redis.url))
    with contextlib.closing(redis.client()) as client:
        kept = client.hgetall("stargate:keys")
    assert digest.encode() in kept
    assert key not in str(kept)


def test_a_key_may_call_only_its_models(gateway: RunningGateway, redis: RunningRedis) -> None:
    key, _ = new_key(redis, "--model", "nova")
    becomes(gateway, key, 200, model="nova")
    assert ask(gateway, key, model="claude").status in (403, 404)


def test_a_key_of_nobody_opens_nothing(gateway: RunningGateway, redis: RunningRedis) -> None:
    stranger, _ = new_key(redis, consumer="nobody-knows")
    key, _ = new_key(redis)
    becomes(gateway, key, 200)  # So the other one has been read as well.
    assert ask(gateway, stranger).status == INVALID


def test_a_key_of_the_files_can_be_revoked(
    gateway: RunningGateway, redis: RunningRedis, simulator: RunningSimulator, tmp_path: Path
) -> None:
    file = tmp_path / "stargate.yaml"
    log = tmp_path / "requests.jsonl"
    written = configuration(simulator.url, log, gateway={"store": redis.url})
    written["consumers"][1]["keyauth_credentials"][0]["id"] = "of-the-file"
    file.write_text(json.dumps(written))
    assert ask(gateway, NARROW_KEY, model="claude-fast").status == 200
    keys("revoke", "of-the-file", "-c", str(file))
    becomes(gateway, NARROW_KEY, INVALID, model="claude-fast")
    assert ask(gateway, KEY).status == 200
    assert "revoked" in keys("list", "-c", str(file))


def test_keys_outlive_a_store_that_is_away(simulator: RunningSimulator) -> None:
    with running_redis() as redis:
        with running_gateway(simulator.url, gateway={"store": redis.url}, tells=TELLS) as gateway:
            key, _ = new_key(redis)
            becomes(gateway, key, 200)
            redis.pause()
            eventually(lambda: [line for line in gateway.told if "the store is down" in line])
            assert ask(gateway, key).status == 200
            redis.resume()
            eventually(lambda: [line for line in gateway.told if "the store is up again" in line])
            assert ask(gateway, key).status == 200
