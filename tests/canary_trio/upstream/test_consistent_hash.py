"""A key keeps its server: what moves, and what does not."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio.upstream.consistent_hash import ConsistentHash, points_of
from tests.canary_trio.upstream.test_balancers import Fake, fakes

KEYS = [b"user %d" % n for n in range(3000)]
SIZES = st.integers(1, 12)


def laid_out(servers: list[Fake]) -> ConsistentHash[Fake]:
    return ConsistentHash(random.Random(1).random, servers)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=10), st.data())
def test_only_the_newcomer_takes_keys(weights: list[int], data: st.DataObject) -> None:
    servers = fakes(*weights)
    newcomer = data.draw(st.sampled_from(servers))
    policy = laid_out([server for server in servers if server is not newcomer])
    before = [policy.pick(key) for key in KEYS[:200]]
    policy.add(newcomer)
    after = [policy.pick(key) for key in KEYS[:200]]

    moved = [now for was, now in zip(before, after, strict=True) if was is not now]
    assert set(moved) <= {newcomer}
    policy.remove(newcomer)
    assert [policy.pick(key) for key in KEYS[:200]] == before


@pytest.mark.parametrize("count", [1, 3, 9, 99])
def test_a_newcomer_takes_about_its_share(count: int) -> None:
    servers = fakes(*[1] * (count + 1))
    policy = laid_out(servers[:-1])
    before = [policy.pick(key) for key in KEYS]
    policy.add(servers[-1])
    moved = sum(policy.pick(k) is not was for k, was in zip(KEYS, before, strict=True))

    share = len(KEYS) / (count + 1)
    assert abs(moved - share) < 0.35 * share + 5 * share**0.5


@settings(max_examples=30)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(1, 5))
def test_more_weight_only_draws_keys(weights: list[int], factor: int) -> None:
    servers = fakes(*weights)
    policy = laid_out(servers)
    before = [policy.pick(key) for key in KEYS[:200]]
    servers[0].weight *= factor
    policy.reweigh(servers[0])

    for key, was in zip(KEYS[:200], before, strict=True):
        assert policy.pick(key) in (was, servers[0])


@settings(max_examples=30)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=10), st.randoms())
def test_the_order_of_events_does_not_matter(
    weights: list[int], shuffled: random.Random
) -> None:
    servers = fakes(*weights)
    grown = laid_out([])
    for server in shuffled.sample(servers, len(servers)):
        grown.add(server)
        grown.remove(server)
        grown.add(server)
    fresh = laid_out(servers)

    assert all(grown.pick(key) is fresh.pick(key) for key in KEYS[:50])


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.binary(max_size=9))
def test_it_is_the_nearest_point_by_weight(weights: list[int], key: bytes) -> None:
    """Against the definition: look at every probe and every point."""
    import struct  # noqa: PLC0415
    from hashlib import blake2b  # noqa: PLC0415

    servers = fakes(*weights)
    digest = blake2b(key, person=b"server").digest()
    probes = [raw / 2**64 for raw in struct.unpack("<8Q", digest)]
    scores = {
        server: min(
            (point - probe) % 1 / server.weight
            for probe in probes
            for point in points_of(server.name)
        )
        for server in servers
    }
    assert laid_out(servers).pick(key) is min(servers, key=scores.__getitem__)


def test_the_next_one_is_as_if_those_tried_were_gone() -> None:
    servers = fakes(1, 2, 3, 4)
    policy = laid_out(servers)
    for key in KEYS[:100]:
        first = policy.pick(key)
        without = laid_out([server for server in servers if server is not first])
        assert policy.pick(key, {first}) is without.pick(key)


def test_without_a_key_it_goes_by_chance_and_weight() -> None:
    one, other = servers = fakes(1, 3)
    policy = laid_out(servers)
    got = Counter(policy.pick() for _ in range(4000))

    assert 0.6 < got[other] / 4000 < 0.9
    assert got[one] + got[other] == 4000
