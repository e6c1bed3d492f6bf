"""What a configuration asks of each request, by whoever it is asked. Pure."""

from __future__ import annotations

from canary_trio.config.model import Balance, Config, Style
from canary_trio.config.rules import Key, ValueIs


def asked_keys(config: Config) -> list[Key]:
    """Give all that the configuration asks of a request."""
    keys = [
        condition.key
        for rule in config.rules
        for condition in rule.conditions
        if isinstance(condition, ValueIs)
    ]
    if config.sticky_sessions is not None:
        keys.append(config.sticky_sessions.key)
    if config.style is Style.HASH:
        keys.append(config.hash_by)
    keys += [a.hash_by for a in config.arms.values() if a.balance is Balance.HASH]
    return keys
