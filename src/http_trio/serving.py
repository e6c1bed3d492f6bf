"""Serving: listeners, the event loop and the slow path under one nursery.

Stopping is of two kinds. Cancelling `serve` closes everything at once. Draining
says `Connection: close` on what is answered from then on (GOAWAY over HTTP/2), stops
accepting at once or after a time as a lame duck, answers the parked, and lets `serve`
return when the last exchange is over, or cancels what is left at its deadline. One file, since serving and its end are one thing.
"""

from __future__ import annotations

import logging
import math
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice

import attrs
import trio

from http_trio.errors import BadBind
from http_trio.http1.forwarded import ForwardedPolicy
from http_trio.http1.response import Response
from http_trio.http2.connection import Http2Connection
from http_trio.http2.messages.plain_requests import PlainRequests
from http_trio.limits import Limits
from http_trio.net.bind import address_of, begins_with_proxy, open_listeners
from http_trio.net.certificates.pairs import ServedCertificate
from http_trio.net.certificates.store import CertificateStore
from http_trio.net.event_loop import EventLoop
from http_trio.net.process.notices import Notice, Tell
from http_trio.net.process.port_handover import HANDSHAKE_S
from http_trio.net.tls_context import Tls
from http_trio.net.traffic_counts import FAULTS, TrafficCounts
from http_trio.proxy.forward import upstream_request_of
from http_trio.server.exchange import Exchange, Handler
from http_trio.server.heartbeat import Heartbeat
from http_trio.server.listening.h2c_listener import H2cListener
from http_trio.server.listening.listener import Listener
from http_trio.server.listening.prologue import ListenerClient
from http_trio.server.listening.tls_listener import TlsListener

_NOTICE_S = 0.02  # how often a draining server looks whether it is done


class HttpServer:
    """A server that is listening.

    Attributes:
        addresses: what is really bound, as `127.0.0.1:8080` or `unix:PATH`.
    """

    def __init__(
        self,
        loop: EventLoop,
        listeners: Sequence[Listener],
        certificates: CertificateStore | None = None,
    ) -> None:
        self.loop = loop
        self._tell = loop.tell
        self.addresses = tuple(listener.address for listener in listeners)
        self._listeners = listeners
        self._certificates = certificates
        self._drain = trio.Event()
        self._again = trio.Event()
        self._deadline_s = self._lame_until = math.inf

    def __repr__(self) -> str:
        return (
            f"<HttpServer {', '.join(self.addresses)} connections={self.connections}>"
        )

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(len(listener.connections) for listener in self._listeners)

    @property
    def refused(self) -> Mapping[int, int]:
        """By status, the responses that no handler gave, since the start.

        They are for what is not served (400, 417, 501, 505), too slow (408) or too long
        (414, 431), and for clients beyond the limit of connections, if they are told.
        """
        return self.loop.refused

    @property
    def connection_errors(self) -> Mapping[str, int]:
        """By error code, the connections over HTTP/2 that ended for a client's fault.

        PROTOCOL_ERROR and its kin say that it broke the rules, ENHANCE_YOUR_CALM that it
        sent too much that asks for nothing (RFC 9113 section 7).
        """
        found: Counter[str] = Counter()
        for (reason, code), count in self.loop.counts.goaways.items():
            if reason in FAULTS:
                found[code] += count
        return found

    @property
    def counts(self) -> TrafficCounts:
        """What is counted of clients' connections and streams; it goes on counting."""
        return self.loop.counts

    @property
    def certificates(self) -> Sequence[ServedCertificate]:
        """The certificates that clients are shown, as they are now."""
        return () if self._certificates is None else self._certificates.certificates

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges that are in progress."""
        return [exchange for client in self._clients for exchange in client.exchanges]

    @property
    def _clients(self) -> list[ListenerClient]:
        return [one for listener in self._listeners for one in listener.connections]

    @property
    def url(self) -> str:
        """The URL of the first TCP address."""
        first = next(one for one in self._listeners if one.address[:5] != "unix:")
        scheme = "https" if isinstance(first, TlsListener) else "http"
        return f"{scheme}://{first.address}"

    def drain(self, deadline_s: float = 30.0, *, lame_duck_s: float = 0.0) -> None:
        """Begin to stop; `serve` returns at the latest when both times are over.

        Called again, it can only bring the end nearer.

        Args:
            deadline_s: what is in progress has so long to end.
            lame_duck_s: for so long before that, connections are still accepted, and
                what is answered says that the next request is to go elsewhere.
        """
        self._deadline_s = min(self._deadline_s, deadline_s)
        self._lame_until = min(self._lame_until, trio.current_time() + lame_duck_s)
        self._drain.set()
        self._again.set()

    @property
    def leaving(self) -> bool:
        """Whether it has begun to stop."""
        return self._drain.is_set()

    @property
    def has_successor(self) -> bool:
        """Whether others listen on all of its TCP ports too."""
        return all(listener.has_others for listener in self._listeners)

    def reload(self) -> None:
        """Look at the files of the certificates at once, not only when it is time."""
        if self._certificates is not None:
            self._certificates.reload()

    async def beat(self, call: Callable[[], None], every_s: float) -> None:
        """Call again and again, from the event loop as it serves; until cancelled."""
        heartbeat = Heartbeat(self.loop, call)
        try:
            while True:
                heartbeat.ask()
                await trio.sleep(every_s)
        finally:
            heartbeat.abort()

    def after_batch(self, call: Callable[[], None]) -> bool:
        """Call once the requests that are ready now have been handled.

        For what many of them share, such as one sync of a disk. It must not wait for
        long: no request is handled meanwhile. An error in it ends `serve`.

        Gives False, and does not call, unless a handler runs on the event loop.
        """
        return self.loop.after_batch(call)

    async def _wait_drained(self) -> None:
        await self._drain.wait()
        began = trio.current_time()
        self._tell_drain("draining", in_progress=len(self.exchanges))
        try:
            await self._end_all()
        finally:
            cut, lasted_s = len(self.exchanges), trio.current_time() - began
            self._tell_drain("drained", cut=cut, lasted_s=round(lasted_s, 3))

    def _tell_drain(self, what: str, **fields: float) -> None:
        """Tell that it ends, or has; what it had in progress then is a field."""
        count = fields.get("in_progress", fields.get("cut", 0))
        state = "in progress" if "in_progress" in fields else "cut off"
        told = f"{what}: {count} requests {state}"
        level = logging.WARNING if fields.get("cut") else logging.INFO
        shown = {**fields, "connections": self.connections}
        self._tell(Notice("drain", told, level, shown))

    async def _end_all(self) -> None:
        self.loop.leaving = True
        for client in self._clients:
            if isinstance(client, Http2Connection):
                client.announce()
        while (left_s := self._lame_until - trio.current_time()) > 0:
            self._again = trio.Event()
            with trio.move_on_after(left_s):
                await self._again.wait()
        shared = [one for one in self._listeners if one.lead_away()]
        if shared:
            await trio.sleep(min(HANDSHAKE_S, self._deadline_s / 2))
        for listener in self._listeners:
            listener.stop()
        self.loop.catch_up()  # who has asked already is not idle
        self.loop.drain()
        for client in self._clients:
            client.drain()
        recall_s = min(self.loop.limits.recall_s, self._deadline_s / 2)
        with trio.move_on_after(self._deadline_s) as deadline:
            recall_at = deadline.deadline - recall_s
            while self.connections:
                await trio.sleep(_NOTICE_S)
                if trio.current_time() >= recall_at:
                    recall_at = math.inf
                    self._recall_websockets()

    def _recall_websockets(self) -> None:
        """Tell those whose end nobody knows that they are to come back."""
        for exchange in self.exchanges:
            request = upstream_request_of(exchange)
            if request is not None and request.switched:
                request.recall()


async def serve(
    handler: Handler,
    binds: Sequence[str | socket.socket],
    *,
    limits: Limits | None = None,
    forwarding: ForwardedPolicy | None = None,
    overload: Response | None = None,
    tls: Tls | None = None,
    tls_binds: Sequence[str | socket.socket] | None = None,
    h2c_binds: Sequence[str | socket.socket] = (),
    tell: Tell | None = None,
    task_status: trio.TaskStatus[HttpServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/1.1 and, with a certificate or where asked to, HTTP/2.

    It ends when it is cancelled or drained.

    Args:
        handler: called for each request, on the event loop; it must not block.
        binds: addresses such as `127.0.0.1:8080`, `[::1]:0` or `unix:PATH`, or sockets
            that `open_listeners` gave. With `,proxy` behind it each connection begins with
            the PROXY protocol, and those that are not trusted are closed.
        limits: every size and wait; `Limits()` by default.
        forwarding: whose word about a client holds, what forwarded requests say of it,
            and when it has left.
        overload: what clients beyond the limit on connections are answered; without
            it they are not accepted until others leave.
        tls: the certificates of the addresses that are served with TLS; the files are
            read again when they change.
        tls_binds: those addresses, as `binds`. Where there is a certificate and this
            is not given, all `binds` are served with TLS.
        h2c_binds: addresses, as `binds`, that are served without TLS, where clients may
            speak HTTP/2 too: by prior knowledge, so that the first bytes tell which of
            both it is (RFC 9113 section 3.3).
        tell: is told what an operator is to know; the log by default.
        task_status: `started` gets the `HttpServer` when all addresses listen.

    Raises:
        BadBind: an address cannot be had, or it is to begin with the PROXY protocol and
            nobody is trusted. Nothing listens then.
        BadCertificate: the certificate cannot be used. Nothing listens then.

    Cancelled, it closes every socket at once, also those of exchanges in progress.
    """
    if tls is not None and tls_binds is None:
        binds, tls_binds = (), binds
    certificates = None if tls is None else CertificateStore(tls, tell)
    rules = forwarding or ForwardedPolicy()
    opened = open_listeners([*binds, *h2c_binds, *(tls_binds or ())], introduced=True)
    _check_trust(opened, rules)
    sockets = iter(opened)
    plain, h2c = [list(islice(sockets, len(of))) for of in (binds, h2c_binds)]
    async with trio.open_nursery() as nursery:
        loop = EventLoop(
            limits or Limits(), nursery, half_close=rules.half_close, tell=tell
        )
        listeners = [
            Listener(loop, sock, handler, _rules_of(sock, rules), overload)
            for sock in plain
        ]
        carry = partial(Http2Connection, plain=PlainRequests())
        listeners += [
            H2cListener(
                *(loop, sock, handler, _rules_of(sock, rules), overload),
                carry_http2=carry,
            )
            for sock in h2c
        ]
        if certificates is not None:
            rules = attrs.evolve(rules, proto=b"https")
            listeners += [
                TlsListener(
                    loop,
                    sock,
                    handler,
                    _rules_of(sock, rules),
                    overload,
                    certificates=certificates,
                    carry_http2=carry,
                )
                for sock in sockets
            ]
        server = HttpServer(loop, listeners, certificates)
        nursery.start_soon(loop.run)
        nursery.start_soon(loop.keep_time)
        if certificates is not None:
            nursery.start_soon(certificates.watch)
        task_status.started(server)
        await server._wait_drained()  # noqa: SLF001
        nursery.cancel_scope.cancel()


def _rules_of(sock: socket.socket, rules: ForwardedPolicy) -> ForwardedPolicy:
    if not begins_with_proxy(sock):
        return rules
    return attrs.evolve(rules, proxy_protocol=True)


def _check_trust(sockets: Sequence[socket.socket], rules: ForwardedPolicy) -> None:
    """Refuse an address at which nobody could be served."""
    for sock in sockets:
        if begins_with_proxy(sock) and not rules.trusted:
            address = address_of(sock)
            for one in sockets:
                one.close()
            raise BadBind(
                f"{address},proxy begins with the PROXY protocol, and no network is"
                " trusted to say it; name that of the balancers (--trust)"
            )
