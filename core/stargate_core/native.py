"""What a compiler to C must be told of a class, and cannot see in it.

The core may be compiled by mypyc (hatch_build.py at the root has how). A compiled class refuses subclasses
that are not, unless it says so by a decorator that mypyc reads in the source. Its call has no effect, and the
package that it comes from is the compiler's. So at run time there is a stand-in, and the core goes on
depending on nothing but its five.

Source: https://mypyc.readthedocs.io/en/latest/native_classes.html#inheritance.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:
    C = TypeVar("C", bound=type)

    def mypyc_attr(**_said: bool) -> Callable[[C], C]:
        """The class as it is."""
        return _same

    def _same(kind: C) -> C:
        return kind


__all__ = ["mypyc_attr"]
