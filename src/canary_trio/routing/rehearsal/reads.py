"""What a document reads of requests: so what has to be noted of them to ask it later. Pure.

The method, the path and the host are noted of each request, the query never; the rest only
where a document reads it. The cookie that we sign is not among the names: who has one is a
user, and is noted as that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from canary_trio.config.model import Config, Style
from canary_trio.config.rules import ClientIn, Key, Operator, Source, ValueIs
from canary_trio.routing.request.request_view import name_of

Name = tuple[Source, bytes]
"""A header, a cookie or a parameter."""

_SECRET = re.compile(
    rb"auth|cookie|token|secret|passw|credential|api-?_?key|session|jwt|sign",
    re.IGNORECASE,
)
_NOTED = (Source.HEADER, Source.COOKIE, Source.QUERY)
_SHAPES = (Operator.PREFIX, Operator.REGEX)


@attrs.frozen
class Reads:
    """What a document reads.

    Attributes:
        names: whose values it looks at.
        shapes: those whose values it compares with beginnings and patterns.
        users: those that tell users apart.
        equals: the values that it compares with, each with its name.
        client: whether it looks at the address.
        certificate: whether at the client's certificate.
    """

    names: frozenset[Name] = frozenset()
    shapes: frozenset[Name] = frozenset()
    users: frozenset[Name] = frozenset()
    equals: frozenset[tuple[Name, bytes]] = frozenset()
    client: bool = False
    certificate: bool = False

    @classmethod
    def of(cls, config: Config) -> Reads:
        """Give what a document reads."""
        tests = [
            condition
            for rule in config.rules
            for condition in rule.conditions
            if isinstance(condition, ValueIs)
        ]
        users = list(_user_keys(config))
        users += [test.key for test in tests if test.test is Operator.PERCENT]
        keys = [*users, *(test.key for test in tests)]
        looks = any(
            isinstance(condition, ClientIn)
            for rule in config.rules
            for condition in rule.conditions
        )
        access = config.access
        return cls(
            names=_names(keys),
            shapes=_names(test.key for test in tests if test.test in _SHAPES),
            users=_names(users),
            equals=frozenset(
                ((test.key.source, name_of(test.key)), test.value.encode())
                for test in tests
                if test.test is Operator.EQUALS
            ),
            client=looks
            or bool(access.allow or access.deny)
            or any(key.source is Source.ADDRESS for key in keys),
            certificate=any(key.source is Source.CLIENT_CERT for key in keys),
        )

    def may_keep(self, name: Name) -> bool:
        """Tell whether values are noted as they are: no user's, no cookie's, no secret."""
        source, called = name
        return (
            name in self.shapes
            and name not in self.users
            and source is not Source.COOKIE
            and _SECRET.search(called) is None
        )


def in_words(name: Name) -> str:
    """Give a name in words.

    >>> in_words((Source.HEADER, b"x-beta"))
    'header x-beta'
    """
    source, called = name
    return f"{source.value} {called.decode('utf-8', 'replace')}"


def _user_keys(config: Config) -> Iterator[Key]:
    sticky = config.sticky_sessions
    if sticky is not None and sticky.key.source is not Source.COOKIE:
        yield sticky.key
    if config.style is Style.HASH:
        yield config.hash_by


def _names(keys: Iterable[Key]) -> frozenset[Name]:
    return frozenset((key.source, name_of(key)) for key in keys if key.source in _NOTED)
