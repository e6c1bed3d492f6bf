"""Asking the live proxies what a document would do, before it is written, and their sums in short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from canary_trio.admin.asking.client import AdminCredentials
    from canary_trio.control.sources.source import KeyStore
    from canary_trio.routing.rehearsal.sums import Sums

ADMIN_S = 10.0
"""How long each proxy has to rehearse a document."""


@attrs.frozen
class Rehearsal:
    """What the live proxies of a service say of a proposed document.

    Attributes:
        service: its name.
        sums: of those that answered.
        answered: admin listeners that did.
        silent: what is said of the others, one line each.
    """

    service: str
    sums: Sums
    answered: int
    silent: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        rest = {"answered": self.answered, "silent": list(self.silent)}
        return {"service": self.service, **rest, **self.sums.shown()}


async def ask_fleet(
    store: KeyStore, service: str, document: bytes, credentials: AdminCredentials
) -> Rehearsal:
    """Ask all live proxies of a service at once, and add up what they say."""
    import trio  # noqa: PLC0415

    from canary_trio.admin.asking.client import (  # noqa: PLC0415
        AdminUnreachable,
        ask_rehearsal,
    )
    from canary_trio.control.fleet.applied import read_fleet  # noqa: PLC0415
    from canary_trio.errors import printable  # noqa: PLC0415
    from canary_trio.routing.rehearsal.sums import BadSums, Sums  # noqa: PLC0415

    fleet = await read_fleet(store, service, 0)
    told: list[Sums] = []
    silent = [
        f"{report.id} has no admin listener (--no-admin)"
        for report in fleet.reports
        if not report.admin
    ]

    async def ask(address: str) -> None:
        why = f"no response within {ADMIN_S:g} s"
        with trio.move_on_after(ADMIN_S):
            try:
                said = await ask_rehearsal(address, service, document, credentials)
                told.append(Sums.load(said))
            except (AdminUnreachable, BadSums) as exc:
                why = str(exc)
            else:
                return
        silent.append(printable(f"{address} does not say: {why}"))

    async with trio.open_nursery() as nursery:
        for address in {report.admin: None for report in fleet.reports}:
            if address:
                nursery.start_soon(ask, address)
    return Rehearsal(service, sum(told, Sums()), len(told), tuple(sorted(silent)))


def short_lines(found: Rehearsal) -> Iterator[str]:
    """Give how much moves and is refused, and what could not be told."""
    from canary_trio.errors import printable  # noqa: PLC0415

    for line in _short_lines(found):
        yield printable(line)


def _short_lines(found: Rehearsal) -> Iterator[str]:
    sums = found.sums
    if not found.answered:
        yield f"{found.service}: no live proxy says what would move"
        return
    untold = sum(sums.untold.values())
    if not sums.requests and not untold:
        yield f"{found.service}: no request was noted yet, so nobody knows what would move"
        return
    noted, plural = sums.requests + untold, "es" if sums.processes > 1 else ""
    if not sums.requests:
        yield f"{found.service}: of the requests noted ({noted}) none can be told of"
    else:
        yield (
            f"{found.service}: {part_of(sums.moved, sums.requests, 'requests')} and"
            f" {part_of(sums.moved_users, sums.users, 'users')} would move"
            f" ({noted} noted of {sums.seen}, by {sums.processes} process{plural})"
        )
    for move in sums.moves:
        source, target = (one or "chance" for one in (move.source, move.target))
        yield (
            f"  {source} -> {target}: {part_of(move.requests, sums.requests, 'requests')},"
            f" {part_of(move.users, sums.users, 'users')}"
        )
    if sums.newly_refused:
        yield f"  {part_of(sums.newly_refused, sums.requests, 'requests')} would be refused by access rules"
    if sums.newly_admitted:
        yield f"  {part_of(sums.newly_admitted, sums.requests, 'requests')} would pass that are refused now"
    for why, count in sums.untold.items():
        yield f"  {count} cannot be told of: {why}"


def part_of(count: int, whole: int, what: str) -> str:
    """Say how many of how many, and what share that is."""
    share = f" ({count / whole:.1%})" if whole else ""
    return f"{count} of {whole} {what}{share}"
