"""The documents of a run, and the changes to them; all by chance that is handed in. Pure.

Two processes serve: the first is never killed, the second is. `stable` has a server in each,
`canary` one in the second, and so calls of gRPC by their rule: `calls-a` and `calls-b`. So
a crash takes all of the canary, and half of the stable arm.

What a change leaves alone is `connections: keep`: a WebSocket outlives all of them.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import attrs

from canary_trio.verify.arithmetic import CALLS, USER

COOKIE = "verify"
"""The cookie by which users are kept where no field does."""

DECISION = "X-Canary"
"""The field that says how a response was routed."""

HISTORY = 200
"""Revisions that the store keeps; they are read after each step, which writes fewer."""

Table = dict[str, Any]


@attrs.frozen
class Servers:
    """Addresses of the servers, HOST:PORT; the second process has those with b."""

    stable_a: str
    stable_b: str
    canary_b: str
    calls_a: str
    calls_b: str

    @property
    def first(self) -> tuple[str, ...]:
        """What the first process binds."""
        return self.stable_a, f"h2c:{self.calls_a}"

    @property
    def second(self) -> tuple[str, ...]:
        """What the second one binds."""
        return self.stable_b, self.canary_b, f"h2c:{self.calls_b}"

    @property
    def killed(self) -> frozenset[str]:
        """What is gone when the second one is killed."""
        return frozenset({self.stable_b, self.canary_b, self.calls_b})


def first_document(servers: Servers) -> Table:
    """Give the document that a run begins with."""
    back_soon = {"ejection": {"time": 1, "longest": 2}}
    return {
        "ratio": 0.1,
        "decision_header": DECISION,
        "sticky_sessions": {"header": USER},
        "history": {"revisions": HISTORY},
        "arms": {
            "stable": {
                "servers": [f"http://{servers.stable_a}", f"http://{servers.stable_b}"],
                **back_soon,
            },
            "canary": {"servers": [f"http://{servers.canary_b}"], **back_soon},
            "calls-a": {
                "servers": [f"h2c://{servers.calls_a}"],
                "fallback": None,
                **back_soon,
            },
            "calls-b": {
                "servers": [f"h2c://{servers.calls_b}"],
                "fallback": "calls-a",
                **back_soon,
            },
        },
        "rules": [
            {
                "name": CALLS,
                "header": "Content-Type",
                "equals": "application/grpc",
                "arm": "calls-a",
            }
        ],
    }


def with_ratio(document: Table, ratio: float) -> Table:
    """Give a document with another ratio, and without a rollout."""
    changed = {name: one for name, one in document.items() if name != "rollout"}
    return {**changed, "ratio": ratio}


def put_back(found: Table, before: Table) -> Table:
    """Undo what flips changed of a document, and nothing that others did meanwhile.

    Args:
        found: the document now; a rollout in it began after the last flip, and is left.
        before: what it was.
    """
    ours = set() if "rollout" in found else {"rollout", "ratio"}
    if not before.get("decision_header") and found.get("decision_header") == DECISION:
        ours.add("decision_header")
    names = [name for name in found if name not in ours]
    names += [name for name in before if name in ours]
    return {name: (before if name in ours else found)[name] for name in names}


def draw_ratio(chance: random.Random, before: float) -> float:
    """Draw a ratio: now and then none, or all, or one user more or fewer."""
    kind = chance.randrange(6)
    if kind < 2:
        return float(kind)
    if kind == 2:
        step = chance.choice((-0.0001, 0.0001))
        return min(1.0, max(0.0, round(before + step, 4)))
    return round(chance.random(), 4)


def with_policy(document: Table, chance: random.Random) -> Table:
    """Give a document with another policy: of choosing, of keeping, or of serving."""
    changed = copy.deepcopy(document)
    name, arm = chance.choice(list(changed["arms"].items()))
    match chance.randrange(8):
        case 0:
            arm["balance"] = chance.choice(
                ["round_robin", "random", "least_requests", "hash"]
            )
        case 1:
            changed["style"] = chance.choice(["round_robin", "random", "hash"])
            changed["hash_by"] = {"header": USER}
        case 2:
            kept = changed["sticky_sessions"]
            changed["sticky_sessions"] = (
                {"header": USER} if "cookie" in kept else {"cookie": COOKIE}
            )
        case 3:
            kept = changed["sticky_sessions"]
            kept["epoch"] = kept.get("epoch", 0) + 1
        case 4:
            first = changed["rules"][0]
            first["arm"] = "calls-b" if first["arm"] == "calls-a" else "calls-a"
        case 5:
            _with_another_server(changed["arms"]["stable"], chance)
        case 6:
            arm["response_headers"] = {"set": {"X-Policy": f"{chance.random():.6f}"}}
            arm["timeouts"] = {"response": chance.randrange(15, 30)}
        case _:
            arm["compress"] = name in ("stable", "canary") and not arm.get("compress")
            arm["limits"] = {"in_flight": chance.randrange(500, 2000)}
    return changed


def _with_another_server(stable: Table, chance: random.Random) -> None:
    """Take the second server out, or let it be there again, with a weight."""
    urls = [one["url"] if isinstance(one, dict) else one for one in stable["servers"]]
    mode = chance.choice(["ready", "drain", "maintenance"])
    second = {"url": urls[1], "mode": mode, "weight": chance.randrange(1, 5)}
    stable["servers"] = [urls[0], second]


def rollout_table(number: int, chance: random.Random) -> Table:
    """Give a rollout of some steps, each held for a moment."""
    between = sorted({round(chance.uniform(0.02, 0.95), 4) for _ in range(2)})
    steps: list[Table] = [{"ratio": ratio, "hold": 0.3} for ratio in between]
    return {"id": f"verify-{number}", "steps": [*steps, {"ratio": 1}], "slope": 1}
