"""A target's path and query in every form, and the fault of each way in which a request is no good HTTP."""

import pytest

from stargate_core.faults import Cause
from stargate_core.gateway.framing import fault_of_framing, origin
from stargate_core.wire.http1 import ProtocolError
from stargate_core.wire.http1.events import Reason


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/v1/models", b"/v1/models", b""),
        (b"/v1/models?a=b?c", b"/v1/models", b"a=b?c"),
        (b"http://gateway/v1/models?a", b"/v1/models", b"a"),
        (b"https://gateway:8443", b"/", b""),
        (b"http://gateway?a", b"/", b"a"),
        (b"/a://b/c", b"/a://b/c", b""),
        (b"*", b"*", b""),
        (b"", b"", b""),
    ],
)
def test_a_target_has_a_path_and_a_query(target: bytes, path: bytes, query: bytes) -> None:
    assert origin(target) == (path, query)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (400, Cause.HTTP_MALFORMED),
        (413, Cause.BODY_TOO_LARGE),
        (414, Cause.TARGET_TOO_LONG),
        (431, Cause.HEAD_TOO_LARGE),
        (501, Cause.HTTP_UNSUPPORTED),
        (505, Cause.HTTP_VERSION),
    ],
)
def test_bad_framing_has_a_fault_of_the_same_status(status: int, cause: Cause) -> None:
    fault = fault_of_framing(ProtocolError(Reason.TOO_MANY_HEADERS, "too much", status))
    assert (fault.cause, fault.row.status, fault.message) == (cause, status, "too much")
