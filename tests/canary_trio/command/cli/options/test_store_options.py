"""How a command ends whose tasks failed: in one line, whatever its nurseries made of it."""

from __future__ import annotations

from typing import Any

import click
import pytest
import trio
from click.testing import CliRunner

from canary_health.standard_output import READER_LEFT, OutputLost
from canary_trio.command.cli.options import store_options
from canary_trio.errors import NothingPending
from kv_trio import StoreUnreachable

ENDS: dict[str, tuple[list[BaseException], int, str]] = {
    "Ctrl-C": ([KeyboardInterrupt()], 130, ""),
    "a reader that left": ([OutputLost(READER_LEFT)], 141, ""),
    "both": ([StoreUnreachable("u"), KeyboardInterrupt()], 130, ""),
    "the store": ([StoreUnreachable("it is gone")], 1, "canary: it is gone"),
    "the source": ([NothingPending("it waits not")], 1, "canary: it waits not"),
}


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("name", ENDS)
def test_a_command_ends_alike_inside_a_nursery(name: str, depth: int) -> None:
    raised, status, words = ENDS[name]
    if not depth:
        raised = raised[-1:]

    async def fails(deep: int) -> None:
        async with trio.open_nursery() as nursery:
            for one in raised if deep == 1 else ():
                nursery.start_soon(_raise, one)
            if deep > 1:
                nursery.start_soon(fails, deep - 1)

    async def question(_: Any) -> None:
        if not depth:
            raise raised[0]
        await fails(depth)

    @click.command()
    @store_options.config_server
    def command(config_server: str) -> None:
        store_options.ask(config_server, question)

    found = CliRunner().invoke(command, ["--url", "http://127.0.0.1:9"])
    assert (found.exit_code, words in found.output) == (status, True)
    assert found.exception is None or isinstance(found.exception, SystemExit)
    assert "Traceback" not in found.output


async def _raise(what: BaseException) -> None:
    raise what
