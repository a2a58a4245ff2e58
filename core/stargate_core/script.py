"""Scripts: how a plugin waits while staying pure.

A hook that must wait is a generator. It yields a `Pending`, an inert description of what it waits for, and is
resumed with the answer when the fact has come in as an event:

    def access(self, ctx: Access) -> Script[None]:
        yield from ctx.sleep(50 * MILLISECOND)

`Pending.__iter__` is itself a generator that yields the pending and returns the answer, so `yield from` is
precisely typed: to both checkers `hits` in `hits = yield from ctx.store.take(...)` is what `take` says it is.
When a wait fails, `WaitFailed` is raised right at the `yield from`, so failing open or closed is the plugin's
own visible `try`.

Forgetting `yield from` would be silent: an object that nobody looks at. So each exchange keeps a ledger of
pendings made and not waited for, and when a hook ends, be it a generator or a plain function, one that is
left over is an error that names it. Until then a hook may make several and wait for them in any order; each
of them once.

A runner runs one script, and is bounded in the number of waits. Whoever abandons a script closes it at once,
so that `finally` blocks run at a deterministic point; what these raise in their turn is told as the plugin's
fault.
"""

import operator
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
    """Something to wait for, once. Inert until yielded."""

    __slots__ = ("ledger",)

    def __init__(self, ledger: "Ledger") -> None:
        self.ledger = ledger
        ledger.made.append(self)

    def __iter__(self) -> Generator["Pending[T]", Any, T]:
        answer: T = yield self
        return answer


class Sleep(Pending[None]):
    """Wait until some time has passed. Raises TypeError for what is no int, ValueError for what is past."""

    __slots__ = ("duration_ns",)

    def __init__(self, ledger: "Ledger", duration_ns: int) -> None:
        self.duration_ns = operator.index(duration_ns)
        if duration_ns < 0:
            raise ValueError("nobody can sleep into the past")
        super().__init__(ledger)


class Ledger:
    """The pendings an exchange's hooks have made and not yet waited for."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made: list[Pending[Any]] = []

    def take(self, pending: Pending[Any]) -> None:
        """The pending is being waited for. Raises ScriptMisuse if it was before."""
        for at, made in enumerate(self.made):
            if made is pending:
                del self.made[at]
                return
        raise ScriptMisuse(f"waited for one {type(pending).__name__} twice")

    def check(self) -> None:
        """Raise ScriptMisuse if a pending was made in vain: to be asked when a hook has ended."""
        if self.made:
            names = ", ".join(type(pending).__name__ for pending in self.made)
            self.made.clear()
            raise ScriptMisuse(f"made and never waited for (a missing `yield from`?): {names}")


class Runner:
    """Runs one script from wait to wait.

    script: what a hook gave back. Raises ScriptMisuse where that is no generator: a hook that looks as if it
    waited (`async def`, say) and never runs must not pass for one that has run.
    """

    __slots__ = ("_script", "_waits")

    def __init__(self, script: object) -> None:
        if not _is_script(script):
            raise ScriptMisuse(f"gave back {type(script).__name__}, neither None nor a generator")
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
        """Abandon the script; its `finally` blocks run now. Raises whatever they raise."""
        self._script.close()

    def _checked(self, pending: object) -> Pending[Any]:
        self._waits += 1
        if self._waits > WAITS_MAX:
            raise ScriptMisuse(f"more than {WAITS_MAX} waits")
        if not _is_pending(pending):
            raise ScriptMisuse(f"yielded {type(pending).__name__}, not a Pending")
        pending.ledger.take(pending)
        return pending


def _is_pending(value: object) -> TypeGuard[Pending[Any]]:
    return isinstance(value, Pending)


def _is_script(value: object) -> TypeGuard[Script[Any]]:
    return isinstance(value, Generator)
