"""From a server of the document to the upstream that the engine connects to.

One server may be in several arms; they share its upstream, and so its warm connections,
unless they verify its certificate in different ways. One file, since whom an upstream
connects to, and how long it is kept, hang on the same target.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import ParamSpec, TypeVar

import attrs
import trio

from canary_trio.config.model import Arm, Server
from canary_trio.config.policies import UpstreamTls
from canary_trio.config.url import UrlParts
from canary_trio.upstream.dns import Resolve, Resolver
from http_trio import (
    Address,
    BadCertificate,
    Http2Upstream,
    IntroducingUpstream,
    Upstream,
    client_context,
    file_stamp,
    may_pass,
)
from http_trio.hosts.introduction import ProxyVersion

LOOK_S = 2.0
"""Between two looks at the files of authorities and certificates."""

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

Target = tuple[str, UpstreamTls | None, bool, ProxyVersion | None]
"""Whom to connect to: a URL, how its certificate is verified, where it has one, whether
HTTP/2 is spoken, and by what it is told of clients."""

_Way = tuple[UpstreamTls, bool]
"""What of a target makes a context of its own."""


def target_of(server: Server, tls: UpstreamTls) -> Target:
    """Give the target of a server in an arm with these settings."""
    secure = tls if server.is_tls else None
    return server.url, secure, server.speaks_http2, server.proxy_protocol


def make_upstream(server: Server, target: Target, contexts: TlsContexts) -> Upstream:
    """Make a server's upstream; without addresses if its name is still to be resolved.

    Args:
        server: of the document.
        target: what `target_of` gave for it.
        contexts: that are ready for its way of speaking TLS.
    """
    parts = server.parts
    _, tls, http2, version = target
    name = None if tls is None else tls.server_name
    kind: Callable[..., Upstream] = Http2Upstream if http2 else Upstream
    if version is not None:
        kind = partial(IntroducingUpstream, version=version)
    return kind(
        server.url,
        known_addresses(parts) or (),
        host_field(parts, secure=tls is not None),
        prefix=parts.prefix.encode(),
        tls=None if tls is None else contexts.of(tls, http2=http2),
        server_name=name or parts.host.strip("[]"),
    )


@attrs.frozen
class _Made:
    """A context, and what its files were like.

    Attributes:
        context: the last good one.
        stamp: of the files when they were last read.
        fault: why they cannot be used as they are; empty if they can.
    """

    context: ssl.SSLContext
    stamp: tuple[tuple[int, ...], ...]
    fault: str = ""


class TlsContexts:
    """The contexts in which servers are talked to: one for each way, shared by servers.

    Files are read in a thread, when a document first names them, and again when they
    have changed. What cannot be read refuses a document that is new; one that runs
    keeps the last good state, and the log says so once.
    """

    def __init__(self) -> None:
        self._made: dict[_Way, _Made] = {}

    def __repr__(self) -> str:
        return f"<TlsContexts {len(self._made)}>"

    def __bool__(self) -> bool:
        return bool(self._made)

    async def prepare(self, arms: Iterable[Arm]) -> None:
        """Make what these arms need.

        Raises:
            http_trio.BadCertificate: a file cannot be used.
        """
        for arm in arms:
            secure = {s.speaks_http2 for s in arm.servers if s.is_tls}
            for way in [_way(arm.tls, http2=http2) for http2 in sorted(secure)]:
                if way not in self._made:
                    self._made[way] = await _in_thread(_make, way)

    def of(self, tls: UpstreamTls, *, http2: bool = False) -> ssl.SSLContext:
        """Give the context for servers of an arm that was prepared."""
        way = _way(tls, http2=http2)
        if way not in self._made:  # another document has come live meanwhile
            self._made[way] = _make(way)
        return self._made[way].context

    def keep_only(self, targets: Iterable[Target]) -> None:
        """Forget those that no target needs."""
        used = {_way(tls, http2=h2) for _, tls, h2, _ in targets if tls is not None}
        for way in self._made.keys() - used:
            del self._made[way]

    async def watch(self, upstreams: Mapping[Target, Upstream]) -> None:
        """Look at the files again and again, and give upstreams what has changed."""
        while True:
            await trio.sleep(LOOK_S)
            for way, made in list(self._made.items()):
                if not _files(way):
                    continue
                found = await _in_thread(_look_again, way, made)
                if found is made or self._made.get(way) is not made:
                    continue
                self._made[way] = found
                if found.fault and found.fault == made.fault:
                    continue
                if found.fault:
                    _log.error("%s; what was read before stays in use", found.fault)
                    continue
                _log.info("took up changed files: %s", _files(way))
                for (_, tls, http2, _), upstream in upstreams.items():
                    if tls is not None and _way(tls, http2=http2) == way:
                        upstream.use_tls(found.context)


class UpstreamTable:
    """The upstreams in use, by their targets; names and files are kept up to date.

    Attributes:
        contexts: for connections by TLS.
        resolver: of the servers that are names.
    """

    def __init__(
        self,
        resolve: Resolve,
        tell_name: Callable[[str, str], None] | None = None,
    ) -> None:
        """Begin empty; `tell_name` is told of names that do not resolve: see `Resolver`."""
        self.contexts = TlsContexts()
        self.resolver = Resolver(resolve, tell_name)
        self._upstreams: dict[Target, Upstream] = {}
        self._asked: set[Upstream] = set()  # who is asked by a document, or will be

    def __repr__(self) -> str:
        return f"<UpstreamTable {len(self)}>"

    def __len__(self) -> int:
        return len(self._upstreams)

    def of(self, arm: Arm, server: Server) -> Upstream:
        """Give the upstream of a server of an arm."""
        target = target_of(server, arm.tls)
        upstream = self._upstreams.get(target)
        if upstream is None:
            upstream = make_upstream(server, target, self.contexts)
            self._upstreams[target] = upstream
            if not upstream.addresses:
                self.resolver.add(server, upstream)
        return upstream

    def of_asked(self, arm: Arm) -> Upstream:
        """Give the upstream of a server that is asked who may pass."""
        upstream = self.of(arm, arm.servers[0])
        self._asked.add(upstream)
        return upstream

    def keep_asked(self, asked: Iterable[Upstream]) -> None:
        """Keep these, and nobody else who was asked."""
        self._asked = set(asked)

    def keep_only(self, used: Iterable[Upstream]) -> None:
        """Forget those that are neither used nor asked."""
        kept = set(used) | self._asked
        for target in [t for t, up in self._upstreams.items() if up not in kept]:
            upstream = self._upstreams.pop(target)
            upstream.close_idle()
            self.resolver.discard(upstream)
        self.contexts.keep_only(self._upstreams)

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for upstream in self._upstreams.values():
            upstream.close_idle()

    async def watch_files(self) -> None:
        """Take up changed files of certificates, until cancelled."""
        await self.contexts.watch(self._upstreams)


async def _in_thread(call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call where a slow disk holds up nobody; give up on it when cancelled."""
    run = partial(call, *args, **named)
    return await trio.to_thread.run_sync(run, abandon_on_cancel=True)


def _way(tls: UpstreamTls, *, http2: bool) -> _Way:
    """Give what of an arm's settings makes a context of its own."""
    return attrs.evolve(tls, server_name=None), http2


def _files(way: _Way) -> list[str]:
    tls, _ = way
    return [file for file in (tls.ca, tls.client_cert, tls.client_key) if file]


def _stamp(way: _Way) -> tuple[tuple[int, ...], ...]:
    return tuple(map(file_stamp, _files(way)))


def _make(way: _Way) -> _Made:
    stamp = _stamp(way)
    tls, http2 = way
    context = client_context(
        verify=tls.verify,
        ca=tls.ca,
        cert=tls.client_cert,
        key=tls.client_key,
        http2=http2,
    )
    return _Made(context, stamp)


def _look_again(way: _Way, made: _Made) -> _Made:
    stamp = _stamp(way)
    if stamp == made.stamp:
        return made
    try:
        return _make(way)
    except BadCertificate as exc:
        return _Made(made.context, made.stamp if may_pass(exc) else stamp, str(exc))


def known_addresses(parts: UrlParts) -> tuple[Address, ...] | None:
    """Give the addresses of a server that needs no resolving; None for a name.

    >>> known_addresses(UrlParts("[::1]", 8000))[0][1]
    ('::1', 8000)
    >>> known_addresses(UrlParts("example.org", 80)) is None
    True
    """
    if parts.path:
        return ((socket.AF_UNIX, parts.path),)
    host = parts.host.strip("[]")
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # it is a name, or of the other family
            socket.inet_pton(family, host)
            return ((family, (host, parts.port)),)
    return None


def host_field(parts: UrlParts, *, secure: bool) -> bytes:
    """Give the Host that names a server (RFC 9110 section 7.2).

    >>> host_field(UrlParts("[::1]", 8443), secure=True)
    b'[::1]:8443'
    >>> host_field(UrlParts("example.org", 443), secure=True)
    b'example.org'
    >>> host_field(UrlParts(path="/run/a"), secure=False)
    b'localhost'
    """
    if parts.path:
        return b"localhost"
    if parts.port == (443 if secure else 80):
        return parts.host.encode()
    return f"{parts.host}:{parts.port}".encode()
