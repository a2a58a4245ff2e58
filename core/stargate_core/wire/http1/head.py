"""The strict grammar of an HTTP/1.1 head: one regex that accepts, one scanner that explains.

Both codecs pass every head through this file before a parser sees it. `REQUEST_HEAD` and `RESPONSE_HEAD`
match a whole, acceptable, tidy head or nothing; they are linear (all repeats are possessive) and run in C, a
microsecond for fifteen headers. When they don't match, `HeadScan` walks the lines from left to right and
either raises the first objection or says that the head isn't finished. It remembers where it stood, so that
bytes arriving one by one are looked at once.

The scanner's verdict depends only on the bytes so far, and an objection to some bytes is the same objection
to any more bytes after them. Hence a request is refused for the same reason however the network cuts it; and
a client that will never send an empty line (TLS, HTTP/0.9, bare LF) is told so at once, not when a time limit
strikes.

The rules, each stricter than or equal to what h11 and llhttp (in its strict mode) do; where these two differ,
the one that refuses wins:

- Lines end in CRLF. A bare CR or LF is refused (RFC 9112 section 2.2 lets a recipient take LF; smuggling
  lives on it).
- Nothing may come before the request line. Section 2.2 wants an empty line there ignored; h11 refuses it, so
  do we.
- Names are tokens; no blank before the colon (section 5.1). obs-fold is refused (section 5.2).
- Values hold tab, visible ASCII, blanks and obs-text; no other control byte, DEL included (h11 takes most of
  them).
- The method is one of RFC 9110's or PATCH, else 501. llhttp too has a closed list, longer by WebDAV's, which
  no path here serves.
- The target is origin-form or absolute-form; `*` is for OPTIONS and authority-form is for CONNECT alone. Its
  bytes are those of RFC 3986, square brackets anywhere included, since many clients leave them bare in
  queries.
- The version is 1.1 or 1.0. HTTP/0.9 and the HTTP/2 preface are 505, with words that help.

Sources: RFC 9112 sections 2-5; h11's _abnf.py; llhttp's constants.ts.
"""

import re
from typing import Final

from stargate_core.wire.http1.events import Headers, Limits, ProtocolError, Reason

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD = _TOKEN + rb":" + _VALUE + rb"\r\n"
_TARGET = rb"[-!$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~]++"
_REQUEST_LINE = rb"([A-Z]++) (" + _TARGET + rb") HTTP/1\.([01])\r\n"
_STATUS_LINE = rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + _VALUE + rb"))?\r\n"

_TIGHT_FIELD = _TOKEN + rb":" + _VALUE + rb"(?<![\t ])\r\n"

REQUEST_HEAD: Final = re.compile(_REQUEST_LINE + rb"(?:" + _TIGHT_FIELD + rb")*+\r\n")
"""A whole request head without blanks after any value; groups: method, target, minor version.

Blanks are left to the scanner, because taking them off costs a microsecond and hardly anybody sends them.
"""
RESPONSE_HEAD: Final = re.compile(_STATUS_LINE + rb"(?:" + _TIGHT_FIELD + rb")*+\r\n")
"""A whole response head without blanks after any value; groups: minor version, status, reason or None."""
TARGET: Final = re.compile(_TARGET)
"""A request target's characters."""
FIELD_LINE: Final = re.compile(_FIELD)
"""One header or trailer line."""

METHODS: Final = frozenset(
    (b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE")
)

_REQUEST_LINE_RE: Final = re.compile(_REQUEST_LINE)
_STATUS_LINE_RE: Final = re.compile(_STATUS_LINE)
_ANY_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\xff]++) HTTP/([0-9])\.([0-9])\r\n")
_OLD_REQUEST_LINE: Final = re.compile(_TOKEN + rb" [\x21-\xff]++ ?\r\n")
_OTHER_STATUS_LINE: Final = re.compile(rb"HTTP/[0-9]++(?:\.[0-9]++)?+ ")
_HOST = rb"(?:[-0-9A-Za-z._~]++|\[[0-9A-Fa-f:.]++\])"
_ABSOLUTE_FORM: Final = re.compile(rb"(?i:https?)://" + _HOST + rb"(?::[0-9]{1,5}+)?+(?:[/?].*+)?+")
_AUTHORITY_FORM: Final = re.compile(_HOST + rb":[0-9]{1,5}+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_REQUEST_LINE_EXTRA: Final = len(b"OPTIONS  HTTP/1.1\r\n")
"""What a request line holds beside its target, at most."""
_FIRST_BYTE_MIN: Final = 0x21
_TLS_HANDSHAKE: Final = 0x16


def target_is_plain(method: bytes, target: bytes) -> bool:
    """Whether a target that the grammar took needs no closer look: it is a path, and the method isn't
    CONNECT.
    """
    return target[0] == 0x2F and method != b"CONNECT"


def _check_target(method: bytes, target: bytes) -> None:
    """Raise ProtocolError unless the target's form fits the method (RFC 9112 section 3.2)."""
    if method == b"CONNECT":
        fits = _AUTHORITY_FORM.fullmatch(target) is not None
    elif target == b"*":
        fits = method == b"OPTIONS"
    else:
        fits = target[0] == 0x2F or _ABSOLUTE_FORM.fullmatch(target) is not None
    if not fits:
        raise ProtocolError(Reason.BAD_TARGET, "the request target's form does not fit the method")


def _match_request_line(line: bytes, limits: Limits) -> re.Match[bytes]:
    """Method, target and minor version. Raises ProtocolError unless this complete line is acceptable."""
    match = _REQUEST_LINE_RE.fullmatch(line)
    if match is not None and match[1] in METHODS and len(match[2]) <= limits.target_bytes_max:
        _check_target(match[1], match[2])
        return match
    if line == b"PRI * HTTP/2.0\r\n":
        raise ProtocolError(Reason.HTTP2_PREFACE, "HTTP/2 is not spoken here: use HTTP/1.1", 505)
    _check_line_bytes(line)
    match = _ANY_REQUEST_LINE.fullmatch(line)
    if match is None:
        if _OLD_REQUEST_LINE.fullmatch(line) is not None:
            raise ProtocolError(
                Reason.UNSUPPORTED_VERSION, "the request line names no HTTP version: use HTTP/1.1", 505
            )
        raise ProtocolError(Reason.BAD_REQUEST_LINE, "the first line is not an HTTP/1.1 request line")
    if match[3] != b"1" or match[4] not in (b"0", b"1"):
        raise ProtocolError(
            Reason.UNSUPPORTED_VERSION, "this HTTP version is not supported: use HTTP/1.1", 505
        )
    if match[1] not in METHODS:
        raise ProtocolError(Reason.UNKNOWN_METHOD, "the request method is unknown", 501)
    if len(match[2]) > limits.target_bytes_max:
        raise _target_too_long(limits)
    raise ProtocolError(
        Reason.BAD_TARGET, "the request target contains a character that must be percent-encoded"
    )


def _match_status_line(line: bytes, limits: Limits) -> re.Match[bytes]:
    """Minor version, status and reason. Raises ProtocolError unless this complete line is acceptable."""
    del limits  # A status line has no bound of its own beside the head's.
    match = _STATUS_LINE_RE.fullmatch(line)
    if match is not None:
        return match
    _check_line_bytes(line)
    if _OTHER_STATUS_LINE.match(line) is not None and not line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise ProtocolError(Reason.UNSUPPORTED_VERSION, "the response's HTTP version is not supported")
    raise ProtocolError(Reason.BAD_STATUS_LINE, "the first line is not an HTTP/1.1 status line")


def _check_line_bytes(line: bytes) -> None:
    """Raise ProtocolError if the line's end or any byte in it is such as no line of a head may have."""
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        raise ProtocolError(Reason.BARE_LINE_END, "every line must end in CR LF, and neither may stand alone")
    if _CONTROL.search(line) is not None:
        raise ProtocolError(Reason.CONTROL_BYTE, "a control character stands in the message head")


def check_field_line(line: bytes) -> None:
    """Raise ProtocolError unless this complete line (with its line end) is one header field."""
    if FIELD_LINE.fullmatch(line) is not None:
        return
    _check_line_bytes(line)
    if line[:1] in (b" ", b"\t"):
        raise ProtocolError(
            Reason.OBSOLETE_FOLD, "a header line begins with a blank (folded headers are not accepted)"
        )
    raise ProtocolError(Reason.BAD_HEADER, "a header line is not a name, a colon and a value")


def split_plainly(head: bytes) -> Headers:
    """The headers of a whole head that the grammar has accepted."""
    pairs = [line.split(b":", 1) for line in head.split(b"\r\n")[1:-2]]
    return [(name.lower(), value.strip(b" \t")) for name, value in pairs]


def disagree() -> ProtocolError:
    """The objection to a message that our rules accept, and that the parser behind them reads differently."""
    return ProtocolError(Reason.PARSERS_DISAGREE, "the message is not acceptable")


def too_many_headers(limits: Limits) -> ProtocolError:
    """The objection to more header (or trailer) fields than the bound."""
    return ProtocolError(
        Reason.TOO_MANY_HEADERS, f"there are more than {limits.headers_max} header fields", 431
    )


def too_many_interim(limits: Limits) -> ProtocolError:
    """The objection to a server that only ever says 1xx."""
    return ProtocolError(
        Reason.TOO_MANY_INTERIM, f"there are more than {limits.interim_max} interim responses"
    )


def _target_too_long(limits: Limits) -> ProtocolError:
    return ProtocolError(
        Reason.TARGET_TOO_LONG, f"the request target is longer than {limits.target_bytes_max} bytes", 414
    )


class HeadScan:
    """Finds where a head ends, and objects to the first thing in it that is not acceptable. One instance a
    head.
    """

    __slots__ = ("_fields", "_first_max", "_limits", "_line", "_match_start", "_seen", "_start")

    def __init__(self, limits: Limits, *, request: bool) -> None:
        self._limits = limits
        self._match_start = _match_request_line if request else _match_status_line
        self._start: re.Match[bytes] | None = None  # The start line, once it is read.
        self._first_max = limits.target_bytes_max + _REQUEST_LINE_EXTRA if request else limits.head_bytes_max
        # Offsets from the head's first byte:
        self._line = 0  # where the line now looked at begins; 0 only for the first,
        self._seen = 0  # and up to where it is known to hold no LF.
        self._fields = 0

    def advance(self, buffer: bytes | bytearray, at: int = 0) -> tuple[re.Match[bytes], int] | None:
        """The start line, with the groups of the whole grammar, and the length of the head that begins at
        `at`, its empty line included; None while that hasn't come.

        Between calls the head may move in the buffer, and bytes may be added. Raises ProtocolError for the
        first objection.
        """
        if self._line == 0 and at < len(buffer):
            self._check_first_byte(buffer[at])
        while True:
            end = buffer.find(b"\n", at + self._seen) + 1 - at
            if end <= 0:
                self._seen = len(buffer) - at
                self._check_size(self._seen)
                return None
            self._check_size(end)
            line = bytes(buffer[at + self._line : at + end])
            if self._start is None:
                self._start = self._match_start(line, self._limits)
            elif line == b"\r\n":
                return self._start, end
            else:
                self._fields += 1
                if self._fields > self._limits.headers_max:
                    raise too_many_headers(self._limits)
                check_field_line(line)
            self._line = self._seen = end

    def _check_first_byte(self, first: int) -> None:
        """Refuse at once what can't begin a message, for it may never send a line end."""
        if first >= _FIRST_BYTE_MIN:
            return
        if self._match_start is _match_request_line:
            if first == _TLS_HANDSHAKE:
                raise ProtocolError(Reason.TLS_ON_PLAIN_PORT, "this port speaks plain HTTP, not TLS")
            raise ProtocolError(Reason.BAD_REQUEST_LINE, "the message does not begin with a request line")
        raise ProtocolError(Reason.BAD_STATUS_LINE, "the message does not begin with a status line")

    def _check_size(self, size: int) -> None:
        """Refuse a head that reaches to `size` with the line now looked at, if that is too much."""
        limits = self._limits
        if self._line == 0 and size > self._first_max and self._first_max < limits.head_bytes_max:
            raise _target_too_long(limits)
        if size > limits.head_bytes_max:
            raise ProtocolError(
                Reason.HEAD_TOO_LARGE, f"the head is longer than {limits.head_bytes_max} bytes", 431
            )


def read_request_line(buffer: bytes | bytearray) -> tuple[bytes, bytes] | None:
    """Method and target of a refused request whose first line was acceptable; None if it wasn't."""
    match = _REQUEST_LINE_RE.match(buffer)
    return None if match is None else (match[1], match[2])
