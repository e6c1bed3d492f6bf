"""The adapter of the library: its HPACK beside another's, and its last words."""

from __future__ import annotations

from typing import Any

import hpack
from hypothesis import given
from hypothesis import strategies as st

from http_trio.http2.session import Http2Session, Http2Settings
from tests.http_trio.support.http2_peer import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    frame,
    get,
)

SETTINGS = Http2Settings(
    streams=100, stream_window=65_536, connection_window=65_536, head=60_000, fields=200
)
NAMES = st.from_regex(r"\A[a-z][a-z0-9-]{0,20}\Z").filter(
    lambda name: (
        name
        not in (
            *("connection", "keep-alive", "proxy-connection", "transfer-encoding"),
            *("upgrade", "te", "host", "content-length", "cookie"),
        )
    )
)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=60)
FIELDS = st.lists(
    st.tuples(NAMES, VALUES.filter(lambda v: "\x7f" not in v)), max_size=12
)


class Told:
    """Remembers all that it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: self.seen.append((name, args, more))


def server() -> tuple[Http2Session, Told]:
    told = Told()
    session = Http2Session(told, SETTINGS, is_client=False)
    session.receive(PREFACE + frame(4, 0, 0))
    session.output(65_536)
    return session, told


@given(st.lists(FIELDS, min_size=1, max_size=6), st.booleans())
def test_its_hpack_reads_and_writes_as_another_does(
    requests: list[list[tuple[str, str]]], huffman: bool
) -> None:
    """Over one connection, so that both tables change alike."""
    session, told = server()
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    for number, fields in enumerate(requests):
        stream = 2 * number + 1
        sent = [
            (str(name).encode(), str(value).encode("latin-1"))
            for name, value in get("/", *fields)
        ]
        block = encoder.encode(sent, huffman=huffman)
        session.receive(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        name, (found, heard), _ = told.seen[-1]
        assert (name, found, list(heard)) == ("head_received", stream, sent)
        answer = [(b":status", b"200"), *sent[4:]]
        session.send_response(stream, answer, ended=True)
        out = session.output(65_536)
        while out[3] != HEADERS:
            out = out[9 + int.from_bytes(out[:3], "big") :]
        got = decoder.decode(out[9 : 9 + int.from_bytes(out[:3], "big")], raw=True)
        assert [tuple(one) for one in got] == answer


def test_what_breaks_a_connection_is_told_once_and_said() -> None:
    session, told = server()
    session.receive(frame(6, 0, 0, b"short"))
    out = b""
    while session.has_output:
        out += session.output(65_536)
    session.receive(frame(6, 0, 0, b"short"))
    assert [name for name, _, _ in told.seen].count("connection_failed") == 1
    assert out[3] == 7


def test_who_is_forgotten_hears_nothing() -> None:
    session, told = server()
    session.forget()
    before = len(told.seen)
    session.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82"))
    session.output(65_536)
    assert len(told.seen) == before


def test_a_stream_that_is_gone_takes_what_is_said_to_it() -> None:
    session, _ = server()
    session.send_response(99, [(b":status", b"200")], ended=False)
    session.send_interim(99, [(b":status", b"100")])
    session.send_data(99, b"x", ended=True)
    session.send_trailers(99, [(b"a", b"b")])
    session.consumed(99, 10)
    session.reset(99, 8)
    assert session.queued(99) == 0
