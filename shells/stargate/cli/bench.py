"""`stargate bench URL`: how fast an OpenAI-compatible endpoint answers, as its users meet it.

It sends one request that is not measured, so that a wrong URL, key or model is told in one line. Then it
sends at the given rate until the duration is over, and prints a table; Ctrl-C ends it early, with what was
measured so far.
"""

import math
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stargate.cli.examples import examples

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from stargate.benching.answer import Failed
    from stargate.benching.report import About, Report
    from stargate.benching.run import Run
    from stargate.benching.tally import Tally

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FILE_OR_DASH: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_STEPS: Final = 1_000
_INTERRUPTED: Final = 130
_S: Final = 1_000_000_000
_RATE: Final = click.FloatRange(min=0.001, max=100_000)
_SECONDS: Final = click.FloatRange(min=0.001, max=604_800)


@click.command(
    "bench",
    context_settings={"show_default": True},
    epilog=examples(
        "stargate bench http://127.0.0.1:8080 --model claude --rate 20 --duration 60",
        "OPENAI_API_KEY=KEY stargate bench https://llm.example/v1 --model claude --no-stream",
        "stargate bench http://127.0.0.1:8080 --model claude --json figures.json --plot figures.svg",
    ),
)
@click.argument("url")
@click.option("--model", required=True, help="The model to ask.")
@click.option(
    "--key",
    envvar=["STARGATE_KEY", "OPENAI_API_KEY"],
    show_envvar=True,
    help="The key to show; better in a variable, since others can see a command line.",
)
@click.option(
    "--rate", default=1.0, type=_RATE, help="Requests per second, whatever becomes of those before."
)
@click.option(
    "--arrivals",
    default="poisson",
    type=click.Choice(["poisson", "constant"]),
    help="How they follow each other.",
)
@click.option("--duration", default=10.0, type=_SECONDS, metavar="SECONDS", help="How long to send.")
@click.option(
    "--concurrency-max",
    default=256,
    type=click.IntRange(1, 16_384),
    help="Requests under way at a time, at most.",
)
@click.option("--prompt", help="What to ask, each time the same; caches may answer.")
@click.option(
    "--prompt-tokens",
    default=64,
    type=click.IntRange(1, 1_000_000),
    help="Without --prompt: the size of prompts, each another one; about.",
)
@click.option("--max-tokens", default=64, type=click.IntRange(1), help="The longest answer to ask for.")
@click.option(
    "--body",
    "members",
    metavar="JSON",
    help="Members to set in each request's body; null leaves one out: '{\"max_tokens\": null}'.",
)
@click.option("--stream/--no-stream", default=True, help="Whether to ask for streams.")
@click.option(
    "--timeout", default=60.0, type=_SECONDS, metavar="SECONDS", help="The longest wait for an answer."
)
@click.option("--seed", default=0, help="Decides when requests arrive, and what prompts say.")
@click.option(
    "--json",
    "json_file",
    type=_FILE_OR_DASH,
    metavar="FILE",
    help="Write the figures here too (-: instead of the table).",
)
@click.option("--plot", "plot_file", type=_FILE, metavar="FILE.svg", help="Draw them here.")
def bench(**options: Any) -> None:
    """Measure an OpenAI-compatible endpoint: the time to the first token, between tokens, to the end; rates.

    URL is a server, the base URL of OpenAI's clients (…/v1) or an endpoint (…/chat/completions).

    Exit status: 0 if it was measured, 1 if nothing could be, 2 if the options are wrong, 130 after Ctrl-C.
    """
    import trio

    for name in ("rate", "duration", "timeout"):
        if math.isnan(options[name]):
            raise click.BadParameter("it must be a number", param_hint=f"--{name}")
    _need_folders(options)
    report, drawn = trio.run(_measure, options)
    _show(report, drawn, options)
    if report.was_interrupted:
        sys.exit(_INTERRUPTED)
    if not report.answered:
        raise click.ClickException("not one request was answered")


def _need_folders(options: dict[str, Any]) -> None:
    """A file that can't be written is told before an hour of measuring, not after it."""
    for name in ("json_file", "plot_file"):
        path: Path | None = options[name]
        if path is not None and str(path) != "-" and not path.parent.is_dir():
            raise click.BadParameter(f"there is no folder {path.parent}", param_hint=f"--{name[:4]}")


async def _measure(options: dict[str, Any]) -> tuple["Report", str]:
    """The report, and its picture. Raises click's exceptions."""
    import trio

    from stargate.benching.answer import Failed, Outcome
    from stargate.benching.plot import drawing
    from stargate.benching.report import reported

    about, run = _prepared(options)
    was_interrupted = False
    probed: Outcome | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                nonlocal was_interrupted
                async for _ in signals:
                    was_interrupted = True
                    nursery.cancel_scope.cancel()

            nursery.start_soon(interrupt)
            probed = await run.probe()
            if not isinstance(probed, Failed):
                with _progress(run.tally) as progress:
                    await run.perform(progress)
            nursery.cancel_scope.cancel()
    if isinstance(probed, Failed):
        raise click.ClickException(_told(about.url, probed))
    report = reported(about, run.tally, elapsed_ns=run.elapsed_ns, was_interrupted=was_interrupted)
    return report, drawing(report, run.tally)


def _prepared(options: dict[str, Any]) -> tuple["About", "Run"]:
    """What to run. Raises click.BadParameter."""
    from stargate.benching.arrivals import arrivals
    from stargate.benching.asking import BadUrl, Question, composed, endpoint
    from stargate.benching.report import About
    from stargate.benching.run import Plan, Run, dialling
    from stargate.benching.tally import Tally
    from stargate_core.secret import Secret

    try:
        where = endpoint(options["url"])
    except BadUrl as error:
        raise click.BadParameter(str(error), param_hint="URL") from None
    question = Question(
        model=options["model"],
        key=Secret(options["key"]) if options["key"] else None,
        prompt=options["prompt"],
        prompt_tokens=options["prompt_tokens"],
        max_tokens=options["max_tokens"],
        is_streamed=options["stream"],
        members=_members(options["members"]),
    )
    pattern, rate, seconds, seed = (options[name] for name in ("arrivals", "rate", "duration", "seed"))
    try:
        composed(where, question, seed, 0)
    except ValueError:
        raise click.BadParameter("it holds what no header can hold", param_hint="--key") from None
    plan = Plan(
        compose=lambda number: composed(where, question, seed, number),
        arrivals=lambda: arrivals(pattern, rate, seconds, seed),
        is_streamed=question.is_streamed,
        concurrency_max=options["concurrency_max"],
        timeout_seconds=options["timeout"],
        key=question.key,
    )
    about = About(
        url=where.url,
        model=question.model,
        is_streamed=question.is_streamed,
        pattern=pattern,
        per_second=rate,
        seconds=seconds,
        concurrency_max=plan.concurrency_max,
        max_tokens=question.max_tokens,
        seed=seed,
    )
    return about, Run(plan, Tally(int(seconds * _S)), dialling(where))


def _members(text: str | None) -> dict[str, object]:
    """What to set in a body. Raises click.BadParameter."""
    import msgspec

    try:
        return msgspec.json.decode(text or "{}", type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise click.BadParameter(f"it must be a JSON object: {error}", param_hint="--body") from None


def _told(url: str, failed: "Failed") -> str:
    what = {
        "cannot connect": "it cannot be reached",
        "status 401": "it refuses the key (--key)",
        "status 403": "it refuses the key (--key), or the model to this key (--model)",
        "status 404": "it knows no such path, or no such model (--model)",
        "timeout": "it does not answer in time (--timeout)",
    }.get(failed.kind, "it does not answer as it should")
    return f"{url}: {what}: {failed.kind}{f': {failed.detail}' if failed.detail else ''}"


@contextmanager
def _progress(tally: "Tally") -> Generator[Callable[[int], None]]:
    """A bar, for whoever looks at it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    bar: ProgressBar[str] = click.progressbar(
        length=_STEPS, file=sys.stderr, show_percent=False, show_eta=False, item_show_func=_itself
    )
    with bar:

        def progress(elapsed_ns: int) -> None:
            seconds = f"{elapsed_ns / _S:.0f} of {tally.duration_ns / _S:g} s"
            counts = f"{tally.answered:,} answered, {tally.failed:,} failed, {tally.under_way:,} under way"
            bar.update(
                min(_STEPS, elapsed_ns * _STEPS // tally.duration_ns) - bar.pos, f"{seconds}: {counts}"
            )
            bar.render_progress()

        yield progress


def _itself(text: str | None) -> str | None:
    return text


def _show(report: "Report", drawn: str, options: dict[str, Any]) -> None:
    """Print the table, and write the files."""
    from stargate.benching.report import as_json, as_text

    json_file: Path | None = options["json_file"]
    if json_file is None or str(json_file) != "-":
        click.echo("\n".join(as_text(report)))
    contents = {json_file: as_json(report), options["plot_file"]: drawn.encode()}
    for path, content in contents.items():
        try:
            if str(path) == "-":
                click.echo(content, nl=False)
            elif path is not None:
                path.write_bytes(content)
        except OSError as error:
            raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
