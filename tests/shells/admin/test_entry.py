"""Who may ask the admin listener: with a token, without one, and through a browser of a stranger's."""

from typing import Final

import pytest

from stargate.admin.entry import Entry
from stargate_core.config.addresses import parse_address
from stargate_core.secret import Secret
from stargate_core.wire.http1 import RequestHead

TOKEN: Final = "planted-admin-token-0123456789"


def head(**headers: str) -> RequestHead:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return RequestHead(b"GET", b"/api/status", b"1.1", fields, True, False, None, False)


def status(entry: Entry, **headers: str) -> int:
    """What a request is refused with; 200: it is let in."""
    refusal = entry.refusal(head(**headers))
    return 200 if refusal is None else refusal.status


class TestToken:
    ENTRY: Final = Entry(parse_address("0.0.0.0:8001"), Secret(TOKEN))

    @pytest.mark.parametrize("said", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
    def test_whoever_shows_it_is_let_in(self, said: str) -> None:
        assert status(self.ENTRY, host="anything.example", authorization=said) == 200

    @pytest.mark.parametrize(
        "said", ["", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
    )
    def test_nobody_else_is(self, said: str) -> None:
        refusal = self.ENTRY.refusal(head(host="127.0.0.1", authorization=said))
        assert refusal is not None
        assert refusal.status == 401
        assert (b"www-authenticate", b'Bearer realm="stargate admin"') in refusal.headers
        assert b"gateway.admin_token" in refusal.body

    def test_nor_who_shows_nothing(self) -> None:
        assert status(self.ENTRY, host="127.0.0.1") == 401


class TestNoToken:
    ENTRY: Final = Entry(parse_address("127.0.0.1:8001"), None)

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1:8001", "127.0.0.1", "127.8.9.1:1", "localhost:8001", "LOCALHOST.", "[::1]:8001", "[::1]"],
    )
    def test_this_machines_names_are_taken(self, host: str) -> None:
        assert status(self.ENTRY, host=host) == 200
        assert status(self.ENTRY, host=host, origin=f"http://{host}", sec_fetch_site="same-origin") == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:8001",
            "evil@127.0.0.1", "[::2]", "127.0.0.1:x", "", "[", "127.0.0.1:8001:1", "localhost\xe9",
        ],
    )  # fmt: skip
    def test_a_name_that_was_made_to_point_here_is_not(self, host: str) -> None:
        assert status(self.ENTRY, host=host) == 403

    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8001", "file://", ""],
    )
    def test_another_sites_page_may_not_ask(self, origin: str) -> None:
        assert status(self.ENTRY, host="127.0.0.1:8001", origin=origin) == 403

    @pytest.mark.parametrize(("site", "expected"), [("none", 200), ("cross-site", 403), ("same-site", 403)])
    def test_nor_where_its_browser_says_so_alone(self, site: str, expected: int) -> None:
        assert status(self.ENTRY, host="127.0.0.1:8001", sec_fetch_site=site) == expected

    def test_a_program_that_names_no_host_is_no_browser(self) -> None:
        assert status(self.ENTRY) == 200

    def test_the_listeners_own_name_is_taken(self) -> None:
        assert status(Entry(parse_address("[::1]:8001"), None), host="[::1]:8001") == 200

    def test_whoever_may_open_a_unix_socket_may_ask(self) -> None:
        entry = Entry(parse_address("unix:/run/admin.sock"), None)
        assert status(entry, host="anything.example", origin="http://anything.example") == 200
