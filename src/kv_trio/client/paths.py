"""The paths of requests. Pure.

A key is whatever its user says; a path is what a server makes of it, and servers take
`.`, `..` and empty segments away, also where they are percent-encoded (Go's and ours
do). A key that would so become another key, or another endpoint, is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from kv_trio.errors import BadKey

_KV = "/v1/kv/"
_WATCH = "/v1/watch"
_WALKS = {"", ".", ".."}  # segments that a server takes away
_SESSION_ID = re.compile(r"[0-9A-Za-z-]+")


def key_path(key: str) -> str:
    """Give the path of a key, or of a prefix, percent-encoded.

    >>> key_path("a b/c?")
    '/v1/kv/a%20b/c%3F'

    Raises:
        BadKey: no path means just this key.
    """
    *folders, name = key.split("/")
    walking = [part for part in folders if part in _WALKS]
    if name in (".", ".."):
        walking.append(name)
    if walking:
        what = repr(walking[0]) if walking[0] else "an empty one"
        raise BadKey(
            f"{key!r} cannot be a key: between its slashes is {what}, which servers take"
            " for another place"
        )
    return _KV + _quoted(key, "a key")


def session_path(verb: str, id_: str) -> str:
    """Give the path for a session.

    >>> session_path("renew", "adf4238a-882b-9ddc-4a9d-5b6758e4159e")
    '/v1/session/renew/adf4238a-882b-9ddc-4a9d-5b6758e4159e'

    Raises:
        BadKey: it is no id.
    """
    if not _SESSION_ID.fullmatch(id_):
        raise BadKey(f"{id_!r} is no id of a session, expected letters, digits and -")
    return f"/v1/session/{verb}/{id_}"


def missing_right(method: str, target: str) -> tuple[str, str, str]:
    """Give what a request that was refused lacks: in words, the key, and the right.

    >>> missing_right("PUT", "/v1/kv/a%20b?cas=1")[1:]
    ('a b', 'key:write')
    """
    path = target.partition("?")[0]
    verb = "read" if method == "GET" or path == _WATCH else "write"
    key = unquote(path.removeprefix(_KV)) if path.startswith(_KV) else ""
    what = "session" if path.startswith("/v1/session/") else "key"
    may = {_WATCH: "one of its keys"}.get(path, key or f"{what}s")
    told = f" ({method} {path}); the token must have the right to {verb} {may}"
    return told, key, f"{what}:{verb}"


def encode_query(parameters: Mapping[str, str]) -> str:
    """Give a query, percent-encoded; empty if there are no parameters.

    Raises:
        BadKey: a parameter cannot be written.
    """
    pairs = (
        f"{_quoted(name, 'a parameter')}={_quoted(value, 'a parameter')}"
        for name, value in parameters.items()
    )
    return "&".join(pairs)


def _quoted(text: str, what: str) -> str:
    try:
        return quote(text, safe="/,._-~" if what == "a key" else "")
    except UnicodeEncodeError as exc:
        raise BadKey(
            f"{text!r} cannot be {what}: it has half a character, a lone surrogate"
        ) from exc
