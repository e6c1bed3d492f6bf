"""The site is built without a broken link, and its pages ask nobody else for anything."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from canary_trio.admin import handler as admin
from kv_trio.api import cluster, router
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    mkdocs = str(Path(sys.executable).parent / "mkdocs")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--quiet", "--site-dir", str(directory)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return directory


def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    """Links may lead away; scripts, styles, fonts and pictures are the site's own."""
    fetched = re.compile(
        r'<(?:script|img|link rel="(?!canonical)[^"]*")[^>]*?="(https?://[^"]+)'
    )
    pages = sorted(site.rglob("*.html"))

    assert len(pages) > 50
    assert {
        found for page in pages for found in fetched.findall(page.read_text())
    } == set()
    assert not any('class="mermaid"' in page.read_text() for page in pages)


def test_flowcharts_are_drawn(site: Path) -> None:
    page = (site / "architecture" / "index.html").read_text()

    assert page.count("<title>canary_trio, kv_trio, http_trio</title>") == 1
    assert "flowchart" not in page


def test_pages_that_lie_beside_docs_are_pages_of_the_site(site: Path) -> None:
    for name in ("SECURITY", "CHANGELOG", "benchmarks"):
        assert (site / name / "index.html").exists()


@pytest.mark.parametrize(
    "module", [admin, router, cluster], ids=lambda one: one.__name__
)
def test_each_path_that_is_answered_is_in_the_reference(module: object) -> None:
    file = getattr(module, "__file__", None)
    assert file is not None
    tree = ast.parse(Path(file).read_text())
    paths = {
        node.value.decode()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, bytes)
        and re.fullmatch(rb"/[\w/]+", node.value)
    }
    page = (DOCS / "reference" / "http-apis.md").read_text()

    assert len(paths) > 3
    assert [path for path in sorted(paths) if path not in page] == []
