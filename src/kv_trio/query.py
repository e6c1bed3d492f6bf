"""What a request asks for: Consul's parameters as values, pure.

The texts of the errors, and their odd status codes, are Consul's: its clients match
on them. Parameters are flags by their presence: `?recurse=false` recurses.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import attrs

from kv_trio.errors import BadQuery

DEFAULT_WAIT_S = 300.0
MAX_WAIT_S = 600.0
_UINT64 = 2**64
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_UNPRINTABLE = re.compile(rb"[\x00-\x1f\x7f]")


@attrs.frozen
class Read:
    """What of the store is read, and in which form. Equal ones have equal answers."""

    key: bytes
    recurse: bool = False
    keys: bool = False
    separator: bytes = b""
    raw: bool = False

    @property
    def is_prefix(self) -> bool:
        """Whether it asks for all keys with a prefix."""
        return self.recurse or self.keys


def parse_parameters(query: bytes) -> dict[str, str]:
    """Give the parameters by name; of a repeated one the first counts."""
    found: dict[str, str] = {}
    for part in query.split(b"&"):
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            key = unquote_to_bytes(name).decode("utf-8", "replace")
            found.setdefault(key, unquote_to_bytes(value).decode("utf-8", "replace"))
    return found


def parse_key(path: bytes) -> bytes:
    """Decode a key as it stands in a path.

    Raises:
        BadQuery: it holds what cannot be printed.
    """
    key = unquote_to_bytes(path)
    if _UNPRINTABLE.search(key):
        raise BadQuery(400, "")
    return key


def parse_read(key: bytes, parameters: dict[str, str]) -> Read:
    """Give what is read.

    Raises:
        BadQuery: there is no key, or the parameters contradict each other.
    """
    if "stale" in parameters and "consistent" in parameters:
        raise BadQuery(
            400, "Cannot specify ?stale with ?consistent, conflicting semantics."
        )
    keys = "keys" in parameters
    read = Read(
        key,
        recurse="recurse" in parameters and not keys,
        keys=keys,
        separator=parameters.get("separator", "").encode() if keys else b"",
        raw="raw" in parameters,
    )
    if not key and not read.is_prefix:
        raise BadQuery(400, "Missing key name")
    return read


def parse_index(parameters: dict[str, str]) -> int:
    """Give the index that a blocking query waits to be passed; 0 for no waiting."""
    text = parameters.get("index", "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or int(text) >= _UINT64:
        raise BadQuery(400, "Invalid index")
    return int(text)


def parse_wait_s(parameters: dict[str, str]) -> float:
    """Give for how many seconds a blocking query waits, without the jitter."""
    text = parameters.get("wait", "")
    if not text:
        return DEFAULT_WAIT_S
    try:
        wait_s = parse_duration_s(text)
    except ValueError as exc:
        raise BadQuery(400, "Invalid wait time") from exc
    return min(wait_s, MAX_WAIT_S) if wait_s > 0 else DEFAULT_WAIT_S


def parse_unsigned(parameters: dict[str, str], name: str) -> int | None:
    """Give an unsigned 64-bit parameter; None if it is absent."""
    text = parameters.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadQuery(500, f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) >= _UINT64:
        raise BadQuery(500, f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def parse_duration_s(text: str) -> float:
    """Read a duration as Go writes it.

    >>> parse_duration_s("1m30s"), parse_duration_s("250ms"), parse_duration_s("0")
    (90.0, 0.25, 0.0)

    Raises:
        ValueError: it is none.
    """
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in "+-" else text
    if rest == "0":
        return 0.0
    parts = _DURATION.findall(rest)
    if not parts or "".join(parts) != rest:
        raise ValueError(f"duration {text!r}, expected such as 10s or 1m30s")
    return sign * sum(_part_s(part) for part in parts)


def format_duration(seconds: float) -> str:
    """Write whole milliseconds as a duration.

    >>> format_duration(1.5)
    '1500ms'
    """
    return f"{round(seconds * 1000)}ms"


def _part_s(part: str) -> float:
    number = part.rstrip("nuµmsh")
    return float(number) * _UNITS[part[len(number) :]]
