"""The page /rehearse, and the command that asks it: sums, and who is told what."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import trio

from canary_trio.admin.handler import AdminHandler
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.command.process.admin import SupervisorAdmin
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.rehearsal.ring import NotedRequests
from canary_trio.testing import Proxied, proxied
from http_trio import HttpServer
from http_trio.testing.peers import connected, serving
from kv_trio.testing import in_memory_store
from tests.canary_trio.admin.test_status import control_of
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

ARMS = {name: {"servers": ["http://127.0.0.1:9"]} for name in ("stable", "canary")}
PRESENT = {"arms": ARMS, "ratio": 0}
BETA = {"header": "X-Beta", "equals": "yes", "arm": "canary"}
PROPOSED = {"arms": ARMS, "rules": [{"path_prefix": "/a", "arm": "canary"}]}


def handler_of(runtime: Runtime, **more: Any) -> AdminHandler:
    return AdminHandler(ProxyView("web", "one", runtime, control_of(runtime), **more))


async def ask_all(proxy: Proxied, *paths: bytes) -> None:
    for path in paths:
        async with connected(proxy.server) as client:
            await client.ask(path)


async def post(
    server: HttpServer, document: object, path: bytes = b"/rehearse"
) -> tuple[int, Any]:
    async with connected(server) as client:
        body = json.dumps(document).encode()
        head, said = await client.ask(path, method=b"POST", body=body)
    status = int(head.split()[1])
    is_json = b"application/json" in head or said.startswith(b"{")
    return status, json.loads(said) if is_json else said.decode()


async def test_a_proxy_says_what_would_move_of_what_it_served() -> None:
    async with proxied(ARMS, ratio=0) as proxy:
        async with serving(handler_of(proxy.runtime)) as admin:
            await ask_all(proxy, b"/a", b"/a/b?secret=1", b"/c")
            status, found = await post(admin, PROPOSED)

    assert status == 200
    assert (found["service"], found["revision"], found["requests"]) == ("web", 2, 3)
    move = {"from": "stable", "to": "canary", "requests": 2, "users": 0}
    assert found["moves"] == [move]
    assert found["rules"] == [{"rule": "rule 1", "before": 0, "after": 2}]


async def test_who_is_refused_now_is_noted_too() -> None:
    refusing: dict[str, Any] = {"access": {"deny": ["127.0.0.0/8"]}}
    async with proxied(ARMS, ratio=0, **refusing) as proxy:
        async with serving(handler_of(proxy.runtime)) as admin:
            await ask_all(proxy, b"/")
            _, same = await post(admin, {**PRESENT, **refusing})
            _, found = await post(admin, PRESENT)

    assert (same["refused"], same["newly_admitted"]) == ({"before": 1, "after": 1}, 0)
    assert (found["requests"], found["newly_admitted"]) == (1, 1)


async def test_what_cannot_be_rehearsed_is_said_in_words() -> None:
    async with proxied(ARMS, ratio=0) as proxy:
        async with serving(handler_of(proxy.runtime)) as admin:
            status, found = await post(admin, {"arms": {}})
            assert (status, found["problems"][0]["path"]) == (400, "$.arms")
            status, found = await post(admin, PRESENT, b"/rehearse?service=shop")
            assert (status, found) == (404, "found shop, but this proxy serves web\n")
            proxy.runtime.noted = NotedRequests(0, lambda: 0.0, bytes)
            status, found = await post(admin, PRESENT)
            assert (status, "--noted-requests 0" in found) == (409, True)
    async with serving(handler_of(Runtime("web"))) as admin:
        assert (await post(admin, PRESENT))[0] == 503


async def test_a_gateway_is_asked_for_one_of_its_services() -> None:
    async with proxied(ARMS, ratio=0) as proxy:
        part = ProxyView("web", "one", proxy.runtime, control_of(proxy.runtime))
        gateway: Any = SimpleNamespace(parts={"web": part})
        async with serving(handler_of(Runtime("@edge"), gateway=gateway)) as admin:
            await ask_all(proxy, b"/a")
            status, found = await post(admin, PROPOSED, b"/rehearse?service=web")
            assert (status, found["moved"]) == (200, 1)
            assert (await post(admin, PROPOSED))[0] == 404
            assert (await post(admin, PROPOSED, b"/rehearse?service=x"))[0] == 404


async def test_workers_are_added_up(tmp_path: Path) -> None:
    async with proxied(ARMS, ratio=0) as one, proxied(ARMS, ratio=0) as two:
        async with trio.open_nursery() as nursery:
            workers: list[Any] = []
            for number, proxy in enumerate((one, two)):
                path = str(tmp_path / str(number))
                await nursery.start(_serve_on, proxy, f"unix:{path}")
                facts = {"number": number, "admin": path, "restarts": 0, "hangs": 0}
                workers.append(SimpleNamespace(**facts, pid=1))
            group = SupervisorAdmin("edge", workers, lambda: False)
            async with serving(group) as admin:
                await ask_all(one, b"/a", b"/c")
                await ask_all(two, b"/a")
                status, found = await post(admin, PROPOSED, b"/rehearse?service=web")
                assert (status, found["processes"], found["requests"]) == (200, 2, 3)
                assert found["moves"][0]["requests"] == 2
                assert (await post(admin, {"arms": {}}))[0] == 400
            nursery.cancel_scope.cancel()


async def _serve_on(
    proxy: Proxied, bind: str, *, task_status: trio.TaskStatus[None]
) -> None:
    async with serving(handler_of(proxy.runtime), bind=bind):
        task_status.started()
        await trio.sleep_forever()


async def test_the_commands_say_it_in_words(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps({**DOCUMENT, "ratio": 1}))
    words = "rehearse", "web", str(file)
    noted = "(1 noted of 1, by 1 process)"
    short = [
        f"web: 1 of 1 requests (100.0%) and 0 of 0 users would move {noted}",
        "  stable -> canary: 1 of 1 requests (100.0%), 0 of 0 users",
    ]
    async with in_memory_store() as client:
        none = await canary(client, *words, status=3)
        async with proxy_on(client) as proxy, httpx.AsyncClient(trust_env=False) as to:
            with trio.fail_after(10):
                while not (await client.list("canary/web/proxies/")).entries:
                    await trio.sleep(0.01)
            unused = await canary(client, *words, status=1)
            await to.get(proxy.url)
            found = await canary(client, *words)
            as_json = await canary(client, *words, "--json")
            file.write_text(json.dumps({**DOCUMENT, "rules": [BETA]}))
            untold = await canary(client, *words, status=1)
            written = await canary(client, "set", "web", "ratio=1", "--rehearse")
        gateway = await canary(client, "rehearse", "@edge", str(file), status=2)
        first = await canary(client, "apply", "shop", str(file), "--rehearse")

    assert none.stdout == "web: no live proxy says what would move\n"
    assert "no request was noted yet" in unused.stdout
    assert found.stdout.splitlines() == [
        *short,
        "  server http://127.0.0.1:9 (stable): 100.00% of requests, then 0.00%",
        "  server http://127.0.0.1:9 (canary): 0.00% of requests, then 100.00%, more",
    ]
    assert untold.stdout.splitlines() == [
        "web: of the requests noted (1) none can be told of",
        "  1 cannot be told of: header x-beta is noted only from now on",
    ]
    assert json.loads(as_json.stdout)["moved"] == 1
    assert written.stdout.splitlines()[:2] == short
    assert "revision" in written.stdout.splitlines()[2]
    assert "is a gateway" in gateway.stderr
    assert "shop: no live proxy" in first.stdout
