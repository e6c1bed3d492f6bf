"""HPACK as others write it: the published vectors of http2jp/hpack-test-case.

`HPACK_TEST_CASE` names a directory of them (`.ci/get-hpack-vectors` makes one out of a source
package of Debian); they are 20 MB, so where there is none that test is skipped, and says so.
A story is the heads of one connection, as one encoder wrote them. What must hold: each head
is told as it is, or, where it is none that HTTP/2 allows (the stories are old traffic, with
`connection` fields), its stream alone is refused; at the end our table holds what the vectors'
decoder holds; and what we write of the same heads is read by another decoder as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpack
import pytest

from http_trio.http2.session import Http2Session
from tests.http_trio.http2.test_session import SETTINGS, Told
from tests.http_trio.support.http2_peer import (
    END_HEADERS,
    HEADERS,
    MORE,
    OF_CONNECTION,
    PREFACE,
    RST_STREAM,
    frame,
)

VECTORS = os.environ.get("HPACK_TEST_CASE")
FIRST_DRAFT = 9  # whose format RFC 7541 has
TABLE = 4096
FRAME = 16_384

Field = tuple[bytes, bytes]

REQUEST: list[Field] = [
    *((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")),
    (b":authority", b"a.test"),
]
ANY_REQUEST = b"\x82\x86\x84\x01\x06a.test"
"""The same, written without a table."""


def stories(directory: Path) -> Iterator[Path]:
    """Give the stories that a peer of ours may write: those of our size of the table."""
    for file in sorted(directory.glob("**/story_*.json")):
        story = json.loads(file.read_text())
        sizes = {case.get("header_table_size", TABLE) for case in story["cases"]}
        encoded = all("wire" in case for case in story["cases"])
        if encoded and sizes == {TABLE} and story.get("draft", 99) >= FIRST_DRAFT:
            yield file


def heads(story: Any) -> list[tuple[bytes, list[Field]]]:
    """Give each head as it is written, and as it is."""
    return [
        (
            bytes.fromhex(case["wire"]),
            [
                (name.encode("latin-1"), value.encode("latin-1"))
                for one in case["headers"]
                for name, value in one.items()
            ],
        )
        for case in story["cases"]
    ]


def is_allowed(fields: list[Field]) -> bool:
    """Tell whether HTTP/2 has such a head (RFC 9113 section 8)."""
    names = [name for name, _ in fields]
    marks = [name for name in names if name.startswith(b":")]
    return (
        names[: len(marks)] == marks
        and len({*marks}) == len(marks)
        and ({*marks} == {b":status"} or {b":method", b":scheme", b":path"} <= {*marks})
        and not OF_CONNECTION & {*names}
        and b"te" not in names
        and all(name == name.lower() for name in names)
        and all(value == value.strip(b" \t") for _, value in fields)
        and not ((b":status", b"204") in fields and b"content-length" in names)
    )


class Pair:
    """A session of ours, and a decoder of another library at both of its ends.

    Of responses we are the client, and of requests the server.
    """

    def __init__(self, *, responses: bool) -> None:
        self._told = Told()
        self._is_client = responses
        self._session = Http2Session(self._told, SETTINGS, is_client=responses)
        self._session.receive((b"" if responses else PREFACE) + frame(4, 0, 0))
        self._output()
        self._of_ours = hpack.Decoder()
        self._of_theirs = hpack.Decoder()
        self._stream = -1

    def read(self, wire: bytes) -> list[Field] | None:
        """Read a head of theirs; give it, or None if its stream was refused."""
        self._of_theirs.decode(wire, raw=True)
        self._stream += 2
        if self._is_client:
            self._session.send_request([*REQUEST], ended=True)
            self._read_ours()
        before = len(self._told.seen)
        for at in range(0, len(wire), FRAME):
            end = END_HEADERS if at + FRAME >= len(wire) else 0
            piece = wire[at : at + FRAME]
            kind = MORE if at else HEADERS
            self._session.receive(frame(kind, end, self._stream, piece))
        told = self._told.seen[before:]
        assert "connection_failed" not in [what for what, _, _ in told], told
        for what, words, _ in told:
            if what == "head_received":
                return list(words[1])
        assert RST_STREAM in [kind for kind, _ in self._output()]
        return None

    def write(self, fields: list[Field]) -> list[Field]:
        """Write a head, on the stream of the last one; give it as it is read."""
        if self._is_client:
            self._stream += 2
            assert self._session.send_request(fields, ended=False) == self._stream
        else:
            self._session.send_response(self._stream, fields, ended=False)
        return self._read_ours()

    def end_stream(self) -> None:
        self._session.reset(self._stream, 8)
        self._output()

    def what_is_kept(self) -> list[Field]:
        """Give what their decoder's table holds, and a head of ours could have."""
        entries = self._of_theirs.header_table.dynamic_entries
        return [(bytes(name), bytes(value)) for name, value in entries]

    def read_kept(self, number: int) -> list[Field] | None:
        """Read a head that names an entry of the table by its number only."""
        first = b"\x88" if self._is_client else ANY_REQUEST
        index = hpack.hpack.encode_integer(62 + number, 7)
        index[0] |= 0x80
        return self.read(first + bytes(index))

    def _read_ours(self) -> list[Field]:
        frames = self._output()
        block = b"".join(data for kind, data in frames if kind in (HEADERS, MORE))
        return [(name, value) for name, value in self._of_ours.decode(block, raw=True)]

    def _output(self) -> list[tuple[int, bytes]]:
        """Take the frames that are to be sent."""
        data, frames = b"", []
        while self._session.has_output:
            data += self._session.output(FRAME)
        while data:
            end = 9 + int.from_bytes(data[:3], "big")
            frames.append((data[3], data[9:end]))
            data = data[end:]
        return frames


def judge(story: Any) -> tuple[int, int]:
    """Read and write a story; give how many heads were told, and how many refused."""
    told = refused = 0
    cases = heads(story)
    responses = any(name == b":status" for name, _ in cases[0][1])
    pair = Pair(responses=responses)
    for wire, fields in cases:
        found = pair.read(wire)
        pair.end_stream()
        if found is None:
            assert not is_allowed(fields), fields
            refused += 1
            continue
        assert found == fields
        told += 1
    for number, entry in enumerate(pair.what_is_kept()):
        head = [(b":status", b"200")] if responses else REQUEST
        if entry[0].startswith(b":") or not is_allowed([*head, entry]):
            continue
        found = pair.read_kept(number)
        pair.end_stream()
        assert found is not None
        assert found[-1] == entry
    writer = Pair(responses=not responses)  # who sends requests is a client
    for _, fields in cases:
        if is_allowed(fields):
            if responses:
                writer.read(ANY_REQUEST)
            assert writer.write(fields) == fields
            writer.end_stream()
    return told, refused


# === the vectors ===


@pytest.mark.simulation
@pytest.mark.skipif(
    not VECTORS,
    reason="HPACK_TEST_CASE names no vectors: see .ci/get-hpack-vectors",
)
def test_the_published_vectors_are_read_and_written() -> None:
    told = refused = 0
    for file in stories(Path(VECTORS or "")):
        try:
            counts = judge(json.loads(file.read_text()))
        except AssertionError as exc:
            raise AssertionError(str(file)) from exc
        told, refused = told + counts[0], refused + counts[1]
    assert told > 1000, f"{told} heads told, {refused} refused: are these the vectors?"


# === the examples of RFC 7541, appendix C ===

GETS = [
    {":authority": "www.example.com"},
    {":authority": "www.example.com", "cache-control": "no-cache"},
    {":authority": "www.example.com", "custom-key": "custom-value"},
]
DATE = "Mon, 21 Oct 2013 20:13:21 GMT"
ANSWERS = [
    {":status": "302", "cache-control": "private", "date": DATE},
    {":status": "307", "cache-control": "private", "date": DATE},
    {
        ":status": "200",
        "cache-control": "private",
        "date": DATE.replace("21 GMT", "22 GMT"),
    },
]
PLACE = {"location": "https://www.example.com"}
LAST = {
    "content-encoding": "gzip",
    "set-cookie": "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
}
TO_256 = "3fe101"
"""The table of C.5 and C.6 is smaller than ours, as its encoder says so first."""


@pytest.mark.parametrize(
    ("wires", "responses"),
    [
        pytest.param(
            [
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ],
            False,
            id="C.3",
        ),
        pytest.param(
            [
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ],
            False,
            id="C.4",
        ),
        pytest.param(
            [
                TO_256 + "4803333032580770726976617465611d4d6f6e2c203231204f637420"
                "323031332032303a31333a323120474d546e1768747470733a2f2f7777772e65"
                "78616d706c652e636f6d",
                "4803333037c1c0bf",
                (
                    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d"
                    "54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f5049"
                    "5541585157454f49553b206d61782d6167653d333630303b2076657273696f6e"
                    "3d31"
                ),
            ],
            True,
            id="C.5",
        ),
        pytest.param(
            [
                TO_256 + "488264025885aec3771a4b6196d07abe941054d444a8200595040b81"
                "66e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
                "4883640effc1c0bf",
                (
                    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"
                    "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f"
                    "9587316065c003ed4ee5b1063d5007"
                ),
            ],
            True,
            id="C.6",
        ),
    ],
)
def test_the_examples_of_the_rfc_are_read(wires: list[str], *, responses: bool) -> None:
    if responses:
        lists = [{**one, **PLACE} for one in ANSWERS]
        lists[2] |= LAST
    else:
        schemes = (("http", "/"), ("http", "/"), ("https", "/index.html"))
        lists = [
            {":method": "GET", ":scheme": scheme, ":path": path, **one}
            for one, (scheme, path) in zip(GETS, schemes, strict=True)
        ]
    cases = [
        {"wire": wire, "headers": [{name: value} for name, value in one.items()]}
        for wire, one in zip(wires, lists, strict=True)
    ]
    assert judge({"cases": cases}) == (3, 0)


# === the same, of stories that are made here ===


def story_of(lists: list[list[tuple[str, str]]], *, huffman: bool) -> Any:
    """Give a story in the vectors' form, as `hpack` writes it."""
    encoder = hpack.Encoder()
    return {
        "cases": [
            {
                "seqno": number,
                "wire": encoder.encode(fields, huffman=huffman).hex(),
                "headers": [{name: value} for name, value in fields],
            }
            for number, fields in enumerate(lists)
        ]
    }


def responses() -> list[list[tuple[str, str]]]:
    """Give heads of old servers: what HTTP/2 has not, and more than the table holds."""
    return [
        [
            (":status", ("200", "302", "404")[number % 3]),
            *([("connection", "keep-alive")] if number % 4 == 1 else []),
            ("content-length", str(number * 37)),
            ("date", f"Sat, 03 Nov 2012 12:50:{number % 60:02} GMT"),
            ("set-cookie", f"n={number % 7}; path=/; expires=Sun, 03-Nov-13"),
            ("x-filler", chr(97 + number % 26) * (number % 300)),
        ]
        for number in range(200)
    ]


def requests() -> list[list[tuple[str, str]]]:
    return [
        [
            *((":method", "GET"), (":scheme", "http")),
            *((":authority", f"{number % 5}.test"), (":path", f"/{number}")),
            ("user-agent", "Mozilla/5.0"),
            *([("proxy-connection", "keep-alive")] if number % 9 == 1 else []),
            ("cookie", f"a={number % 11}; b={'x' * (number % 50)}"),
        ]
        for number in range(200)
    ]


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize(
    ("lists", "refused"),
    [(responses(), 50), (requests(), 23)],
    ids=["responses", "requests"],
)
def test_a_story_in_their_form_is_read_and_written(
    lists: list[list[tuple[str, str]]], refused: int, *, huffman: bool
) -> None:
    assert judge(story_of(lists, huffman=huffman)) == (200 - refused, refused)


def test_a_story_whose_heads_are_others_is_found() -> None:
    story = story_of(responses(), huffman=True)
    story["cases"][150]["headers"][-1] = {"x-filler": "another"}
    with pytest.raises(AssertionError):
        judge(story)
