"""Asking: inert until it is yielded, then one question on its way, and its answer or why there is none."""

from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec
import pytest

from stargate_core.asking import Asking
from stargate_core.messages import Ask
from stargate_core.questions import Entry, Question, ReadEntry, VerifyToken
from stargate_core.script import Ledger, Runner, Script, ScriptMisuse, WaitFailed
from support.hooks import entry, plugin_of
from support.machines import Bench, a_config, a_plan, chat
from support.samples import samples

QUESTION: Final = ReadEntry("k")


class TestInAScript:
    @pytest.mark.parametrize("kind", get_args(Question), ids=lambda kind: kind.__name__)
    def test_any_question_is_carried_as_it_is(self, kind: type[msgspec.Struct]) -> None:
        question: Any = next(samples(kind))
        asking: Asking[Any] = Asking(Ledger(), question)
        assert asking.question is question

    def test_the_answer_comes_where_it_was_waited_for(self) -> None:
        ledger, heard = Ledger(), []

        def script() -> Script[None]:
            asking: Asking[Entry | None] = Asking(ledger, QUESTION)
            heard.append((yield from asking))

        runner = Runner(script())
        pending = runner.resume()
        assert isinstance(pending, Asking)
        assert pending.question is QUESTION
        assert heard == []
        found = Entry(b"v", 1)
        assert runner.resume(found) is None
        assert heard == [found]
        ledger.check()

    def test_nothing_as_an_answer_is_an_answer(self) -> None:
        ledger, heard = Ledger(), []

        def script() -> Script[None]:
            asking: Asking[Entry | None] = Asking(ledger, QUESTION)
            heard.append((yield from asking))

        runner = Runner(script())
        runner.resume()
        assert runner.resume(None) is None
        assert heard == [None]

    def test_one_made_in_vain_is_told_by_its_name(self) -> None:
        ledger = Ledger()
        Asking(ledger, QUESTION)
        with pytest.raises(ScriptMisuse, match=r"made and never waited for.*Asking"):
            ledger.check()

    def test_one_is_good_for_one_answer(self) -> None:
        ledger = Ledger()

        def script() -> Script[None]:
            asking: Asking[Entry | None] = Asking(ledger, QUESTION)
            yield from asking
            yield from asking

        runner = Runner(script())
        runner.resume()
        with pytest.raises(ScriptMisuse, match="twice"):
            runner.resume(None)

    def test_it_tells_nobody_what_is_asked(self) -> None:
        """That may be somebody's token."""
        asking: Asking[str] = Asking(Ledger(), VerifyToken("file:/k", "RS256", "", b"PLANTED", b"PLANTED"))
        assert "PLANTED" not in f"{asking!r} {asking.question!r}"


def asking_plugin(heard: list[object]) -> Callable[[Any], Script[None]]:
    """A hook that asks the store, and writes down what comes of it."""

    def access(ctx: Any) -> Script[None]:
        try:
            heard.append((yield from ctx.read_entry("mine")))
        except WaitFailed as failed:
            heard.append(str(failed))

    return access


def asked(heard: list[object]) -> tuple[Bench, list[Ask]]:
    """A session in which that plugin has asked, and what the shell was told."""
    bench = Bench(a_plan(a_config(entry()), plugin_of({"access": asking_plugin(heard)})))
    commands = bench.ask(chat())
    return bench, [command for command in commands if isinstance(command, Ask)]


class TestInAnExchange:
    def test_it_becomes_one_question_with_a_ticket(self) -> None:
        heard: list[object] = []
        bench, (ask,) = asked(heard)
        assert ask.question == ReadEntry("mine")
        assert heard == []
        assert not bench.asked, "no call before the plugin has ended"
        bench.reply(Entry(b"v", 3))
        assert heard == [Entry(b"v", 3)]
        assert bench.asked

    def test_where_there_is_no_answer_the_reason_is_raised_at_the_wait(self) -> None:
        heard: list[object] = []
        bench, _ = asked(heard)
        bench.fail_question("the store is down")
        assert heard == ["the store is down"]
        assert bench.asked, "the plugin chose to go on"

    def test_a_caller_that_leaves_takes_the_question_along(self) -> None:
        heard: list[object] = []
        bench, _ = asked(heard)
        bench.leave()
        assert not bench.questions
        assert heard == []
