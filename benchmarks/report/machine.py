"""The machine of a report, as far as it says something of the figures: no names, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

_PROGRAMS = {
    "nginx": ("nginx", "-v"),
    "haproxy": ("haproxy", "-v"),
    "caddy": ("caddy", "version"),
    "wrk": ("wrk", "-v"),
    "etcd": ("etcd", "--version"),
}
_VERSION = re.compile(r"\d+\.\d+[.\w-]*")


def facts() -> dict[str, Any]:
    """Give the processor, the memory, the kernel, the interpreter and the rivals."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "kernel": re.match(r"[\d.]*", platform.release())[0],  # type: ignore[index]
        "system": platform.system(),
        "python": platform.python_version(),
        "python_optimised": "--enable-optimizations" in flags,
        "load_average": round(os.getloadavg()[0], 1),
        "programs": {name: _version(words) for name, words in _PROGRAMS.items()},
    }


def _processor() -> str:
    found = re.search(
        r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
    )
    return found[1] if found else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(words: tuple[str, ...]) -> str | None:
    """Give a program's version; None if it is not there."""
    try:
        ran = subprocess.run(
            words, capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return None
    found = _VERSION.search(ran.stdout + ran.stderr)
    return found[0] if found else "unknown"
