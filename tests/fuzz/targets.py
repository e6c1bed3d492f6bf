"""One fuzz target per pure module: any bytes in, and what must hold of what comes out.

A target takes bytes and returns, or fails with an AssertionError or whatever else the
module did not promise. `python -m tests.fuzz` runs them for a while, guided by coverage
where atheris is installed; `test_targets.py` runs each shortly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import h11
import httptools

from canary_trio.config import document
from canary_trio.control.changes import assignments as edit
from canary_trio.errors import BadAssignment, InvalidConfig
from canary_trio.proxy.fields.hidden_cookie import HiddenCookie
from canary_trio.routing import sticky_cookie as session
from canary_trio.routing.decision import Chance
from canary_trio.routing.request import request_view
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio.errors import BadRequest, BadResponse, ProtocolError
from http_trio.hosts.proxy_protocol import (
    HEADER_BYTES,
    SIGNATURE,
    BadProxyHeader,
    parse_proxy_header,
)
from http_trio.http1.body import BodyTranscoder
from http_trio.http1.chunked import BadChunk, ChunkedReader
from http_trio.http1.forwarded import ForwardedPolicy, forwarded_fields, identify
from http_trio.http1.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    request_framing,
    response_framing,
)
from http_trio.http1.request_head import RequestHead, parse_request_head, render_request
from http_trio.http1.response_head import parse_response_head, render_response
from http_trio.limits import Limits
from http_trio.proxy.codings.negotiation import choose_coding, refuses_identity
from tests.fuzz.client_targets import SEEDS as CLIENT_SEEDS
from tests.fuzz.client_targets import store_bytes
from tests.fuzz.http2_targets import SEEDS as HTTP2_SEEDS
from tests.fuzz.http2_targets import http2_bytes, http2_frames, http2_messages
from tests.fuzz.proxy_targets import SEEDS as PROXY_SEEDS
from tests.fuzz.proxy_targets import (
    fleet_secret,
    proxy_report,
    proxy_status,
    remembered_file,
)
from tests.fuzz.store_targets import SEEDS as STORE_SEEDS
from tests.fuzz.store_targets import session_body, store_response, transaction_body
from tests.fuzz.tls_targets import SEEDS as TLS_SEEDS
from tests.fuzz.tls_targets import authority, certificate, client_hello

Target = Callable[[bytes], None]

_LIMITS = Limits()
_RULES = ForwardedPolicy()
_TRUSTING = ForwardedPolicy(trusted=("127.0.0.0/8", "::1", "unix"))
_FRAMING = frozenset(b"content-length transfer-encoding connection upgrade".split())


def request_head(data: bytes) -> None:
    """What is accepted is valid to others too, and stays what it is when sent on."""
    raw = _as_head(data)
    try:
        head = parse_request_head(raw, _LIMITS)
    except BadRequest as exc:
        assert 400 <= exc.status < 600
        return
    _check_lines(head.kept)
    sent = render_request(head, b"fallback", b"", None)
    assert sent.count(b"\r\n\r\n") == 1
    again = parse_request_head(sent, _LIMITS)
    assert (again.method, again.target) == (head.method, head.target)
    assert again.host == (b"fallback" if head.host is None else head.host)
    assert again.framing == head.framing
    assert sorted(again.kept.split(b"\r\n")) == sorted(head.kept.split(b"\r\n"))
    _judge_request(sent, head)


def response_head(data: bytes) -> None:
    """What is accepted is what our own server side would send, and valid to others."""
    raw = _as_head(data[1:])
    method = b"HEAD" if data[:1] == b"H" else b"GET"
    try:
        head = parse_response_head(raw, method)
    except BadResponse:
        return
    _check_lines(head.kept)
    assert 100 <= head.status <= 999
    if head.status < 200:
        return
    sent, framing = render_response(head, to_http10=False, connection=b"", added=b"")
    again = parse_response_head(sent, method)
    assert (again.status, again.line) == (head.status, head.line)
    assert again.framing == framing != UNTIL_CLOSE
    assert head.framing in (framing, UNTIL_CLOSE)
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    judge.send(h11.EndOfMessage())
    judge.receive_data(sent)
    assert isinstance(judge.next_event(), h11.Response)


def framing(data: bytes) -> None:
    """Two readers cannot disagree: one field only, one reading of it."""
    lines = data.split(b"\n")
    lengths = [line[1:].strip() for line in lines if line[:1] == b"L"]
    codings = [line[1:].strip() for line in lines if line[:1] == b"T"]
    http10 = data[:1] == b"0"
    try:
        found = request_framing(lengths, codings, http10=http10)
    except BadRequest:
        pass
    else:
        assert not (lengths and codings)
        if codings:
            assert not http10
            assert b",".join(codings).strip().lower() == b"chunked"
            assert found == CHUNKED
        else:
            assert len(lengths) <= 1
            assert found == int(lengths[0] if lengths else b"0")
    try:
        found = response_framing(200, b"GET", lengths, codings, http10=http10)
    except BadResponse:
        return
    assert not (lengths and codings)
    assert found == (
        CHUNKED if codings else int(lengths[0]) if lengths else UNTIL_CLOSE
    )


class _Body:
    def __init__(self) -> None:
        self.content = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.complete = True


def chunked(data: bytes) -> None:
    """The same in pieces as whole; and what is accepted, llhttp reads the same."""
    size, body = data[:1], data[1:]
    whole, pieces = ChunkedReader(1000), ChunkedReader(1000)
    try:
        content = whole.feed(body)
    except BadChunk:
        return
    step = size[0] % 7 + 1 if size else 1
    found = b""
    at = 0
    while at < len(body) and not pieces.done:
        found += pieces.feed(body[at : at + step])
        at += step
    assert found == content
    assert (pieces.done, pieces.trailers) == (whole.done, whole.trailers)
    if not whole.done:
        return
    assert pieces.rest + body[at:] == whole.rest
    if any(line.partition(b":")[0].lower() in _FRAMING for line in whole.trailers):
        return  # llhttp takes them for the header's; we never pass them on
    judge = _Body()
    parser = httptools.HttpRequestParser(judge)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed_data(body[: len(body) - len(whole.rest)])
    assert (judge.content, judge.complete) == (content, True)


def transcoder(data: bytes) -> None:
    """A body that is whole is whole on the other side, and only then."""
    if len(data) < 3:
        return
    kind, out, length, body = data[0] % 3, data[1] % 2, data[2], data[3:]
    incoming = (length, CHUNKED, UNTIL_CLOSE)[kind]
    outgoing = CHUNKED if out else max(incoming, UNTIL_CLOSE)
    if kind == 1 and not out:
        outgoing = UNTIL_CLOSE
    one = BodyTranscoder(incoming, outgoing, trailers=bool(length % 2), line_limit=500)
    sent = b""
    try:
        while body and not one.done:
            sent += one.feed(body[: length + 1])
            body = body[length + 1 :]
        sent += one.end()
    except ProtocolError:
        if outgoing == CHUNKED:
            judge = ChunkedReader(1000)
            judge.feed(sent)
            assert not judge.done, "a cut body looks whole"
        return
    assert one.done
    if outgoing == CHUNKED and incoming != 0:
        judge = ChunkedReader(1000)
        judge.feed(sent)
        assert judge.done
        assert not judge.rest


def forwarding(data: bytes) -> None:
    """The fields on the client are whole lines, whatever the client says of others."""
    try:
        head = parse_request_head(_as_head(data), _LIMITS)
    except BadRequest:
        return
    for trusted in (False, True):
        for peer in ("127.0.0.1", "::1", "unix"):
            rules = _TRUSTING if trusted else _RULES
            identity = identify(rules, peer, head)
            added = forwarded_fields(rules, peer, head, identity=identity)
            _check_lines(added)
            sent = render_request(head, b"fallback", added, None)
            again = parse_request_head(sent, _LIMITS)
            assert again.host == (b"fallback" if head.host is None else head.host)
            if not trusted:
                client = b"unknown" if peer == "unix" else peer.encode()
                fields = dict(again.forwarded)
                assert fields[b"x-forwarded-for"] == client
                assert len(again.forwarded) == len(fields)


def proxy_protocol(data: bytes) -> None:
    """A header is whole, still coming or none, and the same whatever follows it."""
    try:
        header = parse_proxy_header(data)
    except BadProxyHeader:
        return
    if header is not None:
        assert 0 < header.size <= min(len(data), HEADER_BYTES)
        whole = data[: header.size]
        assert parse_proxy_header(whole) == parse_proxy_header(whole + b"x") == header
        assert parse_proxy_header(whole[:-1]) is None


def accept_encoding(data: bytes) -> None:
    """A coding is chosen of those offered, and only where the client names it or all."""
    chosen = choose_coding(data, (b"zstd", b"gzip"))
    assert chosen in (None, b"zstd", b"gzip")
    if chosen is not None:
        assert chosen in data.lower() or b"*" in data
        assert choose_coding(data, (chosen,)) == chosen
    refuses_identity(data)


def config(data: bytes) -> None:
    """A document is built or refused with its faults, and never anything else."""
    try:
        document.load(data)
    except InvalidConfig as exc:
        assert str(exc)


def assignments(data: bytes) -> None:
    """An assignment changes a copy, or is refused."""
    try:
        words = data.decode().split("\n")
    except UnicodeDecodeError:
        return
    before: dict[str, Any] = {"ratio": 0, "arms": {"stable": {"servers": ["http://a"]}}}
    kept = json.dumps(before)
    try:
        changed = edit.apply_assignments(before, words)
    except BadAssignment as exc:
        assert str(exc)
    else:
        assert isinstance(changed, dict)
    assert json.dumps(before) == kept


def cookies(data: bytes) -> None:
    """No cookie of the client's is lost with ours, and none is taken that is not ours."""
    name, _, header = data.partition(b"\n")
    try:
        text = name.decode("ascii")
    except UnicodeDecodeError:
        return
    if not text.isidentifier():
        return
    rest = HiddenCookie(text).without(header)
    pattern = request_view.cookie_pattern({name})
    assert not request_view.find_cookies(rest, pattern)
    value = request_view.find_cookies(header, pattern).get(name)
    if value is not None:
        assert value in header
        assert session.CookieSigner(b"secret", 0).verify(value) is None


_ROUTES = Router(
    document.load(
        json.dumps(
            {
                "arms": {
                    name: {"servers": [f"http://{name}"]} for name in ("stable", "b")
                },
                "ratio": {"b": 0.5},
                "sticky_sessions": True,
                "rules": [
                    {"header": "X-A", "regex": "a+b", "arm": "b"},
                    {"cookie": "beta", "prefix": "1", "arm": "b"},
                    {"query": "p", "equals": "1", "arm": "b"},
                    {"path_prefix": "/b/", "arm": "b"},
                    {"host": "*.test", "arm": "b"},
                    {"network": "10.0.0.0/8", "arm": "b"},
                ],
            }
        )
    ),
    service="web",
    secrets=[b"s" * 32, b"t" * 32],
)


def decision(data: bytes) -> None:
    """Every request that is accepted has an arm, and the same one when it comes again."""
    try:
        head = parse_request_head(_as_head(data), _LIMITS)
    except BadRequest:
        return
    client = "10.0.0.1" if len(data) % 2 else "192.0.2.1"
    chance = Chance(random.Random(1).random, random.Random(1).randbytes)
    first = _ROUTES.choose(head, client, WeightedSequence(), chance, secure=False)
    assert first.arm in ("stable", "b")
    if first.cookie is None:
        again = _ROUTES.choose(head, client, WeightedSequence(), chance, secure=False)
        assert (again.arm, again.reason) == (first.arm, first.reason)
    else:
        assert not any(byte in b"\r\n\0" for byte in first.cookie)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        *(request_head, response_head, framing, chunked, transcoder, forwarding),
        *(config, assignments, cookies, decision),
        *(session_body, transaction_body, store_response, store_bytes),
        *(client_hello, certificate, authority),
        *(http2_bytes, http2_frames, http2_messages),
        *(
            accept_encoding,
            proxy_protocol,
            remembered_file,
            fleet_secret,
            proxy_report,
            proxy_status,
        ),
    )
}

SEEDS: dict[str, tuple[bytes, ...]] = {
    "request_head": (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-A\r\nX-A: b",
        b"POST http://u.test:80/a?b#c HTTP/1.1\r\nHost: h\r\nContent-Length: 3",
        b"PUT /a HTTP/1.1\r\nHost: [::1]:8\r\nTransfer-Encoding: chunked\r\nTE: trailers",
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket",
        b"\rGET / HTTP/1.1\r\nHost: h",
        b"GET /\nX-A: HTTP/1.0",
        b"OPTIONS * HTTP/1.0\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=a;by=b",
        b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length : 3\r\n x: y",
    ),
    "response_head": (
        b"GHTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: now\r\nConnection: X-A\r\nX-A: 1",
        b"HHTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nETag: x",
        b"GHTTP/1.0 200 OK\r\nServer: x",
        b"GHTTP/1.1 200 O\0K\r\nServer: x",
        b"GHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum",
        b"GHTTP/1.1 103 Early Hints\r\nLink: </a>",
    ),
    "framing": (b"L3", b"Tchunked", b"L3\nL3", b"Tgzip, chunked", b"0Tchunked\nL1"),
    "chunked": (
        b"\x033\r\nabc\r\n0\r\n\r\nGET",
        b'\x01a;x="y\\""\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n',
        b"\x0200000000000003\r\nabc\r\n0\r\n\r\n",
    ),
    "transcoder": (
        b"\x01\x01\x093\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"\x00\x01\x03abcdef",
        b"\x02\x01\x03abcdef",
        b"\x00\x00\x05abc",
    ),
    "config": (
        b'{"ratio": 1, "arms": {"a": {"servers": ["http://a", {"url": "http://b:2"}]}}}',
        b'{"arms": {"stable": {"servers": []}}, "sticky_sessions": true, "style": "x"}',
        b'{"ratio": {"canary": 1e-4, "b": NaN}, "ratio": 1, "update_rate": -1e999}',
        b"[" * 3000,
        b'{"ratio": ' + b"9" * 5000 + b"}",
        b'{"ratio": "\xff\\ud800"}',
    ),
    "assignments": (
        b"ratio=0.25",
        b"arms.stable.servers[0].weight=3\nstyle=random",
        b"arms.canary={}\narms.canary.servers=[]",
        b"ratio=" + b"[" * 3000,
        b"arms.stable.servers[" + b"9" * 5000 + b"]=1",
        b"ratio=" + b"9" * 5000,
    ),
    "cookies": (
        b"canary\ncanary=abc; other=1; canary=2",
        b'canary\n a="b;c" ;canary = x;;canaryx=1; xcanary=2',
    ),
}
SEEDS |= STORE_SEEDS | CLIENT_SEEDS | PROXY_SEEDS | TLS_SEEDS | HTTP2_SEEDS
SEEDS["accept_encoding"] = (
    b"gzip, deflate, br, zstd",
    b"gzip;q=0.5, *;q=0.1, identity;q=0",
)
SEEDS["proxy_protocol"] = (
    b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
    b"PROXY UNKNOWN\r\n",
    SIGNATURE
    + b"\x21\x11\0\x14\xc0\0\x02\x07\x0a\0\0\x01"
    + bytes(4)
    + b"\x20\0\x05\x01\0\0\0\0",
)
SEEDS["forwarding"] = SEEDS["request_head"]
SEEDS["decision"] = (
    b"GET /b/?p=1&p=%31&=&p HTTP/1.1\r\nHost: a.test:80\r\nCookie: beta=1; canary-web=x",
    b"GET /c?q HTTP/1.1\r\nHost: h\r\nX-A: aaaaaab\r\nCookie: beta\r\nCookie: canary=a.b.c",
)


def _as_head(data: bytes) -> bytes:
    """Up to the first empty line, as the event loop cuts it."""
    whole = data + b"\r\n\r\n"
    return whole[: whole.find(b"\r\n\r\n") + 4]


def _check_lines(lines: bytes) -> None:
    """Each is led by CRLF; nothing else of line ends, no NUL, no fold."""
    assert not lines or lines.startswith(b"\r\n")
    for line in lines.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        assert colon, line
        assert name.isascii(), line
        assert name.strip(b" \t") == name != b"", line
        assert not any(byte in b"\r\n\0" for byte in value), line


def _judge_request(sent: bytes, head: RequestHead) -> None:
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(sent)
    event = judge.next_event()
    assert isinstance(event, h11.Request), event
    assert (event.method, event.target) == (head.method, head.target)
