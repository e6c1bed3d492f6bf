"""What a route makes of a target, and by which one it is said whether it may pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.routing.edge.rewriting import judged_target, rewritten_target

PREFIX = b"/api"
SPELLINGS = [b"/api", b"/./api", b"/api;a", b"/%61pi", b"//api", b"\\api", b"/.//api/."]
STEPS = [b"/", b"/admin", b"//", b"/%61dmin", b"/.", b"/x;y", b"/\\x"]


@given(
    st.sampled_from(SPELLINGS),
    st.lists(st.sampled_from(STEPS), max_size=4).map(b"".join),
    st.sampled_from([b"", b"?", b"?a=/api"]),
    st.sampled_from([b"", b"/v2"]),
)
def test_what_is_judged_is_spelled_as_the_service_gets_it(
    spelled: bytes, rest: bytes, query: bytes, rewrite: bytes
) -> None:
    target = spelled + rest + query
    judged = judged_target(target, PREFIX, rewrite)
    got = rewritten_target(target, PREFIX, rewrite)

    assert judged.startswith(PREFIX)
    found = rewrite + judged.removeprefix(PREFIX)
    assert got == (found if found[:1] == b"/" else b"/" + found)
