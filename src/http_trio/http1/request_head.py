"""The head of a client's request: checked, taken apart once, and rendered for a server.

llhttp, in its strict mode, gives the verdict on the bytes; with it, the first empty
line is the only place where the head can end. Our own pass then touches the raw
bytes once: one compiled pattern splits off the few fields that concern this
connection or our rules, and what is left between them goes on as it came, in order,
byte for byte. Handing each header to Python instead costs three times as much.

The rules are those of RFC 9110 section 7.6 (an intermediary's duties) and RFC 9112
sections 2, 3, 5 and 6. This module decides nothing about where a body ends (that is
`framing`) and does no input or output. One file, since each check belongs to the one
pass over the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs
import httptools

from http_trio.errors import BadRequest
from http_trio.hosts.host_field import is_host
from http_trio.http1.body import announced_trailers
from http_trio.http1.fields import (
    ABSENT,
    KEEP_ALIVE,
    collect_fields,
    list_members,
    says_host_only,
    without_named,
)
from http_trio.http1.framing import request_framing
from http_trio.http1.heads.head_values import HeadValues
from http_trio.http1.heads.rendering import BODY_METHODS, request_start
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.limits import Limits

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""Methods that may be repeated (RFC 9110 section 9.2.2)."""

# Each alternative starts with two characters of the sets before it: on the many fields that
# are not special, a look at these is enough (1.1 against 3.0 us a head). A value ends where
# its line does, for llhttp lets no bare LF pass.
_REQUEST_FIELDS = re.compile(
    rb"""\r\n(?=[cefhkptuxCEFHKPTUX][oerxpOERXP-])
    (c(?:onnection|ontent-length)|host|t(?:ransfer-encoding|e|railer)|expect|upgrade
    |keep-alive|proxy-connection|x-forwarded-(?:for|proto|host)|forwarded)
    :[ \t]*([^\r]*)""",
    re.IGNORECASE | re.VERBOSE,
)
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)(/[^#]*|\?[^#]*|)\Z")
_REQUEST_LINE = re.compile(rb"([^ \r\n]+) ([^ \r\n]+) HTTP/1\.([01])\r\n")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_KNOWN_TO_LLHTTP = frozenset({b"GET", b"HEAD", b"PRI"}) | BODY_METHODS
_NOT_FOR_US = frozenset({b"CONNECT"})  # however it is written
_SAYS_FORWARDED = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"}
)
_WISHES = frozenset({b"te", b"expect", b"upgrade"})
_NO_WISHES: tuple[bool, bytes | None, bool] = False, None, False
_NOTHING = object()  # llhttp calls nobody: its verdict is all that is asked of it


_set_start, _set_passed, _set_is_quiet = (  # half the time of object.__setattr__
    vars(HeadValues)[name].__set__ for name in ("_start", "passed", "is_quiet")
)


class RequestHead(HeadValues):
    """One request's header section, checked; `parse_request_head` makes it.

    Those that come again share one (see `head_cache`), so it never changes: what is to
    go on otherwise than it came is for the exchange to say.

    Attributes:
        method: as sent, `b"GET"`.
        target: in origin form (`b"/a?b"`) or `b"*"`.
        host: the authority that is asked for; None if an HTTP/1.0 client named none.
        kept: the fields that are end to end, each line led by CRLF.
        framing: the body's length, or `framing.CHUNKED`.
        keep_alive: whether the client lets the connection live on.
        upgrade: the protocol that it wants to change to, lower case; or None.
        repeatable: whether the request may be sent twice.
        forwarded: what the client said of those before it, as (lower-case name,
            value) pairs.
        passed: `kept` without what the handler never passes on, once it has looked
            (`pass_on`): so it looks once a head, not once a request.
        is_quiet: whether it found then that no field begins as those do.
        shared: what it has in common with others that ask for something else, where that
            is known; then `cookie` is the value of its one Cookie field, if it has one.
        takes_plain: whether it can be answered with the bytes that most are, and its
            connection lives on: it is HTTP/1.1, not HEAD, and has no body.
        trailer: the names of those trailers of a chunked body that may go on, as Trailer
            announces them; empty for none.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse a change: a head is shared by requests."""
        raise attrs.exceptions.FrozenInstanceError

    @property
    def asked(self) -> bytes:
        """The target as the client sent it, whatever it goes on with."""
        return self.target

    judged = asked  # by which is said whether it may pass: in the server's spelling

    @property
    def start(self) -> bytes:
        """What goes to most upstreams, up to our own fields; rendered once."""
        start = self._start
        if not start:
            host = self.host or b""
            start = request_start(self, self.kept, host, b"", self.framing)
            _set_start(self, start)
        return start

    def pass_on(self, strip: Callable[[bytes], bytes | None]) -> bytes:
        """Set `passed` and `is_quiet`, and give `passed`.

        Args:
            strip: gives fields without what is never passed on, and None where none
                begins as those do; of one handler always the same function, which looks
                at each line alone, and leaves Cookie as it is.
        """
        passed = strip(self.kept)
        if passed is None:
            _set_is_quiet(self, True)
            passed = self.kept
            if self.shared is not None:
                self.shared.is_quiet = True
        _set_passed(self, passed)
        return passed


def parse_request_head(raw: bytes, limits: Limits) -> RequestHead:
    """Check and take apart a request's head, which ends with the empty line.

    Raises:
        BadRequest: with the status to answer.
    """
    line_end = raw.find(b"\r\n")
    if line_end > limits.request_line:
        raise BadRequest(414, f"a request line of {line_end} bytes")
    if raw.count(b"\n") > limits.fields + 2:
        raise BadRequest(431, f"more than {limits.fields} header fields")
    _check_with_llhttp(raw)
    match = _REQUEST_LINE.match(raw)
    if match is None:
        raise _bad_request_line(raw[:line_end])
    method, target, minor = match.groups()
    if method == b"CONNECT":
        raise BadRequest(501, "CONNECT is for forward proxies")
    http10 = minor == b"0"
    pieces = _REQUEST_FIELDS.split(raw[line_end:-4])
    kept = b"".join(pieces[::3])
    said = collect_fields(pieces)
    host = _read_host(said.get(b"host", ABSENT), http10=http10)
    settled = target[:1] == b"/" and b"#" not in target
    if settled and minor == b"1" and says_host_only(said):
        return plain_head(raw, method, target, host, kept)
    framing = 0
    if b"content-length" in said or b"transfer-encoding" in said:
        lengths = said.get(b"content-length", ABSENT)
        codings = said.get(b"transfer-encoding", ABSENT)
        framing = request_framing(lengths, codings, http10=http10)
    options = list_members(said[b"connection"]) if b"connection" in said else ABSENT
    if options and options != KEEP_ALIVE:
        kept = without_named(kept, options)
    wishes = (
        _NO_WISHES
        if http10 or _WISHES.isdisjoint(said)
        else _read_wishes(said, options)
    )
    if not settled:
        host, target = _settle_target(method, target, host)
    keep_alive = (b"keep-alive" in options) if http10 else (b"close" not in options)
    head = HeadValues(
        *(raw, method, target, host, kept, method in IDEMPOTENT),
        keep_alive and not http10 and not framing and method != b"HEAD",
        *(framing, http10, keep_alive, *wishes),
        () if _SAYS_FORWARDED.isdisjoint(said) else _read_forwarded(said),
        announced_trailers(said[b"trailer"]) if b"trailer" in said else b"",
    )
    head.__class__ = RequestHead
    return head  # type: ignore[return-value]  # it is one now


def bodiless_request_head(
    method: bytes, target: bytes, host: bytes, kept: bytes
) -> RequestHead:
    """Give the head of a request without a body, of parts that were checked before.

    It is what `parse_request_head` gives for the bytes that these make, where no field
    is one that concerns the connection, the body, or those before the client.
    """
    start = b"%b %b HTTP/1.1\r\nHost: %b%b" % (method, target, host, kept)
    head = plain_head(start + b"\r\n\r\n", method, target, host, kept)
    _set_start(head, start)
    return head


def plain_head(
    raw: bytes, method: bytes, target: bytes, host: bytes | None, kept: bytes
) -> RequestHead:
    """Give the head of a request without a body, whose connection is kept."""
    repeatable, plain = method in IDEMPOTENT, method != b"HEAD"
    made = HeadValues(raw, method, target, host, kept, repeatable, plain)
    made.__class__ = RequestHead
    return made  # type: ignore[return-value]  # it is one now


def shared_head(
    raw: bytes, method: bytes, target: bytes, shared: SharedFields, cookie: bytes
) -> RequestHead:
    """Give the same, of a request whose fields are these, and the value of Cookie."""
    kept = shared.before
    if shared.rest:
        kept = b"".join((kept, cookie, shared.after))
    repeatable, plain = method in IDEMPOTENT, method != b"HEAD"
    made = HeadValues(raw, method, target, shared.host, kept, repeatable, plain)
    made.shared, made.cookie = shared, cookie
    if shared.is_quiet:
        made.passed, made.is_quiet = kept, True
    made.__class__ = RequestHead
    return made  # type: ignore[return-value]  # it is one now


def check_unfinished_head(buffer: bytes, limits: Limits, checked: int = 0) -> None:
    """Check what has come of a request's head, whose end has not.

    Args:
        buffer: what has come.
        limits: that hold.
        checked: bytes of it that were checked before, so that a head which comes byte
            by byte is read over once.

    Raises:
        BadRequest: nothing that still comes can make it a good one.
    """
    line_end = buffer.find(b"\r\n")
    if (line_end if line_end >= 0 else len(buffer)) > limits.request_line:
        raise BadRequest(414, f"a request line beyond {limits.request_line} bytes")
    if len(buffer) > limits.head:
        raise BadRequest(431, f"a header section beyond {limits.head} bytes")
    ends = buffer.count(b"\r\n", max(0, checked - 1))  # a CR may have come before
    if buffer.count(b"\n", checked) != ends:
        raise BadRequest(400, "a line that ends in a bare LF")


def render_request(
    head: RequestHead,
    fallback_host: bytes,
    added: bytes,
    body_length: int | None,
    *,
    prefix: bytes = b"",
    kept: bytes | None = None,
) -> bytes:
    """Give the head that goes to the upstream.

    Args:
        head: what the client sent.
        fallback_host: the Host for a client that named none.
        added: our own fields, each line led by CRLF.
        prefix: of the path, put before the target; `*` is no path and stays.
        kept: the fields that go on, in place of `head.kept`.
        body_length: the length of a body that is held whole; None to keep the
            framing that the request came with.
    """
    framing = head.framing if body_length is None else body_length
    if kept is None:
        kept = head.kept
    if (
        kept is head.kept
        and framing == head.framing
        and head.host is not None
        and not prefix
    ):
        return b"%b%b\r\n\r\n" % (head.start, added)
    host = fallback_host if head.host is None else head.host
    start = request_start(head, kept, host, prefix, framing)
    return b"%b%b\r\n\r\n" % (start, added)


def _check_with_llhttp(raw: bytes) -> None:
    try:
        httptools.HttpRequestParser(_NOTHING).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as exc:
        method, _, rest = raw.partition(b" ")
        if method in _KNOWN_TO_LLHTTP:
            raise BadRequest(400, str(exc)) from exc
        if _METHOD.match(method) is None or method.upper() in _NOT_FOR_US:
            status = 400 if method.strip(b"\r\n") != method else 501
            raise BadRequest(status, "a method that is not known") from exc
        _check_with_llhttp(b"POST " + rest)  # llhttp's list of methods is not ours


def _bad_request_line(line: bytes) -> BadRequest:
    if b"\n" in line or b"\r" in line:
        # llhttp skips some before the method; after the target it sees HTTP/0.9.
        return BadRequest(400, "a bare CR or LF in the request line")
    if line == b"PRI * HTTP/2.0":
        return BadRequest(
            505, "HTTP/2 by prior knowledge is not served at this address"
        )
    words = line.split(b" ")
    if len(words) != 3 or not all(words):
        return BadRequest(400, "a request line that is not three words")
    return BadRequest(505, f"version {words[2][:20]!r}")


def _read_host(hosts: list[bytes], *, http10: bool) -> bytes | None:
    """RFC 9112 section 3.2: exactly one, but for HTTP/1.0."""
    if len(hosts) > 1:
        raise BadRequest(400, "more than one Host")
    if not hosts:
        if http10:
            return None
        raise BadRequest(400, "no Host")
    if not is_host(hosts[0]):
        raise BadRequest(400, f"Host {hosts[0][:60]!r}")
    return hosts[0]


def _read_wishes(
    said: dict[bytes, list[bytes]], options: list[bytes]
) -> tuple[bool, bytes | None, bool]:
    """What an HTTP/1.1 client may ask of the connection beyond keeping it.

    Gives whether it expects 100, the protocol it would change to, and whether it
    takes trailers.
    """
    expects, upgrade, trailers = _NO_WISHES
    if b"te" in said:
        trailers = b"trailers" in list_members(said[b"te"])
    if b"expect" in said:
        if said[b"expect"][0].lower() != b"100-continue":
            raise BadRequest(417, f"Expect {said[b'expect'][0][:40]!r}")
        expects = True
    if b"upgrade" in options and b"upgrade" in said:
        protocol = said[b"upgrade"][0].lower()
        # Others, above all h2c, would open a way past every rule behind this one.
        upgrade = protocol if protocol == b"websocket" else None
    return expects, upgrade, trailers


def _settle_target(
    method: bytes, target: bytes, host: bytes | None
) -> tuple[bytes | None, bytes]:
    """Bring a target that is not in origin form into it (RFC 9112 section 3.2)."""
    if target == b"*" and method == b"OPTIONS":
        return host, target
    match = _ABSOLUTE.match(target)
    if match is None:
        raise BadRequest(400, f"target {target[:60]!r}, expected a path")
    if not match[1] or not is_host(match[1]):
        raise BadRequest(400, f"authority {match[1][:60]!r} in the target")
    rest = match[2]
    return match[1], rest if rest[:1] == b"/" else b"/" + rest


def _read_forwarded(
    said: dict[bytes, list[bytes]],
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (name, value) for name in _SAYS_FORWARDED for value in said.get(name, ABSENT)
    )
