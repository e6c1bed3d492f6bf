"""What an operator does: it is said in numbers, confirmed, sent over a revision, or refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.browser import Browser, Page
from tests.canary_trio.support import console_sample as sample
from tests.canary_trio.support.console_stand_in import StandIn

CONFLICT = {
    "error": "revision 813 is there, and 812 was meant",
    "revision": 813,
    "who": "bert, 3 s ago: half of all",
    "changes": ["ratio.canary: 0.25 → 0.4"],
}

ALL = ["promote", "promote-full", "pause", "resume", "abort", "retry", "skip-gate",
       "undo", "finish"]  # fmt: skip

EFFECTS = {
    "promote": "canary: 25\u202f% → 50\u202f%",
    "promote-full": "canary: 25\u202f% → 100\u202f%",
    "pause": "canary stays at 25\u202f%",
    "resume": "canary goes on from 25\u202f%",
    "abort": "canary: 25\u202f% → 0\u202f%",
    "retry": "canary: 25\u202f% → 5\u202f%",
    "skip-gate": "No more waiting for: qa",
    "undo": "The document from before",
    "finish": "The 2 servers of canary become stable's",
}

STRONG = "dialog button.strong"


async def _open(browser: Browser, proxy: StandIn, **fields: Any) -> Page:
    at = time.time()
    proxy.view = sample.view(at, rollout=sample.rollout(at, actions=ALL), **fields)
    page = await browser.open(proxy.url)
    await page.says("drain for the new kernel", "#history")
    return page


@pytest.mark.parametrize("action", ALL)
async def test_an_action_is_said_in_numbers_confirmed_and_sent(
    browser: Browser, proxy: StandIn, action: str
) -> None:
    page = await _open(browser, proxy)

    await page.click(f"#{action}")
    await page.says(EFFECTS[action], "dialog")
    await page.fill("#why", "as agreed")
    assert proxy.writes == []
    await page.click(STRONG)
    await page.says("revision 813 written", ".foot")
    await page.until("!document.querySelector('dialog')")

    assert proxy.writes == [
        ("POST", f"rollout/{action}", {"message": "as agreed"}, '"812"')
    ]


async def test_who_is_second_sees_who_was_first_and_what_changed(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)
    proxy.refuses = (412, CONFLICT)

    await page.click("#promote")
    await page.says("25 % of users move", "dialog")
    await page.click(STRONG)
    await page.says("bert, 3 s ago: half of all", "dialog")
    await page.says("ratio.canary: 0.25 → 0.4", "dialog")
    assert not await page.has(STRONG)
    assert await page.forgive("412") == 1

    proxy.show(revision=813)
    await page.says("813", ".facts")
    await page.click("#again")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")
    assert [match for *_, match in proxy.writes] == ['"812"', '"813"']


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (409, {"error": "what the phase does not allow"}, "what the phase does not"),
        (403, {"error": "the role is read"}, "the role is read"),
        (503, {"error": "the store is away"}, "the store is away"),
        (422, {"error": "invalid", "problems": [{"path": "$.ratio", "found": "2",
               "expected": "0 to 1"}]}, "$.ratio: found 2, expected 0 to 1"),
        (500, {}, "status 500"),
    ],
)  # fmt: skip
async def test_a_refusal_is_said_where_it_was_asked(
    browser: Browser, proxy: StandIn, status: int, body: dict[str, Any], words: str
) -> None:
    page = await _open(browser, proxy)
    proxy.refuses = (status, body)

    await page.click("#pause")
    await page.click(STRONG)
    await page.says(words, "dialog")

    assert await page.forgive(str(status)) == 1
    await page.click(STRONG)  # it can be tried again
    await page.until("!document.querySelector('dialog')")
    assert len(proxy.writes) == 2


async def test_who_goes_back_has_done_nothing(browser: Browser, proxy: StandIn) -> None:
    page = await _open(browser, proxy)

    await page.click("#abort")
    await page.says("Give the arm no traffic", "dialog")
    await page.key("Escape")
    await page.until("!document.querySelector('dialog')")

    assert proxy.writes == []
    assert await page.run("document.activeElement.id") == "abort"


async def test_the_slider_says_who_moves_before_it_is_let_go(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)
    await page.run(
        "(() => { const it = document.querySelector('#split input'); it.value = 30;"
        " it.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    await page.says("moves 5\u202f% of users", "#split")
    await page.says("25 % of users move", "#split")  # by the proxy's arithmetic
    assert proxy.writes == []

    await page.run(
        "document.querySelector('#split input').dispatchEvent(new Event('change'))"
    )
    await page.says("25\u202f% → 30\u202f%", "dialog")
    await page.run("document.querySelector('#within').value = '300'")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")
    assert proxy.writes == [
        ("PATCH", "document",
         {"assignments": ["ratio.canary=0.3"], "confirm_within_s": 300}, '"812"')
    ]  # fmt: skip


async def test_the_slider_goes_by_keys_and_back(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)
    await page.run("document.querySelector('#split input').focus()")

    await page.key("ArrowRight")
    await page.says("→ 25.5\u202f%", "dialog")
    await page.key("Escape")

    await page.until("document.querySelector('#split input').value == 25")
    assert proxy.writes == []


async def test_a_server_is_drained(browser: Browser, proxy: StandIn) -> None:
    page = await _open(browser, proxy)

    await page.click("#servers tbody tr:nth-child(3) .modes button:nth-child(2)")
    await page.says("No other server of canary is ready and up.", "dialog")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")

    assert proxy.writes == [
        ("POST", "servers/mode",
         {"arm": "canary", "server": "http://10.0.2.1:9000", "mode": "drain"}, '"812"')
    ]  # fmt: skip


async def test_history_shows_what_was_different_and_leads_back(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)

    await page.click("#history li:nth-child(3) summary")
    await page.says("0.25", "#history del")
    await page.says("0.5", "#history ins")
    await page.click("#history li:nth-child(3) .rollback")
    await page.says("2 fields change on 3 proxies.", "dialog")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")

    assert proxy.writes == [("POST", "rollback", {"revision": 809}, '"812"')]


@pytest.mark.parametrize("what", ["confirm", "revert"])
async def test_what_waits_is_confirmed_or_taken_back(
    browser: Browser, proxy: StandIn, what: str
) -> None:
    waits = {"kind": "confirm", "revision": 812, "back_to": 811, "author": "bert",
             "message": "", "until": time.time() + 300, "proxies": []}  # fmt: skip
    page = await _open(browser, proxy, pending=waits)
    await page.until(
        "(() => { const shown = /(\\d):(\\d\\d)/"
        ".exec(document.querySelector('.head .note').innerText);"
        f" const left = {waits['until']} - Date.now() / 1000;"
        " return shown && Math.abs(shown[1] * 60 + +shown[2] - left) < 2 })()"
    )

    await page.click(f"#{what}")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")

    assert proxy.writes == [("POST", what, {}, '"812"')]


async def test_a_rollout_is_frozen_and_let_go(browser: Browser, proxy: StandIn) -> None:
    page = await _open(browser, proxy)

    await page.click("#freeze")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")
    proxy.show(freeze={"by": "anna", "message": "Friday", "until": None})
    await page.says("by anna: Friday", ".head")
    await page.click("#thaw")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")

    assert [body["frozen"] for _, _, body, _ in proxy.writes] == [True, False]


async def test_a_request_is_explained(browser: Browser, proxy: StandIn) -> None:
    page = await _open(browser, proxy)
    proxy.answers["explain"] = {"arm": "canary", "shares": None, "refused": None,
                                "words": ["the rule beta holds"]}  # fmt: skip

    await page.fill("#x-headers", "X-Canary: always")
    await page.click("#explain button")

    await page.says("It gets canary", "#explain")
    await page.says("the rule beta holds", "#explain")


async def test_faults_of_a_document_are_shown_where_they_are(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)
    fault = {"path": "$.arms.canary.servers[1]", "found": "'x'", "expected": "a URL"}
    proxy.answers["preview"] = {"valid": False, "problems": [fault], "over": 812,
                                "differences": [], "moves": None, "said": "",
                                "changed": True, "document": None}  # fmt: skip
    text = proxy.view["text"].replace('"http://10.0.2.2:9000"', '"x"')
    line = text[: text.index('"x"')].count("\n") + 1

    await page.fill("#document", text)
    await page.says(f"line {line}: $.arms.canary.servers[1]", "#faults")
    await page.says(str(line), ".gutter .bad")
    assert await page.run("document.querySelector('#write').disabled")
    await page.click("#faults button")

    selected = "getSelection().toString()"
    assert await page.run(selected) == '"x"'


async def test_a_document_is_rehearsed_and_written(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)
    said = {"words": ["31 of 1000 requests would move"], "silent": ["edge-c: away"]}
    proxy.answers["rehearse"] = said

    await page.fill("#document", '{"arms": {}}')
    await page.says("Valid.", "#editor")
    await page.click("#rehearse")
    await page.says("31 of 1000 requests would move", "#editor")
    await page.says("edge-c: away", "#editor")
    await page.click("#write")
    await page.says("2 fields change", "dialog")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")

    assert proxy.writes == [("PUT", "document", {"text": '{"arms": {}}'}, '"812"')]


async def test_what_is_typed_outlives_what_others_write(
    browser: Browser, proxy: StandIn
) -> None:
    page = await _open(browser, proxy)
    await page.fill("#document", '{"mine": 1}')

    proxy.show(revision=813, text='{"theirs": 1}')
    await page.says("Revision 813 was written meanwhile", "#editor")

    assert await page.run("document.querySelector('#document').value") == '{"mine": 1}'
    proxy.refuses = (412, CONFLICT)
    await page.click("#write")
    await page.click(STRONG)
    await page.says("bert, 3 s ago", "dialog")
    assert proxy.writes[0][-1] == '"812"', "over the revision that it is made of"
    assert await page.forgive("412") == 1


async def test_without_the_role_no_button_is_in_the_page(
    browser: Browser, proxy: StandIn
) -> None:
    proxy.role, proxy.named = "read", ""
    page = await _open(browser, proxy)

    for name in (*ALL, "freeze", "split input", "write", "confirm", "logout"):
        assert not await page.has(f"#{name}")
    assert not await page.has(".modes button")
    assert not await page.has(".rollback")
    assert "read only" in await page.text(".session")


async def test_login_and_logout(browser: Browser, proxy: StandIn) -> None:
    proxy.role, proxy.named = "read", ""
    page = await _open(browser, proxy)

    await page.click("#login")
    await page.fill("#token", "wrong")
    await page.key("Enter")
    await page.says("this token is not known", "dialog")
    assert await page.forgive("401") == 1
    assert await page.run("document.querySelector('#token').value") == ""
    await page.fill("#token", "secret")
    await page.click("dialog button.strong")
    await page.says("anna · write", ".session")
    await page.until("document.querySelector('#promote')")
    await page.says("drain for the new kernel", "#history")  # is asked for again
    assert "secret" not in await page.run(
        "document.documentElement.outerHTML + JSON.stringify({...localStorage})"
        " + document.cookie + location"
    )

    await page.click("#logout")
    await page.says("read only", ".session")
    assert not await page.has("#promote")


async def test_a_login_that_holds_once_leaves_the_address(
    browser: Browser, proxy: StandIn
) -> None:
    proxy.role, proxy.named = None, ""
    page = await browser.open(proxy.url + "#login=secret")

    await page.says("anna · write", ".session")
    await page.until("document.querySelector('#promote')")
    assert "secret" not in await page.run("String(location)")


async def test_who_may_see_nothing_is_asked_for_a_token(
    browser: Browser, proxy: StandIn
) -> None:
    proxy.role, proxy.named = None, ""
    page = await browser.open(proxy.url)

    await page.says("With the secret of a token", "dialog")

    assert not await page.has("#service")
    assert "stream" not in proxy.asked


async def test_a_session_that_is_over_is_seen(browser: Browser, proxy: StandIn) -> None:
    page = await _open(browser, proxy)
    await page.click("#pause")
    await page.says(EFFECTS["pause"], "dialog")
    proxy.role, proxy.named = "read", ""
    proxy.refuses = (401, {"error": "this needs a token with the role write"})

    await page.click(STRONG)
    await page.says("this needs a token", "dialog")
    await page.says("read only", ".session")
    await page.until("document.querySelector('#login')")

    assert not await page.has("#promote")
    assert await page.forgive("401") == 1


async def test_an_address_that_cannot_be_read_leads_to_the_list(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(f"{proxy.url}#/%E0%A4%A")

    await page.until("document.querySelector('#services')")
