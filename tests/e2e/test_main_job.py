"""The main job with the real commands: numbers are those of the issue that asked for it."""

from __future__ import annotations

import json
import random
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from canary_trio import change, wait_applied
from kv_trio import Client
from tests.e2e.processes import PATIENCE_S, World, ask, connected_to, run, world


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def test_1_all_requests_follow_a_change_that_was_waited_for(here: World) -> None:
    _, address = await here.start_proxy()
    assert set(await ask(address, 50)) == {"v1"}

    ran = await here.canary("set", "ratio=1", "--wait", "40")

    assert set(await ask(address, 50)) == {"v2"}
    assert re.fullmatch(r"revision \d+ live on 1/1 proxies in [\d.]+ ms\n", ran.out)


async def test_2_twenty_changes_under_load_lose_nothing(here: World) -> None:
    _, address = await here.start_proxy()
    responses: Counter[str] = Counter()
    stop = trio.Event()

    async def load() -> None:
        async with connected_to(address) as client:
            while not stop.is_set():
                head, body = await client.ask()
                assert head.startswith(b"HTTP/1.1 200 "), head
                responses[body.decode()] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(load)
        async with Client(here.store_url) as client:
            for at in range(20):
                style = ("round_robin", "random")[at % 2]
                ratio = round(random.random(), 4)
                revision = await change(
                    client, "web", f"ratio={ratio}", f"style={style}"
                )
                with trio.fail_after(PATIENCE_S):
                    await wait_applied(client, "web", revision)
                before = responses.total()
                with trio.fail_after(PATIENCE_S):
                    while responses.total() < before + 50:  # by this document
                        await trio.sleep(0.01)
        stop.set()

    assert set(responses) == {"v1", "v2"}
    assert responses.total() >= 1000


async def test_3_traffic_never_notices_that_the_store_was_killed(here: World) -> None:
    process, address = await here.start_proxy()
    assert here.store is not None
    here.store.kill()
    await here.store.process.wait()
    assert set(await ask(address, 50)) == {"v1"}

    await here.start_store()
    assert set(await ask(address, 50)) == {"v1"}
    ran = await here.canary("set", "ratio=1", "--wait", "40")
    assert "live on 1/1" in ran.out

    assert set(await ask(address, 50)) == {"v2"}
    assert process.process.poll() is None


async def test_4_with_the_store_down_the_last_good_document_serves(here: World) -> None:
    process, _ = await here.start_proxy("--id", "one", ratio=1)
    while not list((here.path / "state").glob("web@one.json")):
        await trio.sleep(0.01)
    await process.ends(signal.SIGKILL)
    assert here.store is not None
    await here.store.ends(signal.SIGKILL)

    again, address = await here.start_proxy("--id", "one")

    assert set(await ask(address, 50)) == {"v2"}
    assert "as remembered" in again.output
    await here.start_store()
    ran = await here.canary("set", "ratio=0", "--wait", "40")
    assert "live on 1/1" in ran.out
    assert set(await ask(address, 50)) == {"v1"}


async def test_5_an_invalid_document_is_refused_and_the_old_one_runs(
    here: World,
) -> None:
    _, address = await here.start_proxy()
    bad = json.dumps(here.document(ratio=2, stlye="random"))
    put = (
        "kv-trio",
        "put",
        "canary/web/config",
        bad,
        "--config-server",
        here.store_url,
    )
    written = await run(*put)
    revision = written.out.split()[1]

    with trio.fail_after(40):
        while "refused" not in (ran := await here.canary("status", status=None)).out:
            pass

    assert set(await ask(address, 50)) == {"v1"}
    assert ran.status == 1
    assert (
        f"refused {revision}: $.ratio: found 2, expected a number from 0 to 1"
        in ran.out
    )
    assert f"refused {revision}: $.stlye: found an unknown field" in ran.out
    assert "did you mean style?" in ran.out

    fixed = await here.canary("apply", here.write(ratio=1), "--wait", "40")
    assert "live on 1/1" in fixed.out
    assert "refused" not in (await here.canary("status")).out
    assert set(await ask(address, 50)) == {"v2"}

    unverified = [
        'arms.canary.servers=["https://127.0.0.1:9"]',
        "arms.canary.tls.verify=false",
    ]
    await here.canary("set", *unverified)
    ran = await here.canary("status", status=None)
    assert "canary: certificates of servers are not verified" in ran.out


async def test_5b_what_changes_nothing_says_so(here: World) -> None:
    await here.start_proxy()
    first = await here.canary("set", "ratio=0.25", "--wait", "40")
    assert re.fullmatch(r"revision \d+ live on 1/1 proxies in [\d.]+ ms\n", first.out)
    again = await here.canary("set", "ratio=0.25")
    assert re.fullmatch(r"nothing changed; revision \d+ is there already\n", again.out)
    waited = await here.canary("set", "ratio=0.25", "--wait", "40", "--json")
    shown = json.loads(waited.out)
    assert (shown["changed"], shown["live"]) == (False, 1)


async def test_5c_a_rules_cookie_is_not_the_services_own(here: World) -> None:
    await here.start_proxy()
    rules = 'rules=[{"canary-by-cookie": "canary-web"}]'
    refused = await here.canary("set", rules, "sticky_sessions=true", status=1)
    assert "$.rules[0].canary-by-cookie" in refused.err
    assert "another name than that of sticky_sessions" in refused.err


async def test_6_of_two_writers_at_once_one_wins_and_one_is_told(here: World) -> None:
    await here.start_proxy()
    statuses: list[int] = []

    async def write(ratio: float) -> None:
        ran = await here.canary("set", f"ratio={ratio}", status=None)
        statuses.append(ran.status)
        assert ran.status == 0 or "another writer was first" in ran.err

    # Each round is a race; both may pass one after the other. One of them must clash.
    with trio.fail_after(60):
        while 1 not in statuses:
            statuses.clear()
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(write, round(random.random(), 4))

    assert 0 in statuses


async def test_7_a_user_on_the_canary_stays_while_the_ratio_rises(here: World) -> None:
    _, address = await here.start_proxy(ratio=0.1, sticky_sessions=True)
    async with connected_to(address) as client:
        head, body = await client.ask()
        cookie = re.search(
            rb"Set-Cookie: (canary-web=[^;]+); HttpOnly; SameSite=Lax; Path=/", head
        )
        assert cookie is not None
        seen = [body]
        for ratio in (0.1, 0.3, 0.5, 0.7, 0.9):
            await here.canary("set", f"ratio={ratio}", "--wait", "40")
            for _ in range(40):
                head, body = await client.ask(b"/", b"Cookie: x=y; " + cookie[1])
                assert b"Set-Cookie" not in head
                seen.append(body)
        assert b"v1" not in seen[seen.index(b"v2") :] if b"v2" in seen else True
        for ratio, arm in ((1, b"v2"), (0, b"v1")):
            await here.canary("set", f"ratio={ratio}", "--wait", "40")
            assert (await client.ask(b"/", b"Cookie: " + cookie[1]))[1] == arm
        _, body = await client.ask(b"/cookie", b"Cookie: a=b; " + cookie[1] + b"; c=d")
        assert body == b"a=b; c=d"


async def test_users_are_split_by_the_ratio_and_forged_cookies_replaced(
    here: World,
) -> None:
    _, address = await here.start_proxy(ratio=0.3, sticky_sessions=True)
    arms: Counter[bytes] = Counter()
    async with connected_to(address) as client:
        for _ in range(1000):
            head, body = await client.ask(
                b"/", b"Cookie: canary-web=1.AAAAAAAAAAAAAAAA." + b"A" * 24
            )
            assert b"Set-Cookie: canary-web=1." in head
            arms[body] += 1

    assert 230 < arms[b"v2"] < 370  # five standard deviations


async def test_the_whole_fleet_is_waited_for(here: World) -> None:
    addresses = [(await here.start_proxy("--id", f"p{n}"))[1] for n in range(3)]

    ran = await here.canary("set", "ratio=1", "--wait", "40")

    assert "live on 3/3 proxies" in ran.out
    for address in addresses:
        assert set(await ask(address, 10)) == {"v2"}


async def test_who_lags_is_named_when_the_wait_runs_out(here: World) -> None:
    stuck, _ = await here.start_proxy("--id", "stuck")
    await here.start_proxy("--id", "quick")
    stuck.process.send_signal(signal.SIGSTOP)

    ran = await here.canary("set", "ratio=1", "--wait", "3", status=3)

    assert "live on 1/2 proxies" in ran.out
    assert "not yet live on: stuck" in ran.err
    stuck.process.send_signal(signal.SIGCONT)


async def test_a_proxy_that_ended_is_not_waited_for(here: World) -> None:
    gone, _ = await here.start_proxy("--id", "gone")
    await here.start_proxy("--id", "stays")
    assert await gone.ends() == 0

    ran = await here.canary("set", "ratio=1", "--wait", "40")

    assert "live on 1/1 proxies" in ran.out


async def test_sigterm_lets_the_requests_in_progress_end(here: World) -> None:
    proxy, address = await here.start_proxy()
    async with connected_to(address) as client, trio.open_nursery() as nursery:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        with trio.fail_after(PATIENCE_S):
            await here.asked_to_be_slow["v1"].wait()
        nursery.start_soon(proxy.ends)
        head, body = await client.response()

    assert body == b"v1"
    assert b"Connection: close" in head
    assert proxy.process.returncode == 0


async def test_a_proxy_moves_to_the_config_server_that_its_document_names(
    here: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, address = await here.start_proxy()
    async with world(tmp_path_factory.mktemp("other"), versions=False) as other:
        other.versions = here.versions
        move = f"config_server={other.store_url}"
        ran = await here.canary("set", move, "--wait", "3", status=3)
        assert "live on 0/1 proxies" in ran.out
        assert "has not moved to the store of the document: " in ran.err
        assert "no document there" in ran.err
        assert "no document there" in (await here.canary("status", status=1)).out
        assert set(await ask(address, 20)) == {"v1"}, "there is no document there yet"

        await other.canary("apply", other.write(ratio=1))
        with trio.fail_after(40):
            while "live on 1/1" not in (await other.canary("status", status=None)).out:
                pass

        assert set(await ask(address, 20)) == {"v2"}
        move = f"config_server={here.store_url}"
        await here.canary("set", "config_server=null")
        ran = await other.canary("set", move, "--wait", "40")
        assert f"1 proxies left for {here.store_url} in " in ran.out
