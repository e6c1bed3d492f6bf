"""What no client may say, however it spells it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.handler import without_claims

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
