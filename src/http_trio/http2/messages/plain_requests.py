"""Requests over HTTP/2 that most are: without a body, and with no field of a special kind.

All others are written as HTTP/1.1 and parsed (`heads.py`). These are taken as they are,
since what the parser would look for was looked at already: names and values by the
session (RFC 9113 section 8.2.1), the rest here. What a browser says beside its path and
its cookies is the same in many of its requests, so that is looked at once.

The rule that it obeys: it gives what the parser would give, byte for byte, or nothing. A
test holds the two together. What was looked at is known by all of its bytes.
"""

from __future__ import annotations

import re
from operator import itemgetter

from http_trio.hosts.host_field import is_host
from http_trio.http1.heads.head_cache import HeadCache
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.http1.request_head import RequestHead, plain_head, shared_head
from http_trio.http2.messages.heads import Field
from http_trio.limits import Limits

_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"DELETE"})
_is_target = re.compile(  # as of RFC 3986
    rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]]*"
).fullmatch
_SPECIAL = frozenset(
    b"connection content-length cookie expect forwarded host keep-alive proxy-connection"
    b" sec-websocket-accept sec-websocket-key te trailer transfer-encoding upgrade"
    b" x-forwarded-for x-forwarded-host x-forwarded-proto".split()
)
_PSEUDO = 4  # :method, :scheme, :authority and :path
_HOST = b"\r\nHost: "
_END = b"\r\n\r\n"
_COOKIE, _NO_COOKIE = (b"cookie: ",), (b"", b"")  # the last lines before its value
_line = b": ".join  # of a field
_value = itemgetter(1)


class PlainRequests:
    """The heads of the requests that one handler gets."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known = HeadCache[SharedFields]()

    def __repr__(self) -> str:
        return f"<PlainRequests {self._known}>"

    def head(self, fields: tuple[Field, ...], limits: Limits) -> RequestHead | None:
        """Give the head of a request that has no body; None if it is none of the most.

        Args:
            fields: as they came, checked by the session, pseudo-header fields first.
            limits: that hold.

        >>> get = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/a"))
        >>> asked = (*get, (b":authority", b"a.example"))
        >>> PlainRequests().head(asked, Limits()).raw
        b'GET /a HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n'
        """
        pseudo = dict(fields[:_PSEUDO])
        method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        host = pseudo.get(b":authority", b"")
        if method not in _METHODS or _is_target(target) is None:
            return None
        others, cookies = _split(fields)
        last = _COOKIE if cookies else _NO_COOKIE
        lines = [_HOST + host, *map(_line, others), *last]
        lead = b"\r\n".join(lines)
        shared = self._known.get(lead)
        if shared is None:
            names = dict(others)
            if b"cookie" in names:
                return self.head(_with_cookies_last(fields), limits)
            if not _are_plain(host, names) or lead.count(b"\n") != len(lines):
                return None
            if self._known.comes_again(lead):
                shared = self._keep(host, lead, last)
        cookie = b"; ".join(map(_value, cookies))  # RFC 9113 section 8.2.3
        end = b"" if last is _NO_COOKIE else _END
        raw = b"".join((method, b" ", target, b" HTTP/1.1", lead, cookie, end))
        line_end = raw.find(b"\r")
        if (
            line_end > limits.request_line
            or len(lines) > limits.fields
            or len(raw) > limits.head
            or b"\n" in cookie
        ):
            return None
        if shared is None:
            kept = raw[raw.find(b"\r", line_end + 2) : -len(_END)]
            return plain_head(raw, method, target, host, kept)
        return shared_head(raw, method, target, shared, cookie)

    def _keep(self, host: bytes, lead: bytes, last: tuple[bytes, ...]) -> SharedFields:
        """Keep what heads share that begin so."""
        kept, rest = lead[len(_HOST) + len(host) :], _END
        if last is _NO_COOKIE:
            kept, rest = kept[: -len(_END)], b""
        shared = SharedFields(lead, rest, host, kept, b"")
        self._known.keep(lead, shared)
        return shared


def _split(
    fields: tuple[Field, ...],
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """Give the fields behind the pseudo-header fields, and the cookies behind these.

    Cookies come last, or, from a browser, before its priority.
    """
    end = len(fields)
    if end > _PSEUDO and fields[-1][0] != b"cookie":
        end -= 1
    first = end
    while first > _PSEUDO and fields[first - 1][0] == b"cookie":
        first -= 1
    return fields[_PSEUDO:first] + fields[end:], fields[first:end]


def _with_cookies_last(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Give the fields so that `_split` finds all cookies."""
    cookies = tuple([one for one in fields if one[0] == b"cookie"])
    return tuple([one for one in fields if one[0] != b"cookie"]) + cookies


def _are_plain(host: bytes, names: dict[bytes, bytes]) -> bool:
    """Tell whether a head with these fields is plain, whatever its cookies are."""
    return (
        host != b""
        and is_host(host)
        and _SPECIAL.isdisjoint(names)
        and next(iter(names), b"a")[:1] != b":"
    )
