"""What a run has measured so far, in a bounded space however long it is.

Every duration counts from the moment at which its request was due, so the time in which it waited for a
connection, or for this program, is the server's to answer for. Of the latter, what the program itself was
late by, is kept apart: where that is much, the machine that measures is too slow for the rate, and the report
says so.

Along the run figures are kept for `BINS` equal parts of it, by when requests were due, with one more part for
all that ends after the last one was sent.
"""

from typing import Final

from stargate.benching.answer import Answered, Failed, Outcome
from stargate.benching.histogram import Histogram

BINS: Final = 60
KINDS_MAX: Final = 24
"""Of failures; what comes then is `other`."""
_OTHER: Final = "other"


class Failures:
    """How often something failed in one way, and what was said the first time that something was said."""

    __slots__ = ("count", "example")

    def __init__(self) -> None:
        self.count = 0
        self.example = ""


class Bin:
    """A part of the run."""

    __slots__ = ("answered", "due", "failed", "first", "whole")

    def __init__(self) -> None:
        self.due = 0
        self.answered = 0
        """Answers that came in it, whenever they were due."""
        self.failed = 0
        self.first = Histogram()
        """Of those that were due in it."""
        self.whole = Histogram()


class Tally:
    """Adds up. Moments are in nanoseconds from the beginning of the run."""

    def __init__(self, duration_ns: int) -> None:
        assert duration_ns > 0
        self.duration_ns = duration_ns
        self.due = 0
        self.answered = 0
        self.failed = 0
        self.tokens = 0
        self.are_tokens_told = True
        self.crowded = 0
        """Requests that found all connections in use when they were due."""
        self.unsent = 0
        """Requests that were due and for which no connection became free in time."""
        self.under_way = 0
        self.ended_at = 0
        """When the last answer or failure came."""
        self.first = Histogram()
        self.between = Histogram()
        self.whole = Histogram()
        self.late = Histogram()
        """By how much this program was late."""
        self.failures: dict[str, Failures] = {}
        self.bins = [Bin() for _ in range(BINS + 1)]

    def bin_of(self, at: int) -> Bin:
        """The part of the run that a moment is in."""
        return self.bins[min(BINS, at * BINS // self.duration_ns)]

    def begin(self, due_at: int, late_ns: int) -> None:
        """A request is sent. late_ns: how long after it was due, or could be sent, this program did so."""
        self.due += 1
        self.under_way += 1
        self.late.add(late_ns)
        self.bin_of(due_at).due += 1

    def end(self, due_at: int, now: int, outcome: Outcome) -> None:
        """It is answered, or has failed."""
        self.under_way -= 1
        self.ended_at = max(self.ended_at, now)
        if isinstance(outcome, Failed):
            self._fail(outcome)
            self.bin_of(now).failed += 1
        else:
            self._answer(due_at, outcome)

    def miss(self, number: int) -> None:
        """So many requests were due, and can't be sent any more."""
        self.due += number
        self.unsent += number

    def _answer(self, due_at: int, answer: Answered) -> None:
        self.answered += 1
        self.tokens += answer.tokens
        self.are_tokens_told = self.are_tokens_told and answer.are_tokens_told
        due_in = self.bin_of(due_at)
        whole_ns = answer.ended_at - due_at
        self.whole.add(whole_ns)
        due_in.whole.add(whole_ns)
        if answer.first_at is not None:
            self.first.add(answer.first_at - due_at)
            due_in.first.add(answer.first_at - due_at)
        for gap_ns in answer.gaps_ns:
            self.between.add(gap_ns)
        self.bin_of(answer.ended_at).answered += 1

    def _fail(self, failed: Failed) -> None:
        self.failed += 1
        kind = failed.kind
        if kind not in self.failures and len(self.failures) >= KINDS_MAX:
            kind = _OTHER
        kept = self.failures.setdefault(kind, Failures())
        kept.count += 1
        kept.example = kept.example or failed.detail
