"""What a route makes of a target: another one for its service, or where it redirects. Pure."""

from __future__ import annotations

from canary_trio.routing.edge.model import Redirect
from canary_trio.routing.request.paths import rest_of, with_one_slash


def rewritten_target(target: bytes, prefix: bytes, rewrite: bytes) -> bytes:
    """Give a target with another prefix.

    >>> rewritten_target(b"/api/x?y", b"/api", b""), rewritten_target(b"/api", b"/api", b"")
    (b'/x?y', b'/')
    >>> rewritten_target(b"/api?y", b"/api", b"/v2"), rewritten_target(b"/x", b"", b"/v2")
    (b'/v2?y', b'/v2/x')
    """
    if target == b"*":
        return target
    found = rewrite + rest_of(target, prefix)
    return with_one_slash(found if found[:1] == b"/" else b"/" + found)


def judged_target(target: bytes, prefix: bytes, rewrite: bytes) -> bytes:
    """Give the target that is rewritten so, before it was, in the service's spelling.

    Who is asked whether a request may pass judges by its path. A spelling that the service
    does not get must not be what it is shown.

    >>> judged_target(b"/api/x?y", b"/api", b""), judged_target(b"/./%61pi//x", b"/api", b"")
    (b'/api/x?y', b'/api/x')
    >>> judged_target(b"/api//x", b"/api", b""), judged_target(b"/api//x", b"/api", b"/v2")
    (b'/api/x', b'/api//x')
    """
    if target == b"*":
        return target
    rest = rest_of(target, prefix)
    return prefix + (rest if rewrite else with_one_slash(rest))


def location_of(to: Redirect, prefix: bytes, target: bytes) -> bytes:
    r"""Give where a request is redirected.

    A path that leads to this host leads to it whatever a client asks for: browsers take
    two slashes at its beginning, forward or back, for another host.

    >>> location_of(Redirect("https://b.org/new/"), b"/old", b"/old/x?y")
    b'https://b.org/new/x?y'
    >>> location_of(Redirect("/"), b"/old", b"/old//evil.org"), location_of(
    ...     Redirect("/", keep_path=False), b"", b"/x?y")
    (b'/evil.org', b'/')
    """
    where = to.to.encode()
    if not to.keep_path:
        return where
    stem = where.rstrip(b"/")
    rest = b"" if target == b"*" else rest_of(target, prefix)
    if not stem:
        return b"/" + rest.lstrip(b"/\\")
    return stem + rest if rest[:1] == b"/" else where + rest
