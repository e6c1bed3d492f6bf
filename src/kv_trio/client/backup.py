"""Writing a copy of a store, as it comes, to a file that takes its place at the end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import trio

from kv_trio.errors import UnexpectedResponse

_SQLITE = b"SQLite format 3\0"  # what a database begins with


async def write_backup(
    stream: AbstractAsyncContextManager[AsyncIterator[bytes]],
    path: str | os.PathLike[str],
) -> int:
    """Write a database that comes in chunks to a new file; give its bytes.

    Raises:
        FileExistsError: the file is there.
        OSError: it cannot be written.
        UnexpectedResponse: what comes is no database.
    """
    target = trio.Path(path)
    unfinished = target.with_name(target.name + ".partial")
    if await target.exists():
        raise FileExistsError(f"{path} exists; a backup overwrites nothing")
    size = 0
    start = b""
    try:
        await unfinished.unlink(missing_ok=True)  # of one that was killed
        # A copy has all secrets of a store; and no link leads it elsewhere.
        await unfinished.touch(mode=0o600, exist_ok=False)
        async with await unfinished.open("wb") as file, stream as chunks:
            async for chunk in chunks:
                start = start if len(start) >= len(_SQLITE) else start + chunk
                _check_start(start)
                await file.write(chunk)
                size += len(chunk)
        if size < len(_SQLITE):
            _check_start(b"")
        await unfinished.rename(target)
    except BaseException:
        with trio.CancelScope(shield=True):
            await unfinished.unlink(missing_ok=True)
        raise
    return size


def _check_start(start: bytes) -> None:
    if not start or not _SQLITE.startswith(start[: len(_SQLITE)]):
        raise UnexpectedResponse(
            "the response is no backup of a kv-trio; for one of a Consul: consul snapshot"
            " save"
        )
