"""Where things are in the store. Pure.

canary/<service>/config           the document
canary/<service>/secret           what the fleet signs cookies with
canary/<service>/proxies/<id>     what each live proxy runs, bound to its session
"""

from __future__ import annotations

import re

from canary_trio.errors import CanaryError

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
