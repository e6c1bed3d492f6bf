"""What an operator sees of a change that has to be confirmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from canary_trio import read_document, write_document
from canary_trio.command.cli.changes import unconfirmed
from canary_trio.command.cli.main import main
from canary_trio.control.fleet.applied import wait_applied
from canary_trio.control.store_keys import config_key
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no proxy where none is."""
    monkeypatch.setattr(unconfirmed, "DRIVEN_S", 0.05)


ALONE = "no proxy is live, so nobody takes it back by itself"


async def present(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await read_document(client, "web"))[0])
    return found


async def test_where_a_proxy_is_live_all_is_told_and_confirmed() -> None:
    async with in_memory_store() as client, proxy_on(client):
        _, first = await read_document(client, "web")
        ran = await canary(
            *(client, "set", "web", "ratio=0.5", "--confirm-within", "60"),
            *("-m", "try", "--author", "ann"),
        )
        second = first + 1
        assert ran.stderr == ""
        _, second = await read_document(client, "web")
        assert ran.stdout == (
            f"revision {second} written; it goes back to revision {first} in 1 min 0 s"
            " unless it is confirmed: canary confirm web\n"
        )
        with trio.fail_after(30):
            await wait_applied(client, "web", second)  # else status says that it is not
        waits = f"revision {second} by ann (try) goes back to revision {first} in "
        assert f"canary: {waits}" in (await canary(client, "get", "web")).stderr
        assert waits in (await canary(client, "status", "web")).stdout
        shown = json.loads((await canary(client, "status", "web", "--json")).stdout)
        assert shown["pending"]["revision"] == second
        assert 0 < shown["pending"]["left_s"] <= 60

        again = await canary(client, "set", "web", "ratio=0.5")
        assert f"revision {second} is there already; it waits still:" in again.stdout

        ran = await canary(client, "confirm", "web")
        assert ran.stdout.startswith(f"revision {second} by ann (try) is confirmed, ")
        ran = await canary(client, "confirm", "web", status=1)
        assert ran.stderr == "canary: web: no change waits to be confirmed\n"
        assert (await present(client))["ratio"] == 0.5
        assert (await canary(client, "get", "web")).stderr == ""
        shown = json.loads((await canary(client, "status", "web", "--json")).stdout)
        assert shown["pending"] is None


@pytest.mark.usefixtures("little_patience")
async def test_where_no_proxy_is_live_nobody_takes_it_back() -> None:
    async with in_memory_store() as client:
        first = await write_document(client, "web", DOCUMENT, over=0)
        ran = await canary(
            *(client, "set", "web", "ratio=0.5", "--confirm-within", "60", "--json"),
            status=3,
        )
        assert ALONE in ran.stderr
        shown = json.loads(ran.stdout)
        assert shown["changed"] is True
        assert shown["pending"]["back_to"] == first
        ran = await canary(client, "revert", "web", "-m", "it hurts")
        assert f"written, a copy of {first}" in ran.stdout
        assert await present(client) == DOCUMENT
        ran = await canary(client, "revert", "web", status=1)
        assert "no change waits to be confirmed" in ran.stderr
        shown = json.loads((await canary(client, "history", "web", "--json")).stdout)
        assert shown["changes"][0]["message"] == "it hurts"


@pytest.mark.usefixtures("little_patience")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "web", "ratio=0.7"), "is no longer waited for: it was replaced"),
        (("undo", "web"), "is no longer waited for: it was replaced"),
        (
            ("set", "web", "ratio=0.7", "--confirm-within", "9"),
            "is no longer waited for: it was replaced",
        ),
        (
            ("undo", "web", "--confirm-within", "9"),
            "there is nothing to confirm: that is what it would go back to",
        ),
    ],
    ids=["set", "undo", "set again", "undo that waits"],
)
async def test_whoever_writes_over_it_is_told(
    words: tuple[str, ...], said: str
) -> None:
    waits = words[0] == "set" and "--confirm-within" in words
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        within = ("--confirm-within", "60")
        await canary(client, "set", "web", "ratio=0.5", *within, status=3)
        _, second = await read_document(client, "web")
        ran = await canary(client, *words, status=3 if waits else 0)
        assert f"revision {second} is no longer waited for" in ran.stdout
        assert said in ran.stdout


async def test_what_cannot_be_is_refused_in_words() -> None:
    async with in_memory_store() as client:
        first = await write_document(client, "web", DOCUMENT, over=0)
        for seconds in ("0", "nan", "1e9", "-1", "soon"):
            within = ("--confirm-within", seconds)
            await canary(client, "set", "web", "ratio=1", *within, status=2)
        ran = await canary(
            *(
                client,
                "set",
                "web",
                "config_server=http://b:1",
                "--confirm-within",
                "9",
            ),
            status=1,
        )
        assert "cannot be taken back here" in ran.stderr
        assert (await read_document(client, "web"))[1] == first


@pytest.mark.parametrize("to", ["9", "9" * 5000, "nobody", "٣", "-1", ""])
async def test_a_number_of_proxies_that_are_not_there_is_refused(
    to: str, tmp_path: Path
) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps({**DOCUMENT, "ratio": 0.5}))
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await canary(client, "apply", "web", str(file), f"--to={to}", status=1)
    assert "needs proxies that are live; there are: none" in ran.stderr


@pytest.mark.parametrize(
    "words", [("confirm",), ("revert",), ("apply", "--to=1"), ("apply", "--to=me")]
)
@pytest.mark.parametrize("url", ["file://{}", "http+poll://127.0.0.1:1/web.json"])
def test_what_is_only_read_is_refused_in_words(
    words: tuple[str, ...], url: str, tmp_path: Path
) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps(DOCUMENT))
    name, *more = words
    given = ["web", *([str(file)] if name == "apply" else []), *more]
    asked = [name, *given, "--config-server", url.format(file)]
    ran = CliRunner().invoke(main, asked)
    assert ran.exit_code == 1
    assert "takes no document: " in ran.stderr


async def test_who_interrupts_the_wait_is_told_that_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("canary_trio.command.cli.changes.written.Wait.run", interrupted)
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await canary(client, "set", "web", "ratio=0.5", "--wait=9", status=3)
        _, revision = await read_document(client, "web")
    assert f"revision {revision} written" in ran.stdout
    assert "where it is live is not known: the wait was interrupted" in ran.stderr


@pytest.mark.parametrize("words", [("set", "web", "ratio=0.1"), ("unset", "web", "a")])
async def test_where_the_store_holds_no_document_the_way_back_is_said(
    words: tuple[str, ...],
) -> None:
    async with in_memory_store() as client:
        await client.put(config_key("web"), b"garbage")
        ran = await canary(client, *words, status=1)
    assert "web: what the store holds is no document: $: found" in ran.stderr
    assert "go back with: canary undo web;" in ran.stderr


async def test_who_interrupts_the_wait_of_a_trial_is_told_that_it_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("canary_trio.command.cli.changes.trying._wait", interrupted)
    file = tmp_path / "web.json"
    file.write_text(json.dumps({**DOCUMENT, "ratio": 0.5}))
    async with in_memory_store() as client, proxy_on(client):
        with trio.fail_after(30):
            await wait_applied(
                client, "web", 0, until=lambda fleet: bool(fleet.reports)
            )
        words = ("apply", "web", str(file), "--to=1", "--wait=9")
        ran = await canary(client, *words, status=3)
    assert "is tried by 1 of 1 proxies" in ran.stdout
    assert "the wait was interrupted" in ran.stderr
