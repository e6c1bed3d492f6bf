"""What the site needs beside Markdown: hooks of mkdocs (`mkdocs.yml`).

Pages are written to be read on GitHub too, so they link to files beside docs/. Those that are
pages (SECURITY.md, CHANGELOG.md, the measurements) become pages of the site, and links to
others lead to the repository. Pages that no menu names are put where they can be found.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[2]))  # mkdocs loads this file alone
from docs.tools.diagrams import with_drawings

ROOT = Path(__file__).parents[2]
TREE = "https://github.com/canary-trio/canary-trio/blob/main/"

OUTSIDE = {
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""By path in the repository, the page of the site that it is."""

_LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie beside docs/."""
    for source, name in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Let links lead to the site's pages, or to the repository."""
    name = page.file.src_uri
    source = next(
        (one for one, made in OUTSIDE.items() if made == name), f"docs/{name}"
    )

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        return f"{match[1]}{_where(target, name, match[3] or '')}{match[4]}"

    return with_drawings(_LINK.sub(lead, markdown))


def _where(target: str, name: str, anchor: str) -> str:
    """Give how a page links to a path of the repository."""
    here = posixpath.dirname(name) or "."
    if target in OUTSIDE:
        return posixpath.relpath(OUTSIDE[target], here) + anchor
    if target.startswith("docs/") and not target.startswith("docs/tools/"):
        inside = target.removeprefix("docs/")
        if (ROOT / target).is_dir():
            inside = f"{inside}/README.md"
        return posixpath.relpath(inside, here) + anchor
    return TREE + target + anchor
