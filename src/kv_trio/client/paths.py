"""The URLs of requests. Pure.

A key is whatever its user says; a path is what a server makes of it, and servers take
`.`, `..` and empty segments away, also where they are percent-encoded (Go's and ours
do). A key that would so become another key, or another endpoint, is refused here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Self
from urllib.parse import quote, unquote, urlsplit

import attrs

from kv_trio.errors import BadKey

_PORTS = {"http": 80, "https": 443}
_SAFE = "/%!$&'()*+,;=:@~"  # of a path: what need not, or must not again, be encoded
_KV = "/v1/kv/"
_WATCH = "/v1/watch"
_WALKS = {"", ".", ".."}  # segments that a server takes away
_SESSION_ID = re.compile(r"[0-9A-Za-z-]+")


@attrs.frozen
class ServerUrl:
    """Where a server is, in the parts of which requests are made.

    Attributes:
        base: the path before all of its paths, percent-encoded, without a slash at its end.
        fields: of each request, `Host` first.
    """

    scheme: str
    host: str
    port: int | None
    base: str
    fields: Mapping[str, str] = attrs.field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        >>> dict(ServerUrl.parse("http://[::1]:8500/kv/").fields)
        {'Host': '[::1]:8500'}

        Raises:
            ValueError: it is none of a server.
        """
        if not url.isprintable() or " " in url:
            raise ValueError("it has a character that no URL has")
        parts = urlsplit(url)
        if "?" in url or "#" in url:
            raise ValueError("it has a query, expected none")
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        if scheme not in ("http", "https"):
            raise ValueError("expected http:// or https://")
        if not host:
            raise ValueError("it names no host")
        if not host.isascii():
            import idna  # noqa: PLC0415  # for such names only

            host = idna.encode(host).decode()
        named = f"[{host}]" if ":" in host else host
        port = parts.port
        is_usual = port in (None, _PORTS[scheme])
        fields = {"Host": named if is_usual else f"{named}:{port}"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            user = base64.b64encode(pair.encode()).decode()
            fields["Authorization"] = f"Basic {user}"
        base = quote(parts.path.rstrip("/"), safe=_SAFE)
        return cls(scheme, host, port, base, fields)


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
