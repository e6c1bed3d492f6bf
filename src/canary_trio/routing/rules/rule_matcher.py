"""Rules compiled: the first one that holds, without looking at each. Pure.

Each rule is filed under one of its conditions, the most selective one, and looked at only
if a request meets that: under a value (of a header, cookie, parameter), a value's
beginning, a path, a host, a network, a method, or the mere presence of a value. Its other
conditions are its checks. Only a rule without any of these is looked at each time. So
what a request costs grows with what it brings along, not with the number of rules; but
each pattern that asks for a value which is there is tried.

First match wins: of all that are looked at, the one with the least place in the
document is taken. The indexes are in `rule_index`, the checks in `condition_checks`.
One file, since what files a rule and what finds it know the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from canary_trio.config.rules import (
    ClientIn,
    Condition,
    HostIs,
    Key,
    MethodIs,
    Network,
    Operator,
    PathPrefix,
    Rule,
    Source,
    ValueIs,
)
from canary_trio.routing.request.request_view import (
    SLOTS,
    RequestView,
    address_of,
    field_finder,
    name_of,
    plain_host,
)
from canary_trio.routing.rules.condition_checks import compile_condition
from canary_trio.routing.rules.rule_filter import MOST_WORDS, RuleFilter
from canary_trio.routing.rules.rule_index import (
    Entries,
    PathIndex,
    PercentIndex,
    ValueIndex,
    first_of,
)
from http_trio.http1.heads.shared_fields import SharedFields


class RuleMatcher:
    """The rules of one revision.

    Args:
        rules: in the order of the document.
        salt: of the users' buckets, for `percent`.
    """

    def __init__(self, rules: Sequence[Rule], salt: bytes) -> None:
        self._count = len(rules)
        self._salt = salt
        self._values: dict[int, dict[bytes, ValueIndex]] = {}
        self._certificates: dict[str, ValueIndex] = {}
        self._paths = PathIndex()
        self._hosts: dict[bytes, Entries] = {}
        self._below: dict[bytes, Entries] = {}
        self._by_address: dict[Key, PercentIndex] = {}
        self._networks: dict[tuple[int, int], dict[int, Entries]] = {}
        self._methods: dict[bytes, Entries] = {}
        self._always: Entries = []
        for place, rule in enumerate(rules):
            self._file(place, rule)
        self._asks_path = bool(self._paths)
        self._asks_host = bool(self._hosts or self._below)

    def __repr__(self) -> str:
        return f"<RuleMatcher {self._count}, {len(self._always)} always looked at>"

    def first(self, view: RequestView) -> int | None:
        """Give the place of the first rule that holds; None if none does."""
        best = self._count
        for slot, names in self._values.items():
            for name, value in view.found[slot].items():
                index = names.get(name)
                if index is not None:
                    best = index.first(value, best, view)
        if self._asks_path:
            best = self._paths.first(best, view)
        if self._asks_host:
            best = self._first_of_host(best, view)
        if self._networks:
            best = self._first_of_network(best, view)
        if self._methods:
            best = first_of(self._methods.get(view.head.method, ()), best, view)
        for percents in self._by_address.values():
            best = percents.first(best, view)
        if self._always or self._certificates:
            best = self._first_of_others(best, view)
        return best if best < self._count else None

    def filter(self) -> RuleFilter | None:
        """Give what rules most requests out; None where a rule asks for more of each."""
        fields, cookies, parameters = (
            self._values.get(SLOTS[source], {})
            for source in (Source.HEADER, Source.COOKIE, Source.QUERY)
        )
        stems = self._paths.stems()
        if (
            self._always
            or self._certificates
            or self._networks
            or self._by_address
            or b"cookie" in fields
            or max(map(len, (fields, cookies, parameters, stems))) > MOST_WORDS
        ):
            return None
        finders = [(field_finder(name), index) for name, index in fields.items()]

        def leads(shared: SharedFields) -> bool:
            if self._asks_host and self._has_host(plain_host(shared.host)):
                return True
            found = shared.lead + shared.rest
            values = ((find(found), index) for find, index in finders)
            return any(
                value is not None and index.leads(value) for value, index in values
            )

        return RuleFilter(leads, self._methods, cookies, parameters, stems)

    def _has_host(self, host: bytes) -> bool:
        """Tell whether a host leads to a rule, whatever else that asks for."""
        return host in self._hosts or any(
            host.endswith(b"." + one) for one in self._below
        )

    def _first_of_others(self, best: int, view: RequestView) -> int:
        best = first_of(self._always, best, view)
        for part, index in self._certificates.items():
            for value in view.certificate_values(part):
                best = index.first(value, best, view)
        return best

    def _first_of_host(self, best: int, view: RequestView) -> int:
        host = view.host()
        entries = self._hosts.get(host)
        if entries is not None:
            best = first_of(entries, best, view)
        if self._below:
            dot = host.find(b".")
            while dot >= 0:
                best = first_of(self._below.get(host[dot + 1 :], ()), best, view)
                dot = host.find(b".", dot + 1)
        return best

    def _first_of_network(self, best: int, view: RequestView) -> int:
        address = address_of(view.client)
        if address is None:
            return best
        size, number = address
        for (bits, shift), networks in self._networks.items():
            if bits == size:
                best = first_of(networks.get(number >> shift, ()), best, view)
        return best

    # === filing ===

    def _file(self, place: int, rule: Rule) -> None:
        number = min(
            range(len(rule.conditions)), key=lambda n: _selectivity(rule.conditions[n])
        )
        rest = rule.conditions[:number] + rule.conditions[number + 1 :]
        anchor = rule.conditions[number]
        checks = tuple(compile_condition(other, self._salt) for other in rest)
        if isinstance(anchor, ValueIs) and anchor.test is Operator.PERCENT:
            self._percents(anchor.key).append(place, anchor.share, checks)
            return
        entry_lists = self._settled(anchor)
        for entries in entry_lists:
            entries.append((place, checks))
        if not entry_lists:
            check = compile_condition(anchor, self._salt)
            self._unsettled(anchor).append((place, (check, *checks)))

    def _settled(self, anchor: Condition) -> list[Entries]:
        """Give the entries of a condition that holds for whoever finds them there."""
        match anchor:
            case ValueIs():
                return self._of_value(anchor)
            case PathPrefix(prefix):
                return [self._paths.entries_of(prefix.encode())]
            case HostIs(hosts):
                return [self._host(host.encode()) for host in dict.fromkeys(hosts)]
            case ClientIn(networks):
                return [self._network(network) for network in dict.fromkeys(networks)]
            case MethodIs(methods):
                names = dict.fromkeys(name.encode() for name in methods)
                return [self._methods.setdefault(name, []) for name in names]
            case _:
                assert_never(anchor)

    def _of_value(self, anchor: ValueIs) -> list[Entries]:
        value = anchor.value.encode()
        match anchor.test:
            case Operator.EQUALS:
                return [self._of(anchor.key).equal.setdefault(value, [])]
            case Operator.PREFIX:
                return [self._of(anchor.key).with_prefix(value)]
            case Operator.PRESENT if anchor.present:
                return [self._of(anchor.key).present]
            case _:
                return []

    def _unsettled(self, anchor: Condition) -> Entries:
        """Give the entries of a condition that must still be checked."""
        assert isinstance(anchor, ValueIs), "the others are settled"
        if anchor.test is Operator.PRESENT:
            return self._always
        return self._of(anchor.key).present

    def _percents(self, key: Key) -> PercentIndex:
        if key.source is Source.ADDRESS:
            found = self._by_address.setdefault(key, PercentIndex(key, self._salt))
        else:
            index = self._of(key)
            found = index.percents = index.percents or PercentIndex(key, self._salt)
        return found

    def _of(self, key: Key) -> ValueIndex:
        if key.source is Source.CLIENT_CERT:
            return self._certificates.setdefault(key.name, ValueIndex())
        names = self._values.setdefault(SLOTS[key.source], {})
        return names.setdefault(name_of(key), ValueIndex())

    def _host(self, host: bytes) -> Entries:
        if host.startswith(b"*."):
            return self._below.setdefault(host[2:], [])
        return self._hosts.setdefault(host, [])

    def _network(self, network: Network) -> Entries:
        bits = network.max_prefixlen
        shift = bits - network.prefixlen
        table = self._networks.setdefault((bits, shift), {})
        return table.setdefault(int(network.network_address) >> shift, [])


_SELECTIVITY: dict[object, int] = {
    Operator.EQUALS: 0,
    Operator.PREFIX: 1,
    PathPrefix: 2,
    HostIs: 3,
    ClientIn: 4,
    Operator.REGEX: 5,
    Operator.PERCENT: 5,
    Operator.PRESENT: 6,
    MethodIs: 7,
}


def _selectivity(condition: Condition) -> int:
    """Order conditions by how few requests meet them."""
    if not isinstance(condition, ValueIs):
        return _SELECTIVITY[type(condition)]
    if condition.key.source is Source.ADDRESS or not condition.present:
        return 9
    return _SELECTIVITY[condition.test]
