"""Configurations for tests: a text with marks where its problems are, and what the loader says about it."""

from collections.abc import Mapping
from typing import NamedTuple

from stargate_core.config.load import Examined, examine, load
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.problems import Problem
from stargate_core.config.schema import Config, PluginSchema

MARK = "»"
"""Stands right before the place that a problem must name, and is no part of the text."""


class Marked(NamedTuple):
    """A text without its marks, and the line and column (from 1) where each of them stood."""

    text: str
    places: list[tuple[int, int]]


def marked(text: str) -> Marked:
    """Take the marks out of a text."""
    places: list[tuple[int, int]] = []
    line, column = 1, 1
    for char in text:
        if char == MARK:
            places.append((line, column))
        elif char == "\n":
            line, column = line + 1, 1
        else:
            column += 1
    return Marked(text.replace(MARK, ""), places)


def examined(
    text: str | None,
    environ: Mapping[str, str] | None = None,
    schemas: Mapping[str, PluginSchema] = BUILT_IN,
) -> Examined:
    """What the loader says about a text without marks."""
    return examine(text, filename="gateway.yaml", environ=environ or {}, schemas=schemas)


def loaded(text: str, **environ: str) -> Config:
    """The configuration that a good text writes."""
    return load(text, filename="gateway.yaml", environ=environ, schemas=BUILT_IN)


def places(problems: tuple[Problem, ...]) -> list[tuple[int, int]]:
    """Where problems are."""
    return [(problem.line, problem.column) for problem in problems]


def said(problems: tuple[Problem, ...]) -> list[str]:
    """Problems as they are shown, without file, line and column."""
    return [str(problem).split(": ", 1)[1] for problem in problems]
