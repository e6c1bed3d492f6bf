"""TLS over a non-blocking socket, in the shape of a non-blocking socket.

OpenSSL works on memory here (`ssl.SSLObject`), and this class moves what it takes
and gives over the real socket. So both paths use it as they use a socket, and the
selector's word stays true for the two cases where TLS and readiness disagree. One file,
since both cases run through all of it:

- What was decrypted but not yet asked for shows in no selector. `recv` therefore gives
  all of it, which may be up to a record (16 KiB) more than was asked for. Only
  `recv_into` may leave some; who then returns to a selector asks `held` first.
- What was encrypted must go out, or nothing after it can be read. `send` leaves a part
  of its bytes uncounted until it has; its caller comes back with the rest, as for any
  socket, and must come back with the same bytes.

The rule that it obeys: `BlockingIOError` for "not now" and `OSError` for all that is
wrong, an end without close_notify among it, since that may be somebody's cut
(RFC 8446 section 6.1). `SSLWantReadError` never leaves.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from typing import Union

from http_trio.net.certificates.pairs import ServedCertificate
from http_trio.net.certificates.x509 import Certificate
from http_trio.net.poller import READ, WRITE

_READ = 64 * 1024  # bytes asked of the kernel at a time
_WRITE = 64 * 1024  # bytes encrypted at a time: four records
_RECORD = 16 * 1024
_PEEK = int(socket.MSG_PEEK)  # `&` with a member of an enumeration costs 1 us


AnySocket = Union[socket.socket, "TlsSocket"]
"""What both paths send to and receive from."""


def held(sock: AnySocket) -> bytes:
    """Take what a socket has received and would not show in a selector."""
    return sock.held() if isinstance(sock, TlsSocket) else b""


def certificate_of_client(sock: AnySocket) -> Certificate | None:
    """Give the certificate that a client has shown and that was verified."""
    return sock.client_certificate if isinstance(sock, TlsSocket) else None


def what_failed(exc: OSError) -> str:
    """Say in words why a handshake failed."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError) and exc.reason:
        return f"no TLS: {exc.reason.lower().replace('_', ' ')}"
    return f"no TLS: {exc.strerror or exc}"


class TlsSocket:
    """A connected, or connecting, socket with TLS on it.

    Attributes:
        ended: whether the peer said that it sends no more.
        asked_name: of a server: the name that the client asked for (SNI); empty for none.
        certificate: of a server: the one that the client was shown, with its names.
        client_certificate: of a server: the one that the client has shown and that was
            verified; None if it was not asked for one, or had none.
    """

    __slots__ = (
        "_backlog",
        "_eof",
        "_incoming",
        "_outgoing",
        "_plain",
        "_sock",
        "_tls",
        "_uncounted",
        "asked_name",
        "certificate",
        "client_certificate",
        "ended",
    )

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
        received: bytes = b"",
    ) -> None:
        """Put TLS on a socket; nothing is sent yet.

        Args:
            sock: non-blocking; owned from now on.
            context: a client's or a server's.
            server_name: of a client: the name or address that the certificate must
                have, where the context verifies it, and that is asked for (SNI).
            session: of a client: one to resume.
            received: what has been read from the socket already.
        """
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._incoming.write(received)
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=context.protocol is ssl.PROTOCOL_TLS_SERVER,
            server_hostname=server_name,
            session=session,
        )
        self._plain = b""
        self._backlog = b""
        self._uncounted = 0
        self._eof = False
        self.ended = False
        self.asked_name = ""
        self.certificate: ServedCertificate | None = None
        self.client_certificate: Certificate | None = None

    def __repr__(self) -> str:
        return f"<TlsSocket fd={self.fileno()} {self._tls.version()}>"

    # === TLS ===

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed upon, such as "h2"."""
        return self._tls.selected_alpn_protocol()

    @property
    def version(self) -> str:
        """The version of TLS that is spoken, such as "TLSv1.3"; empty before that."""
        return self._tls.version() or ""

    @property
    def context(self) -> ssl.SSLContext:
        """The context that it was made with; a session is of use in that one only."""
        return self._tls.context

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can resume; complete only after the first response."""
        return self._tls.session

    @property
    def resumed(self) -> bool:
        """Whether it resumed a session."""
        return bool(self._tls.session_reused)

    @property
    def verified(self) -> bytes | None:
        """The peer's certificate, if it showed one and it was verified, as DER."""
        if self._tls.context.verify_mode is ssl.CERT_NONE:
            return None
        return self._tls.getpeercert(binary_form=True)

    def handshake(self) -> int:
        """Go on with the handshake; give what it waits for, READ or WRITE, or 0: done.

        Raises:
            OSError: it failed, the certificate is not trusted, or the peer is gone.
        """
        while True:
            done = self._try_handshake()
            if not self._flush():
                return WRITE
            if done:
                return 0
            try:
                self._pull()
            except BlockingIOError:
                return READ

    def held(self) -> bytes:
        """Take what was received and would not show in a selector."""
        plain, self._plain = self._plain, b""
        return plain

    # === as of a socket ===

    def fileno(self) -> int:
        """Give the descriptor, as `socket.fileno`."""
        return self._sock.fileno()

    def getpeername(self) -> object:
        """Give the other end's address, as `socket.getpeername`."""
        return self._sock.getpeername()

    def getsockopt(self, level: int, option: int) -> int:
        """Give an option, as `socket.getsockopt`."""
        return self._sock.getsockopt(level, option)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive, as `socket.recv`, but up to 16 KiB more than size.

        Args:
            size: of what the kernel is asked for.
            flags: `socket.MSG_PEEK` leaves what it gives.
        """
        data = self._take(size)
        if flags & _PEEK:
            self._plain = data
            return data[:size]
        return data

    def recv_into(self, view: memoryview) -> int:
        """Receive, as `socket.recv_into`."""
        data = self._take(len(view))
        count = min(len(data), len(view))
        view[:count] = data[:count]
        self._plain = data[count:]
        return count

    def send(self, data: bytes | memoryview) -> int:
        """Send, as `socket.send`: what is not counted must be sent again."""
        size = len(data)
        if 0 < size <= _WRITE and not self._backlog:
            self._uncounted = self._tls.write(data)
            if self._flush():  # mostly
                self._uncounted = 0
                return size
        sent = self._send_encrypted() if self._backlog else 0
        if size > _WRITE:
            data = memoryview(data)  # a part of it is no copy
        while sent < size and not self._backlog:
            self._uncounted = self._tls.write(data[sent : sent + _WRITE])
            sent += self._send_encrypted()
        if size and not sent:
            raise BlockingIOError
        return sent

    def send_plain(self, data: bytes) -> int:
        """Send before the handshake, as it is, as `socket.send`."""
        return self._sock.send(data)

    def getsockname(self) -> object:
        """Give our end's address, as `socket.getsockname`."""
        return self._sock.getsockname()

    def shutdown(self, how: int) -> None:
        """Say that no more will be sent, as `socket.shutdown`, and so in TLS first."""
        if how != socket.SHUT_RD:
            with contextlib.suppress(ssl.SSLError):  # the peer's own need not be there
                self._tls.unwrap()
            self._flush()
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close at once; without `shutdown` before it the peer sees a cut."""
        self._sock.close()

    # === private ===

    def _try_handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            self._say_why()
            raise
        return True

    def _take(self, size: int) -> bytes:
        if self._plain:
            plain, self._plain = self._plain, b""
            return plain
        if self._incoming.pending and (data := self._decrypt()):
            return data
        while not self.ended:
            self._pull(size)
            if data := self._decrypt():
                return data
        return b""

    def _pull(self, size: int = _READ) -> None:
        """Take bytes from the kernel to OpenSSL."""
        if self._eof:
            raise ConnectionResetError(errno.ECONNRESET, "closed without close_notify")
        data = self._sock.recv(size)
        if data:
            self._incoming.write(data)
        else:
            self._eof = True
            self._incoming.write_eof()

    def _decrypt(self) -> bytes:
        """Give all that can be decrypted; note the end."""
        data = b""
        try:
            data = self._tls.read(_RECORD)
            if not data:
                self.ended = True
            elif self._incoming.pending:
                data = self._decrypt_rest(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._say_why()
            raise
        if self._outgoing.pending:
            self._flush()  # it answered the peer by itself, as to a key update
        return data

    def _decrypt_rest(self, first: bytes) -> bytes:
        """Give what more records hold; what is wrong is said when they are asked again."""
        pieces = [first]
        with contextlib.suppress(ssl.SSLError):
            while self._incoming.pending:
                pieces.append(self._tls.read(_RECORD))
                if not pieces[-1]:
                    self.ended = True
                    break
        return b"".join(pieces)

    def _send_encrypted(self) -> int:
        """Send what is encrypted; give how many more of the caller's bytes count as sent.

        While any of it is left, one byte at least stays uncounted, so that the caller
        comes back.
        """
        uncounted = self._uncounted
        self._uncounted = 0 if self._flush() else min(uncounted, len(self._backlog))
        return uncounted - self._uncounted

    def _flush(self) -> bool:
        """Send what is encrypted; give whether all of it is with the kernel."""
        data = self._outgoing.read()
        if self._backlog:
            data = self._backlog + data
        if not data:
            return True
        try:
            count = self._sock.send(data)
        except BlockingIOError:
            count = 0
        self._backlog = data[count:]
        return not self._backlog

    def _say_why(self) -> None:
        """Send the alert that OpenSSL has written, if it can be sent at once."""
        with contextlib.suppress(OSError):
            self._flush()
