"""The status page in a real browser, before a fake of the admin listener that can show every state.

Every tab fails its test for an error on its console or a breach of its policy. What the page says is read as
a person reads it; what a person without a mouse, without eyes or on a phone meets is walked through.
"""

import json
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

from support import admin_states
from support.admin_fake import STREAM_ENDED, FakeAdmin, fake_admin
from support.browser import DESKTOP, PHONE, Tab, browser, require_browser, tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

require_browser()

VIEWS: Final = ("overview", "requests", "limits", "system", "explain", "playground")
TOKEN: Final = "an-admin-token-of-good-length"
LOST: Final = "Failed to load resource"


@pytest.fixture(scope="module")
def chromium() -> "Generator[Browser]":
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def only_tab(chromium: "Browser") -> Generator[Tab]:
    with tab(chromium) as one:
        yield one


@pytest.fixture(scope="module")
def only_admin() -> Generator[FakeAdmin]:
    with fake_admin() as fake:
        yield fake


@pytest.fixture
def admin(only_admin: FakeAdmin) -> FakeAdmin:
    """The file's only one; it has forgotten the test before."""
    only_admin.forget()
    return only_admin


@pytest.fixture
def one(only_tab: Tab, admin: FakeAdmin) -> Generator[Tab]:
    """An empty tab."""
    with only_tab.lent() as lent:
        yield lent


@pytest.fixture
def opened(one: Tab, admin: FakeAdmin) -> Tab:
    """The page, live, at its overview."""
    show(one, admin)
    return one


def show(one: Tab, admin: FakeAdmin, view: str = "") -> None:
    """Open the page at a view, and wait until it is live."""
    one.page.goto(f"{admin.url}/#{view}")
    live(one)


def live(one: Tab) -> None:
    one.page.locator("#connection[data-state=live]").wait_for()
    # The status is drawn with the next frame.
    one.page.evaluate("() => new Promise(requestAnimationFrame)")


def turn_to(one: Tab, view: str) -> None:
    """Another view, without loading anything."""
    one.page.evaluate("(view) => { location.hash = view; }", view)
    one.page.locator(f"#view-{view.partition('/')[0].partition('?')[0]}").wait_for()
    one.page.evaluate("() => new Promise(requestAnimationFrame)")


def piece(text: str) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}}]})


def send(one: Tab, admin: FakeAdmin, *answer: str, settles: bool = True) -> None:
    """Ask in the playground, and wait for the end if there is to be one."""
    admin.answer = list(answer)
    turn_to(one, "playground")
    one.page.fill("#playground-form [name=model]", "claude")
    one.page.fill("#playground-form [name=key]", "sk-consumer-0123456789abcdef")
    one.page.click("#playground-send")
    if settles:
        one.page.locator("#answer-outcome:is([data-tone=good], [data-tone=bad])").wait_for()


# ---------------------------------------------------------------------------------------------- what is seen


class TestViews:
    def test_every_view_shows_every_state(self, one: Tab, admin: FakeAdmin) -> None:
        admin.status = admin_states.quiet()
        show(one, admin)
        for number, state in enumerate(admin_states.STATES):
            turn_to(one, "overview")
            admin.tell(**{**admin_states.STATES[state](), "in_flight": 1000 + number})
            one.wait_for_text("#tile-in-flight", f"{1000 + number:,} in flight")
            for view in VIEWS:
                turn_to(one, view)
                heading = one.text(f"#view-{view} h1")
                assert one.page.title() == f"{heading} · Stargate"
                shown = one.text("main")
                missing = {word for word in ("undefined", "NaN", "[object", "null") if word in shown}
                assert not missing, (state, view, shown)

    def test_the_overview_tells_what_goes_through(self, opened: Tab, admin: FakeAdmin) -> None:
        series = admin.status["series"]
        each = sum(series["requests"][-10:]) / 10
        assert float(opened.text("#tile-requests")) == pytest.approx(each, abs=0.05)
        errors, requests = sum(series["errors"][-60:]), sum(series["requests"][-60:])
        assert opened.text("#tile-errors-note") == f"{errors} of {requests:,} in a minute"
        assert opened.text("#tile-cost-note").startswith(f"${sum(series['cost_usd'][-60:]):.2f}")
        rows = opened.page.locator("#consumers tbody tr").all_inner_texts()
        assert [row.split()[0] for row in rows] == [
            "checkout-assistant",
            "support-search",
            "research-notebooks",
            "ci-review-bot",
        ]

    def test_a_table_is_sorted_by_the_column_that_is_chosen(self, opened: Tab) -> None:
        opened.page.click("#consumers button:has-text('Errors')")
        names = opened.page.locator("#consumers tbody th a").all_inner_texts()
        assert names[0] == "research-notebooks"
        assert opened.page.locator("#consumers th[aria-sort=descending]").inner_text().startswith("Errors")

    def test_what_is_out_of_order_is_told_above_every_view(self, one: Tab, admin: FakeAdmin) -> None:
        admin.status = admin_states.broken()
        show(one, admin, "limits")
        told = one.text("#notices")
        for words in (
            "last reload failed",
            "Worker 3 is not heard of",
            "its breaker is open",
            "redis store is down",
            "12 log records dropped",
        ):
            assert words in told
        one.page.click("#notices a")
        one.page.locator("#view-system").wait_for()
        assert one.text("#reload-error-text").splitlines() == admin.status["reload_error"]
        assert "tried again in 18 s" in one.text("#targets")
        assert "not heard of" in one.text("#workers tbody tr:nth-child(3)")

    def test_the_fullest_limit_comes_first_and_can_be_found(self, one: Tab, admin: FakeAdmin) -> None:
        admin.status = admin_states.near()
        show(one, admin, "limits")
        meters = one.page.locator("#limits-table .meter")
        assert meters.first.get_attribute("aria-valuetext") == "400K of 400K, used up"
        assert meters.nth(1).get_attribute("aria-valuenow") == "93.5"
        one.page.fill("#limits-filter", "ci-review")
        assert one.page.locator("#limits-table tbody tr").count() == 1

    def test_names_that_others_choose_stay_names(self, one: Tab, admin: FakeAdmin) -> None:
        admin.status = admin_states.hostile()
        admin.records = admin_states.records(3, model=admin_states.INJECTION)
        show(one, admin)
        send(one, admin, piece(admin_states.INJECTION), STREAM_ENDED)
        assert one.text("#answer-text") == admin_states.INJECTION
        for view in VIEWS:
            turn_to(one, view)
            assert one.page.title() != "owned"
        turn_to(one, f"requests/{admin.records[0]['request_id']}")
        one.page.locator("#drawer .sentences").wait_for()
        assert admin_states.INJECTION in one.text("#drawer")
        assert admin_states.INJECTION in one.text("#requests-table")
        assert one.page.locator("main img, dialog img").count() == 0
        assert one.page.locator("script").count() == 2

    def test_a_breach_of_the_policy_would_be_noticed(self, one: Tab, admin: FakeAdmin) -> None:
        one.expect("policy: |Content Security Policy")
        show(one, admin)
        one.page.evaluate("() => document.body.setAttribute('style', 'color: red')")
        one.page.evaluate("() => fetch('https://elsewhere.example/').catch(() => {})")
        one.page.wait_for_function("() => true")
        broken = {complaint.split()[2] for complaint in one.complaints if "policy: " in complaint}
        assert broken == {"style-src-attr", "connect-src"}


# ------------------------------------------------------------------------------------------- as time goes on


class TestUpdates:
    def test_what_has_changed_changes_in_place(self, opened: Tab, admin: FakeAdmin) -> None:
        opened.page.evaluate("() => { document.querySelector('#consumers tbody tr').mine = true; }")
        opened.page.focus("#consumers tbody tr:nth-child(2) a")
        rows = [dict(row) for row in admin.status["consumers"]]
        rows[0]["requests"] += 1
        admin.tell(consumers=rows, in_flight=99)
        opened.wait_for_text("#tile-in-flight", "99 in flight")
        assert "4,121" in opened.text("#consumers tbody tr:nth-child(1)")
        assert opened.page.evaluate("() => document.querySelector('#consumers tbody tr').mine")
        assert opened.focused() == "support-search"

    def test_a_screen_reader_is_told_of_changes_of_order_only(self, opened: Tab, admin: FakeAdmin) -> None:
        opened.page.evaluate(
            "() => { window.said = []; new MutationObserver(() => said.push(announcer.textContent))"
            ".observe(announcer, {childList: true, characterData: true, subtree: true}); }"
        )
        for figure in range(101, 105):
            admin.tell(in_flight=figure)
            opened.wait_for_text("#tile-in-flight", f"{figure} in flight")
        admin.tell(store={"kind": "redis", "state": "down"})
        opened.wait_for_text("#notices", "redis store is down")
        admin.tell(in_flight=105)
        opened.wait_for_text("#tile-in-flight", "105 in flight")
        admin.tell(store={"kind": "redis", "state": "up"})
        opened.wait_for_text("#announcer", "in order")
        assert opened.page.evaluate("said") == ["The redis store is down.", "All is in order again."]

    def test_a_lost_gateway_is_told_and_found_again(self, opened: Tab, admin: FakeAdmin) -> None:
        opened.expect(LOST)
        admin.end_streams()
        opened.page.locator("#connection[data-state=lost]").wait_for()
        opened.wait_for_text("#connection", "Stale for")
        assert "connection is lost" in opened.text("#announcer")
        assert opened.page.locator("html.stale").count() == 1
        admin.ends_streams = False
        opened.page.click("#connection")
        live(opened)
        assert opened.text("#announcer") == "Live again."
        assert opened.page.locator("html.stale").count() == 0

    def test_updates_can_be_paused(self, opened: Tab, admin: FakeAdmin) -> None:
        opened.page.keyboard.press("p")
        opened.wait_for_text("#connection", "Paused")
        admin.tell(in_flight=77)
        opened.page.click("#pause")
        opened.wait_for_text("#tile-in-flight", "77 in flight")

    def test_where_less_motion_is_wanted_nothing_moves(self, one: Tab, admin: FakeAdmin) -> None:
        one.page.emulate_media(reduced_motion="reduce")
        show(one, admin, f"requests/{admin.records[0]['request_id']}")
        one.page.locator("#drawer .sentences").wait_for()
        moving = one.page.evaluate(
            "() => document.getAnimations().length + [...document.querySelectorAll('*')].filter((node) =>"
            " getComputedStyle(node).transitionDuration !== '0s').length"
        )
        assert moving == 0


class TestRequests:
    def test_are_filtered_by_the_gateway(self, opened: Tab, admin: FakeAdmin) -> None:
        turn_to(opened, "requests")
        opened.page.fill("#requests-filter [name=consumer]", "support-search")
        opened.page.check("#requests-filter [name=failed]")
        opened.page.wait_for_function(
            "() => document.querySelectorAll('#requests-table tbody tr').length > 0 &&"
            " [...document.querySelectorAll('#requests-table tbody tr')].every((row) =>"
            " row.dataset.tone === 'bad' && row.textContent.includes('support-search'))"
        )
        assert "GET /api/requests?limit=100&consumer=support-search&outcome=failed" in admin.asked
        assert opened.page.url.endswith("#requests?consumer=support-search&failed=1")

    def test_a_consumer_leads_to_its_requests(self, opened: Tab, admin: FakeAdmin) -> None:
        opened.page.click("#consumers a:has-text('support-search')")
        opened.page.locator("#requests-table tbody tr").first.wait_for()
        assert opened.page.input_value("#requests-filter [name=consumer]") == "support-search"
        assert "GET /api/requests?limit=100&consumer=support-search" in admin.asked

    def test_nothing_moves_under_the_hand(self, opened: Tab, admin: FakeAdmin) -> None:
        turn_to(opened, "requests")
        first = opened.page.locator("#requests-table tbody tr a").first
        first.focus()
        known = first.get_attribute("href")
        admin.records = [{**admin.records[0], "request_id": "req_new"}, *admin.records]
        opened.wait_for_text("#requests-held", "Show 1 new request")
        assert first.get_attribute("href") == known
        opened.page.click("#requests-held")
        assert first.get_attribute("href") == "#requests/req_new"
        assert opened.page.locator("#requests-held").is_hidden()

    def test_one_is_told_in_sentences_with_its_journal(self, opened: Tab, admin: FakeAdmin) -> None:
        failed = next(record for record in admin.records if record["outcome"] == "failed")
        turn_to(opened, f"requests/{failed['request_id']}")
        opened.page.locator("#drawer .sentences").wait_for()
        told = opened.text("#drawer")
        for words in ("MODEL_UNAVAILABLE", "How it ended", "us-west-2: 503 in 190 ms", failed["consumer"]):
            assert words in told
        with opened.page.expect_download() as saved:
            opened.page.click("#drawer button:has-text('journal')")
        assert saved.value.suggested_filename == "fault-0001.journal"
        assert saved.value.path().read_bytes() == b"a journal"

    def test_one_is_told_with_all_that_its_record_has(self, opened: Tab, admin: FakeAdmin) -> None:
        def told(number: int) -> str:
            turn_to(opened, f"requests/{admin.records[number]['request_id']}")
            opened.wait_for_text("#drawer-id", admin.records[number]["request_id"])
            opened.page.locator("#drawer-content:not([aria-busy]) .sentences").wait_for()
            return re.sub(r"\s+", " ", opened.text("#drawer"))

        admin.records[9] |= {"total_ms": 1000.0, "upstream_ms": 700.0, "overhead_ms": 100.0, "cost_usd": 0.5}
        admin.records[9] |= {"output_events": 1234, "inter_token_ms": 21.4, "trace_id": "ab" * 16}
        left = told(9)
        for words in (
            "100 ms the gateway's own 700 ms Bedrock 200 ms waiting for the caller",
            "$0.50 (estimated: no price is known)",
            "Redactions 2",
            "Events 1,234",
            "Between two events 21 ms on average",
            f"Trace {'ab' * 16}",
        ):
            assert words in left
        pieces = opened.page.locator(".timeline span")
        assert [
            pieces.nth(at).evaluate("(piece) => piece.style.getPropertyValue('--fraction')")
            for at in range(3)
        ] == ["0.1000", "0.7000", "0.2000"]
        assert "Limited by tokens_per_minute_by_key" in told(11)
        before = told(40)
        assert "until the first byte" in before
        assert not [name for name in ("Bedrock 0", "Trace", "Events", "Redactions") if name in before]

    def test_one_that_is_not_kept_is_said_to_be_so(self, opened: Tab) -> None:
        opened.expect(LOST)
        turn_to(opened, "requests/req_gone")
        opened.wait_for_text("#drawer-content", "not among the recent ones")


# ----------------------------------------------------------------------------------------------- who may ask


class TestToken:
    def test_is_asked_for_kept_in_the_tab_and_forgotten(self, one: Tab, admin: FakeAdmin) -> None:
        admin.token = TOKEN
        one.expect(LOST)
        one.page.goto(admin.url)
        one.page.locator("#token-dialog[open]").wait_for()
        assert one.focused() == "token"
        one.page.keyboard.press("Escape")
        assert one.page.locator("#token-dialog").is_visible()
        one.page.keyboard.type("a wrong one")
        one.page.keyboard.press("Enter")
        one.wait_for_text("#token-problem", "missing or wrong admin token")
        one.page.fill("#token", TOKEN)
        one.page.keyboard.press("Enter")
        live(one)
        assert one.page.locator("#token-dialog").is_hidden()
        assert one.page.evaluate("() => [localStorage.length, sessionStorage['stargate.token']]") == [
            0,
            TOKEN,
        ]
        one.page.reload()
        live(one)
        one.page.click("#forget")
        one.page.locator("#token-dialog[open]").wait_for()
        assert one.page.evaluate("() => sessionStorage.length") == 0


# -------------------------------------------------------------------------------------------- the playground


class TestPlayground:
    def test_shows_tokens_as_they_come(self, opened: Tab, admin: FakeAdmin) -> None:
        admin.waits_before_end = True
        usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 42}})
        send(opened, admin, piece("A gate "), piece("to the stars."), usage, STREAM_ENDED, settles=False)
        opened.wait_for_text("#answer-text", "A gate to the stars.")
        assert opened.text("#answer-outcome") == "answering"
        assert opened.page.locator("#answer-text[aria-busy]").count() == 1
        admin.go_on()
        opened.wait_for_text("#answer-outcome", "complete")
        assert opened.text("#answer-tokens") == "7 → 42"
        assert opened.text("#announcer") == "complete. 42 tokens."
        opened.page.click("summary")
        # (What is scrolled out of sight is not laid out, and has no inner text.)
        assert opened.page.locator("#answer-raw li").last.text_content() == "[DONE]"
        chat = admin.chats[0]
        assert chat["headers"]["x-api-key"] == "sk-consumer-0123456789abcdef"
        assert chat["body"] == {
            "model": "claude",
            "messages": [{"role": "user", "content": "What is a stargate?"}],
            "max_completion_tokens": 512,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        opened.page.click("#answer-request")
        opened.page.locator("#drawer .sentences").wait_for()

    def test_says_that_an_answer_broke_off(self, opened: Tab, admin: FakeAdmin) -> None:
        send(opened, admin, piece("Half an "))
        assert opened.text("#answer-outcome") == "The answer broke off"
        assert "ended before the answer's own end" in opened.text("#answer-problem")
        assert opened.text("#answer-text") == "Half an "

    def test_shows_an_error_in_the_stream_in_the_gateways_words(self, opened: Tab, admin: FakeAdmin) -> None:
        error = {
            "error": {"message": "Bedrock is overloaded", "type": "server_error", "code": "UPSTREAM_ERROR"}
        }
        send(opened, admin, piece("Half"), json.dumps(error))
        assert opened.page.locator("#answer-problem > *").all_inner_texts() == [
            "The answer broke off: UPSTREAM_ERROR",
            "Bedrock is overloaded",
        ]

    def test_shows_a_refusal_in_the_gateways_words(self, opened: Tab, admin: FakeAdmin) -> None:
        opened.expect(LOST)
        admin.refusal = (429, {"error": {"message": "Too many tokens a minute.", "code": "RATE_LIMITED"}})
        send(opened, admin)
        assert opened.page.locator("#answer-problem > *").all_inner_texts() == [
            "The gateway answered 429: RATE_LIMITED",
            "Too many tokens a minute.",
        ]

    def test_can_be_stopped(self, opened: Tab, admin: FakeAdmin) -> None:
        admin.waits_before_end = True
        send(opened, admin, piece("On and on"), settles=False)
        opened.wait_for_text("#answer-text", "On and on")
        opened.page.keyboard.press("Escape")
        opened.wait_for_text("#answer-outcome", "stopped by you")
        assert opened.focused() == "playground-send"

    def test_keeps_the_key_for_the_tab_and_out_of_sight(self, opened: Tab, admin: FakeAdmin) -> None:
        send(opened, admin, piece("Yes"), STREAM_ENDED)
        opened.page.click("#playground-explain")
        opened.wait_for_text("#explain-answer", "would be sent to Bedrock")
        assert opened.page.get_attribute("#explain-form [name=key]", "type") == "password"
        assert "sk-consumer" not in opened.page.input_value("#explain-form [name=headers]")
        assert "sk-consumer" in opened.page.input_value("#explain-form [name=key]")
        kept = opened.page.evaluate("() => [Object.keys(localStorage), Object.keys(sessionStorage)]")
        assert kept == [[], ["stargate.key"]]


def test_a_request_is_explained(opened: Tab, admin: FakeAdmin) -> None:
    turn_to(opened, "explain")
    opened.page.fill("#explain-form [name=headers]", "no colon here")
    opened.page.click("#explain-form button")
    opened.wait_for_text("#explain-problem", 'a header is written "name: value"')
    opened.page.fill("#explain-form [name=headers]", "x-a: 1")
    opened.page.focus("#explain-form [name=body]")
    opened.page.keyboard.press("Control+Enter")
    opened.wait_for_text("#explain-answer", "would be sent to Bedrock")
    rows = dict(
        re.split(r"\n+", row, maxsplit=1) for row in opened.page.locator(".told > div").all_inner_texts()
    )
    assert list(rows) == ["time", "route", "plugins", "caller", "asks for", "goes to", "takes"]
    assert rows["plugins"].split("\n")[-1] == "log: request-logger (10)"
    assert opened.text("#explain-answer pre").splitlines()[0].startswith("POST https://bedrock-runtime")


# ---------------------------------------------------------------------------------- whoever it is that reads


class TestKeys:
    def test_tab_reaches_everything_in_order_and_shows_where_it_is(self, opened: Tab) -> None:
        walked = []
        for _ in range(20):
            opened.page.keyboard.press("Tab")
            walked.append(opened.focused())
            outlined = opened.page.evaluate(
                "() => { const style = getComputedStyle(document.activeElement);"
                " return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; }"
            )
            assert outlined, walked[-1]
        bar = ["Stargate", "Overview", "Requests", "Limits", "System", "Explain", "Playground"]
        assert walked[:12] == ["skip", *bar, "connection", "pause", "theme", "help"]
        assert walked[12:15] == ["Use by consumer", "Requests", "Errors"]

    def test_the_bar_can_be_skipped(self, opened: Tab) -> None:
        opened.page.keyboard.press("Tab")
        opened.page.keyboard.press("Enter")
        assert opened.focused() == "main"
        assert opened.page.locator("#view-overview").is_visible()

    def test_single_keys_do_what_the_help_says(self, opened: Tab) -> None:
        press = opened.page.keyboard.press
        for view in (*VIEWS[1:], VIEWS[0], VIEWS[-1]):
            press(str(VIEWS.index(view) + 1))
            opened.page.locator(f"#view-{view}").wait_for()
            assert opened.page.evaluate("() => document.activeElement.tagName") == "H1"
        press("?")
        opened.page.locator("#help-dialog[open]").wait_for()
        press("1")
        assert opened.page.locator("#view-playground").is_visible()
        press("Escape")
        assert opened.page.locator("#help-dialog").is_hidden()
        press("/")
        assert opened.page.evaluate("() => document.activeElement.name") == "user"
        press("1")
        assert "1" in opened.page.input_value("[name=user]")

    def test_a_request_is_opened_followed_and_left(self, opened: Tab, admin: FakeAdmin) -> None:
        press = opened.page.keyboard.press
        turn_to(opened, "requests")
        opened.page.locator("#requests-table tbody tr").first.wait_for()
        press("j")
        press("j")
        press("Enter")
        opened.wait_for_text("#drawer-id", admin.records[1]["request_id"])
        press("j")
        opened.page.wait_for_function(
            "(id) => document.querySelector('#drawer-id').textContent === id",
            arg=admin.records[0]["request_id"],
        )
        press("Escape")
        assert opened.page.locator("#drawer").is_hidden()
        focused = opened.page.evaluate("() => document.activeElement.hash")
        assert focused == f"#requests/{admin.records[1]['request_id']}"

    def test_single_keys_can_be_switched_off(self, opened: Tab) -> None:
        opened.page.click("#help")
        opened.page.uncheck("#single-keys")
        opened.page.click("#help-close")
        opened.page.keyboard.press("3")
        opened.page.reload()
        live(opened)
        opened.page.keyboard.press("3")
        assert opened.page.locator("#view-overview").is_visible()


class TestEverybody:
    MAIN: Final = ("overview", "a request", "what is broken", "a broken answer")

    def states(self, one: Tab, admin: FakeAdmin) -> Generator[str]:
        """The page's main states, one after the other."""
        show(one, admin)
        yield "overview"
        turn_to(one, f"requests/{admin.records[4]['request_id']}")
        one.page.locator("#drawer .sentences").wait_for()
        yield "a request"
        admin.tell(**admin_states.near())
        turn_to(one, "limits")
        one.wait_for_text("#limits-table", "used up")
        yield "limits"
        admin.tell(**admin_states.broken())
        turn_to(one, "system")
        one.wait_for_text("#notices", "reload failed")
        yield "what is broken"
        send(one, admin, piece("Half an answer"), "[]")
        one.page.click("summary")
        yield "a broken answer"
        one.page.click("#playground-explain")
        one.wait_for_text("#explain-answer", "would be sent")
        yield "an explanation"
        one.page.click("#help")
        yield "help"

    def test_axe_finds_nothing_serious(self, one: Tab, admin: FakeAdmin) -> None:
        found: dict[str, Any] = {}
        admin.records = admin.records[:13]
        for state in self.states(one, admin):
            # Colours take nearly all of axe's time, and the other states have none of their own.
            if state not in self.MAIN:
                found[state] = one.faults("-color-contrast")
                continue
            found[state] = one.faults()
            one.page.emulate_media(color_scheme="dark")
            found[f"{state}, dark"] = one.faults("color-contrast")
            one.page.emulate_media(color_scheme="light")
        assert {state: faults for state, faults in found.items() if faults} == {}

    def test_axe_would_find_a_fault(self, opened: Tab) -> None:
        opened.page.evaluate("() => { help.removeAttribute('aria-label'); help.removeAttribute('title'); }")
        assert [fault.split()[0] for fault in opened.faults("button-name")] == ["button-name"]

    def test_nothing_is_wider_than_its_window(self, one: Tab, admin: FakeAdmin) -> None:
        admin.records[1]["model"] = "a-name-without-any-place-to-break-it-" * 3
        found = []
        for state in self.states(one, admin):
            for width in (320, PHONE[0], 768):
                one.page.set_viewport_size({"width": width, "height": 844})
                found += [(state, width)] if one.overflow() > 0 else []
            one.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
        assert found == []

    def test_on_a_phone_a_request_covers_the_list(self, chromium: "Browser", admin: FakeAdmin) -> None:
        with tab(chromium, PHONE, has_touch=True, is_mobile=True) as one:
            show(one, admin)
            one.page.tap("nav a[href='#requests']")
            one.page.locator("#requests-table tbody tr").nth(2).tap()
            one.page.locator("#drawer .sentences").wait_for()
            one.settle()
            box = one.page.locator("#drawer").bounding_box()
            assert box is not None
            assert (box["x"], box["width"], box["height"]) == (0, *PHONE)
            one.page.tap("#drawer-close")
            assert one.page.locator("#drawer").is_hidden()

    def test_the_theme_is_chosen_and_kept(self, one: Tab, admin: FakeAdmin) -> None:
        ground = "() => getComputedStyle(document.body).backgroundColor"
        one.page.emulate_media(color_scheme="dark")
        show(one, admin)
        dark = one.page.evaluate(ground)
        one.page.keyboard.press("t")
        assert one.page.get_attribute("#theme", "aria-label") == "Theme: light"
        light = one.page.evaluate(ground)
        assert light != dark
        one.page.reload()
        live(one)
        assert one.page.evaluate(ground) == light
