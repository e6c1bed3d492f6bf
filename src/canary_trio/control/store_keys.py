"""Where things are in the store, and what stands there. Pure.

canary/<service>/config           the document
canary/<service>/secret           what the fleet signs cookies with
canary/<service>/proxies/<id>     what each live proxy runs, bound to its session
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from canary_trio.errors import CanaryError, Problem

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


class BadName(CanaryError):
    """A service or a proxy has a name that cannot be part of a key."""


def check_name(name: str) -> str:
    """Give a name back if it can be part of a key.

    Raises:
        BadName: it cannot.
    """
    if not _NAME.match(name):
        raise BadName(
            f"found the name {name!r}, expected letters, digits, - _ and ., at most 63"
        )
    return name


def config_key(service: str) -> str:
    """Where a service's document is."""
    return f"canary/{check_name(service)}/config"


def secret_key(service: str) -> str:
    """Where a service's secret is."""
    return f"canary/{check_name(service)}/secret"


def proxies_prefix(service: str) -> str:
    """Where a service's proxies report."""
    return f"canary/{check_name(service)}/proxies/"


@attrs.frozen
class Refusal:
    """A revision that a proxy could not run, and why."""

    revision: int
    problems: tuple[Problem, ...]


@attrs.frozen
class Report:
    """What a proxy says of itself.

    Attributes:
        id: its name.
        running: the revision that it routes by; 0 for none.
        attempted: the newest that it has seen.
        failed: the last one that it refused, if it runs none that is newer.
        address: where it listens.
        admin: where its status is.
    """

    id: str
    running: int
    attempted: int
    failed: Refusal | None = None
    address: str = ""
    admin: str = ""

    def dump(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def load(cls, data: bytes) -> Report | None:
        """Read it; None where it is none."""
        try:
            shown: dict[str, Any] = json.loads(data)
            failed = shown.pop("failed")
            if failed is not None:
                problems = tuple(Problem(**problem) for problem in failed["problems"])
                failed = Refusal(int(failed["revision"]), problems)
            return cls(failed=failed, **shown)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
