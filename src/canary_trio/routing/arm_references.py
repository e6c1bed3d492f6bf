"""What still leads requests to an arm: so whether it can be removed. Pure.

An arm is safe to remove when the running document sends nothing to it, and nothing
that was sent is still in progress. A user who is sticky is not a reason: which arm he has
follows from the ratio.
"""

from __future__ import annotations

from canary_trio.config.model import STABLE, Config, format_share


def references_to(config: Config, arm: str) -> list[str]:
    """Give what in a document leads to an arm, in words; empty for nothing."""
    found = []
    share = config.shares.get(arm)
    if share:
        found.append(f"the ratio gives it {format_share(share)}")
    found += [called(rule.name) for rule in config.rules if rule.arm == arm]
    found += [
        f"arm {name} falls back to it"
        for name, other in config.arms.items()
        if name != arm and other.fallback == arm
    ]
    if config.mirror is not None and config.mirror.arm == arm:
        found.append("it gets copies of requests")
    rollout = config.rollout
    if rollout is not None and arm in (rollout.arm, rollout.against):
        found.append("the rollout is about it")
    if arm == STABLE and not found:
        found.append(f"arm {STABLE} is always required")
    return found


def called(rule: str) -> str:
    """Name a rule in a sentence; those without a name are called by their place.

    >>> called("beta"), called("rule 3")
    ('rule beta', 'rule 3')
    """
    return rule if rule.startswith("rule ") else f"rule {rule}"
