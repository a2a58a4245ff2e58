"""The API: what each path below `/api` answers, and `/metrics`.

Everything is told by whichever worker is asked, for all of them. Of requests the metadata of the last few
hundred of each worker are at hand, no words of a prompt or an answer.
"""

import time
from typing import Final

import anyio.to_thread

from stargate.admin.journal_files import journal_of, send_journal
from stargate.admin.messages import (
    Refused,
    Reply,
    Request,
    Streamed,
    data_reply,
    json_reply,
    problem,
    streamed,
)
from stargate.admin.site import Resource
from stargate.admin.status import status_of
from stargate.admin.story import story_of
from stargate.admin.watching import Watch
from stargate.explaining.asked import request_of_json
from stargate.explaining.shown import lines
from stargate.observing.board import Boards
from stargate.shell_common.beside import Running
from stargate_core.gateway.explanation import NotWhole, explain
from stargate_core.record import LogRecord, Outcome

REQUESTS_MAX: Final = 1000
_REQUESTS: Final = 100
_KEPT_MAX: Final = 1 << 20
"""More than are kept."""
_OUTCOMES: Final = [outcome.value for outcome in Outcome]


class Api:
    """Answers for one worker. started_at: of the gateway, in seconds since 1970."""

    def __init__(self, running: Running, boards: Boards, started_at: float) -> None:
        self._running = running
        self._boards = boards
        self.watch = Watch(
            boards.totals,
            lambda history: status_of(
                running, history, boards.statuses(), now=time.time(), started_at=started_at
            ),
        )

    @property
    def resources(self) -> dict[str, Resource]:
        """By path."""
        return {
            "/metrics": Resource("GET", self._metrics),
            "/api/status": Resource("GET", self._status),
            "/api/stream": Resource("GET", self._stream, streams=True),
            "/api/requests": Resource("GET", self._requests),
            "/api/requests/": Resource("GET", self._request),
            "/api/journals/": Resource("GET", self._journal),
            "/api/explain": Resource("POST", self._explain),
        }

    @property
    def _directory(self) -> str | None:
        return self._running.gateway.plan.config.gateway.journal.directory

    async def _metrics(self, request: Request, _name: str) -> Reply:
        # Where nobody scrapes, nobody pays for the library behind it.
        from stargate.observing.exposition import exposition

        accept = (request.header(b"accept") or b"").decode("latin-1")
        kind, body = await anyio.to_thread.run_sync(exposition, self._boards, accept)
        return data_reply(body, kind.encode())

    async def _status(self, _request: Request, _name: str) -> Reply:
        return json_reply(self.watch.status())

    async def _stream(self, _request: Request, _name: str) -> Streamed:
        return streamed(b"text/event-stream", self.watch.follow())

    async def _requests(self, request: Request, _name: str) -> Reply:
        wanted = _Wanted(request.parameters)
        # Of many workers it is many records, to be read one by one: in a thread, where others get their turn.
        recent = await anyio.to_thread.run_sync(self._boards.recent, wanted.among)
        return json_reply({"requests": [record for record in recent if wanted.takes(record)][: wanted.limit]})

    async def _request(self, _request: Request, name: str) -> Reply:
        record = self._boards.find(name)
        if record is None:
            text = "no such request among the recent ones; the request log has those before"
            return problem(404, text)
        journal = await journal_of(self._directory, record.request_id)
        return json_reply({"request": record, "explanation": story_of(record), "journal": journal})

    async def _journal(self, _request: Request, name: str) -> Streamed:
        return await send_journal(self._directory, name)

    async def _explain(self, request: Request, _name: str) -> Reply:
        plan = self._running.gateway.plan
        try:
            asked = request_of_json(request.body)
            told = explain(plan, asked, wall_ns=time.time_ns(), client=request.peer or "127.0.0.1")
        except NotWhole as error:
            return problem(400, f"{error}: is content-length right?")
        except ValueError as error:
            return problem(400, f"expected a request as JSON with method, path, headers, body: {error}")
        shared = plan.config.gateway.store.is_shared
        text = list(lines(told, shares_keys=shared))
        return json_reply({"ending": told.ending, "lines": text, "explanation": told})


class _Wanted:
    """Which of the recent requests are asked for. Raises Refused for what cannot be meant."""

    def __init__(self, parameters: dict[str, str]) -> None:
        unknown = parameters.keys() - {"limit", "consumer", "model", "outcome", "before"}
        if unknown:
            raise Refused(problem(400, "expected none but limit, consumer, model, outcome and before"))
        limit = parameters.get("limit", str(_REQUESTS))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= REQUESTS_MAX):
            raise Refused(problem(400, f"expected limit to be from 1 to {REQUESTS_MAX}"))
        self.limit = int(limit[:9])
        self._outcome = parameters.get("outcome")
        if self._outcome and self._outcome not in _OUTCOMES:
            raise Refused(problem(400, f"expected outcome to be one of {', '.join(_OUTCOMES)}"))
        self._consumer = parameters.get("consumer")
        self._model = parameters.get("model")
        self._before = parameters.get("before")

    @property
    def among(self) -> int:
        """Among how many of the newest they are."""
        chosen = self._outcome or self._consumer or self._model or self._before
        return _KEPT_MAX if chosen else self.limit

    def takes(self, record: LogRecord) -> bool:
        """Whether it is one; asked of each, the newest first."""
        if self._before:
            if record.request_id == self._before:
                self._before = None
            return False
        return (
            (not self._consumer or record.consumer == self._consumer)
            and (not self._model or record.model == self._model)
            and (not self._outcome or record.outcome.value == self._outcome)
        )
