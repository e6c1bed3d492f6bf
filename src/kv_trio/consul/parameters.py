"""The parameters of a request to Consul's API, as values. Pure.

The texts of the errors, and their odd status codes, are Consul's: its clients match
on them. Parameters are flags by their presence: `?recurse=false` recurses.

One file, since the values and the parsers of their single parameters are read together.
"""

from __future__ import annotations

import posixpath
import re
from functools import cached_property, lru_cache
from urllib.parse import quote, unquote_to_bytes

import attrs

from kv_trio.consul.durations import parse_duration_s
from kv_trio.errors import BadQuery, Moved

KV = b"/v1/kv/"
DATACENTER = "dc1"
DEFAULT_WAIT_S = 300.0
MAX_WAIT_S = 600.0
HISTORY_LIMIT = 1000
"""Revisions in one response at most."""
MOST_CHANGES = 10_000
"""Keys whose changes one blocking query waits for at most."""
PARAMETERS = 64
"""Parameters of a request at most; 400 beyond."""

_SHORT = 512  # bytes of a target that is parsed once, if it comes often
_UINT64 = 2**64
_DIGITS = 20  # of the longest unsigned 64-bit number
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ONE_OF = ("acquire", "cas", "release")
_IN_PATH = "/:@!$&'()*+,;=~-._"


@attrs.frozen(cache_hash=True)
class Read:
    """A read: of which keys, and in which form. Equal ones have equal responses.

    Attributes:
        key: the key, or the prefix.
        recurse: whether all entries with the prefix are read.
        keys: whether only their keys are.
        separator: after which each of these keys is cut.
        raw: whether the response is the bare value.
        pretty: whether its JSON is indented.
        is_prefix: whether it asks for all keys with a prefix.
    """

    key: bytes
    recurse: bool = False
    keys: bool = False
    separator: bytes = b""
    raw: bool = False
    pretty: bool = False
    is_prefix: bool = attrs.field(init=False, eq=False, repr=False)

    @is_prefix.default
    def _(self) -> bool:
        return self.recurse or self.keys


@attrs.frozen
class BlockingRead:
    """A read, and how long it may wait for a change.

    Attributes:
        index: what a blocking query waits to be passed; 0 for no waiting.
        wait_s: for how long it waits, without the jitter.
        changes: of so many keys it waits for, where it reads a prefix.
    """

    read: Read
    index: int
    wait_s: float
    changes: int = 1


@attrs.frozen
class WriteCondition:
    """Under which condition a key is written; at most one of the last three is given.

    Attributes:
        flags: the number that goes with the value.
        cas: the key's index that it must have; 0 for an absent key.
        acquire: the session that is to have the key's lock.
        release: the session that is to lose it.
    """

    flags: int
    cas: int | None
    acquire: str | None
    release: str | None


@attrs.frozen(eq=False)
class RequestTarget:
    """The target of a request: its path and its query.

    Attributes:
        path: decoded, in its clean form.
        parameters: by name; not to be changed.
    """

    path: bytes
    parameters: dict[str, str]

    @cached_property
    def key(self) -> bytes:
        """The key, which stands after `/v1/kv/`."""
        return self.path[len(KV) :]

    @cached_property
    def blocking_read(self) -> BlockingRead:
        """The read that a GET asks for.

        Raises:
            BadQuery: the parameters make no sense.
        """
        read = parse_read(self.key, self.parameters)
        index, wait_s = parse_index(self.parameters), parse_wait_s(self.parameters)
        return BlockingRead(read, index, wait_s, parse_changes(self.parameters))

    @cached_property
    def condition(self) -> WriteCondition:
        """The condition of a PUT.

        Raises:
            BadQuery: the parameters make no sense.
        """
        return parse_condition(self.parameters)


def parse_target(target: bytes) -> RequestTarget:
    """Read a request's target; one that is seen often is read once.

    Raises:
        BadQuery: it makes no sense, or asks for what this server does not have.
        Moved: its path is not in its clean form.
    """
    if len(target) > _SHORT:
        return _parse_target(target)
    return _parse_short(target)


def _parse_target(target: bytes) -> RequestTarget:
    path, _, query = target.partition(b"?")
    decoded = parse_path(path)
    parameters = parse_parameters(query)
    check_common(parameters)
    return RequestTarget(decoded, parameters)


_parse_short = lru_cache(4096)(_parse_target)


def parse_parameters(query: bytes) -> dict[str, str]:
    """Give the parameters by name; of a repeated one the first counts.

    Raises:
        BadQuery: there are too many.
    """
    if query.count(b"&") >= PARAMETERS:
        count = query.count(b"&") + 1
        raise BadQuery(400, f"{count} parameters, expected {PARAMETERS} at most")
    found: dict[str, str] = {}
    for part in query.split(b"&"):
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            key = unquote_to_bytes(name).decode("utf-8", "replace")
            found.setdefault(key, unquote_to_bytes(value).decode("utf-8", "replace"))
    return found


def parse_path(path: bytes) -> bytes:
    """Decode a path.

    Raises:
        BadQuery: an escape is broken, or a character cannot be printed.
        Moved: it is not in its clean form.
    """
    if _BAD_ESCAPE.search(path):
        raise BadQuery(400, "400 Bad Request")
    decoded = unquote_to_bytes(path)
    if not decoded.decode("utf-8", "replace").isprintable():
        raise BadQuery(400, "")
    if decoded == b"/v1/kv":
        raise Moved("/v1/kv/")
    if b"//" in decoded or b"/." in decoded:
        clean = b"/" + posixpath.normpath(decoded).lstrip(b"/")
        if decoded.endswith(b"/") and clean != b"/":
            clean += b"/"
        if clean != decoded:
            raise Moved(quote(clean, safe=_IN_PATH))
    return decoded


def check_common(parameters: dict[str, str]) -> None:
    """Check the parameters that every endpoint takes.

    Raises:
        BadQuery: they ask for another datacenter, or for a namespace.
    """
    if parameters.get("dc") not in (None, "", DATACENTER):
        raise BadQuery(500, "No path to datacenter")
    if "ns" in parameters:
        raise BadQuery(
            400,
            'Bad request: Invalid query parameter: "ns" - Namespaces are a Consul'
            " Enterprise feature",
        )


def parse_read(key: bytes, parameters: dict[str, str]) -> Read:
    """Give the read that a request asks for.

    Raises:
        BadQuery: there is no key, or the parameters contradict each other.
    """
    for other in ("stale", "cached"):
        if other in parameters and "consistent" in parameters:
            raise BadQuery(
                400,
                f"Cannot specify ?{other} with ?consistent, conflicting semantics.",
            )
    keys = "keys" in parameters
    read = Read(
        key,
        recurse="recurse" in parameters and not keys,
        keys=keys,
        separator=_separator(parameters).encode() if keys else b"",
        raw="raw" in parameters,
        pretty="pretty" in parameters,
    )
    if not key and not read.is_prefix:
        raise BadQuery(400, "Missing key name")
    return read


def _separator(parameters: dict[str, str]) -> str:
    return parameters.get("separator") or parameters.get("seperator", "")


def parse_index(parameters: dict[str, str]) -> int:
    """Give the index that a blocking query waits to be passed; 0 for no waiting."""
    text = parameters.get("index", "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise BadQuery(400, "Invalid index")
    index = int(text)
    if index >= _UINT64:
        raise BadQuery(400, "Invalid index")
    return index


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


def parse_changes(parameters: dict[str, str]) -> int:
    """Give of how many keys a blocking query of a prefix waits for a change."""
    changes = parse_unsigned(parameters, "changes", status=400)
    if changes is not None and not 0 < changes <= MOST_CHANGES:
        raise BadQuery(400, f"changes={changes}: expected 1 to {MOST_CHANGES}")
    return changes or 1


def parse_unsigned(
    parameters: dict[str, str], name: str, *, status: int = 500
) -> int | None:
    """Give an unsigned 64-bit parameter; None if it is absent.

    Raises:
        BadQuery: it is no number; with Consul's odd 500, unless a status is given.
    """
    text = parameters.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadQuery(status, f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > _DIGITS or int(text) >= _UINT64:
        raise BadQuery(
            status, f'strconv.ParseUint: parsing "{text}": value out of range'
        )
    return int(text)


def parse_condition(parameters: dict[str, str]) -> WriteCondition:
    """Give the condition of a write; whether its sessions make sense is not checked.

    Raises:
        BadQuery: the parameters contradict each other, or are no numbers.
    """
    given = [name for name in _ONE_OF if name in parameters]
    if len(given) > 1:
        flags = "&".join(f"{name}={parameters[name]}" for name in given)
        raise BadQuery(400, f"Conflicting flags: {flags}")
    return WriteCondition(
        parse_unsigned(parameters, "flags") or 0,
        parse_unsigned(parameters, "cas"),
        _session_id(parameters, "acquire"),
        _session_id(parameters, "release"),
    )


def _session_id(parameters: dict[str, str], name: str) -> str | None:
    id_ = parameters.get(name)
    return None if id_ is None else id_.lower()


def parse_limit(parameters: dict[str, str]) -> int:
    """Give how many revisions a response has at most."""
    limit = parse_unsigned(parameters, "limit", status=400)
    return HISTORY_LIMIT if limit is None else max(1, min(limit, HISTORY_LIMIT))


def parse_last_event_id(value: bytes | None) -> int | None:
    """Give the index after which an event stream goes on; None if there is none."""
    if value is None or not value.isdigit() or len(value) > _DIGITS:
        return None
    return int(value)


def check_session_given(text: str) -> None:
    """Check that a session is named at all.

    Raises:
        BadQuery: with Consul's text.
    """
    if not text:
        raise BadQuery(500, "missing session")


def check_session_id(text: str) -> None:
    """Check that a text can be the id of a session that is looked up.

    Raises:
        BadQuery: with Consul's texts.
    """
    check_session_given(text)
    if len(text) != 36:
        raise BadQuery(
            500, "failed session lookup: index error: UUID must be 36 characters"
        )
