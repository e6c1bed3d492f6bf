"""What one condition asks of a request, as a function. Pure.

What does not depend on the request is computed when the function is made. A value that
a request does not bring meets no test, but that it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from canary_trio.config.rules import (
    VALUE_SIZE,
    ClientIn,
    Condition,
    HostIs,
    MethodIs,
    Network,
    Operator,
    PathPrefix,
    Source,
    ValueIs,
    compile_pattern,
)
from canary_trio.routing.buckets import bucket
from canary_trio.routing.request.paths import plain_path
from canary_trio.routing.request.request_view import (
    SLOTS,
    RequestView,
    address_of,
    key_getter,
    name_of,
)

Check = Callable[[RequestView], object]
"""Something true for a request that meets a condition."""


def compile_condition(condition: Condition, salt: bytes) -> Check:
    """Give what tells whether a request meets a condition.

    Args:
        condition: of a rule.
        salt: of the users' buckets, for `percent`.
    """
    match condition:
        case ValueIs():
            return _check_value(condition, salt)
        case PathPrefix(prefix):
            stem = plain_path(prefix.encode()).rstrip(b"/")
            return lambda view: is_below(view.path, stem)
        case HostIs(hosts):
            names = frozenset(host.encode() for host in hosts)
            return lambda view: is_host(view.host(), names)
        case MethodIs(methods):
            allowed = frozenset(method.encode() for method in methods)
            return lambda view: view.head.method in allowed
        case ClientIn(networks):
            return lambda view: is_in(view.client, networks)
        case _:
            assert_never(condition)


def is_below(path: bytes, stem: bytes) -> bool:
    """Whether a path is a stem, or goes on behind it with `/`.

    >>> is_below(b"/api/x", b"/api"), is_below(b"/apis", b"/api"), is_below(b"/a", b"")
    (True, False, True)
    """
    return path.startswith(stem) and (
        len(path) == len(stem) or path[len(stem) : len(stem) + 1] == b"/"
    )


def is_host(host: bytes, names: frozenset[bytes]) -> bool:
    """Whether a host is one of these names, or below one that begins with `*.`."""
    if host in names:
        return True
    dot = host.find(b".")
    while dot >= 0:
        if b"*" + host[dot:] in names:
            return True
        dot = host.find(b".", dot + 1)
    return False


def is_in(client: str, networks: Sequence[Network]) -> bool:
    """Whether a client's address is in one of these networks."""
    address = address_of(client)
    if address is None:
        return False
    size, number = address
    return any(
        network.max_prefixlen == size
        and number >> (size - network.prefixlen)
        == int(network.network_address) >> (size - network.prefixlen)
        for network in networks
    )


def _check_value(condition: ValueIs, salt: bytes) -> Check:
    key, value = condition.key, condition.value.encode()
    if condition.test is Operator.PERCENT:
        share, get_key = condition.share, key_getter(key)
        return lambda view: (
            (found := get_key(view)) is not None and bucket(found, salt) < share
        )
    if key.source is Source.CLIENT_CERT:
        return _check_certificate(condition)
    name, slot = name_of(key), SLOTS[key.source]
    match condition.test:
        case Operator.EQUALS:
            return lambda view: view.found[slot].get(name) == value
        case Operator.PREFIX:
            return lambda view: (
                (found := view.found[slot].get(name)) is not None
                and found.startswith(value)
            )
        case Operator.PRESENT:
            present = condition.present
            return lambda view: (name in view.found[slot]) is present
        case Operator.REGEX:
            search = compile_pattern(condition.value)
            return lambda view: (
                (found := view.found[slot].get(name)) is not None
                and len(found) <= VALUE_SIZE
                and search(found)
            )
        case _:
            assert_never(condition.test)


def _check_certificate(condition: ValueIs) -> Check:
    """Give the check of a certificate: one of its values must meet the test."""
    part, value = condition.key.name, condition.value.encode()
    match condition.test:
        case Operator.EQUALS:
            return lambda view: value in view.certificate_values(part)
        case Operator.PREFIX:
            return lambda view: any(
                found.startswith(value) for found in view.certificate_values(part)
            )
        case Operator.PRESENT:
            present = condition.present
            return lambda view: bool(view.certificate_values(part)) is present
        case Operator.REGEX:
            search = compile_pattern(condition.value)
            return lambda view: any(
                len(found) <= VALUE_SIZE and search(found)
                for found in view.certificate_values(part)
            )
        case _:
            raise AssertionError("the loader lets no other test pass")
