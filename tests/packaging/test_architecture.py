"""docs/architecture.md beside the code: the layers, "Where is ...?", and the walk of a GET."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from canary_trio.testing import arm, proxied, says_stable
from http_trio.testing.peers import RawClient, connected, fake_upstream

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
SOURCES = ROOT / "src"
PACKAGES = ("http_trio", "kv_trio", "canary_trio")
MOST_FILES = 25  # that a small GET may touch on its way through the proxy


def section(title: str) -> str:
    """Give the text under a heading of the page."""
    _, found, rest = PAGE.partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


# === where is ...? ===

ROWS = re.findall(r"^\| (.+?) \| `(\S+?)` \| `(\S+?)` \|$", PAGE, re.MULTILINE)


@cache
def names_in(file: str) -> frozenset[str]:
    """Give what a file defines at its top, and in its classes as `Class.name`."""
    found: set[str] = set()
    for node in ast.parse((SOURCES / file).read_text("utf-8")).body:
        found |= set(defined_by(node))
        if isinstance(node, ast.ClassDef):
            inner = (name for part in node.body for name in defined_by(part))
            found |= {f"{node.name}.{name}" for name in inner}
    return frozenset(found)


def defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [name.id for name in node.targets if isinstance(name, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def test_at_least_twenty_places_are_told() -> None:
    assert len(ROWS) >= 20
    assert len({question for question, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("question", "file", "name"), ROWS, ids=[row[0] for row in ROWS]
)
def test_it_is_where_the_page_says(question: str, file: str, name: str) -> None:
    assert name in names_in(file), f"{question} {file} defines {names_in(file)}"


def test_the_tree_names_every_folder() -> None:
    told = set(re.findall(r"^ +(\w+)/", section("The tree"), re.MULTILINE))
    folders = {
        path.name
        for package in PACKAGES
        for path in (SOURCES / package).iterdir()
        if (path / "__init__.py").exists()
    }
    assert told == folders


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:http|kv|canary)_trio/\S+?\.py)`", PAGE))
    assert sorted(file for file in named if not (SOURCES / file).exists()) == []


# === the picture of the layers ===


def test_the_picture_shows_the_layers_of_the_contracts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = {
        contract["containers"][0]: contract["layers"]
        for contract in contracts
        if contract["type"] == "layers" and "containers" in contract
    }
    assert set(layers) == set(PACKAGES)
    for package, wanted in layers.items():
        drawn = re.search(rf"subgraph {package}\b.*?\n(.*?)\n *end", PAGE, re.DOTALL)
        assert drawn is not None, package
        rows = re.findall(r'\["(.+?)"\]', drawn[1])
        assert [row.split(" · ") for row in rows] == [
            layer.split(" | ") for layer in wanted
        ]


# === the walk of a GET ===


@contextmanager
def files_called() -> Iterator[list[str]]:
    """Collect the files of ours whose functions are called, each once, in order."""
    found: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if (
            event == "call"
            and path.is_relative_to(SOURCES)
            and "testing" not in str(path)
        ):
            found.setdefault(path.relative_to(SOURCES).as_posix())

    files: list[str] = []
    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        files += found


async def walk_a_get() -> list[str]:
    """Give the files that a GET with a head that is new passes through."""
    async with fake_upstream(says_stable) as upstream:
        arms = {"stable": arm(upstream), "canary": arm(upstream)}
        async with (
            proxied(arms, ratio=0.5) as proxy,
            connected(proxy.server) as client,
        ):
            proxy.runtime.noted.left = 1000  # not one of those that are noted
            for number in range(5):  # connections are made, caches are warm
                await get(client, number)
            with files_called() as files:
                await get(client, 5)
            return files


async def get(client: RawClient, number: int) -> None:
    await client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    await client.response()


async def test_a_get_touches_few_files_and_the_page_names_them() -> None:
    walked = await walk_a_get()

    assert len(walked) <= MOST_FILES
    told = re.findall(r"`((?:http|canary)_trio/\S+?\.py)`", section("A request's way"))
    assert set(told) == set(walked)
