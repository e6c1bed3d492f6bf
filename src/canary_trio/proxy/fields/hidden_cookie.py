"""Our cookie is between us and the user: servers do not see it. Pure."""

from __future__ import annotations

import re

from http_trio.http1.request_head import RequestHead

_COOKIE = b"\r\ncookie:"
_LINE = len(b"\r\nCookie: ")


class HiddenCookie:
    """Takes one cookie out of the fields of requests.

    Args:
        name: of the cookie.
    """

    __slots__ = ("_begins", "_remove")

    def __init__(self, name: str) -> None:
        self._begins = begins = name.encode() + b"="
        self._remove = re.compile(rb"(?:^|;)[ \t]*%b[^;]*" % re.escape(begins)).sub

    def __repr__(self) -> str:
        return f"<HiddenCookie {self._begins[:-1].decode()}>"

    def hide(self, head: RequestHead, fields: bytes) -> bytes:
        """Give the fields of a request without it; those of its head, or changed ones."""
        shared = head.shared
        if shared is None or fields is not head.kept:
            return self.hide_in(fields)
        if self._begins not in head.cookie:
            return fields
        left = self.without(head.cookie)
        if left:
            return b"".join((shared.before, left, shared.after))
        return shared.before[:-_LINE] + shared.after

    def hide_in(self, fields: bytes) -> bytes:
        """Give fields without it, each led by CRLF."""
        at = fields.find(self._begins)
        while at >= 0:
            start, end = fields.rfind(b"\r\n", 0, at), fields.find(b"\r\n", at)
            if end < 0:
                end = len(fields)
            value = start + len(_COOKIE)
            if fields[start:value].lower() == _COOKIE:
                left = self.without(fields[value:end])
                line = b"\r\nCookie: " + left if left else b""
                fields = fields[:start] + line + fields[end:]
                end = start + len(line)
            at = fields.find(self._begins, end)
        return fields

    def without(self, value: bytes) -> bytes:
        """Give a Cookie field's value without it; empty if no other cookie is left.

        >>> HiddenCookie("canary").without(b"a=1; canary=x; b=2")
        b'a=1; b=2'
        """
        before, _, behind = value.partition(self._begins)
        if (before and before[-2:] != b"; ") or self._begins in behind:
            return self._remove(b"", value.lstrip(b" \t")).strip(b" \t;")
        # It stands there once, as browsers write it: half of what a pattern takes.
        end = behind.find(b";")
        rest = behind[end:] if end >= 0 else b""
        return (before[:-2] + rest).strip(b" \t;")
