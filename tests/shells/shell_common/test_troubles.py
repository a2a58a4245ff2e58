"""Why a connection did not open: in the core's words, and in the log's."""

import errno
import socket
import ssl
from typing import Final

import pytest

from stargate.shell_common.troubles import detail_of, trouble_of
from stargate_core.messages import Trouble

OUT: Final = OSError(errno.EHOSTUNREACH, "No route to host")
REFUSED: Final = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNKNOWN: Final = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
UNTRUSTED: Final = ssl.SSLCertVerificationError("certificate verify failed")


def because(error: Exception, *causes: Exception) -> Exception:
    """An error as it is raised when several addresses have been tried."""
    error.__cause__ = causes[0] if len(causes) == 1 else ExceptionGroup("all of them", causes)
    return error


class TestReasons:
    @pytest.mark.parametrize(
        ("error", "trouble"),
        [
            (REFUSED, Trouble.REFUSED),
            (OUT, Trouble.UNREACHABLE),
            (OSError("something else"), Trouble.UNREACHABLE),
            (UNKNOWN, Trouble.NAME_UNKNOWN),
            (UNTRUSTED, Trouble.TLS),
            (because(OSError("all attempts failed"), REFUSED), Trouble.REFUSED),
            (because(OSError("all attempts failed"), OUT, REFUSED), Trouble.REFUSED),
            (because(OSError("all attempts failed"), OUT, OUT), Trouble.UNREACHABLE),
            (ExceptionGroup("nested", [because(OSError("a"), UNKNOWN)]), Trouble.NAME_UNKNOWN),
        ],
    )
    def test_in_the_cores_words(self, error: Exception, trouble: Trouble) -> None:
        assert trouble_of(error) is trouble

    def test_in_the_logs_words_it_is_what_happened_and_each_once(self) -> None:
        error = because(OSError("all attempts to connect failed"), OUT, REFUSED, OUT)
        assert detail_of(error) == (
            "OSError: [Errno 113] No route to host; ConnectionRefusedError: [Errno 111] Connection refused"
        )
        assert detail_of(UNKNOWN) == f"gaierror: {UNKNOWN}"
