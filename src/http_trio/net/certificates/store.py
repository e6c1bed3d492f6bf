"""The certificates of a listener: which one a client is shown, as new as their files.

The pair that a client is to be shown is looked at in that moment, as a listener with one
certificate always did. All others, and those that a directory gains or loses, are found
by `watch`, once a second and in a thread: a directory may hold thousands, on a slow disk.
Connections that are open keep theirs.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Sequence

import attrs
import trio

from http_trio.errors import BadCertificate
from http_trio.net.certificates.held_names import NameTable, plain_name
from http_trio.net.certificates.pairs import (
    Pair,
    ServedCertificate,
    read_directory,
)
from http_trio.net.process.notices import Field, Notice, Tell, by_logging
from http_trio.net.tls_context import Tls

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks at all files, where there are several certificates."""

WARN_S = 14 * 86400.0
"""How long before a certificate expires it is told, once a day."""

MOST_TOLD = 10
"""Certificates of which the same is told at one time; of more, how many there are."""

_DAY_S = 86400.0
_ONE_S = 60.0  # between two looks where there is one: the next client looks anyway


@attrs.frozen(eq=False)
class _Found:
    """All pairs at one time: those that were named, and those of the directory."""

    named: tuple[Pair, ...]
    listed: dict[str, Pair] = attrs.field(factory=dict)
    fault: str = ""

    @property
    def pairs(self) -> list[Pair]:
        return [*self.named, *self.listed.values()]

    def read(self, tls: Tls) -> _Found:
        """Read what has changed."""
        named = tuple(pair.read(tls) for pair in self.named)
        if tls.directory is None:
            return _Found(named)
        try:
            return _Found(named, read_directory(tls, self.listed))
        except BadCertificate as exc:  # all stay
            return _Found(named, self.listed, str(exc))


class CertificateStore:
    """A listener's certificates."""

    def __init__(self, tls: Tls, tell: Tell | None = None) -> None:
        """Read all files.

        Args:
            tls: which.
            tell: is told what an operator is to know; the log by default.

        Raises:
            BadCertificate: one that was named cannot be used, or the directory not be
                read. A broken pair in the directory is only said in the log.
        """
        self._tls = tls
        self._tell = tell or by_logging(_log)
        tls.check()
        self._found = _Found(tuple(Pair(*files) for files in tls.pairs)).read(tls)
        faults = [self._found.fault, *(pair.fault for pair in self._found.named)]
        for fault in filter(None, faults):
            raise BadCertificate(fault)
        self._none = tls.context_of(None)
        self._sooner = trio.Event()
        self._warned: dict[str, float] = {}
        self._arrange()
        self._tell_most([(pair, None) for pair in self._found.listed.values()])
        if not self.certificates:
            self._say(
                f"{tls.directory} has no certificate yet: clients are refused until there"
                " is one",
                logging.WARNING,
            )
        self.warn(time.time())

    def __repr__(self) -> str:
        return f"<CertificateStore certificates={len(self.certificates)}>"

    @property
    def several(self) -> bool:
        """Whether it depends on the name which one a client is shown."""
        return len(self.certificates) > 1 or self._tls.directory is not None

    @property
    def certificates(self) -> Sequence[ServedCertificate]:
        """Those that are served, in their order."""
        return self._served

    def choose(self, name: str = "") -> ServedCertificate | None:
        """Give the certificate for a client that asks for a name; None without any.

        It is the one that holds the name, or else the one that has a wildcard for it, or
        else the first.
        """
        served = self._find(name)
        pair = self._named_by.get(served) if served is not None else None
        if pair is not None and pair.look(self._tls) != pair.stamp:
            changed = pair.read(self._tls)
            named = tuple(changed if one is pair else one for one in self._found.named)
            self._take(attrs.evolve(self._found, named=named))
            served = self._find(name)
        return served

    def context_for(self, served: ServedCertificate | None) -> ssl.SSLContext:
        """Give the context for a certificate; without one no handshake succeeds in it."""
        return self._none if served is None else served.context

    def reload(self) -> None:
        """Look at all files soon, not only when it is time."""
        self._sooner.set()

    async def watch(self) -> None:
        """Look at all files again and again, and warn of certificates that expire."""
        while True:
            soon = self.several or any(pair.is_passing for pair in self._found.named)
            with trio.move_on_after(LOOK_S if soon else _ONE_S):
                await self._sooner.wait()
            self._sooner = trio.Event()
            before = self._found
            try:
                after = await trio.to_thread.run_sync(
                    before.read, self._tls, abandon_on_cancel=True
                )
                if self._found is before:  # else a client was quicker; next time
                    self._take(after)
                self.warn(time.time())
            except Exception:  # what nobody foresaw: a listener must not end of it
                _log.exception("cannot look at the certificates; those in use stay")
                await trio.sleep(_ONE_S)

    def warn(self, now: float) -> None:
        """Say once a day which certificates expire soon, or are not valid."""
        warned, self._warned = self._warned, {}
        told: list[Notice] = []
        for served in self._served:
            why = served.problem(now)
            left_s = served.x509.not_after - now
            if not why and left_s > WARN_S:
                continue
            last = warned.get(served.file, -_DAY_S)
            if now - last >= _DAY_S:
                last = now
                what = why or f"expires in {left_s / _DAY_S:.1f} days"
                words = f"the certificate {served.file} {what}"
                days = round(left_s / _DAY_S, 2)
                told.append(_notice(words, logging.WARNING, served.file, days=days))
            self._warned[served.file] = last
        self._tell_all(told)

    # === private ===

    def _find(self, name: str) -> ServedCertificate | None:
        host = plain_name(name) if name else ""
        found = self._table.find(host) if host else None
        if found is None and self._served:
            return self._served[0]
        return found

    def _take(self, found: _Found) -> None:
        """Serve by what was read."""
        before = {pair.cert: pair for pair in self._found.pairs}
        if found.fault and found.fault != self._found.fault:
            self._say(f"{found.fault}; the certificates in use stay", logging.ERROR)
        self._found = found
        self._arrange()
        self._tell_most([(one, before.pop(one.cert, None)) for one in found.pairs])
        self._tell_all(
            [
                _notice(f"the certificate {one.cert} is gone", logging.INFO, one.cert)
                for one in before.values()
            ]
        )

    def _arrange(self) -> None:
        pairs = [pair for pair in self._found.pairs if pair.served is not None]
        self._served = [pair.served for pair in pairs if pair.served is not None]
        self._table = NameTable((one.held.names, one) for one in self._served)
        self._named_by = {pair.served: pair for pair in self._found.named}

    def _tell_most(self, pairs: Sequence[tuple[Pair, Pair | None]]) -> None:
        """Tell what has become of pairs, each with what it was."""
        found = [_change_of(pair, before) for pair, before in pairs]
        for pair, _ in pairs:
            if not pair.fault:
                self._warned.pop(os.fspath(pair.cert), None)
        told = [notice for notice in found if notice is not None]
        for level in (logging.ERROR, logging.INFO):
            self._tell_all([notice for notice in told if notice.level == level])

    def _tell_all(self, notices: Sequence[Notice]) -> None:
        """Tell notices of one kind; of many, how many more there are."""
        for notice in notices[:MOST_TOLD]:
            self._tell(notice)
        more = notices[MOST_TOLD:]
        if more:
            told = (
                f"the same of {len(more)} more certificates, such as: {more[0].message}"
            )
            self._tell(attrs.evolve(more[0], message=told, fields={"count": len(more)}))

    def _say(self, words: str, level: int) -> None:
        self._tell(Notice("certificate", words, level))


def _change_of(pair: Pair, before: Pair | None) -> Notice | None:
    """Give what there is to tell of a pair, and of what it was before."""
    if pair is before:
        return None
    if pair.fault:
        if before is not None and pair.fault == before.fault:
            return None
        stays = "; the certificate in use stays" if pair.served else ""
        return _notice(f"{pair.fault}{stays}", logging.ERROR, pair.cert)
    if before is not None and pair.served is before.served:
        return None
    return _notice(f"took up the certificate {pair.cert}", logging.INFO, pair.cert)


def _notice(
    words: str, level: int, file: str | os.PathLike[str], **fields: Field
) -> Notice:
    shown: dict[str, Field] = {"file": os.fspath(file), **fields}
    return Notice("certificate", words, level, shown)
