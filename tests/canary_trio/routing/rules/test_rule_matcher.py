"""Rules: the compiled ones against a model that looks at each in turn."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio.config import rules as r
from canary_trio.config.document import load
from canary_trio.config.rules import ClientIn, HostIs, MethodIs, PathPrefix, ValueIs
from canary_trio.routing.buckets import bucket, salt_of
from canary_trio.routing.request.request_spec import CertificateSpec
from canary_trio.routing.request.request_view import RequestReader
from canary_trio.routing.rules.rule_matcher import RuleMatcher
from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.request_head import RequestHead, parse_request_head, shared_head
from http_trio.limits import Limits

SALT = salt_of("web", 0)
ARMS = {"stable": {"servers": ["http://a"]}, "canary": {"servers": ["http://b"]}}


def rules_of(*tables: dict[str, Any]) -> tuple[r.Rule, ...]:
    document = {"arms": ARMS, "rules": [{"arm": "canary", **table} for table in tables]}
    return load(json.dumps(document)).rules


def head_of(
    target: str = "/", *fields: tuple[str, str], method: str = "GET", host: str = "a"
) -> RequestHead:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    raw = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
    return parse_request_head(raw.encode(), Limits())


def with_shared_fields(head: RequestHead) -> Any:
    """Give the same head as others of its fields have it; None if it cannot share any."""
    known = FieldCache(Limits(), shared_head)
    known.offer(head.raw, head)
    return known.offer(head.raw, head)


def first(
    rules: tuple[r.Rule, ...],
    head: RequestHead,
    client: str,
    certificate: CertificateSpec | None = None,
) -> int | None:
    keys = [c.key for rule in rules for c in rule.conditions if isinstance(c, ValueIs)]
    view = RequestReader(keys).read(head, client)
    view.certificate = certificate
    return RuleMatcher(rules, SALT).first(view)


# === the model ===


def model_first(
    rules: tuple[r.Rule, ...], head: RequestHead, client: str
) -> int | None:
    for place, rule in enumerate(rules):
        if all(model_holds(c, head, client) for c in rule.conditions):
            return place
    return None


def model_holds(condition: r.Condition, head: RequestHead, client: str) -> bool:
    match condition:
        case PathPrefix(prefix):
            path = head.target.split(b"?")[0].decode()
            steps = prefix.rstrip("/").split("/")
            return path.split("/")[: len(steps)] == steps and path[0] == "/"
        case HostIs(hosts):
            host = (head.host or b"").decode().lower()
            host = re.sub(r":\d*$", "", host).rstrip(".")
            return any(
                host.endswith(one[1:]) if one[0] == "*" else host == one
                for one in hosts
            )
        case MethodIs(methods):
            return head.method.decode() in methods
        case ClientIn(networks):
            try:
                address = ipaddress.ip_address(client)
            except ValueError:
                return False
            return any(address in network for network in networks)
        case ValueIs():
            return model_value_holds(
                condition, model_value(condition.key, head, client)
            )


def model_value(key: r.Key, head: RequestHead, client: str) -> bytes | None:
    lines = [line.partition(b":") for line in head.raw.split(b"\r\n")[1:]]
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
    name = key.name.encode()
    match key.source:
        case r.Source.HEADER:
            found = [value for given, value in fields if given == name.lower()]
        case r.Source.COOKIE:
            cookies = b";".join(value for given, value in fields if given == b"cookie")
            pairs = [pair.strip(b" \t").partition(b"=") for pair in cookies.split(b";")]
            found = [
                v.strip(b' \t"') for given, mark, v in pairs if given == name and mark
            ]
        case r.Source.QUERY:
            query = head.target.partition(b"?")[2].decode()
            parsed = parse_qsl(query, keep_blank_values=True)
            found = [v.encode() for given, v in parsed if given == key.name]
        case _:
            bits = key.v6 if ":" in client else key.v4
            network = ipaddress.ip_network(f"{client}/{bits}", strict=False)
            number = int(network.network_address) >> (network.max_prefixlen - bits)
            found = [b"%d:%x" % (network.max_prefixlen, number)]
    return found[0] if found else None


def model_value_holds(condition: ValueIs, value: bytes | None) -> bool:
    if condition.test is r.Operator.PRESENT:
        return (value is not None) == condition.present
    if value is None:
        return False
    text = value.decode()
    match condition.test:
        case r.Operator.EQUALS:
            return text == condition.value
        case r.Operator.PREFIX:
            return text.startswith(condition.value)
        case r.Operator.REGEX:
            return re.search(condition.value, text) is not None
        case _:
            return value != b"" and bucket(value, SALT) < condition.share


# === strategies: few words, so that they meet ===

NAME = st.sampled_from(["a", "B", "ab"])
WORD = st.sampled_from(["", "x", "xy", "xyz", "y"])
PATH = st.sampled_from(["/", "/x", "/x/", "/x/y", "/xy", "/x/y/z", "//"])
HOST = st.sampled_from(["a", "b.a", "c.b.a", "x.b.a"])
CLIENT = st.sampled_from(["10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1", "::1"])
PERCENT = st.integers(0, 100)
TEST = st.one_of(
    st.fixed_dictionaries({"equals": WORD}),
    st.fixed_dictionaries({"prefix": WORD}),
    st.fixed_dictionaries({"regex": st.sampled_from(["^x", "y$", "x|y", "^$"])}),
    st.fixed_dictionaries({"present": st.booleans()}),
    st.fixed_dictionaries({"percent": PERCENT}),
)


def merge(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Any]:
    return st.tuples(*parts).map(lambda ds: {k: v for d in ds for k, v in d.items()})


VALUE = st.one_of(
    *(
        merge(st.fixed_dictionaries({s: NAME}), TEST)
        for s in ("header", "cookie", "query")
    ),
    st.fixed_dictionaries({"address": st.just({"v4": 16}), "percent": PERCENT}),
)
OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "path_prefix": PATH,
        "host": st.lists(HOST | HOST.map("*.{}".format), min_size=1, max_size=2),
        "method": st.sampled_from(["GET", "POST"]),
        "network": st.sampled_from(["10.0.0.0/8", "10.0.0.0/16", "::/0", "0.0.0.0/0"]),
    },
)
TABLE = merge(
    VALUE | st.just({}),
    OTHERS,
    st.fixed_dictionaries(
        {}, optional={"all": st.lists(VALUE, min_size=1, max_size=2)}
    ),
).filter(bool)
FIELD = st.tuples(NAME, WORD) | st.tuples(
    st.sampled_from(["Cookie", "cookie"]),
    st.lists(st.tuples(NAME, WORD), max_size=3).map(
        lambda pairs: "; ".join(f"{name}={value}" for name, value in pairs)
    ),
)
QUERY = st.lists(st.tuples(NAME, WORD), max_size=2).map(
    lambda pairs: "?" + "&".join(f"{name}={value}" for name, value in pairs)
)
HEAD = st.builds(
    lambda path, query, fields, method, host: head_of(
        path + query, *fields, method=method, host=host
    ),
    PATH,
    QUERY | st.just(""),
    st.lists(FIELD, max_size=4),
    st.sampled_from(["GET", "POST"]),
    HOST | HOST.map("{}:80".format) | HOST.map(str.upper),
)


@settings(max_examples=200)
@given(st.lists(TABLE, max_size=12), st.lists(st.tuples(HEAD, CLIENT), max_size=6))
def test_the_compiled_rules_are_the_rules(
    tables: list[dict[str, Any]], requests: list[tuple[RequestHead, str]]
) -> None:
    rules = rules_of(*tables)
    rule_filter = RuleMatcher(rules, SALT).filter()

    for head, client in requests:
        expected = model_first(rules, head, client)
        assert first(rules, head, client) == expected
        if rule_filter is not None and (same := with_shared_fields(head)):
            assert first(rules, same, client) == expected
            if rule_filter.rules_out(same, same.shared):
                assert expected is None


# === certificates of clients ===

OF_CERTIFICATE = merge(
    st.fixed_dictionaries(
        {"client_cert": st.sampled_from(["subject", "common_name", "san"])}
    ),
    st.one_of(
        st.fixed_dictionaries({"equals": WORD | WORD.map("CN={}".format)}),
        st.fixed_dictionaries({"prefix": WORD | st.just("CN=")}),
        st.fixed_dictionaries({"regex": st.sampled_from(["^x", "y$", "^CN=x", "^$"])}),
        st.fixed_dictionaries({"present": st.booleans()}),
    ),
)
CERTIFICATE = st.none() | st.builds(
    CertificateSpec,
    WORD | WORD.map("CN={}".format) | WORD.map("O=x,CN={}".format),
    st.lists(WORD, max_size=3).map(tuple),
)
MORE_TABLES = st.one_of(
    OF_CERTIFICATE,
    merge(OF_CERTIFICATE, OTHERS),
    merge(
        VALUE,
        st.fixed_dictionaries(
            {"all": st.lists(OF_CERTIFICATE, min_size=1, max_size=3)}
        ),
    ),
    TABLE,
)


def model_certificate_holds(
    condition: ValueIs, certificate: CertificateSpec | None
) -> bool:
    values: tuple[str, ...] = ()
    if certificate is not None:
        common = certificate.subject.rpartition("CN=")
        values = {
            "subject": (certificate.subject,),
            "san": certificate.alternative_names,
            "common_name": (common[2],) if common[1] else (),
        }[condition.key.name]
    if condition.test is r.Operator.PRESENT:
        return bool(values) == condition.present
    return any(model_value_holds(condition, value.encode()) for value in values)


@settings(max_examples=200)
@given(st.lists(MORE_TABLES, max_size=8), st.lists(CERTIFICATE, max_size=4), HEAD)
def test_a_certificate_meets_a_rule_by_any_of_its_names(
    tables: list[dict[str, Any]],
    certificates: list[CertificateSpec | None],
    head: RequestHead,
) -> None:
    rules = rules_of(*tables)
    for certificate in certificates:
        expected = None
        for place, rule in enumerate(rules):
            if all(
                model_certificate_holds(c, certificate)
                if isinstance(c, ValueIs) and c.key.source is r.Source.CLIENT_CERT
                else model_holds(c, head, "::1")
                for c in rule.conditions
            ):
                expected = place
                break
        assert first(rules, head, "::1", certificate) == expected


def test_many_names_are_read_as_few_are() -> None:
    many = [{"header": f"X-{n}", "equals": "a"} for n in range(20)]
    many += [{"cookie": f"c{n}", "equals": "a"} for n in range(20)]
    rules = rules_of(*many)

    assert first(rules, head_of("/", ("x-13", "a")), "") == 13
    assert first(rules, head_of("/", ("X-13", "b"), ("X-14", "a")), "") == 14
    assert first(rules, head_of("/", ("Cookie", "a=b; c7=a;c3=b")), "") == 27
    assert first(rules, head_of("/", ("Cookie", "a=b"), ("Cookie", "c7=a")), "") == 27
    assert first(rules, head_of("/", ("Y", "a")), "") is None


@pytest.mark.parametrize(
    ("table", "target", "holds"),
    [
        ({"path_prefix": "/api"}, "/api", True),
        ({"path_prefix": "/api"}, "/api/x?y", True),
        ({"path_prefix": "/api"}, "/apis", False),
        ({"path_prefix": "/api/"}, "/api", True),
        ({"path_prefix": "/"}, "/x", True),
        ({"path_prefix": "/api"}, "/API", False),
        ({"query": "a b", "equals": "c d"}, "/?a%20b=c+d", True),
        ({"query": "a", "present": True}, "/?b&a", True),
        ({"query": "a", "equals": "1"}, "/?a=2&a=1", False),
    ],
    ids=str,
)
def test_paths_and_parameters(table: dict[str, Any], target: str, holds: bool) -> None:
    assert (first(rules_of(table), head_of(target), "") == 0) is holds


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("^abc$", "abc", True),
        ("(?i)ABC", "abc", True),
        ("^ü.$", "üx", True),
    ],
)
def test_a_pattern_is_searched_for(pattern: str, value: str, holds: bool) -> None:
    rules = rules_of({"header": "X", "regex": pattern})

    assert (first(rules, head_of("/", ("X", value)), "") == 0) is holds


def test_a_pattern_meets_bytes_that_are_no_text() -> None:
    head = parse_request_head(
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\xff\xfeb\r\n\r\n", Limits()
    )

    assert first(rules_of({"header": "X", "regex": "^a"}), head, "") == 0
    assert first(rules_of({"header": "X", "regex": "b$"}), head, "") == 0
    assert first(rules_of({"header": "X", "regex": "^a..b$"}), head, "") is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)*x{0,50}z"])
def test_no_pattern_stalls_the_proxy(pattern: str) -> None:
    """`re` would take longer than the universe for most of these."""
    rules = rules_of({"header": "X", "regex": pattern})
    head = head_of("/", ("X", "a" * 7000 + "!"))

    for _ in range(100):
        assert first(rules, head, "") is None


def test_an_ipv4_client_in_ipv6_clothes_is_one_of_ipv4() -> None:
    rules = rules_of({"network": "10.0.0.0/8"})

    assert first(rules, head_of(), "::ffff:10.2.3.4") == 0
    assert first(rules, head_of(), "fe80::1%eth0") is None
    assert first(rules, head_of(), "unix") is None


def test_the_number_of_rules_that_a_request_does_not_meet_does_not_count() -> None:
    """Not by time, which varies: by what is looked at at all."""
    few = rules_of({"header": "X", "regex": "a"}, {"header": "Y", "equals": "b"})
    many = rules_of(
        *({"header": "Y", "equals": f"u{n}"} for n in range(500)),
        *({"path_prefix": f"/p/{n}"} for n in range(500)),
    )

    assert repr(RuleMatcher(few, SALT)) == "<RuleMatcher 2, 0 always looked at>"
    assert repr(RuleMatcher(many, SALT)) == "<RuleMatcher 1000, 0 always looked at>"


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::FFFF:a00:0/104"]
)
@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"])
def test_ipv4_is_ipv4_however_it_is_written(network: str, client: str) -> None:
    rules = rules_of({"network": network})
    assert first(rules, head_of(), client) == 0
    assert first(rules, head_of(), "11.1.2.3") is None
    assert first(rules, head_of(), "fe80::1%eth0") is None
    assert first(rules_of({"network": "fe80::/10"}), head_of(), "fe80::1%eth0") == 0
