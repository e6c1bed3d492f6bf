"""One line per request, as JSON or as text: formatted by one template. Pure.

The rule that it obeys: whatever a client sends, a line is one line, is ASCII, and is
valid in its form, so nobody can write a line of their own into the log. Almost every
value is harmless, so one search for what is not is nearly all that safety costs.

    {"time":"2026-11-24T21:38:23.125Z","client":"192.0.2.7","method":"GET",
     "target":"/a?b=c","protocol":"HTTP/1.1","status":200,"bytes":512,"seconds":0.001532,
     "server":"http://10.0.0.9:8000","request_id":"...","retries":0,
     "service":"web","revision":57,"arm":"canary","reason":"rule","rule":"beta"}

    192.0.2.7 - - [24/Nov/2026:21:38:23 +0000] "GET /a?b=c HTTP/1.1" 200 512
    seconds=0.001532 server=http://10.0.0.9:8000 id=... retries=0 service=web
    arm=canary reason=rule rule=beta revision=57

(each on one line). The text begins as the Common Log Format does, so that the tools for
it can read it. One file, since both forms are one list of fields.
"""

from __future__ import annotations

import enum
import functools
import json
import re
import time
from typing import Protocol

_NAMES = 4096  # servers whose names are kept escaped

_UNSAFE_IN_JSON = re.compile(rb"[^ !#-\[\]-~]").search
_UNSAFE_IN_TEXT = re.compile(rb"[^!#-\[\]-~]").search


class LineForm(enum.Enum):
    """The format of the lines."""

    JSON = "json"
    TEXT = "text"


class DecisionFields(Protocol):
    """What a line says of the decision, rendered before: a `DecisionLabels`."""

    json: bytes
    text: bytes


class RequestFields(Protocol):
    """What a line says of the request: a `RequestHead`."""

    @property
    def method(self) -> bytes:
        """The method of the request."""

    @property
    def asked(self) -> bytes:
        """The path and the query, as the client sent them."""


class ExchangeFields(Protocol):
    """What a line says of the exchange: an `Exchange`.

    Attributes:
        response_bytes: of the response's content that went to the client.
    """

    response_bytes: int

    @property
    def client(self) -> str:
        """The client's address."""

    @property
    def protocol(self) -> str:
        """By what it came, such as "HTTP/1.1"."""

    @property
    def head(self) -> RequestFields:
        """The head of the request."""


class Format(Protocol):
    """Gives the line of an exchange that is over."""

    def __call__(
        self,
        ended_at: float,
        exchange: ExchangeFields,
        decision: DecisionFields,
        status: int,
        seconds: float,
        *,
        server: str,
        request_id: bytes,
        retries: int,
        failure: str = "",
        grpc_status: int | None = None,
        user: bytes = b"",
    ) -> bytes:
        """Give the line.

        Args:
            ended_at: the time when it ended, in seconds since 1970.
            exchange: the exchange.
            decision: what is said of it.
            status: that went out; 0 for none.
            seconds: that it took.
            server: that responded; empty for none.
            request_id: as the client may have sent it.
            retries: further tries than the first.
            failure: why there was no response, or not all of it; empty for no failure.
            grpc_status: what a call of gRPC came to; None of other requests.
            user: who asked, as a client may have said it; empty where nobody was asked.
        """


def formatter(form: LineForm) -> Format:
    """Give the function that formats lines; it keeps the last second's text."""
    return _json_formatter() if form is LineForm.JSON else _text_formatter()


def _json_formatter() -> Format:
    json_name = functools.lru_cache(_NAMES)(lambda name: escape_json(name.encode()))
    second, prefix = -1, b""

    def line(
        ended_at: float,
        exchange: ExchangeFields,
        decision: DecisionFields,
        status: int,
        seconds: float,
        *,
        server: str,
        request_id: bytes,
        retries: int,
        failure: str = "",
        grpc_status: int | None = None,
        user: bytes = b"",
    ) -> bytes:
        nonlocal second, prefix
        whole = int(ended_at)
        if whole != second:
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            second, prefix = whole, b'{"time":"%b' % shown.encode()
        request = exchange.head
        method, target = request.method, request.asked
        if not method.isalpha():
            method = escape_json(method)
        if _UNSAFE_IN_JSON(target):
            target = escape_json(target)
        if not request_id.isalnum() and _UNSAFE_IN_JSON(request_id):
            request_id = escape_json(request_id)
        return (
            b'%b.%03dZ","client":"%b","method":"%b","target":"%b","protocol":"%b",'
            b'"status":%d,"bytes":%d,"seconds":%.6f,"server":"%b","request_id":"%b","retries":%d,%b%b%b%b}\n'
        ) % (
            prefix,
            int((ended_at - whole) * 1000),
            exchange.client.encode(),
            method,
            target,
            exchange.protocol.encode(),
            status,
            exchange.response_bytes,
            seconds,
            json_name(server),
            request_id,
            retries,
            decision.json,
            b',"grpc_status":%d' % grpc_status if grpc_status is not None else b"",
            b',"failure":"%b"' % json_name(failure) if failure else b"",
            b',"user":"%b"' % escape_json(user) if user else b"",
        )

    return line


def _text_formatter() -> Format:
    text_name = functools.lru_cache(_NAMES)(lambda name: escape_text(name.encode()))
    second, prefix = -1, b""

    def line(
        ended_at: float,
        exchange: ExchangeFields,
        decision: DecisionFields,
        status: int,
        seconds: float,
        *,
        server: str,
        request_id: bytes,
        retries: int,
        failure: str = "",
        grpc_status: int | None = None,
        user: bytes = b"",
    ) -> bytes:
        nonlocal second, prefix
        whole = int(ended_at)
        if whole != second:
            shown = f"{time.gmtime(whole).tm_mday:02d}/{_month_and_time(whole)}"
            second, prefix = whole, b" [%b +0000]" % shown.encode()
        request = exchange.head
        method, target = request.method, request.asked
        if not method.isalpha():
            method = escape_text(method)
        if _UNSAFE_IN_TEXT(target):
            target = escape_text(target)
        if not request_id.isalnum() and _UNSAFE_IN_TEXT(request_id):
            request_id = escape_text(request_id)
        return (
            b'%b - %b%b "%b %b %b" %d %d seconds=%.6f server=%b id=%b retries=%d %b%b%b\n'
        ) % (
            exchange.client.encode(),
            escape_text(user) if user else b"-",
            prefix,
            method,
            target,
            exchange.protocol.encode(),
            status,
            exchange.response_bytes,
            seconds,
            text_name(server) or b"-",
            request_id or b"-",
            retries,
            decision.text,
            b" grpc_status=%d" % grpc_status if grpc_status is not None else b"",
            b" failure=" + text_name(failure) if failure else b"",
        )

    return line


def escape_json(value: bytes) -> bytes:
    r"""Give bytes as the inside of a JSON string, in ASCII; what is not UTF-8 as `\xff`.

    >>> escape_json(b'a"b\\xff')
    b'a\\"b\\\\xff'
    """
    return json.dumps(value.decode("utf-8", "backslashreplace")).encode()[1:-1]


def escape_text(value: bytes) -> bytes:
    r"""Give bytes as one word in ASCII, which can stand between quotes.

    >>> escape_text(b'a "b"')
    b'a\\x20\\x22b\\x22'
    """
    return _NOT_PLAIN.sub(lambda match: b"\\x%02x" % match[0][0], value)


_NOT_PLAIN = re.compile(rb"[^!#-\[\]-~]")
_MONTHS = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]


def _month_and_time(second: int) -> str:
    """Name the month in English, whatever the locale."""
    utc = time.gmtime(second)
    clock = f"{utc.tm_hour:02d}:{utc.tm_min:02d}:{utc.tm_sec:02d}"
    return f"{_MONTHS[utc.tm_mon - 1]}/{utc.tm_year}:{clock}"
