"""Rules as frozen values: conditions on a request, and the arm that they lead to. Pure.

A rule holds when all of its conditions hold. What is matched is always bytes of the
request's head, so a value is matched as it was sent, but for the query, which is
percent-decoded. Patterns are RE2's: their time is linear in the length of the value,
whatever the pattern (R. Cox, "Regular Expression Matching in the Wild", 2010).
"""

from __future__ import annotations

import enum
import ipaddress

import attrs

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Source(enum.Enum):
    """Where a value comes from."""

    ADDRESS = "address"
    """The client's address, cut to a network."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"


@attrs.frozen
class Key:
    """Where the key of a user is found in a request.

    Attributes:
        name: of the header, the cookie or the query parameter.
        v4, v6: bits of an address that count.
    """

    source: Source
    name: str = ""
    v4: int = 32
    v6: int = 128


class Test(enum.Enum):
    """How a value is tested."""

    EQUALS = "equals"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"
    PERCENT = "percent"


@attrs.frozen
class ValueIs:
    """A test of a header, a cookie, a query parameter or (`percent` only) the address.

    Attributes:
        value: to be equal to, to begin with, or the pattern; as it is sent.
        share: for `percent`, in ten-thousandths: the buckets below it match.
        present: for `present`: whether it must be there or must not be.
    """

    key: Key
    test: Test
    value: str = ""
    share: int = 0
    present: bool = True


@attrs.frozen
class PathPrefix:
    """The path is this, or goes on behind it with `/`; matched as it was sent."""

    prefix: str


@attrs.frozen
class HostIs:
    """The host, without its port, is one of these; `*.example.org` matches below it."""

    hosts: tuple[str, ...]


@attrs.frozen
class MethodIs:
    """The method is one of these."""

    methods: tuple[str, ...]


@attrs.frozen
class ClientIn:
    """The client's address is in one of these networks."""

    networks: tuple[Network, ...]


Condition = ValueIs | PathPrefix | HostIs | MethodIs | ClientIn


@attrs.frozen
class Rule:
    """If all conditions hold, the request goes to the arm.

    Attributes:
        name: how the rule is called in logs and metrics; by default its place, "rule 3".
    """

    name: str
    arm: str
    conditions: tuple[Condition, ...]
