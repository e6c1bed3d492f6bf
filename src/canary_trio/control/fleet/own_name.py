"""A proxy's name in the fleet is its own: who has it, and who else claims it.

Two proxies of one name would be one to the fleet: `--wait` would take the word of either
for both. On one machine a file in the state directory tells them apart. It is locked for as
long as its proxy lives, and holds the session that its proxy reports under: who has the
lock knows that the proxy before it is dead, and takes over what that session holds.

Who takes over from another one on the same port, under the same name, begins while that one
serves. It waits for the file, unreported, for a bounded time. A proxy that is asked to end gives
the file up at once, and its key with it; so the name changes hands while it drains.

Elsewhere the report in the store is all there is. Its proxy is asked at its admin listener.
One that responds is alive, and the newcomer is refused; of one that does not, nobody knows
until its session has ended, or has outlived what a dead one can.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import os
import secrets
import stat
from pathlib import Path

import trio

from canary_trio.errors import NameTaken

_log = logging.getLogger(__name__)

WAIT_S = 60.0
"""How long a proxy waits for its name, where the one that has it serves on its port."""

_LOOK_S = 0.1  # between two looks whether it is free
_DRAWN = 3  # bytes that are drawn for a name
_SIZE = 4096  # bytes of the file that are read


class NameFile:
    """The file of one proxy's name, locked for as long as that has it.

    Attributes:
        session: that the proxy before us reported under, or still does; empty if nobody
            knows.
        is_ours: whether we have the name; if not, we wait for it, or have given it up.
        is_given_up: whether we have.
    """

    def __init__(self, path: Path, *, waits: bool = False) -> None:
        """Lock the file, which is made if it is absent.

        Args:
            path: of the file.
            waits: whether to wait for it where a proxy that lives has it.

        Raises:
            NameTaken: a proxy that lives has it.
            OSError: it cannot be made or locked.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._path = path
        self.is_given_up = self.is_ours = False
        self._descriptor = os.open(path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise OSError(0, "it is no file")
            if not self.take() and not waits:
                raise self.taken()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __repr__(self) -> str:
        return f"<NameFile {self._path}>"

    def take(self) -> bool:
        """Take the name, if no other proxy has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self.is_ours = True
        found = os.pread(self._descriptor, _SIZE, 0)
        self.session = found.decode("ascii", "replace")
        return self.is_ours

    async def wait(self) -> bool:
        """Wait for the name for `WAIT_S` at most; tell whether it is ours."""
        with trio.move_on_after(WAIT_S):
            while not self.take():  # noqa: ASYNC110  # from another process
                await trio.sleep(_LOOK_S)
        return self.is_ours

    def give_up(self) -> None:
        """Let another proxy have the name, while this one ends."""
        if self.is_ours:
            self.is_ours, self.is_given_up = False, True
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def has_successor(self) -> bool:
        """Tell whether another proxy has a name that was given up."""
        if not self.is_given_up:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False  # nor can it have one any more

    def taken(self) -> NameTaken:
        """Give the error that says who has the name."""
        return NameTaken(
            f"another proxy of this name runs on this machine and has {self._path}; give"
            " each proxy an --id NAME of its own, or another --data DIRECTORY"
        )

    def remember(self, session: str) -> None:
        """Note the session that is reported under from now on."""
        if not self.is_ours:
            return
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, session.encode(), 0)
        except OSError as exc:
            _log.warning("cannot note the session in %s: %s", self._path, exc)

    def close(self) -> None:
        """Give the name up."""
        os.close(self._descriptor)


def take_default_name(
    path: Path | None, base: str, owned: contextlib.ExitStack
) -> tuple[str, NameFile | None]:
    """Take a name that begins so, and that no proxy which lives has on this machine.

    What ends it is drawn once and kept, so that a proxy which is started again has the
    name it had; one beside it, such as its successor, has another.

    Args:
        path: of its files, but for what is drawn; None if nothing is kept.
        base: of the name.
        owned: gives it up at its end.
    """
    if path is None:
        return f"{base}-{secrets.token_hex(_DRAWN)}", None
    pattern = glob.escape(path.name) + "-" + "[0-9a-f]" * 2 * _DRAWN + ".lock"
    for found in sorted(path.parent.glob(pattern)):
        with contextlib.suppress(OSError):
            try:
                file = owned.enter_context(contextlib.closing(NameFile(found)))
            except NameTaken:
                _log.info(
                    "another proxy lives with this state directory, as %s; each of them"
                    " keeps files of its own there",
                    found.stem.rpartition("@")[2],
                )
            else:
                return f"{base}{found.stem[len(path.name) :]}", file
    drawn = f"-{secrets.token_hex(_DRAWN)}"
    return base + drawn, take_name(path.with_name(path.name + drawn + ".lock"), owned)


def take_name(
    path: Path | None, owned: contextlib.ExitStack, *, waits: bool = False
) -> NameFile | None:
    """Take a name on this machine; None if nothing may be, or can be, kept on disk.

    Args:
        path: of its file.
        owned: gives it up at its end.
        waits: whether to wait for it where a proxy that lives has it.

    Raises:
        NameTaken: a proxy that lives has it.
    """
    if path is None:
        return None
    try:
        file = owned.enter_context(contextlib.closing(NameFile(path, waits=waits)))
    except OSError as exc:
        _log.warning("cannot keep %s: %s", path, exc.strerror or exc)
        return None
    if not file.is_ours:
        _log.info(
            "a proxy of this name serves on the same port; this one is reported when that"
            " one is asked to end, and ends itself if it is not within %g s",
            WAIT_S,
        )
    return file
