"""Rules compiled: the first one that holds, without looking at each. Pure.

Each rule is filed under one of its conditions, the most telling one, and looked at only
if a request meets that: under a value (of a header, cookie, parameter), a value's
beginning, a path, a host, a network, a method, or the mere presence of a value. Its other
conditions are its checks. Only a rule without any of these is looked at each time. So
what a request costs grows with what it brings along, not with the number of rules; but
each pattern that asks for a value which is there is tried.

First match wins: of all that are looked at, the one with the least place in the
document is taken. Entries of a drawer are in order, so each is left as early as
possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from canary_trio.config.rules import (
    VALUE_SIZE,
    ClientIn,
    Condition,
    HostIs,
    Key,
    MethodIs,
    Network,
    PathPrefix,
    Rule,
    Source,
    Test,
    ValueIs,
    compile_pattern,
)
from canary_trio.routing.buckets import bucket
from canary_trio.routing.request_view import (
    SLOTS,
    Seen,
    address_of,
    key_getter,
    name_of,
)

Check = Callable[[Seen], object]
Entries = list[tuple[int, tuple[Check, ...]]]
"""Rules of one drawer, in order: (place, the checks that are left)."""


class Rules:
    """The rules of one revision.

    Args:
        rules: in the order of the document.
        salt: of the users' buckets, for `percent`.
    """

    def __init__(self, rules: Sequence[Rule], salt: bytes) -> None:
        self._count = len(rules)
        self._salt = salt
        self._values: dict[int, dict[bytes, _Values]] = {}
        self._paths = _Paths()
        self._hosts: dict[bytes, Entries] = {}
        self._below: dict[bytes, Entries] = {}
        self._by_address: dict[Key, _Percents] = {}
        self._networks: dict[tuple[int, int], dict[int, Entries]] = {}
        self._methods: dict[bytes, Entries] = {}
        self._always: Entries = []
        for place, rule in enumerate(rules):
            self._file(place, rule)

    def __repr__(self) -> str:
        return f"<Rules {self._count}, {len(self._always)} always looked at>"

    def first(self, seen: Seen) -> int | None:
        """Give the place of the first rule that holds; None if none does."""
        best = self._count
        for slot, names in self._values.items():
            for name, value in seen.found[slot].items():
                drawer = names.get(name)
                if drawer is not None:
                    best = drawer.first(value, best, seen)
        if self._paths.by_depth:
            best = self._paths.first(best, seen)
        if self._hosts or self._below:
            best = self._first_of_host(best, seen)
        if self._networks:
            best = self._first_of_network(best, seen)
        if self._methods:
            best = _first(self._methods.get(seen.head.method, ()), best, seen)
        for percents in self._by_address.values():
            best = percents.first(best, seen)
        if self._always:
            best = _first(self._always, best, seen)
        return best if best < self._count else None

    def _first_of_host(self, best: int, seen: Seen) -> int:
        host = seen.host()
        best = _first(self._hosts.get(host, ()), best, seen)
        if self._below:
            at = host.find(b".")
            while at >= 0:
                best = _first(self._below.get(host[at + 1 :], ()), best, seen)
                at = host.find(b".", at + 1)
        return best

    def _first_of_network(self, best: int, seen: Seen) -> int:
        address = address_of(seen.client)
        if address is None:
            return best
        size, number = address
        for (bits, shift), networks in self._networks.items():
            if bits == size:
                best = _first(networks.get(number >> shift, ()), best, seen)
        return best

    # === filing ===

    def _file(self, place: int, rule: Rule) -> None:
        at = min(
            range(len(rule.conditions)), key=lambda n: _telling(rule.conditions[n])
        )
        rest = rule.conditions[:at] + rule.conditions[at + 1 :]
        anchor = rule.conditions[at]
        checks = tuple(self._check(condition) for condition in rest)
        if isinstance(anchor, ValueIs) and anchor.test is Test.PERCENT:
            self._percents(anchor.key).append(place, anchor.share, checks)
            return
        drawers = self._drawers(anchor)
        for drawer in drawers:
            drawer.append((place, checks))
        if not drawers:
            check = self._check(anchor)
            self._last(anchor).append((place, (check, *checks)))

    def _drawers(self, anchor: Condition) -> list[Entries]:
        """Give where a rule lies that is settled by lying there."""
        match anchor:
            case ValueIs():
                return self._of_value(anchor)
            case PathPrefix(prefix):
                return [self._paths.drawer(prefix.encode())]
            case HostIs(hosts):
                return [self._host(host.encode()) for host in dict.fromkeys(hosts)]
            case ClientIn(networks):
                return [self._network(one) for one in dict.fromkeys(networks)]
            case MethodIs(methods):
                names = dict.fromkeys(name.encode() for name in methods)
                return [self._methods.setdefault(name, []) for name in names]
            case _:
                assert_never(anchor)

    def _of_value(self, anchor: ValueIs) -> list[Entries]:
        value = anchor.value.encode()
        match anchor.test:
            case Test.EQUALS:
                return [self._of(anchor.key).equal.setdefault(value, [])]
            case Test.PREFIX:
                return [self._of(anchor.key).with_prefix(value)]
            case Test.PRESENT if anchor.present:
                return [self._of(anchor.key).present]
            case _:
                return []

    def _last(self, anchor: Condition) -> Entries:
        """Give where a rule lies whose anchor must still be checked."""
        assert isinstance(anchor, ValueIs), "the others are settled"
        if anchor.test is Test.PRESENT:
            return self._always
        return self._of(anchor.key).present

    def _percents(self, key: Key) -> _Percents:
        if key.source is Source.ADDRESS:
            found = self._by_address.setdefault(key, _Percents(key, self._salt))
        else:
            drawer = self._of(key)
            found = drawer.percents = drawer.percents or _Percents(key, self._salt)
        return found

    def _of(self, key: Key) -> _Values:
        names = self._values.setdefault(SLOTS[key.source], {})
        return names.setdefault(name_of(key), _Values())

    def _host(self, host: bytes) -> Entries:
        if host.startswith(b"*."):
            return self._below.setdefault(host[2:], [])
        return self._hosts.setdefault(host, [])

    def _network(self, network: Network) -> Entries:
        bits = network.max_prefixlen
        shift = bits - network.prefixlen
        table = self._networks.setdefault((bits, shift), {})
        return table.setdefault(int(network.network_address) >> shift, [])

    def _check(self, condition: Condition) -> Check:
        match condition:
            case ValueIs():
                return _check_value(condition, self._salt)
            case PathPrefix(prefix):
                stem = prefix.encode().rstrip(b"/")
                return lambda seen: is_below(seen.path, stem)
            case HostIs(hosts):
                names = frozenset(host.encode() for host in hosts)
                return lambda seen: is_host(seen.host(), names)
            case MethodIs(methods):
                allowed = frozenset(method.encode() for method in methods)
                return lambda seen: seen.head.method in allowed
            case ClientIn(networks):
                return lambda seen: is_in(seen.client, networks)
            case _:
                assert_never(condition)


_TELLING: dict[object, int] = {
    Test.EQUALS: 0,
    Test.PREFIX: 1,
    PathPrefix: 2,
    HostIs: 3,
    ClientIn: 4,
    Test.REGEX: 5,
    Test.PERCENT: 5,
    Test.PRESENT: 6,
    MethodIs: 7,
}


def _telling(condition: Condition) -> int:
    """Order conditions by how few requests meet them."""
    if not isinstance(condition, ValueIs):
        return _TELLING[type(condition)]
    if condition.key.source is Source.ADDRESS or not condition.present:
        return 9
    return _TELLING[condition.test]


class _Values:
    """The rules that ask for one header, cookie or parameter."""

    __slots__ = ("equal", "percents", "prefixes", "present")

    def __init__(self) -> None:
        self.percents: _Percents | None = None
        self.equal: dict[bytes, Entries] = {}
        self.prefixes: dict[int, dict[bytes, Entries]] = {}
        self.present: Entries = []

    def with_prefix(self, prefix: bytes) -> Entries:
        return self.prefixes.setdefault(len(prefix), {}).setdefault(prefix, [])

    def first(self, value: bytes, best: int, seen: Seen) -> int:
        best = _first(self.equal.get(value, ()), best, seen)
        for length, prefixes in self.prefixes.items():
            best = _first(prefixes.get(value[:length], ()), best, seen)
        if self.percents is not None:
            best = self.percents.first(best, seen)
        return _first(self.present, best, seen) if self.present else best


class _Percents:
    """The rules that ask for the bucket of one key, which is computed once."""

    __slots__ = ("_entries", "_get_key", "_salt")

    def __init__(self, key: Key, salt: bytes) -> None:
        self._entries: list[tuple[int, int, tuple[Check, ...]]] = []
        self._get_key = key_getter(key)
        self._salt = salt

    def append(self, place: int, share: int, checks: tuple[Check, ...]) -> None:
        self._entries.append((place, share, checks))

    def first(self, best: int, seen: Seen) -> int:
        key = self._get_key(seen)
        if key is None or self._entries[0][0] >= best:
            return best
        own = bucket(key, self._salt)
        for place, share, checks in self._entries:
            if place >= best:
                return best
            if own < share and all(check(seen) for check in checks):
                return place
        return best


class _Paths:
    """The rules that ask for a path, by how many steps it has."""

    __slots__ = ("by_depth",)

    def __init__(self) -> None:
        self.by_depth: dict[int, dict[bytes, Entries]] = {}

    def drawer(self, prefix: bytes) -> Entries:
        stem = prefix.rstrip(b"/")
        return self.by_depth.setdefault(stem.count(b"/"), {}).setdefault(stem, [])

    def first(self, best: int, seen: Seen) -> int:
        path = seen.path
        if path[:1] != b"/":  # OPTIONS *
            return best
        deepest = max(self.by_depth)
        steps = path.split(b"/", deepest + 1)
        for depth, stems in self.by_depth.items():
            if depth < len(steps):
                stem = b"/".join(steps[: depth + 1])
                best = _first(stems.get(stem, ()), best, seen)
        return best


def _first(
    entries: Sequence[tuple[int, tuple[Check, ...]]], best: int, seen: Seen
) -> int:
    """Give the first place below `best` whose checks hold, or else `best`."""
    for place, checks in entries:
        if place >= best:
            return best
        for check in checks:
            if not check(seen):
                break
        else:
            return place
    return best


# === what one condition asks ===


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
    at = host.find(b".")
    while at >= 0:
        if b"*" + host[at:] in names:
            return True
        at = host.find(b".", at + 1)
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
    if condition.test is Test.PERCENT:
        share, get_key = condition.share, key_getter(key)
        return lambda seen: (
            (found := get_key(seen)) is not None and bucket(found, salt) < share
        )
    name, slot = name_of(key), SLOTS[key.source]
    match condition.test:
        case Test.EQUALS:
            return lambda seen: seen.found[slot].get(name) == value
        case Test.PREFIX:
            return lambda seen: (
                (found := seen.found[slot].get(name)) is not None
                and found.startswith(value)
            )
        case Test.PRESENT:
            present = condition.present
            return lambda seen: (name in seen.found[slot]) is present
        case Test.REGEX:
            search = compile_pattern(condition.value)
            return lambda seen: (
                (found := seen.found[slot].get(name)) is not None
                and len(found) <= VALUE_SIZE
                and search(found)
            )
        case _:
            assert_never(condition.test)
