"""What a proxy tells of its counts: read as it was written, small, and nothing else."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.rollout.evidence import GROUPS, GroupCounts
from canary_trio.rollout.fleet.published import (
    HASH_BYTES,
    MOST_ARMS,
    MOST_BYTES,
    MOST_COUNT,
    ArmSums,
    ProxyEvidence,
)
from canary_trio.rollout.fleet.timed_users import NUMBERS, TOLD, TOLD_TICKS
from canary_trio.rollout.latency import BOUNDS_S

COUNTS = st.integers(0, 10**9)


@st.composite
def arm_sums(draw: st.DrawFn) -> ArmSums:
    requests = draw(COUNTS)
    users = draw(st.none() | st.integers(0, requests))
    errors = draw(st.integers(0, requests if users is None else users))
    latest = draw(st.lists(st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES)))
    latest = latest[: 0 if users is None else errors]
    failed = len(latest) if users is None else draw(st.integers(len(latest), errors))
    latencies = st.dictionaries(st.integers(0, len(BOUNDS_S)), st.integers(1, 10**9))
    told = st.tuples(st.integers(0, NUMBERS - 1), st.integers(0, len(BOUNDS_S)))
    newest = draw(st.lists(told, max_size=8))
    timed = draw(st.integers(len(newest), 10**9))
    found = (draw(latencies), failed, tuple(latest), timed, tuple(newest))
    groups = None
    if users is None and draw(st.booleans()):
        failed_of = draw(st.lists(st.integers(0, 3), min_size=GROUPS, max_size=GROUPS))
        asked = tuple(one + draw(st.integers(0, 9)) for one in failed_of)
        groups = GroupCounts(asked, tuple(failed_of))
        requests, errors = requests + sum(asked), errors + sum(failed_of)
    return ArmSums(requests, errors, users, *found, groups)


@given(
    st.text(max_size=20),
    st.text(max_size=8),
    st.dictionaries(st.text(max_size=5), arm_sums(), max_size=MOST_ARMS),
)
def test_it_is_read_as_it_was_written(
    window: str, epoch: str, arms: dict[str, ArmSums]
) -> None:
    told = ProxyEvidence(window, epoch, arms)
    assert ProxyEvidence.load(told.dump()) == told


def test_it_is_small_whatever_was_counted() -> None:
    most = ArmSums(
        *(MOST_COUNT // 100, 10**9, 10**9),
        dict.fromkeys(range(len(BOUNDS_S) + 1), 10**9),
        *(10**9, (b"abcd",) * 128),
        *(10**9, ((NUMBERS - 1, len(BOUNDS_S)),) * (TOLD * TOLD_TICKS)),
    )
    groups = GroupCounts((10**8,) * GROUPS, (10**7,) * GROUPS)
    grouped = attrs.evolve(most, users=None, groups=groups)
    for one in (most, grouped):
        arms = {f"{name}{'x' * 60}": one for name in range(MOST_ARMS)}
        text = ProxyEvidence("w" * 200, "e" * 16, arms).dump()
        assert len(text) <= MOST_BYTES
        assert ProxyEvidence.load(text) is not None


ROW = [10, 1, None, 100, [9], 0, "", 0, ""]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            [10, 11, None, 0, [], 0, "", 0, ""], id="more errors than requests"
        ),
        pytest.param([10, 3, 2, 0, [], 0, "", 0, ""], id="more errors than users"),
        pytest.param([-1, 0, None, 0, [], 0, "", 0, ""], id="below nothing"),
        pytest.param([True, 0, None, 0, [], 0, "", 0, ""], id="no number"),
        pytest.param([10, 1.5, None, 0, [], 0, "", 0, ""], id="a part"),
        pytest.param([10, 1, None, 300, [1, 1], 0, "", 0, ""], id="beyond the bounds"),
        pytest.param([10, 1, None, -1, [1], 0, "", 0, ""], id="before the bounds"),
        pytest.param([10, 1, None, 0, [10**13], 0, "", 0, ""], id="too many"),
        pytest.param([10, 1, 9, 0, [], 2, "", 0, ""], id="more hashed than failed"),
        pytest.param(
            [10, 1, 9, 0, [], 0, "00112233", 0, ""], id="more hashes than hashed"
        ),
        pytest.param([10, 1, 9, 0, [], 1, "no hash", 0, ""], id="no hash"),
        pytest.param(
            [10, 1, 9, 0, [], 0, "", 0, "AAAAAAA="], id="more told than timed"
        ),
        pytest.param([10, 1, 9, 0, [], 0, "", 9, "AAAA"], id="a part of one"),
        pytest.param([10, 1, 9, 0, [], 0, "", 9, "AAAA//8="], id="beyond the last"),
        pytest.param([10, 1, 9, 0, [], 0, "", 9, "no user"], id="no user"),
        pytest.param(
            [10, 1, 9, 0, [], 0, "", 999, "A" * 6720], id="more than are told"
        ),
        pytest.param([10, 1, 9, 0, [], 0, "", 9, 9], id="a number for users"),
        pytest.param([10, 1], id="short"),
        pytest.param([*ROW, [0] * GROUPS], id="groups that ask alone"),
        pytest.param([*ROW, [0] * 9, [0] * 9], id="few groups"),
        pytest.param([*ROW, [0] * GROUPS, [1, *[0] * (GROUPS - 1)]], id="none asked"),
        pytest.param([*ROW, [1] * GROUPS, [0] * GROUPS], id="more asked in groups"),
        pytest.param([*ROW, [2] * 5 + [0] * 59, [1] * 2 + [0] * 62], id="more failed"),
        pytest.param([*ROW, [-1] * GROUPS, [0] * GROUPS], id="groups below nothing"),
        pytest.param([*ROW, 1, 2], id="numbers for groups"),
        pytest.param(
            [10, 1, 9, 0, [], 0, "", 0, "", [0] * GROUPS, [0] * GROUPS],
            id="users that count once, and groups",
        ),
        pytest.param(None, id="nothing"),
        pytest.param({}, id="a table"),
    ],
)
def test_what_no_proxy_writes_is_not_read(row: object) -> None:
    for groups in ([], [[1] * 9 + [0] * 55, [1] + [0] * 63]):
        sound = {"canary": [*ROW, *groups]}
        text = json.dumps({"window": "w", "epoch": "e", "arms": sound}).encode()
        assert ProxyEvidence.load(text) is not None
    table: dict[str, object] = {"window": "w", "epoch": "e"}
    table["arms"] = {"canary": row}
    assert ProxyEvidence.load(json.dumps(table).encode()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_nothing_that_is_there_breaks_who_reads(text: bytes) -> None:
    assert ProxyEvidence.load(text) is None


@given(JSON, JSON, JSON)
def test_nothing_of_the_right_names_breaks_who_reads(
    window: object, epoch: object, arms: object
) -> None:
    table = {"window": window, "epoch": epoch, "arms": arms}
    ProxyEvidence.load(json.dumps(table).encode())


def test_what_is_too_long_is_not_read() -> None:
    assert ProxyEvidence.load(b" " * (MOST_BYTES + 1)) is None
