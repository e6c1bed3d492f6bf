"""What is checked on a document as it was given: oddities, and disagreements. Pure.

JSON can say more than a program can use: strings with half a character in them (a lone
surrogate), which nothing can write again, numbers of hundreds of digits, and tables in
tables without an end. What has none of these can be decoded, shown, logged and written, so
`oddities` are looked for before all else.

What several fields must agree on is checked as far as these fields can be read, so that
such faults are told together with all others. One file, since all of it is of a document
before it is a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from canary_trio.config.codec import Fault, is_number, show
from canary_trio.config.model import CANARY, STABLE, WHOLE, format_share
from canary_trio.config.parts.times import seconds_of
from canary_trio.config.policies import Ejection, Retries
from canary_trio.config.scalars import GRPC_SERVICE, RATIO
from canary_trio.errors import Problem

# === oddities ===

LARGEST = 2**63
"""Of a number in a document, either way: no field takes more."""

DEPTH = 32
"""Tables and lists within one another at most; a document has a dozen."""

_MOST = 100  # faults that are told


def oddities(value: Any) -> Iterator[Problem]:
    """Give what is odd in parsed JSON, each with its path; a hundred and some at most."""
    if _is_plain(value):  # as all but the odd ones are: a fifth of the time
        return
    left: list[tuple[str, int, Any]] = [("$", 0, value)]
    told = 0
    while left and told < _MOST:
        path, depth, found = left.pop()
        for problem in _of(path, depth, found):
            told += 1
            yield problem
        if depth < DEPTH:
            left += [(inner, depth + 1, one) for inner, one in _members(path, found)]


def _is_plain(value: Any) -> bool:
    """Tell whether nothing is odd, level by level, without the paths."""
    level, texts = [value], []
    for _ in range(DEPTH):
        inner: list[Any] = []
        for found in level:
            kind = type(found)
            if kind is str:
                texts.append(found)
            elif kind is dict:
                texts.extend(found)
                inner.extend(found.values())
            elif kind is list:
                inner.extend(found)
            elif kind in (int, float) and not -LARGEST <= found <= LARGEST:
                return False
        level = inner
    return not level and _is_text("".join(texts))


def _of(path: str, depth: int, found: Any) -> Iterator[Problem]:
    """Give what is odd in a value itself."""
    if isinstance(found, str):
        if not _is_text(found):
            yield Problem(path, "half of a surrogate pair", "text")
    elif isinstance(found, int | float):
        if not -LARGEST <= found <= LARGEST:
            is_nan = isinstance(found, float) and math.isnan(found)
            odd = "NaN, which is no number" if is_nan else "a number beyond 2^63"
            yield Problem(path, odd, "one that a field takes")
    elif depth == DEPTH and isinstance(found, Mapping | list):
        yield Problem(path, "values nested too deeply", f"at most {DEPTH} levels")
    elif isinstance(found, Mapping):
        for name in found:
            if not _is_text(name):
                where = f"{path}.{name}"
                yield Problem(where, "half of a surrogate pair", "a name")


def _members(path: str, found: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(found, Mapping):
        for name, one in found.items():
            yield f"{path}.{name}", one
    elif isinstance(found, list):
        for place, one in enumerate(found):
            yield f"{path}[{place}]", one


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


# === disagreements ===


def default_cookie(service: str) -> str:
    """Give the name of a service's key cookie where its document gives none.

    The service is in it: services that share a host name share its cookies too.
    """
    return f"canary-{service}"


def disagreements(
    document: Mapping[str, Any], service: str | None = None
) -> Iterator[Problem]:
    """Give what fields disagree on, as far as they can be read."""
    arms = document.get("arms")
    if not isinstance(arms, dict):
        return
    if STABLE not in arms:
        yield Problem("$.arms", _names(arms), f"an arm named {STABLE}")
    yield from _bad_shares(document.get("ratio", 0), arms)
    yield from _taken_cookies(document, service)
    for path, name in _named_arms(document, arms):
        if isinstance(name, str) and name not in arms:
            yield _no_arm(path, name, arms)
    for name, arm in arms.items():
        if isinstance(arm, dict):
            yield from _bad_arm(name, arm)
    if isinstance(document.get("rollout"), dict):
        yield from _bad_rollout(document["rollout"], document.get("ratio", 0), arms)


def _bad_rollout(
    rollout: Mapping[str, Any], given: Any, arms: Mapping[str, Any]
) -> Iterator[Problem]:
    """Find arms that a rollout cannot have, and steps beyond what others leave."""
    arm, against = rollout.get("arm", CANARY), rollout.get("against", STABLE)
    if arm == STABLE:
        expected = "another arm: stable has what is left"
        yield Problem("$.rollout.arm", show(STABLE), expected)
    for path, name in (("$.rollout.arm", arm), ("$.rollout.against", against)):
        if isinstance(name, str) and name not in arms:
            yield _no_arm(path, name, arms)
    if arm == against != STABLE:
        yield Problem(
            "$.rollout.against", show(against), "another arm than rollout.arm"
        )
    try:
        shares = RATIO.decode(given)
    except (Fault, ExceptionGroup):
        return
    others = sum(share for name, share in shares.items() if name not in (arm, against))
    steps = rollout.get("steps")
    for place, step in enumerate(steps if isinstance(steps, list) else ()):
        ratio: Any = step.get("ratio") if isinstance(step, dict) else step
        if (
            is_number(ratio)
            and 0 < ratio <= 1
            and round(ratio * WHOLE) + others > WHOLE
        ):
            left = format_share(WHOLE - others)
            found = f"{ratio:g}, of {left} that the other arms leave"
            yield Problem(f"$.rollout.steps[{place}]", found, f"at most {left}")


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


def _taken_cookies(
    document: Mapping[str, Any], service: str | None
) -> Iterator[Problem]:
    """Find rules that ask for `always` where our own cookie is."""
    sticky, rules = document.get("sticky_sessions"), document.get("rules")
    named = sticky.get("cookie") if isinstance(sticky, dict) else None
    is_default = sticky is True or (
        isinstance(sticky, dict) and not sticky.keys() & {"cookie", "header", "address"}
    )
    name = default_cookie(service) if is_default and service is not None else named
    for place, rule in enumerate(rules if isinstance(rules, list) else ()):
        given = rule.get("canary-by-cookie") if isinstance(rule, dict) else None
        if given is not None and given == name:
            path = f"$.rules[{place}].canary-by-cookie"
            expected = "another name than that of sticky_sessions"
            yield Problem(path, show(name), expected)


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
    yield from _checked_by_grpc(name, arm)
    tls = arm.get("tls")
    if isinstance(tls, dict) and tls.get("client_key") and not tls.get("client_cert"):
        path = f"$.arms.{name}.tls.client_key"
        yield Problem(path, "a key alone", "client_cert beside it")
    for field, short, long, kind in (
        ("ejection", "time", "longest", Ejection()),
        ("retries", "backoff", "longest_backoff", Retries()),
    ):
        given = arm.get(field)
        if not isinstance(given, dict):
            continue
        least = seconds_of(given.get(short, getattr(kind, short)))
        most = seconds_of(given.get(long, getattr(kind, long)))
        if least is not None and most is not None and most < least:
            path = f"$.arms.{name}.{field}.{long}"
            yield Problem(path, f"{most:g}", f"at least {short}, {least:g}")


def _checked_by_grpc(name: str, arm: Mapping[str, Any]) -> Iterator[Problem]:
    """Find servers that cannot be asked as `health.grpc` wants it."""
    health, servers = arm.get("health"), arm.get("servers")
    if not isinstance(health, dict) or not _is_service(health.get("grpc")):
        return
    for place, server in enumerate(servers if isinstance(servers, list) else ()):
        table = server if isinstance(server, dict) else {"url": server}
        url = table.get("url")
        if not isinstance(url, str) or url.startswith("h2c:"):
            continue
        if table.get("protocol") != "h2":
            path = f"$.arms.{name}.servers[{place}]"
            expected = "a server that speaks h2, as health.grpc needs it"
            yield Problem(path, show(server), expected)


def _is_service(given: Any) -> bool:
    try:
        GRPC_SERVICE.decode(given)
    except Fault:
        return False
    return True


def _no_arm(path: str, name: str, arms: Mapping[str, Any]) -> Problem:
    return Problem(path, f"no arm {name!r}", f"an arm of $.arms: {_names(arms)}")


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(table) or "none"
