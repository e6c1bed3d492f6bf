"""Records of runs that never were: right ones, to be spoilt."""

from __future__ import annotations

import random
from typing import Any

import attrs

from canary_trio.routing.buckets import bucket, salt_of
from canary_trio.verify.observation import (
    ClientKind,
    FirstSeen,
    Incident,
    LiveSince,
    Observation,
    Record,
    StepRun,
    WrittenChange,
)

STABLE, CANARY, BOTH = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"
PROXY = "127.0.0.1:80"


def document(ratio: float, **more: Any) -> dict[str, Any]:
    return {
        "ratio": ratio,
        "sticky_sessions": {"header": "X-User"},
        "arms": {
            "stable": {"servers": [f"http://{STABLE}", f"http://{BOTH}"]},
            "canary": {"servers": [{"url": f"http://{CANARY}/"}]},
            "calls-a": {"servers": [f"h2c://{STABLE}"]},
        },
        "rules": [{"name": "calls", "header": "x", "equals": "y", "arm": "calls-a"}],
        **more,
    }


def seen(**changed: Any) -> Observation:
    """Give what a request of an unknown user showed that the stable arm served."""
    fields: dict[str, Any] = {
        "kind": ClientKind.KEPT,
        "proxy": PROXY,
        "began": 1.0,
        "ended": 1.1,
        "revision": 5,
        "arm": "stable",
        "chosen": "stable",
        "reason": "ratio",
    }
    return Observation(**{**fields, **changed})


def record(*observations: Observation, **more: Any) -> Record:
    """Give a record with one revision, 5, at a half, and one step."""
    fields: dict[str, Any] = {
        "documents": {5: document(0.5)},
        "history": {5, 7},
        "steps": [StepRun(1, "flip", 0.5, 3.0)],
        **more,
    }
    return Record("web", list(observations), **fields)


def killed(begun: float, over: float, *servers: str) -> Incident:
    from canary_trio.verify.observation import DoneTo  # noqa: PLC0415

    return Incident(DoneTo.SERVER_KILLED, frozenset(servers), begun, over)


def right(seed: int, ratios: list[float], users: int = 20) -> Record:
    """Give a run in which each revision was live everywhere, and all users kept to it."""
    made = Record("web")
    chance = random.Random(seed)
    for number, ratio in enumerate(ratios):
        revision, at = 10 + number, float(number)
        made.documents[revision] = document(ratio)
        made.history.add(revision)
        made.steps.append(StepRun(number + 1, "flip", at, at + 0.9))
        made.written.append(WrittenChange(revision, at, at + 0.1))
        made.seen.append(FirstSeen(revision, PROXY, at + 0.1 + chance.random() / 100))
        made.live.append(LiveSince(revision, at + 0.2))
        for user in range(users):
            name = f"u{user}"
            place = bucket(name.encode(), salt_of("web", 0))
            arm = "canary" if place < round(ratio * 10_000) else "stable"
            began = at + 0.2 + 0.7 * chance.random()
            made.observations.append(
                seen(
                    began=began,
                    ended=began + 0.01,
                    user=name,
                    revision=revision,
                    arm=arm,
                    chosen=arm,
                    reason="sticky",
                    server=CANARY if arm == "canary" else chance.choice((STABLE, BOTH)),
                )
            )
    return made


def replaced(made: Record, place: int, **changed: Any) -> Record:
    """Spoil one observation."""
    made.observations[place] = attrs.evolve(made.observations[place], **changed)
    return made
