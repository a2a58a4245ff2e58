"""The pages printed from the program: states, faults, parameters, the log record, settings, commands.

    python docs/generate.py

writes them beside this file; tests/test_docs.py fails when one of them is not what the program says now. What
stands in them is changed where it is decided: in the transition tables, the fault table, the docstrings.
"""

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from stargate.observing.catalogue import COUNTERS, GAUGES, HISTOGRAMS, Metric
from stargate_core import record
from stargate_core.dialects import (
    anthropic_converse_parameters,
    openai_chat_parameters,
    openai_responses_parameters,
)
from stargate_core.dialects.parameters import Fate, Parameter
from stargate_core.faults import AWS_CAUSES, RETRY_AFTER_SECONDS_MAX, TABLE, Blame, Cause, Row
from stargate_core.gateway import exchange, session
from stargate_core.transitions import Rule, Table

FOLDER: Final = Path(__file__).parent
sys.path.insert(0, str(FOLDER))
SOURCES: Final = "../core/stargate_core"
PRINTED: Final = "Printed by `python docs/generate.py` from [{name}]({source}); change it there."


def pages() -> dict[str, str]:
    """Each page's text, by its file's name."""
    from printing import commands, configuration  # They lie beside this file, wherever it is run from.

    return {
        "states.md": states(),
        "faults.md": faults(),
        "parameters.md": parameters(),
        "log-record.md": log_record(),
        "metric-list.md": metric_list(),
        "configuration.md": configuration.page(),
        "commands.md": commands.page(),
    }


# ----------------------------------------------------------------------------------------------------- states


_STATES: Final = f"""\
# States

Every state of a connection and of a request, and what happens in it. States are types, rules stand in a table
of state and event; a pair without a rule must name the reason why it is ignored, or the program does not
start. [messages.py]({SOURCES}/messages.py) describes the events, and words like *lease* and *ticket*.
"""


def states() -> str:
    """The transition tables."""
    lines = [_STATES, *_machine(session, session.TABLE), "", *_machine(exchange, exchange.TABLE), ""]
    return "\n".join(lines)


def _machine(module: ModuleType, table: Table[Any]) -> Iterator[str]:
    """One machine: its essay, then each state with its events."""
    name = module.__name__.rpartition(".")[2]
    yield f"## {table.name}"
    yield ""
    yield PRINTED.format(name=f"gateway/{name}.py", source=f"{SOURCES}/gateway/{name}.py")
    yield ""
    yield inspect.getdoc(module) or ""
    for state in table.states:
        yield ""
        yield f"### {table.name}: {state.__name__}"
        yield ""
        yield inspect.getdoc(state) or ""
        yield ""
        yield from _table(["Event", "What happens"], _cells(table, state))


def _cells(table: Table[Any], state: type) -> Iterator[list[str]]:
    """What a state does with each event; events that are answered alike share a row."""
    alike: dict[str, list[str]] = {}
    for event in table.events:
        reason = table.reasons.get((state, event))
        said = f"ignored: {reason}" if reason is not None else _said(table.rules[state, event])
        alike.setdefault(said, []).append(event.__name__)
    for said, events in alike.items():
        yield [", ".join(events), said]


def _said(rule: Rule) -> str:
    """A rule in its own words, where it has any, and where to find it."""
    where = f"`{rule.__module__.rpartition('.')[2]}.{rule.__name__}`"
    words = inspect.getdoc(rule)
    return f"{_first_line(words)} ({where})" if words else where


def _first_line(words: str) -> str:
    return " ".join(words.partition("\n\n")[0].split())


# ----------------------------------------------------------------------------------------------------- faults

_FAULTS: Final = f"""\
# Faults

{PRINTED.format(name="causes.py", source=f"{SOURCES}/causes.py")}

Every way a request can fail, and what a caller is told in each API. The cause stands in the log record
(`cause`); the code too (`code`), and in OpenAI's envelope wherever OpenAI has no code of its own.
Which fields of an OpenAI request are refused, and why, is in [parameters.md](parameters.md).

- *Again*: whether the gateway itself may try again, as long as nothing has reached the caller: *here*, at the
  same target or another, or only *elsewhere*, at another target.
- *Ails*: it speaks against the target's health, so its breaker counts it.
- *Retry*: the `x-should-retry` header, which every error bears.
- *After*: `Retry-After` in seconds, at most {RETRY_AFTER_SECONDS_MAX}. Every 429 and 503 has one. Bedrock's
  own goes before the one in this table.
- A status beside an Anthropic type or an AWS name is what callers of that API see instead of the first.
"""

_EXCEPTIONS: Final = f"""
## Exceptions of AWS

Bedrock's errors are known by their names, in HTTP answers and inside streams alike; the status decides only
where no name was given. A name that is not in this list is `{Cause.UPSTREAM_UNKNOWN.name}`. A
`ValidationException` that says that the input is too long is `{Cause.CONTEXT_OVERFLOW.name}`; a model's error
that carries a 4xx of the model's own is what that status means. Where AWS's text names the gateway's own
roles or signatures it goes to the log only.
"""

_BLAMED: Final = {
    Blame.CLIENT: "What the caller has to change",
    Blame.GATEWAY: "What the gateway's operator has to change",
    Blame.UPSTREAM: "What Bedrock, or the way to it, has failed at",
}


def faults() -> str:
    """The fault table."""
    blamed = "\n\n".join("\n".join(_blamed(blame, title)) for blame, title in _BLAMED.items())
    aws = _table(["AWS", "Cause", "Status", "Code"], (_of_aws(name) for name in AWS_CAUSES))
    return "\n".join([_FAULTS, blamed, _EXCEPTIONS, *aws, ""])


def _blamed(blame: Blame, title: str) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    columns = [
        "Cause",
        "Status",
        "Code",
        "OpenAI type / code",
        "Anthropic",
        "AWS",
        "Again",
        "Ails",
        "Retry",
        "After",
    ]
    rows = ((cause, row) for cause, row in TABLE.items() if row.blame is blame)
    yield from _table([*columns, "Message"], (_fault(cause, row) for cause, row in rows))


def _fault(cause: Cause, row: Row) -> list[str]:
    return [
        f"`{cause.name}`",
        str(row.status),
        row.code,
        f"{row.openai_type} / {row.openai_code or row.code}",
        _with_status(row.anthropic_type, row.anthropic_status),
        _with_status(row.aws_name, row.aws_status),
        "here" if row.retry_here else "elsewhere" if row.retry_elsewhere else "no",
        _yes(row.ails),
        _yes(row.should_retry),
        "" if row.retry_after_seconds is None else str(row.retry_after_seconds),
        row.message,
    ]


def _with_status(name: str, status: int | None) -> str:
    return name if status is None else f"{name} {status}"


def _of_aws(name: str) -> list[str]:
    cause = AWS_CAUSES[name]
    return [f"`{name}`", f"`{cause.name}`", str(TABLE[cause].status), TABLE[cause].code]


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


# ------------------------------------------------------------------------------------------------- parameters

_FATES: Final = {
    Fate.MAPPED: ("Mapped", "Where it goes"),
    Fate.IGNORED: ("Ignored", "Why the answer is as good without it"),
    Fate.REFUSED: ("Refused", "What the caller is told"),
}


_PARAMETERS: Final = """\
# Parameters

What becomes of each field of a request on its way to Bedrock's Converse, for each API that is translated.
Nothing that changes what the caller gets is dropped in silence: such a field is refused, with status 400 and
its name in `param`. Where a target's operator says `drop_params: true`, what is marked as droppable is left
out instead.

Fields that an API does not define go to the model as they are, in `additionalModelRequestFields`: that is how
to reach `top_k` or `thinking` from OpenAI's API. The few that are Converse's own stand at the end of this
page.

Of all this nothing holds where a model is reached through its vendor's own API: Claude by InvokeModel from
Anthropic's, and the surfaces `openai`, `anthropic`, `mantle_openai` and `mantle_anthropic`. There the request
is passed on as it is.
"""
_TABLES: Final[tuple[tuple[str, str, ModuleType, dict[str, Parameter], bool], ...]] = (
    (
        "OpenAI's chat completions",
        "`/v1/chat/completions`",
        openai_chat_parameters,
        openai_chat_parameters.PARAMETERS,
        False,
    ),
    (
        "OpenAI's responses",
        "`/v1/responses`",
        openai_responses_parameters,
        openai_responses_parameters.PARAMETERS,
        False,
    ),
    (
        "Anthropic's messages",
        "`/v1/messages`",
        anthropic_converse_parameters,
        anthropic_converse_parameters.PARAMETERS,
        True,
    ),
    (
        "A tool of Anthropic's messages",
        "`/v1/messages`, in `tools`",
        anthropic_converse_parameters,
        anthropic_converse_parameters.TOOL_MEMBERS,
        False,
    ),
)
"""Title, path, where the table is, the table, and whether all that is refused may be dropped."""


def parameters() -> str:
    """The parameters of all APIs that are translated."""
    parts = [_PARAMETERS.rstrip("\n")]
    for title, path, module, rows, all_droppable in _TABLES:
        name = module.__name__.rpartition(".")[2]
        printed = PRINTED.format(name=f"dialects/{name}.py", source=f"{SOURCES}/dialects/{name}.py")
        parts.append(f"## {title}\n\n{printed} Sent to {path}.")
        parts += ["\n".join(_fated(fate, rows, all_droppable)) for fate in Fate if _with_fate(rows, fate)]
    parts.append("\n".join(_extensions()))
    return "\n\n".join(parts) + "\n"


def _with_fate(rows: dict[str, Parameter], fate: Fate) -> dict[str, Parameter]:
    return {name: row for name, row in rows.items() if row.fate is fate}


def _fated(fate: Fate, all_rows: dict[str, Parameter], all_droppable: bool) -> Iterator[str]:
    title, meaning = _FATES[fate]
    rows = _with_fate(all_rows, fate)
    columns = ["Parameter", meaning]
    cells = {name: [f"`{name}`", row.reason] for name, row in rows.items()}
    if fate is Fate.REFUSED:
        columns.append("Taken all the same")
        for name, row in rows.items():
            cells[name].append(_values(("null", *map(_json, row.harmless))))
    droppable = {
        name for name, row in rows.items() if row.droppable or (all_droppable and fate is Fate.REFUSED)
    }
    if droppable:
        columns.append("Droppable")
        for name in rows:
            cells[name].append("yes" if name in droppable else "")
    if any(row.claude for row in rows.values()):
        columns.append("Given to Claude as it is")
        for name, row in rows.items():
            cells[name].append("yes" if row.claude else "")
    yield f"**{title}**"
    yield ""
    yield from _table(columns, cells.values())


def _extensions() -> Iterator[str]:
    """Members that are Converse's own."""
    yield "## Converse's own"
    yield ""
    extensions = openai_chat_parameters.EXTENSIONS
    yield from _table(
        ["Member", "What becomes of it"], ([f"`{name}`", told] for name, told in extensions.items())
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _values(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


# ------------------------------------------------------------------------------------------------- log record


_RECORD: Final = f"""\
# The log record

{PRINTED.format(name="record.py", source=f"{SOURCES}/record.py")}

What `request-logger` writes of each request, one JSON object a line ([logging.md](logging.md) says where to,
and how to have less of it). Only the first five fields are always there; others may be left out where they
say nothing. A sampled record has `sample` beside these. Times are in milliseconds, sizes in bytes.
"""

_TYPES: Final = {
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "true or false",
    "Outcome": "text",
}


def log_record() -> str:
    """The fields of the record."""
    columns = ["Field", "Type", "What it says"]
    whole, attempt = (_table(columns, _fields(struct)) for struct in (record.LogRecord, record.Attempt))
    return "\n".join([_RECORD, *whole, "", "Each of `calls` has:", "", *attempt, ""])


def _fields(struct: type[msgspec.Struct]) -> Iterator[list[str]]:
    """Each field of a Struct, with the text that stands below it in its source."""
    (body,) = (
        node.body
        for node in ast.parse(inspect.getsource(record)).body
        if isinstance(node, ast.ClassDef) and node.name == struct.__name__
    )
    for node, told in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            has_words = isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant)
            words = told.value.value if has_words else ""
            kind = _TYPES.get(ast.unparse(node.annotation), "list")
            yield [f"`{ast.unparse(node.target)}`", kind, " ".join(str(words).split())]


# ---------------------------------------------------------------------------------------------------- metrics

_CATALOGUE: Final = "../shells/stargate/observing/catalogue.py"
_METRICS: Final = f"""\
# The metrics

{PRINTED.format(name="catalogue.py", source=_CATALOGUE)}

[metrics.md](metrics.md) tells how to scrape them. Where OpenTelemetry's conventions for generative AI have a
metric for the same, its name stands beside.
"""


def metric_list() -> str:
    """The catalogue of metrics."""
    lines = [_METRICS]
    for title, metrics in (
        ("Counters, of all workers together", COUNTERS),
        ("Histograms, of all workers together", HISTOGRAMS),
        ("Gauges, of each worker", GAUGES),
    ):
        columns = ["Metric", "Labels", "What it says", "OpenTelemetry"]
        lines += [f"## {title}", "", *_table(columns, map(_metric, metrics.values())), ""]
    return "\n".join(lines)


def _metric(metric: Metric) -> list[str]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return [f"`{metric.told}`", labels, metric.help, f"`{metric.otel}`" if metric.otel else ""]


# ----------------------------------------------------------------------------------------------------- tables


def _table(columns: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """A table of Markdown."""
    yield _row(columns)
    yield _row(["---"] * len(columns))
    for row in rows:
        yield _row([cell.replace("|", "\\|") for cell in row])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
