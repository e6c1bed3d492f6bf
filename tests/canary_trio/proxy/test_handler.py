"""What no client may say, however it spells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.fields.request_ids import RandomHex, RequestIds
from canary_trio.proxy.handler import (
    strip_claims,
    without_claims,
    without_forgeries,
)

VALUES = st.text("abc: ,;", max_size=5).map(str.strip)
CLAIMS = st.sampled_from(
    ["client-cert", "client-cert-chain", "x-forwarded-client-cert"]
)
SPELLED = st.builds(
    lambda name, letters: "".join(
        letter(char) for letter, char in zip(letters, name, strict=False)
    ),
    CLAIMS,
    st.lists(
        st.sampled_from([str.upper, str.lower, lambda c: c.replace("-", "_")]),
        min_size=30,
        max_size=30,
    ),
)
HARMLESS = st.sampled_from(["Cookie", "X-Client-Cert", "Client-Certs", "Client", "a"])


@given(st.lists(st.tuples(SPELLED | HARMLESS, VALUES | CLAIMS), max_size=6))
def test_no_client_tells_of_a_certificate(fields: list[tuple[str, str]]) -> None:
    raw = b"".join(f"\r\n{name}: {value}".encode() for name, value in fields)
    left = without_claims(raw)
    harmless = ["cookie", "x-client-cert", "client-certs", "client", "a"]
    kept = [line.decode().split(": ", 1) for line in left.split(b"\r\n")[1:]]
    assert [tuple(f) for f in kept] == [f for f in fields if f[0].lower() in harmless]


KIN = [
    "X-Real-IP",
    "true-client-ip",
    "CF-Connecting-IP",
    "Client-IP",
    "Front-End-Https",
]
KIN += ["X-Client-IP", "X-Cluster-Client-IP", "X-Forwarded-Port", "X-Forwarded-Server"]
KIN += [
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "Fastly-Client-IP",
    "WL-Proxy-Client-IP",
]
KIN += [
    "X-Forwarded",
    "Forwarded-For",
    "Proxy-Client-IP",
    "Fly-Client-IP",
    "Cdn-Src-Ip",
]
KIN += ["Ali-CDN-Real-IP", "X-Original-Forwarded-For", "CloudFront-Viewer-Address"]


@pytest.mark.parametrize("name", KIN)
def test_no_client_says_who_it_is_and_a_balancer_does(name: str) -> None:
    line, folded = (
        f"\r\n{name}: 1".encode(),
        f"\r\n{name.replace('-', '_')}: 1".encode(),
    )
    other = b"\r\nX-Real-IP-2: 1\r\nX-A: X-Real-IP: 1"
    assert without_claims(other + line + folded) == other
    assert without_forgeries(other + line) == other + line
    if folded != line:
        assert without_forgeries(other + folded) == other


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_Proto"])
def test_nobody_writes_what_the_engine_says_with_underscores(name: str) -> None:
    assert without_claims(f"\r\n{name}: 1".encode()) == b""
    assert without_forgeries(f"\r\n{name}: 1".encode()) == b""


@given(st.sampled_from("xX"), st.text("abXY-_0", max_size=8), VALUES)
def test_no_name_that_begins_with_x_is_passed_by(x: str, rest: str, value: str) -> None:
    """Else an id that the client has given would not be found."""
    assert strip_claims(f"\r\nA: b\r\n{x}-{rest}: {value}".encode()) is not None


@given(st.sampled_from([b"Cookie", b"cookie"]), st.binary(max_size=30))
def test_no_cookie_is_a_claim(name: bytes, value: bytes) -> None:
    """So heads that differ in cookies alone are looked at once (`pass_on`)."""
    value = value.translate(None, b"\r\n\0")
    for quiet in (b"", b"\r\nAccept: a"):
        assert strip_claims(b"%b\r\n%b: %b" % (quiet, name, value)) is None


@pytest.mark.parametrize("name", ["X-Request-Id", "x-id", "Request-Id", "X_Id", "Xid"])
def test_only_names_that_begin_with_x_are_known_to_be_missing(name: str) -> None:
    ids = RequestIds(name, RandomHex(bytes))
    if strip_claims(f"\r\n{name}: 1".encode()) is None:
        assert not ids.begins_with_x
