"""The handler of a plain listener beside one with TLS: elsewhere, please, and encrypted.

It also answers the authorities that issue certificates (ACME, RFC 8555 section 8.3): they
ask over plain HTTP for a file that a client of theirs has written. The rule: nothing that
a request says becomes a path. A token is a word of RFC 8555's letters; it is opened below
the directory step by step, and no step may be a link.
"""

from __future__ import annotations

import os
import re
import stat

import trio

from http_trio.http1.response import Response, error_response
from http_trio.server.exchange import Exchange

CHALLENGE_BYTES = 4096
"""Of a challenge's file at most; one has about 90."""

CHALLENGE_S = 5.0
"""How long reading a challenge's file may take; then 503."""

CHALLENGES_AT_ONCE = 4
"""Files of challenges that are read at a time; further requests wait."""

_CHALLENGES = b"/.well-known/acme-challenge/"
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,256}\Z")
_HOST = re.compile(
    rb"""([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]{2,45}\])
         (?::[0-9]{0,5})?\Z""",
    re.VERBOSE,
)
_NO_HOST = error_response(400, "the request names no host that can be redirected to")
_NOT_FOUND = error_response(404, "there is no such challenge")
_TOO_SLOW = error_response(503, "the challenge cannot be read now", retry_after_s=5)
_READ_ONLY = error_response(405, "a challenge can be read only")
_READ_ONLY.headers = (*_READ_ONLY.headers, (b"Allow", b"GET, HEAD"))
_NOFOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class HttpsRedirect:
    """A handler that sends all requests to HTTPS, on the host that they ask for."""

    def __init__(
        self, port: int = 443, challenges: str | os.PathLike[str] | None = None
    ) -> None:
        """Say where to.

        Args:
            port: of the listener with TLS.
            challenges: a directory with the files of ACME challenges: `TOKEN` in it, or
                `.well-known/acme-challenge/TOKEN` below it. None to serve none.
        """
        self._port = b"" if port == 443 else b":%d" % port
        self._challenges = challenges
        self._limiter = trio.CapacityLimiter(CHALLENGES_AT_ONCE)

    def __repr__(self) -> str:
        return f"<HttpsRedirect to port {self._port[1:].decode() or 443}>"

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        head = exchange.head
        if self._challenges is not None and head.target.startswith(_CHALLENGES):
            if head.method not in (b"GET", b"HEAD"):
                exchange.respond(_READ_ONLY)
            elif _TOKEN.match(head.target, len(_CHALLENGES)):
                exchange.spawn(self._challenge)
            else:
                exchange.respond(_NOT_FOUND)
            return
        host = _HOST.match(head.host or b"")
        if host is None:
            exchange.respond(_NO_HOST)
            return
        target = head.target if head.target[:1] == b"/" else b"/"
        location = b"https://%b%b%b" % (host[1], self._port, target)
        exchange.respond(Response(308, headers=((b"Location", location),)))

    async def _challenge(self, exchange: Exchange) -> None:
        assert self._challenges is not None, "asked only where there are any"
        token = exchange.head.target[len(_CHALLENGES) :].decode()
        response = _TOO_SLOW
        with trio.move_on_after(CHALLENGE_S):
            text = await trio.to_thread.run_sync(
                read_challenge,
                os.fspath(self._challenges),
                token,
                abandon_on_cancel=True,
                limiter=self._limiter,
            )
            response = (
                _NOT_FOUND
                if text is None
                else Response(200, text, b"application/octet-stream")
            )
        exchange.respond(response)


def read_challenge(directory: str, token: str) -> bytes | None:
    """Give the text of a challenge; None if there is none that may be shown."""
    for steps in ((token,), (".well-known", "acme-challenge", token)):
        try:
            text = _read_below(directory, steps)
        except OSError:
            continue
        if text is not None:
            return text
    return None


def _read_below(directory: str, steps: tuple[str, ...]) -> bytes | None:
    """Read a file, step by step; no step may be a link."""
    opened = [os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        for step in steps[:-1]:
            opened.append(os.open(step, _NOFOLLOW | os.O_DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(steps[-1], _NOFOLLOW, dir_fd=opened[-1]))
        if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
            return None
        text = os.read(opened[-1], CHALLENGE_BYTES + 1)
        return text if len(text) <= CHALLENGE_BYTES else None
    finally:
        for descriptor in opened:
            os.close(descriptor)
