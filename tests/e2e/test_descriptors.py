"""A proxy that runs out of descriptors: it waits, serves on, and does not spin."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import trio

from tests.e2e.processes import ask, world

_LIMIT = 48
# `canary` is a script of Python: run under a limit that it inherits.
_LIMITED = (
    "import resource, runpy, sys;"
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({_LIMIT}, {_LIMIT}));"
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def test_running_out_of_descriptors_neither_spins_nor_ends(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as made:
        proxy, address = await made.start_proxy(under=("python", "-c", _LIMITED))
        host, _, port = address.rpartition(":")
        with contextlib.ExitStack() as stack:
            for _ in range(3 * _LIMIT):
                sock = socket.create_connection((host, int(port)), timeout=5)
                stack.enter_context(sock)
            await proxy.says("accepts nothing for now")
            before = cpu_s(proxy.process.pid)
            await trio.sleep(1)
            assert cpu_s(proxy.process.pid) - before < 0.5
        assert await ask(address, 3) == ["v1"] * 3
        assert await proxy.ends() == 0
