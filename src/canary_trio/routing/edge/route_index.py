"""The routes of a table compiled: the most specific one that matches a request. Pure.

Of all routes that match, that one is taken whose host is most specific (itself, then the
longest `*.`, then none), among these the one with the longest path, then with the most
conditions, then the first in the document.

What a request costs does not grow with the number of routes: for a host there is one
chain of groups, in the order of their rank, found by one look-up and kept, since few hosts
come again and again; and in a group one look-up for each number of steps that paths of it
have. Only routes with conditions look at more of a request than its target and its host.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import attrs

from canary_trio.config.rules import Condition, Key, Operator, Source, ValueIs
from canary_trio.routing.edge.model import Route
from canary_trio.routing.request.paths import is_ambiguous, is_odd, plain_path
from canary_trio.routing.request.request_view import (
    RequestReader,
    field_finder,
    name_of,
    plain_host,
)
from canary_trio.routing.rules.condition_checks import Check, compile_condition
from http_trio.http1.request_head import RequestHead

HOSTS_KEPT = 4096
"""Hosts as requests spell them whose routes are kept; then all are forgotten."""

_LONGEST_HOST = 300  # bytes of a spelling that is kept

T = TypeVar("T")


@attrs.frozen(eq=False)
class RouteEntry(Generic[T]):
    """A route of the index, with what it is to lead to.

    Attributes:
        check: what must hold beside host and path; None for nothing.
        value: what the table's only field must be, where there is one: see `RouteIndex`.
    """

    route: Route
    leads_to: T
    check: Check | None
    value: bytes


class _Group(Generic[T]):
    """The routes of one host, by path."""

    __slots__ = ("by_depth", "by_path", "deepest")

    def __init__(self) -> None:
        self.by_path: dict[bytes, list[RouteEntry[T]]] = {}
        self.by_depth: list[int] = []
        self.deepest = 0

    def add(self, entry: RouteEntry[T]) -> None:
        stem = plain_path(entry.route.prefix.encode()).rstrip(b"/")
        entries = self.by_path.setdefault(stem, [])
        entries.append(entry)
        entries.sort(key=lambda one: -len(one.route.conditions))  # it is stable
        depth = stem.count(b"/")
        if depth not in self.by_depth:
            self.by_depth = sorted([*self.by_depth, depth], reverse=True)
            self.deepest = self.by_depth[0]
        if not stem:  # so is the target of OPTIONS for the whole server
            self.by_path[b"*"] = entries


Chain = tuple[_Group[T], ...]


class RouteIndex(Generic[T]):
    """The routes of one table.

    Where all conditions ask whether one field equals something, as with a header that opens
    beta versions, that field is looked for and nothing else: 0.4 us less.
    """

    def __init__(self, routes: Iterable[tuple[Route, T]]) -> None:
        """Compile routes, in the order of the document, each with what it leads to."""
        self._exact: dict[bytes, _Group[T]] = {}
        self._below: dict[bytes, _Group[T]] = {}
        self._any: _Group[T] | None = None
        self._kept: dict[bytes, Chain[T]] = {}
        self._count = 0
        self._asks_path = False
        keys = []
        is_simple = True
        for route, leads_to in routes:
            self._count += 1
            self._asks_path = self._asks_path or bool(route.prefix)
            keys += [c.key for c in route.conditions if isinstance(c, ValueIs)]
            value = _value_of(route.conditions)
            if route.conditions and value is None:
                is_simple = False
            entry = RouteEntry(route, leads_to, _check_of(route), value or b"")
            for host in route.hosts or ("",):
                self._group(host.encode()).add(entry)
        self._read = RequestReader(keys).read
        fields = {name_of(key) for key in keys} if is_simple else ()
        self._find_field = field_finder(*fields) if len(fields) == 1 else None

    def __repr__(self) -> str:
        return f"<RouteIndex {self._count} routes>"

    def find(  # the hot path
        self, head: RequestHead, client: str
    ) -> RouteEntry[T] | None:
        """Give the most specific route of a request; None if none matches."""
        host = head.host
        chain = self._kept.get(host) if host is not None else None
        if chain is None:
            chain = self._chain_of(host)
        target = head.target
        path = target.partition(b"?")[0]
        if self._asks_path and is_odd(path):
            if is_ambiguous(path):
                return None
            path = plain_path(path)
        for group in chain:
            by_path = group.by_path
            steps = path.split(b"/", group.deepest + 1)
            count = len(steps)
            for depth in group.by_depth:
                if depth >= count:
                    continue
                stem = b"/".join(steps[: depth + 1])
                entries = by_path.get(stem)
                if entries is not None:
                    if entries[0].check is None:  # it has the most conditions
                        return entries[0]
                    entry = self._first_of(entries, head, client)
                    if entry is not None:
                        return entry
        return None

    def _first_of(
        self, entries: list[RouteEntry[T]], head: RequestHead, client: str
    ) -> RouteEntry[T] | None:
        """Give the first route whose conditions a request meets."""
        if self._find_field is not None:
            value = self._find_field(head.raw)
            for entry in entries:
                if entry.check is None or entry.value == value:
                    return entry
            return None
        view = self._read(head, client)
        for entry in entries:
            if entry.check is None or entry.check(view):
                return entry
        return None

    def is_refused(self, target: bytes) -> bool:
        """Tell whether a target has no route since its path can be read in two ways."""
        return self._asks_path and is_ambiguous(target.partition(b"?")[0])

    def knows_host(self, head: RequestHead) -> bool:
        """Tell whether any route is for the host that a request asks for."""
        return bool(self._chain_of(head.host))

    def _chain_of(self, asked: bytes | None) -> Chain[T]:
        """Give the groups of a host, the most specific first."""
        found = [self._exact.get(host := plain_host(asked))]
        if self._below:
            dot = host.find(b".")
            while dot >= 0:
                found.append(self._below.get(host[dot + 1 :]))
                dot = host.find(b".", dot + 1)
        chain = tuple(group for group in (*found, self._any) if group is not None)
        if asked is not None and len(asked) <= _LONGEST_HOST:
            if len(self._kept) >= HOSTS_KEPT:
                self._kept.clear()
            self._kept[asked] = chain
        return chain

    def _group(self, host: bytes) -> _Group[T]:
        if not host:
            if self._any is None:
                self._any = _Group()
            return self._any
        if host.startswith(b"*."):
            return self._below.setdefault(host[2:], _Group())
        return self._exact.setdefault(host, _Group())


def _value_of(conditions: tuple[Condition, ...]) -> bytes | None:
    """Give what the only condition wants a field to be; None if it is another one."""
    match conditions:
        case (ValueIs(key=Key(source=Source.HEADER), test=Operator.EQUALS) as only,):
            return only.value.encode()
        case _:
            return None


def _check_of(route: Route) -> Check | None:
    """Give what tells whether a request meets all conditions of a route."""
    checks = tuple(compile_condition(one, b"") for one in route.conditions)
    if len(checks) > 1:
        return lambda view: all(check(view) for check in checks)
    return checks[0] if checks else None
