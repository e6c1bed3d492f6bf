"""A document in an editor: checked, written once, and never lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from canary_trio import read_document, read_history, write_document
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.stored_proxy import DOCUMENT


class Editor:
    """An editor that is a program: each time it gets the next of some scripts."""

    def __init__(self, directory: Path, *scripts: str) -> None:
        self.directory = directory
        self.scripts = directory / "scripts"
        self.scripts.mkdir()
        for number, script in enumerate(scripts):
            (self.scripts / str(number)).write_text(script)
        program = directory / "editor.py"
        program.write_text(f"""
import pathlib, sys
path = pathlib.Path(sys.argv[1])
scripts = sorted(pathlib.Path({str(self.scripts)!r}).iterdir(), key=lambda p: int(p.name))
number = len(list(path.parent.glob("seen-*")))
text = path.read_text()
(path.parent / f"seen-{{number}}").write_text(text)
namespace = dict(text=text)
exec(scripts[min(number, len(scripts) - 1)].read_text(), namespace)
path.write_text(namespace["text"])
""")
        self.environment = {
            "VISUAL": f"{sys.executable} {program}",
            "TMPDIR": str(directory),
        }

    def seen(self, number: int) -> str:
        return (self.directory / f"seen-{number}").read_text()

    @property
    def kept(self) -> list[str]:
        return [path.read_text() for path in self.directory.glob("canary-*")]

    async def run(self, client: Client, *words: str, status: int = 0) -> Result:
        asked = ("edit", "web", *words)
        return await canary(client, *asked, status=status, env=self.environment)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


async def present(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await read_document(client, "web"))[0])
    return found


RATIO = """text = text.replace('{\\n  "arms"', '{\\n  "ratio": RATIO,\\n  "arms"')"""


async def test_what_is_edited_is_written_and_noted(directory: Path) -> None:
    editor = Editor(directory, RATIO.replace("RATIO", "0.5"))
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await editor.run(client, "-m", "half")
        assert "written" in ran.stdout
        assert await present(client) == {"ratio": 0.5, **DOCUMENT}
        newest = (await read_history(client, "web")).changes[0]
    assert newest.message == "half"
    assert editor.kept == []
    assert editor.seen(0).startswith("// The document of web, revision ")


async def test_faults_are_shown_until_it_is_valid(directory: Path) -> None:
    scripts = (
        RATIO.replace("RATIO", "7"),
        "text = text.replace(': 7', ': 0.25').rstrip()[:-1]",
        "text += '}'",
    )
    editor = Editor(directory, *scripts)
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        await editor.run(client)
        assert (await present(client))["ratio"] == 0.25
    assert "// FAULT $.ratio: found 7, expected" in editor.seen(1)
    assert "// FAULT $: found Expecting ',' delimiter at line" in editor.seen(2)
    assert "FAULT $.ratio" not in editor.seen(2)


async def test_an_editor_that_never_makes_it_valid_is_not_asked_for_ever(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("canary_trio.command.cli.changes.edit.ROUNDS", 2)
    editor = Editor(directory, "text += 'x'")
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await editor.run(client, status=1)
    assert "not valid after 2 times in the editor" in ran.stderr
    assert "what was typed is in" in ran.stderr
    assert editor.kept[0].endswith("xx")


@pytest.mark.parametrize("script", ["", "text = ''", "text = text.replace('  ', ' ')"])
async def test_where_nothing_changes_nothing_is_written(
    script: str, directory: Path
) -> None:
    editor = Editor(directory, script)
    async with in_memory_store() as client:
        revision = await write_document(client, "web", DOCUMENT, over=0)
        ran = await editor.run(client)
        assert "nothing changed; no revision is written" in ran.stdout
        assert (await read_document(client, "web"))[1] == revision
    assert editor.kept == []


async def test_who_gives_up_has_the_text_still(directory: Path) -> None:
    editor = Editor(directory, RATIO.replace("RATIO", "7"), "")
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await editor.run(client, status=1)
        assert await present(client) == DOCUMENT
    assert "$.ratio: found 7" in ran.stderr
    assert "nothing is written; what was typed is in " in ran.stderr
    (kept,) = editor.kept
    assert json.loads(kept) == {"ratio": 7, **DOCUMENT}, "as it can be applied"


async def test_somebody_else_was_first(directory: Path) -> None:
    async with in_memory_store() as client:
        other = f"""
import urllib.request
body = {json.dumps({**DOCUMENT, "ratio": 1})!r}.encode()
url = {client.url!r} + "/v1/kv/canary/web/config"
urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"))
"""
        editor = Editor(directory, other + RATIO.replace("RATIO", "0.5"))
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await editor.run(client, status=1)
        assert (await present(client))["ratio"] == 1
    assert "another writer was first: revision" in ran.stderr
    assert "by hand, which changed ratio: added 1" in ran.stderr
    (kept,) = editor.kept
    assert json.loads(kept)["ratio"] == 0.5


@pytest.mark.parametrize(
    ("editor", "says"),
    [
        ("/nowhere/editor", "cannot run the editor '/nowhere/editor'"),
        ("false", "the editor 'false' ended with status 1"),
        ("'", "No closing quotation"),
    ],
)
async def test_an_editor_that_fails_is_said(
    editor: str, says: str, directory: Path
) -> None:
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        ran = await canary(client, "edit", "web", status=1, env={"VISUAL": editor})
    assert says in ran.stderr
    assert "nothing was typed, and nothing is written" in ran.stderr
    assert names_in(directory) == []


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_field_is_removed() -> None:
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT | {"ratio": 0.5}, over=0)
        await canary(client, "unset", "web", "ratio")
        assert await present(client) == DOCUMENT
        ran = await canary(client, "unset", "web", "ratio", status=1)
        assert "there is no ratio in the document" in ran.stderr


async def test_a_file_of_another_format_is_applied_once(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("update_rate: 9\narms:\n  stable: {servers: ['http://a']}\n")
    async with in_memory_store() as client:
        assert "written" in (await canary(client, "apply", "web", str(file))).stdout
        assert (await present(client))["update_rate"] == 9
        again = await canary(client, "apply", "web", str(file))
        assert "nothing changed; revision" in again.stdout
        file.write_text(
            "sticky_sessions: {cookie: on}\narms: {stable: {servers: [yes]}}"
        )
        ran = await canary(client, "apply", "web", str(file), status=1)
    assert "$.sticky_sessions.cookie: found true" in ran.stderr
    assert "canary: YAML takes on, off, yes and no for true and false" in ran.stderr
