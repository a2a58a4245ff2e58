"""Scripts: how a plugin waits while staying pure.

A hook that must wait is a generator. It yields a `Pending`, an inert description of what it waits for, and is
resumed with the answer when the fact has come in as an event:

    def access(self, ctx: Access) -> Script[None]:
        yield from ctx.sleep(50 * MILLISECOND)

`Pending.__iter__` is itself a generator that yields the pending and returns the answer, so `yield from` is
precisely typed: to both checkers `hits` in `hits = yield from ctx.store.take(...)` is what `take` says it is.
When a wait fails, `WaitFailed` is raised right at the `yield from`, so failing open or closed is the plugin's
own visible `try`.

Forgetting `yield from` would be silent: a generator that nobody runs. So each exchange keeps a ledger of
pendings made and not waited for, and ends the hook with an error that names it.

A runner holds one script at a time, is bounded in the number of waits, and closes a script it abandons at
once, so that `finally` blocks run at a deterministic point.
"""

from collections.abc import Generator
from typing import Any, Final, Generic, TypeAlias, TypeGuard, TypeVar

T = TypeVar("T")

Script: TypeAlias = Generator["Pending[Any]", Any, T]

WAITS_MAX: Final = 64
"""Waits one script may make; a script that needs more is in a loop."""


class WaitFailed(Exception):
    """What a script waited for will not come."""


class ScriptMisuse(Exception):
    """A script yielded something else than a Pending, waited too often, or made a Pending in vain."""


class Pending(Generic[T]):
    """Something to wait for. Inert until yielded."""

    __slots__ = ("_ledger",)

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        ledger.made.append(self)

    def __iter__(self) -> Generator["Pending[T]", Any, T]:
        self._ledger.made.remove(self)
        answer: T = yield self
        return answer


class Sleep(Pending[None]):
    """Wait until some time has passed."""

    __slots__ = ("duration_ns",)

    def __init__(self, ledger: "Ledger", duration_ns: int) -> None:
        super().__init__(ledger)
        self.duration_ns = duration_ns


class Ledger:
    """The pendings an exchange's hooks have made and not yet waited for."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made: list[Pending[Any]] = []

    def check(self) -> None:
        """Raise ScriptMisuse if a pending was made in vain."""
        if self.made:
            names = ", ".join(type(pending).__name__ for pending in self.made)
            self.made.clear()
            raise ScriptMisuse(f"made and never waited for (a missing `yield from`?): {names}")


class Runner:
    """Runs one script from wait to wait."""

    __slots__ = ("_script", "_waits")

    def __init__(self, script: Script[Any]) -> None:
        self._script = script
        self._waits = 0

    def resume(self, answer: Any = None) -> Pending[Any] | None:
        """Go on with the answer to the last wait; what to wait for next, or None when the script is done.

        Raises whatever the script raises, and ScriptMisuse.
        """
        try:
            pending = self._script.send(answer)
        except StopIteration:
            return None
        return self._checked(pending)

    def fail(self, error: WaitFailed) -> Pending[Any] | None:
        """Go on with a wait that failed."""
        try:
            pending = self._script.throw(error)
        except StopIteration:
            return None
        return self._checked(pending)

    def close(self) -> None:
        """Abandon the script; its `finally` blocks run now."""
        self._script.close()

    def _checked(self, pending: object) -> Pending[Any]:
        self._waits += 1
        if self._waits > WAITS_MAX:
            self._script.close()
            raise ScriptMisuse(f"more than {WAITS_MAX} waits")
        if not _is_pending(pending):
            self._script.close()
            raise ScriptMisuse(f"yielded {type(pending).__name__}, not a Pending")
        return pending


def _is_pending(value: object) -> TypeGuard[Pending[Any]]:
    return isinstance(value, Pending)
