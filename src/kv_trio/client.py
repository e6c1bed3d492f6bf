"""The client: the store's API over httpx, the one module that imports it.

It speaks Consul's KV API, so it works on a Consul unchanged; where our server says
more (the number of a write), that is used, and else read afterwards.

`watch` is the loop that a long poll needs. It survives what happens to servers: a
restart, an index that goes back (read anew from 0), an answer that does not come (the
wait, its jitter and a grace), and errors (full jitter between 50 ms and 2 s; AWS
Architecture Blog, "Exponential Backoff and Jitter", 2015). It may skip states that were
soon replaced; it never skips the last one, and never gives the same one twice.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import attrs
import httpx
import trio

from kv_trio.core import Entry
from kv_trio.errors import KvError, StoreRefused, StoreUnreachable, UnexpectedAnswer
from kv_trio.query import format_duration

DEFAULT_URL = "http://127.0.0.1:8500"
WAIT_S = 30.0
GRACE_S = 5.0
"""How much later than its wait and jitter a blocking answer may come."""
TIMEOUT_S = 10.0
"""For every request that does not wait."""
_CLOSE_S = 1.0
BACKOFF_S = (0.05, 2.0)
"""The first and the longest pause between two tries of a watch."""


@attrs.frozen
class Snapshot:
    """One key at one time.

    Attributes:
        entry: None where the key is absent.
        index: what a blocking read waits to be passed.
    """

    entry: Entry | None
    index: int


@attrs.frozen
class Listing:
    """All keys with one prefix at one time."""

    entries: tuple[Entry, ...]
    index: int


@attrs.frozen
class Written:
    """What came of a conditional write.

    Attributes:
        done: whether its condition held.
        index: the number of the key's last change; 0 where the server does not say.
    """

    done: bool
    index: int


@attrs.define
class Contact:
    """How a watch stands with its server.

    Attributes:
        last_s: `trio.current_time()` of the last good answer; None before the first.
        error: why the last try failed; empty if it did not.
    """

    last_s: float | None = None
    error: str = ""


class Client:
    """A client of one server; use it as an async context manager.

    Each method raises `StoreUnreachable`, `StoreRefused` or `UnexpectedAnswer`, and
    may be cancelled at any time; whether a cancelled write took effect is not known.
    """

    def __init__(self, url: str = DEFAULT_URL, *, token: str | None = None) -> None:
        headers = {"X-Consul-Token": token} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,  # a proxy for the web is none for the store
        )

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    async def __aenter__(self) -> Self:
        """Open the client."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self._http.__aexit__(kind, error, trace)

    # === keys ===

    async def get(
        self, key: str, *, index: int = 0, wait_s: float = WAIT_S
    ) -> Snapshot:
        """Read a key; with an index, when it is passed or after wait_s seconds."""
        answer = await self._read(key, {}, index, wait_s)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Snapshot(None, _index_of(answer))
        entries = _entries_of(answer)
        return Snapshot(entries[0], _index_of(answer))

    async def list(
        self, prefix: str, *, index: int = 0, wait_s: float = WAIT_S
    ) -> Listing:
        """Read all keys with a prefix; with an index as in `get`."""
        answer = await self._read(prefix, {"recurse": ""}, index, wait_s)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Listing((), _index_of(answer))
        return Listing(tuple(_entries_of(answer)), _index_of(answer))

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        cas: int | None = None,
        acquire: str | None = None,
        release: str | None = None,
    ) -> Written:
        """Write a key.

        Args:
            key: what to write.
            value: up to 512 KiB.
            cas: only if this is the number of its last change; 0: only if it is absent.
            acquire: only if this session gets, or has, its lock.
            release: only if this session has its lock, which it loses.
        """
        given = {"cas": cas, "acquire": acquire, "release": release}
        parameters = {name: str(v) for name, v in given.items() if v is not None}
        answer = await self._request("PUT", _path(key), parameters, value)
        return await self._written(answer, key)

    async def delete(
        self, key: str, *, cas: int | None = None, recurse: bool = False
    ) -> bool:
        """Remove a key, or all keys with this prefix; give whether `cas` held."""
        parameters = {} if cas is None else {"cas": str(cas)}
        if recurse:
            parameters["recurse"] = ""
        answer = await self._request("DELETE", _path(key), parameters)
        return bool(_json_of(answer))

    # === sessions ===

    async def create_session(self, name: str, ttl_s: float, *, deletes: bool) -> str:
        """Begin a session; give its id.

        Args:
            name: for people who look at it.
            ttl_s: 10 to 86400 seconds without renewal until it ends.
            deletes: whether the keys that it holds are deleted at its end.
        """
        asked = {
            "Name": name,
            "TTL": format_duration(ttl_s),
            "Behavior": "delete" if deletes else "release",
            "LockDelay": "0s",
        }
        body = json.dumps(asked).encode()
        answer = await self._request("PUT", "/v1/session/create", {}, body)
        try:
            return str(_json_of(answer)["ID"])
        except (TypeError, KeyError) as exc:
            raise UnexpectedAnswer(f"{self.url}: a session without an ID") from exc

    async def renew_session(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""
        try:
            await self._request("PUT", f"/v1/session/renew/{id_}", {})
        except StoreRefused as exc:
            if exc.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    async def destroy_session(self, id_: str) -> None:
        """End a session."""
        await self._request("PUT", f"/v1/session/destroy/{id_}", {})

    # === watching ===

    @asynccontextmanager
    async def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[Watch]:
        """Follow a key: an iterator of its states, the present one first.

        Args:
            key: what to follow.
            wait_s: the longest time after which it asks again.
            contact: kept up to date with how the watch stands.
        """
        yield Watch(self, key, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    # === private ===

    async def _read(
        self, key: str, parameters: dict[str, str], index: int, wait_s: float
    ) -> httpx.Response:
        deadline_s = TIMEOUT_S
        if index:
            parameters |= {"index": str(index), "wait": format_duration(wait_s)}
            deadline_s = wait_s * 17 / 16 + GRACE_S
        return await self._request(
            "GET", _path(key), parameters, deadline_s=deadline_s, absent_ok=True
        )

    async def _written(self, answer: httpx.Response, key: str) -> Written:
        done = bool(_json_of(answer))
        if "X-Consul-Index" in answer.headers:
            return Written(done, _index_of(answer))
        entry = (await self.get(key)).entry
        return Written(done, entry.modify_index if entry else 0)

    async def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: bytes | None = None,
        *,
        deadline_s: float = TIMEOUT_S,
        absent_ok: bool = False,
    ) -> httpx.Response:
        url = self.url + path
        try:
            with trio.fail_after(deadline_s):
                answer = await self._http.request(
                    method, url, params=parameters or None, content=body
                )
        except trio.TooSlowError as exc:
            raise StoreUnreachable(
                f"{self.url}: no answer in {deadline_s:g} s"
            ) from exc
        except httpx.HTTPError as exc:
            reason = str(exc) or type(exc).__name__
            raise StoreUnreachable(f"{self.url}: {reason}") from exc
        except httpx.InvalidURL as exc:
            raise StoreUnreachable(f"{self.url!r} is not a URL: {exc}") from exc
        if answer.is_success:
            return answer
        if absent_ok and answer.status_code == httpx.codes.NOT_FOUND:
            return answer
        raise StoreRefused(answer.status_code, answer.text.strip()[:500])


class Watch:
    """The states of one key as they come; made by `Client.watch`.

    Attributes:
        contact: how it stands with the server.
        wait_s: may be changed while it runs; the next question waits so long.
    """

    def __init__(
        self, client: Client, key: str, wait_s: float, contact: Contact
    ) -> None:
        self.contact = contact
        self.wait_s = wait_s
        self._client = client
        self._key = key
        self._index = 0
        self._last: Entry | None = None
        self._begun = False
        self._pause_s = BACKOFF_S[0]

    def __repr__(self) -> str:
        return f"<Watch {self._key} index={self._index}>"

    def __aiter__(self) -> Self:
        """Give itself."""
        return self

    async def __anext__(self) -> Snapshot:
        """Wait for a state that is another than the last one given."""
        while True:
            try:
                snapshot = await self._client.get(
                    self._key, index=self._index, wait_s=self.wait_s
                )
            except KvError as exc:
                await self._back_off(exc)
                continue
            self.contact.last_s = trio.current_time()
            self.contact.error = ""
            self._pause_s = BACKOFF_S[0]
            if snapshot.index < self._index:
                self._index = 0  # the store was reset, or restored: believe nothing
                continue
            self._index = max(1, snapshot.index)  # 0 would not wait
            if not self._begun or snapshot.entry != self._last:
                self._begun = True
                self._last = snapshot.entry
                return snapshot

    async def _back_off(self, exc: KvError) -> None:
        self.contact.error = str(exc)
        await trio.sleep(random.random() * self._pause_s)
        self._pause_s = min(self._pause_s * 2, BACKOFF_S[1])


def _path(key: str) -> str:
    return "/v1/kv/" + quote(key, safe="/,._-~")


def _index_of(answer: httpx.Response) -> int:
    text = answer.headers.get("X-Consul-Index", "")
    if not text.isdigit():
        raise UnexpectedAnswer(
            f"{answer.url}: X-Consul-Index is {text!r}, expected a number; is this a"
            " kv-trio or Consul server?"
        )
    return int(text)


def _json_of(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError as exc:
        raise UnexpectedAnswer(f"{answer.url}: the answer is no JSON") from exc


def _entries_of(answer: httpx.Response) -> list[Entry]:
    try:
        entries = [_entry(shown) for shown in _json_of(answer)]
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedAnswer(f"{answer.url}: the answer is no list of keys") from exc
    if not entries:
        raise UnexpectedAnswer(f"{answer.url}: an empty list of keys")
    return entries


def _entry(shown: Mapping[str, Any]) -> Entry:
    return Entry(
        key=shown["Key"].encode(),
        value=base64.b64decode(shown["Value"] or ""),
        flags=shown["Flags"],
        create_index=shown["CreateIndex"],
        modify_index=shown["ModifyIndex"],
        lock_index=shown["LockIndex"],
        session=shown.get("Session"),
    )
