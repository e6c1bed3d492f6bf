"""What a service does not get from outside is told to who reads events, and that it is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio.config.document import load
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.event_sources.outside import Outside
from canary_trio.telemetry.events import EventKind, Events, ProxyEvent
from canary_trio.testing import PATIENCE_S, arm, says_stable, url_of
from http_trio import Address
from http_trio.testing.peers import connected, fake_upstream, serving
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on


def of(events: Events, kind: EventKind) -> list[ProxyEvent]:
    return [event for event in events.after(0) if event.kind is kind]


async def test_a_name_that_does_not_resolve_is_told_and_that_it_does_again() -> None:
    known = False

    async def resolve(host: str, port: int) -> list[Address]:
        if not known:
            raise OSError(f"nobody knows {host}")
        return [(trio.socket.AF_INET, ("127.0.0.1", port))]

    runtime = Runtime("web", resolve=resolve)
    config = load(json.dumps({"arms": {"stable": {"servers": ["http://a.example"]}}}))
    runtime.install(await runtime.build(config, 1, b"s"))
    (event,) = of(runtime.observer.events, EventKind.NAME)
    assert (event.service, event.fields["server"]) == ("web", "http://a.example")
    assert "nobody knows a.example" in event.message
    known = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.run)
        with trio.fail_after(PATIENCE_S):
            while len(of(runtime.observer.events, EventKind.NAME)) < 2:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert "its name resolves" in of(runtime.observer.events, EventKind.NAME)[1].message


async def test_one_who_says_nothing_of_clients_is_told_and_that_he_does_again() -> None:
    answers = False

    async def asked(request: Any) -> None:
        if not answers:
            await request.stream.aclose()
            raise trio.ClosedResourceError
        await request.response(b"")

    async with fake_upstream(says_stable) as up, fake_upstream(asked) as other:
        runtime = Runtime("web")
        access = {"forward_auth": {"url": url_of(other)}}
        document = {"arms": {"stable": arm(up)}, "access": access}
        config = load(json.dumps(document))
        runtime.install(await runtime.build(config, 1, b"s"))
        async with serving(ProxyHandler(runtime)) as server:
            async with connected(server) as client:
                await client.ask()
                await client.ask()
                (event,) = of(runtime.observer.events, EventKind.AUTH)
                assert event.fields["check"] == "forward_auth"
                assert "requests are refused" in event.message
                answers = True
                await client.ask()
        told = of(runtime.observer.events, EventKind.AUTH)
        assert "it answers again" in told[1].message


async def test_a_file_of_users_is_told_of(tmp_path: Path) -> None:
    lists, file, told = PasswordLists(tmp_path), tmp_path / "staff", []
    lists.tell = lambda words, path, _: told.append((words, path))
    file.write_text("")
    await lists.take("staff")
    file.write_text("no line of users")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lists.run)
        lists.look_soon()
        with trio.fail_after(PATIENCE_S):
            while not told:
                await trio.sleep(0.01)
                lists.look_soon()
        nursery.cancel_scope.cancel()
    ((words, path),) = told
    assert (path, "stay" in words) == (file, True)


async def test_a_proxy_tells_of_its_files_as_events() -> None:
    async with in_memory_store() as store, proxy_on(store) as proxy:
        lists, events = proxy._passwords, proxy._view.runtime.observer.events
        lists.tell("it is odd", Path("/staff"), 40)
        (event,) = of(events, EventKind.AUTH)
        assert (event.message, event.fields) == ("it is odd", {"file": "/staff"})


@pytest.mark.parametrize("kind", ["name", "auth"])
def test_what_was_never_wrong_is_not_told_to_be_over(kind: str) -> None:
    events = Events()
    outside = Outside(events, "web")
    if kind == "name":
        outside.tell_name("http://a", "")
    else:
        outside.tell_auth("forward_auth", "http://a", "")
    assert events.after(0) == []
