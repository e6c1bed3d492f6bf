"""A service as the console's API shows one: a rollout in its second step, and trouble."""

from __future__ import annotations

import json
import math
import time
from typing import Any

Table = dict[str, Any]

ARMS = {"stable": 0.7, "canary": 0.25, "baseline": 0.05}

DOCUMENT: Table = {
    "ratio": {"canary": 0.25, "baseline": 0.05},
    "sticky_sessions": True,
    "rules": [{"header": "X-Canary", "equals": "always", "arm": "canary"}],
    "arms": {
        "stable": {
            "servers": ["http://10.0.1.1:9000", "http://10.0.1.2:9000"],
            "health": {"path": "/healthz"},
        },
        "canary": {"servers": ["http://10.0.2.1:9000", "http://10.0.2.2:9000"]},
        "baseline": {"servers": ["http://10.0.1.3:9000"]},
    },
    "rollout": {
        "id": "v2",
        "against": "baseline",
        "steps": [
            {"ratio": 0.05, "hold": 60},
            {"ratio": 0.25, "hold": 300, "requests": 5000},
            {"ratio": 0.5, "hold": None},
            1,
        ],
        "judge": {},
    },
}


def arm(name: str, share: float, at: float, **fields: object) -> Table:
    """An arm whose numbers go up and down a little with time."""
    wave = math.sin(at / 40 + len(name)) + math.sin(at / 7 + 2 * len(name)) / 3
    rate = 560 * share * (1 + wave / 25)
    requests = round(rate * 60)
    errors = round(requests * (0.004 + 0.0012 * wave))
    latency = {"p50_s": 0.0042 + wave / 4000, "p99_s": 0.031 + wave / 180}
    if name == "canary":
        latency = {"p50_s": 0.0046 + wave / 4000, "p99_s": 0.038 + wave / 140}
    healthy = {"canary": 3, "baseline": 2}.get(name, 4)
    return {
        "name": name,
        "asked": share,
        "got": share * (1 + wave / 300),
        "decisions": round(120_000 * share),
        "rate": rate,
        "minute": {"requests": requests, "errors": errors, **latency},
        "total": {"requests": requests * 20, "errors": errors * 20, **latency},
        "errors_made": round(share * 410),
        "errors_saved": round(share * 172),
        "errors_seen": round(share * 238),
        "in_flight": round(12 * share) + 1,
        "healthy": healthy,
        "servers": 2 if name == "baseline" else 4,
        "panic": False,
        "safe_to_remove": False,
        "held_by": [f"ratio {share:g}"] if name != "stable" else ["stable"],
        "unverified": False,
        **fields,
    }


def server(arm: str, url: str, at: float, **fields: object) -> Table:
    return {
        "arm": arm,
        "url": url,
        "mode": "ready",
        "status": "up",
        "up": 2,
        "asked": 2,
        "weight": 1,
        "sessions": 3 + len(url) % 3,
        "sessions_max": 21,
        "limit": 100,
        "queue": 0,
        "requests": 18_077 + int(at) % 1000 * 40,
        "errors": 12,
        "ejections": 0,
        "latency_s": 0.0043,
        "connections": 6,
        "checks": "GET /healthz every 5 s",
        "since": at - 5000,
        **fields,
    }


def proxy(name: str, at: float, **fields: object) -> Table:
    return {
        "id": name,
        "address": "10.0.0.1:8080",
        "admin": "10.0.0.1:8081",
        "runs": 812,
        "state": "live",
        "said": "runs 812",
        "problems": [],
        "here": False,
        "heard": at - 0.4,
        "fault": "",
        "in_flight": 5,
        "contact_age_s": 0.2,
        "stale": False,
        "certificates": [],
        **fields,
    }


def traffic(at: float, service: str = "web") -> Table:
    servers = [
        server("stable", "http://10.0.1.1:9000", at),
        server("stable", "http://10.0.1.2:9000", at, mode="drain", sessions=1),
        server("canary", "http://10.0.2.1:9000", at),
        server(
            "canary",
            "http://10.0.2.2:9000",
            at,
            status="partly",
            up=1,
            ejections=1,
            errors=31,
            since=at - 73,
        ),
        server("baseline", "http://10.0.1.3:9000", at),
    ]
    proxies = [
        proxy("edge-a", at, here=True),
        proxy("edge-b", at, address="10.0.0.2:8080"),
        proxy(
            "edge-c",
            at,
            address="10.0.0.3:8080",
            runs=809,
            state="refusing",
            problems=["$.arms.canary.servers[1].url: found 'ftp://x', expected http"],
            heard=at - 41,
            fault="no response within 2 s",
        ),
    ]
    return {
        "service": service,
        "at": at,
        "arms": [arm(name, share, at) for name, share in ARMS.items()],
        "servers": servers,
        "proxies": proxies,
        "split": {"mismatch": False, "p_value": 0.61},
        "trouble": ["edge-c refused revision 812"],
    }


def tile(
    metric: str,
    words: str,
    ratio: float,
    low: float,
    high: float,
    threshold: float,
    **fields: object,
) -> Table:
    return {
        "metric": metric,
        "words": words,
        "ratio": ratio,
        "low": low,
        "high": high,
        "threshold": threshold,
        "e_value": 0.8,
        "needed": 100.0,
        "requests": [8121, 8204],
        "failures": [29, 27],
        "verdict": "no difference yet",
        **fields,
    }


def rollout(at: float, **fields: object) -> Table:
    wide = 1 + 3 * math.exp(-(at % 600) / 200)
    slower = "share of requests slower than baseline's 0.99 quantile, 31.2 ms"
    return {
        "id": "v2",
        "arm": "canary",
        "against": "baseline",
        "phase": "running",
        "step": 1,
        "steps": [
            {"ratio": 0.05, "hold_s": 60, "requests": 0, "gates": [], "state": "past"},
            {
                "ratio": 0.25,
                "hold_s": 300,
                "requests": 5000,
                "gates": [],
                "state": "present",
            },
            {
                "ratio": 0.5,
                "hold_s": None,
                "requests": 0,
                "gates": ["qa"],
                "state": "future",
            },
            {"ratio": 1.0, "hold_s": 0, "requests": 0, "gates": [], "state": "future"},
        ],
        "ratio": 0.25,
        "reason": "step 1 holds",
        "by": "rollout (edge-a)",
        "since": at - 120,
        "began": at - 200,
        "waits_for": "hold: 180 s are left",
        "countdown_at": at + 180,
        "deadline_at": None,
        "finding": "no difference yet",
        "tiles": [
            tile(
                "errors",
                "share of requests that fail",
                1.08,
                1 / wide,
                1.12 * wide,
                1.0,
            ),
            tile(
                "p50",
                "share of requests slower than baseline's median, 4.2 ms",
                1.02,
                0.9 / wide,
                1.03 * wide,
                1.1,
                failures=None,
                verdict="not worse than x1.5",
            ),
            tile(
                "p99",
                slower,
                1.31,
                1.0 / wide,
                1.4 * wide,
                1.1,
                e_value=14.0,
                failures=None,
                verdict="suspicious",
            ),
        ],
        "judged_at": at - 0.4,
        "driver": "edge-a",
        "driver_seen": at - 0.6,
        "next": "it goes on by itself; `canary rollout pause` or `abort` stops it",
        "over": False,
        "gates": ["qa"],
        "actions": ["promote", "promote-full", "pause", "abort", "skip-gate", "undo"],
        **fields,
    }


def change(revision: int, at: float | None, **fields: object) -> Table:
    return {
        "revision": revision,
        "over": revision - 1,
        "author": "anna",
        "message": "",
        "at": at,
        "changes": [],
        "others": 0,
        "copy_of": 0,
        "undoes": 0,
        "by_hand": False,
        **fields,
    }


def changes(at: float) -> list[Table]:
    return [
        change(
            812,
            at - 120,
            author="rollout (edge-a)",
            message="step 1",
            changes=["ratio.canary: 0.05 → 0.25"],
        ),
        change(
            811,
            at - 200,
            message="v2, as agreed",
            changes=['rollout.id: "v1" → "v2"', "ratio.canary: added 0.05"],
            others=3,
        ),
        change(
            809,
            at - 4000,
            author="bert",
            message="drain for the new kernel",
            changes=['arms.stable.servers[1].mode: added "drain"'],
        ),
        change(808, None, author="", by_hand=True, changes=["sticky_sessions: true"]),
        change(805, at - 90_000, author="anna", undoes=804, changes=["ratio: 0.2 → 0"]),
    ]


def event(number: int, at: float, kind: str, level: str, message: str) -> Table:
    return {
        "number": number,
        "time": at,
        "kind": kind,
        "service": "web",
        "level": level,
        "message": message,
    }


def view(at: float | None = None, service: str = "web", **fields: object) -> Table:
    at = time.time() if at is None else at
    return {
        **traffic(at, service),
        "kind": "service",
        "now": at,
        "read_only": "",
        "store": {
            "url": "http://10.0.0.9:8500",
            "ok": True,
            "since": at - 8000,
            "error": "",
            "heard": at - 0.4,
        },
        "revision": 812,
        "document": DOCUMENT,
        "text": json.dumps(DOCUMENT, indent=2) + "\n",
        "problems": [],
        "change": changes(at)[0],
        "live": 2,
        "known": 3,
        "missing": [{"id": "edge-d", "address": "10.0.0.4:8080", "seen": at - 600}],
        "rollout": rollout(at),
        "pending": None,
        "freeze": None,
        "services": [],
        "routes": [],
        "events": [
            event(19, at - 41, "refusal", "error", "edge-c: revision 812 is refused"),
            event(
                18,
                at - 73,
                "ejection",
                "warning",
                "http://10.0.2.2:9000 of canary is taken out: 5 failures in a row",
            ),
            event(
                17, at - 120, "rollout", "info", "v2: step 1 begins, canary has 0.25"
            ),
            event(16, at - 200, "change", "info", "revision 811 is live"),
        ],
        **fields,
    }


def row(name: str, **fields: object) -> Table:
    return {
        "name": name,
        "kind": "service",
        "revision": 812,
        "live": 3,
        "known": 3,
        "refusing": 0,
        "ratio": {"canary": 0.25},
        "rollout": None,
        "pending": False,
        "routes": 0,
        "rate": 550.3,
        "errors": 0.004,
        "trouble": [],
        **fields,
    }


def listed(rows: list[Table], at: float) -> Table:
    return {
        "services": rows,
        "store": {
            "url": "http://10.0.0.9:8500",
            "ok": True,
            "since": at - 8000,
            "error": "",
            "heard": at - 0.4,
        },
        "whole": True,
        "why": "",
        "at": at,
        "now": at,
    }


def services(at: float) -> Table:
    running = {
        "id": "v2",
        "phase": "running",
        "arm": "canary",
        "reason": "step 1 holds",
    }
    paused = {**running, "id": "9f2", "phase": "paused", "reason": "regression: errors"}
    return listed(
        [
            row(
                "@edge",
                kind="gateway",
                ratio={},
                routes=14,
                rate=2210.0,
                revision=77,
            ),
            row(
                "checkout",
                rollout=paused,
                errors=0.021,
                rate=88.2,
                trouble=["the judge says regression: errors"],
                ratio={"canary": 0.05},
            ),
            row("search", ratio={}, rate=1402.0, errors=0.0003),
            row("shop", pending=True, rate=61.7, errors=0.0011),
            row(
                "web",
                rollout=running,
                live=2,
                refusing=1,
                trouble=["edge-c refused revision 812"],
            ),
        ],
        at,
    )
