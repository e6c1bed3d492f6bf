"""The command `canary` with a proxy that is broken on purpose, in each way that is looked for.

It cuts one request in fifty (drops), says the other arm's name once in thirty (torn), draws one
user in ten anew (moved), and calls every other revision by the name of the one before (stale).
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from canary_trio.command.cli.main import main
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.routing.decision import Decision
from canary_trio.routing.router import Router
from canary_trio.telemetry.decision_labels import LabelCache

_chance = random.Random(1)


def _break() -> None:
    handle, choose = ProxyHandler.__call__, Router.choose
    note, make = LabelCache.note, LabelCache.__init__
    asked, noted, made = itertools.count(1), itertools.count(1), itertools.count(1)
    before = [0]

    def dropping(self: Any, exchange: Any, new_key: bytes | None = None) -> None:
        if next(asked) % 50 == 0:
            exchange.cut()
        else:
            handle(self, exchange, new_key)

    def tearing(self: Any, decision: Decision) -> Any:
        if next(noted) % 30 == 0 and decision.arm in ("stable", "canary"):
            other = "stable" if decision.arm == "canary" else "canary"
            decision = Decision(other, decision.reason, decision.rule)
        return note(self, decision)

    def moving(self: Any, *args: Any, **more: Any) -> Decision:
        found = choose(self, *args, **more)
        if found.rule is None and _chance.random() < 0.1:
            return Decision(_chance.choice(("stable", "canary")), found.reason)
        return found

    def misnaming(self: Any, config: Any, revision: int, *args: Any, **more: Any):
        said = before[0] if next(made) % 2 == 0 else revision
        before[0] = revision
        make(self, config, said, *args, **more)

    ProxyHandler.__call__ = dropping  # type: ignore[method-assign]
    Router.choose = moving  # type: ignore[method-assign]
    LabelCache.note = tearing  # type: ignore[method-assign]
    LabelCache.__init__ = misnaming  # type: ignore[method-assign]


if __name__ == "__main__":
    _break()
    main()
