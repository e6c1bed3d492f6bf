"""What a short command takes from the shell's fork to its end, beside Python itself.

    python -m benchmarks.commands [ROUNDS]

Prints milliseconds of wall time: the median, and the least, of as many runs of each as there
are rounds; they take turns, so that what else the machine does meets all of them. The store
is a real one beside them. The bar: `get`, `set` and `status` in 200 ms on an idle machine.
Ours is compiled first, as pip does it: sources that changed since, where Python may write no
bytecode, would be compiled in each run.
"""

from __future__ import annotations

import compileall
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import trio

from kv_trio.testing import in_memory_store

BIN = Path(sys.executable).parent
ROUNDS = 15
BAR_MS = 200.0
DOCUMENT = """{"ratio": 0.1, "arms": {"stable": {"servers": ["http://10.0.0.1:80"]},
                "canary": {"servers": ["http://10.0.0.2:80"]}}}"""

BESIDE = {"python -c pass": ["python", "-c", "pass"]}
COMMANDS = {
    words: words.split()
    for words in (
        "canary get web",
        "canary set web ratio={ratio}",  # another one each time
        "canary status web",
        "kv-trio get a",
        "kv-trio put a b",
    )
}


def run(words: list[str], url: str, text: str | None = None) -> float:
    """Run a command to its end; give how many milliseconds that took."""
    env = {**os.environ, "CANARY_CONFIG_SERVER": url, "KV_TRIO_URL": url}
    begun = time.perf_counter()
    subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
        input=text,
        text=True,
    )
    return (time.perf_counter() - begun) * 1000


def measure(url: str, rounds: int) -> dict[str, list[float]]:
    """Run all in turns; give what each took."""
    run(["canary", "apply", "web", "-"], url, DOCUMENT)
    run(["kv-trio", "put", "a", "b"], url)
    took: dict[str, list[float]] = {name: [] for name in (*BESIDE, *COMMANDS)}
    for number in range(rounds):
        for name, words in (BESIDE | COMMANDS).items():
            given = [word.format(ratio=number % 2) for word in words]
            took[name].append(run(given, url))
    return took


def compile_ours() -> None:
    """Write the bytecode of all of ours."""
    for package in ("canary_health", "canary_trio", "http_trio", "kv_trio"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        compileall.compile_dir(Path(spec.origin).parent, quiet=1)


async def main() -> None:
    """Measure, and print a table."""
    compile_ours()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    async with in_memory_store() as store:
        took = await trio.to_thread.run_sync(measure, store.url, rounds)
    print(f"{'':26}{'median':>8}{'least':>8}   ms, {rounds} rounds")
    for name, values in took.items():
        over = "  over the bar" if name in COMMANDS and median(values) > BAR_MS else ""
        print(f"{name:26}{median(values):8.0f}{min(values):8.0f}{over}")


if __name__ == "__main__":
    trio.run(main)
