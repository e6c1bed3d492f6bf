"""Names for requests: `X-Request-Id` made or kept, `traceparent` kept or started. Pure.

A request that a client has named keeps its name, if that is short and harmless; all
others are given 128 random bits. A valid `traceparent` is always passed on as it came,
since we take no part in the trace. Where the document asks for traces to be started, a
request without a valid one gets a new one, and a `tracestate` that belonged to an
invalid one is dropped (W3C Trace Context, level 1, sections 3.2 and 4.3).

Starting traces is not the default: a started trace decides for all behind us whether it
is recorded (the flag `sampled`), and their own samplers mostly follow it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from canary_trio.proxy.fields.header_changes import lines_of

_HARMLESS = re.compile(rb"[A-Za-z0-9_.:/+=@~-]{1,128}\Z")
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\Z"
)
_TRACE_FIELDS = re.compile(
    rb"\r\n(traceparent|tracestate):[ \t]*([^\r\n]*)", re.IGNORECASE
)
_TRACE_LINES = lines_of({"traceparent", "tracestate"})
_HEX_OF_ID = 32
_HEX_OF_SPAN = 16
_DRAWN = 4096  # bytes asked for at once: a system call for 256 ids


class RandomHex:
    """Random digits, drawn in large pieces since each draw is a system call."""

    __slots__ = ("_digits", "_draw", "_taken")

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        """Begin; draw(n) gives n random bytes."""
        self._draw = draw
        self._digits = b""
        self._taken = 0

    def take(self, count: int) -> bytes:
        """Give so many hexadecimal digits."""
        start = self._taken
        end = start + count
        if end > len(self._digits):
            self._digits = self._draw(_DRAWN).hex().encode("ascii")
            start, end = 0, count
        self._taken = end
        return self._digits[start:end]


class RequestIds:
    """The names of requests under one revision.

    Args:
        name: of the field.
        random: for those that we give.

    Attributes:
        begins_with_x: whether its name begins with `X-`, as most do.
    """

    __slots__ = ("_find", "_line", "_lines", "_take", "begins_with_x")

    def __init__(self, name: str, random: RandomHex) -> None:
        either_case = "".join(
            f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else letter
            for letter in map(re.escape, name)
        )
        # A literal first byte and no flag: half the time of a pattern that ignores case.
        pattern = rf"\n{either_case}:[ \t]*([^\r\n]*)"
        self._find = re.compile(pattern.encode("ascii")).search
        self._line = b"\r\n%b: " % name.encode("ascii")
        self._lines = lines_of({name})
        self._take = random.take
        self.begins_with_x = name[:2] in ("X-", "x-")

    def make(self, lines: bytes) -> tuple[bytes, bytes]:
        """Give a new id, and lines with its own behind them."""
        made = self._take(_HEX_OF_ID)
        return made, lines + self._line + made

    def name(self, kept: bytes) -> tuple[bytes, bytes, bytes]:
        """Give a request its id: the one it came with, or a new one.

        Args:
            kept: its fields.

        Returns:
            Its name; its fields, without a name that is not kept; the line to add, empty
            if the client's name is kept.
        """
        found = self._find(kept)
        if found is not None:
            name = found[1].rstrip(b" \t")
            is_only = self._find(kept, found.end()) is None
            if is_only and _HARMLESS.match(name) is not None:
                return name, kept, b""
            kept = self._lines.sub(b"", kept)
        made = self._take(_HEX_OF_ID)
        return made, kept, self._line + made


class Traces:
    """Starts traces for requests that have none.

    Args:
        sampled: the share of them that asks to be recorded, 0 to 1.
        random: for their ids.
        draw: gives numbers in [0, 1).
    """

    __slots__ = ("_draw", "_random", "_sampled")

    def __init__(
        self, sampled: float, random: RandomHex, draw: Callable[[], float]
    ) -> None:
        self._sampled = sampled
        self._random = random
        self._draw = draw

    def start(self, kept: bytes) -> tuple[bytes, bytes]:
        """Start a trace if there is none; give the fields, and the line to add."""
        found = [
            (name.lower(), value.rstrip(b" \t"))
            for name, value in _TRACE_FIELDS.findall(kept)
        ]
        parents = [value for name, value in found if name == b"traceparent"]
        if len(parents) == 1 and is_traceparent(parents[0]):
            return kept, b""
        if found:
            kept = _TRACE_LINES.sub(b"", kept)
        take = self._random.take
        flags = b"01" if self._draw() < self._sampled else b"00"
        ids = take(_HEX_OF_ID), take(_HEX_OF_SPAN)
        return kept, b"\r\ntraceparent: 00-%b-%b-%b" % (*ids, flags)


def is_traceparent(value: bytes) -> bool:
    """Tell whether a value is valid: version 00, or a later one that begins as it does.

    >>> is_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    True
    """
    match = _TRACEPARENT.match(value)
    return match is not None and not (match[1] == b"00" and match[2] is not None)
