"""What a service needs of others and does not get, told as events: names, answers.

Each is told at once, then now and again while it lasts, and when it is over.
"""

from __future__ import annotations

from canary_trio.telemetry.events import EventKind, Events


class Outside:
    """Tells what one service does not get from outside.

    Args:
        events: where it is told.
        service: whose it is.
    """

    def __init__(self, events: Events, service: str) -> None:
        self._events = events
        self._service = service

    def __repr__(self) -> str:
        return f"<Outside of {self._service}>"

    def tell_name(self, url: str, error: str) -> None:
        """Tell that a server's name does not resolve; with no error, that it does again."""
        key, kind, service = ("name", self._service, url), EventKind.NAME, self._service
        if not error:
            words = f"{url}: its name resolves"
            self._events.tell_over(key, kind, words, service=service, server=url)
            return
        words = f"{url}: its name does not resolve: {error}"
        self._events.tell_trouble(
            *(key, kind, words), service=service, server=url, error=error
        )

    def tell_auth(self, check: str, by: str, trouble: str) -> None:
        """Tell that nobody says who a client is; with no trouble, that it is said again."""
        key, kind, service = (
            ("auth", self._service, check),
            EventKind.AUTH,
            self._service,
        )
        if not trouble:
            words = f"{check} by {by}: it answers again"
            self._events.tell_over(key, kind, words, service=service, check=check)
            return
        words = f"{check} by {by}: {trouble}"
        self._events.tell_trouble(key, kind, words, service=service, check=check)
