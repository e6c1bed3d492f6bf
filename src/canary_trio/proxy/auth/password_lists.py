"""The files of users that documents name: read when one first names them, and followed.

All are in one directory, which whoever starts the proxy chooses, and a document says a plain
name: so whoever writes a document cannot have other files read. The rule that it obeys: what
was read stays in use until something better was; that something is the matter is said once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import trio

from canary_trio.errors import BadPasswords
from canary_trio.proxy.auth.password_file import PasswordFile, load_passwords
from http_trio import file_stamp

LOOK_S = 2.0
"""Between two looks at the files."""

CHECKS_AT_ONCE = 2
"""Passwords that a process looks at at a time, those of all services."""

_log = logging.getLogger(__name__)

TellFile = Callable[[str, Path, int], None]
"""Is told what is the matter with a file: in words, which one, and of which level of a log."""


def _to_log(words: str, _: Path, level: int) -> None:
    _log.log(level, "%s", words)


class PasswordList:
    """One file of users.

    Attributes:
        current: what was read last, and makes sense.
        fault: why the file cannot be used as it is; empty if it can.
    """

    def __init__(self, path: Path, current: PasswordFile, stamp: object) -> None:
        self.path = path
        self.current = current
        self.fault = ""
        self.stamp = stamp

    def __repr__(self) -> str:
        return f"<PasswordList {self.path.name} {len(self.current.users)} users>"


class PasswordLists:
    """The files of one process, shared by its services.

    Args:
        directory: where they are; None where there are none.

    Attributes:
        places: of looks at passwords.
        tell: is told what is the matter with a file; the log, if nobody is.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._lists: dict[str, PasswordList] = {}
        self._soon = trio.Event()
        self.tell: TellFile = _to_log
        self.places = trio.CapacityLimiter(CHECKS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<PasswordLists of {self._directory} {list(self._lists)}>"

    async def take(self, name: str) -> PasswordList:
        """Give a file of users; it is read if it was not, or could not be.

        Raises:
            BadPasswords: it cannot be used, and never could.
        """
        if self._directory is None:
            raise BadPasswords(
                name, "this proxy has no files of users; start it with --passwords DIR"
            )
        found = self._lists.get(name)
        if found is None:
            path = self._directory / name
            stamp, content = await _read(path)
            found = self._lists.setdefault(name, PasswordList(path, content, stamp))
        return found

    def look_soon(self) -> None:
        """Look at the files at once."""
        self._soon.set()

    async def run(self) -> None:
        """Look at the files again and again, until cancelled."""
        if self._directory is None:
            await trio.sleep_forever()
        while True:
            with trio.move_on_after(LOOK_S):
                await self._soon.wait()
            self._soon = trio.Event()
            for one in list(self._lists.values()):
                await _look_again(one, self.tell)


async def _look_again(one: PasswordList, tell: TellFile) -> None:
    stamp = await trio.to_thread.run_sync(file_stamp, one.path, abandon_on_cancel=True)
    if stamp == one.stamp:
        return
    try:
        one.stamp, one.current = await _read(one.path)
    except BadPasswords as exc:
        one.stamp, one.fault = stamp, str(exc)
        tell(f"{exc}; the users that were read before stay", one.path, logging.ERROR)
    else:
        one.fault = ""
        words = f"took up {one.path}: {len(one.current.users)} users"
        tell(words, one.path, logging.INFO)


async def _read(path: Path) -> tuple[object, PasswordFile]:
    def read() -> tuple[object, PasswordFile]:
        return file_stamp(path), load_passwords(path)

    return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
