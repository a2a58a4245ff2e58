"""What tests of limits share: consumers that are limited, crowds that ask, and a look into the buckets.

Each test has consumers of its own, so that tests can share gateways and a Redis, and still each find their
buckets empty. A bucket in Redis is read as the server has it, past the gateway: what a gateway tells of it is
what is to be tested.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from support.gateway import RunningGateway
from support.raw import Answer, Raw, chat, connected, request

CROWD: Final = 64


def key_of(consumer: str) -> str:
    """The consumer's gateway key."""
    return f"sk-{consumer}-0123456789abcdef"


def limited(name: str, **limits: Any) -> dict[str, Any]:
    """A consumer with a rate-limiter of its own; without `limits`, one with none."""
    plugins = [{"name": "rate-limiter", "config": limits}] if limits else []
    return {"username": name, "keyauth_credentials": [{"key": key_of(name)}], "plugins": plugins}


def ask(
    gateway: RunningGateway,
    consumer: str,
    text: str = "Hello",
    *,
    path: str = "/v1/chat/completions",
    key: str = "",
    **more: Any,
) -> Answer:
    """The answer to one chat request on a connection of its own."""
    with connected(gateway.url) as raw:
        raw.send(request(path=path, body=chat(text, **more), key=key or key_of(consumer)))
        return raw.answer()


@contextlib.contextmanager
def crowd(gateways: Sequence[RunningGateway], data: bytes, number: int = CROWD) -> Iterator[list[Raw]]:
    """So many connections, spread over the gateways, each of which has sent this request."""
    with contextlib.ExitStack() as stack:
        turns = itertools.islice(itertools.cycle(gateways), number)
        raws = [stack.enter_context(connected(gateway.url)) for gateway in turns]
        for raw in raws:
            raw.send(data)
        yield raws


def drive(
    gateways: Sequence[RunningGateway], data: Callable[[int], bytes], total: int, clients: int = CROWD
) -> list[Answer]:
    """The answers to so many requests, asked by so many clients at the same time, each on one connection.

    data: the request, by its number.
    """
    numbers = itertools.count()

    def client(index: int) -> list[Answer]:
        answers: list[Answer] = []
        with connected(gateways[index % len(gateways)].url) as raw:
            while (number := next(numbers)) < total:
                raw.send(data(number))
                answers.append(raw.answer())
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return list(itertools.chain.from_iterable(pool.map(client, range(clients))))


class Watch:
    """The highest of what it has looked at, again and again, in a thread of its own."""

    def __init__(self, look: Callable[[], int]) -> None:
        self.most = 0
        self.looks = 0
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self.looks, "it has seen nothing"

    def _run(self) -> None:
        while not self._over.is_set():
            self.most = max(self.most, self._look())
            self.looks += 1


def bucket(redis: Any, consumer: str, unit: str) -> int:
    """How much the consumer's bucket of this unit holds in Redis; 0 if there is none."""
    keys = redis.keys(f"stargate:limit:{{c={consumer}}}:*:{unit}:*")
    assert len(keys) <= 1, keys
    if not keys:
        return 0
    match redis.type(keys[0]):
        case b"string":
            kind, _start, count = (redis.get(keys[0]) or b"f 0 0").split()
            assert kind == b"f", "what a GCRA bucket holds is no number"
            return int(count)
        case b"zset":
            return int(redis.zcard(keys[0]))
        case _:
            return sum(map(int, redis.hvals(keys[0])))


def tokens(record: Mapping[str, Any]) -> int:
    """What a log record says was used; members that are nothing are left out of it."""
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    return sum(record.get(name, 0) for name in names)


def count(answers: Sequence[Answer]) -> dict[int, int]:
    """How many answers have each status."""
    return {
        status: sum(a.status == status for a in answers) for status in sorted({a.status for a in answers})
    }
