"""Fields that come again with another target, or other cookies. Pure.

A browser asks for another target each time, and now and then with other cookies, but what
else it says stays the same for long. So a head is looked up by that, and only what differs
is read: half of what it costs to check it and to take it apart.

The rule that it obeys: what is found is what `parse_request_head` would give. All bytes of
a head are compared but for the target, which is one of the ordinary kind, and the value of
one Cookie field, which is printable; on these nothing else in a head depends. A head that is
not so is for the parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from http_trio.http1.heads.head_cache import HeadCache
from http_trio.http1.heads.head_values import HeadValues
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.limits import Limits

_LINE = re.compile(
    rb"(GET|HEAD|OPTIONS|DELETE) (/[!\"$-~]*) HTTP/1\.1(?=\r\n)"
).match  # of methods that have no body, mostly
_PRINTABLE = bytes(range(0x20, 0x7F))
_COOKIE = b"ookie: "  # the field as browsers write it, or in lower case
_BEFORE_COOKIE = (b"\r\nC", b"\r\nc")
_NAME = len(b"\r\nCookie: ")
_IN_VAIN = 256  # looks that found nothing, in a row; then there is a rest
_REST = 4096  # heads that are not looked up then

Head = TypeVar("Head", bound=HeadValues)


class FieldCache(Generic[Head]):
    """The fields of the heads that came to one event loop.

    Args:
        limits: that hold for each.
        make: makes a head of its bytes, method, target, fields and value of Cookie.

    Where it finds nothing for long it stops looking for a while: there each request says
    something new, such as the id of a trace.
    """

    __slots__ = ("_in_vain", "_known", "_limits", "_make", "_resting")

    def __init__(
        self,
        limits: Limits,
        make: Callable[[bytes, bytes, bytes, SharedFields, bytes], Head],
    ) -> None:
        self._make = make
        self._known = HeadCache[SharedFields]()
        self._limits = limits
        self._in_vain = 0
        self._resting = 0

    def __repr__(self) -> str:
        return f"<FieldCache {self._known} in vain={self._in_vain}>"

    def head(self, raw: bytes, last: SharedFields | None) -> Head | None:
        """Give a head whose fields are known; None if they are not.

        Args:
            raw: what came, which ends with an empty line; if that is not the end of the
                first head in it, nothing is given.
            last: the fields of the head before it on its connection, which are looked at
                first: comparing costs less than looking up.
        """
        if last is None and self._resting:
            self._resting -= 1
            return None
        line = _LINE(raw)
        if line is None:
            return None
        start = line.end()
        if (
            last is None
            or not raw.startswith(last.lead, start)
            or not raw.endswith(last.rest)
        ):
            last = self._look_up(raw, start)
            if last is None:
                return None
        # They do not overlap: what is behind Cookie has no second one. And since they were of
        # one head, which ended with them, this is one.
        cookie = raw[start + last.size : len(raw) - len(last.rest)]
        limits = self._limits
        if (
            cookie.translate(None, _PRINTABLE)
            or start > limits.request_line
            or len(raw) > limits.head
        ):
            return None
        return self._make(raw, line[1], line[2], last, cookie)

    def offer(self, raw: bytes, head: HeadValues) -> Head | None:
        """Keep the fields of a head that was parsed, if they have come before.

        Then it gives the head that others of these fields are like; else None.
        """
        host = head.host
        if self._resting or host is None or not _is_plain(head):
            return None
        line = _LINE(raw)
        if line is None:
            return None
        start = line.end()
        lead, rest = _around_cookie(raw, start)
        if not self._known.comes_again(lead + rest):
            return None
        before, after = head.kept, b""
        if rest:
            name, value = lead[-_NAME:], raw[start + len(lead) : len(raw) - len(rest)]
            before, found, after = head.kept.partition(name)
            if not found:
                return None  # Connection names it
            before, after = before + name, after[len(value) :]
        if b"\r\ncookie:" in (lead[: -_NAME if rest else None] + rest).lower():
            return None  # of several each counts
        fields = SharedFields(lead, rest, host, before, after)
        self._known.keep(lead + rest, fields)
        return self.head(raw, fields)

    def _look_up(self, raw: bytes, start: int) -> SharedFields | None:
        if self._resting:
            self._resting -= 1
            return None
        lead, rest = _around_cookie(raw, start)
        found = self._known.get(lead + rest)
        if found is not None:
            self._in_vain = 0
            return found
        self._in_vain += 1
        if self._in_vain > _IN_VAIN:
            self._in_vain, self._resting = 0, _REST
        return None


def _around_cookie(raw: bytes, start: int) -> tuple[bytes, bytes]:
    """Give a head from there up to the value of its first Cookie field, and behind it."""
    at = raw.find(_COOKIE, start)
    if at < 0 or raw[at - 3 : at] not in _BEFORE_COOKIE:
        return raw[start:], b""
    return raw[start : at + len(_COOKIE)], raw[raw.find(b"\r\n", at) :]


def _is_plain(head: HeadValues) -> bool:
    """Tell whether nothing in its fields says more than whose they are."""
    return (
        head.framing == 0
        and head.keep_alive
        and head.upgrade is None
        and not (head.http10 or head.expects_continue or head.takes_trailers)
        and not (head.forwarded or head.trailer)
    )
