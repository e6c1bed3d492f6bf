"""Writes docs/reference from the code: `make docs`, or `python -m docs.tools.reference`.

Commands are told by click, fields by the codecs that documents are read with, and names of the
packages by their signatures and docstrings. The rule that it obeys: a page says nothing that is
not in the code, so what is wrong there is mended in the code. With `--check` nothing is
written, and the status is 1 where a page is not what would be written; a test does so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.tools import examples
from docs.tools.api_pages import api_page
from docs.tools.command_pages import commands_page, variables_page
from docs.tools.console_pages import console_page
from docs.tools.limit_pages import limits_page
from docs.tools.pictures import PICTURES

from canary_trio.config.json_schema import reference as field_tables
from canary_trio.routing.edge.table_codec import TABLE_SCHEMA

DOCS = Path(__file__).parents[1]
REFERENCE = DOCS / "reference"
WRITTEN = "<!-- Written by `make docs` from the code: change it there. -->"
AGAIN = "run `make docs`, and commit what it writes"


def _gateway_page() -> str:
    return (
        "# A gateway's fields\n\n"
        "What a gateway's document may say; what it means is in [gateway.md](../gateway.md)."
        " `canary schema --gateway` prints the same as JSON Schema.\n\n"
        + field_tables(TABLE_SCHEMA).replace("### The document", "## The document")
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "variables.md": variables_page,
    "gateway-fields.md": _gateway_page,
    "limits.md": limits_page,
    "console-api.md": console_page,
    "http_trio.md": lambda: api_page("http_trio"),
    "kv_trio.md": lambda: api_page("kv_trio"),
    "canary_trio.md": lambda: api_page("canary_trio"),
}
"""By file, what writes it."""


def page(name: str) -> str:
    """Give a page as it is to be."""
    title, _, rest = PAGES[name]().partition("\n")
    return f"{title}\n\n{WRITTEN}\n{rest.rstrip()}\n"


def written() -> dict[Path, str]:
    """Give all that is written, by file, as it is to be."""
    return {
        **{REFERENCE / name: page(name) for name in PAGES},
        **{DOCS / "pictures" / name: draw().svg() for name, draw in PICTURES.items()},
        **{one: examples.filled(one) for one in examples.pages()},
    }


def stale() -> list[str]:
    """Give the files that are not what the code says."""
    return [
        str(path.relative_to(DOCS))
        for path, text in written().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write all pages, or with `--check` tell which are stale."""
    if "--check" in sys.argv[1:]:
        found = stale()
        if found:
            sys.exit(f"stale in docs/: {', '.join(found)}; {AGAIN}")
        return
    for path, text in written().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
