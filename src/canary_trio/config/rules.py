"""Rules as frozen values: conditions on a request, and the arm that they lead to. Pure.

A rule holds when all of its conditions hold. What is matched is always bytes of the
request's head, so a value is matched as it was sent, but for the query, which is
percent-decoded.

Patterns are RE2's: their time is linear in the length of the value (R. Cox, "Regular
Expression Matching in the Wild", 2010). It never goes back, so no pattern can stall the
proxy; it has no look-around and no back-references. A pattern is searched for, as
ingress-nginx does it: `^` and `$` tie it to the ends. It is tried on the bytes as sent,
read as UTF-8. Linear is not yet short: where RE2's automaton does not fit its memory, a
byte costs up to 10 ns for each step of the pattern's program. So that is bounded, as are
the bytes: the worst pattern takes 12 ms on the longest value, an ordinary one 2 us.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
from collections.abc import Callable

import attrs

PATTERN_SIZE = 1000
"""Characters of a pattern at most."""

PATTERN_STEPS = 300
"""Instructions of a pattern's program at most: one for a letter, 8 for a `.`."""

VALUE_SIZE = 4096
"""Bytes of a value at most; a longer one is matched by no pattern."""

PATTERN_MEMORY = 1 << 20
"""Bytes that one compiled pattern may use."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Source(enum.Enum):
    """Where a value comes from."""

    ADDRESS = "address"
    """The client's address, cut to a network."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    CLIENT_CERT = "client_cert"
    """The client's verified certificate; only rules ask for it."""


class CertificatePart(enum.Enum):
    """What of a client's certificate is looked at: the names of a key of that source."""

    SUBJECT = "subject"
    """The subject as RFC 4514 writes it, such as `CN=web,O=Example`."""

    COMMON_NAME = "common_name"
    SAN = "san"
    """Its alternative names: each of them."""


@attrs.frozen
class Key:
    """Where the key of a user is found in a request.

    Attributes:
        name: of the header, the cookie or the query parameter; or a `CertificatePart`.
        v4, v6: bits of an address that count.
    """

    source: Source
    name: str = ""
    v4: int = 32
    v6: int = 128


class Operator(enum.Enum):
    """How a value is tested."""

    EQUALS = "equals"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"
    PERCENT = "percent"


@attrs.frozen
class ValueIs:
    """A test of a header, cookie, parameter, certificate, or (`percent` only) address.

    Attributes:
        value: to be equal to, to begin with, or the pattern; as it is sent.
        share: for `percent`, in ten-thousandths: the buckets below it match.
        present: for `present`: whether it must be there or must not be.
    """

    key: Key
    test: Operator
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


class BadPattern(ValueError):
    """RE2 does not take a pattern; the message says why."""


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Callable[[bytes], object]:
    """Give what searches for a pattern: something true where it is found.

    Raises:
        BadPattern: it is not one of RE2's, or it is too large.
    """
    import re2  # noqa: PLC0415  # documents without patterns do without

    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0] if isinstance(exc, re2.error) else exc
        message = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise BadPattern(message) from exc
    if compiled.programsize > PATTERN_STEPS:
        steps = compiled.programsize
        raise BadPattern(f"it has {steps} steps, and may have {PATTERN_STEPS}")
    search: Callable[[bytes], object] = compiled.search
    return search
