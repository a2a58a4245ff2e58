"""The states of an exchange: what is known in each of them that the others have no word for.

What they mean, and in which order they come, stands in exchange.py; the rules are in the files of its table.
"""

from typing import Any, Final, TypeAlias

from stargate_core.config.schema import Consumer
from stargate_core.dialects.face import Call
from stargate_core.direction import Sharing
from stargate_core.faults import Fault
from stargate_core.gateway.plan import Hook
from stargate_core.gateway.upstream import IncomingAnswer, SharedAnswer
from stargate_core.phases import Phase
from stargate_core.script import Runner


class Admitting:
    """Hooks run; `runner` is the script of the one that waits."""

    __slots__ = ("answer", "call", "consumer", "hooks", "index", "phase", "runner", "ticket")

    def __init__(self, phase: Phase, hooks: tuple[Hook, ...]) -> None:
        self.phase = phase
        self.hooks = hooks
        self.index = 0
        self.runner: Runner | None = None
        self.ticket = 0
        """Of the question, or the call, that the script waits for; 0: it sleeps."""
        self.call: SharedAnswer | None = None
        """The answer to the call that it waits for; None: it waits for no call."""
        self.answer: Any = None
        """What the script goes on with; WaitFailed where there is no answer."""
        self.consumer: Consumer | None = None
        """Whose configuration the hooks are."""


class Asking:
    """Somebody has been asked whether, or with what, the call may be made at the direction of number `at`.

    fault: why an earlier attempt has failed; None before the first.
    """

    __slots__ = ("at", "fault", "ticket")

    def __init__(self, ticket: int, at: int, fault: Fault | None) -> None:
        self.ticket = ticket
        self.at = at
        self.fault = fault


class Pausing:
    """An attempt has failed; the next one, at the direction of number `at`, is to be made in a while."""

    __slots__ = ("at", "fault")

    def __init__(self, at: int, fault: Fault) -> None:
        self.at = at
        self.fault = fault


class Opening:
    """A lease is wanted; a `fresh` one, where a kept connection has just failed."""

    __slots__ = ("fresh", "ticket")

    def __init__(self, ticket: int, fresh: bool) -> None:
        self.ticket = ticket
        self.fresh = fresh


class Awaiting:
    """The call is written, or its shared answer ordered."""

    __slots__ = ("call",)

    def __init__(self, call: IncomingAnswer) -> None:
        self.call = call


class Collecting(Awaiting):
    """A plain answer or an error arrives."""

    __slots__ = ()


class Peeking(Awaiting):
    """A stream arrives; what it has produced is held back."""

    __slots__ = ("held", "size")

    def __init__(self, call: IncomingAnswer) -> None:
        super().__init__(call)
        self.held: list[bytes] = []
        self.size = 0


class Streaming(Awaiting):
    """A stream flows."""

    __slots__ = ()


class Tailing(Awaiting):
    """Bedrock's own end has been passed on.

    `passing`: a native stream, which is passed on to its very last byte; its HTTP end is still to be written.
    """

    __slots__ = ("passing",)

    def __init__(self, call: IncomingAnswer, passing: bool) -> None:
        super().__init__(call)
        self.passing = passing


class Gathering:
    """Several calls are made for one request; their answers arrive."""

    __slots__ = ("answers", "awaited", "calls", "ordered", "sharing", "size")

    def __init__(self, calls: tuple[Call, ...], sharing: Sharing) -> None:
        self.calls = calls
        self.sharing = sharing
        self.ordered = 0
        """How many of the calls have been ordered."""
        self.answers: list[SharedAnswer] = []
        """Theirs, in the order of the calls."""
        self.awaited: dict[int, SharedAnswer] = {}
        """By ticket: those that are not whole yet."""
        self.size = 0
        """Their bytes so far."""


class Settled:
    """Over."""

    __slots__ = ()


State: TypeAlias = (
    Admitting
    | Asking
    | Pausing
    | Opening
    | Awaiting
    | Collecting
    | Peeking
    | Streaming
    | Tailing
    | Gathering
    | Settled
)

SETTLED: Final = Settled()
