"""`python -m kv_trio` is the command `kv-trio`, also where no script is on the path."""

from __future__ import annotations

from canary_health.commands import kv_trio

if __name__ == "__main__":
    kv_trio()
