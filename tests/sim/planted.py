"""Planted bugs: faults that gateways really have, each of which the simulated worlds must find.

A simulator that finds nothing may be looking at nothing. So here are changes to the core, one at a time: what
other gateways do wrong (a stream that breaks off and ends as if it had not, a lease lent twice, a limit that
counts what it refused), and what slips into a state machine (a late fact taken for a new one, a timer that is
never moved on). Each is a piece of a module's text and what stands in its place. `plant` puts one into an
interpreter that has not imported the core yet: the module's text is changed as it is read, nothing on disk.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Final, NamedTuple


class Bug(NamedTuple):
    """One change. `before` stands exactly once in the module."""

    name: str
    kind: str
    """Of pain: what users of gateways complain of in its like."""
    module: str
    """Below stargate_core."""
    before: str
    after: str


BUGS: Final[Sequence[Bug]] = (
    # -------------------------------------------------------------------------------- streams that do not say
    Bug(
        "a stream without its usage ends well",
        "streams",
        "dialects.converse_stream",
        "        if self._stop is None or self._metadata is None:\n            return ()\n",
        "        if self._stop is None:\n            return ()\n"
        "        self._metadata = self._metadata or Metadata()\n",
    ),
    Bug(
        "a stream that breaks off ends well",
        "streams",
        "gateway.answering",
        'fault = Fault(Cause.STREAM_CUT, detail="the stream ended before Bedrock\'s own end")',
        "return _complete(exchange, state, now, produced, None, out)",
    ),
    Bug(
        "exceptions inside a stream are passed over",
        "streams",
        "gateway.answering",
        "                fault = _fault_of_frame(frame)\n                break",
        "                continue",
    ),
    Bug(
        "a frame's checksum is not looked at",
        "streams",
        "wire.eventstream",
        "if zlib.crc32(raw[8:-4], prelude_crc) != message_crc:",
        "if message_crc < 0:",
    ),
    Bug(
        "a byte is lost where upstream's bytes are cut",
        "streams",
        "wire.eventstream",
        "self._rest += whole[at:]",
        "self._rest += whole[at + 1 :]",
    ),
    Bug(
        "what was held back is written twice behind a keep-alive",
        "streams",
        "gateway.answering",
        "            state.held.clear()\n",
        "",
    ),
    Bug(
        "what was held back is forgotten when the stream is complete",
        "streams",
        "gateway.answering",
        'produced = b"".join((*state.held, produced))',
        "pass",
    ),
    Bug(
        "an error inside a stream is followed by the end of a good one",
        "streams",
        "gateway.exchange",
        "codec.chunk(self.translator.broken(fault)) + codec.end()",
        "codec.chunk(self.translator.broken(fault) + self.translator.finish()) + codec.end()",
    ),
    Bug(
        "parallel tool calls all have the same number",
        "streams",
        "dialects.openai_chat_stream",
        "number = len(self._tools)\n",
        "number = 0\n",
    ),
    Bug(
        "tokens read from the prompt cache are counted twice",
        "tokens",
        "dialects.openai_chat_answer",
        "prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens",
        "prompt = usage.input_tokens + 2 * usage.cache_read_tokens + usage.cache_write_tokens",
    ),
    # --------------------------------------------------------------------------------------- calls and leases
    Bug(
        "who leaves leaves its call running",
        "leaving",
        "gateway.exchange",
        'there to be answered: free what is held, and settle."""\n        self.let_go(out)',
        'there to be answered: free what is held, and settle."""',
    ),
    Bug(
        "a lease that came too late is never given back",
        "connections",
        "gateway.session",
        '    """A lease nobody waits for goes back clean."""\n    out.append(ReleaseUpstream(event.lease))\n',
        "",
    ),
    Bug(
        "a connection on which an answer is unfinished carries the next call",
        "connections",
        "gateway.exchange",
        "out.append(ReleaseUpstream(call.lease) if call.reusable else DropUpstream(call.lease))",
        "out.append(ReleaseUpstream(call.lease))",
    ),
    Bug(
        "bytes behind an answer are taken for the next one's",
        "connections",
        "gateway.upstream",
        "return self.ended and self._codec.reusable",
        "return self.ended",
    ),
    Bug(
        "the pool keeps what was given back dirty",
        "connections",
        "gateway.pool",
        "        if clean:\n",
        "        if clean or shelf.waiting:\n",
    ),
    Bug(
        "a connection that failed to open counts for ever",
        "connections",
        "gateway.pool",
        "        del self._where[connection]\n        shelf.count -= 1\n        if len(shelf.waiting)",
        "        del self._where[connection]\n        if len(shelf.waiting)",
    ),
    Bug(
        "the pool opens one connection more than it may",
        "connections",
        "gateway.pool",
        "if shelf.count >= self._limits.connections_max:",
        "if shelf.count > self._limits.connections_max:",
    ),
    Bug(
        "a call is made anew after the caller has read its beginning",
        "connections",
        "gateway.calling",
        "if exchange.head_written or exchange.host.draining:",
        "if exchange.host.draining:",
    ),
    Bug(
        "a connection that closes unasked is tried without end",
        "connections",
        "gateway.answering",
        "if call.reused and not exchange.head_written:",
        "if not exchange.head_written:",
    ),
    Bug(
        "bytes of a lease that was given back are this call's",
        "connections",
        "gateway.answering",
        '    """More of the answer."""\n    call = state.call\n    if event.lease != call.lease or not',
        '    """More of the answer."""\n    call = state.call\n    if not',
    ),
    Bug(
        "the answer to a question that was withdrawn is this one's",
        "questions",
        "gateway.calling",
        "    if event.ticket != state.ticket:\n        return state\n    exchange.state = SETTLED  # Nothing",
        "    exchange.state = SETTLED  # Nothing",
    ),
    # ------------------------------------------------------------------------------------------------- limits
    Bug(
        "a fixed window lets one more through",
        "limits",
        "limits.rule",
        "if self.count + cost <= limit:",
        "if self.count + cost <= limit + 1:",
    ),
    Bug(
        "a sliding window lets one more through",
        "limits",
        "limits.rule",
        "excess = self.total + cost - limit\n",
        "excess = self.total + cost - limit - 1\n",
    ),
    Bug(
        "what was refused is counted",
        "limits",
        "limits.rule",
        "    if refused < 0:\n        until_us",
        "    if claims:\n        until_us",
    ),
    Bug(
        "a place among calls at a time is never given back",
        "limits",
        "limits.rule",
        '        """Release the lease, whatever was used of it."""\n        self.release(lease)',
        '        """Release the lease, whatever was used of it."""',
    ),
    Bug(
        "what the store took for one who has left stays taken",
        "limits",
        "gateway.redis_link",
        "if isinstance(question, Take) and isinstance(answer, Verdict) and answer.allowed:",
        "if isinstance(question, Take) and isinstance(answer, Verdict) and not answer.allowed:",
    ),
    Bug(
        "an answer of the store's that comes late is the next question's",
        "limits",
        "gateway.redis_link",
        "        call.over = True\n        within = f",
        "        call.over = True\n"
        "        self._flight = deque(one for one in self._flight if one is not call)\n"
        "        within = f",
    ),
    Bug(
        "nobody is told that the store is down",
        "limits",
        "gateway.redis_link",
        "        for call in tuple(self._tickets.values()):\n"
        "            self._fail_ticket(call, self._why_down",
        "        for call in ():\n            self._fail_ticket(call, self._why_down",
    ),
    # -------------------------------------------------------------------------------------------------- cache
    Bug(
        "an answer that broke off is kept",
        "cache",
        "gateway.cache",
        "if event.fault is None and event.worth_keeping and flight.keepable:",
        "if flight.keepable:",
    ),
    Bug(
        "who was paused is told everything from the beginning",
        "cache",
        "gateway.cache",
        "            follower.piece, follower.taken = flight.dropped + len(flight.pieces), flight.total\n",
        "",
    ),
    Bug(
        "tenants see each other's answers",
        "cache",
        "gateway.cache_key",
        '        scope.encode(errors="surrogatepass"),\n',
        "",
    ),
    Bug(
        "different questions are the same to the cache",
        "cache",
        "gateway.cache_key",
        "    digest.update(call.body)\n",
        "",
    ),
    Bug(
        "what the first caller's call fails at, all who wait are told",
        "cache",
        "gateway.cache",
        "told = followers[:1] if again else followers",
        "told = followers",
    ),
    # ----------------------------------------------------------------------------------------- time, and ends
    Bug(
        "a caller that reads slowly is taken for a silent model",
        "time",
        "gateway.answering",
        "Timer.STEP)\n    exchange.timers.disarm(Timer.KEEPALIVE)\n    exchange.stalled_at",
        "Timer.KEEPALIVE)\n    exchange.stalled_at",
    ),
    Bug(
        "a keep-alive that is due while a connection opens stays due",
        "time",
        "gateway.calling",
        "        exchange.timers.arm(Timer.KEEPALIVE, now + _LOOK_AGAIN_NS)\n",
        "        pass\n",
    ),
    Bug(
        "nothing ends a silent stream",
        "time",
        "gateway.answering",
        "        exchange.arm_step(now, exchange.host.plan.limits.idle_ns)\n        return state\n    tr",
        "        exchange.timers.disarm(Timer.STEP)\n        return state\n    tr",
    ),
    Bug(
        "an idle connection outlives draining",
        "ends",
        "gateway.session",
        "    if isinstance(state, Waiting):\n        return session.close(out)\n"
        "    session.timers.arm(Timer.G",
        "    session.timers.arm(Timer.G",
    ),
    Bug(
        "a request behind a connection's end is answered",
        "ends",
        "gateway.session",
        "if self.draining or not self.codec.keep_alive:",
        "if self.draining:",
    ),
    Bug(
        "a request that is running changes its configuration",
        "reload",
        "gateway.session",
        "        if not isinstance(self.state, Exchanging):\n            self._renew()",
        "        self._renew()",
    ),
    Bug(
        "two requests have one id",
        "records",
        "entropy",
        "        self.count += 1\n",
        "        self.count |= 1\n",
    ),
    Bug(
        "one request leaves two records",
        "records",
        "gateway.exchange",
        "            settle(self, now, out)\n        return SETTLED",
        "            settle(self, now, out)\n"
        "            if self.repeats:\n                settle(self, now, out)\n"
        "        return SETTLED",
    ),
    Bug(
        "one whom the gateway has refused for its body's two lengths is answered after all",
        "smuggling",
        "wire.http1.framing",
        "    if length is not None:\n        raise ProtocolError(Reason.TWO_FRAMINGS",
        "    if length is None and coding is None:\n        raise ProtocolError(Reason.TWO_FRAMINGS",
    ),
)
PACKAGE: Final = "stargate_core"


class BadPatch(Exception):
    """A bug's text does not stand exactly once in its module any more."""


def planted(source: str, bug: Bug) -> str:
    """The module's text with the bug in it. Raises BadPatch."""
    count = source.count(bug.before)
    if count != 1:
        raise BadPatch(f"{bug.name!r}: what it changes stands {count} times in {bug.module}")
    return source.replace(bug.before, bug.after)


class _Loader(importlib.machinery.SourceFileLoader):
    """Reads a module with a bug in it; nothing of it is kept on disk."""

    bug: Bug

    def get_code(self, fullname: str) -> CodeType:
        """Compiled anew, whatever was compiled before."""
        path = self.get_filename(fullname)
        source = self.get_source(fullname)
        assert source is not None
        return compile(planted(source, self.bug), path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module that is changed."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As importlib wants it."""
        if fullname != f"{PACKAGE}.{self._bug.module}":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            loader = _Loader(spec.loader.name, spec.loader.path)
            loader.bug = self._bug
            spec.loader = loader
        return spec


def plant(bug: Bug) -> None:
    """Put a bug into this interpreter, which must not have imported the core yet."""
    assert not any(name.partition(".")[0] == PACKAGE for name in sys.modules), "the core is imported already"
    sys.meta_path.insert(0, _Finder(bug))
