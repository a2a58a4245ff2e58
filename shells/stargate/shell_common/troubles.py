"""Why a connection did not open: in the core's words, and in the log's."""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import cast

from stargate_core.messages import Trouble


def detail_of(error: BaseException) -> str:
    """Why a connection did not open, for the log: what the causes behind it say, each once."""
    causes = [cause for cause in _causes(error) if not _parts(cause)]
    return "; ".join(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in causes))


def trouble_of(error: BaseException) -> Trouble:
    """The same in the core's words."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Trouble.TLS
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Trouble.NAME_UNKNOWN
    if any(isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED for cause in causes):
        return Trouble.REFUSED
    return Trouble.UNREACHABLE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all it was made from: several addresses may have been tried."""
    yield error
    for part in _parts(error):
        yield from _causes(part)


def _parts(error: BaseException) -> tuple[BaseException, ...]:
    cause = () if error.__cause__ is None else (error.__cause__,)
    match error:
        case BaseExceptionGroup(exceptions=tuple(parts)):
            return (*cast("tuple[BaseException, ...]", parts), *cause)
        case _:
            return cause
