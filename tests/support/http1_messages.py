"""Hypothesis strategies: HTTP/1.1 messages, from impeccable to nearly right to mutilated.

Random bytes never get past the first line of a parser. So messages are put together from parts that are each
good, odd or hostile, and then perhaps mutated at one or two places.
"""

from hypothesis import strategies as st


def _mostly(usual: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the usual, and one time in twelve one of the odd."""
    return st.integers(0, 11).flatmap(lambda n: st.sampled_from(usual if n else odd))


METHODS = _mostly(
    [b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT"],
    [
        b"CONNECT",
        b"PRI",
        b"post",
        b"PROPFIND",
        b"G\xc8T",
        b"",
        b"GE T",
        b"DELETE",
        b"TRACE",
        b"PATCH",
        b"QUERY",
    ],
)
TARGETS = _mostly(
    [b"/", b"/v1/chat/completions", b"/model/a%3A0/converse?x=[1]"],
    [
        b"*",
        b"http://host:80/p?q",
        b"https://h",
        b"http://h?x",
        b"http://u@h/",
        b"http:///x",
        b"ftp://h/",
        b"host:443",
        b"[::1]:443",
        b"/a b",
        b"/\x7f",
        b"/\xc3\xa9",
        b'/"',
        b"/#f",
        b"/\\",
        b"",
        b"//x",
        b"a/b",
        b"/" + b"a" * 50,
    ],
)
VERSIONS = _mostly(
    [b"HTTP/1.1"] * 9 + [b"HTTP/1.0"],
    [b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b"HTTP/0.9", b"", b"HTTP/1.01"],
)
PLAIN_FIELDS = st.sampled_from(
    [
        b"Accept: */*",
        b"content-type:application/json",
        b"X-Empty:",
        b"X-Blank: ",
        b"X-Tabs:\t a\tb \t",
        b"Authorization: Bearer abc",
        b"Connection: keep-alive",
        b"User-Agent: t\xc3\xa9st",
        b"Expect: 100-continue",
        b"X-Twice: 1",
        b"X-Twice: 2",
        b'Cookie: a=b; c="d"',
    ]
)
ODD_FIELDS = st.sampled_from(
    [
        b"Connection: close",
        b"Connection: x, Close",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: h2c",
        b"Name : v",
        b" Folded: v",
        b"\tfolded",
        b": v",
        b"no colon",
        b"X-Nul: a\x00b",
        b"X-Bell: \x07",
        b"X-Del: \x7f",
        b"X-Cr: a\rb",
        b"X-Lf: a\nb",
        b"X-Vt: a\x0bb",
        b"X-Ff:\x0c",
        b"N\xc3\xa4me: v",
        b"Na(me: v",
        b"Host: second",
        b"Host:",
        b"Host: a b",
        b"Host: a/b",
        b"",
        b"Trailer: x",
        b"TE: trailers",
        b"Proxy-Connection: close",
    ]
)
FRAMINGS = _mostly(
    [
        b"Content-Length: 0",
        b"Content-Length: 3",
        b"Content-Length: 05",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:CHUNKED ",
    ],
    [
        b"Content-Length: +3",
        b"Content-Length: -1",
        b"Content-Length: 3, 3",
        b"Content-Length: 3 3",
        b"Content-Length: 0x3",
        b"Content-Length:",
        b"Content-Length: 1_0",
        b"Content-Length: \xd9\xa3",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 18446744073709551616",
        b"Content-Length: 0000000000000000003",
        b"Content-Length : 3",
        b"Content-Length: 3\x0b",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer_Encoding: chunked",
    ],
)
LINE_ENDS = st.sampled_from([b"\r\n"] * 150 + [b"\n", b"\r", b"\r\r\n", b"", b"\n\r", b" \r\n"])
CHUNKS = _mostly(
    [b"3\r\nabc\r\n", b"1\r\n\r\r\n", b"0a\r\n0123456789\r\n", b"A\r\n0123456789\r\n"],
    [
        b"3;ext=1\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3\nabc\r\n",
        b"3\r\nabc\n",
        b"3\r\nabc",
        b"3\r\nabcd\r\n",
        b"0x3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"\r\nabc\r\n",
        b"g\r\n",
        b"00000000000000003\r\nabc\r\n",
        b"0000000000000003\r\nabc\r\n",
        b"ffffffffffffffff\r\nabc\r\n",
        b"10000000000000000\r\n",
        b"3\r\r\nabc\r\n",
        b"3;a\rb\r\nabc\r\n",
    ],
)
LAST_CHUNKS = _mostly(
    [b"0\r\n\r\n"] * 8 + [b"000\r\n\r\n", b"0\r\nX-Checksum: 1\r\n\r\n"],
    [
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\nHost: evil\r\n\r\n",
        b"0\r\nbad line\r\n\r\n",
        b"0\r\n folded: 1\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nX: 1\r\n\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0;x\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"",
        b"0\r\n",
        b"0\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
STATUS_LINES = _mostly(
    [b"HTTP/1.1 200 OK"] * 6
    + [b"HTTP/1.1 200", b"HTTP/1.1 404 Not Found", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No"],
    [
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 199 x",
        b"HTTP/1.1 099 x",
        b"HTTP/1.1 600 x",
        b"HTTP/1.1 999 x",
        b"HTTP/1.1 20 x",
        b"HTTP/1.1 2000 x",
        b"HTTP/1.1  200 x",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 \xe9t\xe9\t!",
        b"HTTP/1.1 200 a\x00b",
        b"HTTP/1.1 200 a\rb",
        b"HTTP/2 200",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"",
        b"HTTP/1.1 +20 x",
        b"HTTP/1.1\t200 x",
    ],
)
INTERIMS = st.sampled_from(
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        b"HTTP/1.1 100 C\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 102 P\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]
)


@st.composite
def _head(draw: st.DrawFn, start: bytes, *, host: bool) -> bytes:
    fields = draw(st.lists(PLAIN_FIELDS, max_size=4))
    if host and draw(st.integers(0, 9)):
        fields.append(b"Host: gateway:8080")
    fields += draw(
        st.lists(FRAMINGS, max_size=1) if draw(st.integers(0, 4)) else st.lists(FRAMINGS, max_size=3)
    )
    if not draw(st.integers(0, 2)):
        fields += draw(st.lists(ODD_FIELDS, max_size=2))
    fields = draw(st.permutations(fields))
    return b"".join(line + draw(LINE_ENDS) for line in (start, *fields, b""))


@st.composite
def _body(draw: st.DrawFn, head: bytes) -> bytes:
    """A body that fits the head's framing, more often than not."""
    if b"chunked" in head.lower() and draw(st.integers(0, 9)):
        return b"".join(draw(st.lists(CHUNKS, max_size=3))) + draw(LAST_CHUNKS)
    return draw(
        st.sampled_from([b"", b"abc", b"abc", b"abcde", b"{}", b"GET /x HTTP/1.1\r\nHost: y\r\n\r\n"])
    )


@st.composite
def _mutated(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        byte = draw(
            st.sampled_from([b"\r", b"\n", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"\x80", b"a"])
        )
        match draw(st.integers(0, 3)):
            case 0:
                data = data[:at] + byte + data[at:]
            case 1:
                data = data[:at] + byte + data[at + 1 :]
            case 2:
                data = data[:at] + data[at + 1 :]
            case _:
                end = draw(st.integers(at, min(len(data), at + 12)))
                data = data[:end] + data[at:end] + data[end:]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The bytes of one to three requests on a connection."""
    data = b""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        start = b" ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS)))
        head = draw(_head(start, host=True))
        data += head + draw(_body(head))
    return draw(_mutated(data))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """The bytes of a response, perhaps after interim ones, perhaps with something after it."""
    head = draw(_head(draw(STATUS_LINES), host=False))
    data = b"".join(draw(st.lists(INTERIMS, max_size=1))) + head + draw(_body(head))
    return draw(_mutated(data + draw(st.sampled_from([b"", b"", b"x"]))))


def cuts() -> st.SearchStrategy[list[int]]:
    """Places to cut a message at."""
    return st.lists(st.integers(1, 400), max_size=8)
