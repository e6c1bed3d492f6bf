"""The demonstration's rollout: a version that fails when it is told to, and what begins it."""

from __future__ import annotations

import json
import os
import sys
import termios
from typing import Any

import pytest
import trio

from canary_trio.command.cli.demo.display import SERVICE
from canary_trio.command.cli.demo.rollout import (
    FAILING,
    Version,
    begin_rollout,
    pressed_keys,
)
from canary_trio.control.changes.documents import write_document
from canary_trio.control.changes.reading import read_document
from canary_trio.control.store_keys import config_key
from http_trio.testing.peers import connected, serving
from kv_trio.testing import in_memory_store


async def test_a_version_fails_when_it_is_told_to() -> None:
    drawn = [FAILING / 2, FAILING * 2]
    version = Version("v2", lambda: drawn.pop(0))
    async with serving(version) as server, connected(server) as client:
        assert (await client.ask())[1] == b"v2\n"
        assert b"fails" in (await client.ask(b"/fail", method=b"POST", body=b"x"))[1]
        assert b" 500 " in (await client.ask())[0]
        assert (await client.ask())[1] == b"v2\n"
        assert b"well" in (await client.ask(b"/heal", method=b"POST", body=b"x"))[1]
        assert (await client.ask())[1] == b"v2\n"
        await version.turn()
        assert version.fails


async def test_a_rollout_begins_and_begins_anew() -> None:
    servers = {"servers": ["http://a"]}
    document: dict[str, Any] = {
        "ratio": 0.5,
        "arms": {"stable": servers, "canary": servers},
    }
    async with in_memory_store() as client:
        await begin_rollout(client.url)  # there is nothing yet: it is only told
        await write_document(client, SERVICE, document, over=0)
        for name in ("v2-1", "v2-2"):
            await begin_rollout(client.url)
            found = json.loads((await read_document(client, SERVICE))[0])
            assert (found["ratio"], found["rollout"]["id"]) == (0, name)
        for other in (None, {"id": "v2", "steps": [1]}, {"id": "v2-²", "steps": [1]}):
            document["rollout"] = other
            await client.put(config_key(SERVICE), json.dumps(document).encode())
            await begin_rollout(client.url)
            found = json.loads((await read_document(client, SERVICE))[0])
            assert found["rollout"]["id"] == "v2-1"


async def test_keys_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    pressed = []
    done = trio.Event()

    async def press() -> None:
        await trio.lowlevel.checkpoint()
        pressed.append("f")
        if len(pressed) == 2:
            done.set()

    with os.fdopen(theirs) as terminal, os.fdopen(ours, "wb", buffering=0) as keyboard:
        before = termios.tcgetattr(terminal)
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pressed_keys, {"f": press})
                while termios.tcgetattr(terminal) == before:
                    await trio.sleep(0.01)
                keyboard.write(b"fxf")
                await done.wait()
                nursery.cancel_scope.cancel()
        assert termios.tcgetattr(terminal) == before


async def test_a_terminal_that_goes_away_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.openpty()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    with os.fdopen(theirs) as terminal:
        before = termios.tcgetattr(terminal)
        monkeypatch.setattr(sys, "stdin", terminal)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pressed_keys, {})
                while termios.tcgetattr(terminal) == before:
                    await trio.sleep(0.01)
                os.close(ours)


async def test_where_there_is_no_terminal_nobody_waits_for_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with os.fdopen(os.open(os.devnull, os.O_RDONLY)) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        await pressed_keys({})
