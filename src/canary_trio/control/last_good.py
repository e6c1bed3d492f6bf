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
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from canary_trio.control.fleet_secret import FleetSecret
from http_trio import read_file

_log = logging.getLogger(__name__)

SETTLE_S = 0.1
"""How long a document is not kept yet: what follows it takes its place, and what routes by it
comes first."""

LAST_S = 1.0
"""How long a proxy that ends has to keep what is not kept yet."""

FILE_LIMIT = 2 * 1024 * 1024
"""Bytes of the file at most: a document in base64 has a third of that."""


@attrs.frozen
class LastGood:
    """A document that ran, with the secret of its fleet; a gateway has none."""

    revision: int
    document: bytes = attrs.field(repr=False)
    secret: FleetSecret | None = attrs.field(repr=False)


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
        text = read_file(path, FILE_LIMIT, own=True)
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
        secret = shown["secret"]
        return LastGood(
            revision,
            base64.b64decode(shown["document"], validate=True),
            None if secret is None else FleetSecret.load(secret.encode()),
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
        "secret": None if what.secret is None else what.secret.dump().decode(),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.unfinished")
    try:
        beside.unlink(missing_ok=True)  # of a proxy that was killed
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # opened with its mode
            file.write(json.dumps(shown).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


class LastGoodFiles:
    """The files of one proxy, one for each name, read and written in threads."""

    def __init__(self, paths: Callable[[str], Path]) -> None:
        self._paths = paths
        self._latest: dict[str, LastGood | None] = {}
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._latest)} to be written>"

    async def load_named(self, name: str) -> LastGood | None:
        """Read what was remembered; None if there is nothing that can be read."""
        try:
            return await trio.to_thread.run_sync(load_last_good, self._paths(name))
        except (OSError, ValueError) as exc:
            _log.warning("what was remembered cannot be read: %s", exc)
            return None

    def save_named(self, name: str, good: LastGood | None) -> None:
        """Write this document soon, or forget it; a later one may take its place before."""
        self._latest[name] = good
        self._news.set()

    async def run(self) -> None:
        """Write what is latest, time and again, until cancelled; then what is left."""
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                await trio.sleep(SETTLE_S)
                await self._write_all()
        finally:
            with trio.move_on_after(LAST_S, shield=True):
                await self._write_all()

    async def _write_all(self) -> None:
        while self._latest:
            name = next(iter(self._latest))
            latest = self._latest.pop(name)
            path = self._paths(name)
            try:
                await trio.to_thread.run_sync(_replace, path, latest)
            except OSError as exc:
                _log.warning("cannot keep %s: %s", path, exc)


class LastGoodFile(LastGoodFiles):
    """The file of a proxy with one service."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda _: path)

    async def load(self) -> LastGood | None:
        """Read what was remembered; None if there is nothing that can be read."""
        return await self.load_named("")

    def save(self, good: LastGood) -> None:
        """Write this document soon; a later one may take its place before."""
        self.save_named("", good)


def _replace(path: Path, latest: LastGood | None) -> None:
    if latest is None:
        path.unlink(missing_ok=True)
    else:
        save_last_good(path, latest)
