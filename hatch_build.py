"""The compiled wheel: `STARGATE_COMPILE=1 pip wheel .` has mypyc turn the hot modules of the core into C.

It is the same source with the same behaviour, only faster; which modules, and why no others, stands in
pyproject.toml (`[tool.hatch.build.targets.wheel.hooks.custom]`). Without the variable this hook does nothing:
the wheel is the pure one, for every interpreter and machine, and needs no compiler. Neither does an editable
install, whose tests are to see what is being written.

- The `.py` files stay in the wheel beside their extensions. Tracebacks read their lines there, and where an
  extension does not fit the interpreter, the import finds them instead.
- All modules are compiled as one group, into one library (`HASH__mypyc`) that each extension is a door to:
  calls between compiled modules are what pays.
- What the core imports must be there when it is compiled: without msgspec's types a Struct would be taken for
  a class like any other.
- Built at a small optimisation: on the bench -O3 gave nothing over it, and takes longer.

STARGATE_COMPILE=1 also honours CFLAGS and CC, as setuptools does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SETTINGS: Final = """\
[mypy]
strict = True
explicit_package_bases = True
namespace_packages = True
warn_unused_ignores = False
"""

_SETUP: Final = """\
from mypyc.build import mypycify
from setuptools import setup

setup(
    name="stargate",
    packages=[],
    ext_modules=mypycify({arguments!r}, opt_level="2", debug_level="0", multi_file=True),
)
"""


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles `modules` for a wheel that is asked for so."""

    _folder: Path | None = None

    def _asked_for(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("STARGATE_COMPILE", "0") not in ("", "0")

    def dependencies(self) -> list[str]:
        """The compiler, and what the core is typed against."""
        if not self._asked_for():
            return []
        return ["mypy>=2.4", "setuptools>=77", "types-PyYAML", *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add the extensions to the wheel."""
        if not self._asked_for() or version == "editable":
            return
        self._folder = folder = Path(tempfile.mkdtemp(prefix="stargate-"))
        for built in compiled(Path(self.root), folder, self.config["modules"]):
            build_data["force_include"][str(built)] = built.relative_to(folder).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        if self._folder is not None:
            shutil.rmtree(self._folder)


def compiled(root: Path, folder: Path, modules: list[str]) -> list[Path]:
    """Compile these modules (paths below stargate_core) in a copy of the core that is made in `folder`. Gives
    the extensions.
    """
    shutil.copytree(root / "core", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mypy.ini").write_text(_SETTINGS)
    arguments = ["--config-file=mypy.ini", *(f"stargate_core/{module}" for module in modules)]
    (folder / "setup.py").write_text(_SETUP.format(arguments=arguments))
    subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", str(os.cpu_count() or 1)],
        cwd=folder,
        check=True,
    )
    return sorted(path for path in folder.rglob("*__mypyc*.so")) + sorted(
        path for path in (folder / "stargate_core").rglob("*.so") if "__mypyc" not in path.name
    )
