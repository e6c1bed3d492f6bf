"""The chunked transfer coding (RFC 9112 section 7.1), pure and strict.

llhttp checks chunks too, but it does not tell where in the bytes a message ended,
and what follows a message is the next one. So this reader does; its verdicts
are tested against llhttp's.

What it refuses: a size that is not 1*HEXDIG or has more than 15 digits, a bare CR
or LF anywhere in the framing, chunk data not followed by CRLF, and lines beyond
their limit. Chunk extensions are read over and never passed on, and trailers are
given apart, never merged with the header.
"""

from __future__ import annotations

import re

from http_trio.errors import ProtocolError

LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|%b))?)*\Z" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\Z")

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class BadChunk(ProtocolError):
    """The framing of a chunked body is broken; where it ends is unknown."""


def encode_chunk(data: bytes) -> bytes:
    """Frame data, which must not be empty, as one chunk.

    >>> encode_chunk(b"hello")
    b'5\\r\\nhello\\r\\n'
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkedReader:
    """Takes the bytes of a chunked body in any pieces and gives its content.

    >>> reader = ChunkedReader(line_limit=100)
    >>> reader.feed(b"5\\r\\nhel"), reader.feed(b"lo\\r\\n0\\r\\n\\r\\nGET /")
    (b'hel', b'lo')
    >>> reader.done, reader.rest
    (True, b'GET /')
    """

    __slots__ = ("_left", "_line_limit", "_pending", "_phase", "rest", "trailers")

    def __init__(self, line_limit: int) -> None:
        self._phase = _SIZE
        self._left = 0
        self._line_limit = line_limit
        self._pending = b""
        self.trailers: list[bytes] = []
        self.rest = b""

    @property
    def done(self) -> bool:
        """Whether the last chunk and its trailers have been read."""
        return self._phase == _DONE

    def feed(self, data: bytes) -> bytes:
        """Give the content that data adds; once done, what follows is in `rest`.

        Raises:
            BadChunk: the framing is broken.
        """
        if self._pending:
            data = self._pending + data
            self._pending = b""
        content: list[bytes] = []
        at = 0
        while self._phase != _DONE:
            step = self._step(data, at, content)
            if step < 0:
                self._pending = data[at:]
                break
            at = step
        else:
            self.rest = data[at:]
        return content[0] if len(content) == 1 else b"".join(content)

    def _step(self, data: bytes, at: int, content: list[bytes]) -> int:
        """Take one element at `at`; give where the next begins, or -1 for "more"."""
        if self._phase == _DATA:
            return self._take_data(data, at, content)
        if self._phase == _DATA_END:
            return self._take_data_end(data, at)
        end = data.find(b"\r\n", at)
        if end < 0:
            self._check_partial_line(data, at)
            return -1
        if end - at > self._line_limit:
            raise BadChunk(f"a line of {end - at} bytes in a chunked body")
        line = data[at:end]
        if self._phase == _SIZE:
            self._take_size(line)
        else:
            self._take_trailer(line)
        return end + 2

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.match(line)
        if match is None:
            raise BadChunk(f"chunk size line {line[:40]!r}, expected hex digits")
        self._left = int(match[1], 16)
        self._phase = _DATA if self._left else _TRAILERS

    def _take_data(self, data: bytes, at: int, content: list[bytes]) -> int:
        piece = data[at : at + self._left]
        if not piece:
            return -1
        content.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._phase = _DATA_END
        return at + len(piece)

    def _take_data_end(self, data: bytes, at: int) -> int:
        mark = data[at : at + 2]
        if mark == b"\r\n":
            self._phase = _SIZE
            return at + 2
        if mark not in (b"", b"\r"):
            raise BadChunk(f"chunk data followed by {mark!r}, expected CRLF")
        return -1

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self._phase = _DONE
            return
        if _TRAILER.match(line) is None:
            raise BadChunk(f"trailer line {line[:40]!r}")
        self.trailers.append(line)
        self._line_limit -= len(line)
        if self._line_limit < 0:
            raise BadChunk("too many trailers")

    def _check_partial_line(self, data: bytes, at: int) -> None:
        """Refuse early what no further byte can make right."""
        line = data[at:]
        if len(line) > self._line_limit:
            raise BadChunk(f"a line of more than {self._line_limit} bytes")
        if b"\n" in line or b"\r" in line[:-1]:
            raise BadChunk("a bare CR or LF in the framing of a chunked body")
