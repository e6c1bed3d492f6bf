"""Names of servers are resolved, and resolved again: their addresses come and go.

All addresses of a name are used. A name that resolves is asked for again after half a
minute; one that does not, or whose server cannot be connected to any more, sooner. While
a name does not resolve its server keeps the addresses that it had. Requests wait for
none of this: `keep` is a task of the control plane.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from canary_trio.config.model import Server
from http_trio import Address, Upstream

_log = logging.getLogger(__name__)

RESOLVE_S = 3.0
"""How long a name may take to resolve."""

RESOLVE_AGAIN_S = 30.0
"""After how long a name that resolved is asked for again."""

RESOLVE_FAILED_S = 1.0
"""The same for one that did not, at first; it doubles up to `RESOLVE_AGAIN_S`."""

RESOLVE_AT_ONCE = 16
"""Names that are asked for at the same time."""

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Give the addresses of a host and port. Raises OSError."""


async def resolve_by_system(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver, in a thread; raises OSError."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys((family, address) for family, _, _, _, address in found))


@attrs.define(eq=False)
class _Name:
    """A server whose host is a name.

    Attributes:
        due: when it is to be resolved again; inf while that is going on.
        resolved_at: when it was resolved the last time.
        failures: in a row.
    """

    server: Server
    upstream: Upstream
    due: float
    resolved_at: float = -math.inf
    failures: int = 0

    def pause_s(self) -> float:
        if not self.failures:
            return RESOLVE_AGAIN_S
        doubled: float = RESOLVE_FAILED_S * 2.0 ** min(self.failures - 1, 16)
        return min(doubled, RESOLVE_AGAIN_S)


def _to_log(url: str, error: str) -> None:
    if error:
        _log.warning("%s: its name does not resolve: %s", url, error)
    else:
        _log.info("%s: its name resolves", url)


class Resolver:
    """The names of all servers in use."""

    def __init__(
        self,
        resolve: Resolve = resolve_by_system,
        tell: Callable[[str, str], None] | None = None,
    ) -> None:
        """Begin without names.

        Args:
            resolve: gives the addresses of a name.
            tell: called with a server's URL and why its name does not resolve; with
                nothing where it does again; by default the log is.
        """
        self._resolve, self._tell = resolve, tell or _to_log
        self._names: dict[Upstream, _Name] = {}
        self._news = trio.Event()
        self._limiter = trio.CapacityLimiter(RESOLVE_AT_ONCE)

    def __repr__(self) -> str:
        failing = sum(name.failures > 0 for name in self._names.values())
        return f"<Resolver names={len(self._names)} failing={failing}>"

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, server: Server, upstream: Upstream) -> None:
        """Keep the addresses of a server whose host is a name up to date."""
        if upstream not in self._names:
            self._names[upstream] = _Name(server, upstream, due=-math.inf)
            self._news.set()

    def discard(self, upstream: Upstream) -> None:
        """Care for an upstream no more."""
        self._names.pop(upstream, None)

    def refresh_soon(self, upstream: Upstream) -> None:
        """Resolve a name soon, since nothing answers at its addresses."""
        name = self._names.get(upstream)
        if name is not None and name.due < math.inf:
            name.due = min(name.due, name.resolved_at + RESOLVE_FAILED_S)
            self._news.set()

    async def wait_first(self) -> None:
        """Wait, but not longer than `RESOLVE_S`, until the new names are resolved."""
        new = [name for name in self._names.values() if name.resolved_at == -math.inf]
        if not new:
            return
        with trio.move_on_after(RESOLVE_S):
            await self._resolve_all(new)

    async def keep(self) -> None:
        """Resolve the names again and again, until cancelled."""
        while True:
            self._news = trio.Event()
            now = trio.current_time()
            await self._resolve_all([n for n in self._names.values() if n.due <= now])
            soonest = min((n.due for n in self._names.values()), default=math.inf)
            with trio.move_on_after(max(0.0, soonest - trio.current_time())):
                await self._news.wait()

    async def _resolve_all(self, names: Sequence[_Name]) -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._resolve_one, name)

    async def _resolve_one(self, name: _Name) -> None:
        name.due = math.inf
        pause_s = 0.0  # for when it is cancelled
        try:
            async with self._limiter:
                with trio.fail_after(RESOLVE_S):
                    found = await self._resolve(name.server.host, name.server.port)
            if not found:
                raise OSError("it has no address")
        except Exception as exc:  # OSError, UnicodeError, and what nobody foresaw
            name.failures += 1
            if name.failures == 1:
                self._tell(name.server.url, str(exc) or type(exc).__name__)
            pause_s = name.pause_s()
        else:
            if name.failures:
                self._tell(name.server.url, "")
            name.failures = 0
            name.upstream.move_to(found)
            pause_s = name.pause_s()
        finally:
            name.resolved_at = trio.current_time()
            name.due = name.resolved_at + pause_s
            self._news.set()
