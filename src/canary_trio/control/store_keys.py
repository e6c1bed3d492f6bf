"""Where things are in the store. Pure.

canary/<service>/config           the document
canary/<service>/secret           what the fleet signs cookies with
canary/<service>/proxies/<id>     what each live proxy runs, bound to its session
canary/<service>/proxies/<id>/seen    when it was alive, which outlives it
canary/<service>/proxies/<id>/evidence    what it counts for a rollout's judge, while one runs
canary/<service>/proxies/<id>/trial       what it counts for the judge of a document that is tried
canary/<service>/driver           the lock of the proxy that drives it, while one has to
canary/<service>/driver/state     what it leaves to the next one
canary/<service>/freeze           why no step of a rollout begins, and until when
canary/<service>/pending          a change that is to be confirmed
canary-history/<service>/changes/<UTC ms>-<hex>      who made a revision, when and why
canary-history/<service>/documents/<UTC ms>-<hex>    the document of that revision

History is not below `canary/`: who watches all services there (a gateway does, on a Consul
and on an etcd) must not be sent all that they ever were.

The document of a gateway, and what its proxies run of it, are at the same places below
its name, which begins with `@`. It has no secret: each of its services has its own.
"""

from __future__ import annotations

import re

from canary_trio.errors import CanaryError
from canary_trio.routing.edge.names import GATEWAY_MARK

ROOT = "canary/"
"""What all keys begin with."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


HISTORY_ROOT = "canary-history/"
"""What all keys of history begin with."""


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


def check_service(name: str) -> str:
    """Give the name of a service, or of a gateway, back if it can be part of a key.

    Raises:
        BadName: it cannot.
    """
    if name.startswith(GATEWAY_MARK):
        if _NAME.match(name[1:]):
            return name
        raise BadName(
            f"found the name {name!r}, expected @ and the name of a gateway, such as @edge:"
            " letters, digits, - _ and ., at most 63"
        )
    if GATEWAY_MARK in name:
        raise BadName(
            f"found the name {name!r}, expected @ at its beginning, where it is a gateway's,"
            " or nowhere"
        )
    return check_name(name)


def config_key(service: str) -> str:
    """Where a service's document is."""
    return f"{ROOT}{check_service(service)}/config"


def secret_key(service: str) -> str:
    """Where a service's secret is."""
    return f"{ROOT}{check_name(service)}/secret"


def pending_key(service: str) -> str:
    """Where a change of a service is that is to be confirmed."""
    return f"{ROOT}{check_service(service)}/pending"


def changes_prefix(service: str) -> str:
    """Where it is noted who changed a service's document."""
    return f"{HISTORY_ROOT}{check_service(service)}/changes/"


def past_document_key(service: str, id_: str) -> str:
    """Where the document is that a change made."""
    return f"{HISTORY_ROOT}{check_service(service)}/documents/{id_}"


def service_prefix(service: str) -> str:
    """Where all is that a service has, but for its history."""
    return f"{ROOT}{check_service(service)}/"


def proxies_prefix(service: str) -> str:
    """Where a service's proxies report."""
    return f"{ROOT}{check_service(service)}/proxies/"


def seen_key(service: str, proxy_id: str) -> str:
    """Where it is noted when a proxy of a service was alive."""
    return f"{proxies_prefix(service)}{proxy_id}/seen"


def evidence_key(service: str, proxy_id: str, what: str = "evidence") -> str:
    """Where a proxy tells what it counts of a service."""
    return f"{proxies_prefix(service)}{proxy_id}/{what}"


def driver_key(service: str) -> str:
    """Where the lock of a service's driver is."""
    return f"{ROOT}{check_service(service)}/driver"


def driver_state_key(service: str) -> str:
    """Where a service's driver keeps what the next one needs."""
    return f"{driver_key(service)}/state"


def freeze_key(service: str) -> str:
    """Where it stands that no step of a service's rollout begins."""
    return f"{ROOT}{check_service(service)}/freeze"
