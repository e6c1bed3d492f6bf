"""All benchmarks in one command, as a folder of results.

    python -m benchmarks.report --quick             # three minutes
    python -m benchmarks.report                     # all of it, some twenty minutes
    python -m benchmarks.report --keep 0.2.0        # also among the results of releases

It writes `results.json` (every round, and the machine without names), `report.md` and a picture
for each section. A part whose peers are not installed is left out, and says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.peers import Terminated, end_on_sigterm, need
from benchmarks.report import changes, judged, pages, pictures, proxies
from benchmarks.report.machine import facts
from benchmarks.report.sections import Section, middle

KEPT = Path(__file__).parents[1] / "results"
"""Results of releases, one file each."""

_HONEST = "cpu-new-heads"

Part = Callable[[], Iterator[Section]]


def parts(*, quick: bool) -> dict[str, Part]:
    """Give what is measured, in the order of the page."""
    proxy = proxies.QUICK if quick else proxies.FULL
    change = changes.QUICK if quick else changes.FULL
    return {
        "cpu": lambda: proxies.processor_time(proxy),
        "http2": lambda: proxies.http2(proxy),
        "latency": lambda: proxies.latency(proxy),
        "propagation": lambda: changes.propagation(change),
        "fan-out": lambda: changes.fan_out(change),
        "storm": lambda: changes.storm(change),
        "memory": lambda: proxies.idle_memory(proxy),
        "judge": lambda: judged.judge(20 if quick else 200),
    }


def history() -> dict[str, dict[str, float]]:
    """Give what releases cost with new heads, times nginx's, by release."""
    found: dict[str, dict[str, float]] = {}
    files = sorted(KEPT.glob("release-*.json"), key=lambda file: _order(file.stem))
    for file in files:
        told = json.loads(file.read_text())
        section = next(one for one in told["sections"] if one["key"] == _HONEST)
        rounds = next(iter(section["columns"].values()))
        base = middle(rounds["nginx"])
        found[file.stem.removeprefix("release-")] = {
            name: round(middle(values) / base, 3)
            for name, values in rounds.items()
            if name.startswith("canary")
        }
    return found


def _order(stem: str) -> list[int]:
    """Sort 0.10 behind 0.9."""
    return [int(part) for part in stem.split("-")[1].split(".") if part.isdigit()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three minutes")
    parser.add_argument("--only", action="append", choices=parts(quick=True))
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"))
    parser.add_argument("--keep", metavar="RELEASE", help="among those of releases")
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "pgrep", "openssl")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit(
            "found one processor, expected two: load and proxy need one each"
        )
    end_on_sigterm()
    machine = facts()
    os.sched_setaffinity(0, {1})
    gc.disable()
    options.out.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = []
    failed: dict[str, str] = {}
    begun = time.monotonic()
    for name, part in parts(quick=options.quick).items():
        if options.only and name not in options.only:
            continue
        print(f"{time.monotonic() - begun:5.0f} s  {name}", flush=True)
        try:
            sections += part()
        except Terminated:
            raise
        except (Exception, SystemExit) as exc:  # what was measured is not lost with it
            traceback.print_exc()
            failed[name] = f"{type(exc).__name__}: {exc}"
    told = {
        "machine": machine,
        "quick": options.quick,
        "seconds": round(time.monotonic() - begun),
        "failed": failed,
        "sections": [section.as_json() for section in sections],
    }
    text = json.dumps(told, indent=1) + "\n"
    (options.out / "results.json").write_text(text)
    if options.keep and not failed:
        (KEPT / f"release-{options.keep}.json").write_text(text)
    drawn = {section.key: pictures.draw(section, options.out) for section in sections}
    if releases := history():
        drawn["releases"] = pictures.draw_history(releases, options.out)
    (options.out / "report.md").write_text(pages.page(machine, sections, drawn))
    print(f"{time.monotonic() - begun:5.0f} s  {options.out}/report.md")
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
