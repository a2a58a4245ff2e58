"""What a session reads from a request's framing: the path and query of its target, and what is wrong with it.

Source: RFC 9112, 3.2.2 (absolute-form targets).
"""

from typing import Final

from stargate_core.faults import Cause, Fault
from stargate_core.wire.http1 import ProtocolError

_CAUSES: Final = {
    413: Cause.BODY_TOO_LARGE,
    414: Cause.TARGET_TOO_LONG,
    431: Cause.HEAD_TOO_LARGE,
    501: Cause.HTTP_UNSUPPORTED,
    505: Cause.HTTP_VERSION,
}


def origin(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a target; of an absolute-form one, what follows its authority."""
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/") and b"://" in path:
        _, slash, rest = path.partition(b"://")[2].partition(b"/")
        path = slash + rest or b"/"
    return path, query


def fault_of_framing(error: ProtocolError) -> Fault:
    """The fault of a request that is not HTTP, or more of it than is taken."""
    cause = _CAUSES.get(error.status, Cause.HTTP_MALFORMED)
    return Fault(cause, message=str(error), detail=error.reason)
