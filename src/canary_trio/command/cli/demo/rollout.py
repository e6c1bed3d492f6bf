"""The demonstration's rollout: a version that can be made to fail, and what starts it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import sys
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import trio

from canary_trio.command.cli.demo.display import JUDGE, SERVICE, STEPS
from canary_trio.control.changes.documents import revise
from canary_trio.control.sources.kv import KvSource
from canary_trio.errors import CanaryError
from http_trio import Exchange, Response, error_response
from kv_trio import KvError

_log = logging.getLogger(__name__)

FAILING = 0.3
"""Which part of its requests a version fails that was told to."""

_OWN_ID = re.compile(r"v2-([0-9]{1,9})")

FAIL, HEAL = b"/fail", b"/heal"


class Version:
    """An example version: it says its name, and fails if it is told to.

    Attributes:
        name: that it says.
        fails: whether it fails `FAILING` of its requests.
    """

    def __init__(self, name: str, draw: Callable[[], float] = random.random) -> None:
        self.name = name
        self.fails = False
        self._draw = draw
        self._well = Response(200, name.encode() + b"\n")
        self._bad = error_response(500, f"{name} was told to fail")

    def __repr__(self) -> str:
        return f"<Version {self.name} fails={self.fails}>"

    def __call__(self, exchange: Exchange) -> None:
        """Respond; `POST /fail` and `POST /heal` tell it what to do from then on."""
        head = exchange.head
        if head.method == b"POST" and head.target in (FAIL, HEAL):
            self.fails = head.target == FAIL
            said = "fails from now on" if self.fails else "is well from now on"
            exchange.respond(Response(200, f"{self.name} {said}\n".encode()))
        elif self.fails and self._draw() < FAILING:
            exchange.respond(self._bad)
        else:
            exchange.respond(self._well)

    async def turn(self) -> None:
        """Let it fail, or be well again."""
        self.fails = not self.fails
        await trio.lowlevel.checkpoint()


async def begin_rollout(store_url: str) -> None:
    """Write a rollout into the demonstration's document; one that runs begins anew."""

    def begin(table: dict[str, Any]) -> dict[str, Any]:
        before = table.get("rollout")
        id_ = before.get("id") if isinstance(before, dict) else None
        found = _OWN_ID.fullmatch(str(id_))
        number = int(found[1]) + 1 if found else 1
        rollout = {"id": f"v2-{number}", "steps": list(STEPS), "judge": JUDGE}
        return {**table, "ratio": 0, "rollout": rollout}

    try:
        async with KvSource(store_url) as client:
            await revise(client, SERVICE, begin)
    except (KvError, CanaryError) as exc:
        _log.warning("the rollout is not begun: %s", exc)


async def pressed_keys(keys: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Do what is asked for by keys of the terminal, until cancelled; nothing elsewhere."""
    if not _has_keys():
        return
    with _each_key(sys.stdin.fileno()) as terminal:
        while True:
            await trio.lowlevel.wait_readable(terminal)
            try:
                found = os.read(terminal, 64)
            except OSError:  # it was closed
                return
            if not found:
                return
            for key in found.decode("utf-8", "replace"):
                if key in keys:
                    await keys[key]()


def _has_keys() -> bool:
    """Tell whether a terminal's keys come to this process: it is in front there."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # another one's terminal, or closed
        return False


@contextlib.contextmanager
def _each_key(terminal: int) -> Iterator[int]:
    """Let a terminal give each key at once, unseen; signals stay what they are."""
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield terminal
    finally:
        with contextlib.suppress(termios.error):  # it was closed
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
