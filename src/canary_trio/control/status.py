"""How a proxy stands with its configuration, and with the store that has it.

What goes wrong with the store is told in the log at the second try, and then now and again
while it lasts, not at each try: `/status` says what holds now.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Protocol

import attrs
import trio

from canary_trio.control.fleet.report import Refusal
from canary_trio.control.last_good import LastGood
from kv_trio import Contact

_log = logging.getLogger(__name__)

TELL_S = 30.0
"""While an outage of the store lasts, seconds from one line about it to the next."""


def _tell_contact(contact: StoreContact, _: attrs.Attribute[Any], error: str) -> str:
    if not error:
        if contact.told_at > -math.inf:
            _log.info("the store is heard again")
            contact.told_at = -math.inf
        return error
    if not contact.error:
        return error  # a wait that broke is no outage: the next try says what it is
    now = trio.current_time()
    if now - contact.told_at >= TELL_S:
        contact.told_at = now
        _log.warning("nothing from the store: %s", error)
    return error


def _tell_move(status: Status, _: attrs.Attribute[Any], error: str) -> str:
    if error and error != status.move_error:
        _log.warning("the document's config_server is not followed: %s", error)
    return error


@attrs.define
class StoreContact(Contact):
    """How a watch stands with its store, told in the log where that changes.

    Attributes:
        told_at: when this outage was told last.
    """

    error: str = attrs.field(default="", on_setattr=_tell_contact)
    told_at: float = attrs.field(default=-math.inf, init=False, repr=False)


class Whole(Protocol):
    """Who follows the store for many services."""

    @property
    def contact(self) -> Contact:
        """With the store."""

    @property
    def session(self) -> str:
        """That holds what is reported; empty if there is none."""

    def tell(self, service: str) -> None:
        """Write the report of a service to the store soon."""

    def save(self, service: str, good: LastGood) -> None:
        """Remember the last good document of a service."""

    def look_after(self, service: str) -> None:
        """Start what a service needs beside its requests."""


@attrs.define(eq=False)
class Status:
    """How the proxy stands with its configuration.

    Attributes:
        config_server: where documents are read.
        attempted: the newest revision that was seen.
        failed: the last one that was refused, unless a newer one runs.
        contact: with the store.
        move_error: why a document's `config_server` is not followed yet.
        remembered: whether what runs came from disk, not from the store.
    """

    config_server: str
    attempted: int = 0
    failed: Refusal | None = None
    contact: Contact = attrs.field(factory=StoreContact)
    move_error: str = attrs.field(default="", on_setattr=_tell_move)
    remembered: bool = False

    def tell_remembered(self, name: str, revision: int) -> None:
        """Note that a revision runs which came from disk, and tell it in the log.

        What the store said meanwhile is still the newest that was seen.
        """
        self.attempted = self.attempted or revision
        self.remembered = True
        _log.warning(
            "nothing of %s from %s yet that can run; running revision %d as remembered",
            *(name, self.config_server, revision),
        )
