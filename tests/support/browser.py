"""A real Chromium for tests, headless, and a page in it that fails its test for whatever it complains of.

`browser` starts the machine's own Chromium (Debian's package, or Chrome) and ends it; where there is none, or
no Playwright to drive it, the tests skip. One browser and one tab serve a file of tests: a context of its own
for each would cost more than the tests do. `Tab.lent` empties it between them, so that nothing one test keeps
is seen by the next. (Playwright's synchronous face holds an event loop in the thread; it must be gone before
another file's tests begin theirs.)

A `Tab` listens to what the browser has to say: errors and warnings on the console, exceptions that nobody
caught, and breaches of the page's policy. At its end there must be none but those a test has expected.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Generator, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Error, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright (pip install --group browser)")

PATIENCE_MS: Final = 10_000
DESKTOP: Final = (1280, 860)
PHONE: Final = (390, 844)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SEVERE: Final = {"serious", "critical"}
_WATCH_POLICY: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


def chromium() -> str | None:
    """The path of the machine's Chromium."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def require_browser() -> None:
    """Skip the calling file where there is no browser."""
    if chromium() is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)", allow_module_level=True)


@contextlib.contextmanager
def browser() -> "Generator[Browser, None, None]":
    """Chromium, until the end of the block."""
    # There is no GPU to ask for.
    # Chromium's sandbox refuses to work for root, as whom many machines run tests.
    options = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=options)
        try:
            yield started
        finally:
            started.close()


class Tab:
    """A page, and what the browser has complained of while it was open."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.complaints: list[str] = []
        self.expected: list[str] = []
        """Patterns of complaints that belong to the test."""
        page.on("console", self._console)
        page.on("pageerror", self._page_error)
        page.add_init_script(_WATCH_POLICY)
        page.set_default_timeout(PATIENCE_MS)

    def _console(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _page_error(self, error: "Error") -> None:
        self.complaints.append(f"exception: {error}")

    def expect(self, pattern: str) -> None:
        """Such a complaint is no fault."""
        self.expected.append(pattern)

    def unexpected(self) -> list[str]:
        """What nobody has expected."""
        known = re.compile("|".join(self.expected) or r"(?!)")
        return [complaint for complaint in self.complaints if not known.search(complaint)]

    @contextlib.contextmanager
    def lent(self) -> "Generator[Tab, None, None]":
        """It, for one test: at the end nothing unexpected may have been complained of, and it is as new."""
        try:
            yield self
            # What the browser has told meanwhile is heard with the next word to it.
            self.page.evaluate("() => new Promise(requestAnimationFrame)")
            assert self.unexpected() == []
        finally:
            if self.page.url.startswith("http"):
                self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
            self.page.goto("about:blank")
            self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
            self.complaints.clear()
            self.expected.clear()

    # ----------------------------------------------------------------------------------- what tests ask of it

    def text(self, selector: str) -> str:
        """What is written there, as it is shown."""
        return self.page.locator(selector).first.inner_text()

    def wait_for_text(self, selector: str, text: str) -> None:
        """Until it contains this."""
        self.page.locator(selector, has_text=text).first.wait_for()

    def focused(self) -> str:
        """The id of what has the focus, or else its words."""
        found = self.page.evaluate(
            "() => { const at = document.activeElement;"
            " return at.id || at.getAttribute('aria-label') || at.textContent.trim().slice(0, 80); }"
        )
        return str(found)

    def settle(self) -> None:
        """Until nothing moves or fades any more."""
        self.page.evaluate("() => Promise.all(document.getAnimations().map((one) => one.finished))")

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("() => document.documentElement.scrollWidth - innerWidth"))

    def faults(self, *rules: str) -> list[str]:
        """What axe-core finds that is serious or critical; by these rules only, if any are given, or by all
        but those that are given with a `-` before them.
        """
        if not self.page.evaluate("() => 'axe' in window"):
            package = resources.files("axe_playwright_python")
            self.page.evaluate(package.joinpath("axe.min.js").read_text(encoding="utf-8"))
        self.settle()
        left_out = {rule[1:]: {"enabled": False} for rule in rules if rule.startswith("-")}
        only = [rule for rule in rules if not rule.startswith("-")]
        # (It would fetch what it needs of other origins, and look into frames: there is nothing of either.)
        options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False, "iframes": False}
        options |= {"rules": left_out} if left_out else {}
        options |= {"runOnly": {"type": "rule", "values": only}} if only else {}
        found = self.page.evaluate("(options) => axe.run(document, options)", options)
        return [_told(fault) for fault in found["violations"] if fault["impact"] in _SEVERE]


def _told(fault: dict[str, Any]) -> str:
    """A fault in one line for each place."""
    places: Sequence[dict[str, Any]] = fault["nodes"]
    lines = [f"{place['target']}: {place.get('failureSummary', '')}" for place in places[:5]]
    return f"{fault['id']} ({fault['impact']}): " + "; ".join(lines)


@contextlib.contextmanager
def tab(started: "Browser", size: tuple[int, int] = DESKTOP, **options: Any) -> Generator[Tab, None, None]:
    """A tab of its own context; at its end nothing unexpected may have been complained of."""
    width, height = size
    context = started.new_context(viewport={"width": width, "height": height}, **options)
    try:
        with Tab(context.new_page()).lent() as opened:
            yield opened
    finally:
        context.close()
