"""Scripts wait, fail, loop, forget and are given up, as runner and ledger see them."""

from collections.abc import Generator
from typing import Any

import pytest

from stargate_core.script import (
    WAITS_MAX,
    Ledger,
    Pending,
    Runner,
    Script,
    ScriptMisuse,
    Sleep,
    WaitFailed,
)


class Question(Pending[str]):
    """Something with an answer."""


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


class TestWaiting:
    def test_answers_come_where_they_were_waited_for(self, ledger: Ledger) -> None:
        heard: list[str] = []

        def script() -> Script[None]:
            heard.append((yield from Question(ledger)))
            heard.append((yield from Question(ledger)))

        runner = Runner(script())
        assert isinstance(runner.resume(), Question)
        assert isinstance(runner.resume("one"), Question)
        assert runner.resume("two") is None
        assert heard == ["one", "two"]
        ledger.check()

    def test_nothing_happens_before_it_is_resumed(self, ledger: Ledger) -> None:
        ran: list[int] = []

        def script() -> Script[None]:
            ran.append(1)
            yield from Sleep(ledger, 1)

        runner = Runner(script())
        assert ran == []
        runner.resume()
        assert ran == [1]

    def test_scripts_nest(self, ledger: Ledger) -> None:
        def inner() -> Script[str]:
            return (yield from Question(ledger)) + "!"

        def outer() -> Script[None]:
            heard.append((yield from inner()))

        heard: list[str] = []
        runner = Runner(outer())
        runner.resume()
        assert runner.resume("yes") is None
        assert heard == ["yes!"]

    def test_a_failed_wait_is_raised_where_it_was_waited_for(self, ledger: Ledger) -> None:
        heard: list[str] = []

        def script() -> Script[None]:
            try:
                yield from Question(ledger)
            except WaitFailed as failed:
                heard.append(str(failed))
            yield from Sleep(ledger, 1)

        runner = Runner(script())
        runner.resume()
        assert isinstance(runner.fail(WaitFailed("no store")), Sleep)
        assert heard == ["no store"]

    def test_a_script_that_does_not_catch_it_fails_with_it(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            yield from Question(ledger)

        runner = Runner(script())
        runner.resume()
        with pytest.raises(WaitFailed):
            runner.fail(WaitFailed())

    def test_a_script_may_end_on_a_failed_wait(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            try:
                yield from Question(ledger)
            except WaitFailed:
                return

        runner = Runner(script())
        runner.resume()
        assert runner.fail(WaitFailed()) is None


class TestLedger:
    def test_one_made_in_vain_is_named(self, ledger: Ledger) -> None:
        Sleep(ledger, 1)
        Question(ledger)
        with pytest.raises(ScriptMisuse, match=r"missing `yield from`.*: Sleep, Question"):
            ledger.check()
        # Said once, it does not speak against the next hook.
        ledger.check()

    def test_several_may_be_made_before_they_are_waited_for(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            one, two = Sleep(ledger, 1), Sleep(ledger, 2)
            yield from two
            yield from one

        runner = Runner(script())
        waited = [runner.resume(), runner.resume()]
        assert [pending.duration_ns for pending in waited if isinstance(pending, Sleep)] == [2, 1]
        assert runner.resume() is None
        ledger.check()

    def test_one_is_waited_for_once(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            pending = Sleep(ledger, 1)
            yield from pending
            yield from pending

        runner = Runner(script())
        runner.resume()
        with pytest.raises(ScriptMisuse, match="one Sleep twice"):
            runner.resume()

    def test_a_bare_yield_is_a_wait(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            yield Sleep(ledger, 1)

        assert isinstance(Runner(script()).resume(), Sleep)
        ledger.check()

    @pytest.mark.parametrize(("duration", "error"), [(1.5, TypeError), ("1", TypeError), (-1, ValueError)])
    def test_a_sleep_that_can_not_be_is_not_made(
        self, ledger: Ledger, duration: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            Sleep(ledger, duration)
        ledger.check()


class TestMisuse:
    @pytest.mark.parametrize("junk", [None, 5, "x", object(), [], iter(())])
    def test_a_script_yields_pendings_and_nothing_else(self, junk: object) -> None:
        def script() -> Generator[Any, Any, None]:
            yield junk

        with pytest.raises(ScriptMisuse, match=f"yielded {type(junk).__name__}, not a Pending"):
            Runner(script()).resume()

    @pytest.mark.parametrize("junk", [True, 5, "x", object(), [], iter(())])
    def test_what_is_no_generator_is_no_script(self, junk: object) -> None:
        with pytest.raises(ScriptMisuse, match="neither None nor a generator"):
            Runner(junk)

    def test_a_coroutine_is_no_script(self) -> None:
        async def hook() -> None: ...

        coroutine = hook()
        with pytest.raises(ScriptMisuse, match="coroutine"):
            Runner(coroutine)
        coroutine.close()

    def test_waits_are_counted(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            while True:
                yield from Sleep(ledger, 0)

        runner = Runner(script())
        for _ in range(WAITS_MAX):
            runner.resume()
        with pytest.raises(ScriptMisuse, match=f"more than {WAITS_MAX} waits"):
            runner.resume()

    def test_an_exception_of_its_own_passes_through(self, ledger: Ledger) -> None:
        def script() -> Script[None]:
            yield from Sleep(ledger, 1)
            raise LookupError

        runner = Runner(script())
        runner.resume()
        with pytest.raises(LookupError):
            runner.resume()


class TestClosing:
    def test_finally_runs_at_once(self, ledger: Ledger) -> None:
        ran: list[int] = []

        def script() -> Script[None]:
            try:
                yield from Sleep(ledger, 1)
            finally:
                ran.append(1)

        runner = Runner(script())
        runner.resume()
        runner.close()
        assert ran == [1]
        runner.close()
        assert ran == [1]

    def test_one_that_never_began_has_nothing_to_end(self, ledger: Ledger) -> None:
        ran: list[int] = []

        def script() -> Script[None]:
            try:
                yield from Sleep(ledger, 1)
            finally:
                ran.append(1)

        Runner(script()).close()
        assert ran == []
