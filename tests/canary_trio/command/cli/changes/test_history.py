"""What an operator sees of the past, and how one goes back to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from canary_trio import Note, change, read_document, write_document
from canary_trio.command.cli.changes.history import difference_lines, table_lines
from canary_trio.command.cli.main import main
from canary_trio.control.changes.difference import differences
from canary_trio.control.changes.history import Change
from canary_trio.control.store_keys import config_key
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.stored_proxy import DOCUMENT


async def written(client: Client, *ratios: float) -> list[int]:
    """Write a document, and change its ratio; give the revisions."""
    made = [await write_document(client, "web", DOCUMENT, over=0, note=Note("ann"))]
    for ratio in ratios:
        note = Note("bob", f"to {ratio:g}")
        made.append(await change(client, "web", f"ratio={ratio:g}", note=note))
    return made


async def present(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await read_document(client, "web"))[0])
    return found


async def test_history_is_a_table_the_newest_first() -> None:
    async with in_memory_store() as client:
        one, two = await written(client, 0.25)
        shown = (await canary(client, "history", "web")).stdout.splitlines()
        assert shown[0].split() == ["REVISION", "TIME", "AUTHOR", "CHANGE", "MESSAGE"]
        assert shown[1].startswith(f"{two} *")
        assert shown[1].endswith("to 0.25")
        assert "bob" in shown[1]
        assert "ratio: added 0.25" in shown[1]
        assert shown[2].startswith(f"{one} ")
        assert "the first document" in shown[2]

        newest = await canary(client, "history", "web", "--limit", "1", "--json")
        (found,) = json.loads(newest.stdout)["changes"]
        assert (found["revision"], found["over"], found["author"]) == (two, one, "bob")
        await client.put(config_key("web"), json.dumps(DOCUMENT).encode())
        shown = (await canary(client, "history", "web")).stdout.splitlines()
        assert "by hand" in shown[1]
        assert "ratio: removed 0.25" in shown[1]
        ran = await canary(client, "history", "nothing", status=1)
        assert "no document for service 'nothing'" in ran.stderr


async def test_a_diff_is_by_path() -> None:
    async with in_memory_store() as client:
        one, two, _ = await written(client, 0.25, 0.5)
        shown = await canary(client, "diff", "web", str(one))
        assert shown.stdout == "+ ratio = 0.5\n"
        shown = await canary(client, "diff", "web", str(two), str(one))
        assert shown.stdout == "- ratio = 0.25\n"
        shown = await canary(client, "diff", "web", str(two), "--json")
        assert json.loads(shown.stdout)["differences"] == [
            {"path": "ratio", "before": 0.25, "after": 0.5}
        ]
        same = await canary(client, "diff", "web", str(one), str(one))
        assert (same.stdout, "no difference" in same.stderr) == ("", True)
        ran = await canary(client, "diff", "web", "999", status=1)
        assert "revision 999 is not kept; there are" in ran.stderr


async def test_what_is_no_document_has_no_difference() -> None:
    async with in_memory_store() as client:
        (one,) = await written(client)
        await client.put(config_key("web"), b"gone")
        ran = await canary(client, "diff", "web", str(one), status=1)
    assert "is no document: $: found" in ran.stderr


@pytest.mark.parametrize("words", [("history", "web"), ("diff", "web", "1")], ids=str)
def test_what_is_only_read_keeps_no_history(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    asked = ("--config-server", f"file://{tmp_path}/")
    ran = CliRunner().invoke(main, [*words, *asked])
    assert ran.exit_code == 1
    assert "keeps no history: " in ran.stderr
    ran = CliRunner().invoke(main, ["unset", "web", "ratio", *asked])
    assert "takes no document: " in ran.stderr


async def test_a_rollback_is_a_new_revision_with_the_old_content() -> None:
    async with in_memory_store() as client:
        one, _, three = await written(client, 0.25, 0.5)
        ran = await canary(client, "rollback", "web", str(one), "-m", "it hurts")
        assert f"written, a copy of {one}" in ran.stdout
        assert await present(client) == DOCUMENT
        shown = json.loads((await canary(client, "history", "web", "--json")).stdout)
        newest = shown["changes"][0]
        assert newest["revision"] > three
        assert (newest["copy_of"], newest["message"]) == (one, "it hurts")
        again = await canary(client, "rollback", "web", str(one))
        assert "nothing changed" in again.stdout
        ran = await canary(client, "rollback", "web", "999", status=1)
        assert "revision 999 is not kept" in ran.stderr
        await client.delete(config_key("web"))
        await canary(client, "rollback", "web", str(three))
        assert (await present(client))["ratio"] == 0.5


async def test_what_is_gone_back_to_is_checked_as_any_change() -> None:
    async with in_memory_store() as client:
        await written(client)
        broken = await client.put(config_key("web"), b'{"arms": {}, "ratio": 7}')
        await change_by_hand(client)
        ran = await canary(client, "rollback", "web", str(broken.index), status=1)
        assert "canary: $.ratio: found 7" in ran.stderr
        assert (await present(client))["ratio"] == 0.5


async def change_by_hand(client: Client) -> None:
    """Write over what cannot be read, as `canary apply` does."""
    over = (await read_document(client, "web"))[1]
    await write_document(client, "web", DOCUMENT | {"ratio": 0.5}, over=over)


async def test_undo_goes_back_step_by_step() -> None:
    async with in_memory_store() as client:
        one, two, three = await written(client, 0.25, 0.5)
        ran = await canary(client, "undo", "web")
        assert f"without the change of {three} by bob at " in ran.stdout
        assert f": a copy of {two}" in ran.stdout
        assert (await present(client))["ratio"] == 0.25
        ran = await canary(client, "undo", "web", "--json")
        said = json.loads(ran.stdout)
        assert (said["undone"], said["copy_of"]) == (two, one)
        assert await present(client) == DOCUMENT
        ran = await canary(client, "undo", "web", status=1)
        assert f"nothing is kept of before revision {one}" in ran.stderr
        await canary(client, "rollback", "web", str(three))
        await canary(client, "undo", "web")
        assert await present(client) == DOCUMENT, "a rollback is undone as any change"


async def test_undo_of_a_deleted_document_names_the_way_back() -> None:
    async with in_memory_store() as client:
        *_, three = await written(client, 0.25, 0.5)
        await client.delete(config_key("web"))
        ran = await canary(client, "undo", "web", status=1)
        assert f"canary rollback web {three}" in ran.stderr
        await canary(client, "rollback", "web", str(three))
        assert (await present(client))["ratio"] == 0.5
        ran = await canary(client, "undo", "nothing", status=1)
        assert "no document for service" in ran.stderr


async def test_undo_of_a_revision_that_was_replaced_does_nothing() -> None:
    async with in_memory_store() as client:
        _, two, three = await written(client, 0.25, 0.5)
        ran = await canary(client, "undo", "web", str(two), status=1)
        assert f"another writer was first: revision {three} by bob" in ran.stderr
        assert (await present(client))["ratio"] == 0.5
        await canary(client, "undo", "web", str(three))
        assert (await present(client))["ratio"] == 0.25


async def test_who_and_why_are_as_the_user_says() -> None:
    async with in_memory_store() as client:
        await written(client)
        words = ("set", "web", "ratio=1", "--author", "carol", "-m", "all of them")
        await canary(client, *words)
        shown = json.loads((await canary(client, "history", "web", "--json")).stdout)
        newest = shown["changes"][0]
        assert (newest["author"], newest["message"]) == ("carol", "all of them")
        ran = await canary(client, "set", "web", "ratio=0", "-m", "m" * 2000, status=2)
        assert "found 2000 characters of message, expected 1024" in ran.stderr


HOSTILE = Change(
    "1767225600000-00ff", 7, over=6, author="a\x1b[2J" + "b" * 99, message="x\n\x07y"
)


def test_what_others_wrote_does_nothing_to_a_terminal() -> None:
    found = differences({}, {"a\x1b[2J": "\u202e\x9b1m"})
    lines = [*table_lines([HOSTILE], 7), *difference_lines(found)]
    for line in lines:
        bare = line.replace("\x1b[32m", "").replace("\x1b[0m", "")
        assert bare.isprintable(), ascii(line)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_are_left_out_where_nobody_wants_them(
    no_color: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    (line,) = difference_lines(differences({}, {"a": 1}))
    assert ("\x1b" in line) == (not no_color)
