"""A Python script that tells what it holds: `python -m tests.e2e.told FILE SCRIPT WORDS...`.

At each SIGUSR2 it writes to FILE, as JSON, how many tasks of trio it has, and how many
objects of each of our classes. It is the script itself that runs, with nothing else
changed; so what is asked from outside is what a user's process holds.
"""

from __future__ import annotations

import collections
import gc
import json
import runpy
import signal
import sys
from pathlib import Path

import trio

OURS = ("http_trio", "kv_trio", "canary_trio", "ngh2")


def what_is_held() -> dict[str, int]:
    """Count, after a collection."""
    gc.collect()
    kinds = [type(one) for one in gc.get_objects()]
    counts = collections.Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if str(kind.__module__).partition(".")[0] in OURS
    )
    tasks = trio.lowlevel.current_statistics().tasks_living
    return {**counts, "tasks": tasks, "objects": len(kinds)}


def main(file: Path, script: str) -> None:
    def tell() -> None:
        written = file.with_suffix(".new")
        written.write_text(json.dumps(what_is_held()))
        written.replace(file)

    def tell_soon(*_: object) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(tell)  # between two tasks

    signal.signal(signal.SIGUSR2, tell_soon)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    file, *sys.argv = sys.argv[1:]
    main(Path(file), sys.argv[0])
