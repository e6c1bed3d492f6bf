"""The pages of docs/, taken apart into their fenced blocks and what is said of each.

What is said stands in a comment right above a block, where no reader sees it:

    <!-- stays: serving -->       it goes on in the background; go on once it has said so
    <!-- status: 3 -->            its last command ends with this status, in place of 0
    <!-- until: done -->          run it again until its output has this
    <!-- not run: REASON -->      it is not run, and why; a command of ours is still parsed
    <!-- part -->                 a part of a file, or of a program, and no whole one
    <!-- setup: COMMANDS -->      run before the page goes on, unseen

A block's language says what it is: `sh` is commands, and `console` commands after `$`, with
what they print; `json`, `toml`, `yaml`, `python`, `nginx`, ... are files, written by their
`title="NAME"` before what comes next is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ALL_PAGES = [ROOT / "README.md", *PAGES]

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`]*)$")
_COMMENT = re.compile(
    r"<!--\s*(?P<word>[a-z][a-z ]*)(?::\s*(?P<rest>.*?))?\s*-->", re.DOTALL
)
_TITLE = re.compile(r'title="([^"]+)"')
WORDS = {"stays", "status", "until", "not run", "needs", "part", "setup"}


@attrs.frozen
class Block:
    """One fenced block, or the commands of a `setup`."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    said: dict[str, str]

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Give the blocks of a page, in order."""
    return list(_blocks(page, page.read_text(encoding="utf-8")))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    lines = text.split("\n")
    number = 0
    said: dict[str, str] = {}
    while number < len(lines):
        line = lines[number]
        if line.lstrip().startswith("<!--"):
            end = number
            while "-->" not in lines[end]:
                end += 1
            match = _COMMENT.search("\n".join(lines[number : end + 1]))
            if match and match["word"] in WORDS:
                if match["word"] == "setup":
                    yield Block(page, number + 1, "sh", "", match["rest"], {})
                else:
                    said[match["word"]] = match["rest"] or ""
            number = end + 1
            continue
        fence = _FENCE.match(line)
        if fence is None:
            if line.strip():
                said = {}
            number += 1
            continue
        end = number + 1
        while lines[end].strip() != fence["fence"]:
            end += 1
        indent = len(fence["indent"])
        inner = "\n".join(one[indent:] for one in lines[number + 1 : end])
        info = fence["info"].strip()
        title = _TITLE.search(info)
        language = info.split()[0] if info else ""
        yield Block(
            page, number + 1, language, title[1] if title else "", inner + "\n", said
        )
        said = {}
        number = end + 1


def commands_in(block: Block) -> list[str]:
    """Give the command lines of a block: of `console` those after `$`, of others all."""
    text = block.text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    if block.language == "console" or any(line.startswith("$ ") for line in lines):
        return [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]
