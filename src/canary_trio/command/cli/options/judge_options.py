"""Options of commands that ask the judge by themselves: how sure it is to be, and by which seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from canary_health.finite import Finite

F = TypeVar("F", bound=Callable[..., Any])


def alpha(words: str) -> Callable[[F], F]:
    """Give a command `--alpha`, with what may be wrong there."""
    return click.option(
        "--alpha",
        type=Finite(1e-9, 0.5),
        default=0.01,
        show_default=True,
        help=words,
    )


def seed(words: str) -> Callable[[F], F]:
    """Give a command `--seed`, with what is drawn by it."""
    return click.option("--seed", type=int, default=1, show_default=True, help=words)
