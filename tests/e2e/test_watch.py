"""`canary watch` at a terminal: it draws, ends with q, and leaves the terminal as it was."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path

import trio


async def test_it_ends_with_q_and_leaves_the_terminal_as_it_was() -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = Path(sys.executable).with_name("canary")
    words = [command, "watch", "web", "--config-server", "http://127.0.0.1:1"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    try:
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                partial(
                    trio.run_process,
                    list(map(str, words)),
                    stdin=theirs,
                    stdout=theirs,
                    stderr=subprocess.DEVNULL,
                    env=env,
                )
            )
            seen = b""
            with trio.fail_after(30):
                while b"q ends" not in seen:
                    await trio.lowlevel.wait_readable(ours)
                    seen += os.read(ours, 65536)
                assert termios.tcgetattr(theirs) != before
                os.write(ours, b"q")
                await process.wait()
        assert process.returncode == 0
        assert b"web: " in seen
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)
