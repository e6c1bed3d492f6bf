"""What a proxy and an operator of `canary` must be allowed: the least rights. Pure.

A store serves whoever comes, but most that come are the proxies of `canary-trio`; so the
tokens that those need are made here, by name. The keys are theirs
(`canary_trio.control.store_keys`), and a test holds both together.

A proxy reads its document and writes only what it says of itself and the secret of its
fleet. One that drives changes documents too: it reverts what nobody confirmed, and takes
the steps of a rollout. Where no proxy has those rights, nobody does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

_GATEWAY = "@"
_NAME = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


@attrs.frozen
class Right:
    """A right to a key, or to all keys with a prefix.

    Attributes:
        writes: whether it is to write, which includes to read.
        key: or the prefix.
        is_prefix: whether it is one.
    """

    writes: bool
    key: str
    is_prefix: bool = False


def proxy_rights(
    name: str, services: Iterable[str] = (), *, drives: bool = True
) -> tuple[Right, ...]:
    """Give what a proxy must be allowed.

    Args:
        name: of its service, or of a gateway, which begins with `@`.
        services: those of a gateway.
        drives: whether it may change documents by itself.
    """
    return tuple(
        right
        for one in (name, *services)
        for right in _proxy_rights(one, drives=drives)
    )


def operator_rights(name: str) -> tuple[Right, ...]:
    """Give what somebody must be allowed who changes a service, or a gateway."""
    root = f"canary/{name}/"
    secret = () if name.startswith(_GATEWAY) else (Right(True, root + "secret"),)
    return (
        Right(False, root, is_prefix=True),
        Right(True, root + "config"),
        *secret,
        Right(True, f"canary-history/{name}/", is_prefix=True),
        Right(True, root + "pending"),
        Right(True, root + "freeze"),
    )


def is_name(name: str) -> bool:
    """Tell whether it can be a service or a gateway."""
    return _NAME.match(name) is not None


def role_name(role: str, name: str) -> str:
    """Give the name of a role, of letters that every store takes.

    >>> role_name("proxy", "@edge")
    'proxy-gateway-edge'
    """
    if name.startswith(_GATEWAY):
        name = f"gateway-{name.removeprefix(_GATEWAY)}"
    return f"{role}-{name.replace('.', '-')}"


def _proxy_rights(name: str, *, drives: bool) -> tuple[Right, ...]:
    root = f"canary/{name}/"
    own = () if name.startswith(_GATEWAY) else (Right(True, root + "secret"),)
    own = (*own, Right(True, root + "proxies/", is_prefix=True))
    if not drives:
        return (Right(False, root + "config"), Right(False, root + "pending"), *own)
    return (
        Right(True, root + "config"),
        *own,
        Right(True, f"canary-history/{name}/", is_prefix=True),
        Right(True, root + "pending"),
        Right(True, root + "driver", is_prefix=True),
        Right(False, root + "freeze"),
    )
