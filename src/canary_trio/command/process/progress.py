"""Whom a starting proxy tells how far it is: the log, unless it is a worker."""

from __future__ import annotations

import logging
from typing import Protocol

_log = logging.getLogger(__name__)


class Teller(Protocol):
    """What a proxy calls while it starts."""

    def waiting(self, admin: str) -> None:
        """The proxy has its addresses, and listens there once there is a document."""

    def listening(self, addresses: str, admin: str) -> None:
        """The proxy listens."""

    def live(self, revision: int) -> None:
        """Its first document is live."""

    def changed(self, revision: int) -> None:
        """Another document is live."""


class Console:
    """Tells the progress in the log, on standard error; standard output stays empty."""

    def __init__(self, service: str, *, workers: int = 1) -> None:
        """Begin to tell the progress of a service.

        Args:
            service: its name.
            workers: how many processes serve.
        """
        self._service = service
        self._workers = workers

    def waiting(self, admin: str) -> None:
        """Tell that a document is waited for."""
        told = f"canary {self._service} waits for a document, {_told(admin)}"
        _log.info("%s", told, extra={"admin": admin})

    def listening(self, addresses: str, admin: str) -> None:
        """Tell where the proxy listens."""
        told = f"canary {self._service} listens on {addresses}, {_told(admin)}"
        told += f", {self._workers} workers" if self._workers > 1 else ""
        shown = {"addresses": addresses, "admin": admin, "workers": self._workers}
        _log.info("%s", told, extra=shown)

    def live(self, revision: int) -> None:
        """Tell the revision that runs."""
        told = f"canary {self._service} runs revision {revision}"
        _log.info("%s", told, extra={"revision": revision})

    def changed(self, revision: int) -> None:
        """Tell nothing: the proxy does."""


def _told(admin: str) -> str:
    return f"admin on {admin}" if admin else "no admin listener"
