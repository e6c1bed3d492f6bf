"""The last events of the processes here, kept for all pages while somebody looks.

Each event is in the ring once; a page goes on after the id that it had last, as far as the
ring reaches. An id is what `/events` gives: it tells one life of a process from another.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from canary_trio.admin.event_pages import Follow

KEPT = 500
"""Events that are kept for pages."""

SHOWN = 50
"""Of these, those of a service that a view has."""

Table = dict[str, Any]


@attrs.frozen
class Happening:
    """An event.

    Attributes:
        number: 1, 2 and so on, as it came here.
        id: by which a page goes on after it.
        table: as JSON has it.
    """

    number: int
    id: str
    table: Table


class Happenings:
    """The ring.

    Attributes:
        last: the number of the newest; 0 before the first.
    """

    def __init__(self) -> None:
        self.last = 0
        self._ring: deque[Happening] = deque(maxlen=KEPT)
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<Happenings last={self.last}>"

    async def run(self, follow: Follow) -> None:
        """Take what happens, until cancelled."""
        self._ring.clear()
        await follow("0", self._take)

    def of(self, service: str) -> Sequence[Table]:
        """Give the last events of a service and of its process, the newest first."""
        found = [one.table for one in reversed(self._ring) if is_of(one, service)]
        return found[:SHOWN]

    def after(self, number: int) -> Sequence[Happening]:
        """Give those after a number, oldest first."""
        return [one for one in self._ring if one.number > number]

    def number_of(self, id_: str) -> int | None:
        """Give the number of the event with an id; None if it is not kept."""
        return next((one.number for one in self._ring if one.id == id_), None)

    async def wait_after(self, number: int) -> None:
        """Wait until there is one after a number."""
        while self.last <= number:
            await self._news.wait()

    def _take(self, data: bytes) -> None:
        """Take a block of `/events`."""
        fields: dict[str, str] = {}
        for line in data.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition(": ")
            fields[name] = value
        try:
            table = json.loads(fields["data"])
            is_event = isinstance(table["number"], int) and table["kind"]
        except (KeyError, ValueError, TypeError):
            return
        if is_event:
            self.last += 1
            self._ring.append(Happening(self.last, fields.get("id", ""), table))
            self._news.set()
            self._news = trio.Event()


def is_of(one: Happening, service: str) -> bool:
    """Tell whether an event is of a service, or of the process as a whole."""
    return one.table.get("service", "") in ("", service)
