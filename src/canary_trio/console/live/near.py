"""What a console knows without asking anybody: the proxy, or the workers, that it is part of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import trio

from canary_trio.admin.arm_traffic import totals_of
from canary_trio.admin.event_pages import Follow, follow_events
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.status import describe_service

Status = dict[str, Any]


class Near(Protocol):
    """Who is at hand.

    Attributes:
        service: that the listener is of; empty for none in particular.
        address: of the admin listener, as the fleet is told it; empty for none.
        follow: gives the events of the processes here.
    """

    @property
    def service(self) -> str:
        """That the listener is of."""

    @property
    def address(self) -> str:
        """Of the admin listener, as the fleet is told it."""

    @property
    def follow(self) -> Follow:
        """Follows the events of the processes here."""

    @property
    def services(self) -> Sequence[str]:
        """The services of a gateway that are served here."""

    async def status(self, service: str) -> Status | None:
        """Give what is to be said of a service, as `/status`; None if it is not served here."""

    async def last_minute(self) -> dict[str, tuple[float, float | None]]:
        """Give requests in a second and the share of errors, by service, of the last minute."""


class Nobody:
    """Of a console that stands alone.

    Attributes:
        service, address, services: empty.
    """

    service = address = ""
    services: Sequence[str] = ()

    def __repr__(self) -> str:
        return "<Nobody>"

    @property
    def follow(self) -> Follow:
        """Follow nothing."""
        return _nothing

    async def status(self, service: str) -> Status | None:
        """Give nothing."""
        del service
        await trio.lowlevel.checkpoint()
        return None

    async def last_minute(self) -> dict[str, tuple[float, float | None]]:
        """Give nothing."""
        await trio.lowlevel.checkpoint()
        return {}


class NearProxy:
    """The proxy of one process, or its gateway."""

    def __init__(self, view: ProxyView, address: str) -> None:
        self._view = view
        self.service, self.address = view.service, address
        self.follow = follow_events(view.runtime.observer.events, view.control.instance)

    def __repr__(self) -> str:
        return f"<NearProxy {self.service}>"

    @property
    def services(self) -> Sequence[str]:
        """The services of a gateway."""
        gateway = self._view.gateway
        return () if gateway is None else sorted(gateway.parts)

    async def status(self, service: str) -> Status | None:
        """Give what `/status` says of it."""
        await trio.lowlevel.checkpoint()
        view = self._of(service)
        return None if view is None else describe_service(view)

    async def last_minute(self) -> dict[str, tuple[float, float | None]]:
        """Give rates by service; between two of them others have their turn."""
        found = {}
        for view in self._view.all:
            found[view.service] = rates(view)
            await trio.lowlevel.checkpoint()
        return found

    def _of(self, service: str) -> ProxyView | None:
        view = self._view
        if service == view.service:
            return view
        return None if view.gateway is None else view.gateway.parts.get(service)


def rates(view: ProxyView) -> tuple[float, float | None]:
    """Give the requests in a second of a service, and the share of errors, last minute."""
    seconds, rose = view.minute.rise(trio.current_time(), totals_of(view))
    requests = sum(one.requests for one in rose.values())
    errors = sum(one.errors for one in rose.values())
    share = errors / requests if requests else None
    return (requests / seconds if seconds > 0 else 0.0), share


async def _nothing(after: str, send: object) -> None:
    del after, send
    await trio.sleep_forever()
