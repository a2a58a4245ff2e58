"""The reference: what each client must finally see, stated without the gateway.

A good answer says what Bedrock said on the call that served it: that call's bytes, as they reached the
gateway, are read by themselves (readings.py) and must say the same, word for word, tool for tool, token for
token. A native answer is Bedrock's body, byte for byte. A shared answer is one that Bedrock gave to the very
same call, and to somebody with whom it may be shared.

Anything else is a refusal or a broken-off answer, and says why. What must have happened for each reason,
`evidence.py` tells: no cause without its deed, and no answer that breaks off without a word.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sim import readings
from sim.callers import Flyer
from sim.evidence import EVIDENCE, TOTAL_NS, Case, key_states
from sim.http_answer import read_answer
from sim.judge import Shared
from sim.readings import UNREADABLE, Reading, Unreadable
from sim.violation import Violation, demand

if TYPE_CHECKING:
    from sim.clients import Answer, Client
    from sim.world import World

_READERS: Final[dict[tuple[str, bool], Callable[[bytes], Reading]]] = {
    ("chat", False): readings.chat,
    ("chat", True): readings.chat_stream,
    ("responses", False): readings.responses,
    ("responses", True): readings.responses_stream,
    ("messages", False): readings.messages,
    ("messages", True): readings.messages_stream,
    ("converse", False): readings.converse,
    ("converse", True): readings.converse_stream,
    ("invoke", False): readings.messages,
    ("invoke", True): readings.invoke_stream,
}
_OF_BEDROCK: Final[dict[str, Callable[[bytes], Reading]]] = {
    "converse": readings.converse,
    "converse-stream": readings.converse_stream,
    "invoke": readings.messages,
    "invoke-with-response-stream": readings.invoke_stream,
}
_NATIVE: Final = ("converse", "invoke")


class Settled(msgspec.Struct):
    """An answer that was judged by itself, and waits for its record."""

    answer: Any
    client: Any
    reading: Reading | None


class Reference:
    """Judges what the clients of a world have seen."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._settled: list[Settled] = []
        self._ids: dict[str, None] = {}
        self.good = 0
        self.refused = 0
        self.broken_off = 0
        self.causes: dict[str, int] = {}

    # ------------------------------------------------------------------------------------------ as they come

    def answered(self, client: "Client", answer: "Answer") -> None:
        """A client has a whole answer."""
        ask = answer.ask
        request_id = answer.header(b"x-request-id")
        who = f"{client.name}, {ask.dialect}{' stream' if ask.stream else ''}, {request_id}"
        demand(request_id and request_id not in self._ids, "two answers of one id, or none", who)
        self._ids[request_id] = None
        reading = None
        if answer.status == 200:
            demand(not (ask.refusals or ask.broken), "what must be refused is answered", who)
            try:
                reading = self._good(answer, request_id, who)
            except (Unreadable, KeyError, ValueError, TypeError, IndexError) as error:
                raise Violation(
                    "an answer is not in its dialect", f"{who}: {error!r}: {bytes(answer.body)[-300:]!r}"
                ) from error
        else:
            self._refused(answer, who)
        self._settled.append(Settled(answer, client, reading))

    def _refused(self, answer: "Answer", who: str) -> None:
        ask = answer.ask
        self.refused += 1
        demand(400 <= answer.status < 600, "an answer of no known kind", f"{who}: {answer.status}")
        demand(answer.header(b"x-should-retry") in ("true", "false"), "an error without x-should-retry", who)
        if answer.status in (429, 503, 529) and answer.header(b"retry-after"):
            demand(0 <= int(answer.header(b"retry-after")) <= 60, "a Retry-After beyond a minute", who)
        error = json.loads(bytes(answer.body))
        if answer.early:
            demand(error, "an error without words", who)  # Its path may not be known yet, nor so its dialect.
        elif ask.dialect in ("messages", "count"):
            demand(error["type"] == "error" and error["error"]["type"], "an error in a foreign dialect", who)
        elif ask.dialect in _NATIVE:
            demand("message" in error, "an error in a foreign dialect", who)
        elif not ask.broken:
            demand(error["error"]["message"], "an error in a foreign dialect", who)
        if ask.refusals:
            world = self._world
            usual = answer.status in ask.refusals or (
                answer.status == 503 and world.shell.draining is not None
            )
            demand(
                usual or (answer.status == 408 and answer.early),
                "refused otherwise than it must be",
                f"{who}: {answer.status}",
            )

    def _good(self, answer: "Answer", request_id: str, who: str) -> Reading | None:
        ask, body = answer.ask, bytes(answer.body)
        if ask.dialect == "models":
            demand(isinstance(json.loads(body)["data"], list), "no list of models", who)
            return None
        reader = _READERS.get((ask.dialect, ask.stream))
        try:
            reading = None if reader is None else reader(body)
        except Unreadable:
            if ask.dialect in _NATIVE and ask.scenario and self._served(request_id, who)[1] == body:
                return None  # What Bedrock says to its own callers is theirs to understand.
            raise
        if reading is not None and reading.error == UNREADABLE and self._served(request_id, who)[1] == body:
            return None  # Likewise of a native stream, whose frames are sound around what is not.
        if reading is not None and not reading.complete:
            demand(
                ask.stream and reading.error, "an answer ends without saying how", f"{who}: {body[-200:]!r}"
            )
            self.broken_off += 1
            self._begun(reading, request_id, who)
            return reading
        call, source = self._served(request_id, who)
        if ask.dialect == "count":
            demand(
                json.loads(body)["input_tokens"] == json.loads(source)["inputTokens"], "another count", who
            )
            return None
        if ask.dialect == "embeddings":
            told, given = json.loads(body), json.loads(source)
            demand(told["data"][0]["embedding"] == given["embedding"], "another vector", who)
            return None
        assert reading is not None
        self.good += 1
        self._same(reading, call, source, who)
        if ask.dialect in _NATIVE and not ask.scenario:
            demand(body == source, "a native answer is not Bedrock's own bytes", who)
        return reading

    def _begun(self, reading: Reading, request_id: str, who: str) -> None:
        """What there is of an answer that breaks off is the beginning of what Bedrock said."""
        if not reading.text:
            return
        call, source = self._served(request_id, who)
        given = _OF_BEDROCK[_operation(call)](source)
        demand(given.text.startswith(reading.text), "an answer says something else than Bedrock", who)

    def _same(self, reading: Reading, call: bytes, source: bytes, who: str) -> None:
        try:
            given = _OF_BEDROCK[_operation(call)](source)
        except Unreadable as error:
            raise Violation("a success that Bedrock did not give", f"{who}: {error}") from error
        demand(given.complete and not given.error, "a success that Bedrock did not finish", who)
        if reading.told() != given.told():
            raise Violation("an answer says something else than Bedrock", f"{who}: {reading} for {given}")
        for name in ("input_tokens", "output_tokens", "cached_tokens"):
            told, meant = getattr(reading, name), getattr(given, name)
            demand(
                told is None or told == meant, f"other {name} than Bedrock's", f"{who}: {told} for {meant}"
            )

    def _served(self, request_id: str, who: str) -> tuple[bytes, bytes]:
        """The call that served a request, and the body that Bedrock gave."""
        judge = self._world.judge
        shared = judge.shared.get(request_id)
        calls = judge.calls_by_request.get(request_id)
        if shared and not calls:  # A kept answer that nobody can read is as good as none: then it has called.
            last = shared[-1]
            self._shareable(bytes(last.body), last.order.call.body, request_id, who)
            return last.order.call.target + b" ", bytes(last.body)
        demand(calls, "an answer to which nobody was asked", who)
        assert calls is not None
        answer = read_answer(bytes(calls[-1].heard))
        demand(answer is not None and answer.status == 200, "a success that Bedrock did not give", who)
        assert answer is not None
        return calls[-1].data, answer.body

    def _shareable(self, body: bytes, asked: bytes, request_id: str, who: str) -> None:
        """A shared answer is what Bedrock gave to the same call, for the same consumer if only they share."""
        world = self._world
        judge = world.judge
        consumer = judge.consumers[request_id]
        for call in judge.calls:
            if call.body == asked and type(call.caller) is Flyer:
                answer = read_answer(bytes(call.heard))
                if answer is None or answer.body[: len(body)] != body:
                    continue
                if world.features.cache_scope == "global" or judge.orderers[call.caller.number] == consumer:
                    return
        raise Violation("a shared answer that nobody was given, or not for this consumer", who)

    def closed(self, client: "Client", *, lost: bool) -> None:
        """The gateway has closed a client's connection."""
        world = self._world
        # Bytes that the gateway had no time left to send, or that a reset has destroyed, prove nothing.
        lacks = client.end.missed or client.end.peer.dropped
        if client.half is not None:
            demand(lacks, "an answer breaks off without a word", f"{client.name}, lost: {lost}")
            return
        at = len(client.answers)
        waiting = client.asks[at:]
        if lacks or not waiting or waiting[0].sent_at < 0 or waiting[0].broken:
            return
        before = client.answers[-1] if at else None
        if before is not None and (
            before.header(b"connection") == "close" or before.ask.closes or before.ask.broken
        ):
            return
        session = client.attended_by
        ending = None if session is None else world.judge.endings.get(session)
        if ending is not None and ending.emitted <= at:
            # Its session has made nothing of it.
            never_heard = ending.heard_bytes <= sum(len(ask.data) for ask in client.asks[:at])
            if world.shell.draining is not None or (ending.idle and never_heard):
                return
        raise Violation("a request is not answered", f"{client.name}: {waiting[0].data[:80]!r}")

    # ------------------------------------------------------------------------------------------- in the end

    def finish(self) -> None:
        """Each answer has its record, and each record its reason."""
        judge = self._world.judge
        for request_id in judge.admitted:
            demand(request_id in judge.records, "an exchange without a record", request_id)
        # The call, its repetitions, one with newer credentials; each may meet a kept connection that fails.
        most = 2 * (2 + (self._world.features.retries if self._world.features.has("retries") else 0))
        for request_id, calls in judge.calls_by_request.items():
            demand(len(calls) <= most, "a call is made again and again", f"{request_id}: {len(calls)} times")
        for shared in (one for several in judge.shared.values() for one in several):
            self._whole(shared)
        for record in judge.records.values():
            self._in_time(record)
            cause = record.get("cause")
            if cause:
                self.causes[cause] = self.causes.get(cause, 0) + 1
        for settled in self._settled:
            if not settled.answer.ask.broken:
                self._match(settled)

    def _whole(self, shared: Shared) -> None:
        """A shared answer that has ended well, or was kept, is one that Bedrock has finished."""
        call = shared.order.call
        if shared.ended and call.stream:
            given = _OF_BEDROCK[_operation(call.target + b" ")](bytes(shared.body))
            # A native stream's own events are not the gateway's to understand, nor are broken ones.
            whole = given.complete or given.error == UNREADABLE
            demand(whole, "a shared answer ends well that is not whole", shared.request_id)

    def _in_time(self, record: dict[str, Any]) -> None:
        """No exchange outlives its total limit, but for what its ticker is late."""
        most_ms = (TOTAL_NS + self._world.features.lateness_ns) / 1_000_000
        demand(record["total_ms"] <= most_ms, "an exchange outlives its time", str(record))

    def _limited(self, request_id: str, who: str) -> None:
        """Whoever is answered has been let pass by a store, or none could be asked."""
        world = self._world
        if world.features.has("limits") and not world.judge.witness.of(request_id).unanswered:
            passed = any(request_id in ledger.allowed for ledger in world.ledgers)
            demand(passed, "a request is answered that no limit has let pass", who)

    def _let_in(self, ask: Any, request_id: str, record: dict[str, Any], who: str) -> None:
        """Whoever is answered to a key of the store's has one that is good, as far as can be known."""
        world = self._world
        begun_at = world.judge.emitted_at[request_id] - round(record["total_ms"] * 1_000_000)
        demand(True in key_states(world, ask.consumer, begun_at), "a key opens that is none", who)

    def _match(self, settled: Settled) -> None:
        answer, ask = settled.answer, settled.answer.ask
        request_id = answer.header(b"x-request-id")
        who = f"{settled.client.name}, {ask.dialect}, {request_id}"
        record = self._world.judge.records.get(request_id)
        cause = "" if record is None else record.get("cause", "")
        if record is None:
            demand(answer.status in (408, 413, 431), "an answer without a record", f"{who}: {answer.status}")
            return
        demand(record["status"] == answer.status, "the record says another status", f"{who}: {record}")
        good = answer.status == 200 and (settled.reading is None or settled.reading.complete)
        if good:
            demand(record["outcome"] != "failed", "a good answer is recorded as none", f"{who}: {record}")
            self._limited(request_id, who)
            if ask.live:
                self._let_in(ask, request_id, record, who)
            return
        demand(record["outcome"] != "complete", "a failure is recorded as a success", f"{who}: {record}")
        if not ask.refusals:
            self._justify(cause, settled, request_id, record, who)

    def _justify(
        self, cause: str, settled: Settled, request_id: str, record: dict[str, Any], who: str
    ) -> None:
        evidence = EVIDENCE.get(cause)
        demand(evidence is not None, "a good request fails for a reason that cannot be", f"{who}: {record}")
        assert evidence is not None
        case = Case(self._world, settled.client.attended_by, settled.answer.ask, request_id, record)
        demand(evidence(case), "a failure without its cause", f"{who}: {record}")


def _operation(call: bytes) -> str:
    target = call.split(b" ")[1] if call.startswith(b"POST") else call.split(b" ")[0]
    return target.rpartition(b"/")[2].decode()
