"""The head of a server's response: checked, taken apart, and rendered for the client.

It goes the way of a request's head (see `request_head`): llhttp judges the bytes, one
pattern splits off the fields that concern this connection, and the rest goes on as it
came. What it obeys is RFC 9110 section 7.6 and RFC 9112 section 4.
"""

from __future__ import annotations

import functools
import re

import attrs
import httptools

from http_trio.errors import BadResponse
from http_trio.http1.fields import (
    ABSENT,
    KEEP_ALIVE,
    collect_fields,
    list_members,
    without_named,
)
from http_trio.http1.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    response_framing,
)
from http_trio.http1.response import http_date

_RESPONSE_FIELDS = re.compile(
    rb"""\r\n(?=[cdkptuCDKPTU])
    (c(?:onnection|ontent-length)|date|t(?:ransfer-encoding|e|railer)|upgrade
    |keep-alive|proxy-connection)
    :[ \t]*([^\r\n]*)""",
    re.IGNORECASE | re.VERBOSE,
)
_STATUS_LINE = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\Z"
)
_NOTHING = object()  # llhttp calls nobody: its verdict is all that is asked of it


@attrs.define(eq=False)
class ResponseHead:
    """One response's header section, checked.

    Those that come again share one (see `head_cache`), which must not change; `private`
    gives one that may.

    Attributes:
        status: 100 to 599.
        line: the status line without its version and line end, `b" 200 OK"`.
        kept: the fields that are end to end, each line led by CRLF.
        framing: the body's length, `framing.CHUNKED` or `framing.UNTIL_CLOSE`.
        length: the Content-Length as sent, also where no body follows (HEAD, 304).
        keep_alive: whether the upstream lets the connection live on.
    """

    status: int
    line: bytes
    kept: bytes
    framing: int
    length: bytes | None
    keep_alive: bool
    dated: bool
    upgrade: bytes | None = None
    _start: bytes = attrs.field(default=b"", init=False, repr=False)

    @property
    def start(self) -> bytes:
        """What goes to most clients, up to Date and our own fields; rendered once."""
        if not self._start:
            length = b"" if self.framing < 0 else _length_line(self)
            self._start = b"HTTP/1.1%b%b%b" % (self.line, self.kept, length)
        return self._start

    def private(self) -> ResponseHead:
        """Give one that is shared with nobody, to be changed."""
        return ResponseHead(
            *(self.status, self.line, self.kept, self.framing, self.length),
            *(self.keep_alive, self.dated, self.upgrade),
        )


def parse_response_head(raw: bytes, method: bytes) -> ResponseHead:
    """Check and take apart a response's head, given the method of its request.

    Raises:
        BadResponse: it cannot be passed on.
    """
    try:
        httptools.HttpResponseParser(_NOTHING).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as exc:
        raise BadResponse(str(exc)) from exc
    line_end = raw.find(b"\r\n")
    status, http10 = _read_status_line(raw[:line_end])
    pieces = _RESPONSE_FIELDS.split(raw[line_end:-4])
    kept = b"".join(pieces[::3])
    said = collect_fields(pieces)
    lengths = said.get(b"content-length", ABSENT)
    codings = said.get(b"transfer-encoding", ABSENT)
    dates = said.get(b"date")
    options = list_members(said[b"connection"]) if b"connection" in said else ABSENT
    if options and options != KEEP_ALIVE:
        kept = without_named(kept, options)
    if dates:  # after those that Connection names: a response has a Date
        kept += b"\r\nDate: " + dates[0]
    return ResponseHead(
        status=status,
        line=raw[8:line_end],
        kept=kept,
        framing=response_framing(status, method, lengths, codings, http10=http10),
        length=lengths[0] if lengths else None,
        keep_alive=(b"keep-alive" in options) if http10 else (b"close" not in options),
        dated=bool(dates),
        upgrade=said[b"upgrade"][0] if b"upgrade" in said else None,
    )


def check_unfinished_response(data: bytes, limit: float) -> None:
    """Check what has come of a response's head, whose end has not.

    Raises:
        BadResponse: nothing that still comes can make it a good one, so there is nothing
            to wait for.
    """
    if len(data) > limit:
        raise BadResponse("a header section beyond the limit")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadResponse("a line that ends in a bare LF")


def render_response(
    head: ResponseHead,
    *,
    to_http10: bool,
    connection: bytes,
    added: bytes,
    encoded: bool = False,
) -> tuple[bytes, int]:
    """Give the head that goes to the client, and how the body is to be framed.

    A body that ended with its connection is chunked for the client, so that a cut
    one is seen to be cut; a client of HTTP/1.0 knows no chunks, and gets it until
    close, whatever `connection` says.

    Args:
        head: what the upstream sent.
        to_http10: whether the client spoke HTTP/1.0.
        connection: the value of the Connection field; none if empty.
        added: our own fields, each line led by CRLF.
        encoded: whether the body gets a coding on its way: its length is not known then.
    """
    framing = CHUNKED if encoded else head.framing
    frame = b""
    if framing >= 0:
        pass
    elif to_http10:
        framing, connection = UNTIL_CLOSE, b"close"
    else:
        framing, frame = CHUNKED, b"\r\nTransfer-Encoding: chunked"
    if not head.dated:
        frame += b"\r\nDate: " + http_date()
    if connection:
        frame += b"\r\nConnection: " + connection
    return b"%b%b%b\r\n\r\n" % (head.start, frame, added), framing


@functools.lru_cache(maxsize=256)
def _read_status_line(line: bytes) -> tuple[int, bool]:
    """Give the status, and whether it is HTTP/1.0; llhttp lets NUL into the reason."""
    match = _STATUS_LINE.match(line)
    if match is None:
        raise BadResponse(f"status line {line[:40]!r}")
    return int(match[2]), match[1] == b"0"


def _length_line(head: ResponseHead) -> bytes:
    if head.length is None or head.status == 204 or head.status < 200:
        return b""
    return b"\r\nContent-Length: " + head.length
