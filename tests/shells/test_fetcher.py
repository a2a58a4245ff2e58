"""The fetcher against real servers on this machine: what it asks for, where it goes, and all that it refuses.

Names are resolved by the test, and it is the test that says that loopback may be asked; the rest is as it is
in a gateway. What is public is asked of the fetcher's own rule, by itself.
"""

import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stargate.fetcher import PLACES, REDIRECTS_MAX, URL_CHARS_MAX, Fetcher, is_public
from stargate_core.dialects.face import Fetched
from stargate_core.questions import FetchUrl
from support.tls import Authority

LOOPBACK: Final = "127.0.0.1"
PICTURE: Final = bytes(range(256)) * 300
AUTHORITY: Final = Authority()


def answer(
    body: bytes = PICTURE, status: int = 200, content_type: str = "image/png", **headers: str
) -> bytes:
    """An answer of a site's."""
    fields = {"content_type": content_type, "content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    """A redirect."""
    return answer(b"", status, "", location=location)


class Site:
    """A server: what it answers at each path, and what it was asked."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        self.port = port
        self.pages: dict[str, bytes | Callable[[trio.abc.Stream], Awaitable[None]]] = {}
        self.asked: list[bytes] = []
        self.connections = 0
        self.greeting = b""
        self._tls = tls

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection."""
        self.connections += 1
        try:
            if self.greeting:
                await stream.send_all(self.greeting)
            if self._tls is not None:
                stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
            asked = b""
            while not asked.endswith(b"\r\n\r\n"):
                piece = await stream.receive_some(65536)
                if not piece:
                    return
                asked += bytes(piece)
            self.asked.append(asked)
            page = self.pages.get(asked.split(b" ")[1].decode(), answer(b"", 404))
            if isinstance(page, bytes):
                await stream.send_all(page)
            else:
                await page(stream)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def heads(self) -> list[dict[str, str]]:
        """The headers of each request."""
        return [
            dict(line.split(": ", 1) for line in asked.decode().split("\r\n")[1:] if line)
            for asked in self.asked
        ]


class Net:
    """Names and addresses, as a resolver has them; by what was asked."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.resolved: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError("no such host")
        return self.names[host]


async def a_site(nursery: trio.Nursery, tls: ssl.SSLContext | None = None) -> Site:
    """A site on a free port."""
    [listener] = await trio.open_tcp_listeners(0, host=LOOPBACK)
    site = Site(listener.socket.getsockname()[1], tls)
    nursery.start_soon(partial(trio.serve_listeners, site.serve, [listener]))
    return site


async def a_secure_site(nursery: trio.Nursery, *names: str) -> Site:
    """One behind TLS, whose certificate is for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.configure(context, *(names or ("site.test",)))
    return await a_site(nursery, context)


def fetcher(*sites: Site, net: Net | None = None, inside: Sequence[str] = (LOOPBACK,)) -> Fetcher:
    """One that may ask these sites, and takes `inside` for public."""
    return Fetcher(
        allowed=lambda address: address in inside,
        resolve=(net or Net(site_test=[LOOPBACK])).resolve,
        ports={site.port for site in sites},
        context=AUTHORITY.client_context(),
    )


def question(
    url: str, *, plain: bool = True, hosts: tuple[str, ...] = ("*",), size: int = 1 << 20
) -> FetchUrl:
    return FetchUrl(url, size, 5_000_000_000, hosts, plain)


class TestGood:
    @pytest.mark.trio
    async def test_over_tls_with_the_hosts_own_certificate(self, nursery: trio.Nursery) -> None:
        site = await a_secure_site(nursery)
        site.pages["/a%20b/%C3%BC.png?x=1&y=%2F"] = answer(content_type="Image/PNG; q=1")
        url = f"https://Site.TEST:{site.port}/a%20b/ü.png?x=1&y=%2F#part"
        found = await fetcher(site).fetch(question(url, plain=False))
        assert found == Fetched("image/png", PICTURE)
        assert site.heads() == [
            {
                "host": f"site.test:{site.port}",
                "accept": "*/*",
                "accept-encoding": "identity",
                "user-agent": "stargate",
                "connection": "close",
            }
        ]

    @pytest.mark.trio
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_followed(self, nursery: trio.Nursery, status: int) -> None:
        site = await a_site(nursery)
        site.pages["/a/b"] = redirect("../c", status)
        site.pages["/c"] = redirect(f"//site.test:{site.port}/d", status)
        site.pages["/d"] = answer()
        found = await fetcher(site).fetch(question(f"http://site.test:{site.port}/a/b"))
        assert found == Fetched("image/png", PICTURE)
        assert site.connections == 3

    @pytest.mark.trio
    async def test_every_way_of_framing_a_body(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)
        site.pages["/chunked"] = (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        site.pages["/closed"] = b"HTTP/1.0 200 OK\r\ncontent-type: a/b\r\n\r\nabcde"
        site.pages["/none"] = answer(b"")
        base = f"http://site.test:{site.port}"
        assert await fetcher(site).fetch(question(f"{base}/chunked")) == Fetched("", b"abcde")
        assert await fetcher(site).fetch(question(f"{base}/closed")) == Fetched("a/b", b"abcde")
        assert await fetcher(site).fetch(question(f"{base}/none")) == Fetched("image/png", b"")

    @pytest.mark.trio
    async def test_an_address_that_answers_stands_in_for_one_that_does_not(
        self, nursery: trio.Nursery
    ) -> None:
        site = await a_site(nursery)
        site.pages["/"] = answer()
        net = Net(site_test=["127.0.0.2", LOOPBACK])
        one = fetcher(site, net=net, inside=("127.0.0.2", LOOPBACK))
        assert await one.fetch(question(f"http://site.test:{site.port}")) == Fetched("image/png", PICTURE)
        assert net.resolved == ["site.test"], "no name is resolved twice"

    @pytest.mark.trio
    async def test_an_address_may_stand_for_a_name(self, nursery: trio.Nursery) -> None:
        site = await a_secure_site(nursery, LOOPBACK)
        site.pages["/"] = answer()
        net = Net()
        found = await fetcher(site, net=net).fetch(question(f"https://{LOOPBACK}:{site.port}/"))
        assert (found, net.resolved) == (Fetched("image/png", PICTURE), [])


class TestWhereItMayNotGo:
    """Nothing is connected to, and the caller hears nothing of what is inside."""

    @pytest.mark.trio
    @pytest.mark.parametrize(
        "addresses",
        [
            ["10.0.0.1"],
            ["8.8.8.8", "10.0.0.1"],
            ["2606:4700::1111", "::1"],
            ["169.254.169.254"],
            ["fe80::1%eth0"],
            ["not an address"],
        ],
    )
    async def test_a_name_that_leads_inside(self, addresses: list[str]) -> None:
        net = Net(evil_test=addresses)
        found = await Fetcher(resolve=net.resolve).fetch(question("https://evil.test/x.png"))
        assert found == "its host is not on the public internet"

    @pytest.mark.trio
    @pytest.mark.parametrize("addresses", [None, []])
    async def test_a_name_that_leads_nowhere(self, addresses: list[str] | None) -> None:
        net = Net() if addresses is None else Net(evil_test=addresses)
        found = await Fetcher(resolve=net.resolve).fetch(question("https://evil.test/x.png"))
        assert found == "its host is unknown"

    @pytest.mark.trio
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "[fe80::1%25eth0]",
            "169.254.169.254",
            "0.0.0.0",
            "100.100.100.200",
            "168.63.129.16",
            "127.0.0.1.",
            "１２７.0.0.1",
            "127。0。0。1",
        ],
    )
    async def test_an_address_inside(self, host: str) -> None:
        net = Net()
        found = await Fetcher(resolve=net.resolve).fetch(question(f"https://{host}/x.png"))
        assert isinstance(found, str)
        assert found in {"its host is not on the public internet", "it is not a URL", "it names no host"}
        assert net.resolved == []

    @pytest.mark.trio
    @pytest.mark.parametrize(
        "host",
        [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.01",
            "8.8",
            "1.2.3.4.5",
            "a.0x",
        ],
    )
    async def test_a_number_that_some_take_for_an_address(self, host: str) -> None:
        net = Net()
        found = await Fetcher(resolve=net.resolve).fetch(question(f"https://{host}/x.png"))
        assert (found, net.resolved) == ("it names no host", [])

    @pytest.mark.trio
    async def test_localhost_by_the_systems_own_resolver(self) -> None:
        found = await Fetcher().fetch(question("https://localhost/x.png"))
        assert found == "its host is not on the public internet"

    @pytest.mark.trio
    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("file:///etc/passwd", "only https is fetched"),
            ("ftp://site.test/x", "only https is fetched"),
            ("gopher://site.test/x", "only https is fetched"),
            ("http://site.test/x", "only https is fetched"),
            ("data:image/png;base64,AAAA", "only https is fetched"),
            ("//site.test/x", "only https is fetched"),
            ("", "only https is fetched"),
            ("https://user@site.test/", "it must not hold a user name or password"),
            ("https://user:pw@site.test/", "it must not hold a user name or password"),
            ("https://@site.test/", "it must not hold a user name or password"),
            ("https://127.0.0.1:80@site.test/", "it must not hold a user name or password"),
            ("https://site.test:22/", "its port must be 80 or 443"),
            ("https://site.test:8443/", "its port must be 80 or 443"),
            ("https://site.test:0/", "its port must be 80 or 443"),
            ("https://site.test:99999/", "it is not a URL"),
            ("https://site.test:x/", "it is not a URL"),
            ("https://[::1/", "it is not a URL"),
            ("https://[fe80::x]/", "it is not a URL"),
            ("https:///x", "it names no host"),
            ("https://..", "it names no host"),
            ("https://a..b/", "it names no host"),
            ("https://a b/", "it holds blanks, control characters or backslashes"),
            ("https://site.test/\r\nx: y", "it holds blanks, control characters or backslashes"),
            ("https://site.test\\@evil.test/", "it holds blanks, control characters or backslashes"),
            ("https://site.test/\t", "it holds blanks, control characters or backslashes"),
            ("https://si%74e.test/", "it names no host"),
            ("https://" + "a" * 64 + ".test/", "it names no host"),
            ("https://site.test/" + "x" * URL_CHARS_MAX, "it is too long"),
            ("https://site.test/" + "ü" * 3000, "it is too long"),
        ],
    )
    async def test_what_is_no_url_to_go_to(self, url: str, why: str) -> None:
        net = Net(site_test=[LOOPBACK])
        assert await Fetcher(resolve=net.resolve).fetch(question(url, plain=False)) == why
        assert net.resolved == []

    @pytest.mark.trio
    @pytest.mark.parametrize(
        ("host", "hosts", "may"),
        [
            ("cdn.example.com", ("*.example.com",), True),
            ("CDN.Example.com.", ("*.example.com",), True),
            ("example.com", ("*.example.com",), False),
            ("cdn.example.com.evil.test", ("*.example.com",), False),
            ("evil.test", (), False),
            ("8.8.8.8", ("*.example.com",), False),
            ("8.8.8.8", ("8.8.*",), True),
        ],
    )
    async def test_only_hosts_that_the_operator_allows(
        self, host: str, hosts: tuple[str, ...], may: bool
    ) -> None:
        found = await Fetcher(resolve=Net().resolve, allowed=lambda _: False).fetch(
            question(f"https://{host}/", hosts=hosts)
        )
        assert (found != "its host is not one that may be asked") is may

    @pytest.mark.trio
    @pytest.mark.parametrize(
        ("location", "why"),
        [
            ("http://169.254.169.254/latest/meta-data", "its host is not on the public internet"),
            ("http://inside.test/", "its host is not on the public internet"),
            ("http://[::1]/", "its host is not on the public internet"),
            ("file:///etc/passwd", "only https and http are fetched"),
            ("http://user@site.test/", "it must not hold a user name or password"),
            ("http://site.test:22/", "its port must be 80 or 443"),
            ("http://other.org/", "its host is not one that may be asked"),
            ("", "its server answered 302 without saying where it is"),
            ("http://[/", "its server redirects to what is not a URL"),
        ],
    )
    async def test_nor_by_a_redirect(self, nursery: trio.Nursery, location: str, why: str) -> None:
        site = await a_site(nursery)
        site.pages["/"] = redirect(location)
        net = Net(site_test=[LOOPBACK], inside_test=["10.0.0.1"])
        one = Fetcher(
            allowed=lambda address: address == LOOPBACK, resolve=net.resolve, ports={site.port, 80, 443}
        )
        hosts = ("*.test", "169.*", "::1")
        assert await one.fetch(question(f"http://site.test:{site.port}/", hosts=hosts)) == why
        assert site.connections == 1

    @pytest.mark.trio
    async def test_a_redirect_from_tls_to_none_needs_leave_too(self, nursery: trio.Nursery) -> None:
        secure, plain = await a_secure_site(nursery), await a_site(nursery)
        secure.pages["/"] = redirect(f"http://site.test:{plain.port}/")
        plain.pages["/"] = answer()
        one, url = fetcher(secure, plain), f"https://site.test:{secure.port}/"
        assert await one.fetch(question(url, plain=False)) == "only https is fetched"
        assert plain.connections == 0
        assert await one.fetch(question(url)) == Fetched("image/png", PICTURE)

    @pytest.mark.trio
    async def test_redirects_come_to_an_end(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)
        site.pages["/"] = redirect("/")
        found = await fetcher(site).fetch(question(f"http://site.test:{site.port}/"))
        assert found == f"it is behind more than {REDIRECTS_MAX} redirects"
        assert site.connections == REDIRECTS_MAX + 1

    @pytest.mark.trio
    async def test_a_name_that_changes_its_mind_gains_nothing(self, nursery: trio.Nursery) -> None:
        """The address that was looked at is the one that is asked."""
        site = await a_site(nursery)
        site.pages["/"] = answer()
        turns = iter([[LOOPBACK], ["10.0.0.1"], ["10.0.0.1"]])

        async def resolve(host: str, port: int) -> Sequence[str]:
            return next(turns)

        one = Fetcher(allowed=lambda address: address == LOOPBACK, resolve=resolve, ports={site.port})
        url = f"http://site.test:{site.port}/"
        assert isinstance(await one.fetch(question(url)), Fetched)
        assert await one.fetch(question(url)) == "its host is not on the public internet"
        assert site.connections == 1

    @given(
        st.text()
        | st.builds(
            "{}{}{}{}".format,
            st.sampled_from(["http://", "https://", "HTTPS:", "//", "file:"]),
            st.text(st.sampled_from("a1.:[]@/\\?#%0xü。-"), max_size=20),
            st.sampled_from(["", ":80", ":443", "@b", ".."]),
            st.text(max_size=8),
        )
    )
    def test_any_text_is_an_address_that_is_looked_at_or_refused(self, url: str) -> None:
        looked: list[str] = []

        async def resolve(host: str, port: int) -> Sequence[str]:
            assert host
            assert port in {80, 443}
            return ["10.0.0.1"]

        def allowed(address: str) -> bool:
            ipaddress.ip_address(address)
            looked.append(address)
            return False

        found = trio.run(Fetcher(allowed=allowed, resolve=resolve).fetch, question(url))
        assert isinstance(found, str)
        assert (found == "its host is not on the public internet") is bool(looked)


class TestWhatComes:
    @pytest.mark.trio
    @pytest.mark.parametrize("status", [204, 206, 300, 304, 401, 404, 500])
    async def test_any_other_status_than_200(self, nursery: trio.Nursery, status: int) -> None:
        site = await a_site(nursery)
        site.pages["/"] = answer(b"" if status in (204, 304) else b"secret", status)
        found = await fetcher(site).fetch(question(f"http://site.test:{site.port}/"))
        assert found == f"its server answered {status}"

    @pytest.mark.trio
    async def test_what_is_too_large_by_its_own_account_is_not_read(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)
        site.pages["/"] = answer(b"", content_length="1000000000")
        found = await fetcher(site).fetch(question(f"http://site.test:{site.port}/", size=1000))
        assert found == "it is larger than 1000 bytes"

    @pytest.mark.trio
    async def test_what_turns_out_too_large_is_read_no_further(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)
        sent = 0

        async def endless(stream: trio.abc.Stream) -> None:
            nonlocal sent
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await stream.send_all(bytes(10_000))
                sent += 10_000

        site.pages["/"] = endless
        found = await fetcher(site).fetch(question(f"http://site.test:{site.port}/", size=100_000))
        assert found == "it is larger than 100000 bytes"
        site.pages["/"] = answer(bytes(100_000))
        assert isinstance(
            await fetcher(site).fetch(question(f"http://site.test:{site.port}/", size=100_000)), Fetched
        )

    @pytest.mark.trio
    @pytest.mark.parametrize(
        ("page", "why"),
        [
            (answer(content_encoding="gzip"), "compressed"),
            (answer()[:-1], "no HTTP, or is cut"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "no HTTP, or is cut"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP, or is cut"),
            (b"", "closed without an answer"),
        ],
    )
    async def test_what_cannot_be_used(self, nursery: trio.Nursery, page: bytes, why: str) -> None:
        site = await a_site(nursery)
        site.pages["/"] = page
        found = await fetcher(site).fetch(question(f"http://site.test:{site.port}/"))
        assert isinstance(found, str)
        assert why in found

    @pytest.mark.trio
    @pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
    async def test_what_is_not_encoded_may_say_so(self, nursery: trio.Nursery, encoding: str) -> None:
        site = await a_site(nursery)
        site.pages["/"] = answer(content_encoding=encoding)
        assert isinstance(await fetcher(site).fetch(question(f"http://site.test:{site.port}/")), Fetched)

    @pytest.mark.trio
    @pytest.mark.parametrize("names", [("other.test",), (LOOPBACK,)])
    async def test_a_certificate_for_somebody_else(
        self, nursery: trio.Nursery, names: tuple[str, ...]
    ) -> None:
        site = await a_secure_site(nursery, *names)
        found = await fetcher(site).fetch(question(f"https://site.test:{site.port}/"))
        assert found == "its certificate is not trusted, or not its own"
        assert site.asked == []

    @pytest.mark.trio
    async def test_a_certificate_that_nobody_trusts(self, nursery: trio.Nursery) -> None:
        site = await a_secure_site(nursery)
        one = Fetcher(allowed=lambda _: True, resolve=Net(site_test=[LOOPBACK]).resolve, ports={site.port})
        found = await one.fetch(question(f"https://site.test:{site.port}/"))
        assert found == "its certificate is not trusted, or not its own"

    @pytest.mark.trio
    async def test_a_server_without_tls_and_none_at_all(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)
        site.greeting = b"220 mail.test ESMTP\r\n"
        found = await fetcher(site).fetch(question(f"https://site.test:{site.port}/"))
        assert found == "its server speaks no TLS that can be used"
        [listener] = await trio.open_tcp_listeners(0, host=LOOPBACK)
        gone = Site(listener.socket.getsockname()[1], None)
        await listener.aclose()
        found = await fetcher(gone).fetch(question(f"http://site.test:{gone.port}/"))
        assert found == "its server cannot be reached"


class TestBounds:
    @pytest.mark.trio
    async def test_of_time_for_the_whole_of_it(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)

        async def slow(stream: trio.abc.Stream) -> None:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.02)

        site.pages["/"] = slow
        asked = msgspec.structs.replace(question(f"http://site.test:{site.port}/"), timeout_ns=200_000_000)
        begun = trio.current_time()
        assert await fetcher(site).fetch(asked) == "it was not there within 0.2 s"
        assert trio.current_time() - begun < 1.5

    @pytest.mark.trio
    async def test_of_time_for_a_name_as_well(self) -> None:
        async def resolve(host: str, port: int) -> Sequence[str]:
            await trio.sleep_forever()
            return ()

        asked = msgspec.structs.replace(question("https://site.test/"), timeout_ns=50_000_000)
        assert await Fetcher(resolve=resolve).fetch(asked) == "it was not there within 0.05 s"

    @pytest.mark.trio
    async def test_of_how_many_at_a_time(self, nursery: trio.Nursery) -> None:
        site = await a_site(nursery)
        now = most = 0
        full, gate = trio.Event(), trio.Event()

        async def held(stream: trio.abc.Stream) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            if now == PLACES:
                full.set()
            await gate.wait()
            now -= 1
            await stream.send_all(answer(b"x"))

        site.pages["/"] = held
        one, found = fetcher(site), list[Fetched | str]()

        async def fetch() -> None:
            found.append(await one.fetch(question(f"http://site.test:{site.port}/")))

        async with trio.open_nursery() as callers:
            for _ in range(PLACES + 4):
                callers.start_soon(fetch)
            await full.wait()
            await trio.sleep(0.05)
            assert (now, site.connections) == (PLACES, PLACES)
            gate.set()
        assert found == [Fetched("image/png", b"x")] * (PLACES + 4)
        assert most == PLACES


# ------------------------------------------------------------------------------------------- what is public


class TestPublic:
    @pytest.mark.parametrize(
        "address",
        [
            "8.8.8.8",
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "193.0.0.1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:82a::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ],
    )
    def test_these_are(self, address: str) -> None:
        assert is_public(address)

    @pytest.mark.parametrize(
        "address",
        [
            "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
            "172.16.0.1", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
            "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
            "168.63.129.16", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1", "64:ff9b::a00:1",
            "64:ff9b:1::808:808", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "2002:7f00:1::",
            "2606:4700::5efe:a00:1", "2606:4700::200:5efe:7f00:1", "fc00::1", "fd00:ec2::254", "fe80::1",
            "fec0::1", "ff02::1", "ff0e::1", "fe80::1%eth0", "2606:4700::1%1", "", "localhost", "127.1", "1",
        ],
    )  # fmt: skip
    def test_these_are_not(self, address: str) -> None:
        assert not is_public(address)

    @given(st.ip_addresses(v=4))
    def test_an_address_is_as_public_as_what_carries_it(self, address: ipaddress.IPv4Address) -> None:
        number, public = int(address), is_public(str(address))
        assert is_public(f"::ffff:{address}") is public
        assert is_public(str(ipaddress.IPv6Address((0x0064FF9B << 96) | number))) is public
        isatap = ipaddress.IPv6Address((0x26064700 << 96) | (0x5EFE << 32) | number)
        assert is_public(str(isatap)) is public
        six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)
        assert public or not is_public(str(six_to_four))

    @given(st.ip_addresses())
    def test_nothing_is_public_that_the_standard_library_calls_otherwise(
        self, address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        if is_public(str(address)):
            carried = getattr(address, "ipv4_mapped", None)
            assert (carried or address).is_global
            assert not address.is_multicast
            assert not address.is_loopback
            assert not address.is_link_local
