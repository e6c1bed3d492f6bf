"""A server's path prefix, which no request leaves. Pure.

The prefix of a server's URL goes before the path of each request, which goes on as it came.
A server resolves dot segments (RFC 3986 section 5.2.4), so a path that climbs above its own
root would climb out of the prefix. Servers differ in what they take for a dot, a slash and
an empty segment; here each doubt counts against the path.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

_ROUNDS = 3  # of percent-encoding, which some servers undo more than once


def leaves_root(target: bytes) -> bool:
    """Tell whether a target's path climbs above its root.

    >>> leaves_root(b"/a/../../b"), leaves_root(b"/a/../b?/../..")
    (True, False)
    """
    if b".." not in target and b"%" not in target:
        return False
    path = target.partition(b"?")[0]
    for _ in range(_ROUNDS):
        if _climbs(path):
            return True
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return False
        path = decoded
    return _climbs(path)


def _climbs(path: bytes) -> bool:
    depth = 0
    for segment in path.replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0].strip(b"\t \x00")
        if name == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif name not in (b"", b"."):
            depth += 1
    return False
