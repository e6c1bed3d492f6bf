"""The key index against a model: whom the change of a key concerns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kv_trio.watch.key_index import KeyIndex

KEY = st.text("ab", max_size=3).map(str.encode)
STEP = st.tuples(st.booleans(), st.integers(0, 9), KEY, st.booleans())


@given(st.lists(STEP, max_size=40), KEY)
def test_a_change_concerns_its_key_and_its_prefixes(
    steps: list[tuple[bool, int, bytes, bool]], changed: bytes
) -> None:
    key_index: KeyIndex[int] = KeyIndex()
    model: set[tuple[int, bytes, bool]] = set()
    for added, who, key, prefix in steps:
        if added and (who, key, prefix) not in model:
            key_index.add(who, key, prefix=prefix)
            model.add((who, key, prefix))
        elif not added:
            key_index.discard(who, key, prefix=prefix)
            model.discard((who, key, prefix))

    assert len(key_index) == len(model)
    assert sorted(key_index) == sorted(who for who, _, _ in model)
    assert sorted(key_index.matching(changed)) == sorted(
        who
        for who, key, prefix in model
        if (changed.startswith(key) if prefix else changed == key)
    )
