"""Takes a picture of `canary watch` in a real run: docs/pictures/watch.svg.

    python -m docs.tools.terminal

It starts `canary demo` on ports of its own, begins a rollout there, and draws what `canary
watch` draws, by the same code. So it is not among what `make docs` writes: each run is another one.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import trio
from rich.console import Console

from canary_trio.admin.asking.client import AdminCredentials
from canary_trio.command.cli.watching.watch import look_once
from canary_trio.command.cli.watching.watch_table import picture
from canary_trio.command.cli.watching.watched import Watched
from canary_trio.control.sources.opening import open_source
from http_trio.testing.ports import free_port

FILE = Path(__file__).parents[1] / "pictures" / "watch.svg"
WIDTH = 110
SECONDS = 9.0
"""Of traffic, and of the rollout, before the picture is taken."""


async def look(store: str, steps: list[str]) -> Watched:
    """Begin a rollout, wait, and look as `canary watch` does."""
    watched = Watched("demo")
    async with open_source(store) as client:
        async with client.watch(
            "canary/demo/config"
        ) as states:  # the store may come late
            with trio.fail_after(10):
                while (await anext(states)).entry is None:
                    pass
        await trio.sleep(2)
        await trio.run_process(steps)
        for _ in range(int(SECONDS)):
            await trio.sleep(1)
            await look_once(client, watched, AdminCredentials())
    return watched


def without_fonts(svg: str) -> str:
    """Leave out the fonts that rich fetches from elsewhere; the reader's own do."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "ui-monospace, monospace")


def main() -> None:
    """Run the demonstration, and draw."""
    canary = str(Path(sys.executable).parent / "canary")
    ports = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    words = [
        canary,
        "demo",
        "--bind",
        ports[0],
        "--admin",
        ports[1],
        "--store",
        ports[2],
    ]
    store = f"http://{ports[2]}"
    steps = [
        canary,
        "rollout",
        "start",
        "demo",
        "--steps",
        "10%,25%,50%,100%",
        "--hold",
        "5s",
    ]
    steps += ["--id", "v2", "-m", "version 2", "--author", "ann", "--url", store]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as demo:
        try:
            watched = trio.run(look, store, steps)
        finally:
            demo.terminate()
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(picture(watched, time.time()))
    FILE.write_text(without_fonts(console.export_svg(title="canary watch demo")))


if __name__ == "__main__":
    main()
