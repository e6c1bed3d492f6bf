"""Whether the store that a document names may be moved to.

It is once a valid document can be read there, and it does not lead back to where we come
from; what is wrong meanwhile is told in the status, and to the fleet.
"""

from __future__ import annotations

from collections.abc import Callable

from canary_trio.config.document import load
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.status import Status
from canary_trio.control.store_keys import config_key
from canary_trio.errors import BadSource, InvalidConfig
from http_trio import HttpError
from kv_trio import Backoff, KvError, StoreRefused


class NextStore:
    """The store that the document of one service names, while another one is followed."""

    def __init__(
        self,
        service: str,
        status: Status,
        *,
        open_store: Callable[[str], DocumentSource],
        tokens: StoreTokens,
        tell: Callable[[], None],
    ) -> None:
        """Begin at a store that names no other.

        Args:
            service: whose document it is.
            status: is told why it is not moved.
            open_store: makes a source.
            tokens: what stores are shown.
            tell: called when there is another reason.
        """
        self._service = service
        self._status = status
        self._open = open_store
        self._tokens = tokens
        self._tell = tell
        self._been_at: list[str] = []  # the stores since the last that we stayed at

    def __repr__(self) -> str:
        return f"<NextStore of {self._service} after {self._been_at}>"

    def stay(self) -> None:
        """Note that the document names no other store."""
        self._status.move_error = ""
        self._been_at.clear()

    def leave(self, url: str) -> None:
        """Note that this store is left for the next one."""
        self._been_at.append(url)

    async def wait_valid(self, url: str) -> None:
        """Wait until a store has a document that can be followed there."""
        backoff = Backoff()
        while True:
            try:
                async with self._open(url) as client:
                    entry = (await client.get(config_key(self._service))).entry
                error = f"{url}: no document there"
                if entry is not None:
                    error = self._find_circle(url, load(entry.value).config_server)
                if not error:
                    return
            except StoreRefused as exc:
                error = f"{url}: {exc}"
                if self._tokens.get(url) is None:
                    error += "; it is shown no token, since none was given for it"
            except (KvError, HttpError, BadSource) as exc:
                error = str(exc)
            except InvalidConfig as exc:
                error = f"{url}: {exc}"
            if error != self._status.move_error:
                self._status.move_error = error
                self._tell()
            await backoff.pause()

    def _find_circle(self, url: str, leads_to: str | None) -> str:
        """Say why a store is not moved to: it would lead to where we come from."""
        known = {*self._been_at, self._status.config_server}
        if leads_to is None or leads_to == url or leads_to not in known:
            return ""
        return (
            f"{url}: its document names {leads_to}, which leads back to it: a circle;"
            " let one of them name no other store"
        )
