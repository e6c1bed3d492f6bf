"""A command whose output goes nowhere ends as other tools do, whatever wrote."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import trio

from canary_health.standard_output import ending_with_its_output


def _by_click() -> None:
    click.echo("a")
    sys.exit(1)  # what it would have said of its answer


def _by_hand() -> None:
    print("a")  # is in a buffer until the end
    sys.exit(1)


def _as_bytes() -> None:
    sys.stdout.buffer.write(b"a")


def _after_more() -> None:
    for _ in range(3):
        click.echo("a" * 100_000)


def _by_a_task() -> None:
    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("of another one")

    async def tasks() -> None:
        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            inner.start_soon(trio.to_thread.run_sync, _by_click)
            inner.start_soon(trio.sleep_forever)
            nursery.start_soon(fails)

    trio.run(tasks)


def _past_who_catches() -> None:
    try:
        click.echo("a")
    except Exception:
        sys.exit(1)


WAYS = (_by_click, _by_hand, _as_bytes, _after_more, _past_who_catches)


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    reads, writes = os.pipe()
    os.close(reads)
    yield writes
    os.close(writes)


def status_of(way: Callable[[], None], file: int, monkeypatch) -> object:
    output = io.TextIOWrapper(io.FileIO(file, "w", closefd=False))
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as exits, ending_with_its_output():
        click.command()(way).main([])
    assert sys.stdout is output
    return exits.value.code


@pytest.mark.parametrize("way", [*WAYS, _by_a_task])
def test_a_reader_that_left_ends_it_quietly(
    way: Callable[[], None], closed_pipe: int, monkeypatch, capsys
) -> None:
    assert status_of(way, closed_pipe, monkeypatch) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_is_told(way: Callable[[], None], monkeypatch, capsys) -> None:
    with Path("/dev/full").open("wb") as full:
        assert status_of(way, full.fileno(), monkeypatch) == 74
    assert "cannot write the output: No space left" in capsys.readouterr().err


def _by_another_fault() -> None:
    click.echo("a")
    raise ExceptionGroup("", [ValueError()])


def test_what_else_goes_wrong_stays_what_it_is(tmp_path: Path, monkeypatch) -> None:
    file = (tmp_path / "out").open("w")
    monkeypatch.setattr(sys, "stdout", file)
    with file, pytest.raises(ExceptionGroup), ending_with_its_output():
        _by_another_fault()
    assert (tmp_path / "out").read_text() == "a\n"


@pytest.mark.parametrize(
    "words",
    [("canary_trio", "schema"), ("kv_trio", "--help"), ("canary_trio", "health", "-h")],
    ids=" ".join,
)
def test_the_commands_end_so(words: tuple[str, ...], closed_pipe: int) -> None:
    found = subprocess.run(
        [sys.executable, "-m", *words],
        stdout=closed_pipe,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (found.returncode, found.stderr) == (141, b"")
