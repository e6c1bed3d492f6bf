r"""The path of a request as routes and rules compare it. Pure.

A prefix of a path says who is asked, and through whose door; so it must hold however a
client spells the path. Servers undo percent-encoding, merge slashes, drop `.` and what is
behind `;`, and some take a backslash for a slash. The rule that this obeys: what is compared
has all of that undone, as in nginx; and a gateway refuses what can be read in two ways, a
`..` in any spelling and a NUL, for no choice of route would be right by every server.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote_from_bytes, unquote_to_bytes

_ROUNDS = 3  # of percent-encoding, which some servers undo more than once
_PERCENT, _SEMICOLON, _BACKSLASH, _DOT = b"%;\\."
_AS_IT_IS = "/:@!$&'()*+,=~"


def is_odd(path: bytes) -> bool:
    """Tell whether a path may be spelled otherwise than it is compared."""
    return (  # numbers are found ten times as fast as bytes are
        _PERCENT in path
        or _SEMICOLON in path
        or _BACKSLASH in path
        or path.find(b"//") >= 0
        or (_DOT in path and path.find(b"/.") >= 0)
    )


def plain_path(path: bytes) -> bytes:
    r"""Give a path as it is compared.

    >>> plain_path(b"/a//./%62;v=1/c"), plain_path(b"/a%2fb\\c"), plain_path(b"/a/../../b/")
    (b'/a/b/c', b'/a/b/c', b'/b/')
    """
    if not is_odd(path) or path[:1] != b"/":
        return path
    kept: list[bytes] = []
    last = b""
    for last in _steps(unquote_to_bytes(path)):
        if last == b"..":
            del kept[-1:]
        elif last not in (b"", b"."):
            kept.append(last)
    if kept and last == b"":
        kept.append(b"")  # `/a/` stays so
    return b"/" + b"/".join(kept)


def is_ambiguous(path: bytes) -> bool:
    """Tell whether servers may differ in where a path leads: it has a `..`, or a NUL.

    >>> [is_ambiguous(path) for path in (b"/a/..", b"/%252e./a", b"/..;x/", b"/a..b/...")]
    [True, True, True, False]
    """
    if b".." not in path and b"%" not in path:
        return False
    for _ in range(_ROUNDS):
        if b"\0" in path or any(one.strip(b"\t ") == b".." for one in _steps(path)):
            return True
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return False
        path = decoded
    return b".." in path


def rest_of(target: bytes, prefix: bytes) -> bytes:
    """Give what follows a prefix in a target that it matches, however that is spelled.

    It is as it was sent, unless the prefix is spelled otherwise.

    >>> rest_of(b"/api/%41?x", b"/api"), rest_of(b"/%61pi//%c3%a9?x", b"/api")
    (b'/%41?x', b'/%C3%A9?x')
    """
    if target.startswith(prefix) and target[len(prefix) :][:1] in (b"", b"/", b"?"):
        return target[len(prefix) :]
    path, mark, query = target.partition(b"?")
    stem = plain_path(prefix).rstrip(b"/")
    rest = quote_from_bytes(plain_path(path)[len(stem) :], safe=_AS_IT_IS)
    return rest.encode() + mark + query


def with_one_slash(target: bytes) -> bytes:
    r"""Give a target with one slash at its beginning: two of them begin a host in URLs.

    >>> with_one_slash(b"//evil.org/x"), with_one_slash(b"/\\/x"), with_one_slash(b"/x//y")
    (b'/evil.org/x', b'/x', b'/x//y')
    """
    return target if target[1:2] not in _SLASHES else b"/" + target.lstrip(b"/\\")


_SLASHES = (b"/", b"\\")


def _steps(path: bytes) -> Iterator[bytes]:
    for step in path.replace(b"\\", b"/").split(b"/"):
        yield step.partition(b";")[0]
