"""How a proxy stands with its configuration, and with the store that has it.

Whatever changes in that is told here, and only here: in the log and to who reads events.
What goes wrong with the store is told at once, and then now and again while it lasts, not
at each try: `/status` says what holds now. A wait that broke is no outage yet: the next try
says whether there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from canary_trio.control.fleet.report import Refusal, digest_of
from canary_trio.control.last_good import LastGood
from canary_trio.errors import InvalidConfig, Problem, printable
from canary_trio.telemetry.events import EventKind, Events
from kv_trio import Contact, StoreRefused, StoreUnreachable

MOST_PROBLEMS = 10
"""Of a document that is refused, those that are told; the report has all."""

_STORE = "store"  # the trouble

_log = logging.getLogger(__name__)


def _tell_move(status: Status, _: attrs.Attribute[Any], error: str) -> str:
    if error and error != status.move_error:
        status.events.tell(
            EventKind.STORE,
            f"the document's config_server is not followed: {error}",
            level=logging.WARNING,
            service=status.service,
            error=error,
        )
    return error


@attrs.define(kw_only=True)
class StoreContact(Contact):
    """How a watch stands with its store, told where that changes."""

    events: Events = attrs.field(factory=Events, repr=False)

    def heard(self) -> None:
        """Take that the store gave a good response."""
        Contact.heard(self)
        self.events.tell_over(_STORE, EventKind.STORE, "the store is heard again")

    def failed(self, exc: Exception) -> None:
        """Take that a try failed, and why."""
        is_first = not self.error
        Contact.failed(self, exc)
        if is_first and isinstance(exc, StoreUnreachable):
            return
        refusal = exc if isinstance(exc, StoreRefused) else None
        self.events.tell_trouble(
            *(_STORE, EventKind.STORE, f"nothing from the store: {exc}"),
            error=type(exc).__name__,
            status=refusal.status if refusal else None,
            key=refusal.key or None if refusal else None,
            right=refusal.right or None if refusal else None,
        )


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
        service: whose they are.
        events: where it is told what changes.
        attempted: the newest revision that was seen.
        failed: the last one that was refused, unless a newer one runs.
        contact: with the store.
        move_error: why a document's `config_server` is not followed yet.
        remembered: whether what runs came from disk, not from the store.
        digest: of the document that runs; empty for none.
        live_at: `trio.current_time()` when what runs came live; None before.
    """

    config_server: str
    service: str = ""
    events: Events = attrs.field(factory=Events, repr=False)
    attempted: int = 0
    failed: Refusal | None = None
    contact: Contact = attrs.field()
    move_error: str = attrs.field(default="", on_setattr=_tell_move)
    remembered: bool = False
    digest: str = ""
    live_at: float | None = None
    _unverified: tuple[str, ...] = attrs.field(default=(), init=False, repr=False)

    @contact.default
    def _new_contact(self) -> Contact:
        return StoreContact(events=self.events)

    def is_live(self, revision: int, document: bytes) -> None:
        """Take, and tell, that a revision runs which the store has."""
        self.digest = digest_of(document)
        self.failed = None
        self.remembered = False
        self.live_at = self.events.now()
        self.events.tell(
            EventKind.CHANGE,
            f"revision {revision} of {self.service} is live",
            service=self.service,
            revision=revision,
        )

    def refuse(self, revision: int, problems: tuple[Problem, ...]) -> None:
        """Take, and tell, that a revision is refused; what ran before goes on."""
        self.failed = Refusal(revision, problems)
        more = len(problems) - MOST_PROBLEMS
        said = "; ".join(map(str, problems[:MOST_PROBLEMS]))
        said += f"; and {more} more" if more > 0 else ""
        self.events.tell(
            EventKind.REFUSAL,
            f"revision {revision} of {self.service} is refused: {said}",
            level=logging.ERROR,
            service=self.service,
            revision=revision,
            problems=len(problems),
        )

    def refuse_for(self, revision: int, exc: Exception) -> None:
        """Take, and tell, that a revision is refused since it could not be made ready."""
        if isinstance(exc, InvalidConfig):
            self.refuse(revision, exc.problems)
            return
        _log.error("revision %d cannot be built", revision, exc_info=exc)
        problem = Problem("$", f"{type(exc).__name__}: {exc}", "what can be built")
        self.refuse(revision, (problem,))

    def tell_absent(self) -> None:
        """Tell that the store has no document."""
        self.events.tell(
            EventKind.CHANGE,
            f"{self.service} has no document in the store",
            level=logging.WARNING,
            service=self.service,
        )

    def tell_unverified(self, arms: Sequence[str]) -> None:
        """Warn of arms whose servers anybody on the way can pose as; once, until it changes."""
        known, self._unverified = self._unverified, tuple(arms)
        if not arms or known == self._unverified:
            return
        self.events.tell(
            EventKind.CHANGE,
            "the certificates of servers are not verified (tls.verify is false) in the"
            f" arms: {', '.join(arms)}",
            level=logging.WARNING,
            service=self.service,
            arms=", ".join(arms),
        )

    def tell_not_recalled(self, why: str) -> None:
        """Tell that what was remembered cannot run."""
        self.events.tell(
            EventKind.REFUSAL,
            f"what was remembered {printable(why)}",
            level=logging.WARNING,
            service=self.service,
        )

    def tell_remembered(self, revision: int, document: bytes) -> None:
        """Note that a revision runs which came from disk, and tell it.

        What the store said meanwhile is still the newest that was seen.
        """
        self.digest = digest_of(document)
        self.attempted = self.attempted or revision
        self.remembered = True
        self.live_at = self.events.now()
        self.events.tell(
            EventKind.CHANGE,
            f"nothing of {self.service} from {self.config_server} yet that can run;"
            f" running revision {revision} as remembered",
            level=logging.WARNING,
            service=self.service,
            revision=revision,
        )
