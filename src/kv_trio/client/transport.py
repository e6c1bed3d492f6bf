"""Requests of the client over httpx, the one module that imports it.

Every request has a deadline, so that a server that is silent is noticed; the errors of
httpx become those of `kv_trio.errors` here.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import attrs
import httpx
import trio

from http_trio import client_context
from kv_trio.errors import StoreRefused, StoreUnreachable

TIMEOUT_S = 10.0
"""Seconds for every request that does not wait for a change."""

_KEPT = 20  # idle connections
_CLOSE_S = 1.0
_REASON = 500  # characters of a refusal that are shown


@attrs.frozen
class Reply:
    """The response of a server.

    Attributes:
        url: of the request, for messages.
        index: its field `X-Consul-Index`; empty if it has none.
    """

    url: str
    status: int
    index: str
    body: bytes


class Transport:
    """The connections to one server; use it as an async context manager."""

    def __init__(
        self, url: str, token: str | None, ca_file: str | os.PathLike[str] | None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            headers={"X-Consul-Token": token} if token else {},
            timeout=httpx.Timeout(None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT),
            verify=_trust(self.url, ca_file),
            trust_env=False,  # a proxy for the web is none for the store
        )

    def __repr__(self) -> str:
        return f"<Transport {self.url}>"

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self._http.__aexit__(kind, error, trace)

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: bytes | None = None,
        *,
        deadline_s: float | None = None,
        also: tuple[int, ...] = (),
    ) -> Reply:
        """Send a request, and give the reply.

        Args:
            method: such as `"GET"`.
            path: percent-encoded.
            parameters: of the query, not encoded.
            body: of the request, if it has one.
            deadline_s: seconds from the start to the end; `TIMEOUT_S` by default.
            also: status codes beside the 2xx that are no refusals.

        Raises:
            StoreUnreachable: there is no reply, or none in time.
            StoreRefused: the reply is an error.
        """
        deadline_s = TIMEOUT_S if deadline_s is None else deadline_s
        url = self.url + path
        try:
            with trio.fail_after(deadline_s):
                response = await self._http.request(
                    method, url, params=parameters or None, content=body
                )
        except trio.TooSlowError as exc:
            late = f"{self.url}: no response in {deadline_s:g} s"
            raise StoreUnreachable(late) from exc
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from exc
        except httpx.InvalidURL as exc:
            raise StoreUnreachable(f"{self.url!r} is not a URL: {exc}") from exc
        if response.is_success or response.status_code in also:
            index = response.headers.get("X-Consul-Index", "")
            return Reply(
                str(response.url), response.status_code, index, response.content
            )
        raise StoreRefused(response.status_code, _text_of(response.content))

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give a reply's body in parts; each must come in `TIMEOUT_S`.

        Raises:
            StoreUnreachable, StoreRefused: as `request`.
        """
        timeout = httpx.Timeout(TIMEOUT_S)
        try:
            async with self._http.stream(
                "GET", self.url + path, timeout=timeout
            ) as response:
                if not response.is_success:
                    text = _text_of(await response.aread())
                    raise StoreRefused(response.status_code, text)
                yield response.aiter_bytes()
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from exc

    def _unreachable(self, exc: httpx.HTTPError) -> StoreUnreachable:
        return StoreUnreachable(f"{self.url}: {_reason(exc)}")


def _trust(url: str, ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext | bool:
    """Give what verifies an https:// server; for http:// no authorities are read."""
    return client_context(ca=ca_file) if url.startswith("https:") else False


def _text_of(body: bytes) -> str:
    """Give the reason of a refusal; what charset the server names is not tried."""
    return body.decode("utf-8", "replace").strip()[:_REASON]


def _reason(exc: BaseException) -> str:
    """Give the reason in words; that of a TLS error is in one of its causes."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return f"no TLS ({cause.reason.lower().replace('_', ' ')})"
        cause = cause.__cause__ or cause.__context__
    return str(exc) or type(exc).__name__
