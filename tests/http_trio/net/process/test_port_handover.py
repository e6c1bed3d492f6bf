"""One of several listeners on a port leaves, and no client is refused or reset."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from http_trio import open_listeners
from http_trio.net.process.port_handover import (
    HANDSHAKE_S,
    PortHandover,
    others_on_port,
)

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="SO_REUSEPORT as Linux has it"
)


def listener(bind: str = "127.0.0.1:0") -> socket.socket:
    (sock,) = open_listeners([bind], reuse_port=True)
    return sock


def address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.contextmanager
def clients(sock: socket.socket, count: int) -> Iterator[list[socket.socket]]:
    """Connect, in threads, since some of them may have to wait for a second."""
    found: list[socket.socket] = []

    def connect() -> None:
        found.append(socket.create_connection(sock.getsockname()[:2], timeout=10))

    threads = [threading.Thread(target=connect) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield found
    for thread in threads:
        thread.join(10)
    assert len(found) == count, "none is refused"
    for one in found:
        one.close()


def accepted(sock: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"])
def test_those_on_one_port_see_each_other(bind: str) -> None:
    with listener(bind) as one:
        assert others_on_port(one) == frozenset()
        with listener(address(one)) as two, listener() as elsewhere:
            assert len(others_on_port(one)) == 1
            assert others_on_port(one) != others_on_port(two)
            assert others_on_port(elsewhere) == frozenset()
        assert others_on_port(one) == frozenset()


def test_nobody_else_is_led_to() -> None:
    with listener() as one:
        assert not PortHandover(one).lead_away()
        with clients(one, 5) as found:
            while len(found) < 5:
                pass
        assert accepted(one) == 5


def test_all_new_clients_go_to_the_one_that_came_after() -> None:
    """In turn, so that what one has left behind does not steer the next."""
    with contextlib.ExitStack() as stack:
        old = listener()
        handover = PortHandover(old)
        for _ in range(4):
            new = stack.enter_context(listener(address(old)))
            ours = PortHandover(new)
            with clients(old, 40) as found:
                while len(found) < 40:
                    pass
            assert accepted(old) in range(1, 40), "both, before"
            assert accepted(new) in range(1, 40)

            assert handover.lead_away()
            with clients(old, 40) as found:
                while len(found) < 40:
                    pass
            assert accepted(old) == 0
            assert accepted(new) == 40
            old.close()
            old, handover = new, ours


def test_of_several_the_one_that_leaves_gets_no_new_ones() -> None:
    with listener() as one, listener(address(one)) as two, listener(address(one)) as x:
        handover = PortHandover(two)  # it came before the third
        assert handover.lead_away()
        with clients(one, 40) as found:
            while len(found) + 1 < 20:  # of each three one waits
                pass
            time.sleep(HANDSHAKE_S)
            assert accepted(two) == 0
            two.close()  # now those that were dropped come again, and find another
        assert accepted(one) + accepted(x) == 40
