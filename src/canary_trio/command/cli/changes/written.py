"""What became of a document that was written: waiting for the fleet, and telling of it.

Nobody routes by a document where no proxy is live. Proxies that are just beginning, or that
have a store again, report in a moment, so the first of them is waited for, but not long:
whoever knows that some are to come says how many (`--expect`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import click

if TYPE_CHECKING:
    from canary_trio.control.fleet.report import Fleet
    from canary_trio.control.sources.source import KeyStore

FIRST_S = 2.0
"""So long the first live proxy is waited for at most, where nobody says how many there are."""

LAST_LOOK_S = 1.0
"""After a wait that was too short, the store has so long to say how things stand."""


@attrs.frozen
class Written:
    """What became of a write.

    Attributes:
        revision: of the document now.
        changed: False if the same document was there already.
        took_s: from the write to the end of the wait.
        told: more that is to be said of it; empty for nothing.
        waits: what is waited for then, or no longer is; empty for nothing.
        fields: what else JSON says of it.
    """

    revision: int
    changed: bool = attrs.field(kw_only=True)
    took_s: float = attrs.field(kw_only=True)
    told: str = ""
    waits: str = ""
    fields: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def words(self) -> str:
        """What became of it, in words."""
        if self.changed:
            told = f", {self.told}" if self.told else ""
            words = f"revision {self.revision} written{told}"
        else:
            words = f"nothing changed; revision {self.revision} is there already"
        return f"{words}; {self.waits}" if self.waits else words


@attrs.define
class Wait:
    """A wait until the fleet routes by what was written.

    Attributes:
        for_s: seconds at most.
        expect: so many live proxies at least; None to take those that are there.
        moves_to: the store that the document sends the fleet to; empty for none.
        before: the proxies that were there when it was written; only where it moves.
    """

    for_s: float
    expect: int | None
    moves_to: str = ""
    before: frozenset[str] = frozenset()
    _had: bool = False

    async def run(self, client: KeyStore, service: str, revision: int) -> Fleet:
        """Wait, and give the fleet as it is then.

        Raises:
            KvError: how it is cannot be read.
        """
        import trio  # noqa: PLC0415

        from canary_trio.control.fleet.applied import read_fleet, wait_applied  # noqa: PLC0415
        from kv_trio import StoreUnreachable  # noqa: PLC0415

        end = trio.current_time() + self.for_s
        scope = trio.CancelScope(deadline=end)

        def is_over(fleet: Fleet) -> bool:
            self._had = self._had or bool(fleet.reports)
            if self._had or self.expect:
                scope.deadline = end
            else:
                scope.deadline = min(end, trio.current_time() + FIRST_S)
            return self._is_over(fleet)

        with scope:
            return await wait_applied(
                client,
                service,
                revision,
                expect=self.expect or 1,
                until=is_over,
                is_whole=True,
            )
        try:
            with trio.fail_after(LAST_LOOK_S):
                return await read_fleet(client, service, revision)
        except trio.TooSlowError:
            late = f"{client.url}: no response in {LAST_LOOK_S:g} s"
            raise StoreUnreachable(late) from None

    def left(self, fleet: Fleet) -> frozenset[str]:
        """Give the proxies that have gone to the store that the document names."""
        return self.before - {report.id for report in fleet.reports}

    def is_short(self, fleet: Fleet) -> bool:
        """Tell whether there are fewer proxies than were expected."""
        return len(fleet.live) + len(self.left(fleet)) < (self.expect or 1)

    def why_short(self, fleet: Fleet) -> str:
        """Say what is missing, where there are too few proxies."""
        if fleet.reports:
            return f"live on {len(fleet.live)} proxies, expected {self.expect}"
        if self._had:
            return (
                f"not live anywhere after {self.for_s:g} s: all proxies ended meanwhile"
            )
        for_s = self.for_s if self.expect else min(self.for_s, FIRST_S)
        said = f"not live anywhere after {for_s:g} s: no proxy appeared"
        if for_s == self.for_s:
            return said
        return f"{said} (with --expect N they are waited for as long as --wait says)"

    def _is_over(self, fleet: Fleet) -> bool:
        if fleet.is_lost:
            return True
        if not fleet.is_settled:
            return False
        return bool(fleet.refusing) or not self.is_short(fleet)


def say_written(
    written: Written, fleet: Fleet | None, wait: Wait | None, *, as_json: bool
) -> None:
    """Print what became of a write; end the command where it is not live everywhere."""
    if fleet is None or wait is None:
        table = {"revision": written.revision, "changed": written.changed}
        table |= written.fields
        click.echo(json.dumps(table) if as_json else written.words)
        return
    if as_json:
        click.echo(json.dumps(_shown(written, fleet, wait)))
    else:
        _say(written, fleet, wait)
    for report in fleet.refusing:
        assert report.failed is not None, "that is what refusing means"
        for problem in report.failed.problems:
            click.echo(f"canary: refused by {report.id}: {problem}", err=True)
    if fleet.refusing:
        sys.exit(1)
    faults = _faults(written, fleet, wait)
    for fault in faults:
        click.echo(f"canary: {fault}", err=True)
    if faults:
        sys.exit(3)


def _faults(written: Written, fleet: Fleet, wait: Wait) -> list[str]:
    """Say why it is not live everywhere."""
    faults = [
        f"{report.id} has not moved to the store of the document: {report.move}"
        for report in fleet.staying
    ]
    if fleet.is_lost:
        faults.append(
            f"revision {written.revision} is lost: the store holds {fleet.revision} now, so"
            " it was restored, or is another one"
        )
    if fleet.lagging:
        lagging = ", ".join(report.id for report in fleet.lagging)
        faults.append(f"not yet live on: {lagging}")
    if not faults and wait.is_short(fleet):
        faults.append(wait.why_short(fleet))
    return faults


def _shown(written: Written, fleet: Fleet, wait: Wait) -> dict[str, Any]:
    return {
        "revision": written.revision,
        "live": len(fleet.live),
        "changed": written.changed,
        "proxies": len(fleet.reports),
        "lagging": [report.id for report in fleet.lagging],
        "refusing": [report.id for report in fleet.refusing],
        "staying": {report.id: report.move for report in fleet.staying},
        "moved": sorted(wait.left(fleet)),
        "ms": written.took_s * 1e3,
        **written.fields,
    }


def _say(written: Written, fleet: Fleet, wait: Wait) -> None:
    left, in_time = wait.left(fleet), f" in {written.took_s * 1e3:.1f} ms"
    if not fleet.reports and not left:
        click.echo(f"{written.words}; no proxy is live")
        return
    if written.told or written.waits or not written.changed:
        click.echo(written.words)
    if fleet.reports and not fleet.is_lost:
        live, known = len(fleet.live), len(fleet.reports)
        name = f"revision {fleet.revision}"
        if fleet.revision != written.revision:
            name += f", which replaced {written.revision},"
        said = f"{name} live on {live}/{known} proxies{in_time}"
        click.echo(said)
    if left:
        said = (
            f"revision {written.revision}: {len(left)} proxies left for {wait.moves_to}"
        )
        click.echo(said + in_time)
