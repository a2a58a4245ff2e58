"""What `stargate top` shows of a gateway's state: lines of text, and nothing else.

The state is what the admin API gives (admin/status.py). Names in it come from callers: none reaches the
terminal with a byte that could steer it. Colours say nothing that the words beside them do not.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from stargate.explaining.shown import unsteered

State: TypeAlias = Mapping[str, Any]

BOLD, DIM, RED, YELLOW, GREEN, CYAN = "1", "2", "31", "33", "32", "36"
_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_SPARKS: Final = " .:-=+*%#"
_BAR_CELLS: Final = 20
_NAME_CELLS: Final = 24
_RECENT: Final = 5
"""Seconds whose mean is told as the rate now."""
_FULL, _NEARLY = 0.95, 0.75
_SECTION_ROWS: Final = 8
_ENDINGS: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Look:
    """How it is shown. columns, rows: of the terminal; rows 0: as many as it takes."""

    def __init__(self, columns: int, rows: int = 0, *, colours: bool = False, unicode: bool = True) -> None:
        self.columns = columns
        self.rows = rows
        self.sparks = _SPARKS if unicode else _PLAIN_SPARKS
        self.bar = ("█", "░") if unicode else ("#", ".")
        self._colours = colours

    def paint(self, text: str, *codes: str) -> str:
        """In these colours, where there are any."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._colours and codes else text


def page(state: State, look: Look) -> list[str]:
    """All of it, cut to the terminal."""
    lines = [
        line for part in (_head, _traffic, _latency, _used, _limits, _rest) for line in part(state, look)
    ]
    return lines if not look.rows else lines[: look.rows]


def line(state: State) -> str:
    """All of it in one line, for a file or a pipe."""
    rate = _rates(state)
    first, total = state["latency"]["first_byte_ms"], state["latency"]["total_ms"]
    worst = max((limit["fraction"] for limit in state["limits"]), default=0.0)
    return (
        f"{state['now']}  {rate['requests']:.1f} requests/s  {rate['errors']:.1f} errors/s  "
        f"{state['in_flight']} in flight  first byte p50 {_ms(first['p50'])} p99 {_ms(first['p99'])}  "
        f"total p50 {_ms(total['p50'])} p99 {_ms(total['p99'])}  "
        f"tokens in {_short(rate['input_tokens'])}/s out {_short(rate['output_tokens'])}/s  "
        f"${rate['cost_usd']:.4f}/s  fullest limit {worst:.0%}"
    )


# ----------------------------------------------------------------------------------------------- the sections


def _head(state: State, look: Look) -> Iterator[str]:
    workers = state["workers"]
    alive = sum(worker["alive"] for worker in workers)
    up = _age(state["now"], state["started_at"])
    said = [
        look.paint(f"stargate {unsteered(state['version'])}", BOLD),
        f"up {up}",
        f"generation {state['generation']}",
        look.paint(f"{alive}/{len(workers)} workers", *(() if alive == len(workers) else (RED,))),
        f"{state['in_flight']} in flight",
        state["now"][11:19] + "Z",
    ]
    yield "  ".join(said)
    if state["open"]:
        yield look.paint("open: everybody who can reach the gateway may use it", YELLOW)
    if state["reload_error"]:
        when = state.get("reload_failed_at") or ""
        yield look.paint(f"the last reload was refused {when[11:19]}", RED)
        for problem in state["reload_error"][:3]:
            yield look.paint(_cut(f"  {unsteered(problem)}", look.columns), RED)
    yield ""


def _traffic(state: State, look: Look) -> Iterator[str]:
    rate, series = _rates(state), state["series"]
    share = rate["errors"] / rate["requests"] if rate["requests"] else 0.0
    width = max(10, min(60, look.columns - 52))
    rows = (
        ("requests", f"{rate['requests']:.1f}/s", "", series["requests"], CYAN),
        ("errors", f"{rate['errors']:.1f}/s", f"{share:.1%}", series["errors"], RED),
        ("tokens in", f"{_short(rate['input_tokens'])}/s", "", series["input_tokens"], CYAN),
        ("tokens out", f"{_short(rate['output_tokens'])}/s", "", series["output_tokens"], CYAN),
        ("cost", f"${rate['cost_usd']:.4f}/s", f"${rate['cost_usd'] * 3600:.2f}/h", series["cost_usd"], CYAN),
    )
    for name, now, beside, values, colour in rows:
        yield f"{name:<12}{now:>14}{beside:>12}  {look.paint(_sparks(values[-width:], look), colour)}"
    yield ""


def _latency(state: State, look: Look) -> Iterator[str]:
    window = state.get("window_seconds", 0)
    yield look.paint(f"{'of ' + _seconds(window):<26}{'p50':>10}{'p90':>10}{'p99':>10}", DIM)
    for name, key in (("first byte", "first_byte_ms"), ("total", "total_ms")):
        told = state["latency"][key]
        yield f"{name:<26}{_ms(told['p50']):>10}{_ms(told['p90']):>10}{_ms(told['p99']):>10}"
    yield ""


def _used(state: State, look: Look) -> Iterator[str]:
    columns = ("requests", "errors", "in", "out", "cached", "cost")
    for title, nobody, key in (("consumer", "nobody known", "consumers"), ("model", "none named", "models")):
        rows = state[key]
        yield look.paint(f"{title:<26}" + "".join(f"{name:>10}" for name in columns), DIM)
        for row in rows[:_SECTION_ROWS]:
            values = (
                _short(row["requests"]), _short(row["errors"]), _short(row["input_tokens"]),
                _short(row["output_tokens"]), _short(row["cached_tokens"]), f"${row['cost_usd']:.4f}",
            )  # fmt: skip
            name = _cut(unsteered(row["name"]) or nobody, _NAME_CELLS)
            said = f"{name:<26}" + "".join(f"{value:>10}" for value in values)
            yield look.paint(said, *((RED,) if row["errors"] else ()))
        if len(rows) > _SECTION_ROWS:
            yield look.paint(f"and {len(rows) - _SECTION_ROWS} more", DIM)
        yield ""


def _limits(state: State, look: Look) -> Iterator[str]:
    rows = state["limits"]
    if not rows:
        return
    yield look.paint("limit", DIM)
    for row in rows[:_SECTION_ROWS]:
        part = min(max(row["fraction"], 0.0), 1.0)
        full = round(part * _BAR_CELLS)
        bar = look.bar[0] * full + look.bar[1] * (_BAR_CELLS - full)
        colour = RED if part >= _FULL else YELLOW if part >= _NEARLY else GREEN
        name = _cut(unsteered(f"{row['name']} {row['scope']}".strip()), _NAME_CELLS)
        used = f"{_short(row['used'])} of {_short(row['limit'])}"
        yield f"{name:<26}{look.paint(bar, colour)} {row['fraction']:>5.0%}  {used}"
    if len(rows) > _SECTION_ROWS:
        yield look.paint(f"and {len(rows) - _SECTION_ROWS} more, less full", DIM)
    yield ""


def _rest(state: State, look: Look) -> Iterator[str]:
    for target in state["targets"][:_SECTION_ROWS]:
        colour = {"closed": GREEN, "half_open": YELLOW}.get(target["state"], RED)
        until = f" until {unsteered(str(target['until']))[11:19]}Z" if target.get("until") else ""
        said = f"{unsteered(target['state'])}{until}"
        yield f"{'target':<12}{look.paint(said, colour)} {_cut(unsteered(target['name']), look.columns - 24)}"
    store, cache = state["store"], state["cache"]
    answered = cache["hit"] + cache["coalesced"]
    asked = answered + cache["miss"]
    well = store["state"] == "up"
    yield f"{'store':<12}{unsteered(store['kind'])} {look.paint(store['state'], GREEN if well else YELLOW)}"
    if asked:
        yield f"{'cache':<12}{answered / asked:.0%} of {_short(asked)} answered without Bedrock"
    journals = state["journals"]
    if journals["directory"]:
        yield f"{'journals':<12}{journals['written']} written to {unsteered(journals['directory'])}"
    if state["logs"]["dropped"]:
        yield look.paint(f"{'logs':<12}{state['logs']['dropped']} lines lost", RED)
    for account, found in state["credentials"].items():
        name = f" of {unsteered(account)}" if account else ""
        yield _cut(f"{'credentials':<12}{unsteered(str(found))}{name}", look.columns)


# -------------------------------------------------------------------------------------------------- the words


def _rates(state: State) -> dict[str, float]:
    """What is done in a second now: the mean of the last few."""
    series: Mapping[str, Any] = state["series"]
    return {
        name: sum(cast("list[float]", values)[-_RECENT:]) / _RECENT
        for name, values in series.items()
        if isinstance(values, list)
    }


def _sparks(values: Sequence[float], look: Look) -> str:
    most = max(values, default=0)
    top = len(look.sparks) - 1
    return "".join(
        look.sparks[0 if most <= 0 or value <= 0 else max(1, round(value / most * top))] for value in values
    )


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= max(columns, 8) else text[: max(columns, 8) - 1] + "…"


def _short(value: float) -> str:
    """A number in few characters."""
    for size, ending in _ENDINGS:
        if value >= size:
            return f"{value / size:.1f}{ending}"
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return (
        f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
    )


def _seconds(value: float) -> str:
    return f"the last {value / 60:.0f} min" if value >= 60 else f"the last {value:.0f} s"


def _age(now: str, then: str) -> str:
    seconds = int((_moment(now) - _moment(then)).total_seconds())
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
