"""The command `canary` in this process: as an operator calls it, without the start of one."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from click.testing import CliRunner, Result

from canary_trio.command.cli.main import main
from canary_trio.control.sources.source import KeyStore


async def canary(
    client: KeyStore, *words: str, status: int = 0, **options: Any
) -> Result:
    """Run a command against a store, in a thread; it ends as is expected."""
    asked = ["--config-server", client.url]
    call = partial(CliRunner().invoke, main, [*words, *asked], **options)
    result = await trio.to_thread.run_sync(call)
    assert result.exit_code == status, (result.output, result.exception)
    return result
