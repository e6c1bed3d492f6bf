"""A path that leaves its root leaves a server's prefix; no other does."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.fields.path_prefix import leaves_root


@pytest.mark.parametrize(
    "target",
    [
        b"/..",
        b"/../",
        b"/../admin",
        b"/a/../../b",
        b"/%2e%2e/admin",
        b"/%2E./x",
        b"/.%2e/x",
        b"/a/..%2f..%2fb",
        b"/..%5cadmin",
        b"/..\\admin",
        b"//../admin",
        b"/./../admin",
        b"/%252e%252e/admin",
        b"/..;a=b/admin",
        b"/..%00/admin",
        b"/..?x",
    ],
)
def test_a_path_that_leaves(target: bytes) -> None:
    assert leaves_root(target)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"*",
        b"/a/..",
        b"/a/../b",
        b"/...",
        b"/..a",
        b"/a?/../..",
        b"/a%2e%2e",
        b"/%",
    ],
)
def test_a_path_that_stays(target: bytes) -> None:
    assert not leaves_root(target)


@given(st.lists(st.sampled_from(["..", ".", "a", "", "b c"]), max_size=8), st.data())
def test_a_path_leaves_however_it_is_encoded(
    parts: list[str], data: st.DataObject
) -> None:
    depth, leaves = 0, False
    for part in parts:
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        leaves |= depth < 0
    text = "/" + "/".join(parts)
    encoded = "".join(
        f"%{ord(c):02X}" if data.draw(st.booleans()) else quote(c) for c in text[1:]
    )

    assert leaves_root(f"/{encoded}?..".encode()) == leaves
