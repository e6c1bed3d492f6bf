"""What a proxy remembers on disk: the last good document, so it starts without the store.

The file is replaced whole (written beside, synced, renamed), so a crash or a full disk
leaves the old one. It holds the secret that signs cookies, so only its owner reads it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
from pathlib import Path

import attrs
import trio

from canary_trio.control.fleet_secret import FleetSecret
from http_trio import read_file

_log = logging.getLogger(__name__)

FILE_LIMIT = 2 * 1024 * 1024
"""Bytes of the file at most: a document in base64 has a third of that."""


@attrs.frozen
class LastGood:
    """A document that ran, with the secret of its fleet."""

    revision: int
    document: bytes = attrs.field(repr=False)
    secret: FleetSecret = attrs.field(repr=False)


def default_directory() -> Path:
    """Where a user's programs keep state (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "canary-trio"


def load_last_good(path: Path) -> LastGood | None:
    """Read what was remembered; None if there is nothing.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    try:
        text = read_file(path, FILE_LIMIT)
    except FileNotFoundError:
        return None
    try:
        return read_last_good(text)
    except ValueError as exc:
        raise ValueError(f"{path} is no remembered document ({exc})") from exc


def read_last_good(text: bytes) -> LastGood:
    """Read what stands in the file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        shown = json.loads(text)
        revision = shown["revision"]
        if type(revision) is not int or not 0 <= revision < 2**63:
            raise ValueError("its revision is none")
        return LastGood(
            revision,
            base64.b64decode(shown["document"], validate=True),
            FleetSecret.load(shown["secret"].encode()),
        )
    except (LookupError, AttributeError, TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"{type(exc).__name__}: {exc}") from exc


def save_last_good(path: Path, what: LastGood) -> None:
    """Write it durably; blocks for as long as the disk takes.

    Raises:
        OSError: it is not written; the old one is still there.
    """
    shown = {
        "revision": what.revision,
        "document": base64.b64encode(what.document).decode(),
        "secret": what.secret.dump().decode(),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # opened with its mode
            file.write(json.dumps(shown).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


class LastGoodFile:
    """The file of one proxy, which is read and written in threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: LastGood | None = None
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<LastGoodFile {self._path}>"

    async def load(self) -> LastGood | None:
        """Read what was remembered; None if there is nothing that can be read."""
        try:
            return await trio.to_thread.run_sync(load_last_good, self._path)
        except (OSError, ValueError) as exc:
            _log.warning("what was remembered cannot be read: %s", exc)
            return None

    def save(self, good: LastGood) -> None:
        """Write this document soon; a later one may take its place before."""
        self._latest = good
        self._news.set()

    async def run(self) -> None:
        """Write the latest, time and again, until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            latest = self._latest
            assert latest is not None, "the news is that there is one"
            try:
                await trio.to_thread.run_sync(save_last_good, self._path, latest)
            except OSError as exc:
                _log.warning("cannot remember revision %d: %s", latest.revision, exc)
