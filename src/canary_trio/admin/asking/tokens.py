"""Who may ask an admin listener what: tokens and roles, from a file that is read again.

    [[token]]
    name = "grafana"
    role = "read"
    hash = "sha256:9f86d0..."   # of the secret; `canary admin-token` makes both

    [[certificate]]
    subject = "CN=anna,O=Example"   # of a client's certificate, as RFC 4514 writes it
    role = "write"

Who has the role `write` may also read. A secret is 256 random bits, so one SHA-256 hides it
as well as a slow hash would, and the file may be read by others; whoever could write it could
give themselves a role, so one that others can write is refused. A file that is broken later
changes nothing: what was read last stays valid, and the reason is logged once. One file, since
the rules are those of one file of roles: how it is made, parsed and read again.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from canary_trio.errors import BadToken, printable
from http_trio import FollowedFile, read_file

_log = logging.getLogger(__name__)

FILE_BYTES = 1024 * 1024
"""Of the file at most."""

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,63}")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class AdminRole(enum.IntEnum):
    """What somebody may do; each includes those before it."""

    NONE = 0
    READ = 1
    WRITE = 2


@attrs.frozen
class Caller:
    """Somebody who asks, by the name that is written beside what they change.

    Attributes:
        name: empty for nobody in particular.
        role: what they may do.
        by: what says so: none, machine, open, token, certificate, session or supervisor.
    """

    name: str
    role: AdminRole
    by: str = "token"


@attrs.frozen
class Roles:
    """What a file grants.

    Attributes:
        tokens: who has each token, by the SHA-256 of its secret.
        certificates: the roles of certificates, by their subjects.
    """

    tokens: Mapping[bytes, Caller] = attrs.field(factory=dict)
    certificates: Mapping[str, AdminRole] = attrs.field(factory=dict)

    def find(self, secret: bytes) -> Caller | None:
        """Give whose a secret is; in a time that does not tell which one is near."""
        digest = hashlib.sha256(secret).digest()
        found: Caller | None = None
        for known, caller in self.tokens.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def parse_roles(text: str) -> Roles:
    """Read a file of roles.

    Raises:
        BadToken: with all its faults.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BadToken(f"it is no TOML: {exc}") from exc
    faults = [
        f"{printable(name)}: unknown, expected [[token]] or [[certificate]]"
        for name in document
        if name not in ("token", "certificate")
    ]
    tokens = _parse_tokens(document, faults)
    certificates = _parse_certificates(document, faults)
    if faults:
        raise BadToken("; ".join(faults))
    return Roles(tokens, certificates)


def _parse_tokens(
    document: Mapping[str, Any], faults: list[str]
) -> dict[bytes, Caller]:
    tokens: dict[bytes, Caller] = {}
    names: set[str] = set()
    for place, table in _tables(document, "token", faults):
        name, hash_ = table.get("name"), table.get("hash")
        role = _role(place, table, ("name", "hash"), faults)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(f"{place}.name: expected 1 to 63 of A-Z a-z 0-9 _ . @ -")
        elif name in names:
            faults.append(f"{place}.name: {name} is there already")
        elif not isinstance(hash_, str) or not _HASH.fullmatch(hash_):
            faults.append(
                f"{place}.hash: expected sha256: and 64 hexadecimal digits;"
                " `canary admin-token` makes one"
            )
        elif (digest := bytes.fromhex(hash_.removeprefix("sha256:"))) in tokens:
            faults.append(f"{place}.hash: it is the secret of {tokens[digest].name}")
        else:
            names.add(name)
            tokens[digest] = Caller(name, role)
    return tokens


def _parse_certificates(
    document: Mapping[str, Any], faults: list[str]
) -> dict[str, AdminRole]:
    certificates: dict[str, AdminRole] = {}
    for place, table in _tables(document, "certificate", faults):
        subject = table.get("subject")
        role = _role(place, table, ("subject",), faults)
        if not isinstance(subject, str) or not subject:
            faults.append(f"{place}.subject: expected a subject such as CN=anna")
        elif subject in certificates:
            faults.append(f"{place}.subject: {printable(subject)} is there already")
        else:
            certificates[subject] = role
    return certificates


def make_admin_token(name: str, role: str) -> tuple[str, str]:
    """Make a secret, and the lines of a file that give it a role.

    Raises:
        ValueError: a token cannot have that name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"found the name {name!r}, expected 1 to 63 of A-Za-z0-9_.@-")
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    lines = f'[[token]]\nname = "{name}"\nrole = "{role}"\nhash = "sha256:{digest}"\n'
    return secret, lines


_NONE = Roles()


class RoleFile:
    """The roles that are granted now."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        """Read the file; None for one that grants nothing.

        Raises:
            BadToken: it cannot be read, makes no sense, or others may write it.
        """
        self._file: FollowedFile[Roles] | None = None
        if path is not None:
            self._file = FollowedFile(
                path, _read, fault=BadToken, what="admin tokens", log=_log
            )

    def __repr__(self) -> str:
        path = None if self._file is None else self._file.path
        return f"<RoleFile {path} tokens={len(self.roles.tokens)}>"

    @property
    def roles(self) -> Roles:
        """The roles that are granted now."""
        return _NONE if self._file is None else self._file.value

    def look_soon(self) -> None:
        """Let `run` read the file at once, whether it has changed or not."""
        if self._file is not None:
            self._file.look_soon()

    async def run(self) -> None:
        """Read the file again whenever it changes, until cancelled."""
        if self._file is not None:
            await self._file.run(self._tell)

    def _tell(self, roles: Roles) -> None:
        assert self._file is not None
        _log.info("%d admin tokens read from %s", len(roles.tokens), self._file.path)


def _tables(
    document: Mapping[str, Any], kind: str, faults: list[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    tables = document.get(kind, [])
    if not isinstance(tables, list):
        faults.append(f"{kind}: expected tables, each under [[{kind}]]")
        return
    for number, table in enumerate(tables):
        if isinstance(table, dict):
            yield f"{kind}[{number}]", table
        else:
            faults.append(f"{kind}[{number}]: expected a table")


def _role(
    place: str, table: Mapping[str, Any], others: tuple[str, ...], faults: list[str]
) -> AdminRole:
    """Read a role; a fault is noted, and gives none."""
    unknown = sorted(table.keys() - {"role", *others})
    faults += [f"{place}.{printable(name)}: unknown" for name in unknown]
    found = table.get("role")
    if found not in ("read", "write"):
        faults.append(f"{place}.role: expected read or write")
        return AdminRole.NONE
    return AdminRole.WRITE if found == "write" else AdminRole.READ


def _read(path: Path) -> Roles:
    shown = printable(str(path))
    try:
        if path.stat().st_mode & _OTHERS_WRITE:
            raise BadToken(
                f"{shown}: others than its owner may write it, and so give themselves a"
                " role; chmod go-w"
            )
        return parse_roles(read_file(path, FILE_BYTES).decode())
    except BadToken as exc:
        raise BadToken(f"{shown}: {str(exc).removeprefix(f'{shown}: ')}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise BadToken(f"{shown} cannot be read: {reason}") from exc
