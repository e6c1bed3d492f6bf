"""The configuration as frozen values, and their form as a document.

What is a `Config` is valid: `document.load` is the only way to one from outside. It is
replaced whole, never changed.

Shares are whole numbers of ten-thousandths, since the finest step is 0.0001.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import attrs

WHOLE = 10_000
"""All traffic, in the steps of a share."""

STABLE, CANARY = "stable", "canary"


class Style(enum.Enum):
    """How a request without a session is given an arm."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"


class Balance(enum.Enum):
    """How a server of an arm is chosen."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_REQUESTS = "least_requests"


def _described(text: str, **more: Any) -> Any:
    return attrs.field(metadata={"description": text}, **more)


@attrs.frozen
class Server:
    """One server of an arm."""

    url: str = _described("Where it is: http://HOST or http://HOST:PORT.")
    weight: int = _described(
        "Its share among the servers of its arm, 1 to 1000.", default=1
    )

    @property
    def host(self) -> str:
        """The host, IPv6 without its brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port."""
        return urlsplit(self.url).port or 80


@attrs.frozen
class Arm:
    """One version behind the proxy."""

    servers: tuple[Server, ...] = _described("Its servers, at least one.")
    balance: Balance = _described(
        "How a server is chosen: round_robin, random or least_requests.",
        default=Balance.ROUND_ROBIN,
    )


@attrs.frozen
class Sticky:
    """Users keep their arm, by a signed cookie."""

    cookie: str = _described("The name of the cookie.", default="canary")
    epoch: int = _described("Raise it to draw all users anew.", default=0)


@attrs.frozen
class Config:
    """A valid document."""

    arms: Mapping[str, Arm] = _described("The versions by name; `stable` is required.")
    style: Style = _described(
        "How a request without a session is given an arm: round_robin (exact) or random.",
        default=Style.ROUND_ROBIN,
    )
    ratio: Mapping[str, int] = _described(
        "The share of arm `canary`, from 0 to 1 in steps of 0.0001, or a table of shares"
        " by arm; the rest is `stable`'s.",
        factory=lambda: MappingProxyType({}),
    )
    sticky_sessions: Sticky | None = _described(
        "Whether users keep their arm: false, true, or a table with `cookie`, `epoch`.",
        default=None,
    )
    config_server: str | None = _described(
        "Where the next document is read; by default where this one was.", default=None
    )
    update_rate: float = _described(
        "Seconds until the store is asked again when nothing changes, 0.1 to 600.",
        default=30.0,
    )


def dump(config: Config) -> str:
    """Write a document so that `load` gives the same value; defaults are left out."""
    default = attrs.fields(Config)
    shown: dict[str, Any] = {}
    if config.style is not default.style.default:
        shown["style"] = config.style.value
    if config.ratio:
        shown["ratio"] = _shown_ratio(config.ratio)
    if config.sticky_sessions is not None:
        sticky = attrs.asdict(config.sticky_sessions)
        shown["sticky_sessions"] = (
            True if config.sticky_sessions == Sticky() else sticky
        )
    if config.config_server is not None:
        shown["config_server"] = config.config_server
    if config.update_rate != default.update_rate.default:
        shown["update_rate"] = config.update_rate
    shown["arms"] = {name: _shown_arm(arm) for name, arm in config.arms.items()}
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


def format_share(share: int) -> str:
    """Write a share as people do.

    >>> format_share(2500), format_share(1), format_share(10_000)
    ('0.25', '0.0001', '1')
    """
    return f"{share / WHOLE:.4f}".rstrip("0").rstrip(".")


def _shown_ratio(ratio: Mapping[str, int]) -> float | dict[str, float]:
    if set(ratio) == {CANARY}:
        return ratio[CANARY] / WHOLE
    return {name: share / WHOLE for name, share in ratio.items()}


def _shown_arm(arm: Arm) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "servers": [
            server.url if server.weight == 1 else attrs.asdict(server)
            for server in arm.servers
        ]
    }
    if arm.balance is not Balance.ROUND_ROBIN:
        shown["balance"] = arm.balance.value
    return shown
