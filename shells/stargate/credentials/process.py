"""A credential_process within limits: of time, and of what it may print.

botocore waits for the command as long as it runs and keeps all that it prints. The Go SDK gives it a minute
and a buffer that does not grow without end (processcreds.DefaultTimeout, DefaultBufSize), and so do we. It
gets no input: whatever it would ask, nobody is here to answer. What it says on standard error is thrown away
unread, because helpers of this kind like to repeat there what they know.

A process that a *source* profile names is out of reach: botocore starts it inside its own role provider. The
keeper's limit on one search holds for it (`keeper`).
"""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, Final

from stargate.credentials.problems import Unusable

PROCESS_SECONDS: Final = 60.0
PRINTED_BYTES_MAX: Final = 64 * 1024
"""Credentials are about two kilobytes."""


class Process:
    """What botocore's ProcessProvider needs of a Popen."""

    def __init__(self, command: Sequence[str], **_: object) -> None:
        """Start it. Raises Unusable when that cannot be done."""
        try:
            # A session of its own, so that it ends with all that it has started, and has no terminal to ask
            # on.
            self._popen = subprocess.Popen(  # noqa: S603 (the command is the operator's; there is no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            # Without its name: what was meant as arguments may stand in it.
            raise Unusable(f"credential_process cannot be started: {error.strerror}") from None
        self._late = False

    @property
    def returncode(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._popen.returncode

    def communicate(self) -> tuple[bytes, bytes]:
        """What it printed. Raises Unusable when it failed, or went beyond a limit."""
        watch = threading.Timer(PROCESS_SECONDS, self._stop)
        watch.daemon = True
        watch.start()
        try:
            printed = _read(self._popen.stdout)
            if len(printed) > PRINTED_BYTES_MAX:
                self._kill()
            self._popen.wait()
        finally:
            watch.cancel()
        if self._late:
            raise Unusable(f"credential_process did not end within {PROCESS_SECONDS:g} seconds")
        if len(printed) > PRINTED_BYTES_MAX:
            raise Unusable(f"credential_process printed more than {PRINTED_BYTES_MAX} bytes")
        if self._popen.returncode:
            raise Unusable(f"credential_process ended with status {self._popen.returncode}")
        return printed, b""

    def _stop(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _read(pipe: IO[bytes] | None) -> bytes:
    assert pipe is not None, "it was started with one"
    with pipe:
        return pipe.read(PRINTED_BYTES_MAX + 1)
