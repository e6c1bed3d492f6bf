"""Does the proxy leak: its descriptors and memory after a million requests, and before.

The real proxy, with sticky sessions and an access log, under wrk: small and large
responses, bodies, connections that are closed (not HEAD: wrk waits for a body then, and a
connection is stuck). It is measured idle, after ten thousand requests and after a
million; they should be the same.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import canary_proxy, end_on_sigterm, memory, need, versions

_ROUND_S = 5
_CONNECTIONS = 64
_MORE_DESCRIPTORS = 8  # what a pool may hold more at one time than at another
_MORE_MEMORY = 0.05
_MIX = """
local count = 0
local body = string.rep("x", 1000)
request = function()
  count = count + 1
  if count % 500 == 0 then return wrk.format("GET", "/large/1MiB") end
  if count % 50 == 0 then return wrk.format("GET", "/", {["Connection"] = "close"}) end
  if count % 10 == 1 then return wrk.format("POST", "/", nil, body) end
  return wrk.format("GET", "/")
end
"""


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def load(port: int, script: Path, seconds: int) -> int:
    """Give how many requests were answered, all of them well."""
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s"]
    out = subprocess.run(
        [*words, "-s", str(script), f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in out:
        sys.exit(f"requests failed:\n{out}")
    return int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]


def measure(pid: int, requests: int) -> tuple[int, int]:
    time.sleep(2)  # what the load left open is closed by then
    found = descriptors(pid), memory(pid)
    print(f"{requests:>10} requests: {found[0]:>4} descriptors, {found[1] >> 10} KiB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "pgrep")
    end_on_sigterm()
    log = ("--access-log", "{dir}/access.log")
    with (
        versions(1) as (one, two),
        canary_proxy(0, one, two, options=log, sticky_sessions=True) as (port, _, pid),
        tempfile.TemporaryDirectory() as directory,
    ):
        script = Path(directory) / "mix.lua"
        script.write_text(_MIX)
        done = 0
        while done < 10_000:
            done += load(port, script, 1)
        before = measure(pid, done)
        while done < options.requests:
            done += load(port, script, _ROUND_S)
        after = measure(pid, done)
    if after[0] > before[0] + _MORE_DESCRIPTORS:
        sys.exit("descriptors leak")
    if after[1] > before[1] * (1 + _MORE_MEMORY):
        sys.exit("memory leaks")


if __name__ == "__main__":
    main()
