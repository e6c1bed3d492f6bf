"""The secret of cookies where the source cannot keep one: a file in the state directory.

All proxies of this machine that have the directory in common sign with it, so its workers
and its successors do. Elsewhere nobody knows it: who runs more than one machine puts the
fleet's secret beside the document.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from canary_trio.control.fleet_secret import BadSecret, FleetSecret
from http_trio import read_file

_BYTES = 16 * 1024  # of the file


def own_secret(path: Path) -> FleetSecret:
    """Read the secret that is kept in a file, which is made if it is absent.

    Raises:
        OSError: it can neither be read nor made.
        BadSecret: what it holds is none.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(FleetSecret.draw().dump())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.link(beside, path)
    finally:
        beside.unlink()
    return _read(path)


def _read(path: Path) -> FleetSecret:
    try:
        return FleetSecret.load(read_file(path, _BYTES, own=True))
    except BadSecret as exc:
        raise BadSecret(f"{path}: {exc}") from exc
