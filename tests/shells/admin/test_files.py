"""The page's files: those that are in the package, by name and by nothing else."""

from stargate.admin.files import KINDS, File, page_files, serve_file
from stargate.admin.messages import Request, request_of
from stargate_core.wire.http1 import RequestHead

FILE = File(b"text/css", b"p {}", b'"0123"')


def request(**headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return request_of(RequestHead(b"GET", b"/page/a.css", b"1.1", fields, True, False, None, False), b"")


class TestServing:
    def test_a_browser_that_has_it_already_is_told_so(self) -> None:
        for known in ('"0123"', 'W/"0123"', '"other", "0123"'):
            reply = serve_file(FILE, request(if_none_match=known))
            assert (reply.status, reply.body) == (304, b"")
            assert (b"etag", b'"0123"') in reply.headers

    def test_others_get_it_under_a_strict_policy(self) -> None:
        reply = serve_file(FILE, request(if_none_match='"old"'))
        assert (reply.status, reply.body) == (200, b"p {}")
        headers = dict(reply.headers)
        assert headers[b"content-type"] == b"text/css"
        assert headers[b"content-security-policy"].startswith(b"default-src 'none'; script-src 'self';")
        assert b"unsafe" not in headers[b"content-security-policy"]


def test_what_is_in_the_package_is_found() -> None:
    found = page_files()
    assert all("." + name.rpartition(".")[2] in KINDS for name in found)
    assert len({file.etag for file in found.values()}) == len(found)
