"""The client: the store's API over httpx, the one module that imports it.

It speaks Consul's KV API, so it works on a Consul unchanged; where our server says
more (the number of a write), that is used, and else read afterwards. `history`, `at`,
`compact` and `back_up` are our server's alone.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import attrs
import httpx
import trio

from http_trio import client_context
from kv_trio.core import Entry, Revision
from kv_trio.errors import StoreRefused, StoreUnreachable, UnexpectedAnswer
from kv_trio.following import Contact, Watch
from kv_trio.lock import hold_lock
from kv_trio.query import format_duration
from kv_trio.txn import Step, StepFailed, Transacted, dump_step

DEFAULT_URL = "http://127.0.0.1:8500"
WAIT_S = 30.0
GRACE_S = 5.0
"""How much later than its wait and jitter a blocking answer may come."""
TIMEOUT_S = 10.0
"""For every request that does not wait."""
_CLOSE_S = 1.0
_ABSENT_OK = (httpx.codes.NOT_FOUND,)


@attrs.frozen
class Snapshot:
    """One key at one time.

    Attributes:
        entry: None where the key is absent.
        index: what a blocking read waits to be passed.
    """

    entry: Entry | None
    index: int

    @property
    def content(self) -> object:
        """What makes it another state than the last one."""
        return self.entry


@attrs.frozen
class Listing:
    """All keys with one prefix at one time."""

    entries: tuple[Entry, ...]
    index: int

    @property
    def content(self) -> object:
        """What makes it another state than the last one."""
        return self.entries


@attrs.frozen
class Written:
    """What came of a conditional write.

    Attributes:
        done: whether its condition held.
        index: the number of the key's last change; 0 where the server does not say.
    """

    done: bool
    index: int


class Client:
    """A client of one server; use it as an async context manager.

    Each method raises `StoreUnreachable`, `StoreRefused` or `UnexpectedAnswer`, and
    may be cancelled at any time; whether a cancelled write took effect is not known.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: the server's.
            token: the secret that it is shown.
            ca_file: the authorities that an https:// server is verified by, as PEM;
                by default the system's.

        Raises:
            http_trio.BadCertificate: the authorities cannot be read.
        """
        headers = {"X-Consul-Token": token} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            verify=_trust(self.url, ca_file),
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
        flags: int = 0,
        cas: int | None = None,
        acquire: str | None = None,
        release: str | None = None,
    ) -> Written:
        """Write a key.

        Args:
            key: what to write.
            value: up to 512 KiB.
            flags: any unsigned 64-bit number, for whoever reads it.
            cas: only if this is the number of its last change; 0: only if it is absent.
            acquire: only if this session gets, or has, its lock.
            release: only if this session has its lock, which it loses.
        """
        given = {
            "flags": flags or None,
            "cas": cas,
            "acquire": acquire,
            "release": release,
        }
        parameters = {name: str(v) for name, v in given.items() if v is not None}
        answer = await self._request("PUT", _path(key), parameters, value)
        return await self._written(answer, key)

    async def keys(self, prefix: str, *, separator: str = "") -> tuple[str, ...]:
        """Give the keys with a prefix; with a separator, cut after its first."""
        parameters = {"keys": ""} | ({"separator": separator} if separator else {})
        answer = await self._request("GET", _path(prefix), parameters, ok=_ABSENT_OK)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return ()
        return tuple(_json_of(answer))

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

    async def create_session(
        self, name: str, ttl_s: float, *, deletes: bool, lock_delay_s: float = 0.0
    ) -> str:
        """Begin a session; give its id.

        Args:
            name: for people who look at it.
            ttl_s: 10 to 86400 seconds without renewal until it ends.
            deletes: whether the keys that it holds are deleted at its end.
            lock_delay_s: how long nobody can take a lock that it lost.
        """
        asked = {
            "Name": name,
            "TTL": format_duration(ttl_s),
            "Behavior": "delete" if deletes else "release",
            "LockDelay": format_duration(lock_delay_s),
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

    # === transactions ===

    async def transact(self, steps: Sequence[Step]) -> Transacted:
        """Run steps that take effect together or not at all.

        Args:
            steps: 1 to 128 of them; Consul before 1.14 takes 64.

        Returns:
            Whether they took effect, what they gave, and else which failed and why.
        """
        body = json.dumps([dump_step(step) for step in steps]).encode()
        answer = await self._request(
            "PUT", "/v1/txn", {}, body, ok=(httpx.codes.CONFLICT,)
        )
        shown = _json_of(answer)
        try:
            results = tuple(_entry(one["KV"]) for one in shown["Results"] or ())
            failed = tuple(
                StepFailed(one["OpIndex"], one["What"]) for one in shown["Errors"] or ()
            )
        except (TypeError, KeyError, ValueError) as exc:
            raise UnexpectedAnswer(f"{self.url}: no answer to a transaction") from exc
        index = max((entry.modify_index for entry in results), default=0)
        return Transacted(not failed, index, results=results, failed=failed)

    # === the past, of our server alone ===

    async def history(self, key: str, *, limit: int = 100) -> tuple[Revision, ...]:
        """Give the states that a key had, the newest first; those that are known."""
        answer = await self._request(
            *("GET", _path(key), {"history": "", "limit": str(limit)}), ok=_ABSENT_OK
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return ()
        try:
            return tuple(_revision(shown) for shown in _json_of(answer))
        except (TypeError, KeyError, ValueError) as exc:
            raise UnexpectedAnswer(f"{answer.url}: the answer is no history") from exc

    async def get_at(self, key: str, index: int) -> Entry | None:
        """Give what a key was when the store was at an index; None if it was absent.

        Raises:
            StoreRefused: with status 410 if that is forgotten.
        """
        answer = await self._request(
            *("GET", _path(key), {"at": str(index)}), ok=_ABSENT_OK
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _entries_of(answer)[0]

    async def compact(self, index: int | None = None) -> int:
        """Forget the past up to an index, or up to now; give how much was forgotten."""
        parameters = {} if index is None else {"index": str(index)}
        answer = await self._request("PUT", "/v1/compact", parameters)
        return int(_json_of(answer)["Forgotten"])

    async def back_up(self, path: str | os.PathLike[str]) -> int:
        """Write a copy of the store's database to a new file; give its bytes.

        It is of one consistent state, and takes its place at the end only. The file can
        be put into an empty data directory as `kv.sqlite`.

        Raises:
            FileExistsError: the file is there.
            OSError: it cannot be written.
        """
        target = trio.Path(path)
        unfinished = target.with_name(target.name + ".partial")
        if await target.exists():
            raise FileExistsError(f"{path} exists; a backup overwrites nothing")
        size = 0
        try:
            async with (
                await unfinished.open("wb") as file,
                self._stream("/v1/snapshot") as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    await file.write(chunk)
                    size += len(chunk)
            await unfinished.rename(target)
        except BaseException:
            with trio.CancelScope(shield=True):
                await unfinished.unlink(missing_ok=True)
            raise
        return size

    # === watching and locking ===

    @asynccontextmanager
    async def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[Watch[Snapshot]]:
        """Follow a key: an iterator of its states, the present one first.

        Args:
            key: what to follow.
            wait_s: the longest time after which it asks again.
            contact: kept up to date with how the watch stands.
        """
        yield Watch(partial(self.get, key), key, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def watch_prefix(
        self, prefix: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[Watch[Listing]]:
        """Follow all keys with a prefix, as `watch` does one."""
        yield Watch(partial(self.list, prefix), prefix, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def lock(
        self, key: str, value: bytes = b"", *, ttl_s: float = 10.0
    ) -> AsyncIterator[str]:
        """Have a lock while the block runs; see `kv_trio.lock`.

        Args:
            key: what is locked. Locks are advisory: who does not ask can write it.
            value: written to the key, for people who look at it.
            ttl_s: 10 to 86400 seconds after which it is free if we die.

        Yields:
            The id of the session that has it.

        Raises:
            LockLost: it was lost; the block is cancelled.

        Waits for as long as somebody else has it; cancelled, it leaves nothing behind.
        """
        async with hold_lock(self, key, value, ttl_s=ttl_s) as session:
            yield session

    # === private ===

    async def _read(
        self, key: str, parameters: dict[str, str], index: int, wait_s: float
    ) -> httpx.Response:
        deadline_s = TIMEOUT_S
        if index:
            parameters |= {"index": str(index), "wait": format_duration(wait_s)}
            deadline_s = wait_s * 17 / 16 + GRACE_S
        return await self._request(
            *("GET", _path(key), parameters), deadline_s=deadline_s, ok=_ABSENT_OK
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
        ok: tuple[int, ...] = (),
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
            raise StoreUnreachable(f"{self.url}: {_reason(exc)}") from exc
        except httpx.InvalidURL as exc:
            raise StoreUnreachable(f"{self.url!r} is not a URL: {exc}") from exc
        if answer.is_success:
            return answer
        if answer.status_code in ok:
            return answer
        raise StoreRefused(answer.status_code, answer.text.strip()[:500])

    @asynccontextmanager
    async def _stream(self, path: str) -> AsyncIterator[httpx.Response]:
        """Give an answer whose body is read in parts; each must come in `TIMEOUT_S`."""
        timeout = httpx.Timeout(TIMEOUT_S)
        try:
            async with self._http.stream(
                "GET", self.url + path, timeout=timeout
            ) as got:
                if not got.is_success:
                    text = (await got.aread()).decode("utf-8", "replace")
                    raise StoreRefused(got.status_code, text.strip()[:500])
                yield got
        except httpx.HTTPError as exc:
            raise StoreUnreachable(f"{self.url}: {_reason(exc)}") from exc


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


def _revision(shown: Mapping[str, Any]) -> Revision:
    time_ms = round(datetime.fromisoformat(shown["Time"]).timestamp() * 1000)
    entry = None if shown.get("Deleted") else _entry(shown)
    return Revision(shown["Key"].encode(), shown["ModifyIndex"], entry, time_ms)


def _trust(url: str, ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext | bool:
    """Give whom an https:// server is verified by. Without TLS nothing is to be read."""
    return client_context(ca=ca_file) if url.startswith("https:") else False


def _reason(exc: BaseException) -> str:
    """Say why in words; of TLS they are in what it was raised from."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return f"no TLS ({cause.reason.lower().replace('_', ' ')})"
        cause = cause.__cause__ or cause.__context__
    return str(exc) or type(exc).__name__
