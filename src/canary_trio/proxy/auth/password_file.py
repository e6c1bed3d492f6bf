"""A file of users: one line each, `USER:HASH`, as htpasswd has them.

Lines that are empty or begin with `#` say nothing. The rule that it obeys: a file is taken
whole or not at all, so a fault in one line lets nobody in, and shuts nobody out, that the file
before did not.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from canary_trio.errors import BadPasswords, printable
from canary_trio.proxy.auth.password_hash import (
    BadHash,
    PasswordHash,
    hash_password,
    parse_hash,
)
from http_trio import read_file

FILE_BYTES = 4 * 1024 * 1024
"""Of a file of users at most."""

USERS = 10_000
"""Users of a file at most."""

USER_BYTES = 255
"""Of a user's name at most, in UTF-8."""

_USER = re.compile(
    r"[^\x00-\x20\x7f-\x9f:#\ud800-\udfff][^\x00-\x1f\x7f-\x9f:\ud800-\udfff]*\Z"
)
_NEVER = parse_hash(
    "$scrypt$ln=14,r=8,p=5$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
)  # of a file without users


@attrs.frozen
class PasswordFile:
    """The users of a file.

    Attributes:
        users: what is kept of their passwords, by name.
    """

    users: Mapping[str, PasswordHash] = attrs.field(repr=False)

    def decoy(self) -> PasswordHash:
        """Give what an unknown user's password is compared with, so that it takes as long."""
        return next(iter(self.users.values()), _NEVER).decoy()


def load_passwords(path: str | os.PathLike[str]) -> PasswordFile:
    """Read a file of users.

    Raises:
        BadPasswords: it cannot be read, or a line of it makes no sense.
    """
    try:
        text = read_file(path, FILE_BYTES).decode()
    except OSError as exc:
        raise BadPasswords(path, exc.strerror or str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise BadPasswords(
            path, f"found a bad byte at {exc.start}, expected UTF-8"
        ) from exc
    try:
        return PasswordFile(dict(_parse(text)))
    except BadHash as exc:
        raise BadPasswords(path, str(exc)) from exc


def check_user(name: str) -> None:
    """Check a user's name.

    Raises:
        BadHash: it is none that a file can have.
    """
    if not _USER.match(name) or len(name.encode("utf-8", "replace")) > USER_BYTES:
        raise BadHash(
            f"found {printable(name)[:80]!r}, expected a user's name: text without colon"
            f" and control characters, at most {USER_BYTES} bytes, that begins with no # or"
            " space"
        )


def set_password(path: Path, user: str, password: str) -> bool:
    """Give a user a password, in a file that is made if it is not there.

    Other lines stay as they are. The file is replaced whole; a new one is for its user only,
    one that was there keeps its owner, and no more of its mode than reading by its group.

    Gives whether the user is new.

    Raises:
        BadHash: the name or the password is none.
        BadPasswords: the file cannot be read or written.
    """
    check_user(user)
    line = f"{user}:{hash_password(password)}"
    lines = _lines_of(path)
    places = [at for at, one in enumerate(lines) if _user_of(one) == user]
    if places:
        lines[places[0]] = line
    else:
        lines.append(line)
    _write(path, lines)
    return not places


def delete_user(path: Path, user: str) -> bool:
    """Take a user out of a file; give whether there was one.

    Raises:
        BadPasswords: the file cannot be read or written.
    """
    before = _lines_of(path)
    lines = [one for one in before if _user_of(one) != user]
    if len(lines) == len(before):
        return False
    _write(path, lines)
    return True


def _parse(text: str) -> Mapping[str, PasswordHash]:
    users: dict[str, PasswordHash] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()  # noqa: PLW2901  # the line without what surrounds it
        if not line or line.startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        try:
            if not colon:
                raise BadHash("found no colon, expected USER:HASH")
            check_user(name)
            if name in users:
                raise BadHash(f"found {name!r} a second time, expected each user once")
            users[name] = parse_hash(rest.partition(":")[0].strip())
        except BadHash as exc:
            raise BadHash(f"line {number}: {exc}") from exc
        if len(users) > USERS:
            raise BadHash(f"found more than {USERS} users")
    return users


def _lines_of(path: Path) -> list[str]:
    try:
        content = read_file(path, FILE_BYTES)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise BadPasswords(path, exc.strerror or str(exc)) from exc
    return content.decode("utf-8", "surrogateescape").splitlines()


def _user_of(line: str) -> str | None:
    line = line.strip()
    name, colon, _ = line.partition(":")
    return name if colon and not line.startswith("#") else None


def _write(path: Path, lines: list[str]) -> None:
    """Replace a file whole; what it has is on the disk before its name is."""
    content = "".join(f"{line}\n" for line in lines)
    path = path.resolve()  # a link stays one
    beside = path.with_name(f".{path.name}.unfinished")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  # opened with its mode
                with contextlib.suppress(FileNotFoundError):
                    _take_over(path, descriptor)
                file.write(content.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(descriptor)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except FileExistsError as exc:
        raise BadPasswords(
            path, f"somebody else writes it now; if nobody does, remove {beside}"
        ) from exc
    except OSError as exc:
        raise BadPasswords(path, exc.strerror or str(exc)) from exc


def _take_over(path: Path, descriptor: int) -> None:
    """Give a new file the owner of the one before, and what its group may."""
    found = path.stat()
    if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, found.st_uid, found.st_gid)
    os.fchmod(descriptor, 0o600 | (found.st_mode & 0o040))
