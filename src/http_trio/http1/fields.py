"""Field lines of a raw head: find them, list their members, leave out hop-by-hop.

A field line is led by CRLF, here and wherever lines are kept. So lines are put
together by joining, and one is taken out without a look at its neighbours. The rule
that it obeys: it works on the bytes as they came, and never lists all fields.
"""

from __future__ import annotations

import functools
import re

ABSENT: list[bytes] = []
"""The values of a field that is not there."""
KEEP_ALIVE = [b"keep-alive"]
"""What Connection lists most often, where there is one at all."""
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_ORDINARY = frozenset({b"", b"close", b"keep-alive", b"upgrade", b"te"})


def find_value(raw: bytes, name: bytes) -> bytes | None:
    """Give the first value of a field of a raw head; None if it is absent."""
    match = _field_pattern(name).search(raw)
    return match[1].rstrip(b" \t") if match else None


def find_values(raw: bytes, name: bytes) -> list[bytes]:
    """Give all values of a field of a raw head, in order, without outer space."""
    return [value.rstrip(b" \t") for value in _field_pattern(name.lower()).findall(raw)]


def collect_fields(pieces: list[bytes]) -> dict[bytes, list[bytes]]:
    """Gather the special fields that a split found: lower-case name to values."""
    said: dict[bytes, list[bytes]] = {}
    for at in range(1, len(pieces), 3):
        name = pieces[at].lower()
        value = pieces[at + 1].rstrip(b" \t")
        if name in said:
            said[name].append(value)
        else:
            said[name] = [value]
    return said


def says_host_only(said: dict[bytes, list[bytes]]) -> bool:
    """Tell whether special fields of a request are those of most: Host, and keep-alive."""
    return len(said) == 1 or (len(said) == 2 and said.get(b"connection") == KEEP_ALIVE)


def list_members(values: list[bytes]) -> list[bytes]:
    """Give the members of a list field, in lower case (RFC 9110 section 5.6.1)."""
    joined = values[0] if len(values) == 1 else b",".join(values)
    if b"," not in joined:
        return [joined.lower()]
    return [option.strip(b" \t") for option in joined.lower().split(b",")]


def without_named(kept: bytes, options: list[bytes]) -> bytes:
    """Leave out the fields that Connection names (RFC 9110 section 7.6.1).

    In one pass over the lines, however many names there are: one pass for each took a
    second of everybody's time for a head of 30 KB.
    """
    named = set(options) - _ORDINARY
    if not named:
        return kept
    lines = kept.split(b"\r\n")
    return b"\r\n".join(
        [line for line in lines if line.partition(b":")[0].lower() not in named]
    )


def without_empty_lines(buffer: bytes) -> bytes:
    """Leave out the empty lines before a request (RFC 9112 section 2.2).

    All at once: one by one, a flood of them takes quadratic time.
    """
    found = _EMPTY_LINES.match(buffer)
    return buffer if found is None else buffer[found.end() :]


@functools.lru_cache(maxsize=256)
def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n" + re.escape(name) + rb":[ \t]*([^\r\n]*)", re.IGNORECASE)
