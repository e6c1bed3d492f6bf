"""Who may pass to a service."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.access import Access
from canary_trio.config.document import dump, load
from canary_trio.routing.access.explain import with_refusal
from canary_trio.routing.access.gate import Gate, NetworkSet, RefusalKind, gate_of
from canary_trio.routing.explain import Explanation
from canary_trio.routing.request.request_spec import RequestSpec
from http_trio.hosts.addresses import parse_network
from tests.canary_trio.support.documents import ARMS, problems

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
NEAR = st.integers(0, 7).map(lambda n: ipaddress.ip_address(0x0A000000 + n * 64))
NETWORKS = st.lists(
    st.builds(
        lambda address, bits: ipaddress.ip_network(
            (address, min(bits, address.max_prefixlen)), strict=False
        ),
        V4 | V6 | NEAR,
        st.integers(0, 128),
    ),
    max_size=6,
)


def networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(parse_network(text) for text in texts)


@given(V4 | V6 | NEAR, NETWORKS)
def test_a_set_holds_what_one_of_its_networks_does(address, given_networks) -> None:
    if getattr(address, "ipv4_mapped", None) is None:
        expected = any(address in network for network in given_networks)
        assert (str(address) in NetworkSet(given_networks)) == expected


@pytest.mark.parametrize(
    ("allow", "deny", "client", "passes"),
    [
        ((), (), "192.0.2.1", True),
        (("10.0.0.0/8",), (), "10.1.1.1", True),
        (("10.0.0.0/8",), (), "::ffff:10.1.1.1", True),
        (("10.0.0.0/8",), (), "11.1.1.1", False),
        (("10.0.0.0/8",), (), "unix", False),
        (("10.0.0.0/8",), (), "", False),
        (("10.0.0.0/8",), ("10.1.0.0/16",), "10.1.1.1", False),
        (("10.0.0.0/8",), ("10.1.0.0/16",), "10.2.1.1", True),
        (("10.1.0.0/16",), ("10.0.0.0/8",), "10.1.1.1", False),
        ((), ("10.0.0.0/8",), "unix", True),
        ((), ("2001:db8::/32",), "2001:db8::1", False),
        ((), ("0.0.0.0/0",), "2001:db8::1", True),
    ],
)
def test_who_may_pass(allow, deny, client, passes) -> None:
    gate = Gate(Access(networks(*allow), networks(*deny)))
    found = gate.turn_down(client, 0)
    assert (found is None) == passes
    if found is not None:
        assert (found.kind, found.status) == (RefusalKind.DENIED, 403)


@pytest.mark.parametrize(
    ("limit", "framing", "passes"),
    [(10, 10, True), (10, 11, False), (0, 0, True), (0, 1, False), (10, -1, True)],
)
def test_a_declared_body_is_bounded(limit: int, framing: int, passes: bool) -> None:
    found = Gate(Access(body=limit)).turn_down("10.0.0.1", framing)
    assert (found is None) == passes
    if found is not None:
        assert found.status == 413
        assert str(limit) in found.words


def test_a_service_that_says_nothing_has_no_gate() -> None:
    assert gate_of(load(json.dumps({"arms": ARMS})).access) is None


def test_it_is_written_as_it_was_read() -> None:
    access = {"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"], "body": 1000}
    config = load(json.dumps({"arms": ARMS, "access": access}))
    assert json.loads(dump(config))["access"] == access


@pytest.mark.parametrize(
    ("access", "path", "words"),
    [
        ({"allow": ["10.0.0.1/8"]}, "$.access.allow[0]", "10.0.0.0/8 has none"),
        ({"deny": ["home"]}, "$.access.deny[0]", "a network such as 10.0.0.0/8"),
        ({"deny": "10.0.0.0/8"}, "$.access.deny", "a list of at most 10000 networks"),
        ({"body": "1k"}, "$.access.body", "a whole number from 0 to"),
        ({"body": -1}, "$.access.body", "a whole number from 0 to"),
        ({"allowed": []}, "$.access.allowed", "did you mean allow?"),
    ],
)
def test_what_is_wrong_is_said(access, path: str, words: str) -> None:
    assert words in problems({"arms": ARMS, "access": access})[path][1]


@pytest.mark.parametrize(
    ("client", "fields", "refused"),
    [
        ("10.0.0.1", (), None),
        ("11.0.0.1", (), "denied"),
        ("10.0.0.1", (("Content-Length", "11"),), "too_large"),
    ],
)
def test_it_is_explained(client: str, fields, refused: str | None) -> None:
    access = {"allow": ["10.0.0.0/8"], "body": 10}
    config = load(json.dumps({"arms": ARMS, "access": access}))
    spec = RequestSpec("POST", "/", fields, client)
    found = with_refusal(Explanation(1, "stable", "ratio"), spec, config)
    assert found.refused == refused


def test_what_a_client_must_show_is_explained() -> None:
    access = {
        "deny": ["192.0.2.0/24"],
        "basic_auth": {"file": "staff"},
        "forward_auth": {"url": "http://auth", "path": "/verify"},
    }
    config = load(json.dumps({"arms": ARMS, "access": access}))
    found = Explanation(1, "stable", "ratio")
    passes = with_refusal(found, RequestSpec("GET", "/", (), "10.0.0.1"), config)
    refused = with_refusal(found, RequestSpec("GET", "/", (), "192.0.2.1"), config)

    assert [one["by"] for one in passes.auth] == [
        "the file staff",
        "http://auth/verify",
    ]
    assert (refused.refused, refused.auth) == ("denied", ())
