"""The gate of a service: who may pass, by what its document says. Pure.

The rule that it obeys: it answers before a request is routed, so who is refused takes no
turn of the split and no place at a server; and where it cannot tell who a client is, as at
a Unix socket, nobody is in a network: a list of those who may pass refuses it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import attrs

from canary_trio.config.access import Access
from canary_trio.config.rules import Network
from canary_trio.routing.request.request_view import address_of
from http_trio.http1.response import Response, error_response


class RefusalKind(enum.StrEnum):
    """Why a request might not pass: in logs, metrics and explanations."""

    DENIED = "denied"
    """Its client is in no network that may pass: 403."""

    TOO_LARGE = "too_large"
    """Its body is larger than what may pass: 413."""

    RATE_LIMITED = "rate_limited"
    """More came than a limit allows: 429."""

    UNAUTHENTICATED = "unauthenticated"
    """It has no name and password that are right: 401."""

    AUTH_DENIED = "auth_denied"
    """The server that is asked lets it not pass, and says what the client gets."""

    AUTH_FAILED = "auth_failed"
    """Nobody could say whether it may pass: 503."""


@attrs.frozen
class Turndown:
    """A request that may not pass.

    Attributes:
        kind: why.
        status: what it is answered with.
        words: what the client is told.
    """

    kind: RefusalKind
    status: int
    words: str

    def response(self) -> Response:
        """Give the response."""
        return error_response(self.status, self.words)


_DENIED = Turndown(RefusalKind.DENIED, 403, "this address may not come here")


class Gate:
    """Who may pass, made ready.

    Args:
        access: as the document says it.

    Attributes:
        body: bytes of a body at most; None for no limit.
    """

    def __init__(self, access: Access) -> None:
        self.body = access.body
        self._allow = NetworkSet(access.allow) if access.allow else None
        self._deny = NetworkSet(access.deny) if access.deny else None

    def __repr__(self) -> str:
        return f"<Gate allow={self._allow} deny={self._deny} body={self.body}>"

    def turn_down(self, client: str, framing: int) -> Turndown | None:
        """Tell why a request may not pass; None if it may.

        Args:
            client: its address.
            framing: the declared length of its body; below 0 where that shows later.
        """
        if self._deny is not None and client in self._deny:
            return _DENIED
        if self._allow is not None and client not in self._allow:
            return _DENIED
        if self.body is not None and framing > self.body:
            said = f"the body is larger than {self.body} bytes"
            return Turndown(RefusalKind.TOO_LARGE, 413, said)
        return None


def gate_of(access: Access) -> Gate | None:
    """Make a gate; None where all may pass, as in a service that says nothing of it."""
    if access.allow or access.deny or access.body is not None:
        return Gate(access)
    return None


class NetworkSet:
    """Networks, in which an address is looked for once for each length of a prefix.

    >>> from http_trio.hosts.addresses import parse_network
    >>> inside = NetworkSet([parse_network("10.0.0.0/8")])
    >>> "10.1.2.3" in inside, "::ffff:10.1.2.3" in inside, "unix" in inside
    (True, True, False)
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._by_length: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            size = network.max_prefixlen
            shift = size - network.prefixlen
            held = self._by_length.setdefault((size, shift), set())
            held.add(int(network.network_address) >> shift)

    def __repr__(self) -> str:
        return f"<NetworkSet of {sum(map(len, self._by_length.values()))}>"

    def __contains__(self, client: str) -> bool:
        address = address_of(client)
        if address is None:
            return False
        size, number = address
        return any(
            size == of and number >> shift in held
            for (of, shift), held in self._by_length.items()
        )
