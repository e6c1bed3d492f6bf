"""A gateway on a real store, with real sockets: its routes, and services that come and go."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from canary_trio import Proxy, ProxyOptions, read_fleet, serve, wait_applied
from canary_trio.control import secret_keeper
from canary_trio.control.changes.documents import change, write_document
from canary_trio.control.sources.source import KeyStore
from canary_trio.serving.gateway import AT_ONCE, Gateway
from canary_trio.testing import url_of
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.proxy.auth.test_password_file import HASH

PATIENCE_S = 30.0


async def echo(request: ReceivedRequest) -> None:
    await request.response(request.head.partition(b"\r\n")[0])


def table(*routes: dict[str, Any]) -> dict[str, Any]:
    return {"routes": list(routes)}


def document(url: str) -> dict[str, Any]:
    return {"arms": {"stable": {"servers": [url]}, "canary": {"servers": [url]}}}


async def write(client: Client, name: str, given: dict[str, Any]) -> int:
    entry = (await client.get(f"canary/{name}/config")).entry
    over = entry.modify_index if entry else 0
    return await write_document(client, name, given, over=over)


@asynccontextmanager
async def gateway_on(client: KeyStore, **options: object) -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        chosen = ProxyOptions(
            config_server=client.url,
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            **{"remember": False, "proxy_id": "g", **options},  # type: ignore[arg-type]
        )
        with trio.fail_after(PATIENCE_S):
            proxy: Proxy = await nursery.start(serve, "@edge", chosen)
        yield proxy
        nursery.cancel_scope.cancel()


async def ask(
    proxy: Proxy, host: str, target: str = "/", **named: Any
) -> tuple[int, str, httpx.Headers]:
    async with httpx.AsyncClient() as http:
        headers = {"Host": host, **named.pop("headers", {})}
        url = proxy.url + target
        reply = await http.request("GET", url, headers=headers, **named)
    return reply.status_code, reply.text, reply.headers


async def eventually(proxy: Proxy, host: str, status: int, target: str = "/") -> str:
    with trio.fail_after(PATIENCE_S):
        while True:
            found, text, _ = await ask(proxy, host, target)
            if found == status:
                return text
            await trio.sleep(0.02)


async def test_each_host_gets_its_service_and_paths_are_rewritten() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        for name in ("shop", "api"):
            await write(client, name, document(url_of(up) + f"/{name}"))
        routes = table(
            {"host": "shop.org", "service": "shop"},
            {
                "host": "shop.org",
                "path_prefix": "/api",
                "service": "api",
                "strip_prefix": True,
            },
            {
                "host": "shop.org",
                "path_prefix": "/v1",
                "service": "api",
                "rewrite_prefix": "/v2",
            },
            {"host": "old.org", "to": "https://shop.org", "status": 301},
            {"path_prefix": "/robots.txt", "respond": {"body": "hi", "status": 201}},
        )
        await write(client, "@edge", routes)
        async with gateway_on(client) as proxy:
            assert (await ask(proxy, "SHOP.org.:80", "/x?y"))[
                1
            ] == "GET /shop/x?y HTTP/1.1"
            assert (await ask(proxy, "shop.org", "/api/x"))[1] == "GET /api/x HTTP/1.1"
            assert (await ask(proxy, "shop.org", "/v1/x"))[
                1
            ] == "GET /api/v2/x HTTP/1.1"
            assert (await ask(proxy, "shop.org", "/api/%2e%2e/x"))[0] == 400
            for spelled in ("/%61pi/x", "//api/x", "/api//x"):
                text = (await ask(proxy, "shop.org", spelled))[1]
                assert text in ("GET /api/x HTTP/1.1", "GET /api//x HTTP/1.1")
            assert (await ask(proxy, "shop.org", "//x"))[1] == "GET /shop/x HTTP/1.1"
            assert (await ask(proxy, "shop.org", "/x%41;b//c"))[1] == (
                "GET /shop/x%41;b//c HTTP/1.1"
            )
            status, _, headers = await ask(proxy, "old.org", "/a?b")
            assert (status, headers["location"]) == (301, "https://shop.org/a?b")
            assert (await ask(proxy, "any", "/robots.txt"))[:2] == (201, "hi")
            status, text, _ = await ask(proxy, "any", "/")
            assert (status, "no route leads" in text) == (404, True)


async def test_limits_of_routes_and_of_services_hold_side_by_side() -> None:
    of_route = {"name": "a", "requests": 2, "per": 3600}
    of_service = {"name": "a", "requests": 3, "per": 3600}
    async with fake_upstream(echo) as up, in_memory_store() as client:
        access = {"rate_limits": [of_service]}
        await write(client, "shop", {**document(url_of(up)), "access": access})
        routes = table(
            {"host": "a.org", "service": "shop", "rate_limits": [of_route]},
            {"host": "b.org", "service": "shop"},
        )
        await write(client, "@edge", routes)
        async with gateway_on(client) as proxy:
            hosts = ["a.org", "a.org", "a.org", "b.org", "b.org", "a.org"]
            asked = [(await ask(proxy, host))[0] for host in hosts]
            assert asked == [200, 200, 429, 200, 429, 429]
            status: dict[str, Any] = proxy.status()
            found = [status["rate_limits"], status["services"]["shop"]["rate_limits"]]
            assert [one["a"]["passed"] for one in found] == [2, 3]

            marker = {"host": "c.org", "respond": {}}
            await write(client, "@edge", table(marker))  # the limit is gone
            await eventually(proxy, "c.org", 200)
            await write(client, "@edge", routes)  # and back
            await eventually(proxy, "c.org", 404)
            assert (await ask(proxy, "a.org"))[0] == 429


async def test_a_route_asks_before_its_service_does(tmp_path: Path) -> None:
    async def by_path(asked: ReceivedRequest) -> None:
        if b"X-Forwarded-Uri: /api/open" in asked.head:
            await asked.response(b"", b"Remote-User: ann")
        else:
            head = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0"
            await asked.stream.send_all(head + b"\r\n\r\n")

    async def shows(request: ReceivedRequest) -> None:
        rows = request.head.split(b"\r\n")
        named = [row for row in rows if row.lower().startswith((b"get", b"remote-"))]
        await request.response(b"|".join(named))

    (tmp_path / "staff").write_text(f"ann:{HASH}\n")
    async with (
        fake_upstream(shows) as fake,
        fake_upstream(by_path) as auth,
        in_memory_store() as client,
    ):
        rules = {"url": url_of(auth), "copy_headers": ["Remote-User"]}
        routes: list[dict[str, Any]] = [
            {
                "host": "a.test",
                "path_prefix": "/api",
                "service": "a",
                "strip_prefix": True,
                "forward_auth": rules,
            },
            {"host": "a.test", "service": "a"},
            {"host": "b.test", "service": "a", "basic_auth": {"file": "staff"}},
        ]
        await write(client, "a", document(url_of(fake)))
        await write(client, "@edge", table(*routes))
        async with gateway_on(client, passwords=tmp_path) as proxy:
            await eventually(proxy, "a.test", 200)
            assert not auth.asked
            forged = {"remote_user": "root"}
            _, text, _ = await ask(proxy, "a.test", "/api/open", headers=forged)
            assert text == "GET /open HTTP/1.1|Remote-User: ann"
            status, _, fields = await ask(proxy, "a.test", "/api/shut")
            assert (status, fields["www-authenticate"]) == (401, "Bearer")
            assert (await ask(proxy, "b.test"))[0] == 401

            shown: Any = proxy.status()
            name = "forward_auth of a.test/api"
            assert set(shown["auth"]) == {name, "basic_auth of b.test/"}
            assert shown["auth"][name]["outcomes"] == {"granted": 1, "denied": 1}
            async with httpx.AsyncClient() as http:
                asked = {"target": "http://a.test/api/x"}
                reply = await http.post(f"{proxy.admin_url}/explain", json=asked)
            (check,) = reply.json()["route_auth"]
            assert check == {"check": "forward_auth", "by": url_of(auth)}


async def test_a_table_with_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "staff").write_text(f"ann:{HASH}\n")
    async with fake_upstream(echo) as fake, in_memory_store() as client:
        route: dict[str, Any] = {"host": "b.test", "service": "a"}
        staff = {**route, "basic_auth": {"file": "staff"}}
        await write(client, "a", document(url_of(fake)))
        await write(client, "@edge", table(staff))
        async with gateway_on(client, passwords=tmp_path) as proxy:
            await eventually(proxy, "b.test", 401)
            nobody = {**route, "basic_auth": {"file": "nobody"}}
            refused = await write(client, "@edge", table(nobody))
            with trio.fail_after(PATIENCE_S):
                while (failed := proxy.status()["failed"]) is None:
                    await trio.sleep(0.02)
            assert isinstance(failed, dict)
            assert failed["revision"] == refused
            assert failed["problems"][0]["path"] == "$.routes[0].basic_auth.file"
            assert (await ask(proxy, "b.test"))[0] == 401

            await write(client, "@edge", table(route))
            await eventually(proxy, "b.test", 200)
            assert proxy.status()["auth"] == {}


async def test_the_service_asks_after_its_route() -> None:
    async def lets_pass(asked: ReceivedRequest) -> None:
        name = asked.path.removeprefix(b"/")
        await asked.response(b"", b"X-%b: yes" % name)

    async def shows(request: ReceivedRequest) -> None:
        await request.response(b"%d" % request.head.count(b": yes"))

    async with (
        fake_upstream(shows) as fake,
        fake_upstream(lets_pass) as auth,
        in_memory_store() as client,
    ):
        of_route = {"url": url_of(auth) + "/route", "copy_headers": ["X-route"]}
        of_service = {"url": url_of(auth) + "/service", "copy_headers": ["X-service"]}
        given = {**document(url_of(fake)), "access": {"forward_auth": of_service}}
        await write(client, "a", given)
        route = {"host": "a.test", "service": "a", "forward_auth": of_route}
        await write(client, "@edge", table(route))
        async with gateway_on(client) as proxy:
            assert await eventually(proxy, "a.test", 200) == "2"
        assert [one.path for one in auth.asked] == [b"/route", b"/service"]


async def test_services_come_and_go_and_a_broken_one_stops_no_other() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        await write(client, "one", document(url_of(up)))
        await client.put("canary/two/config", b'{"arms": 3}')
        hosts = [{"host": f"{name}.org", "service": name} for name in ("one", "two")]
        await write(client, "@edge", table(*hosts))
        async with gateway_on(client) as proxy:
            assert (await ask(proxy, "one.org"))[0] == 200
            status, text, _ = await ask(proxy, "two.org")
            assert (status, "service two has no configuration" in text) == (503, True)
            fleet = await read_fleet(client, "two", 1)
            with trio.fail_after(PATIENCE_S):
                while not fleet.refusing:
                    fleet = await read_fleet(client, "two", 1)
            await write(client, "two", document(url_of(up)))
            await eventually(proxy, "two.org", 200)
            await client.put("canary/one/config", b"broken")
            await write(client, "three", document(url_of(up)))
            more = {"host": "three.org", "service": "three"}
            await write(client, "@edge", table(*hosts, more))
            await eventually(proxy, "three.org", 200)
            assert (await ask(proxy, "one.org"))[0] == 200, "the last good one goes on"
            await write(client, "@edge", table(more))
            await eventually(proxy, "one.org", 404)
            with trio.fail_after(PATIENCE_S):
                while await client.keys("canary/one/proxies/"):
                    await trio.sleep(0.02)
                while set(proxy.status()["services"]) != {"three"}:  # type: ignore[call-overload]
                    await trio.sleep(0.02)


async def test_a_secret_that_cannot_be_used_holds_up_no_other() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        for name in ("one", "two"):
            await write(client, name, document(url_of(up)))
        await client.put("canary/two/secret", b"no secret")
        hosts = [{"host": f"{name}.org", "service": name} for name in ("one", "two")]
        await write(client, "@edge", table(*hosts))
        async with gateway_on(client) as proxy:
            assert (await ask(proxy, "one.org"))[0] == 200
            assert (await ask(proxy, "two.org"))[0] == 503
            entry = (await client.get("canary/one/secret")).entry
            assert entry is not None
            await client.put("canary/two/secret", entry.value)
            await eventually(proxy, "two.org", 200)


async def test_services_without_a_secret_wait_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A report of its own would tell a gateway that others have the secret."""
    monkeypatch.setattr(secret_keeper, "GIVEN_BACK_S", 1000.0)
    count = AT_ONCE * 3
    async with in_memory_store() as client:
        text = json.dumps(document("http://127.0.0.1:9")).encode()
        for number in range(count):
            await client.put(f"canary/s{number}/config", text)
        hosts = [{"host": f"s{n}.org", "service": f"s{n}"} for n in range(count)]
        await write(client, "@edge", table(*hosts))
        async with gateway_on(client):
            secrets = [key for key in await client.keys("canary/") if "secret" in key]
            assert len(secrets) == count


async def test_health_is_checked_of_those_that_ask_for_it() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        checked = document(url_of(up))
        bad = {"servers": ["http://127.0.0.1:9"], "health": {"interval": 0.1}}
        checked["arms"]["canary"] = bad
        await write(client, "one", checked)
        await write(client, "two", document(url_of(up)))
        await write(
            client, "@edge", table({"service": "one"}, {"host": "b", "service": "two"})
        )
        async with gateway_on(client) as proxy:
            gateway = proxy._view.gateway
            assert isinstance(gateway, Gateway)
            assert set(gateway.services["one"].running) == {"health_checks"}
            assert not gateway.services["two"].running
            with trio.fail_after(PATIENCE_S):
                while True:
                    arms: Any = proxy.status()["services"]["one"]["arms"]  # type: ignore[index]
                    if not arms["canary"]["servers"][0]["up"]:
                        break
                    await trio.sleep(0.02)


async def test_a_bad_table_leaves_the_last_good_one() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        await write(client, "one", document(url_of(up)))
        await write(client, "@edge", table({"service": "one"}))
        async with gateway_on(client) as proxy:
            await client.put("canary/@edge/config", b'{"routes": [{"service": 1}]}')
            with trio.fail_after(PATIENCE_S):
                while not (
                    await read_fleet(client, "@edge", proxy.revision + 1)
                ).refusing:
                    await trio.sleep(0.02)
            assert (await ask(proxy, "any"))[0] == 200
            await change(client, "one", "ratio=0.5")


async def test_whoever_waits_for_a_service_waits_for_gateways_too() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        await write(client, "one", document(url_of(up)))
        await write(client, "two", document(url_of(up)))
        await write(
            client, "@edge", table({"service": "one"}, {"host": "b", "service": "two"})
        )
        async with (
            gateway_on(client, proxy_id="g1"),
            gateway_on(client, proxy_id="g2") as second,
        ):
            with trio.fail_after(PATIENCE_S):
                while len((await read_fleet(client, "one", 1)).reports) < 2:
                    await trio.sleep(0.02)
            revision = await change(client, "one", "ratio=1")
            with trio.fail_after(PATIENCE_S):
                fleet = await wait_applied(client, "one", revision)
                edge = await read_fleet(client, "@edge", second.revision)
            assert [report.id for report in fleet.live] == ["g1", "g2"]
            assert [report.id for report in edge.live] == ["g1", "g2"]
            other = await read_fleet(client, "two", 1)
            assert all(report.running < revision for report in other.reports)
        with trio.fail_after(PATIENCE_S):
            while await client.keys("canary/one/proxies/"):
                await trio.sleep(0.02)


def files_in(directory: Path) -> list[Path]:
    return list(directory.rglob("*.json"))


async def test_what_is_remembered_serves_without_a_store(tmp_path: Path) -> None:
    async with fake_upstream(echo) as up:
        async with in_memory_store() as client:
            await write(client, "one", document(url_of(up)))
            await write(client, "@edge", table({"service": "one"}))
            kept: dict[str, Any] = {"remember": True, "state": tmp_path}
            async with gateway_on(client, **kept):
                with trio.fail_after(PATIENCE_S):
                    while len(files_in(tmp_path)) < 2:
                        await trio.sleep(0.02)
        async with Client("http://127.0.0.1:9") as nowhere:
            async with gateway_on(nowhere, **kept) as proxy:
                assert (await ask(proxy, "any"))[0] == 200
                assert proxy.status()["remembered"] is True


async def test_services_of_a_remembered_table_are_followed(tmp_path: Path) -> None:
    """Whether the store has another one that is refused, or none at all."""
    kept: dict[str, Any] = {"remember": True, "state": tmp_path}
    async with fake_upstream(echo) as up, in_memory_store() as client:
        await write(client, "one", document(url_of(up)))
        good = await write(client, "@edge", table({"service": "one"}))
        async with gateway_on(client, **kept):
            with trio.fail_after(PATIENCE_S):
                while len(files_in(tmp_path)) < 2:
                    await trio.sleep(0.02)
        await client.put("canary/@edge/config", b'{"routes": [{"service": 1}]}')
        refused = (await client.get("canary/@edge/config")).entry
        assert refused is not None
        async with gateway_on(client, **kept) as proxy:
            assert proxy.status()["remembered"] is True
            with trio.fail_after(PATIENCE_S):
                revision = await change(client, "one", "ratio=1")
                await wait_applied(client, "one", revision)
            shown = proxy.status()
            assert (shown["running"], shown["attempted"]) == (
                good,
                refused.modify_index,
            )
        await client.delete("canary/@edge/config")
        async with gateway_on(client, **kept):
            with trio.fail_after(PATIENCE_S):
                revision = await change(client, "one", "ratio=0")
                await wait_applied(client, "one", revision)


async def test_a_store_that_is_not_followed_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        elsewhere = {"config_server": "http://127.0.0.1:9"}
        await write(client, "one", document(url_of(up)) | elsewhere)
        await write(client, "@edge", table({"service": "one"}))
        async with gateway_on(client) as proxy:
            with trio.fail_after(PATIENCE_S):
                revision = await change(client, "one", "ratio=1")
                fleet = await wait_applied(
                    client, "one", revision, until=lambda fleet: bool(fleet.staying)
                )
            assert "a gateway follows one store" in fleet.staying[0].move
            assert not fleet.live
            told = [r.message for r in caplog.records if "is not followed" in r.message]
            assert len(told) == 1
            shown: Any = proxy.status()["services"]["one"]["store"]  # type: ignore[index]
            assert "one names http://127.0.0.1:9" in shown["move_error"]
            with trio.fail_after(PATIENCE_S):
                revision = await change(client, "one", f"config_server={client.url}")
                await wait_applied(client, "one", revision)
            shown = proxy.status()["services"]["one"]["store"]  # type: ignore[index]
            assert not shown["move_error"]


async def test_what_is_shown_of_it() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        await write(client, "one", document(url_of(up)))
        await write(client, "two", document(url_of(up)))
        routes: list[dict[str, Any]] = [
            {"host": "a", "service": "one"},
            {"host": "b", "path_prefix": "/x", "service": "two", "strip_prefix": True},
            {"host": "c", "to": "/new"},
        ]
        await write(client, "@edge", table(*routes))
        async with gateway_on(client) as proxy, httpx.AsyncClient() as http:
            await ask(proxy, "a")
            await ask(proxy, "nobody")
            metrics = (await http.get(proxy.admin_url + "/metrics")).text
            status = (await http.get(proxy.admin_url + "/status")).json()
            asked = {"target": "http://b/x/y"}
            explain = proxy.admin_url + "/explain"
            found = (await http.post(explain, json=asked)).json()
            to = (await http.post(explain, json={"target": "http://c/y"})).json()
            none = (await http.post(explain, json={"target": "http://z/y"})).json()
    assert set(status["services"]) == {"one", "two"}
    assert status["services"]["one"]["arms"]["stable"]["requests"] == 1
    assert [route["target"] for route in status["routes"]] == [
        "one",
        "two",
        "308 to /new",
    ]
    lines = [line for line in metrics.splitlines() if line.startswith("canary_")]
    assert all('service="' in line for line in lines)
    assert any(
        line.startswith("canary_requests_total{") and 'service="one"' in line
        for line in lines
    )
    assert sum(line.startswith("canary_connections{") for line in lines) <= 3
    assert (found["route"], found["service"], found["target"]) == ("b/x", "two", "/y")
    assert found["arm"] == "stable"
    assert (to["status"], to["location"]) == (308, "/new/y")
    assert (none["route"], none["status"]) == (None, 404)


async def test_one_change_is_one_read_however_many_services() -> None:
    async with fake_upstream(echo) as up, in_memory_store() as client:
        names = [f"s{number}" for number in range(30)]
        for name in names:
            await client.put(
                f"canary/{name}/config", json.dumps(document(url_of(up))).encode()
            )
        hosts = [{"host": f"{name}.org", "service": name} for name in names]
        await write(client, "@edge", table(*hosts))
        async with gateway_on(client) as proxy:
            await trio.sleep(0.2)
            async with httpx.AsyncClient() as http:
                before = await _requests(http, client.url)
                await change(client, "s7", "ratio=1")
                with trio.fail_after(PATIENCE_S):
                    while proxy.status()["services"]["s7"]["running"] == 0:  # type: ignore[index]
                        await trio.sleep(0.02)
                await trio.sleep(0.2)
                after = await _requests(http, client.url)
    assert after["watch"] - before["watch"] <= 2, "the poll that ended, and the next"
    assert after.get("session", 0) - before.get("session", 0) <= 1


async def _requests(http: httpx.AsyncClient, url: str) -> dict[str, float]:
    text = (await http.get(url + "/metrics")).text
    found = {}
    for line in text.splitlines():
        if line.startswith("kv_trio_requests_total{"):
            name = line.partition('endpoint="')[2].partition('"')[0]
            found[name] = float(line.rpartition(" ")[2])
    return found
