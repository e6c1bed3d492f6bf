"""Files as a source, by `file://`: a directory with a document for each service, or one file.

    file:///etc/canary/            web.json, @edge.json, and web.secret beside it
    file:///etc/canary/web.json    of whichever service is served, and web.secret

A file that is replaced is noticed at once where there is inotify. One that is written in
place is noticed when it is closed, and may be read half before; half a document is none, so
the last good one goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trio

from canary_trio.control.sources.inotify import FileHints, file_hints
from canary_trio.control.sources.read_only import (
    ReadOnlySource,
    entry_of,
    resource_of,
)
from canary_trio.errors import BadSource
from http_trio import read_file
from kv_trio import Entry, StoreUnreachable

FILE_BYTES = 2 * 1024 * 1024
"""Bytes of a file at most."""

READ_S = 10.0
"""How long a disk, or a server of files, has for one."""

_SUFFIXES = {"config": ".json", "secret": ".secret"}


class FileSource(ReadOnlySource):
    """The files of a directory, or one file with its secret."""

    read_only = (
        "files are only read; replace the file itself (write beside it, then mv)"
    )

    def __init__(self, url: str) -> None:
        """Take the URL of a file, or with / at its end of a directory.

        Raises:
            BadSource: it is none.
        """
        self.url = url
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not path.startswith("/"):
            raise BadSource(
                f"found {url!r}, expected file:///PATH/FILE.json, or file:///DIRECTORY/"
            )
        if parts.query or parts.fragment or "\0" in path:
            raise BadSource(f"found {url!r}, expected no ?, # or zero byte in a path")
        self.is_directory = path.endswith("/")
        self._path = Path(path)
        self._hints: set[FileHints] = set()
        self._followed: set[Path] = set()

    def path_of(self, key: str) -> Path | None:
        """Give the file of a key; None if it can have none."""
        resource = resource_of(key)
        if resource is None:
            return None
        service, kind = resource
        if self.is_directory:
            return self._path / (service + _SUFFIXES[kind])
        return self._path if kind == "config" else self._path.with_suffix(".secret")

    async def read(self, key: str) -> Entry | None:
        """Read the file of a key."""
        path = self.path_of(key)
        if path is None:
            return None
        if path not in self._followed:
            self._followed.add(path)
        for hints in self._hints:  # before it is read, so that no change is missed
            hints.follow(self._followed)
        try:
            with trio.fail_after(READ_S):
                content = await trio.to_thread.run_sync(
                    read_file, path, FILE_BYTES, abandon_on_cancel=True
                )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            reason = f"{exc.strerror or exc}"
            if path.is_dir():
                reason = "it is a directory, whose URL has / at its end"
            raise StoreUnreachable(f"cannot read {path}: {reason}") from exc
        except trio.TooSlowError as exc:
            raise StoreUnreachable(f"{path} is not read in {READ_S:g} s") from exc
        return entry_of(key, content)

    @asynccontextmanager
    async def hints(self) -> AsyncIterator[FileHints]:
        """Listen for changes of the files that are read from now on."""
        async with file_hints() as hints:
            self._hints.add(hints)
            try:
                yield hints
            finally:
                self._hints.discard(hints)
