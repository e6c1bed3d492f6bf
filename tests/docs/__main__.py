"""Follow a page by the commands of an installation, and show all that is printed.

    python -m tests.docs docs/tutorial.md --bin .venv/bin

So can a wheel be tried in an environment of its own. Ends with 1 at the first command that does
not do what the page says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import blocks
from tests.docs.shell import Failed, expected_of, follows, matches, reader


def main() -> None:
    """Follow the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="+", type=Path)
    parser.add_argument("--bin", type=Path, default=Path(sys.executable).parent)
    given = parser.parse_args()
    for page in given.page:
        with (
            tempfile.TemporaryDirectory() as directory,
            reader(Path(directory), str(given.bin.resolve())) as one,
        ):
            for block in filter(follows, blocks(page.resolve())):
                print(f"\n=== {block.name} {block.title}\n{block.text}---", flush=True)
                try:
                    printed = one.follow(block)
                except Failed as exc:
                    sys.exit(str(exc))
                print(printed, flush=True)
                if block.language == "console" and not matches(
                    expected_of(block), printed
                ):
                    sys.exit(f"{block.name}: it is not what the page shows")


if __name__ == "__main__":
    main()
