"""What a revision allows a request, worked out from its document alone. Pure.

The shares are read here, and not by the router: who checks routing by the code that routes
finds nothing. Only a key's bucket is the router's own, since the hash is a name for a user; that
users keep to an order is checked without it, too (`checkers.moved`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary_trio.config.model import CANARY, STABLE, WHOLE
from canary_trio.routing.buckets import bucket, salt_of
from canary_trio.verify.observation import ClientKind, Observation

CALLS = "calls"
"""The rule of our documents that leads calls of gRPC to an arm."""

USER = "X-User"
"""The field by which clients say who they are, beside the one that a document names."""

Document = Mapping[str, Any]


def shares_of(document: Document) -> dict[str, int]:
    """Give the shares of arms beside `stable`, in ten-thousandths.

    >>> shares_of({"ratio": 0.25}), shares_of({"ratio": {"canary": 0.1, "b": 0.1}})
    ({'canary': 2500}, {'canary': 1000, 'b': 1000})
    """
    ratio = document.get("ratio", 0)
    table = ratio if isinstance(ratio, Mapping) else {CANARY: ratio}
    return {name: round(share * WHOLE) for name, share in table.items()}


def user_of(document: Document, seen: Observation) -> tuple[str, int, str] | None:
    """Give whose request it is to a document: the kind of key, the epoch, and the key.

    None where the document keeps nobody, or nothing is known of the key.
    """
    sticky = document.get("sticky_sessions", False)
    table = sticky if isinstance(sticky, Mapping) else {}
    epoch = table.get("epoch", 0)
    if keeps_by_cookie(document):
        return ("cookie", epoch, seen.cookie) if seen.cookie else None
    return ("header", epoch, seen.user) if "header" in table and seen.user else None


def keeps_by_cookie(document: Document) -> bool:
    """Tell whether users are kept by a cookie that the proxy gives them."""
    sticky = document.get("sticky_sessions", False)
    if isinstance(sticky, Mapping):
        return not {"header", "address"} & set(sticky)
    return bool(sticky)


def disagreement(document: Document, seen: Observation, service: str) -> str:
    """Say what its revision does not allow of what was seen; empty if it is all right."""
    arms = document.get("arms", {})
    if seen.arm not in arms:
        return f"its revision has no arm {seen.arm!r}"
    if seen.chosen not in arms:
        return f"its revision has no arm {seen.chosen!r}"
    found = _of_choice(document, seen, service)
    if found:
        return found
    if seen.arm != seen.chosen and seen.arm != fallback_of(document, seen.chosen):
        return f"{seen.chosen} does not fall back to {seen.arm} there"
    if seen.server and seen.server not in servers_of(document, seen.arm):
        return f"{seen.server} is no server of {seen.arm} there"
    return ""


def _of_choice(document: Document, seen: Observation, service: str) -> str:
    rules = {rule.get("name"): rule for rule in document.get("rules", ())}
    rule = rules.get(seen.rule or None)
    if seen.rule:
        arm = seen.chosen if rule is None else rule.get("arm", seen.chosen)
        if arm != seen.chosen:
            return f"its rule {seen.rule} leads to {arm}, not to {seen.chosen}"
        return ""
    if CALLS in rules and seen.kind in (ClientKind.CALL, ClientKind.STREAM):
        return f"its rule {CALLS} leads to {rules[CALLS]['arm']}, and was passed over"
    return _of_share(document, seen, service)


def _of_share(document: Document, seen: Observation, service: str) -> str:
    if keeps_by_cookie(document) and seen.reason == "ratio" and not seen.fresh:
        return "it was drawn as a new user's, and the response gives no cookie"
    shares = shares_of(document)
    wanted = _by_bucket(document, seen, service, shares)
    if wanted and wanted != seen.chosen:
        return f"the user's bucket is {wanted}'s there, not {seen.chosen}'s"
    rest = WHOLE - sum(shares.values())
    has = rest if seen.chosen == STABLE else shares.get(seen.chosen, 0)
    return "" if has else f"{seen.chosen} has no share there"


def _by_bucket(
    document: Document, seen: Observation, service: str, shares: Mapping[str, int]
) -> str:
    """Give the arm of a user whose key we know; empty where that is another one's matter.

    `canary` has the buckets from 0 upwards, as many as its share has ten-thousandths.
    """
    whose = user_of(document, seen)
    if whose is None or whose[0] != "header" or set(shares) > {CANARY}:
        return ""
    place = bucket(whose[2].encode(), salt_of(service, whose[1]))
    return CANARY if place < shares.get(CANARY, 0) else STABLE


def fallback_of(document: Document, arm: str) -> str | None:
    """Give the arm that serves in place of one that cannot."""
    found: str | None = document["arms"][arm].get(
        "fallback", None if arm == STABLE else STABLE
    )
    return found


def servers_of(document: Document, arm: str) -> frozenset[str]:
    """Give the addresses of an arm's servers, HOST:PORT.

    >>> sorted(servers_of({"arms": {"a": {"servers": ["http://h:1", {"url": "h2c://h:2"}]}}}, "a"))
    ['h:1', 'h:2']
    """
    servers = document["arms"].get(arm, {}).get("servers", ())
    urls = (one["url"] if isinstance(one, Mapping) else one for one in servers)
    return frozenset(str(url).partition("://")[2].partition("/")[0] for url in urls)
