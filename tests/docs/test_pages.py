"""Pages that a reader follows from the top are followed here, command by command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.fork_server import commands
from tests.docs.pages import DOCS, Block, blocks
from tests.docs.shell import Reader, expected_of, follows, matches, which

FOLLOWED = [
    DOCS / "tutorial.md",
    DOCS / "balancers.md",
    *sorted((DOCS / "guides").glob("*.md")),
]
"""Each is a session of its own, from an empty directory."""


STEPS = [block for page in FOLLOWED for block in blocks(page) if follows(block)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with commands(tmp_path_factory.mktemp("commands")) as path:
        yield str(path)


@pytest.fixture(scope="module")
def readers(
    programs: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Reader]]:
    """One at a time: the last one goes when the next one comes."""
    found: dict[Path, Reader] = {}
    yield found
    for one in found.values():
        one.end()


@pytest.fixture
def followed(
    request: pytest.FixtureRequest,
    readers: dict[Path, Reader],
    programs: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Reader:
    page: Path = request.getfixturevalue("block").page
    if page not in readers:
        for one in readers.values():
            one.end()
        readers.clear()
        directory = tmp_path_factory.mktemp(page.stem)
        readers[page] = Reader(directory, programs)
        readers[page].begin()
    return readers[page]


@pytest.mark.parametrize("block", STEPS, ids=lambda block: block.name)
def test_a_reader_gets_on(block: Block, followed: Reader) -> None:
    missing = [one for one in block.said.get("needs", "").split() if not which(one)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here")
    printed = followed.follow(block)

    if block.language == "console":
        assert matches(expected_of(block), printed), printed
