"""The house's rules for files and folders, which no linter knows.

A folder has at most twelve files, a package at most sixteen rooms, a file one idea and at
most 400 lines, a name one thing, and each test lies where the code that it tests lies.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from docs.tools.reference import AGAIN, stale

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
TESTS = ROOT / "tests"
PACKAGES = ("http_trio", "kv_trio", "canary_trio")

ENTRIES = 12
"""Of a folder at most, beside the faces `__init__.py` and `__main__.py`."""

ROOMS = 16
"""Of a package at most: its layers, which the architecture lists one by one."""

LINES = 250
"""Of a file that need not say why it has so many."""

MOST_LINES = 400
REASON = "One file, since"
"""How the docstring of a longer file begins the sentence that says why."""

FREE_ROOMS = {"integration", "support"}
"""Folders of `tests/PACKAGE` without a counterpart in `src/PACKAGE`."""

OF_SEVERAL_FILES = {
    "http_trio/http1/test_head_cost.py": "request and response heads alike",
    "http_trio/http1/test_head_properties.py": "request and response heads alike",
    "http_trio/net/test_turns.py": "the event loop and its poller together",
    "kv_trio/storage/test_durability.py": "what all files of storage promise together",
}
"""Tests that belong to a folder, but not to one file of it, and why."""

FILES = sorted(SRC.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES} - {SRC})
TEST_MODULES = sorted(TESTS.rglob("test_*.py"))


def _docstring(path: Path) -> str:
    found = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return " ".join((found or "").split())


def _name(path: Path) -> str:
    return path.relative_to(SRC if SRC in path.parents else TESTS).as_posix()


def test_pages_that_are_written_from_the_code_are_as_the_code() -> None:
    """Commands, variables, limits, the Python API, and programs that pages show."""
    assert stale() == [], AGAIN


def test_each_page_is_in_the_menu_of_the_site() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {
        path.relative_to(ROOT / "docs").as_posix()
        for path in (ROOT / "docs").rglob("*.md")
    }
    missing = pages - set(re.findall(r"[\w./-]+\.md", menu))

    assert {page for page in missing if not page.startswith("adr/0")} == set(), (
        "name them in mkdocs.yml"
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_a_folder_is_seen_at_one_glance(folder: Path) -> None:
    entries = {
        path.name
        for path in folder.iterdir()
        if (path.suffix == ".py" and path.stem not in ("__init__", "__main__"))
        or (path.is_dir() and path in FOLDERS)
    }

    most = ROOMS if folder.parent == SRC else ENTRIES
    assert len(entries) <= most, sorted(entries)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_file_is_short_or_says_why_not(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    says_why = REASON in _docstring(path)

    assert lines <= MOST_LINES
    assert lines <= LINES or says_why, (
        f"{lines} lines: split it, or let its docstring say '{REASON} ...'"
    )


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_file_says_what_it_is(path: Path) -> None:
    assert _docstring(path), f"{path.name} has no docstring"


@pytest.mark.parametrize("path", TEST_MODULES, ids=_name)
def test_a_test_module_says_what_it_is_about(path: Path) -> None:
    assert _docstring(path), f"{path.name} has no docstring"


def test_no_public_class_name_stands_for_two_things() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(_name(path))

    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def _of_packages() -> list[Path]:
    return [
        path for path in TEST_MODULES if path.relative_to(TESTS).parts[0] in PACKAGES
    ]


@pytest.mark.parametrize("path", _of_packages(), ids=_name)
def test_a_test_lies_where_its_code_lies(path: Path) -> None:
    relative = path.relative_to(TESTS)
    if FREE_ROOMS & set(relative.parts):
        return
    code = SRC / relative.parent / path.name.removeprefix("test_")
    if relative.as_posix() in OF_SEVERAL_FILES:
        assert code.parent.is_dir(), relative
        assert not code.exists(), "it needs no exception"
    else:
        assert code.exists(), f"there is no {code.relative_to(ROOT)}"


def test_each_exception_is_needed() -> None:
    there = {path.relative_to(TESTS).as_posix() for path in TEST_MODULES}

    assert OF_SEVERAL_FILES.keys() <= there


@pytest.mark.parametrize("package", PACKAGES)
def test_the_rooms_of_the_tests_are_those_of_the_code(package: str) -> None:
    rooms = {
        path.name
        for path in (TESTS / package).iterdir()
        if path.is_dir() and any(path.glob("*.py"))
    }

    assert rooms - FREE_ROOMS <= {folder.name for folder in FOLDERS}
