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

from canary_trio.policy import (
    Connections,
    Ejection,
    HeaderChanges,
    Health,
    Mirror,
    Retries,
    ServerLimits,
    Timeouts,
    UpstreamTls,
    described,
)
from canary_trio.rules import Key, Rule, Source

WHOLE = 10_000
"""All traffic, in the steps of a share."""

STABLE, CANARY = "stable", "canary"


class Style(enum.Enum):
    """How a request without a session is given an arm."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    HASH = "hash"


class Balance(enum.Enum):
    """How a server of an arm is chosen."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_REQUESTS = "least_requests"
    HASH = "hash"


class ServerMode(enum.Enum):
    """What a server is given."""

    READY = "ready"
    DRAIN = "drain"
    """No new users: only what is sticky to it."""

    MAINTENANCE = "maintenance"
    """Nothing."""


@attrs.frozen
class Server:
    """One server of an arm."""

    url: str = described(
        "Where it is: http://HOST[:PORT][/PREFIX], https://... or unix:/PATH."
    )
    weight: int = described(
        "Its share among the servers of its arm, 1 to 1000.", default=1
    )
    mode: ServerMode = described(
        "ready; drain: only users that are sticky to it; maintenance: nothing.",
        default=ServerMode.READY,
    )

    @property
    def host(self) -> str:
        """The host, IPv6 without its brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port."""
        return urlsplit(self.url).port or 80


_ADDRESS = Key(Source.ADDRESS)


@attrs.frozen
class Arm:
    """One version behind the proxy."""

    servers: tuple[Server, ...] = described("Its servers, at least one.")
    balance: Balance = described(
        "How a server is chosen: round_robin, random, least_requests or hash.",
        default=Balance.ROUND_ROBIN,
    )
    hash_by: Key = described(
        "The key of balance `hash`: address, or a header, cookie or query parameter.",
        default=_ADDRESS,
    )
    health: Health | None = described(
        "Active checks: true, false, or a table.", default=None
    )
    ejection: Ejection = described("Passive checks.", factory=Ejection)
    panic_threshold: float = described(
        "If a smaller share of the servers is healthy, health is ignored, 0 to 1.",
        default=0.5,
    )
    slow_start: float = described(
        "Seconds in which a server that came back grows to its weight.", default=0.0
    )
    fallback: str | None = described(
        "The arm that serves when no server is usable; by default `stable`, and none for"
        " `stable` itself. null for none.",
        default=STABLE,
    )
    timeouts: Timeouts = described("The waits of a request.", factory=Timeouts)
    retries: Retries = described("Trying again.", factory=Retries)
    limits: ServerLimits = described("Of each server.", factory=ServerLimits)
    request_headers: HeaderChanges = described(
        "Changes to requests.", factory=HeaderChanges
    )
    answer_headers: HeaderChanges = described(
        "Changes to answers.", factory=HeaderChanges
    )
    tls: UpstreamTls = described("Of servers with https://.", factory=UpstreamTls)


class SameSite(enum.Enum):
    """When a browser sends the cookie to us from other sites (RFC 6265bis)."""

    LAX = "lax"
    STRICT = "strict"
    NONE = "none"


@attrs.frozen
class Sticky:
    """Users keep their arm: by a cookie that we sign, a header, or their network."""

    key: Key = described(
        "Where a user's key is: `cookie` (signed by us), `header`, or `address` with"
        " `v4` and `v6` bits.",
        default=Key(Source.COOKIE, "canary"),
    )
    epoch: int = described("Raise it to draw all users anew.", default=0)
    server: bool = described(
        "Whether they keep their server inside the arm too.", default=False
    )
    forward: bool = described("Whether servers see the cookie.", default=False)
    max_age: int | None = described(
        "Seconds that the cookie lives; null for the browser's session.", default=None
    )
    domain: str | None = described("The cookie's Domain; null for none.", default=None)
    same_site: SameSite = described(
        "The cookie's SameSite: lax, strict or none.", default=SameSite.LAX
    )

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return self.key.name


@attrs.frozen
class Config:
    """A valid document."""

    arms: Mapping[str, Arm] = described("The versions by name; `stable` is required.")
    style: Style = described(
        "How a request without a session is given an arm: round_robin (exact), random,"
        " or hash (by `hash_by`).",
        default=Style.ROUND_ROBIN,
    )
    hash_by: Key = described(
        "The key of style `hash`: address, or a header, cookie or query parameter.",
        default=_ADDRESS,
    )
    ratio: Mapping[str, int] = described(
        "The share of arm `canary`, from 0 to 1 in steps of 0.0001, or a table of shares"
        " by arm; the rest is `stable`'s.",
        factory=lambda: MappingProxyType({}),
    )
    sticky_sessions: Sticky | None = described(
        "Whether users keep their arm: false, true (a cookie), or a table.",
        default=None,
    )
    rules: tuple[Rule, ...] = described(
        "First match wins, before stickiness and before the ratio.", default=()
    )
    mirror: Mirror | None = described(
        "Copies of requests for another arm.", default=None
    )
    connections: Connections = described(
        "What a change does to long connections whose arm or server is gone: keep, drain,"
        " recall, or a table.",
        factory=Connections,
    )
    decision_header: str | None = described(
        "The name of an answer field that says revision, arm and reason; null for none.",
        default=None,
    )
    config_server: str | None = described(
        "Where the next document is read; by default where this one was.", default=None
    )
    update_rate: float = described(
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
        sticky = config.sticky_sessions
        shown["sticky_sessions"] = (
            True
            if sticky == Sticky()
            else {"cookie": sticky.cookie, "epoch": sticky.epoch}
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
            server.url
            if server.weight == 1
            else {"url": server.url, "weight": server.weight}
            for server in arm.servers
        ]
    }
    if arm.balance is not Balance.ROUND_ROBIN:
        shown["balance"] = arm.balance.value
    return shown
