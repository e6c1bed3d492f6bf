"""What ASGI and HTTP/1.1 say of one another, pure.

A scope becomes the head of an HTTP/1.1 request, as the engine takes it, and the head
of the engine's response becomes the fields of an ASGI response. What concerns a single
connection (RFC 9110 section 7.6.1) ends here, in both directions; the engine makes its
own. The rule that it obeys: no byte of a scope can end a line, so that one request of
an ASGI server is one request of the engine.

ASGI 3.0: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from http_trio.errors import BadRequest
from http_trio.http1.framing import CHUNKED
from http_trio.http1.response_head import ResponseHead

Scope = Mapping[str, Any]
Fields = list[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[^\0\r\n]*")
_TARGET = re.compile(rb"[!-~\x80-\xff]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_OF_CONNECTION = frozenset(
    b"connection expect http2-settings keep-alive proxy-connection te transfer-encoding"
    b" upgrade".split()
)
_NEVER_NAMED = frozenset({b"host", b"content-length"})  # in Connection, it is a trick
_OF_WEBSOCKET = frozenset(
    b"sec-websocket-accept sec-websocket-extensions sec-websocket-key"
    b" sec-websocket-protocol sec-websocket-version".split()
)


@attrs.frozen
class RequestLines:
    """One request, as the engine is to get it.

    Attributes:
        method: as it was sent.
        lines: its request line and fields, without those that frame its body.
        framing: the length of its body, `framing.CHUNKED`, or None where the scope does
            not tell (HTTP/2 ends a body by its last frame).
    """

    method: bytes
    lines: tuple[bytes, ...]
    framing: int | None

    def head(self, framing: int) -> bytes:
        """Give the head of the request, its body framed so."""
        if framing == CHUNKED:
            frame: tuple[bytes, ...] = (b"Transfer-Encoding: chunked",)
        elif self.framing is None and framing:
            frame = (b"Content-Length: %d" % framing,)
        else:
            frame = ()  # its own Content-Length, if it has one, is among the lines
        return b"\r\n".join((*self.lines, *frame, b"", b""))


def read_request(scope: Scope) -> RequestLines:
    """Read the scope of an HTTP request.

    Raises:
        BadRequest: it cannot be put as HTTP/1.1.
    """
    method = scope["method"].encode("ascii", "replace")
    fields, said = _fields(scope)
    trailers = "http.response.trailers" in _extensions(scope)
    if trailers and b"trailers" in [value.lower() for value in said.get(b"te", ())]:
        fields += [(b"Connection", b"TE"), (b"TE", b"trailers")]
    framing = _framing(scope, fields, said)
    return RequestLines(
        method, (_request_line(scope, method), *_lines(fields)), framing
    )


def read_websocket(scope: Scope, key: bytes) -> bytes:
    """Read the scope of a WebSocket; give the head that opens it over HTTP/1.1.

    No extension is asked for: frames are taken apart and put together anew here.

    Args:
        scope: of the type `websocket`.
        key: the value of Sec-WebSocket-Key.

    Raises:
        BadRequest: it cannot be put as HTTP/1.1.
    """
    fields, _ = _fields(scope)
    fields = [pair for pair in fields if pair[0] not in _OF_WEBSOCKET]
    protocols = [name.encode("ascii", "replace") for name in scope["subprotocols"]]
    if protocols:
        fields.append((b"Sec-WebSocket-Protocol", b", ".join(protocols)))
    fields += [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", key),
    ]
    return b"\r\n".join((_request_line(scope, b"GET"), *_lines(fields), b"", b""))


def response_fields(head: ResponseHead) -> Fields:
    """Give the fields of a response as ASGI wants them, in lower case."""
    fields = split_fields(head.kept)
    if head.length is not None and head.status != 204 and head.status >= 200:
        fields.append((b"content-length", head.length))
    return fields


def websocket_fields(head: ResponseHead) -> tuple[str | None, Fields]:
    """Give the subprotocol that was chosen, and the other fields of a 101."""
    fields = split_fields(head.kept)
    chosen = [value for name, value in fields if name == b"sec-websocket-protocol"]
    others = [pair for pair in fields if pair[0] not in _OF_WEBSOCKET]
    return (chosen[0].decode("latin-1") if chosen else None), others


def split_fields(lines: bytes) -> Fields:
    """Take apart field lines, each led by CRLF.

    >>> split_fields(b"\\r\\nContent-Type: text/plain\\r\\nX-A:1 ")
    [(b'content-type', b'text/plain'), (b'x-a', b'1')]
    """
    fields = []
    for line in lines.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _extensions(scope: Scope) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = scope.get("extensions")
    return found or {}


def _request_line(scope: Scope, method: bytes) -> bytes:
    path = (
        scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    )
    query = scope["query_string"]
    target = b"%b?%b" % (path, query) if query else path
    if _TOKEN.fullmatch(method) is None:
        raise BadRequest(400, f"method {method[:40]!r}")
    if _TARGET.fullmatch(target) is None:
        raise BadRequest(400, f"target {target[:60]!r}")
    return b"%b %b HTTP/1.1" % (method, target)


def _fields(scope: Scope) -> tuple[Fields, dict[bytes, list[bytes]]]:
    """Give the fields that are end to end, and the values of the others by name."""
    kept: Fields = []
    said: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise BadRequest(400, f"field {bytes(name)[:40]!r}")
        if name.lower() in _OF_CONNECTION:
            said.setdefault(name.lower(), []).append(value)
        else:
            kept.append((name.lower(), value))
    named = _members(said.get(b"connection", ()))
    kept = [pair for pair in kept if pair[0] not in named or pair[0] in _NEVER_NAMED]
    return _with_host(_joined_cookies(kept), scope), said


def _members(values: list[bytes] | tuple[()]) -> set[bytes]:
    return {
        member.strip(b" \t").lower() for value in values for member in value.split(b",")
    }


def _joined_cookies(fields: Fields) -> Fields:
    """HTTP/2 splits the Cookie field for its compression (RFC 9113 section 8.2.3)."""
    cookies = [value for name, value in fields if name == b"cookie"]
    if len(cookies) < 2:
        return fields
    others = [pair for pair in fields if pair[0] != b"cookie"]
    return [*others, (b"cookie", b"; ".join(cookies))]


def _with_host(fields: Fields, scope: Scope) -> Fields:
    """An HTTP/1.0 client that names no host means the address that it reached."""
    if any(name == b"host" for name, _ in fields):
        return fields
    server = scope.get("server") or ("localhost", None)
    host, port = server[0], server[1]
    name = f"[{host}]" if ":" in host else host
    return [(b"host", (name if port is None else f"{name}:{port}").encode()), *fields]


def _framing(
    scope: Scope, fields: Fields, said: dict[bytes, list[bytes]]
) -> int | None:
    lengths = [value for name, value in fields if name == b"content-length"]
    if b"transfer-encoding" in said:
        if lengths:
            raise BadRequest(400, "both Content-Length and Transfer-Encoding")
        return CHUNKED
    if lengths:
        if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
            raise BadRequest(400, f"Content-Length {b', '.join(lengths)[:60]!r}")
        return int(lengths[0])
    return 0 if scope["http_version"].startswith("1") else None


def _lines(fields: Fields) -> list[bytes]:
    return [b"%b: %b" % pair for pair in fields]
