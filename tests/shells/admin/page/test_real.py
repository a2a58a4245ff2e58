"""The status page of a real gateway in a real browser: `stargate serve` before a simulated Bedrock.

What is typed and clicked here goes through the listener, the workers' boards and the gateway itself. And the
states that the page's other tests are made of (support/admin_states.py) are held against what is really told.
"""

import json
import re
import signal
import urllib.request
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from stargate_core.record import LogRecord
from support import admin_states
from support.browser import Tab, browser, require_browser, tab
from support.gateway import KEY, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.simulator import running_simulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser

require_browser()

TOKEN: Final = "an-admin-token-that-is-long-enough-0123456789"
STALLED: Final = "[[simulator: stall-mid-stream after=3]]"
BROKEN: Final = "[[simulator: cut-mid-frame after=2]]"


@pytest.fixture(scope="module")
def chromium() -> "Generator[Browser]":
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def gateway() -> Generator[RunningGateway]:
    settings = {"admin_listen": "127.0.0.1:0", "admin_token": TOKEN}
    tells = r"reload|stargate\.yaml|the running configuration stays"
    with running_simulator() as simulator:
        with running_gateway(simulator.url, gateway=settings, tells=tells) as running:
            yield running


def admin_url(gateway: RunningGateway) -> str:
    """Where its admin listener listens."""
    found = re.search(r"admin listens on (http\S+)", "\n".join(gateway.told))
    assert found is not None
    return found[1]


def told(gateway: RunningGateway, path: str) -> Any:
    """What its admin API says."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"{admin_url(gateway)}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def only_tab(chromium: "Browser") -> Generator[Tab]:
    with tab(chromium) as one:
        yield one


@pytest.fixture
def opened(only_tab: Tab, gateway: RunningGateway) -> Generator[Tab]:
    """The page, let in and live."""
    with only_tab.lent() as one:
        one.expect("status of 401")
        one.page.goto(admin_url(gateway))
        one.page.locator("#token-dialog[open]").wait_for()
        one.page.fill("#token", TOKEN)
        one.page.keyboard.press("Enter")
        one.page.locator("#connection[data-state=live]").wait_for()
        yield one


def turn_to(one: Tab, view: str) -> None:
    """Another view, without loading anything."""
    one.page.evaluate("(view) => { location.hash = view; }", view)
    one.page.locator(f"#view-{view}").wait_for()


def ask(one: Tab, message: str, *, api: str = "chat", key: str = KEY, model: str = "claude") -> None:
    """Ask in the playground."""
    turn_to(one, "playground")
    one.page.fill("#playground-form [name=key]", key)
    one.page.fill("#playground-form [name=model]", model)
    one.page.select_option("#playground-form [name=api]", api)
    one.page.fill("#playground-form [name=user]", message)
    one.page.click("#playground-send")


def request_id(one: Tab) -> str:
    """The id of the request that was asked last."""
    return one.text("#answer-request")


def test_the_made_up_states_have_the_members_of_a_real_one(gateway: RunningGateway) -> None:
    gateway.openai().chat.completions.create(model="claude", messages=[{"role": "user", "content": "Hi"}])
    real: Any = eventually(lambda: status if (status := told(gateway, "/api/status"))["consumers"] else None)
    made = admin_states.busy()
    assert made.keys() == real.keys()
    for member in ("workers", "consumers", "models"):
        assert made[member][0].keys() == real[member][0].keys()
    assert made["series"].keys() == real["series"].keys()
    assert made["latency"]["total_ms"].keys() == real["latency"]["total_ms"].keys()
    assert len(made["series"]["requests"]) == len(real["series"]["requests"])
    for record in admin_states.records():
        assert msgspec.convert(record, LogRecord).request_id == record["request_id"]
        assert record.keys() <= set(LogRecord.__struct_fields__)


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_the_playground_leads_to_the_record(opened: Tab, gateway: RunningGateway, api: str) -> None:
    ask(opened, "What is a stargate?", api=api)
    opened.wait_for_text("#answer-outcome", "complete")
    assert "What is a stargate?" in opened.text("#answer-text")
    record = gateway.record(request_id=request_id(opened))
    assert (record["outcome"], record["stream"], record["consumer"]) == ("complete", True, "team-a")
    tokens = f"{record['input_tokens']} → {record['output_tokens']}"
    assert opened.text("#answer-tokens") == tokens
    opened.page.click("#answer-request")
    opened.wait_for_text("#drawer .sentences", "Answered 200, to its end")
    assert "the gateway's own" in opened.text("#drawer .timeline-legend")
    assert f"Events\n{record['output_events']}" in re.sub(r"\n+", "\n", opened.text("#drawer"))
    assert tokens in opened.text("#requests-table tbody tr")


def test_an_answer_in_one_piece_is_shown(opened: Tab) -> None:
    turn_to(opened, "playground")
    opened.page.uncheck("#playground-form [name=stream]")
    ask(opened, "In one piece, please")
    opened.wait_for_text("#answer-outcome", "complete")
    assert "In one piece, please" in opened.text("#answer-text")


def test_stopping_cancels_the_call(opened: Tab, gateway: RunningGateway) -> None:
    ask(opened, STALLED)
    opened.page.wait_for_function("() => document.querySelector('#answer-text').textContent.length > 0")
    opened.page.click("#playground-stop")
    opened.wait_for_text("#answer-outcome", "stopped by you")
    assert gateway.record(request_id=request_id(opened))["outcome"] == "client_left"


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_stream_that_breaks_is_never_complete(opened: Tab, gateway: RunningGateway, api: str) -> None:
    ask(opened, BROKEN, api=api)
    opened.page.locator("#answer-problem").wait_for()
    record = gateway.record(request_id=request_id(opened))
    assert record["outcome"] == "failed"
    assert opened.text("#answer-outcome") == "The answer broke off"
    assert "was cut off before its end" in opened.text("#answer-problem")


def test_a_refusal_is_told_in_the_gateways_words(opened: Tab, gateway: RunningGateway) -> None:
    opened.expect("status of 403")
    ask(opened, "Hi", key=NARROW_KEY, model="nova")
    opened.wait_for_text("#answer-problem", "The gateway answered 403")
    record = gateway.record(request_id=request_id(opened))
    assert record["code"] in opened.text("#answer-problem")


def test_models_are_those_of_the_key(opened: Tab) -> None:
    turn_to(opened, "playground")
    opened.page.fill("#playground-form [name=key]", NARROW_KEY)
    opened.page.keyboard.press("Tab")
    opened.wait_for_text("#models-told", "1 to choose from")
    assert opened.page.get_attribute("#playground-models option", "value") == "claude-fast"


def test_a_request_is_explained_by_the_running_configuration(opened: Tab) -> None:
    opened.expect("status of 403")
    ask(opened, "Hi", key=NARROW_KEY, model="claude")
    opened.page.click("#playground-explain")
    opened.wait_for_text("#explain-answer", "would be refused")
    assert "This key may not use the model" in opened.text("#explain-answer .told")
    body = {"model": "claude-fast", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    opened.page.fill("#explain-form [name=body]", json.dumps(body))
    opened.page.keyboard.press("Control+Enter")
    opened.wait_for_text("#explain-answer", "would be sent to Bedrock")
    rows = dict(
        re.split(r"\n+", row, maxsplit=1) for row in opened.page.locator(".told > div").all_inner_texts()
    )
    assert rows["caller"].startswith("team-b, by key ")
    assert "converse-stream" in opened.text("#explain-answer pre")
    assert NARROW_KEY not in opened.page.content()


def test_what_goes_through_is_seen(opened: Tab, gateway: RunningGateway) -> None:
    turn_to(opened, "overview")
    for _ in range(5):
        gateway.openai().chat.completions.create(model="nova", messages=[{"role": "user", "content": "Hi"}])
    opened.wait_for_text("#models", "nova")
    opened.wait_for_text("#consumers", "team-a")


def test_a_refused_reload_is_told_with_its_faults(opened: Tab, gateway: RunningGateway) -> None:
    good = gateway.file.read_text()
    turn_to(opened, "system")
    try:
        gateway.file.write_text(good.replace('"drain_seconds": 2', '"drain_seconds": -2'))
        gateway.process.send_signal(signal.SIGHUP)
        opened.wait_for_text("#reload-error", "drain_seconds")
        opened.wait_for_text("#notices", "last reload failed; generation 1 still serves")
    finally:
        gateway.file.write_text(good)
        gateway.process.send_signal(signal.SIGHUP)
    opened.wait_for_text("#reload-good", "is the newest one")
    assert opened.text("#generation") == "2"
