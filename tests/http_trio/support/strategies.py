"""Requests and responses as hypothesis makes them up, valid ones unless their name says so."""

from __future__ import annotations

import itertools

import attrs
from hypothesis import strategies as st

from http_trio.http1.chunked import LAST_CHUNK, encode_chunk

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# Names that a proxy has rules for, and neighbours that differ by one letter.
RULED = (
    *("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via"),
    *(
        "Connectio",
        "Connections",
        "X-Connection",
        "Hosts",
        "T",
        "TES",
        "Cookie",
        "Date",
    ),
    *(
        "Expects",
        "Upgrades",
        "Keep-Alives",
        "Content-Lengths",
        "Content-Type",
        "Set-Cookie",
    ),
)
# What the framing and the target are said with; a strategy adds them itself.
FRAMING = frozenset({"content-length", "transfer-encoding", "host", "expect"})

names = st.one_of(
    st.sampled_from(RULED),
    st.sampled_from(RULED).map(str.upper),
    st.text(TOKEN, min_size=1, max_size=12).filter(lambda n: n.lower() not in FRAMING),
).map(str.encode)

_BLANKS = st.sampled_from([b"", b" ", b"\t", b" \t "])
_VISIBLE = st.binary(max_size=20).map(
    lambda data: bytes(byte for byte in data if byte > 0x20 and byte != 0x7F)
)
_ORDINARY = st.sampled_from(
    [
        b"",
        b"a",
        b"close",
        b"keep-alive",
        b"keep-alive, X-Named",
        b"x-named",
        b"1, 2",
        b"=",
    ]
)
values = st.one_of(_ORDINARY, _VISIBLE)

Field = tuple[bytes, bytes]


@st.composite
def fields(draw: st.DrawFn, size: int = 8) -> list[Field]:
    """Fields in order; their names repeat at times, and Connection may name some."""
    found: list[Field] = draw(st.lists(st.tuples(names, values), max_size=size))
    names_some: bool = draw(st.booleans())
    if found and names_some:
        named = draw(st.lists(st.sampled_from([name for name, _ in found]), max_size=3))
        found.append((b"Connection", b", ".join(named)))
    return [
        pair
        for pair in draw(st.permutations(found))
        # Each of these asks for another protocol or another end: tests of their own.
        if not (pair[0].lower() == b"connection" and b"upgrade" in pair[1].lower())
    ]


@st.composite
def lines(draw: st.DrawFn, of: list[Field]) -> bytes:
    """The fields as they may be written, blanks before and after their values."""
    return b"".join(
        b"%b:%b%b%b\r\n" % (name, draw(_BLANKS), value, draw(_BLANKS))
        for name, value in of
    )


@attrs.frozen
class Body:
    """A body, and how it is framed: its content, the field for it, and its bytes."""

    content: bytes
    field: bytes
    framed: bytes


@st.composite
def bodies(draw: st.DrawFn, size: int = 200) -> Body:
    """No body, one with a length, or one in chunks."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return Body(b"", b"", b"")
    pieces = draw(st.lists(st.binary(min_size=1, max_size=size), max_size=4))
    content = b"".join(pieces)
    if kind == "length":
        return Body(content, b"Content-Length: %d\r\n" % len(content), content)
    framed = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK
    return Body(content, b"Transfer-Encoding: chunked\r\n", framed)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut data at these places, each taken modulo its length."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 1 << 30), max_size=12)
