"""Whom a starting proxy tells how far it is: whoever started the command, by default."""

from __future__ import annotations

import contextlib
from typing import Protocol

import click


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
    """Prints the progress on the terminal of whoever started the command."""

    def __init__(self, service: str, *, beside: bool, workers: int = 1) -> None:
        """Begin to print the progress of a service.

        Args:
            service: its name.
            beside: whether standard output is left to the lines of the access log.
            workers: how many processes serve.
        """
        self._service = service
        self._beside = beside
        self._with = f", {workers} workers" if workers > 1 else ""

    def waiting(self, admin: str) -> None:
        """Print that a document is waited for."""
        self._print(f"canary {self._service} waits for a document, admin on {admin}")

    def listening(self, addresses: str, admin: str) -> None:
        """Print where the proxy listens."""
        line = f"canary {self._service} listens on {addresses}, admin on {admin}"
        self._print(line + self._with)

    def live(self, revision: int) -> None:
        """Print the revision that runs."""
        line = f"canary {self._service} runs revision {revision}"
        self._print(line)

    def changed(self, revision: int) -> None:
        """Print nothing: the log tells."""

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone ends nothing
            click.echo(line, err=self._beside)
