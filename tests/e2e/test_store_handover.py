"""A store that is restarted: its sockets, its data, and those who wait."""

from __future__ import annotations

import signal
import socket
from functools import partial
from pathlib import Path

import httpx
import trio

from http_trio.testing.ports import free_port
from kv_trio import Client
from tests.e2e.manager import service_manager, until_the_end
from tests.e2e.processes import run, running
from tests.e2e.store_handover import hand_over


async def test_stores_in_turn_refuse_nobody_and_lose_nothing(tmp_path: Path) -> None:
    done, faults = await hand_over(tmp_path, 2)
    assert not faults, faults[:5]
    assert set(done) == {"kept", "new", "poll"}


async def test_who_waits_for_too_long_or_second_is_told(tmp_path: Path) -> None:
    words = ("kv-trio", "serve", "--data", tmp_path / "kv")
    async with running(*words, "--bind", "127.0.0.1:0", state=tmp_path) as owner:
        await owner.says("listens on")
        told = await run(*words, "--bind", "127.0.0.1:0", status=1)
        assert told.err.startswith("kv-trio: another server has ")
        late = (*words, "--bind", "127.0.0.1:0", "--wait-data", "3")
        async with running(*late, state=tmp_path) as first:
            await first.says("waits for the data")
            told = await run(*late, status=1)
            assert "and another one waits for it" in told.err
            await first.says(r"\(waited 3 s for it\)")


async def test_a_service_manager_restarts_it_and_no_client_is_refused(
    tmp_path: Path,
) -> None:
    words = ("kv-trio", "serve", "--data", tmp_path / "kv")
    with (
        service_manager(tmp_path) as manager,
        socket.create_server(("127.0.0.1", 0)) as served,
    ):
        url = f"http://127.0.0.1:{served.getsockname()[1]}"
        start = partial(manager.start, *words, sockets={"http": served})
        async with Client(url) as client:
            first = start()
            with until_the_end(first):
                assert manager.hears(b"READY=1").startswith(b"READY=1\nSTATUS=serves")
                index = (await client.put("a", b"1")).index
                manager.hears(b"WATCHDOG=1")
                async with trio.open_nursery() as nursery:
                    polled = partial(client.get, "a", index=index, wait_s=60)
                    nursery.start_soon(polled)  # is answered at once
                    await until_watched(url)
                    first.send_signal(signal.SIGTERM)
                manager.hears(b"STOPPING=1")
                assert await trio.to_thread.run_sync(first.wait, 10) == 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.put, "b", b"2")  # waits in the queue
                second = start()
            with until_the_end(second):
                manager.hears(b"READY=1")
                keys = [entry.key for entry in (await client.list("")).entries]
    assert keys == [b"a", b"b"]


async def until_watched(url: str) -> None:
    """Wait until somebody waits for a change."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with trio.fail_after(40):
            while (
                "\nkv_trio_watchers 1.0\n"
                not in (await client.get(f"{url}/metrics")).text
            ):
                await trio.sleep(0.02)


async def test_a_socket_for_everybody_needs_tokens_too(tmp_path: Path) -> None:
    with (
        service_manager(tmp_path) as manager,
        socket.create_server(("0.0.0.0", 0)) as served,
    ):
        process = manager.start("kv-trio", "serve", sockets={"http": served})
        with until_the_end(process):
            assert await trio.to_thread.run_sync(process.wait, 20) == 1


async def test_a_lame_duck_says_so_and_serves(tmp_path: Path) -> None:
    port = free_port()
    words = ("kv-trio", "serve", "--bind", f"127.0.0.1:{port}", "--lame-duck", 60)
    url = f"http://127.0.0.1:{port}"
    async with (
        running(*words, "--data", tmp_path / "kv", state=tmp_path) as store,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        await store.says("listens on")
        assert (await run("kv-trio", "health", url)).out == "ready\n"
        store.process.send_signal(signal.SIGTERM)
        with trio.fail_after(40):
            while (await client.get(f"{url}/ready")).text != "draining\n":
                await trio.sleep(0.01)
        told = await run("kv-trio", "health", url, status=1)
        assert "not ready: 503 draining" in told.err
        await run("kv-trio", "health", f"{url}/live")
        response = await client.put(f"{url}/v1/kv/a", content=b"1")
        assert (response.text, response.headers["connection"]) == ("true", "close")
        await store.ends(signal.SIGTERM)  # a second one ends it at once


async def test_a_broken_file_of_tokens_is_refused_and_ends_nothing(
    tmp_path: Path,
) -> None:
    made = await run("kv-trio", "token", "all", "--write", "")
    secret = made.err.split()[-1]
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(made.out)
    words = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--token-file", tokens)
    async with running(*words, state=tmp_path) as store:
        url = "http://" + (await store.says(r"listens on ([\d.:]+)"))[1]
        tokens.write_text("[[token]]\nname = 7\n")
        store.process.send_signal(signal.SIGUSR1)  # for logs, of which it has none
        store.process.send_signal(signal.SIGHUP)
        await store.says("the tokens stay as they were: .*expected a name")
        async with Client(url, token=secret) as client:
            assert (await client.put("a", b"1")).done
