"""Commands that pages show by the way are run, too: each by itself, over a fleet of one proxy.

Pages that are followed from the top are in `test_pages`. Of all others each command that ends
by itself is run here, in this process, as `CliRunner` does it; numbers of revisions are replaced by
such as there are, and what a command needs (a change that waits, a rollout) is there before it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import click
import pytest
from click.testing import CliRunner

from tests.docs.fork_server import commands
from tests.docs.pages import ROOT
from tests.docs.shell import Reader
from tests.docs.test_blocks import COMMANDS, LINES, CommandLine
from tests.docs.test_pages import FOLLOWED

NOT_RUN = {
    "serve": "listens where, and reads what, its page's reader has; the followed pages run it",
    "demo": "the tutorial runs it",
    "edit": "opens an editor; tests/canary_trio has one",
    "passwd": "asks at a terminal",
    "verify": "takes a minute; tests/canary_trio has a short one",
    "bench": "needs two versions of a service; tests/canary_trio has them",
    "watch": "goes on until Ctrl-C; its own tests end it",
}
"""By command, why it is parsed alone."""

WEB = """{"sticky_sessions": true, "arms": {"stable": {"servers": ["http://127.0.0.1:9001"]},
 "canary": {"servers": ["http://127.0.0.1:9002"], "fallback": "stable"}},
 "rules": [{"header": "X-Canary", "equals": "always", "arm": "canary"}], "ratio": 0.1}"""
"""What each command finds."""

ROLLOUT = "rollout start web --steps 10%,100% --id earlier --replace"
BEFORE: Mapping[str, list[str]] = {
    "apply": ["set web ratio=0.25", "set @edge update_rate=20"],
    "confirm": ["set web ratio=0.3 --confirm-within 1m"],
    "revert": ["set web ratio=0.3 --confirm-within 1m"],
    "undo": ["set web ratio=0.7"],
    "rollback": ["set web ratio=0.7"],
    "unfreeze": ["freeze web --until 2h"],
    "rollout status": [ROLLOUT],
    "rollout finish": [ROLLOUT, "rollout promote web --full"],
    "rollout promote": [ROLLOUT],
    "rollout pause": [ROLLOUT],
    "rollout abort": [ROLLOUT],
    "rollout undo": [ROLLOUT],
    "rollout resume": [ROLLOUT, "rollout pause web"],
    "rollout retry": [ROLLOUT, "rollout abort web"],
}
"""What is run first."""

STATUS: Mapping[str, set[int]] = {
    "check": {0, 1, 3},  # the answer is the status
    "rehearse": {0, 1},  # 1: the fleet has seen no request yet
    "explain": {0},
}
"""What a command may end with, where it is not 0."""


def _path(line: CommandLine) -> str:
    words = line.words[1:3]
    group = COMMANDS[line.words[0]].get_command(
        click.Context(COMMANDS[line.words[0]]), words[0]
    )
    return " ".join(words) if isinstance(group, click.Group) else words[0]


_PAGES = tuple(f"{page.relative_to(ROOT).as_posix()}:" for page in FOLLOWED)
RUN = [
    line
    for line in LINES
    if not line.where.startswith(_PAGES)
    and line.is_run
    and line.words[1] not in NOT_RUN
    and not line.words[1].startswith("-")
]


@attrs.frozen
class Place:
    """Where commands are run."""

    directory: Path
    store: str
    revisions: tuple[int, int]


def run(name: str, *words: str, place: Place) -> tuple[int, str]:
    """Run one of our commands in this process; give its status and what it prints."""
    environment = {"CANARY_CONFIG_SERVER": place.store, "CANARY_AUTHOR": "ann"}
    ran = CliRunner().invoke(COMMANDS[name], words, env=environment)
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, ran.output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("place")
    with commands(tmp_path_factory.mktemp("programs")) as programs:
        fleet = Reader(directory, str(programs))
        fleet.begin()
        try:
            (directory / "web.json").write_text(WEB)
            shutil.copy(ROOT / "examples" / "edge.json", directory)
            (directory / "web.yaml").write_text(
                "arms: {stable: {servers: ['http://127.0.0.1:9001']}}"
            )
            begin = "until canary health http://127.0.0.1:8500 2>/dev/null; do sleep 0.1; done"
            fleet.run(
                f"kv-trio serve >store.log 2>&1 &\n{begin}\ncanary apply web web.json; canary apply @edge edge.json; canary apply api web.json; kv-trio put limits/web rate=10",
                20,
            )
            fleet.run(
                "canary serve web --data ./proxy >proxy.log 2>&1 &\nuntil canary health 2>/dev/null; do sleep 0.1; done",
                20,
            )
            store = f"http://127.0.0.1:{fleet.ports[8500]}"
            made = Place(directory, store, (0, 0))
            numbers = []
            for ratio in ("0.2", "0.4"):
                _, said = run("canary", "set", "web", f"ratio={ratio}", place=made)
                numbers.append(int(re.search(r"revision (\d+)", said)[1]))  # type: ignore[index]
            yield attrs.evolve(made, revisions=(numbers[0], numbers[1]))
        finally:
            fleet.end()


@pytest.mark.parametrize("line", RUN, ids=lambda one: f"{one.where} {one.words[1]}")
def test_a_command_does_something(
    line: CommandLine, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.directory)
    before, path = [f"apply web {place.directory / 'web.json'} --wait 5"], _path(line)
    for earlier in [*before, *BEFORE.get(path, [])]:
        run("canary", *earlier.split(), place=place)
    known = {"41": str(place.revisions[0]), "57": str(place.revisions[1])}
    words = [known.get(word, word) for word in line.words[1:]]

    status, said = run(line.words[0], *words, place=place)

    assert status in STATUS.get(line.words[1], {0}), said


def test_what_is_not_run_is_there() -> None:
    assert {line.words[1] for line in LINES} >= {"serve", "demo", "edit"}
    assert os.fspath(FOLLOWED[0]).endswith("tutorial.md")
