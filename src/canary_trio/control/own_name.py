"""A proxy's name in the fleet is its own: who has it, and who else claims it.

Two proxies of one name would be one to the fleet: `--wait` would take the word of either
for both. On one machine a file in the state directory tells them apart. It is locked for as
long as its proxy lives, and holds the session that its proxy reports under: who has the
lock knows that the proxy before it is dead, and takes over what that session holds.

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

from canary_trio.errors import NameTaken

_log = logging.getLogger(__name__)

_DRAWN = 3  # bytes that are drawn for a name
_SIZE = 4096  # bytes of the file that are read


class NameFile:
    """The locked file of one proxy's name.

    Attributes:
        session: that the proxy before us reported under; empty if nobody knows.
    """

    def __init__(self, path: Path) -> None:
        """Lock the file, which is made if it is absent.

        Raises:
            NameTaken: a proxy that lives has it.
            OSError: it cannot be made or locked.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise OSError(0, "it is no file")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.session = os.pread(self._descriptor, _SIZE, 0).decode(
                "ascii", "replace"
            )
        except BlockingIOError:
            os.close(self._descriptor)
            raise NameTaken(
                f"another proxy of this name runs on this machine and has {path}; give"
                " each proxy an --id NAME of its own, or another --state DIRECTORY"
            ) from None
        except BaseException:
            os.close(self._descriptor)
            raise
        self._path = path

    def __repr__(self) -> str:
        return f"<NameFile {self._path}>"

    def remember(self, session: str) -> None:
        """Note the session that is reported under from now on."""
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


def take_name(path: Path | None, owned: contextlib.ExitStack) -> NameFile | None:
    """Take a name on this machine; None if nothing may be, or can be, kept on disk.

    Args:
        path: of its file.
        owned: gives it up at its end.

    Raises:
        NameTaken: a proxy that lives has it.
    """
    if path is None:
        return None
    try:
        return owned.enter_context(contextlib.closing(NameFile(path)))
    except OSError as exc:
        _log.warning("cannot keep %s: %s", path, exc.strerror or exc)
        return None
