"""A service as its store and its proxies show it: what `status`, `watch` and `check` look at.

The store is asked once for all that is below `canary/SERVICE/`, so that document, reports and
counts are of one moment; each admin listener is asked once, however many workers stand
behind it. What cannot be asked is said in words, in the place of what it would have said.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.fleet.applied import fleet_of
from canary_trio.control.fleet.last_seen import gateways_of, missing_in
from canary_trio.control.fleet.report import Fleet, Report, Sighting
from canary_trio.control.store_keys import (
    ROOT,
    config_key,
    driver_state_key,
    pending_key,
    service_prefix,
)
from canary_trio.errors import NoDocument, RolloutRefused, printable
from canary_trio.routing.edge.names import GATEWAY_MARK, is_gateway
from kv_trio import StoreRefused

if TYPE_CHECKING:
    from canary_trio.admin.asking.client import AdminCredentials
    from canary_trio.control.sources.source import KeyStore

ADMIN_S = 2.0
"""How long a proxy has to say how its arms are."""

_ODD = (LookupError, TypeError, ValueError, AttributeError)

Status = dict[str, Any] | str
"""What a proxy says of itself; why not, where it says nothing."""


@attrs.frozen
class Overview:
    """A service, at one moment.

    Attributes:
        document: as it is written.
        fleet: its live proxies, and the document's revision.
        missing: proxies that vanished within the hour.
        pending: the change that waits to be confirmed.
        judge: what is said by the judge of what is tried; empty where there is none.
        at: when it was read, in seconds since 1970.
    """

    service: str
    document: bytes = attrs.field(repr=False)
    fleet: Fleet
    missing: tuple[Sighting, ...]
    pending: PendingChange | None
    at: float
    judge: str = ""

    @property
    def revision(self) -> int:
        """The document's."""
        return self.fleet.revision


async def read_overview(
    client: KeyStore, service: str, *, gateways: bool = True
) -> Overview:
    """Read what the store has of a service.

    Args:
        client: of the store.
        service: or gateway.
        gateways: whether those that vanished are looked for among gateways too, which
            takes another request.

    Raises:
        NoDocument: there is none.
        KvError: the store cannot be read.
    """
    listing = await client.list(service_prefix(service))
    entries = {entry.key: entry for entry in listing.entries}
    document = entries.get(config_key(service).encode())
    if document is None:
        raise NoDocument(service)
    now = time.time()
    values = {key: entry.value for key, entry in entries.items()}
    names = [service]
    if gateways and not is_gateway(service):
        with contextlib.suppress(StoreRefused):  # whoever may not look at gateways
            others = await client.list(ROOT + GATEWAY_MARK)
            values |= {entry.key: entry.value for entry in others.entries}
            names += gateways_of(values, service)
    waits = entries.get(pending_key(service).encode())
    pending = None
    if waits is not None:
        pending = PendingChange.load(waits.value, waits.modify_index)
    revision = document.modify_index
    kept = entries.get(driver_state_key(service).encode())
    return Overview(
        service,
        document.value,
        fleet_of(listing, service, revision),
        missing_in(values, names, now),
        pending if pending is not None and pending.holds(revision) else None,
        now,
        "" if kept is None or pending is None else _judge(kept.value, pending),
    )


def _judge(kept: bytes, pending: PendingChange) -> str:
    """Give what is said by the judge of what is tried."""
    from canary_trio.control.driving.duty import KeptState  # noqa: PLC0415

    own = KeptState.load(kept).state.get("trial")
    if not pending.judged or not isinstance(own, dict):
        return ""
    return str(own["verdict"]) if own.get("revision") == pending.index else ""


async def ask_admins(fleet: Fleet, shown: AdminCredentials) -> dict[str, Status]:
    """Ask all admin listeners of a fleet; give what each says, by its address.

    A proxy that has none is there under its name, with words for what it says.
    """
    import trio  # noqa: PLC0415

    from canary_trio.admin.asking.client import AdminUnreachable, read_status  # noqa: PLC0415

    statuses: dict[str, Status] = {}

    async def ask(address: str) -> None:
        statuses[address] = f"no response within {ADMIN_S:g} s"
        with trio.move_on_after(ADMIN_S):
            try:
                statuses[address] = await read_status(address, shown)
            except AdminUnreachable as exc:
                statuses[address] = str(exc)

    async with trio.open_nursery() as nursery:
        for address in {report.admin: None for report in fleet.reports}:
            if address:
                nursery.start_soon(ask, address)
    statuses.update(
        (report.id, "it has no admin listener (--no-admin)")
        for report in fleet.reports
        if not report.admin
    )
    return statuses


def status_of(report: Report, statuses: dict[str, Status], service: str) -> Status:
    """Give what one proxy says; of a worker what it says itself, and not all of them."""
    said = statuses.get(report.admin or report.id, "it was not asked")
    if isinstance(said, str):
        return said
    with contextlib.suppress(*_ODD):
        for row in said["workers"]:
            own = row["status"]
            if own is not None and own["id"] == report.id:
                return of_service(own, service)
    return of_service(said, service)


def of_service(status: Status, service: str) -> Status:
    """Give what a gateway says of one of its services; of a proxy of one, all of it."""
    if isinstance(status, str) or status.get("service") == service:
        return status
    try:
        return {**status["services"][service], "certificates": status["certificates"]}
    except _ODD:
        return status


def unreached(statuses: Iterable[tuple[str, Status]]) -> list[str]:
    """Give whom could not be asked, and why."""
    return [
        f"{where}: {said}" for where, said in sorted(statuses) if isinstance(said, str)
    ]


async def check_healthy(
    client: KeyStore, service: str, arm: str, credentials: AdminCredentials
) -> None:
    """Check that each live proxy finds all servers of an arm healthy.

    Raises:
        RolloutRefused: one does not, or cannot be asked, or there is none.
    """
    found = await read_overview(client, service)
    statuses = await ask_admins(found.fleet, credentials)
    if not statuses:
        raise RolloutRefused(f"no proxy of {service} is live; --unchecked asks none")
    for report in found.fleet.reports:
        said = status_of(report, statuses, service)
        why = said if isinstance(said, str) else _why_unhealthy(said, arm)
        if why:
            raise RolloutRefused(
                f"{arm} goes on as it is: {report.id} says: {printable(why)};"
                " --unchecked asks nobody"
            )


def _why_unhealthy(status: dict[str, Any], arm: str) -> str:
    """Say which server of an arm a proxy finds unhealthy; empty for none."""
    try:
        for server in status["arms"][arm]["servers"]:
            if not (server["healthy"] and server["up"] and not server["ejected"]):
                return f"{server['url']} is not healthy"
    except (LookupError, TypeError):
        return f"it does not know the arm {arm}"
    return ""
