"""Where the configuration comes from: a file, standard input, or the defaults; read once, or again and again.

A file may be replaced in many ways: written over, renamed into place, or reached by a symbolic link that is
turned to another folder, as Kubernetes does it with ConfigMaps. All of them show in what `stat` says of the
path. What counts in the end is what the file says: it has changed if its SHA-256 is not that of what was read
last. While `stat` says something else each time, somebody is still writing, and the file is left alone.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from stargate.plugins import schemas
from stargate.public_keys import missing_for
from stargate_core.config.load import Examined, examine
from stargate_core.config.problems import Misfit, Problem
from stargate_core.config.schema import Config
from stargate_core.views import Plugin

STDIN: Final = "-"


class Unreadable(Exception):
    """There is no text; `problem` says where, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _as_it_is(config: Config) -> Config:
    return config


class Source:
    """A configuration's file, and who may stand in it. path: None for the defaults, `-` for standard input.

    change: what the command line says beside the file; raises Misfit where the two don't go together.
    """

    def __init__(
        self,
        path: str | None,
        plugins: Mapping[str, type[Plugin]],
        change: Callable[[Config], Config] = _as_it_is,
    ) -> None:
        self.path = path
        self.plugins = plugins
        self.name = "<stdin>" if path == STDIN else path or "<no file>"
        self.moving = False
        """Whether the file was being written when it was last looked at."""
        self._change = change
        self._digest = b""
        """Of what was read last."""
        self._seen: tuple[int, ...] = ()
        """What `stat` said when the file was last looked at."""

    @property
    def is_file(self) -> bool:
        """Whether it can be read again."""
        return self.path not in (None, STDIN)

    def read(self) -> str | None:
        """What it says now; None: there is no file. Raises Unreadable."""
        if self.path is None:
            return None
        try:
            data = sys.stdin.buffer.read() if self.path == STDIN else Path(self.path).read_bytes()
        except OSError as error:
            raise self._unreadable(1, 1, f"can't be read: {error.strerror}") from error
        self._digest = hashlib.sha256(data).digest()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            before = error.object[: error.start]
            column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
            raise self._unreadable(before.count(b"\n") + 1, column, "expected UTF-8") from error

    def changed(self) -> bool:
        """Whether the file says something else than when it was read last. One that is not there, or is being
        written, has not changed yet.
        """
        assert self.path is not None
        try:
            told = os.stat(self.path)
            seen = (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns)
            if seen == self._seen and not self.moving:
                return False
            self.moving = seen != self._seen
            self._seen = seen
            return not self.moving and hashlib.sha256(Path(self.path).read_bytes()).digest() != self._digest
        except OSError:
            return False

    def examine(self, text: str | None) -> Examined:
        """Everything there is to say about this text, if it stood there."""
        found = examine(text, filename=self.name, environ=os.environ, schemas=schemas(self.plugins))
        if found.config is None:
            return found
        warnings = found.warnings
        missing = missing_for(found.config)
        if missing:
            warnings = (*warnings, Problem(self.name, 1, 1, "", missing))
        try:
            config = self._change(found.config)
        except Misfit as misfit:
            return Examined(None, (Problem(self.name, 1, 1, "", str(misfit)),), warnings)
        return msgspec.structs.replace(found, config=config, warnings=warnings)

    def examine_now(self) -> Examined:
        """Everything there is to say about what it says now. Raises nothing: unreadable is a problem too."""
        try:
            return self.examine(self.read())
        except Unreadable as error:
            return Examined(None, (error.problem,), ())

    def _unreadable(self, line: int, column: int, message: str) -> Unreadable:
        return Unreadable(Problem(self.name, line, column, "", message))
