"""What is said of a worker that has ended."""

from __future__ import annotations

import functools
import sys

import pytest
import trio

from canary_trio.command.process.worker_process import WorkerProcess


@pytest.mark.parametrize(
    ("number", "said"), [(9, "ended by SIGKILL"), (40, "ended by signal 40")]
)
@pytest.mark.skipif(sys.platform != "linux", reason="signals for real time are Linux's")
async def test_any_signal_has_words(number: int, said: str) -> None:
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            functools.partial(trio.run_process, ["sleep", "60"], check=False)
        )
        process.send_signal(number)
    how = WorkerProcess(1, "")._how(process)
    assert how.endswith(said)
    assert process.returncode == -number
