"""One connection to the simulated Bedrock: a pure machine over bytes and events.

    handle(now_ns, event) -> list[Command]      # now: monotonic nanoseconds
    deadline                                    # when to be called with Ticked at the latest

It reads requests with h11 (not with the gateway's own codec, which it thereby checks), has each one planned
whole, and performs the plan's steps as time allows. When there is nothing to do it waits for the peer, for
its deadline, or (`Stall`) for the peer to leave.

Rules that do not show in the code:

- A peer that closes its sending side while an answer is under way counts as gone. HTTP/1.1 clients do not
  half-close, and noticing who leaves is what the simulator is for.
- Pipelined requests wait inside h11 until the answer before them is done; their bytes are bounded.
- Steps between two waits become one `Write`, unless a `Flush` stands between them.
- A wait is counted from when the one before it should have ended, so that a slow reader does not change the
  pace.
"""

import email.utils
import functools
import http
import random
import uuid
from typing import Final, assert_never

import h11
import msgspec

from stargate.simulator import ledger_pages
from stargate.simulator.answers import Request
from stargate.simulator.errors import refuse
from stargate.simulator.events import Headers
from stargate.simulator.ledger import Exchange, Ledger, Outcome
from stargate.simulator.messages import Abort, Close, Command, Ended, Event, Lost, Received, Ticked, Write
from stargate.simulator.plan import (
    Body,
    CloseOnReuse,
    End,
    Flush,
    HangUp,
    Head,
    Plan,
    Raw,
    Reset,
    Stall,
    Step,
    Wait,
    document_plan,
)
from stargate.simulator.planner import plan_answer
from stargate.simulator.settings import Settings
from stargate.simulator.voices import error_plan

_HEAD_BYTES_MAX: Final = 65_536
_PIPELINED_BYTES_MAX: Final = 1_048_576
_CLOSING: Final[Headers] = [(b"Connection", b"close")]


class SimulatedConnection:
    """One client's connection. `deadline` is None when only the peer can bring news."""

    def __init__(self, settings: Settings, seed: int, ledger: Ledger | None = None) -> None:
        self.deadline: int | None = None
        self._settings = settings
        self._rng = random.Random(seed)  # noqa: S311  (nothing secret is drawn from it)
        self._ledger = (
            Ledger(settings.requests_kept, settings.kept_body_bytes_max) if ledger is None else ledger
        )
        self._ledger.connected()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._now_ns = 0
        self._clock_ns = 0
        """Where in time the plan stands: at or before now."""
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._exchange: Exchange | None = None
        """The request being answered; None for one that concerns the simulator itself."""
        self._plan: Plan | None = None
        self._at = 0
        self._answered = False
        self._close_on_reuse = False
        self._closed = False
        self._pending: list[bytes] = []
        self._commands: list[Command] = []

    def handle(self, now_ns: int, event: Event) -> list[Command]:
        """Tell the machine what has happened; it tells what to do. Never raises on what a peer sends."""
        if self._closed:
            return []
        self._now_ns = now_ns
        match event:
            case Received(data):
                self._receive(data)
            case Ended():
                self._peer_left(Close())
            case Lost():
                self._peer_left(None)
            case Ticked():
                if self.deadline is not None and now_ns >= self.deadline:
                    self._clock_ns = self.deadline
                    self.deadline = None
                    self._run()
            case _:
                assert_never(event)
        self._flush()
        commands, self._commands = self._commands, []
        return commands

    def _receive(self, data: bytes) -> None:
        if not data:
            return  # to h11 no bytes would mean the end
        if self._close_on_reuse:
            self._close(Close())
            return
        self._http.receive_data(data)
        if self._plan is None:
            self._run()
        elif len(self._http.trailing_data[0]) > _PIPELINED_BYTES_MAX:
            self._end(Outcome.BROKEN)
            self._close(Abort())

    def _peer_left(self, command: Command | None) -> None:
        inside = self._exchange is None and (self._request is not None or bool(self._http.trailing_data[0]))
        self._end(Outcome.CANCELLED)
        self._close(command, inside_request=inside)

    def _run(self) -> None:
        """Go on until there is something to wait for."""
        while not self._closed:
            if not (self._read() if self._plan is None else self._perform()):
                return

    # ------------------------------------------------------------------------------------------------
    # requests

    def _read(self) -> bool:
        """Read one event of the request; False: there is none yet."""
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            body = msgspec.json.encode({"message": str(error)})
            self._start(document_plan(error.error_status_hint, _CLOSING, body))
            return True
        if isinstance(event, h11.Request):
            self._request = event
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > self._settings.body_bytes_max:
                self._start(error_plan(refuse("RequestEntityTooLargeException").error, _CLOSING))
        elif isinstance(event, h11.EndOfMessage):
            self._answer()
        else:
            # Needs data; or is paused after a request that ends the connection, which its answer's end has
            # closed.
            return False
        return True

    def _answer(self) -> None:
        request, self._request = self._request, None
        assert request is not None
        body = bytes(self._body)
        self._body.clear()
        page = ledger_pages.plan(self._ledger, request.method, request.target, body)
        if page is not None:
            self._start(page)
            return
        headers = list(request.headers)
        self._exchange = self._ledger.begin(request.method, request.target, headers, body)
        whole = Request(request.method, request.target, headers, body)
        plan = plan_answer(self._settings, whole, self._exchange, self._wall_ns, self._rng, self._ledger)
        self._start(plan)

    @property
    def _wall_ns(self) -> int:
        return self._settings.wall_epoch_ns + self._now_ns

    # ------------------------------------------------------------------------------------------------ answers

    def _start(self, plan: Plan) -> None:
        self._plan = plan
        self._at = 0
        self._answered = False
        self._clock_ns = self._now_ns

    def _perform(self) -> bool:
        """Perform steps until one waits (False) or the plan is over (True)."""
        assert self._plan is not None
        while self._at < len(self._plan):
            step = self._plan[self._at]
            if isinstance(step, Wait):
                due = self._clock_ns + step.ns
                if due > self._now_ns:
                    self.deadline = due
                    self._at += 1
                    return False
                self._clock_ns = due
            elif isinstance(step, Stall):
                return False
            else:
                self._do(step)
                if self._closed:
                    return True
            self._at += 1
        self._finish()
        return True

    def _do(self, step: Step) -> None:
        match step:
            case Body(data, _, events):
                self._send(h11.Data(data=data))
                if self._exchange is not None:
                    self._exchange.events_sent += events
            case Head(status, headers):
                if self._exchange is not None:
                    self._exchange.status = status
                everything = [*self._usual_headers(headers), *headers]
                self._send(h11.Response(status_code=status, headers=everything, reason=_reason(status)))
            case End():
                self._send(h11.EndOfMessage())
                self._answered = True
            case Flush():
                self._flush()
            case Raw(data):
                self._pending.append(data)
            case CloseOnReuse():
                self._close_on_reuse = True
            case HangUp(abrupt):
                self._break(Close(abrupt))
            case Reset():
                self._break(Abort())
            case Wait() | Stall():
                raise AssertionError("performed by the caller")
            case _:
                assert_never(step)

    def _usual_headers(self, headers: Headers) -> Headers:
        """The date and the request's id, which every answer of AWS's has; but not a balancer's."""
        names = {name.lower() for name, _ in headers}
        usual = [(b"Date", _http_date(self._wall_ns // 1_000_000_000))]
        if not names & {b"x-amzn-requestid", b"server"}:
            usual.append(
                (b"x-amzn-RequestId", str(uuid.UUID(int=self._rng.getrandbits(128), version=4)).encode())
            )
        return usual

    def _finish(self) -> None:
        """The plan is over: make ready for the next request, or close."""
        self._plan = None
        self._end(Outcome.COMPLETE)
        http = self._http
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            if self._close_on_reuse and http.trailing_data[0]:
                self._close(Close())
            else:
                http.start_next_cycle()
        else:
            self._close(Close())

    def _break(self, command: Command) -> None:
        self._end(Outcome.COMPLETE if self._answered else Outcome.BROKEN)
        self._close(command)

    def _end(self, outcome: Outcome) -> None:
        """Note how the exchange under way ended."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        phase = ""
        if outcome is Outcome.CANCELLED:
            phase = "mid-stream" if exchange.events_sent else "before-first-event"
            phase = phase if exchange.status else "before-headers"
        self._ledger.end(exchange, outcome, phase)

    # ------------------------------------------------------------------------------------------------ output

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._pending.append(data)

    def _flush(self) -> None:
        if self._pending:
            self._commands.append(Write(b"".join(self._pending)))
            self._pending.clear()

    def _close(self, command: Command | None, *, inside_request: bool = False) -> None:
        self._flush()
        self._closed = True
        self.deadline = None
        self._plan = None
        self._ledger.disconnected(inside_request=inside_request)
        if command is not None:
            self._commands.append(command)


def _reason(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


@functools.lru_cache(maxsize=4)
def _http_date(epoch_seconds: int) -> bytes:
    return email.utils.formatdate(epoch_seconds, usegmt=True).encode()
