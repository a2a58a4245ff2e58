"""Pictures of the status page for the documents, and what it costs: `python tests/status_page.py pictures`,
and `... costs`.

Pictures are taken in the machine's own Chromium, of the states that are made up in support/admin_states.py:
the same each time but for the machine's fonts. Look at each before it is committed.

Costs are measured, and told, but never asserted: they say as much about the machine as about the page. What
an update costs is thread time of the page's main thread (Chromium's own count), which other programs on the
machine do not change.
"""

import json
import os
import random
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

from support import admin_states
from support.admin_fake import FakeAdmin, fake_admin
from support.browser import PHONE, Tab, browser, tab
from support.gateway import running_gateway
from support.simulator import running_simulator

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"
SIZE: Final = (1120, 640)
BYTES_MAX: Final = 150_000
LOADS: Final = 21
UPDATES: Final = 60
VIEWS: Final = ("overview", "requests", "limits", "system")
ANSWER: Final = (
    "A stargate is a ring that joins two distant places, so that whoever steps through the one comes out of "
    "the other. This one joins the API your program speaks to Bedrock: what goes in is checked, counted, "
    "signed and sent, and what comes back is handed over token by token, in the words your program knows. "
    "Nothing is kept on the way but the figures on this page, and"
)


def show(one: Tab, admin: FakeAdmin, view: str) -> None:
    """The page at a view, with the state that is told."""
    one.page.goto("about:blank")
    one.page.goto(f"{admin.url}/#{view}")
    one.page.locator("#connection[data-state=live]").wait_for()
    one.page.evaluate("() => document.fonts.ready")
    one.page.wait_for_timeout(500)


def take(one: Tab, name: str) -> None:
    """The picture."""
    path = FOLDER / f"page-{name}.png"
    one.page.mouse.move(0, 0)
    one.page.evaluate("() => scrollTo(0, 0)")
    one.page.screenshot(path=path, animations="disabled", caret="hide")
    size = path.stat().st_size
    print(f"{path.relative_to(FOLDER.parents[1])}: {size:,} bytes")  # noqa: T201
    assert size <= BYTES_MAX, "too large for a repository"


def stream(one: Tab, admin: FakeAdmin) -> None:
    """The playground in the midst of an answer."""
    words = ANSWER.split(" ")
    admin.answer = [json.dumps({"choices": [{"delta": {"content": f"{word} "}}]}) for word in words]
    admin.waits_before_end = True
    admin.pace_seconds = 0.02
    show(one, admin, "playground")
    one.page.fill("#playground-form [name=key]", "sk-checkout-0123456789abcdef")
    one.page.fill("#playground-form [name=system]", "You explain things plainly.")
    one.page.fill("#playground-form [name=model]", "claude")
    one.page.click("#playground-send")
    one.wait_for_text("#answer-text", " ".join(words[-3:]))


def pictures() -> None:
    """All of them."""
    FOLDER.mkdir(exist_ok=True)
    with fake_admin() as admin, browser() as started:
        with tab(started, SIZE, color_scheme="light", timezone_id="UTC") as one:
            show(one, admin, "overview")
            take(one, "overview")
            failed = next(record for record in admin.records if record["outcome"] == "failed")
            show(one, admin, f"requests/{failed['request_id']}")
            one.page.locator("#drawer .sentences").wait_for()
            take(one, "requests")
            admin.status = admin_states.near()
            show(one, admin, "limits")
            take(one, "limits")
            admin.status = admin_states.broken()
            show(one, admin, "system")
            take(one, "system")
            admin.status = admin_states.busy()
            stream(one, admin)
            take(one, "playground")
            admin.go_on()
        with tab(started, SIZE, color_scheme="dark", timezone_id="UTC") as one:
            show(one, admin, "overview")
            take(one, "dark")
        with tab(started, PHONE, color_scheme="light", timezone_id="UTC", is_mobile=True) as one:
            show(one, admin, "overview")
            take(one, "phone")


# ------------------------------------------------------------------------------------------------------ costs


_FIRST_FIGURES: Final = """() => new Promise((resolve) => {
  const look = () => {
    const shown = document.querySelector("#tile-requests")?.textContent ?? "–";
    if (shown === "–") return requestAnimationFrame(look);
    const files = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/page/"));
    resolve({
      document: performance.getEntriesByType("navigation")[0].responseEnd,
      files: Math.max(...files.map(({ responseEnd }) => responseEnd)),
      "first paint": performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
      figures: performance.now() });
  };
  look();
})"""


def loads(started: Any, url: str) -> list[dict[str, float]]:
    """When each step of some first loads was over, in milliseconds since the navigation's start: nothing is
    in the browser's cache.
    """
    told = []
    with tab(started) as one:
        # A browser that runs: what is measured is the page, not the start of a process.
        one.page.goto(url)
        session = one.page.context.new_cdp_session(one.page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        for _ in range(LOADS):
            one.page.goto("about:blank")
            one.page.goto(url, wait_until="commit")
            told.append(one.page.evaluate(_FIRST_FIGURES))
    return told


def tell_loads(started: Any, server: str, url: str) -> None:
    """What a first load took."""
    told = loads(started, url)
    for name in told[0]:
        times = sorted(one[name] for one in told)
        figures = f"median {median(times):.0f} ms, best {times[0]:.0f}, worst {times[-1]:.0f} of {LOADS}"
        print(f"{server}, first load, {name}: {figures}")  # noqa: T201


def real_loads(started: Any) -> None:
    """A load from `stargate serve` itself, that serves nobody else meanwhile."""
    with running_simulator() as simulator:
        with running_gateway(simulator.url, gateway={"admin_listen": "127.0.0.1:0"}) as gateway:
            found = re.search(r"admin listens on (http\S+)", "\n".join(gateway.told))
            assert found is not None
            tell_loads(started, "stargate serve", found[1])


def updates(one: Tab, admin: FakeAdmin, view: str) -> dict[str, float]:
    """What one update costs in a view, in milliseconds of the main thread."""
    chance = random.Random(3)
    show(one, admin, view)
    session = one.page.context.new_cdp_session(one.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def metrics() -> dict[str, float]:
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}

    before = metrics()
    for number in range(UPDATES):
        series = {
            name: values if name == "step_seconds" else [*values[1:], chance.randrange(50)]
            for name, values in admin.status["series"].items()
        }
        rows = [{**row, "requests": row["requests"] + 1} for row in admin.status["consumers"]]
        admin.tell(series=series, consumers=rows, in_flight=1000 + number)
        one.page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 30))")
    after = metrics()
    names = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
    return {name: (after[name] - before[name]) / UPDATES * 1000 for name in names}


def costs() -> None:
    """What a load and an update cost: a load of the real gateway's page, an update of the fake's."""
    with fake_admin() as admin, browser() as started:
        print(f"load of this machine: {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")  # noqa: T201
        real_loads(started)
        with tab(started) as one:
            for view in VIEWS:
                parts = ", ".join(f"{name} {ms:.2f}" for name, ms in updates(one, admin, view).items())
                print(f"an update of {view}, in ms: {parts}")  # noqa: T201


if __name__ == "__main__":
    {"pictures": pictures, "costs": costs}[sys.argv[1]]()
