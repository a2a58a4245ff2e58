"""Asking: what a plugin waits for when it asks the process a question.

`Asking` is the Pending (script.py) of a question (questions.py): inert until it is yielded, then an `Ask` on
its way to whoever answers. Where no answer can be had, WaitFailed is raised at the `yield from`, with the
reason.
"""

from typing import TypeVar

from stargate_core.questions import Question
from stargate_core.script import Ledger, Pending

T = TypeVar("T")


class Asking(Pending[T]):
    """Wait for the answer to a question. Whoever makes one knows the answer's type."""

    __slots__ = ("question",)

    def __init__(self, ledger: Ledger, question: Question) -> None:
        super().__init__(ledger)
        self.question = question
