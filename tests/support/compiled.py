"""Whether the core under test is compiled, and what a test does about it.

A compiled core (hatch_build.py) does the same, so nearly every test is the same for both. Different is only
how it looks from the inside: its classes have neither `__dict__` nor `__slots__`, and its modules' constants
are part of the code, where nobody can put others for a test.
"""

from pathlib import Path
from typing import Any, Final

import pytest

from stargate_core import entropy

COMPILED: Final = Path(entropy.__file__).suffix != ".py"


def interpreted_only(why: str) -> pytest.MarkDecorator:
    """Skips a test that a compiled core cannot be put to, and says why."""
    return pytest.mark.skipif(COMPILED, reason=f"the core is compiled: {why}")


def members(instance: object) -> dict[str, Any]:
    """An object's attributes, of whichever kind its class is."""
    kind = type(instance)
    names: set[str] = {*getattr(instance, "__dict__", {})}
    for each in kind.__mro__:
        names.update(vars(each).get("__slots__", ()), vars(each).get("__mypyc_attrs__", ()))
    return {name: getattr(instance, name) for name in sorted(names) if hasattr(instance, name)}
