"""The examples do what they say."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.processes import run

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_embed() -> None:
    ran = await run("python", EXAMPLES / "embed.py")

    assert ran.out.splitlines() == [
        "ratio 0: {'v1': 100}",
        "ratio 0.25: {'v1': 75, 'v2': 25}",
        "ratio 1: {'v2': 100}",
    ]


async def test_live_value() -> None:
    ran = await run("python", EXAMPLES / "live_value.py")

    assert ran.out.splitlines() == [
        "at first Limits(rate=10)",
        "now Limits(rate=20)",
    ]
