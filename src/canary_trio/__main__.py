"""`python -m canary_trio` is the command `canary`, also where no script is on the path."""

from __future__ import annotations

from canary_health.commands import canary

if __name__ == "__main__":
    canary()
