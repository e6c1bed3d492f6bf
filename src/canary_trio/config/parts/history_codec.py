"""How long history is kept: JSON to a `KeptHistory` and back. Pure."""

from __future__ import annotations

from canary_trio.config.codec import integer, number, table
from canary_trio.config.policies import KeptHistory

HISTORY = table(
    KeptHistory, revisions=integer(1, 1000), days=number(0.01, 3650, "days")
)
