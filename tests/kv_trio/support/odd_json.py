"""JSON as an attacker writes it: what no encoder gives, beside what many do."""

from __future__ import annotations

import json

from hypothesis import strategies as st

_ATOMS = st.one_of(
    st.sampled_from(
        [
            *("null", "true", "false", "0", "-0", "-0.0", "-0e9", "1000", "-5"),
            *("1e999", "-1e999", "1e308", "NaN", "Infinity", "-Infinity"),
            *("9" * 5000, "-" + "9" * 350, "1" * 300, "0." + "0" * 5000 + "1"),
            *("[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 500 + "1" + "}" * 500),
            *('"\\ud800"', '"\\uDFFFx"', '"\\ud83d\\ude00"', '"\\u0000"', '"\ufffd"'),
            *('"-0s"', '"0"', '"10s"', '"-1h"', '"1e9s"', '"\u0663s"', '"15m30s"'),
            *(f'"{"9" * 12}h"', f'"{"9" * 5000}s"', '"release"', '"delete"'),
            *('"serfHealth"', '"set"', '"lock"', '"get-tree"', '"MQ=="', '""', '"s"'),
        ]
    ),
    st.text(max_size=5).map(json.dumps),
    st.integers().map(str),
    st.floats().map(json.dumps),
)


def texts(names: list[str]) -> st.SearchStrategy[str]:
    """Give texts of JSON, or nearly, whose objects mostly have members of these names."""
    name = st.sampled_from([json.dumps(name) for name in names]) | st.sampled_from(
        ['"\\ud800"', '"other"', '""', "5"]
    )

    def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        member = st.tuples(name, inner).map(":".join)
        members = st.lists(member, max_size=4).map(",".join)
        items = st.lists(inner, max_size=3).map(",".join)
        return members.map("{{{}}}".format) | items.map("[{}]".format)

    return nested(st.recursive(_ATOMS, nested, max_leaves=6))
