"""Asking: what a plugin waits for when it asks the process a question, or makes a call of its own.

`Asking` is the Pending (script.py) of a question (questions.py): inert until it is yielded, then an `Ask` on
its way to whoever answers. Where no answer can be had, WaitFailed is raised at the `yield from`, with the
reason.

`Calling` is the Pending of a call to Bedrock beside the caller's own. It is ordered like a shared answer
(gateway/following.py), so the gateway's signatures, connections, repetitions and breakers serve it too, and
nothing of it is kept or shared. Its answer is the body of a 200; CallFailed, which is a WaitFailed, has the
fault otherwise.
"""

from typing import TypeVar

from stargate_core.dialects.face import Call
from stargate_core.faults import Fault
from stargate_core.questions import Question
from stargate_core.script import Ledger, Pending, WaitFailed

T = TypeVar("T")


class Asking(Pending[T]):
    """Wait for the answer to a question. Whoever makes one knows the answer's type."""

    __slots__ = ("question",)

    def __init__(self, ledger: Ledger, question: Question) -> None:
        super().__init__(ledger)
        self.question = question


class Calling(Pending[bytes]):
    """Wait for the answer to a call to Bedrock. timeout_ns: repetitions included."""

    __slots__ = ("call", "timeout_ns")

    def __init__(self, ledger: Ledger, call: Call, timeout_ns: int) -> None:
        super().__init__(ledger)
        self.call = call
        self.timeout_ns = timeout_ns


class CallFailed(WaitFailed):
    """A call of a plugin's own has no good answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.cause.name)
        self.fault = fault
