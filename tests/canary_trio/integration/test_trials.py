"""Some proxies of a fleet try another document, and go back, or the rest follows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from canary_trio import (
    Proxy,
    ProxyOptions,
    read_document,
    serve,
    wait_applied,
    write_document,
)
from canary_trio.control.changes.confirming import confirm, stop_trial, write_trial
from canary_trio.errors import CannotConfirm
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

PATIENCE_S = 30.0
OTHER = {**DOCUMENT, "ratio": 0.5}


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await trio.sleep(0.01)


@asynccontextmanager
async def fleet() -> AsyncIterator[tuple[Client, Proxy, Proxy, int]]:
    """Run two proxies of one service; give them, and the revision of its document."""
    async with (
        in_memory_store() as store,
        proxy_on(store, proxy_id="a") as a,
        proxy_on(store, proxy_id="b") as b,
    ):
        _, revision = await read_document(store, "web")
        with trio.fail_after(PATIENCE_S):
            await wait_applied(
                store, "web", revision, until=lambda fleet: len(fleet.live) == 2
            )
        yield store, a, b, revision


async def try_other(store: Client, within_s: float = 60.0) -> Any:
    return await write_trial(store, "web", OTHER, ["b"], within_s=within_s)


async def test_one_tries_it_and_the_rest_follows() -> None:
    async with fleet() as (store, a, b, first):
        trial = await try_other(store)
        await until(lambda: b.revision == trial.index)
        assert b.config.ratio == {"canary": 5000}
        assert a.revision == first
        shown: Any = a.status()
        await until(lambda: shown["pending"] or a.status()["pending"])
        assert (await read_document(store, "web"))[1] == first
        await confirm(store, "web")
        text, second = await read_document(store, "web")
        assert json.loads(text) == OTHER
        await until(lambda: a.revision == b.revision == second)
        assert (await store.get("canary/web/pending")).entry is None


async def test_one_that_tried_it_goes_back_by_itself_or_by_hand() -> None:
    async with fleet() as (store, a, b, first):
        trial = await try_other(store, within_s=2)
        await until(lambda: b.revision == trial.index)
        await until(lambda: b.revision == first)
        again = await try_other(store)
        await until(lambda: b.revision == again.index)
        assert await stop_trial(store, "web", again)
        await until(lambda: b.revision == first)
        assert a.revision == first
        assert b.config.ratio == a.config.ratio


async def test_a_change_of_the_document_ends_the_trial() -> None:
    async with fleet() as (store, a, b, first):
        trial = await try_other(store)
        await until(lambda: b.revision == trial.index)
        changed = {**DOCUMENT, "ratio": 0.25}
        second = await write_document(store, "web", changed, over=first)
        await until(lambda: a.revision == b.revision == second)
        assert (await store.get("canary/web/pending")).entry is None


async def test_one_that_cannot_run_it_says_so_and_goes_on() -> None:
    async with fleet() as (store, _, b, first):
        broken = json.loads(json.dumps(OTHER))
        broken["arms"]["canary"]["servers"] = ["https://127.0.0.1:9"]
        broken["arms"]["canary"]["tls"] = {"ca": "/nowhere/ca.pem"}
        trial = await write_trial(store, "web", broken, ["b"], within_s=60)
        shown: Callable[[], Any] = b.status
        await until(lambda: shown()["failed"])
        assert shown()["failed"]["revision"] == trial.index
        assert b.revision == first
        assert await stop_trial(store, "web", trial)
        await until(lambda: shown()["failed"] is None)
        assert b.revision == first


async def test_one_that_starts_meanwhile_tries_it_too() -> None:
    async with in_memory_store() as store, proxy_on(store, proxy_id="a"):
        trial = await try_other(store)
        async with proxy_on(store, proxy_id="b") as b:
            await until(lambda: b.revision == trial.index)


async def test_a_service_of_a_gateway_is_tried_and_its_table_is_not() -> None:
    table = {"routes": [{"host": "a.org", "service": "web"}]}
    async with in_memory_store() as store, trio.open_nursery() as nursery:
        first = await write_document(store, "web", DOCUMENT, over=0)
        await write_document(store, "@edge", table, over=0)
        options = ProxyOptions(
            config_server=store.url,
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            remember=False,
            proxy_id="b",
        )
        with trio.fail_after(PATIENCE_S):
            proxy: Proxy = await nursery.start(serve, "@edge", options)

        def running() -> int:
            status: Any = proxy.status()
            return int(status["services"]["web"]["running"])

        trial = await try_other(store)
        await until(lambda: running() == trial.index)
        assert await stop_trial(store, "web", trial)
        await until(lambda: running() == first)
        with pytest.raises(CannotConfirm, match="table of a gateway cannot be tried"):
            await write_trial(store, "@edge", {"routes": []}, ["b"], within_s=60)
        nursery.cancel_scope.cancel()


async def test_the_command_chooses_waits_and_tells() -> None:
    async with fleet() as (store, a, b, first):
        given: dict[str, Any] = {"input": json.dumps(OTHER)}
        ran = await canary(
            *(store, "apply", "web", "-", "--to", "1", "--wait", "60", "-m", "half"),
            **given,
        )
        assert "is tried by 1 of 2 proxies (" in ran.stdout
        assert "in 1 h 0 min unless it is confirmed: canary confirm web" in ran.stdout
        (tries,) = (one for one in (a, b) if one.revision != first)
        status = (await canary(store, "status", "web")).stdout
        assert f"(half), tried by {tries.id}, goes back to revision {first}" in status
        assert f"revision {first}, live on 1/2 proxies" in status
        assert f"tries {tries.revision} in place of {first}" in status
        assert f"tries {tries.revision}" in (await canary(store, "services")).stdout
        shown = json.loads((await canary(store, "status", "web", "--json")).stdout)
        assert shown["pending"]["proxies"] == [tries.id]
        assert shown["revision"] == first

        both = ("apply", "web", "-", "--to", "2", "--wait", "20", "--json")
        ran = await canary(store, *both, **given)
        assert json.loads(ran.stdout)["pending"]["proxies"] == ["a", "b"]
        ran = await canary(store, "revert", "web")
        assert "is tried no more; back to" in ran.stdout
        await until(lambda: a.revision == b.revision == first)

        for to, status_, said in (
            ("3", 1, "--to 3 needs proxies that are live; there are: a, b"),
            ("c", 1, "--to c needs proxies that are live; there are: a, b"),
            ("0", 2, "expected a number of proxies, the name of one, or a share"),
            ("0%", 2, "expected a share of the users from 0.01% to 99.99%"),
        ):
            words = ("apply", "web", "-", "--to", to)
            ran = await canary(store, *words, status=status_, **given)
            assert said in " ".join(ran.stderr.split())
        same: dict[str, Any] = {"input": json.dumps(DOCUMENT)}
        ran = await canary(store, "apply", "web", "-", "--to", "b", status=1, **same)
        assert "that is the document already" in ran.stderr
        await canary(store, "apply", "web", "-", "--to", "b", **given)
        ran = await canary(store, "confirm", "web")
        assert "tried by b, is confirmed: all take it now" in ran.stdout
        assert json.loads((await read_document(store, "web"))[0]) == OTHER


def tried(proxy: Proxy, service: str | None = None) -> int:
    """Give the revision that a share of a proxy's users tries; 0 for none."""
    shown: Any = proxy.status()
    shown = shown if service is None else shown["services"][service]
    return 0 if shown["trial"] is None else int(shown["trial"]["revision"])


async def try_share(store: Client, within_s: float = 60.0, **given: Any) -> Any:
    document = {**OTHER, **given}
    return await write_trial(store, "web", document, (), within_s=within_s, share=2500)


async def test_a_share_tries_it_on_every_proxy_and_the_rest_follows() -> None:
    async with fleet() as (store, a, b, first):
        trial = await try_share(store)
        await until(lambda: tried(a) == tried(b) == trial.index)
        assert a.revision == b.revision == first
        async with proxy_on(store, proxy_id="c") as c:  # as one that is started again
            await until(lambda: tried(c) == trial.index)
        await confirm(store, "web")
        text, second = await read_document(store, "web")
        assert json.loads(text) == OTHER
        await until(lambda: a.revision == b.revision == second)
        assert (tried(a), tried(b)) == (0, 0)


async def test_a_share_goes_back_by_itself_or_by_hand_or_by_another_change() -> None:
    async with fleet() as (store, a, b, first):
        trial = await try_share(store, within_s=2)
        await until(lambda: tried(a) == tried(b) == trial.index)
        await until(lambda: tried(a) == tried(b) == 0)
        again = await try_share(store)
        await until(lambda: tried(a) == tried(b) == again.index)
        more = await try_share(store, style="random")
        await until(lambda: tried(a) == tried(b) == more.index)
        assert await stop_trial(store, "web", more)
        await until(lambda: tried(a) == tried(b) == 0)
        trial = await try_share(store)
        await until(lambda: tried(a) == tried(b) == trial.index)
        changed = {**DOCUMENT, "ratio": 0.25}
        second = await write_document(store, "web", changed, over=first)
        await until(lambda: a.revision == b.revision == second)
        assert (tried(a), tried(b)) == (0, 0)


async def test_one_that_cannot_run_it_beside_says_so_once_and_goes_on() -> None:
    async with fleet() as (store, a, _, first):
        broken = json.loads(json.dumps(DOCUMENT["arms"]))
        broken["canary"] = {
            "servers": ["https://127.0.0.1:9"],
            "tls": {"ca": "/no.pem"},
        }
        trial = await try_share(store, arms=broken)
        shown: Callable[[], Any] = a.status
        await until(lambda: shown()["failed"])
        assert shown()["failed"]["revision"] == trial.index
        assert (a.revision, tried(a)) == (first, 0)
        assert await stop_trial(store, "web", trial)
        await until(lambda: shown()["failed"] is None)


async def test_a_share_tries_it_on_a_gateway_too() -> None:
    table = {"routes": [{"host": "a.org", "service": "web"}]}
    async with in_memory_store() as store:
        await write_document(store, "web", DOCUMENT, over=0)
        await write_document(store, "@edge", table, over=0)
        async with trio.open_nursery() as nursery:
            options = ProxyOptions(
                config_server=store.url,
                binds=["127.0.0.1:0"],
                admin="127.0.0.1:0",
                remember=False,
            )
            with trio.fail_after(PATIENCE_S):
                proxy: Proxy = await nursery.start(serve, "@edge", options)
            trial = await try_share(store)
            await until(lambda: tried(proxy, "web") == trial.index)
            assert await stop_trial(store, "web", trial)
            await until(lambda: tried(proxy, "web") == 0)
            nursery.cancel_scope.cancel()


async def test_the_command_lets_a_share_try_it_and_all_say_so() -> None:
    by_user = {**DOCUMENT, "sticky_sessions": {"header": "X-User"}}
    async with fleet() as (store, a, b, at):
        first = await write_document(store, "web", by_user, over=at)
        await until(lambda: a.revision == b.revision == first)
        given: dict[str, Any] = {"input": json.dumps({**by_user, "ratio": 0.5})}
        words = ("apply", "web", "-", "--to", "25%", "--wait", "20")
        ran = await canary(store, *words, **given)
        index = tried(a)
        said = f"revision {index} is tried by 25% of users on 2 proxies"
        assert said in ran.stdout
        status = (await canary(store, "status", "web")).stdout
        assert f"revision {first}, live on 2/2 proxies" in status
        assert "tried by 25% of users, goes back to" in status
        assert f"runs {first}, and tries {index} beside it" in status
        arms = (await canary(store, "status", "web", "--arms")).stdout
        assert [line.split()[0] for line in arms.splitlines() if "document" in line]
        shown = json.loads(
            (await canary(store, "status", "web", "--arms", "--json")).stdout
        )
        assert shown["trial"].keys() == {"present", "trial"}
        assert shown["not_asked"] == []

        sides = set()
        for user in range(40):
            asked = ("explain", "web", "-H", f"X-User: {user}", "--json")
            said_ = json.loads((await canary(store, *asked)).stdout)
            tries = said_["trial"]["tries"]
            assert said_["revision"] == (index if tries else first)
            sides.add(tries)
            if sides == {True, False}:
                break
        assert sides == {True, False}
        ran = await canary(store, "explain", "web")
        assert f"or by revision {index}, which is tried by 25.00%" in ran.stdout

        ran = await canary(store, "revert", "web")
        assert f"tried no more; back to {first}: 25% of users" in ran.stdout
        await until(lambda: tried(a) == tried(b) == 0)
        for to, said in (
            ("0%", "expected a share of the users from 0.01% to 99.99%"),
            ("100%", "expected a share of the users from 0.01% to 99.99%"),
        ):
            ran = await canary(
                store, "apply", "web", "-", "--to", to, status=2, **given
            )
            assert said in " ".join(ran.stderr.split())
        ran = await canary(store, *words, **given)
        ran = await canary(store, "confirm", "web")
        assert "tried by 25% of users, is confirmed: all take it now" in ran.stdout
