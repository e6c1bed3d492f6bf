"""Fuzz the pure modules for a while: `python -m tests.fuzz [--seconds 60] [TARGET ...]`.

Each target runs in a process of its own for its share of the time: guided by coverage
where atheris is installed, else with mutations of the seeds. Ends with status 1 and the
input if one fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

_MODULES = [
    "http_trio.http1.body",
    "http_trio.http1.chunked",
    "http_trio.http1.fields",
    "http_trio.http1.forwarded",
    "http_trio.http1.framing",
    "http_trio.http1.request_head",
    "http_trio.http1.response_head",
    "http_trio.http2.connection",
    "http_trio.http2.messages.heads",
    "http_trio.http2.session",
    "http_trio.http2.stream",
    "http_trio.net.certificates.client_hello",
    "http_trio.net.certificates.held_names",
    "http_trio.net.certificates.x509",
    "canary_trio.routing.sticky_cookie",
    "canary_trio.control.changes.assignments",
    "canary_trio.control.fleet_secret",
    "canary_trio.control.last_good",
    "canary_trio.control.fleet.report",
    "canary_trio.admin.asking.client",
    "canary_trio.command.cli.views.status",
    "canary_trio.config.document",
    "canary_trio.config.scalars",
    "canary_trio.config.codec",
    "canary_trio.config.parts.rule_codec",
    "canary_trio.routing.rules.rule_matcher",
    "canary_trio.routing.router",
    "kv_trio.client.transport",
    "kv_trio.consul.decode",
    "kv_trio.consul.durations",
    "kv_trio.consul.json_body",
    "kv_trio.consul.session",
    "kv_trio.consul.txn",
    "kv_trio.state.txn",
    "kv_trio.state.operations",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in all")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    options = parser.parse_args()
    if options.one:
        fuzz(options.targets[0], options.seconds)
        return
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  # `fuzz` must import it itself

    chosen = options.targets or list(TARGETS)
    unknown = [name for name in chosen if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    share = options.seconds / len(chosen)
    failed = [name for name in chosen if not _run(name, share)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _run(name: str, seconds: float) -> bool:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--one",
        f"--seconds={seconds}",
        name,
    ]
    env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with tempfile.TemporaryDirectory() as path:  # where libFuzzer leaves its files
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=path, env=env
        )
    output = done.stdout + done.stderr
    last = [line for line in output.splitlines() if line.startswith(("#", "Done"))]
    print(f"{name:<14} {last[-1] if last else ''}", flush=True)
    if done.returncode:
        lines = [
            line for line in output.splitlines() if not line.startswith(("#", "INFO"))
        ]
        print("\n".join(lines[-40:]), flush=True)
    return not done.returncode


def fuzz(name: str, seconds: float) -> None:
    """Run one target in this process."""
    if importlib.util.find_spec("atheris") is None:
        _mutate(name, seconds)
        return
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415  # not everywhere

    with atheris.instrument_imports(include=_MODULES):
        from tests.fuzz.targets import SEEDS, TARGETS  # noqa: PLC0415  # instrumented
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [
            f"-max_total_time={max(1, round(seconds))}",
            "-max_len=8192",
            "-rss_limit_mb=2048",
        ]
        atheris.Setup(
            [sys.argv[0], *limits, "-rss_limit_mb=2048", corpus], TARGETS[name]
        )
        atheris.Fuzz()


def _mutate(name: str, seconds: float) -> None:
    from tests.fuzz.mutation import mutated  # noqa: PLC0415  # beside `targets`
    from tests.fuzz.targets import SEEDS, TARGETS  # noqa: PLC0415  # see `main`

    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(SEEDS[name], tried)
        try:
            TARGETS[name](data)
        except Exception:
            traceback.print_exc()
            sys.exit(f"{name} failed on {data!r}")
        tried += 1
    print(f"Done {tried} runs")


if __name__ == "__main__":
    main()
