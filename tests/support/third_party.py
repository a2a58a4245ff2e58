"""A third party's plugin, as pip would have installed it: a module and the metadata that names its entry
points.
"""

import textwrap
from pathlib import Path
from typing import Final

STAMP: Final = '''
import msgspec

from stargate_core.config.schema import Scope


class Config(msgspec.Struct, frozen=True):
    text: str
    wait_ms: int = 0


class Stamp:
    """Puts a header on every answer, and may make callers wait."""

    NAME = "stamp"
    PRIORITY = 5
    CONFIG = Config
    SCOPES = frozenset({Scope.GLOBAL})

    def __init__(self, config):
        self._config = config

    def access(self, ctx):
        yield from ctx.sleep(self._config.wait_ms * 1_000_000)

    def header_filter(self, ctx):
        ctx.headers.append((b"x-stamp", self._config.text.encode()))


class Clumsy(Stamp):
    """Has a bug."""

    NAME = "clumsy"

    def access(self, ctx):
        raise KeyError(self._config.text)

    def header_filter(self, ctx):
        pass
'''


def install(folder: Path, *, module: str = STAMP, name: str = "stamps", **points: str) -> Path:
    """Install a module with these entry points into a folder; the folder, to be put on the path."""
    (folder / f"{name}.py").write_text(textwrap.dedent(module))
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[stargate.plugins]\n{lines}")
    return folder
