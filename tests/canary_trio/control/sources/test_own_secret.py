"""A machine's own secret: one for all of its processes, whoever comes first."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from canary_trio.control.fleet_secret import BadSecret
from canary_trio.control.sources.own_secret import own_secret


def test_it_is_drawn_once_and_read_by_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "web.secret"
    first = own_secret(path)

    assert own_secret(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["web.secret"]


def test_all_that_begin_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(own_secret, [tmp_path / "web.secret"] * 16))

    assert len({secret.dump() for secret in found}) == 1


def test_what_is_none_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.secret"
    path.write_bytes(b"c2hvcnQ=")
    with pytest.raises(BadSecret, match="expected at least"):
        own_secret(path)
    assert path.read_bytes() == b"c2hvcnQ="
