"""Tokens: who may do what, from a file that is read again when it changes.

    [[token]]
    name = "web"
    hash = "sha256:9f86d0..."       # of the secret; `kv-trio token` makes both
    read = ["canary/web/"]
    write = ["canary/web/fleet/"]   # to write includes to read

    [[token]]
    name = "anonymous"              # without a hash: what needs no token
    read = ["public/"]

A secret is 256 random bits, so one SHA-256 hides it as well as a slow hash would.
A file that cannot be read, or makes no sense, changes nothing: the tokens that were
read last stay valid, and the reason is logged. One file, since what is written there and
what it grants are one thing.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from http_trio import Exchange, FollowedFile, read_file
from kv_trio.errors import BadQuery, BadTokens
from kv_trio.state.acl import EVERYTHING, NOTHING, Acl

_log = logging.getLogger(__name__)

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_FIELDS = {"name", "hash", "read", "write"}
_SIZE = 1024 * 1024  # bytes of a token file at most


@attrs.frozen
class Grants:
    """The rights that a token file grants.

    Attributes:
        by_hash: the rights of each token, by the SHA-256 of its secret.
        anonymous: the rights of those who have none.
    """

    by_hash: dict[bytes, Acl]
    anonymous: Acl = NOTHING

    def find(self, secret: str) -> Acl | None:
        """Give a secret's rights; in a time that does not tell which token is near."""
        digest = hashlib.sha256(secret.encode()).digest()
        found: Acl | None = None
        for known, acl in self.by_hash.items():
            if hmac.compare_digest(known, digest):
                found = acl
        return found

    def holds(self, acl: Acl) -> bool:
        """Tell whether some token, or being without one, still grants these rights."""
        return acl == self.anonymous or acl in self.by_hash.values()


def parse_tokens(text: str) -> Grants:
    """Read a token file.

    Raises:
        BadTokens: with all its faults.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BadTokens([str(exc)]) from exc
    faults = [f"{name}: unknown" for name in document if name != "token"]
    tables = document.get("token", [])
    if not isinstance(tables, list):
        raise BadTokens(["token: expected tables, each under [[token]]"])
    by_hash: dict[bytes, Acl] = {}
    anonymous = NOTHING
    names: set[str] = set()
    for number, table in enumerate(tables):
        place = f"token[{number}]"
        if not isinstance(table, dict):
            faults.append(f"{place}: expected a table")
            continue
        own_faults = _find_faults(table, place, names)
        faults += own_faults
        if own_faults:
            continue
        token = bytes.fromhex(table.get("hash", "").removeprefix("sha256:"))
        acl = Acl(
            table["name"],
            read=_prefixes(table, "read"),
            write=_prefixes(table, "write"),
            token=token,
        )
        if token:
            by_hash[token] = acl
        else:
            anonymous = acl
    if faults:
        raise BadTokens(faults)
    return Grants(by_hash, anonymous)


def make_token(name: str, read: list[str], write: list[str]) -> tuple[str, str]:
    """Make a secret, and the lines of a token file that grant its rights."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    lines = ["[[token]]", f"name = {_quoted(name)}", f'hash = "sha256:{digest}"']
    for right, prefixes in (("read", read), ("write", write)):
        if prefixes:
            lines.append(f"{right} = [{', '.join(map(_quoted, prefixes))}]")
    return secret, "\n".join(lines) + "\n"


class Tokens:
    """The tokens that are valid now."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        """Read a token file; with None, everybody may do everything.

        Raises:
            BadTokens: it cannot be read, or makes no sense.
        """
        self._file: FollowedFile[Grants] | None = None
        if path is not None:
            self._file = FollowedFile(
                path, _read, fault=BadTokens, what="tokens", log=_log
            )

    def __repr__(self) -> str:
        return f"<Tokens {None if self._file is None else self._file.path}>"

    @property
    def grants(self) -> Grants | None:
        """What the tokens grant now; None where there is no file."""
        return None if self._file is None else self._file.value

    def acl_of(self, exchange: Exchange, parameters: dict[str, str]) -> Acl:
        """Give the rights of a request's sender.

        Raises:
            BadQuery: it shows a token that is not in the file.
        """
        grants = self.grants
        if grants is None:
            return EVERYTHING
        secret = _secret(exchange, parameters)
        if not secret:
            return grants.anonymous
        acl = grants.find(secret)
        if acl is None:
            raise BadQuery(403, "ACL not found")
        return acl

    def holds(self, acl: Acl) -> bool:
        """Tell whether these rights, which a request had, are granted still."""
        grants = self.grants
        return grants is None or grants.holds(acl)

    def reload(self) -> None:
        """Let `follow` read the file at once, whether it has changed or not."""
        if self._file is not None:
            self._file.look_soon()

    async def follow(self, changed: Callable[[Grants], None]) -> None:
        """Read the file again whenever it changes, until cancelled.

        Args:
            changed: called with the rights that are granted from then on.
        """
        file = self._file
        if file is None:
            return

        def take(grants: Grants) -> None:
            _log.info("%d tokens read from %s", len(grants.by_hash), file.path)
            changed(grants)

        await file.run(take)


def _secret(exchange: Exchange, parameters: dict[str, str]) -> str:
    secret = exchange.header(b"x-consul-token")
    if secret is None:
        kind, _, value = (exchange.header(b"authorization") or b"").partition(b" ")
        secret = value.strip() if kind.lower() == b"bearer" else b""
    return secret.decode("utf-8", "replace") or parameters.get("token", "")


def _prefixes(table: dict[str, Any], right: str) -> tuple[bytes, ...]:
    return tuple(prefix.encode() for prefix in table.get(right, []))


def _find_faults(table: dict[str, Any], place: str, names: set[str]) -> list[str]:
    """Give what is wrong with one token, and add its name to those that are taken."""
    faults = [f"{place}.{name}: unknown" for name in sorted(table.keys() - _FIELDS)]
    name = table.get("name")
    if not isinstance(name, str) or not name:
        faults.append(f"{place}.name: expected a name")
    elif name in names:
        faults.append(f"{place}.name: {name!r} is there already")
    else:
        names.add(name)
    hash_ = table.get("hash")
    if hash_ is None and name != "anonymous":
        faults.append(f"{place}.hash: missing; `kv-trio token NAME` makes one")
    elif hash_ is not None and not (isinstance(hash_, str) and _HASH.fullmatch(hash_)):
        faults.append(f"{place}.hash: expected sha256: and 64 hexadecimal digits")
    for right in ("read", "write"):
        prefixes = table.get(right, [])
        if not isinstance(prefixes, list) or not all(
            isinstance(prefix, str) for prefix in prefixes
        ):
            faults.append(f"{place}.{right}: expected a list of key prefixes")
    return faults


def _read(path: Path) -> Grants:
    try:
        return parse_tokens(read_file(path, _SIZE).decode())
    except BadTokens as exc:
        raise BadTokens(exc.faults, str(path)) from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise BadTokens([f"cannot be read: {reason}"], str(path)) from exc


def _quoted(text: str) -> str:
    """Write a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
