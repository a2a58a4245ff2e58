"""A program with a gateway inside, and its callers: what embedding costs, with no client's socket between.

The callers are tasks of the same loop (uvloop), each with one call under way all the time. A call takes the
connection in memory on which the transports for SDKs, `Embedded.ask` and `Embedded.chat` all stand: the
request's bytes in, the answer's out, read by the core's own codec, and judged as the load generator does.

So a figure from here includes the gateway's whole chain, its sockets to upstream (which is another process
still), and a caller's work but for an SDK's own; the callers' share is in the processor time. It leaves out
the client's sockets. And as each call has a connection of its own, each begins a session, where callers from
outside keep theirs; what a session keeps from one request to the next, such as the day's signing key, is made
anew each time.

    python -m bench.in_process CONFIG

says `ready`, takes a task (load.py) as a line of JSON on its standard input, answers with a line of what came
of it, and so on until its input ends.
"""

import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import msgspec
import uvloop

from bench.load import Run, Task, Turns, measure
from stargate.asyncio import Gateway
from stargate.in_memory.call import Cut, call


async def _call(gateway: Gateway, run: Run, number: int) -> None:
    """One caller: a request, its answer, the next request."""
    turns = Turns(run, number)
    goes_on = True
    while goes_on and run.may_send():
        part, judge = turns.next()
        sent_at = time.perf_counter()
        try:
            answer = await call(gateway, part.request)
            body = await answer.read()
        except Cut as error:
            run.fail(f"the connection was cut: {error}")
            return
        if answer.status != 200:
            run.fail(f"{answer.status}: {body[:400].decode('latin-1')}")
            return
        goes_on = run.judged(turns, time.perf_counter() - sent_at, partial(judge.judge, body))


@asynccontextmanager
async def _callers(gateway: Gateway, run: Run) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as group:
        for number in range(run.task.connections):
            group.start_soon(_call, gateway, run, number)
        yield
        group.cancel_scope.cancel()


async def _serve(path: Path) -> None:
    async with Gateway(path) as gateway:

        def callers(run: Run) -> AbstractAsyncContextManager[None]:
            return _callers(gateway, run)

        print("ready", flush=True)
        # Its thread is abandoned where the program is told to end while it waits.
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            result = await measure(msgspec.json.decode(line, type=Task), callers)
            print(msgspec.json.encode(result).decode(), flush=True)


def main() -> None:
    """Do what is asked until standard input ends."""
    uvloop.run(_serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
