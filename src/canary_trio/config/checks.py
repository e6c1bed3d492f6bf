"""What several fields of a document must agree on. Pure.

It is checked on the document as it was given, as far as its fields can be read, so that
these faults are told together with all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from canary_trio.config.codec import Fault, is_number, show
from canary_trio.config.model import CANARY, STABLE, WHOLE, format_share
from canary_trio.config.policies import Ejection, Retries
from canary_trio.config.scalars import RATIO
from canary_trio.errors import Problem


def disagreements(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Give what fields disagree on, as far as they can be read."""
    arms = document.get("arms")
    if not isinstance(arms, dict):
        return
    if STABLE not in arms:
        yield Problem("$.arms", _names(arms), f"an arm named {STABLE}")
    yield from _bad_shares(document.get("ratio", 0), arms)
    for path, name in _named_arms(document, arms):
        if isinstance(name, str) and name not in arms:
            yield _no_arm(path, name, arms)
    for name, arm in arms.items():
        if isinstance(arm, dict):
            yield from _bad_arm(name, arm)


def _bad_shares(given: Any, arms: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        ratio = RATIO.decode(given)
    except (Fault, ExceptionGroup):
        return
    where = "$.ratio" + (".{}" if isinstance(given, dict) else "")
    for name, share in ratio.items():
        path = where.format(name)
        if name == STABLE:
            yield Problem(path, f"a share for {STABLE}", "shares for the others only")
        elif name not in arms and share:
            yield _no_arm(path, name, arms)
    if sum(ratio.values()) > WHOLE:
        total = format_share(sum(ratio.values()))
        yield Problem("$.ratio", f"shares that add up to {total}", "at most 1")


def _named_arms(
    document: Mapping[str, Any], arms: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Give where arms are named, and the name: (path, name)."""
    rules = document.get("rules")
    for place, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            words = any(
                word in rule for word in ("canary-by-header", "canary-by-cookie")
            )
            yield f"$.rules[{place}].arm", rule.get("arm", CANARY if words else None)
    mirror = document.get("mirror")
    if isinstance(mirror, dict):
        yield "$.mirror.arm", mirror.get("arm")
    for name, arm in arms.items():
        if isinstance(arm, dict):
            yield f"$.arms.{name}.fallback", arm.get("fallback")


def _bad_arm(name: str, arm: Mapping[str, Any]) -> Iterator[Problem]:
    if arm.get("fallback") == name:
        yield Problem(f"$.arms.{name}.fallback", show(name), "another arm, or null")
    for field, short, long, kind in (
        ("ejection", "time", "longest", Ejection()),
        ("retries", "backoff", "longest_backoff", Retries()),
    ):
        given = arm.get(field)
        if not isinstance(given, dict):
            continue
        least = given.get(short, getattr(kind, short))
        most = given.get(long, getattr(kind, long))
        if is_number(least) and is_number(most) and most < least:
            path = f"$.arms.{name}.{field}.{long}"
            yield Problem(path, f"{most:g}", f"at least {short}, {least:g}")


def _no_arm(path: str, name: str, arms: Mapping[str, Any]) -> Problem:
    return Problem(path, f"no arm {name!r}", f"an arm of $.arms: {_names(arms)}")


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(table) or "none"
